package integration

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/journal"
)

// noticed is how long it may take until a sweep has seen what a person did and the
// upstream was asked about it.
const noticed = 2*sweepInterval + soon

// age makes every version as old as if it had been issued earlier: a listing is not
// expected to show what was made within the last two minutes.
func (x *tenant) age(by time.Duration) {
	x.t.Helper()
	for _, v := range x.versions() {
		update(x, v.Name, &corev1.Secret{}, func(s *corev1.Secret) {
			for _, key := range []string{journal.AnnotationIntentAt, journal.AnnotationCallDeadline} {
				at, err := time.Parse(time.RFC3339Nano, s.Annotations[key])
				if err != nil {
					x.t.Fatal(err)
				}
				s.Annotations[key] = at.Add(-by).Format(time.RFC3339Nano)
			}
		})
	}
}

// upstreamPath names a live credential in the simulator.
func upstreamPath(x *tenant, i int) apiconnectsim.Path {
	path := billing
	path.Credential = x.sim.Ledger().Live()[i].ID
	return path
}

// What a person takes away upstream is noticed by the sweep, proven by a verification,
// and replaced at once.
func TestWhatAPersonTakesAwayIsReplaced(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		do   func(x *tenant) error
	}{
		{"the published credential is deleted", func(x *tenant) error { return x.sim.Delete(upstreamPath(x, 0)) }},
		{"its secret is reset", func(x *tenant) error {
			_, err := x.sim.ResetSecret(upstreamPath(x, 0))
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, shared)
			x.ready(x.policy("Unlimited", "3s"))
			x.age(5 * time.Minute)
			before := x.target("billing-api")
			if err := test.do(x); err != nil {
				t.Fatal(err)
			}
			x.awaitVersion(noticed, 2)
			after := x.target("billing-api")
			if x.sim.Accepts(string(before.Data["client_id"]), string(before.Data["client_secret"])) {
				t.Error("the person did nothing: the test proves nothing")
			}
			if !x.sim.Accepts(string(after.Data["client_id"]), string(after.Data["client_secret"])) {
				t.Error("the successor is not accepted")
			}
			x.await(soon, v1alpha1.ConditionReady, published, "version 2")
			x.awaitIdle(1)
			reasons := x.reasons("APIClientCredential", "billing")
			if !slices.Contains(reasons, v1alpha1.ReasonPublishedRefused) {
				t.Errorf("no event says that the published credential was refused: %v", reasons)
			}
			if got := len(x.sim.Ledger().Issued()); got != 2 {
				t.Errorf("%d credentials were issued", got)
			}
		})
	}
}

// If no successor can be made either, the credential says that it does not work and why.
func TestADeletedAppIsNamed(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	c := x.ready(nil)
	x.age(5 * time.Minute)
	if err := x.sim.Delete(billing); err != nil {
		t.Fatal(err)
	}
	x.await(noticed, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonPublishedRefused}, "version 1", "successor", "does not exist in catalog")
	kstatus(x)
	// Everything is gone upstream, provably, so the deletion does not wait.
	x.delete(c)
	x.awaitGone(75*time.Second, c)
}

// Names upstream belong to people. Renaming anything stops no rotation and no
// retirement.
func TestRenamingUpstreamStopsNothing(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		rename func(x *tenant) error
	}{
		{"the published credential", func(x *tenant) error { return x.sim.Rename(upstreamPath(x, 0), "do-not-touch") }},
		{"the app", func(x *tenant) error { return x.sim.Rename(billing, "billing-old") }},
		{"the consumer organisation", func(x *tenant) error {
			return x.sim.Rename(apiconnectsim.Path{Org: billing.Org, Catalog: billing.Catalog, ConsumerOrg: billing.ConsumerOrg}, "retail-old")
		}},
		{"the catalog", func(x *tenant) error {
			return x.sim.Rename(apiconnectsim.Path{Org: billing.Org, Catalog: billing.Catalog}, "production-old")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, shared)
			c := x.ready(x.policy("Unlimited", "3s"))
			workload := x.call(0)
			if err := test.rename(x); err != nil {
				t.Fatal(err)
			}
			x.request(time.Now())
			x.awaitVersion(soon, 2)
			x.awaitIdle(1)
			x.wantNoFailure(workload)
			if got := x.sim.Ledger().Issued(); len(got) != 2 || got[0].Live() {
				t.Errorf("version 1 was not revoked: %+v", got)
			}
			x.delete(c)
			x.awaitGone(soon, c)
			if live := x.sim.Ledger().Live(); len(live) > 0 {
				t.Errorf("%d credentials live on", len(live))
			}
		})
	}
}

// Invariant 4: what others keep in the same app is theirs, whatever it is called.
func TestForeignCredentialsAreNeverTouched(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	foreign, err := x.sim.Seed(seedOf(apiconnectsim.SeedApp{Name: billing.App, Credentials: []apiconnectsim.SeedCredential{
		{Name: "by-hand"}, {Name: "cl-aaaaaaaaaaaaa-bbbbbbbb"}, {Name: "cl-aaaaaaaaaaaaa-bbbbbbbb_new"},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	c := x.ready(x.policy("Unlimited", "2s"))
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.eventually(soon, func() string {
		if len(x.sim.Ledger().Revoked()) != 1 {
			return "version 1 was not revoked"
		}
		return ""
	})
	x.delete(c)
	x.awaitGone(soon, c)
	want := map[string]bool{}
	for _, seeded := range foreign.Orgs[0].Catalogs[0].ConsumerOrgs[0].Apps[0].Credentials {
		want[seeded.ID] = true
	}
	for _, r := range x.sim.Ledger().Issued() {
		if r.Live() != want[r.ID] || r.Live() && r.Changes > 0 {
			t.Errorf("credential %s (%s): live %t, %d changes", r.Attrs["name"], r.How, r.Live(), r.Changes)
		}
	}
}
