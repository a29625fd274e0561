package integration

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/venafisim"
)

// replaceable has an access token in the Secret of cert-manager under a policy that lets it be
// renewed in place, and returns the token.
func (x *venafiTenant) replaceable(changes ...func(*v1alpha1.APIClientCredential)) string {
	x.t.Helper()
	update(x.tenant, "policy", &v1alpha1.RotationPolicy{}, func(p *v1alpha1.RotationPolicy) { p.Spec.Strategy = v1alpha1.StrategyReplace })
	x.create(x.credential(append(changes, func(c *v1alpha1.APIClientCredential) {
		c.Spec.IssuerRef.Name, c.Spec.IBMAPIConnect = "tpp", nil
		c.Spec.Venafi = &v1alpha1.VenafiCredential{Token: &v1alpha1.VenafiToken{ClientID: "team-a-pipeline", Scope: "certificate:manage"}}
		c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Preset: "AccessToken"}
	})...))
	x.awaitReady("billing")
	return x.token()
}

// token is the published one, in the Secret as cert-manager reads it.
func (x *venafiTenant) token() string {
	x.t.Helper()
	data := x.target("billing-api").Data
	if len(data["access-token"]) == 0 {
		x.t.Error("the Secret has no access-token")
	}
	return string(data["access-token"])
}

func (x *venafiTenant) wantAccepted(token string, want bool) {
	x.t.Helper()
	if got := x.platform.AcceptsToken(token); got != want {
		x.t.Errorf("a token is accepted: %v, want %v", got, want)
	}
}

func (x *venafiTenant) refreshes() int { return x.platform.Calls().Total("auth.refresh") }

func TestATokenIsRenewedInPlaceWhereThePolicySaysSo(t *testing.T) {
	t.Parallel()
	x := newVenafiTenant(t, "Tokens", nil)
	first := x.replaceable()
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	second := x.token()
	x.wantAccepted(first, false)
	x.wantAccepted(second, true)
	if got := x.grants(); got != (venafisim.Count{Issued: 1, Live: 1}) || x.refreshes() != 1 {
		t.Errorf("%+v grants after %d refreshes", got, x.refreshes())
	}
	// What has ended is let go without an overlap, and never named to the platform.
	x.eventually(soon, func() string {
		if n := len(x.versions()); n != 1 {
			return "there are other versions than the published one"
		}
		return ""
	})
	v := x.versions()[0]
	if v.Annotations[journal.AnnotationInPlace] == "" || v.Annotations[journal.AnnotationReplacedAt] == "" {
		t.Errorf("the journal has %v", v.Annotations)
	}
	x.eventually(soon, func() string {
		history := x.get("billing").Status.History
		if len(history) != 2 || history[0].RevokedAt == nil || history[0].Replaced != nil || history[1].Replaced == nil || history[1].RevokedAt != nil {
			return "the history does not tell of the replacement"
		}
		if took := history[1].Replaced.SecretAfter.Duration; took <= 0 || took > soon {
			return "the Secret held what had ended for " + took.String()
		}
		return ""
	})
	x.eventually(soon, func() string {
		if reasons := x.reasons("APIClientCredential", "billing"); !slices.Contains(reasons, v1alpha1.ReasonReplaced) {
			return "the events are " + strings.Join(reasons, ", ")
		}
		return ""
	})
	if revocations := x.platform.Calls().Total("auth.revoke"); revocations != 0 {
		t.Errorf("%d revocations of a grant that is in use", revocations)
	}

	// What may be in foreign hands is not used to make its successor.
	x.annotate(v1alpha1.AnnotationCompromisedAt, time.Now().UTC().Format(time.RFC3339Nano))
	x.awaitVersion(soon, 3)
	x.wantAccepted(x.token(), true)
	x.awaitCount("grants", x.grants, venafisim.Count{Issued: 2, Live: 1, Revoked: 1})
	x.wantAccepted(second, false)
	if x.refreshes() != 1 {
		t.Errorf("%d refreshes", x.refreshes())
	}
	c := x.get("billing")
	x.delete(c)
	x.awaitGone(soon, c)
	x.awaitCountOfGone("grants", x.grants, venafisim.Count{Issued: 2, Revoked: 2})
}

