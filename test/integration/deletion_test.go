package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// Hazard C1: by whichever way a credential is deleted, everything that it ever made
// upstream is revoked, and the Secret goes after that.
func TestDeletionRevokesEverything(t *testing.T) {
	t.Parallel()
	deleteCredential := func(propagation metav1.DeletionPropagation) func(x *tenant) {
		return func(x *tenant) { x.delete(x.credential(), client.PropagationPolicy(propagation)) }
	}
	for _, test := range []struct {
		name   string
		delete func(x *tenant)
		// successor: the deletion of a published version may have begun another one.
		successor bool
	}{
		{"in the background", deleteCredential(metav1.DeletePropagationBackground), false},
		{"in the foreground", deleteCredential(metav1.DeletePropagationForeground), false},
		{"orphaning its dependents", deleteCredential(metav1.DeletePropagationOrphan), false},
		{"together with its issuer and login", func(x *tenant) {
			x.delete(x.issuer())
			x.delete(x.login("apic-login", ""))
			x.delete(x.credential())
		}, false},
		{"with its namespace", func(x *tenant) { x.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: x.ns}}) }, false},
		{"after its version Secrets", func(x *tenant) {
			for _, v := range x.versions() {
				x.delete(&v)
			}
			x.delete(x.credential())
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, shared)
			// Two versions live: the published one and one in its overlap.
			c := x.ready(x.policy("Unlimited", "1h"))
			x.request(time.Now())
			x.awaitVersion(soon, 2)
			x.awaitIdle(2)

			test.delete(x)
			x.awaitGone(namespaceEnds, c)
			if live := x.sim.Ledger().Live(); len(live) > 0 {
				t.Errorf("%d credentials live on: %v", len(live), live)
			}
			if got := len(x.sim.Ledger().Issued()); got != 2 && !test.successor {
				t.Errorf("%d credentials were issued in the end", got)
			}
			if s := x.target("billing-api"); s != nil {
				t.Error("the Secret is left, with a credential that is dead")
			}
			if left := x.versions(); len(left) > 0 {
				t.Errorf("%d version Secrets are left", len(left))
			}
			if strings.Contains(test.name, "namespace") {
				x.awaitGone(namespaceEnds, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: x.ns}})
			}
			if strings.Contains(test.name, "issuer") {
				x.awaitGone(soon, x.issuer())
			}
		})
	}
}

// Under Retain the workloads go on with what they hold, and a credential of the same
// name takes it over without making anything new.
func TestARetainedCredentialIsAdopted(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	retain := func(c *v1alpha1.APIClientCredential) { c.Spec.DeletionPolicy = v1alpha1.DeletionRetain }
	c := x.ready(x.policy("Unlimited", "3s"), retain)
	before := x.target("billing-api")
	workload := x.call(0)

	x.delete(c, client.PropagationPolicy(metav1.DeletePropagationForeground))
	x.awaitGone(soon, c)
	if diff := cmp.Diff(before.Data, x.target("billing-api").Data); diff != "" {
		t.Fatalf("the Secret's data (-want +got):\n%s", diff)
	}
	if x.disagreement() != "" || len(x.sim.Ledger().Live()) != 1 {
		t.Fatalf("the retained version must live on: %s", x.disagreement())
	}
	for _, s := range append(x.versions(), *x.target("billing-api")) {
		if len(s.Finalizers) > 0 {
			t.Errorf("Secret %s is still held by %v", s.Name, s.Finalizers)
		}
	}

	x.create(x.credential(retain))
	x.awaitReady("billing")
	if got := x.target("billing-api"); got.UID != before.UID || cmp.Diff(before.Data, got.Data) != "" {
		t.Error("the new credential wrote something else")
	}
	if got := len(x.sim.Ledger().Issued()); got != 1 {
		t.Errorf("%d credentials were issued: the retained one is good", got)
	}
	// It is a credential like any other: it rotates, and what it adopted is revoked.
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitIdle(1)
	x.wantNoFailure(workload)
}

