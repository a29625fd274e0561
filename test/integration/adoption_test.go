package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
)

// seedByHand is a credential that a person made in the app billing, and holds in a Secret.
func (x *tenant) seedByHand(secretName string) *corev1.Secret {
	x.t.Helper()
	made := apiconnectsim.SeedCredential{Name: "billing-key", ClientID: "3f1c0a5d9e7b4c2a8d6f0e1b2c3d4e5f", ClientSecret: secret("by-hand")}
	_, err := x.sim.Seed(apiconnectsim.Seed{Orgs: []apiconnectsim.SeedOrg{{Name: billing.Org, Catalogs: []apiconnectsim.SeedCatalog{{
		Name: billing.Catalog, ConsumerOrgs: []apiconnectsim.SeedConsumerOrg{{Name: billing.ConsumerOrg, Apps: []apiconnectsim.SeedApp{{
			Name: billing.App, Credentials: []apiconnectsim.SeedCredential{made},
		}}}},
	}}}}})
	if err != nil {
		x.t.Fatal(err)
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: secretName, Labels: map[string]string{"app": "billing"}},
		StringData: map[string]string{"client_id": made.ClientID, "client_secret": made.ClientSecret, "note": "made by hand"},
	}
	x.create(s)
	return x.target(secretName)
}

// The Secret that workloads mount already is taken over as it is, and its credential is
// rotated like any other from then on.
func TestAnExistingCredentialIsAdoptedInPlace(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	before := x.seedByHand("billing-api")
	issued := len(x.sim.Ledger().Issued())
	x.ready(x.policy("Unlimited", "3s"), func(c *v1alpha1.APIClientCredential) {
		c.Spec.Adopt = &v1alpha1.Adoption{SecretRef: v1alpha1.SecretReference{Name: "billing-api"}}
	})
	after := x.target("billing-api")
	if diff := cmp.Diff(before.Data, after.Data); diff != "" || before.UID != after.UID {
		t.Errorf("the Secret was changed (-before +after):\n%s", diff)
	}
	if got := len(x.sim.Ledger().Issued()); got != issued {
		t.Errorf("%d credentials were made", got-issued)
	}
	caller := x.call(time.Second)
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.eventually(2*soon, func() string {
		if live := x.sim.Ledger().Live(); len(live) != 1 || live[0].ID == "3f1c0a5d9e7b4c2a8d6f0e1b2c3d4e5f" {
			return "the adopted version lives"
		}
		return ""
	})
	x.wantNoFailure(caller)
	if got := string(x.target("billing-api").Data["note"]); got != "made by hand" {
		t.Errorf("somebody else's key holds %q", got)
	}
}

// Pods that use the Secret which an adopted version came from hold that version, though it is
// not the one that Claviger writes: neither a rotation nor a deletion revokes it under them.
func TestAnAdoptedVersionWaitsForThePodsOfItsOldSecret(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.seedByHand("by-hand")
	n := x.node()
	d := x.deployment()
	d.Spec.Template.Spec.Containers[0].EnvFrom[0].SecretRef.Name = "by-hand"
	x.create(d)
	x.awaitRollout(1)
	x.ready(x.watchedBy(3*time.Second), func(c *v1alpha1.APIClientCredential) {
		c.Spec.Adopt = &v1alpha1.Adoption{SecretRef: v1alpha1.SecretReference{Name: "by-hand"}}
	})
	x.change(func(c *v1alpha1.APIClientCredential) { c.Spec.Adopt = nil }) // the journal knows
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.await(soon, v1alpha1.ConditionUptakeStalled, state{"True", v1alpha1.ReasonUptakeDeadlinePassed}, "billing-", "stays valid")
	x.rollOut(2) // younger pods that use the old Secret hold the old version as well
	x.awaitRollout(2)
	x.throughout(3*time.Second, func() string {
		if live := len(x.sim.Ledger().Live()); live != 2 {
			return fmt.Sprintf("%d credentials live while pods use the adopted one", live)
		}
		return ""
	})
	update(x, "billing", &appsv1.Deployment{}, func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].EnvFrom[0].SecretRef.Name = "billing-api"
	})
	x.awaitRollout(3)
	x.awaitIdle(1)
	n.wantNoFailure()
}

// The same for a deletion: it says which pods hold it.
func TestADeletionWaitsForThePodsOfTheAdoptedSecret(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.seedByHand("by-hand")
	n := x.node()
	d := x.deployment()
	d.Spec.Template.Spec.Containers[0].EnvFrom[0].SecretRef.Name = "by-hand"
	x.create(d)
	x.awaitRollout(1)
	x.ready(nil, func(c *v1alpha1.APIClientCredential) {
		c.Spec.Adopt = &v1alpha1.Adoption{SecretRef: v1alpha1.SecretReference{Name: "by-hand"}}
	})
	c := x.get("billing")
	x.delete(c)
	x.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonInUse}, "2 pod(s)", "billing-")
	x.throughout(2*time.Second, func() string {
		if live := len(x.sim.Ledger().Live()); live != 1 {
			return "the adopted one was revoked under its pods"
		}
		return ""
	})
	n.wantNoFailure()
	x.delete(d, client.PropagationPolicy(metav1.DeletePropagationBackground))
	x.awaitGone(soon, c)
	if live := len(x.sim.Ledger().Live()); live != 0 {
		t.Errorf("%d credentials live after the deletion", live)
	}
}

// What is wrong with an adoption is said, nothing is made in its place, and what was named is
// never revoked.
func TestAnAdoptionThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	held := x.seedByHand("by-hand")
	wrong := held.DeepCopy()
	wrong.ObjectMeta, wrong.Data = metav1.ObjectMeta{Namespace: x.ns, Name: "wrong"}, map[string][]byte{"client_id": held.Data["client_id"], "client_secret": []byte("guessed")}
	x.create(wrong)
	x.create(x.issuer())
	adopt := func(secretName string) func(*v1alpha1.APIClientCredential) {
		return func(c *v1alpha1.APIClientCredential) {
			c.Spec.Adopt = &v1alpha1.Adoption{SecretRef: v1alpha1.SecretReference{Name: secretName}}
		}
	}
	x.create(x.credential(adopt("missing")))
	for _, step := range []struct{ secret, says string }{
		{"missing", "Secret missing does not exist"},
		{"wrong", "does not accept what the Secret holds"},
	} {
		x.change(adopt(step.secret))
		x.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonUpstreamRefused}, step.says)
	}
	if issued := x.calls("credential.create"); issued != 0 {
		t.Errorf("%d were made instead", issued)
	}
	x.change(adopt("by-hand"))
	x.awaitReady("billing")
	x.create(x.credential(adopt("by-hand"), func(c *v1alpha1.APIClientCredential) { c.Name, c.Spec.Secret.Name = "second", "second-api" }))
	x.eventually(soon, func() string {
		return lacks(x.get("second").Status.Conditions, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonUpstreamConflict}, []string{"billing manages that one already"})
	})
	second := x.get("second")
	x.delete(second)
	x.awaitGone(soon, second)
	if live := len(x.sim.Ledger().Live()); live != 1 {
		t.Errorf("%d live, want the adopted one", live)
	}
}
