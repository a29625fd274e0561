package integration

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/venafisim"
)

// clusterIssuer is an account of this tenant's upstream whose login is in the operator's
// namespace. It is named after the namespace, because other tests have some too.
func (x *tenant) clusterIssuer(choice v1alpha1.NamespaceChoice) *v1alpha1.ClusterCredentialIssuer {
	x.t.Helper()
	login := x.login(x.ns+"-login", x.password)
	login.Namespace = operatortest.Namespace
	x.create(login) // and it stays: nothing could be revoked without it when the test's namespace goes
	spec := x.issuer().Spec
	spec.IBMAPIConnect.Login.SecretRef.Name = login.Name
	issuer := &v1alpha1.ClusterCredentialIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: x.ns},
		Spec:       v1alpha1.ClusterCredentialIssuerSpec{CredentialIssuerSpec: spec, AllowedNamespaces: choice},
	}
	x.createOutside(issuer)
	return issuer
}

// createOutside makes what does not go with the test's namespace.
func (x *tenant) createOutside(o client.Object) {
	x.t.Helper()
	x.create(o)
	x.t.Cleanup(func() {
		if err := x.world.Client.Delete(x.ctx, o); err != nil && !apierrors.IsNotFound(err) {
			x.t.Error(err)
		}
	})
}

// byCluster has a credential use the issuer of the cluster that a tenant has made.
func byCluster(owner *tenant) func(*v1alpha1.APIClientCredential) {
	return func(c *v1alpha1.APIClientCredential) {
		c.Spec.IssuerRef = v1alpha1.IssuerReference{Kind: v1alpha1.KindClusterCredentialIssuer, Name: owner.ns}
	}
}

func (x *tenant) changeClusterIssuer(change func(*v1alpha1.ClusterCredentialIssuer)) {
	x.t.Helper()
	outside := *x
	outside.ns = ""
	update(&outside, x.ns, &v1alpha1.ClusterCredentialIssuer{}, change)
}

func (x *tenant) label(labels map[string]string) {
	x.t.Helper()
	outside := *x
	outside.ns = ""
	update(&outside, x.ns, &corev1.Namespace{}, func(ns *corev1.Namespace) {
		for key, value := range labels {
			metav1.SetMetaDataLabel(&ns.ObjectMeta, key, value)
		}
	})
}

func TestAClusterIssuerServesTheNamespacesThatItAllows(t *testing.T) {
	t.Parallel()
	x, other := newTenant(t, shared), newTenant(t, shared)
	issuer := x.clusterIssuer(v1alpha1.NamespaceChoice{Names: []string{x.ns}})
	x.create(x.credential(byCluster(x)))
	x.awaitReady("billing")
	x.awaitIdle(1)

	// The other namespace is refused in words, and served as soon as it is chosen by label.
	other.create(other.credential(byCluster(x)))
	other.await(soon, v1alpha1.ConditionStalled, state{metav1.ConditionTrue, v1alpha1.ReasonNamespaceNotAllowed}, x.ns, "spec.allowedNamespaces")
	x.changeClusterIssuer(func(i *v1alpha1.ClusterCredentialIssuer) {
		i.Spec.AllowedNamespaces.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": x.ns}}
	})
	other.label(map[string]string{"team": x.ns})
	other.awaitReady("billing")
	x.eventually(soon, func() string {
		if live := len(x.sim.Ledger().Live()); live != 2 {
			return "both namespaces have a credential of the same account"
		}
		return lackOfCount(x, 2)
	})

	// Who is not allowed any more gets nothing new, and what it has is revoked in the end.
	x.changeClusterIssuer(func(i *v1alpha1.ClusterCredentialIssuer) { i.Spec.AllowedNamespaces.Selector = nil })
	other.await(soon, v1alpha1.ConditionAttention, state{metav1.ConditionTrue, v1alpha1.ReasonNamespaceNotAllowed})
	other.await(soon, v1alpha1.ConditionReady, published)
	other.delete(other.get("billing"))
	other.awaitGone(soon, other.credential())
	x.awaitIdle(1)

	// The issuer is held while a version of it lives, in whatever namespace.
	x.delete(issuer)
	x.throughout(3*time.Second, func() string {
		if err := x.world.Client.Get(x.ctx, client.ObjectKeyFromObject(issuer), issuer); err != nil {
			return "the issuer is gone while a version needs it: " + err.Error()
		}
		return ""
	})
	x.delete(x.get("billing"))
	x.awaitGone(soon, x.credential())
	x.awaitGone(soon, issuer)
	x.awaitIdle(0)
}

