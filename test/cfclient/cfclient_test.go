// Package cfclient drives the simulated Cloud Foundry region with the platform's own client
// library, unmodified. The one idea: the simulator and the adapter are written from the same
// pages, and could be wrong in the same way; a client that others wrote cannot.
package cfclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/cloudfoundry/go-cfclient/v3/client"
	"github.com/cloudfoundry/go-cfclient/v3/config"
	"github.com/cloudfoundry/go-cfclient/v3/resource"
	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
)

// lab is a simulator, and the library logged in to it.
type lab struct {
	*client.Client
	t   *testing.T
	sim *cloudfoundrysim.Sim
}

func newLab(t *testing.T) *lab {
	t.Helper()
	sim := cloudfoundrysim.New(cloudfoundrysim.Options{Seed: cloudfoundrysim.Seed{
		Users:     []cloudfoundrysim.User{{Name: "developer", Password: "right", Spaces: []string{"acme/dev"}}},
		Instances: []cloudfoundrysim.Instance{{Org: "acme", Space: "dev", Name: "cpi-api", Offering: "it-rt", Plan: "api", Roles: []string{"MonitoringDataRead"}}},
	}})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	trust := x509.NewCertPool()
	if !trust.AppendCertsFromPEM(sim.CA()) {
		t.Fatal("the simulator's CA cannot be read")
	}
	carrier := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}}
	t.Cleanup(func() {
		carrier.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	settings, err := config.New(sim.URL(), config.UserPassword("developer", "right"), config.HttpClient(&http.Client{Transport: carrier, Timeout: 30 * time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	return &lab{Client: c, t: t, sim: sim}
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// named is a filter of a name.
func named(name string) client.Filter { return client.Filter{Values: []string{name}} }

func (l *lab) instance(name string) *resource.ServiceInstance {
	l.t.Helper()
	options := client.NewServiceInstanceListOptions()
	options.Names = named(name)
	return must(l.ServiceInstances.Single(l.t.Context(), options))(l.t)
}

// job waits for one as users of the library do.
func (l *lab) job(guid string) {
	l.t.Helper()
	options := client.NewPollingOptions()
	options.CheckInterval = 10 * time.Millisecond
	if err := l.Jobs.PollComplete(l.t.Context(), guid, options); err != nil {
		l.t.Fatalf("job %s: %v", guid, err)
	}
	if job := must(l.Jobs.Get(l.t.Context(), guid))(l.t); job.State != resource.JobStateComplete {
		l.t.Fatalf("job %s is %s", guid, job.State)
	}
}

func (l *lab) key(instance, name string) *resource.ServiceCredentialBinding {
	l.t.Helper()
	job, _, err := l.ServiceCredentialBindings.Create(l.t.Context(), resource.NewServiceCredentialBindingCreateKey(instance, name))
	if err != nil {
		l.t.Fatal(err)
	}
	l.job(job)
	options := client.NewServiceCredentialBindingListOptions()
	options.Names = named(name)
	return must(l.ServiceCredentialBindings.Single(l.t.Context(), options))(l.t)
}

// missing wants the platform's own words for what is not there.
func missing(t *testing.T, what string, err error) {
	t.Helper()
	var told resource.CloudFoundryError
	if !errors.As(err, &told) || told.Code != 10010 {
		t.Errorf("%s: %v, want the platform's error 10010", what, err)
	}
}

func TestTheLibraryFindsItsWayDown(t *testing.T) {
	l := newLab(t)
	organization := must(l.Organizations.Single(t.Context(), &client.OrganizationListOptions{ListOptions: client.NewListOptions(), Names: named("acme")}))(t)
	space := must(l.Spaces.Single(t.Context(), &client.SpaceListOptions{
		ListOptions: client.NewListOptions(), Names: named("dev"), OrganizationGUIDs: named(organization.GUID),
	}))(t)
	if got := must(l.Spaces.Get(t.Context(), space.GUID))(t); got.Name != "dev" {
		t.Errorf("the space is called %q", got.Name)
	}
	if got := must(l.Organizations.Get(t.Context(), organization.GUID))(t); got.Name != "acme" {
		t.Errorf("the organization is called %q", got.Name)
	}
	instance := l.instance("cpi-api")
	if got := must(l.ServiceInstances.Get(t.Context(), instance.GUID))(t); got.Name != "cpi-api" || got.Relationships.Space.Data.GUID != space.GUID {
		t.Errorf("the instance is %q in space %s", got.Name, got.Relationships.Space.Data.GUID)
	}
	_, err := l.ServiceInstances.Get(t.Context(), "nobody")
	missing(t, "an instance that nobody made", err)
}

func TestTheLibraryMakesReadsLabelsAndDeletesKeys(t *testing.T) {
	l := newLab(t)
	ctx, instance := t.Context(), l.instance("cpi-api")
	key := l.key(instance.GUID, "by-library")

	details := must(l.ServiceCredentialBindings.GetDetails(ctx, key.GUID))(t)
	var document struct {
		OAuth struct {
			ClientID     string `json:"clientid"`
			ClientSecret string `json:"clientsecret"`
			TokenURL     string `json:"tokenurl"`
		} `json:"oauth"`
	}
	raw, err := json.Marshal(details.Credentials)
	if err := errors.Join(err, json.Unmarshal(raw, &document)); err != nil {
		t.Fatal(err)
	}
	if document.OAuth.ClientID == "" || document.OAuth.ClientSecret == "" || document.OAuth.TokenURL == "" {
		t.Errorf("the key has no client id, secret or token URL: %d bytes", len(raw))
	}

	label := "v1"
	updated := must(l.ServiceCredentialBindings.Update(ctx, key.GUID, &resource.ServiceCredentialBindingUpdate{
		Metadata: &resource.Metadata{Labels: map[string]*string{"acme.example/version": &label}},
	}))(t)
	if got := updated.Metadata.Labels["acme.example/version"]; got == nil || *got != label {
		t.Errorf("labels: %v", updated.Metadata.Labels)
	}
	options := client.NewServiceCredentialBindingListOptions()
	options.LabelSel = client.LabelSelector{}
	options.LabelSel.EqualTo("acme.example/version", label)
	if found := must(l.ServiceCredentialBindings.ListAll(ctx, options))(t); len(found) != 1 || found[0].GUID != key.GUID {
		t.Errorf("%d keys have the label", len(found))
	}

	l.job(must(l.ServiceCredentialBindings.Delete(ctx, key.GUID))(t))
	_, err = l.ServiceCredentialBindings.Get(ctx, key.GUID)
	missing(t, "a key that was deleted", err)
}

func TestTheLibraryReadsAllPagesOfKeys(t *testing.T) {
	l := newLab(t)
	instance := l.instance("cpi-api")
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("key-%d", i)
		l.key(instance.GUID, name)
		want = append(want, name)
	}
	options := client.NewServiceCredentialBindingListOptions()
	options.ServiceInstanceGUIDs, options.PerPage = named(instance.GUID), 3
	var got []string
	for _, key := range must(l.ServiceCredentialBindings.ListAll(t.Context(), options))(t) {
		got = append(got, *key.Name)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestTheLibraryMakesChangesAndDeletesInstances(t *testing.T) {
	l := newLab(t)
	ctx, space := t.Context(), l.instance("cpi-api").Relationships.Space.Data.GUID
	plan := must(l.ServicePlans.Single(ctx, &client.ServicePlanListOptions{
		ListOptions: client.NewListOptions(), Names: named("api"), ServiceOfferingNames: named("it-rt"),
	}))(t)
	wanted := resource.NewServiceInstanceCreateManaged("by-library", space, plan.GUID)
	parameters := json.RawMessage(`{"roles":["MonitoringDataRead"],"grant-types":["client_credentials"]}`)
	wanted.Parameters = &parameters
	l.job(must(l.ServiceInstances.CreateManaged(ctx, wanted))(t))
	made := l.instance("by-library")
	if made.LastOperation.State != "succeeded" {
		t.Errorf("its last operation is %+v", made.LastOperation)
	}
	if _, err := l.ServiceInstances.CreateManaged(ctx, wanted); err == nil {
		t.Error("a second one of that name was made")
	}

	changed := json.RawMessage(`{"roles":["MonitoringDataRead","CredentialsRead"],"grant-types":["client_credentials"]}`)
	job, _, err := l.ServiceInstances.UpdateManaged(ctx, made.GUID, &resource.ServiceInstanceManagedUpdate{Parameters: &changed})
	if err != nil {
		t.Fatal(err)
	}
	l.job(job)

	key := l.key(made.GUID, "its-key")
	l.job(must(l.ServiceInstances.Delete(ctx, made.GUID))(t))
	_, err = l.ServiceInstances.Get(ctx, made.GUID)
	missing(t, "an instance that was deleted", err)
	_, err = l.ServiceCredentialBindings.Get(context.WithoutCancel(ctx), key.GUID)
	missing(t, "the key of an instance that was deleted", err)
}
