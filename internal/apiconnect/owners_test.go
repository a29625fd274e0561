package apiconnect_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// The owner of a consumer organisation is read with one list, under its name and its id, and what
// cannot be read leaves what was known.
func TestTheOwnerOfAConsumerOrganisation(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	var others []apiconnectsim.SeedConsumerOrg
	for i := range 120 {
		others = append(others, apiconnectsim.SeedConsumerOrg{
			Name: fmt.Sprintf("org-%d", i), Owner: &apiconnectsim.Owner{Username: "jo", Email: fmt.Sprintf("jo-%d@acme.example", i)},
		})
	}
	if _, err := sim.Seed(apiconnectsim.Seed{Orgs: []apiconnectsim.SeedOrg{{
		Name: app.Org, Catalogs: []apiconnectsim.SeedCatalog{{Name: app.Catalog, ConsumerOrgs: others}},
	}}}); err != nil {
		t.Fatal(err)
	}
	account := open(t, settings(sim, nil))
	directory := account.(upstream.Directory)
	ownerOf := func(consumerOrg string) string {
		return directory.OwnerOf(json.RawMessage(fmt.Sprintf(`{"consumerOrg":%q,"app":"billing"}`, consumerOrg)))
	}
	if got := ownerOf("org-7"); got != "" {
		t.Errorf("before anything was read the owner is %q", got)
	}
	if err := directory.ReadOwners(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range []string{"org-0", "org-119", app.ConsumerOrg, "nobody's", "a/b"} {
		got[name] = ownerOf(name)
	}
	want := map[string]string{
		"org-0": "jo-0@acme.example", "org-119": "jo-119@acme.example", app.ConsumerOrg: "owner@" + app.ConsumerOrg + ".example", "nobody's": "", "a/b": "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	if _, err := sim.Faults().Add(simkit.Fault{Operation: "consumer-org.list", Action: simkit.Refuse, Status: 403, Count: -1}); err != nil {
		t.Fatal(err)
	}
	if err := directory.ReadOwners(t.Context()); err == nil {
		t.Error("a refusal is no error")
	}
	if got := ownerOf("org-0"); got != "jo-0@acme.example" {
		t.Errorf("after a refusal the owner is %q", got)
	}
}
