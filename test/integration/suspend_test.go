package integration

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// A suspended credential is left alone, here and upstream, until it no longer is; then
// everything that was left undone is done.
func TestASuspendedCredentialIsLeftAlone(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "3s"))
	x.awaitIdle(1)
	x.change(func(c *v1alpha1.APIClientCredential) { c.Spec.Suspend = true })
	x.await(soon, v1alpha1.ConditionAttention, state{"True", v1alpha1.ReasonSuspended})
	x.await(soon, v1alpha1.ConditionReady, published)

	since, calls := x.mark(), x.calls("credential.*")-x.calls("credential.list-catalog")
	before := x.target("billing-api")
	x.delete(before.DeepCopy())
	x.request(time.Now())
	x.eventually(soon, func() string {
		return lacks(x.get("billing").Status.Conditions, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonSuspended}, nil)
	})
	x.throughout(3*time.Second, func() string {
		if x.target("billing-api") != nil {
			return "a suspended credential was put back"
		}
		return ""
	})
	// Its deletion waits too.
	doomed := x.create(x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Name, c.Spec.Secret.Name, c.Spec.Suspend = "doomed", "doomed-api", true
	}))
	x.eventually(soon, func() string {
		return lacks(x.get("doomed").Status.Conditions, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonSuspended}, nil)
	})
	x.delete(doomed)
	for _, w := range x.writes(since) {
		if w != "patch apiclientcredentials/status billing" && w != "patch apiclientcredentials/status doomed" {
			t.Errorf("while suspended the operator did: %s", w)
		}
	}
	if got := x.calls("credential.*") - x.calls("credential.list-catalog"); got != calls {
		t.Errorf("%d calls to the upstream while suspended", got-calls)
	}

	x.change(func(c *v1alpha1.APIClientCredential) { c.Spec.Suspend = false })
	x.awaitVersion(soon, 2)
	x.awaitIdle(1)
	x.await(soon, v1alpha1.ConditionReady, published)
	x.await(soon, v1alpha1.ConditionAttention, state{})
}

// The kill switch of an upstream: nothing at all is sent to it, for no credential, not
// even a login, while Secrets are still put back.
func TestASuspendedIssuerSendsNothing(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	c := x.ready(x.policy("Unlimited", "3s"))
	x.awaitIdle(1)
	suspend := func(on bool) {
		update(x, "apic", &v1alpha1.CredentialIssuer{}, func(i *v1alpha1.CredentialIssuer) { i.Spec.Suspend = on })
	}
	suspend(true)
	x.awaitIssuer(soon, state{"False", v1alpha1.ReasonSuspended})

	calls, stats := x.platformCalls(), x.calls("gateway.call")
	before := x.target("billing-api")
	x.delete(before.DeepCopy())
	x.request(time.Now())
	x.create(x.credential(func(c *v1alpha1.APIClientCredential) { c.Name, c.Spec.Secret.Name = "second", "second-api" }))
	x.await(soon, v1alpha1.ConditionAttention, state{"True", v1alpha1.ReasonIssuerSuspended})
	x.eventually(soon, func() string {
		got := x.target("billing-api")
		if got == nil {
			return "the Secret was not put back"
		}
		return cmp.Diff(bare(before), bare(got))
	})
	x.eventually(soon, func() string {
		return lacks(x.get("second").Status.Conditions, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonIssuerSuspended}, nil)
	})
	// Longer than the interval of the sweep.
	x.throughout(sweepInterval+3*time.Second, func() string {
		if made := x.platformCalls() - calls; made > 0 {
			return "a call was made to the platform"
		}
		if made := x.calls("gateway.call") - stats; made > 0 {
			return "a call was made to the gateway"
		}
		return ""
	})

	suspend(false)
	x.awaitIssuer(soon, state{"True", v1alpha1.ReasonLoggedIn})
	x.awaitVersion(soon, 2)
	x.awaitReady("second")
	x.awaitIdle(2)

	// Deleted under the kill switch it waits, and says for what.
	suspend(true)
	x.awaitIssuer(soon, state{"False", v1alpha1.ReasonSuspended})
	calls = x.platformCalls()
	x.delete(c)
	x.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonIssuerSuspended}, "version 2 waits to be revoked")
	if made := x.platformCalls() - calls; made > 0 {
		t.Errorf("%d calls were made to the platform", made)
	}
	suspend(false)
	x.awaitGone(soon, c)
	x.awaitIdle(1)
}