func lackOfCount(x *tenant, want int64) string {
	issuer := &v1alpha1.ClusterCredentialIssuer{}
	if err := x.world.Client.Get(x.ctx, client.ObjectKey{Name: x.ns}, issuer); err != nil {
		return err.Error()
	}
	if issuer.Status.Credentials != want {
		return "the issuer does not count the credentials of all namespaces"
	}
	return lacks(issuer.Status.Conditions, v1alpha1.ConditionReady, state{metav1.ConditionTrue, v1alpha1.ReasonLoggedIn}, nil)
}

func TestAClusterPolicyAppliesWhereTheNamespaceHasNone(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.label(map[string]string{"rotates": x.ns})
	p := x.policy("3s", "2s")
	everywhere := &v1alpha1.ClusterRotationPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: x.ns},
		Spec: v1alpha1.ClusterRotationPolicySpec{
			RotationPolicySpec: p.Spec, NamespaceSelector: metav1.LabelSelector{MatchLabels: map[string]string{"rotates": x.ns}},
		},
	}
	x.createOutside(everywhere)
	x.create(x.issuer())
	x.create(x.credential())
	x.awaitVersion(soon, 2) // it rotates by the cluster's rule
	x.eventually(soon, func() string {
		if got := x.get("billing").Status.Policy; got != "ClusterRotationPolicy/"+x.ns {
			return "status.policy is " + got
		}
		if err := x.world.Client.Get(x.ctx, client.ObjectKeyFromObject(everywhere), everywhere); err != nil {
			return err.Error()
		}
		if everywhere.Status.Credentials != 1 {
			return "the policy does not count the credential"
		}
		return lacks(everywhere.Status.Conditions, v1alpha1.ConditionAccepted, state{metav1.ConditionTrue, v1alpha1.ReasonAccepted}, nil)
	})
	x.create(x.policy("Unlimited", "2s"))
	x.eventually(soon, func() string {
		if got := x.get("billing").Status.Policy; got != "RotationPolicy/policy" {
			return "the namespace's own policy does not go before the cluster's: status.policy is " + got
		}
		return ""
	})
	x.awaitIdle(1)
}

// TestAnOperatorForSingleNamespacesHasRightsInThemAlone: it needs none outside, asks for none,
// and does not see what is there.
func TestAnOperatorForSingleNamespacesHasRightsInThemAlone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	world, err := operatortest.Start(ctx, operatortest.Options{Binary: binary, Canaries: canaries, Namespaces: []string{"served"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Stop(); err != nil {
			t.Error(err)
		}
	})
	if _, err := world.Run(ctx, "--namespaces=served", "--cluster-id=integration"); err != nil {
		t.Fatal(err)
	}
	x := settleIn(t, world, "served")
	x.ready(x.policy("Unlimited", "2s"))
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitIdle(1)

	other := newTenant(t, world)
	other.create(other.issuer())
	other.create(other.credential())
	shared := x.credential(byCluster(x), func(c *v1alpha1.APIClientCredential) { c.Name, c.Spec.Secret.Name = "shared", "shared-api" })
	x.create(shared)
	x.eventually(soon, func() string {
		return lacks(x.get("shared").Status.Conditions, v1alpha1.ConditionStalled, state{metav1.ConditionTrue, v1alpha1.ReasonClusterKindsOff}, nil)
	})
	if conditions := other.get("billing").Status.Conditions; len(conditions) > 0 {
		t.Errorf("a namespace that is not served is looked after: %s", describe(conditions))
	}
	// Nobody holds what is not served.
	other.delete(other.get("billing"))
	other.delete(other.issuer())
	other.awaitGone(soon, other.credential())
	x.delete(x.get("billing"))
	x.awaitGone(soon, x.credential())
	x.awaitIdle(0)

	for _, namespace := range []string{"", "served", other.ns, operatortest.Namespace} {
		requests, err := world.Requests(0, namespace)
		if err != nil {
			t.Fatal(err)
		}
		if namespace == "served" && len(requests) == 0 {
			t.Error("the audit log shows no request of the operator")
		}
		for _, r := range requests {
			if r.Status == http.StatusForbidden {
				t.Errorf("in namespace %q the operator asked for what it has no right to: %s", namespace, r)
			}
		}
	}
	x.saysThatPodsCannotBeListed()
}