// A Secret of a retained credential is nobody else's: one of another name does not take
// it.
func TestARetainedSecretIsNotTakenByAnother(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	c := x.ready(nil, func(c *v1alpha1.APIClientCredential) { c.Spec.DeletionPolicy = v1alpha1.DeletionRetain })
	x.delete(c)
	x.awaitGone(soon, c)
	x.create(x.credential(func(c *v1alpha1.APIClientCredential) { c.Name = "other" }))
	x.eventually(soon, func() string {
		return lacks(x.get("other").Status.Conditions, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonSecretNotOurs}, nil)
	})
	if got := len(x.sim.Ledger().Issued()); got != 1 {
		t.Errorf("%d credentials were issued", got)
	}
}

// Under Retain a namespace ends without a word from the upstream, where the credential
// lives on.
func TestARetainedCredentialOutlivesItsNamespace(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(nil, func(c *v1alpha1.APIClientCredential) { c.Spec.DeletionPolicy = v1alpha1.DeletionRetain })
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: x.ns}}
	x.delete(ns)
	x.awaitGone(namespaceEnds, ns)
	if live := x.sim.Ledger().Live(); len(live) != 1 {
		t.Errorf("%d credentials live, want the retained one", len(live))
	}
}

// Hazard 2.11: an issuer that is being deleted makes nothing new, and stays until it has
// revoked what was made with it.
func TestADeletedIssuerStaysUntilItIsNotNeeded(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	c := x.ready(x.policy("Unlimited", "3s"))
	issuer := x.getIssuer()
	x.delete(issuer)
	x.awaitIssuer(soon, state{"False", v1alpha1.ReasonDeleting}, "Nothing is issued any more")
	x.request(time.Now())
	x.await(soon, v1alpha1.ConditionAttention, state{"True", v1alpha1.ReasonIssuerNotReady}, "being deleted")
	x.await(soon, v1alpha1.ConditionReady, published)
	x.throughout(7*time.Second, func() string { // longer than the issuer looks at itself
		if x.getIssuer().DeletionTimestamp == nil || len(x.sim.Ledger().Issued()) > 1 {
			return "something was issued"
		}
		return ""
	})
	x.delete(c)
	x.awaitGone(soon, c)
	x.awaitGone(soon, issuer)
	if live := x.sim.Ledger().Live(); len(live) > 0 {
		t.Errorf("%d credentials live on", len(live))
	}
}

// Failure F33: of two credentials that name one Secret the first one has it, and the
// second makes nothing.
func TestTwoCredentialsCannotShareASecret(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	c := x.ready(nil)
	before := x.target("billing-api")
	second := x.create(x.credential(func(c *v1alpha1.APIClientCredential) { c.Name = "second" }))
	x.eventually(soon, func() string {
		return lacks(x.get("second").Status.Conditions, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonSecretNotOurs}, nil)
	})
	x.delete(second)
	x.awaitGone(soon, second)
	if diff := cmp.Diff(before, x.target("billing-api")); diff != "" {
		t.Errorf("the Secret of the first credential changed (-before +after):\n%s", diff)
	}
	x.awaitIdle(1)
	if got := len(x.sim.Ledger().Issued()); got != 1 {
		t.Errorf("%d credentials were issued", got)
	}
	x.delete(c)
	x.awaitGone(soon, c)
}

