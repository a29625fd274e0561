package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// Installations differ. Whatever the platform answers where it is free to, a credential
// is issued, survives a lost answer and the sweep, rotates and is revoked.
func TestInstallationsThatDiffer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		behave func(*apiconnectsim.Behaviour)
	}{
		{"one that redirects to what was made", func(b *apiconnectsim.Behaviour) {
			b.CreateStatus, b.DeleteStatus, b.TokenStatus = 302, 204, 201
		}},
		{"one that calls a conflict a bad request and speaks in strings", func(b *apiconnectsim.Behaviour) {
			b.CreateStatus, b.ConflictStatus, b.ClientIDConflictFirst, b.MessageAsString = 200, 400, true, true
		}},
		{"one that hashes in another way", func(b *apiconnectsim.Behaviour) { b.HashForm = apiconnectsim.HashOther }},
		{"one that shows no hash and answers 401 to a wrong secret", func(b *apiconnectsim.Behaviour) {
			b.HashForm, b.VerifyRefusedStatus = apiconnectsim.HashAbsent, 401
		}},
		{"one with short sessions and refresh tokens", func(b *apiconnectsim.Behaviour) {
			b.TokenLife, b.RefreshTokens = simkit.Duration(3*time.Second), true
		}},
		{"one with pages of two", func(b *apiconnectsim.Behaviour) { b.MaxPage = 2 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, shared)
			if err := x.sim.Adjust(test.behave); err != nil {
				t.Fatal(err)
			}
			seed := apiconnectsim.SeedApp{Name: billing.App, Generate: 5}
			if _, err := x.sim.Seed(seedOf(seed)); err != nil {
				t.Fatal(err)
			}
			foreign := len(x.sim.Ledger().Live())
			x.fault(simkit.Fault{Operation: "credential.create", Action: simkit.Cut, Point: simkit.AfterCommit})
			c := x.ready(x.policy("Unlimited", "2s"))
			workload := x.call(0)

			// The sweep looks at a version that is old enough to be listed, and is content.
			x.age(5 * time.Minute)
			since := x.calls("credential.list-catalog")
			x.eventually(noticed, func() string {
				if x.calls("credential.list-catalog") < since+2 {
					return "no two sweeps went by"
				}
				return ""
			})
			if got := x.reasons("APIClientCredential", "billing"); cmp.Diff([]string{"Issued"}, got) != "" {
				t.Errorf("events after two sweeps: %v", got)
			}

			x.request(time.Now())
			x.awaitVersion(soon, 2)
			x.eventually(soon, func() string {
				if got := len(x.sim.Ledger().Live()); got != foreign+1 {
					return fmt.Sprintf("%d credentials live, want %d", got, foreign+1)
				}
				return ""
			})
			x.wantNoFailure(workload)
			x.delete(c)
			x.awaitGone(soon, c)
			if got := len(x.sim.Ledger().Live()); got != foreign {
				t.Errorf("%d credentials live, want the %d foreign ones", got, foreign)
			}
			if got := len(x.sim.Ledger().Issued()); got != foreign+2 {
				t.Errorf("%d credentials were issued, want 2", got-foreign)
			}
		})
	}
}

// seedOf puts an app into its place in the simulator.
func seedOf(app apiconnectsim.SeedApp) apiconnectsim.Seed {
	return apiconnectsim.Seed{Orgs: []apiconnectsim.SeedOrg{{
		Name: billing.Org, Catalogs: []apiconnectsim.SeedCatalog{{
			Name: billing.Catalog, ConsumerOrgs: []apiconnectsim.SeedConsumerOrg{{Name: billing.ConsumerOrg, Apps: []apiconnectsim.SeedApp{app}}},
		}},
	}}}
}

func TestLoginByAPIKey(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	key, err := x.sim.AddAPIKey(apiconnectsim.APIKey{Key: secret("API key"), Username: "claviger", Realm: realm, MultipleUses: true})
	if err != nil {
		t.Fatal(err)
	}
	update(x, "apic-login", &corev1.Secret{}, func(s *corev1.Secret) {
		s.Data = map[string][]byte{"api_key": []byte(key), "client_id": []byte("toolkit"), "client_secret": []byte("toolkit-secret")}
	})
	x.create(x.issuer(func(i *v1alpha1.CredentialIssuer) { i.Spec.IBMAPIConnect.Login.Grant = "APIKey" }))
	x.create(x.credential())
	x.awaitReady("billing")
	x.awaitIdle(1)
	if x.calls("token.api_key") != 1 || x.calls("token.password") != 0 {
		t.Errorf("logins: %d by key, %d by password; want one by key", x.calls("token.api_key"), x.calls("token.password"))
	}
}