// saysThatPodsCannotBeListed takes the right to list pods away from an operator for single
// namespaces, while a predecessor waits for pods.
func (x *tenant) saysThatPodsCannotBeListed() {
	x.t.Helper()
	seconds := &metav1.Duration{Duration: time.Second}
	update(x, "policy", &v1alpha1.RotationPolicy{}, func(p *v1alpha1.RotationPolicy) {
		p.Spec.Uptake = &v1alpha1.UptakePolicy{Mode: v1alpha1.UptakeConsumers, Margin: seconds}
	})
	var rights []rbacv1.PolicyRule
	update(x, "claviger", &rbacv1.Role{}, func(r *rbacv1.Role) {
		rights = slices.Clone(r.Rules)
		r.Rules = slices.DeleteFunc(r.Rules, func(rule rbacv1.PolicyRule) bool { return slices.Contains(rule.Resources, "pods") })
		if len(r.Rules) == len(rights) {
			x.t.Fatal("the role has no rule for pods")
		}
	})
	x.create(x.credential())
	x.awaitReady("billing")
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.await(3*time.Minute, v1alpha1.ConditionAttention, state{"True", v1alpha1.ReasonPodsUnreadable}, "the operator has no right to")
	if live := len(x.sim.Ledger().Live()); live != 2 {
		x.t.Errorf("%d credentials live while pods cannot be listed, want both", live)
	}
	update(x, "claviger", &rbacv1.Role{}, func(r *rbacv1.Role) { r.Rules = rights })
	x.eventually(time.Minute, func() string {
		if live := len(x.sim.Ledger().Live()); live != 1 {
			return fmt.Sprintf("%d credentials live although pods can be listed again", live)
		}
		return lacks(x.get("billing").Status.Conditions, v1alpha1.ConditionAttention, state{}, nil)
	})
}

// TestTheHandleOfASharedAccountIsSealed: with a refresh token one could do more than with the
// access token, so the team finds it sealed, and the operator still revokes with it.
func TestTheHandleOfASharedAccountIsSealed(t *testing.T) {
	t.Parallel()
	x := newVenafiTenant(t, "Tokens", nil)
	own := &v1alpha1.CredentialIssuer{}
	if err := x.world.Client.Get(x.ctx, x.key("tpp"), own); err != nil {
		t.Fatal(err)
	}
	login := &corev1.Secret{}
	if err := x.world.Client.Get(x.ctx, x.key("tpp-login"), login); err != nil {
		t.Fatal(err)
	}
	x.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatortest.Namespace, Name: x.ns + "-login"}, Data: login.Data})
	spec := *own.Spec.DeepCopy()
	spec.Venafi.Login.SecretRef.Name = x.ns + "-login"
	x.createOutside(&v1alpha1.ClusterCredentialIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: x.ns},
		Spec:       v1alpha1.ClusterCredentialIssuerSpec{CredentialIssuerSpec: spec, AllowedNamespaces: v1alpha1.NamespaceChoice{Names: []string{x.ns}}},
	})
	x.create(x.credential(byCluster(x.tenant), func(c *v1alpha1.APIClientCredential) {
		c.Spec.IBMAPIConnect, c.Spec.Venafi = nil, &v1alpha1.VenafiCredential{Token: &v1alpha1.VenafiToken{ClientID: "team-a-pipeline", Scope: "certificate:manage"}}
		c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Data: map[string]string{"access-token": "{{ .token }}"}}
	}))
	x.awaitReady("billing")
	for _, version := range x.versions() {
		if len(version.Data["handle.sealed"]) == 0 || len(version.Data["handle"]) != 0 {
			t.Errorf("the handle of version Secret %s is not sealed", version.Name)
		}
	}
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitCount("after a rotation", x.grants, venafisim.Count{Issued: 2, Live: 1, Revoked: 1})
	x.delete(x.get("billing"))
	x.awaitCount("after the deletion", x.grants, venafisim.Count{Issued: 2, Revoked: 2})
}
