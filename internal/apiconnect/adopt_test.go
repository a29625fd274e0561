package apiconnect_test

import (
	"testing"

	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// What people made by hand has a client id of the platform's own, no mark, and a name of
// theirs: adopted, it is verified and revoked by the id that the journal then holds.
func TestWhatWasMadeByHandIsAdoptedVerifiedAndRevoked(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	made := byHand(t, sim)
	account := open(t, settings(sim, nil))
	r := request(t, account, plain)
	r.Material = made
	adopter := account.(upstream.Adopter)
	issued, err := adopter.Adopt(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	h := handle(r)
	h.ID = issued.ID
	if verdict, err := verify(t.Context(), account, h); err != nil || !verdict.Accepted {
		t.Errorf("%+v, %v", verdict, err)
	}
	before := len(sim.Ledger().Live())
	if err := account.Revoke(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if live := len(sim.Ledger().Live()); live != before-1 {
		t.Errorf("%d live, want %d", live, before-1)
	}
	wants(t, account.Revoke(t.Context(), h), upstream.NotFound, made.ClientID)
	r.Material = material.Material{ClientID: "nobody", ClientSecret: material.New("nothing")}
	_, err = adopter.Adopt(t.Context(), r)
	wants(t, err, upstream.NotFound, "nobody")
}

// byHand is a credential that a person made, as he holds it.
func byHand(t *testing.T, sim *apiconnectsim.Sim) material.Material {
	t.Helper()
	const id, secret = "3f1c0a5d9e7b4c2a8d6f0e1b2c3d4e5f", "canary-made-by-hand"
	_, err := sim.Seed(apiconnectsim.Seed{Orgs: []apiconnectsim.SeedOrg{{Name: app.Org, Catalogs: []apiconnectsim.SeedCatalog{{
		Name: app.Catalog, ConsumerOrgs: []apiconnectsim.SeedConsumerOrg{{Name: app.ConsumerOrg, Apps: []apiconnectsim.SeedApp{{
			Name: app.App, Credentials: []apiconnectsim.SeedCredential{{Name: "billing-key", ClientID: id, ClientSecret: secret}},
		}}}},
	}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return material.Material{ClientID: id, ClientSecret: material.New(secret)}
}