// A login that lacks a right is told which, and works as soon as it has it.
func TestALoginWithoutRights(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	allow := func(rights []apiconnectsim.Right) {
		login := apiconnectsim.Login{Username: "claviger", Password: x.password, Realm: realm, Rights: rights}
		if _, err := x.sim.Seed(apiconnectsim.Seed{Logins: []apiconnectsim.Login{login}}); err != nil {
			t.Fatal(err)
		}
	}
	allow([]apiconnectsim.Right{apiconnectsim.ViewConsumerOrgs, apiconnectsim.ViewApps})
	x.create(x.issuer())
	x.create(x.credential())
	x.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonUpstreamForbidden}, "app:manage:all")
	kstatus(x)
	if got := len(x.sim.Ledger().Issued()); got != 0 {
		t.Errorf("%d credentials were issued", got)
	}
	allow(nil)
	x.await(75*time.Second, v1alpha1.ConditionReady, published)
	x.awaitIdle(1)
}

// Where an app takes no more credentials, nothing is begun that could not be finished,
// and others' credentials count.
func TestAFullAppIsNamed(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	seed := seedOf(apiconnectsim.SeedApp{Name: billing.App, Credentials: []apiconnectsim.SeedCredential{{Name: "one"}, {Name: "two"}}})
	if _, err := x.sim.Seed(seed); err != nil {
		t.Fatal(err)
	}
	x.create(x.issuer(func(i *v1alpha1.CredentialIssuer) { i.Spec.IBMAPIConnect.MaxPerApp = 2 }))
	x.create(x.credential())
	x.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonUpstreamFull}, "holds 2 credentials there and takes 2", "remove one that nobody uses")
	kstatus(x)
	if got := x.calls("credential.create"); got != 0 {
		t.Errorf("%d calls that could only be refused", got)
	}
	one := billing
	one.Credential = "one"
	if err := x.sim.Delete(one); err != nil {
		t.Fatal(err)
	}
	x.await(90*time.Second, v1alpha1.ConditionReady, published)

	// A rotation needs room for two of ours.
	x.request(time.Now())
	x.await(soon, v1alpha1.ConditionAttention, state{"True", v1alpha1.ReasonUpstreamFull})
	x.await(soon, v1alpha1.ConditionReady, published)
	update(x, "apic", &v1alpha1.CredentialIssuer{}, func(i *v1alpha1.CredentialIssuer) { i.Spec.IBMAPIConnect.MaxPerApp = 3 })
	x.awaitVersion(75*time.Second, 2)
}

// The budget of an issuer is kept by all of its credentials together.
func TestTheBudgetOfAnIssuerIsKept(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.create(x.issuer(func(i *v1alpha1.CredentialIssuer) { i.Spec.RateLimit = v1alpha1.RateLimit{PerSecond: 4, Burst: 4} }))
	began := time.Now()
	const many = 6
	for i := range many {
		x.create(x.credential(func(c *v1alpha1.APIClientCredential) {
			c.Name = fmt.Sprintf("c%d", i)
			c.Spec.Secret.Name = c.Name + "-api"
			c.Spec.IBMAPIConnect.Probe = nil
		}))
	}
	for i := range many {
		x.eventually(75*time.Second, func() string {
			return lacks(x.get(fmt.Sprintf("c%d", i)).Status.Conditions, v1alpha1.ConditionReady, published, nil)
		})
	}
	took := time.Since(began)
	if most := 4 + 4*(took.Seconds()+1); float64(x.platformCalls()) > most {
		t.Errorf("%d calls in %s: the budget allows %.0f", x.platformCalls(), took, most)
	}
	x.awaitIdle(many)
}

// Hazard H10: what becomes due at once is renewed a few at a time, and all of it in the
// end.
func TestAFleetIsRenewedAFewAtATime(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.create(x.issuer())
	x.create(x.policy("Unlimited", "2s"))
	const many, slots = 9, 5
	for i := range many {
		x.create(x.credential(func(c *v1alpha1.APIClientCredential) {
			c.Name = fmt.Sprintf("c%d", i)
			c.Spec.Secret.Name = c.Name + "-api"
		}))
	}
	for i := range many {
		x.awaitReady(fmt.Sprintf("c%d", i))
	}
	x.awaitIdle(many)

	// Nothing can be proven, so whoever has begun goes on holding its place.
	fault := x.fault(simkit.Fault{Operation: "gateway.call", Action: simkit.Refuse, Status: 503, Count: -1})
	update(x, "policy", &v1alpha1.RotationPolicy{}, func(p *v1alpha1.RotationPolicy) { p.Spec.RotateAfter = "3s" })
	begun := func() int { return len(x.sim.Ledger().Issued()) - many }
	x.eventually(soon, func() string {
		if begun() < slots {
			return fmt.Sprintf("%d of %d that are due have begun", begun(), many)
		}
		return ""
	})
	x.throughout(8*time.Second, func() string {
		if begun() > slots {
			return fmt.Sprintf("%d rotations at a time, want at most %d", begun(), slots)
		}
		return ""
	})
	x.sim.Faults().Remove(fault)
	x.eventually(2*soon, func() string {
		for i := range many {
			if c := x.get(fmt.Sprintf("c%d", i)); c.Status.Version < 2 {
				return c.Name + " was not renewed"
			}
		}
		return ""
	})
	update(x, "policy", &v1alpha1.RotationPolicy{}, func(p *v1alpha1.RotationPolicy) { p.Spec.RotateAfter = "Unlimited" })
	x.awaitIdle(many)
}