// Hazard C9 and "deleted while its upstream is down": the finalizer stays, the condition
// says why, and it ends by itself when the upstream is back.
func TestDeletionWaitsForTheUpstream(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		fault  simkit.Fault
		reason string
	}{
		{"that cuts connections", simkit.Fault{Operation: "credential.*", Action: simkit.Cut}, v1alpha1.ReasonUpstreamUnreachable},
		{"that answers 503", simkit.Fault{Operation: "credential.*", Action: simkit.Refuse, Status: 503}, v1alpha1.ReasonUpstreamUnreachable},
		{"that answers with a page", simkit.Fault{Operation: "credential.*", Action: simkit.HTML}, v1alpha1.ReasonUpstreamUnreachable},
		{"that answers 404 for everything", simkit.Fault{Operation: "*", Action: simkit.Refuse, Status: 404}, ""},
		{"that forbids it", simkit.Fault{Operation: "credential.*", Action: simkit.Refuse, Status: 403}, v1alpha1.ReasonUpstreamForbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, shared)
			c := x.ready(nil)
			test.fault.Count = -1
			x.fault(test.fault)
			x.delete(c)
			x.eventually(soon, func() string {
				got := stateOf(x.get("billing").Status.Conditions, v1alpha1.ConditionReady)
				if got.Status != metav1.ConditionFalse || got.Reason == "" || test.reason != "" && got.Reason != test.reason {
					return "the condition does not say why:\n" + describe(x.get("billing").Status.Conditions)
				}
				return ""
			})
			x.throughout(5*time.Second, func() string {
				if len(x.versions()) != 1 || len(x.sim.Ledger().Live()) != 1 {
					return "something was let go or revoked although the upstream does not work"
				}
				return ""
			})
			if !strings.Contains(describe(x.get("billing").Status.Conditions), "version 1") {
				t.Errorf("the condition does not name the version:\n%s", describe(x.get("billing").Status.Conditions))
			}
			kstatus(x)
			x.sim.Faults().Remove("")
			// A lost answer is settled first, and absence is believed the second time only.
			x.awaitGone(4*time.Minute, c)
			if live := x.sim.Ledger().Live(); len(live) > 0 {
				t.Errorf("%d credentials live on", len(live))
			}
		})
	}
}

// While the upstream is down a whole namespace waits, with its login, and ends complete.
func TestANamespaceWaitsForTheUpstream(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	c := x.ready(nil)
	x.fault(simkit.Fault{Operation: "credential.*", Action: simkit.Refuse, Status: 503, Count: -1})
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: x.ns}}
	x.delete(ns)
	x.eventually(namespaceEnds, func() string {
		return lacks(x.get("billing").Status.Conditions, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonUpstreamUnreachable}, []string{"version 1"})
	})
	if err := x.world.Client.Get(x.ctx, x.key("apic-login"), &corev1.Secret{}); err != nil {
		t.Errorf("the login is gone before its last use: %v", err)
	}
	x.sim.Faults().Remove("")
	// A lost answer is settled first, and absence is believed the second time only.
	x.awaitGone(4*time.Minute, c)
	x.awaitGone(namespaceEnds, ns)
	if live := x.sim.Ledger().Live(); len(live) > 0 {
		t.Errorf("%d credentials live on", len(live))
	}
}