// The token that workloads hold is dead, and nobody knows the one that has taken its place.
func TestAReplacementWithoutAnAnswerIsFollowedByANewGrantAtOnce(t *testing.T) {
	t.Parallel()
	x := newVenafiTenant(t, "Tokens", nil)
	first := x.replaceable()
	if _, err := x.platform.Faults().Add(simkit.Fault{Operation: "auth.refresh", Point: simkit.AfterCommit, Action: simkit.Cut}); err != nil {
		t.Fatal(err)
	}
	x.request(time.Now())
	// Sooner than its claim runs out, which takes 50 seconds.
	x.awaitVersion(20*time.Second, 3)
	x.wantAccepted(first, false)
	x.wantAccepted(x.token(), true)
	if got := x.grants(); got.Issued != 2 || x.refreshes() != 1 {
		t.Errorf("%+v grants after %d refreshes", got, x.refreshes())
	}
	x.await(soon, v1alpha1.ConditionReady, published, "version 3")
}

// What a policy says of overlap holds for upstreams that cannot renew in place, and for versions
// that somebody names.
func TestWhatIsNamedIsNotRenewedInPlace(t *testing.T) {
	t.Parallel()
	x := newVenafiTenant(t, "Tokens", nil)
	update(x.tenant, "policy", &v1alpha1.RotationPolicy{}, func(p *v1alpha1.RotationPolicy) { p.Spec.Overlap = "1h" })
	first := x.replaceable(func(c *v1alpha1.APIClientCredential) { c.Spec.Secret.Naming = v1alpha1.NamingVersioned })
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.wantAccepted(first, true)
	x.wantAccepted(x.token(), true)
	if x.refreshes() != 0 {
		t.Errorf("%d refreshes", x.refreshes())
	}
}

// replacement stands still after the platform has ended a token, and before anybody knows of the
// one that has taken its place.
type replacement struct {
	x     *venafiTenant
	first string
}

func beginReplacement(t *testing.T, world *operatortest.World) *replacement {
	t.Helper()
	r := &replacement{x: newVenafiTenantIn(t, world, "Tokens", nil)}
	r.first = r.x.replaceable()
	if _, err := r.x.platform.Faults().Add(simkit.Fault{Operation: "auth.refresh", Point: simkit.AfterCommit, Action: simkit.Hold}); err != nil {
		t.Fatal(err)
	}
	r.x.request(time.Now())
	return r
}

func (r *replacement) held() {
	r.x.t.Helper()
	ctx, cancel := context.WithTimeout(r.x.ctx, 2*soon)
	defer cancel()
	if _, err := r.x.platform.Events().Wait(ctx, 0, func(e simkit.Event) bool {
		return e.Type == simkit.EventHeld && e.Operation == "auth.refresh"
	}); err != nil {
		r.x.t.Fatalf("no refresh came to be held: %v", err)
	}
}

// end: the operator that comes after finds in the journal that the token may be dead, and
// makes a new grant when nobody can be about to publish what it does not know.
func (r *replacement) end() {
	x := r.x
	x.t.Helper()
	x.awaitVersion(75*time.Second, 3)
	x.wantAccepted(r.first, false)
	x.wantAccepted(x.token(), true)
	if got := x.grants(); got.Issued != 2 || x.refreshes() != 1 {
		x.t.Errorf("%+v grants after %d refreshes", got, x.refreshes())
	}
	// The grant of which nobody knows the token is waited for in another test.
	c := x.get("billing")
	x.annotate(v1alpha1.AnnotationAbandonUpstream, "all")
	x.delete(c)
	x.awaitGone(soon, c)
}