// An administrator may let go of what cannot be revoked any more; who may only edit
// credentials may not.
func TestAbandoningNeedsTheRight(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	c := x.ready(nil)
	// The issuer is torn out by force, past its finalizer.
	issuer := x.getIssuer()
	x.delete(issuer)
	update(x, "apic", &v1alpha1.CredentialIssuer{}, func(i *v1alpha1.CredentialIssuer) { i.Finalizers = nil })
	x.awaitGone(soon, issuer)
	x.delete(c)
	x.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonIssuerNotFound}, "version 1 waits to be revoked", `CredentialIssuer "apic" does not exist`, v1alpha1.AnnotationAbandonUpstream)
	kstatus(x)

	for _, test := range []struct {
		user, role string
		may        bool
	}{{"dev", "edit", false}, {"keeper", "claviger-issuer-admin", true}} {
		x.create(&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: test.user},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: test.role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: test.user + "-" + x.ns}},
		})
		config, err := x.world.Plane.AddUser(test.user + "-" + x.ns)
		if err != nil {
			t.Fatal(err)
		}
		as, err := client.New(config, client.Options{Scheme: x.world.Client.Scheme()})
		if err != nil {
			t.Fatal(err)
		}
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"all"}}}`, v1alpha1.AnnotationAbandonUpstream)
		x.eventually(soon, func() string { // the aggregated role takes a moment to be filled
			err = as.Patch(x.ctx, x.credential(), client.RawPatch("application/merge-patch+json", []byte(patch)))
			if apierrors.IsForbidden(err) && !strings.Contains(err.Error(), "claviger-requests") {
				return "the user has no rights yet: " + err.Error()
			}
			return ""
		})
		if !test.may && (err == nil || !strings.Contains(err.Error(), "needs the verb abandon")) {
			t.Errorf("%s with role %s: want a refusal by the policy, got %v", test.user, test.role, err)
		}
		if test.may && err != nil {
			t.Errorf("%s with role %s: %v", test.user, test.role, err)
		}
	}
	x.awaitGone(soon, c)
	if left := x.versions(); len(left) > 0 {
		t.Errorf("%d version Secrets are left", len(left))
	}
	if live := x.sim.Ledger().Live(); len(live) != 1 {
		t.Errorf("%d credentials live, want the one that was abandoned", len(live))
	}
	text, err := x.world.Log()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "abandoned upstream by annotation") || !strings.Contains(text, x.sim.Ledger().Live()[0].Attrs["name"]) {
		t.Error("the log does not say what was abandoned")
	}
}

// Somebody replaces a login by delete and create: it is let go at once, and what it is
// needed for goes on when it is back.
func TestALoginSecretCanBeReplacedByDeleteAndCreate(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "3s"))
	login := x.login("apic-login", x.password)
	x.delete(login)
	x.awaitGone(15*time.Second, login.DeepCopy())
	x.awaitIssuer(soon, state{"False", v1alpha1.ReasonLoginSecretNotFound}, "apic-login")
	x.await(soon, v1alpha1.ConditionReady, published)
	x.create(x.login("apic-login", x.password))
	x.awaitIssuer(15*time.Second, state{"True", v1alpha1.ReasonLoggedIn})
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitIdle(1)
	login = &corev1.Secret{}
	if err := x.world.Client.Get(x.ctx, x.key("apic-login"), login); err != nil {
		t.Fatal(err)
	}
	if len(login.Finalizers) != 1 || login.Labels[journal.LabelRole] != journal.RoleLogin {
		t.Errorf("the new login Secret is not held: finalizers %v, labels %v", login.Finalizers, login.Labels)
	}
}

// A deletion that comes at the worst moment still leaves nothing behind.
func TestDeletionInTheMiddleOfAnIssue(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		operation string
		point     simkit.Point
		cut       bool
	}{
		{"before the upstream has committed", "credential.create", simkit.BeforeCommit, false},
		{"before the upstream has committed, and the answer is lost", "credential.create", simkit.BeforeCommit, true},
		{"after the upstream has committed", "credential.create", simkit.AfterCommit, false},
		{"after the upstream has committed, and the answer is lost", "credential.create", simkit.AfterCommit, true},
		{"while the version is verified by the platform", "credential.verify-secret", simkit.BeforeCommit, false},
		{"while the version is verified by the gateway", "gateway.call", simkit.AfterCommit, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, shared)
			held := x.hold(test.operation, test.point)
			x.create(x.issuer())
			c := x.create(x.credential())
			id := held()
			x.delete(c, client.PropagationPolicy(metav1.DeletePropagationForeground))
			x.sim.Faults().Release(id, test.cut)
			// A lost answer is settled first, and absence is believed the second time only.
			x.awaitGone(4*time.Minute, c)
			if live := x.sim.Ledger().Live(); len(live) > 0 {
				t.Errorf("%d credentials live on", len(live))
			}
			if got := len(x.sim.Ledger().Issued()); got > 1 {
				t.Errorf("%d credentials were issued for one that was deleted", got)
			}
			if left := x.versions(); len(left) > 0 {
				t.Errorf("%d version Secrets are left", len(left))
			}
		})
	}
}

// A published version Secret that somebody deletes is revoked only when its successor
// has taken its place.
func TestADeletedVersionIsReplacedBeforeItIsRevoked(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "5s"))
	prompt, late := x.call(0), x.call(3*time.Second)
	first := x.versions()[0]
	x.delete(first.DeepCopy())
	x.awaitVersion(soon, 2)
	x.awaitIdle(1)
	x.wantNoFailure(prompt)
	x.wantNoFailure(late)
	if got := x.sim.Ledger().Issued(); len(got) != 2 || got[0].Live() {
		t.Errorf("the ledger has %+v", got)
	}
}

// A definition that is removed, or a tool that prunes too much, deletes everything at once
// (hazard H8): nothing is revoked until somebody has looked.
func TestManyDeletionsAtOnceAreHeld(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.create(x.issuer())
	x.create(x.policy("Unlimited", "2s"))
	var names []string
	for i := range 7 {
		name := fmt.Sprintf("billing-%d", i)
		names = append(names, name)
		x.create(x.credential(func(c *v1alpha1.APIClientCredential) { c.Name, c.Spec.Secret.Name = name, name+"-api" }))
	}
	for _, name := range names {
		x.awaitReady(name)
	}
	if err := x.world.Client.DeleteAllOf(x.ctx, &v1alpha1.APIClientCredential{}, client.InNamespace(x.ns)); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		x.awaitReason(name, v1alpha1.ReasonMassDeletion, "more than 5 credentials of the issuer", v1alpha1.AnnotationDeletionsConfirmedAt)
	}
	held := func(want bool) {
		x.eventually(soon, func() string {
			issuer := &v1alpha1.CredentialIssuer{}
			if err := x.world.Client.Get(x.ctx, x.key("apic"), issuer); err != nil {
				return err.Error()
			}
			if got := meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionDeletionsHeld); got != want {
				return fmt.Sprintf("the issuer says DeletionsHeld: %t", got)
			}
			return ""
		})
	}
	held(true)
	if events := x.reasons("CredentialIssuer", "apic"); !slices.Contains(events, v1alpha1.ReasonMassDeletion) {
		t.Errorf("events of the issuer: %v", events)
	}
	// The first three are saved, one after the other; four are no mass and are held all the same.
	for _, name := range names[:3] {
		update(x, name, &v1alpha1.APIClientCredential{}, func(c *v1alpha1.APIClientCredential) { c.Spec.DeletionPolicy = v1alpha1.DeletionRetain })
		x.awaitGone(soon, x.credential(func(c *v1alpha1.APIClientCredential) { c.Name = name }))
	}
	x.throughout(5*time.Second, func() string {
		if live := len(x.sim.Ledger().Live()); live != len(names) {
			return fmt.Sprintf("%d of %d credentials live while a mass of deletions is held", live, len(names))
		}
		return ""
	})
	update(x, "apic", &v1alpha1.CredentialIssuer{}, func(i *v1alpha1.CredentialIssuer) {
		metav1.SetMetaDataAnnotation(&i.ObjectMeta, v1alpha1.AnnotationDeletionsConfirmedAt, time.Now().Format(time.RFC3339Nano))
	})
	for _, name := range names[3:] {
		x.awaitGone(soon, x.credential(func(c *v1alpha1.APIClientCredential) { c.Name = name }))
	}
	x.eventually(soon, func() string {
		if live := len(x.sim.Ledger().Live()); live != 3 {
			return fmt.Sprintf("%d credentials live, want the three that were saved", live)
		}
		return ""
	})
	held(false)
	// What was saved is taken over by a credential of the same name.
	x.create(x.credential(func(c *v1alpha1.APIClientCredential) { c.Name, c.Spec.Secret.Name = names[0], names[0]+"-api" }))
	x.awaitReady(names[0])
	if issued := len(x.sim.Ledger().Issued()); issued != len(names) {
		t.Errorf("%d credentials were issued, want %d: what was saved was not taken over", issued, len(names))
	}
}
