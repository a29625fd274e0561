package admission

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/internal/controlplane"
	"github.com/claviger-dev/claviger/internal/journal"
)

// plane is a real API server, without any policy at first. Policies are of the whole
// cluster, so the tests run one after the other and leave none behind.
var plane *controlplane.ControlPlane

func TestMain(m *testing.M) {
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	var err error
	if plane, err = controlplane.Start(ctx, controlplane.Options{CRDPaths: []string{"../../config/crd"}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := plane.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func asPolicy(o client.Object) (*admissionv1.ValidatingAdmissionPolicy, bool) {
	p, ok := o.(*admissionv1.ValidatingAdmissionPolicy)
	return p, ok
}

func sameKind(a, b client.Object) bool {
	_, aIsPolicy := asPolicy(a)
	_, bIsPolicy := asPolicy(b)
	return aIsPolicy == bIsPolicy
}

func copyInto(from, to client.Object) error {
	switch to := to.(type) {
	case *admissionv1.ValidatingAdmissionPolicy:
		from.(*admissionv1.ValidatingAdmissionPolicy).DeepCopyInto(to)
	case *admissionv1.ValidatingAdmissionPolicyBinding:
		from.(*admissionv1.ValidatingAdmissionPolicyBinding).DeepCopyInto(to)
	default:
		return errors.New("no policy and no binding")
	}
	return nil
}

// connect returns a client of a user; no user is the administrator.
func connect(t *testing.T, user string) client.Client {
	t.Helper()
	config := plane.Config()
	if user != "" {
		config.Impersonate = rest.ImpersonationConfig{UserName: user}
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func liveGuard(t *testing.T, c client.Client) *Guard {
	t.Helper()
	g, err := NewGuard(c, c, clock.RealClock{}, true)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// install makes the shipped policies and bindings, changed, and takes them away at the
// end of the test, until the API server has noticed.
func install(t *testing.T, change func(client.Object)) {
	t.Helper()
	shipped, err := readShipped()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range shipped {
		if change != nil {
			change(o)
		}
		if err := connect(t, "").Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, o := range shipped {
			if err := connect(t, "").Delete(ctx, o); err != nil {
				t.Error(err)
			}
		}
		err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			return liveGuard(t, connect(t, "")).probe(ctx, "default") != "", nil
		})
		if err != nil {
			t.Error("the policies do not go:", err)
		}
	})
}

// awaitProbe waits until the probe finds a proof, or stops finding one.
func awaitProbe(t *testing.T, c client.Client, namespace string, proof bool) {
	t.Helper()
	g := liveGuard(t, c)
	last := ""
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = g.probe(ctx, namespace)
		return (last == "") == proof, nil
	})
	if err != nil {
		t.Fatalf("proof %v never comes: %v; last: %s", proof, err, last)
	}
}

func namespace(t *testing.T, name string, labels map[string]string) string {
	t.Helper()
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	if err := connect(t, "").Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return name
}

func requireDoubt(t *testing.T, g *Guard, namespace, want string) {
	t.Helper()
	ok, message := g.InForce(t.Context(), namespace)
	if ok || !strings.Contains(message, want) {
		t.Errorf("in force in %s: %v (%q); want a doubt that says %q", namespace, ok, message, want)
	}
}

func TestWithoutPoliciesTheGuardIsNotInForce(t *testing.T) {
	g := liveGuard(t, connect(t, ""))
	requireDoubt(t, g, "default", "does not exist: apply config/admission")
	if doubt := g.probe(t.Context(), "default"); !strings.Contains(doubt, "a forged version Secret was accepted") {
		t.Errorf("the probe says %q", doubt)
	}
}

func TestTheShippedPoliciesAreInForce(t *testing.T) {
	install(t, nil)
	awaitProbe(t, connect(t, ""), "default", true)
	g := liveGuard(t, connect(t, ""))
	if ok, message := g.InForce(t.Context(), "default"); !ok {
		t.Error("it is not in force:", message)
	}
	requireDoubt(t, g, "no-such-namespace", "not found")

	var left corev1.SecretList
	if err := connect(t, "").List(t.Context(), &left); err != nil {
		t.Fatal(err)
	}
	for _, s := range left.Items {
		if s.Type == journal.SecretType {
			t.Errorf("the probe left Secret %s behind", s.Name)
		}
	}
}

func TestARefusalByRBACIsNoProof(t *testing.T) {
	install(t, nil)
	awaitProbe(t, connect(t, ""), "default", true)
	nobody := connect(t, "nobody")
	g := liveGuard(t, nobody)
	requireDoubt(t, g, "default", "cannot be read")
	if doubt := g.probe(t.Context(), "default"); !strings.Contains(doubt, "is not proven") || !strings.Contains(doubt, "forbidden") {
		t.Errorf("the probe says %q", doubt)
	}
}

func TestARefusalByAnotherPolicyIsNoProof(t *testing.T) {
	install(t, func(o client.Object) {
		o.SetName("other-" + o.GetName())
		if b, ok := o.(*admissionv1.ValidatingAdmissionPolicyBinding); ok {
			b.Spec.PolicyName = "other-" + b.Spec.PolicyName
		}
	})
	forged := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "x-", Namespace: "default", Annotations: map[string]string{journal.AnnotationProbe: "x"}},
		Type:       journal.SecretType,
	}
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		return apierrors.IsInvalid(connect(t, "").Create(ctx, forged.DeepCopy(), client.DryRunAll)), nil
	})
	if err != nil {
		t.Fatal("the other policy never refuses:", err)
	}
	if doubt := liveGuard(t, connect(t, "")).probe(t.Context(), "default"); !strings.Contains(doubt, "met something else than policy claviger-journal") {
		t.Errorf("the probe says %q", doubt)
	}
}

func TestABindingThatIsNarrowedIsFoundOut(t *testing.T) {
	inside := namespace(t, "inside", map[string]string{"guarded": "yes"})
	outside := namespace(t, "outside", nil)
	install(t, func(o client.Object) {
		if b, ok := o.(*admissionv1.ValidatingAdmissionPolicyBinding); ok {
			b.Spec.MatchResources = &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"guarded": "yes"}}}
		}
	})
	awaitProbe(t, connect(t, ""), inside, true)
	g := liveGuard(t, connect(t, ""))
	if doubt := g.probe(t.Context(), outside); !strings.Contains(doubt, "not guarded in namespace outside") {
		t.Errorf("the probe says %q outside", doubt)
	}
	requireDoubt(t, g, inside, "is not as this version of Claviger ships it")
}

// TestPoliciesThatWereWeakenedAreFoundOut: the probe alone would be green for all of
// these, because its own validation is left as it is.
func TestPoliciesThatWereWeakenedAreFoundOut(t *testing.T) {
	for name, weaken := range map[string]func(*admissionv1.ValidatingAdmissionPolicy){
		"the right is not asked for": func(p *admissionv1.ValidatingAdmissionPolicy) { p.Spec.Validations = p.Spec.Validations[:1] },
		"it fails open": func(p *admissionv1.ValidatingAdmissionPolicy) {
			open := admissionv1.Ignore
			p.Spec.FailurePolicy = &open
		},
		"deletion is not matched": func(p *admissionv1.ValidatingAdmissionPolicy) {
			rule := &p.Spec.MatchConstraints.ResourceRules[0]
			rule.Operations = rule.Operations[:2]
		},
		"a tenant is let through": func(p *admissionv1.ValidatingAdmissionPolicy) {
			p.Spec.Variables[0].Expression = "request.userInfo.username == 'mallory' || " + p.Spec.Variables[0].Expression
		},
	} {
		t.Run(name, func(t *testing.T) {
			install(t, func(o client.Object) {
				if p, ok := asPolicy(o); ok && p.Name == journalPolicy {
					weaken(p)
				}
			})
			awaitProbe(t, connect(t, ""), "default", true)
			requireDoubt(t, liveGuard(t, connect(t, "")), "default", "ValidatingAdmissionPolicy claviger-journal is not as this version of Claviger ships it")
		})
	}
}

// TestInADyingNamespaceTheContentIsTheProof: otherwise a namespace that is deleted
// could never be emptied.
func TestInADyingNamespaceTheContentIsTheProof(t *testing.T) {
	doomed := namespace(t, "doomed", nil)
	install(t, nil)
	awaitProbe(t, connect(t, ""), "default", true)
	// Without a controller manager the namespace stays as it is now.
	if err := connect(t, "").Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: doomed}}); err != nil {
		t.Fatal(err)
	}
	forged := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{GenerateName: "x-", Namespace: doomed}, Type: journal.SecretType}
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		return apierrors.HasStatusCause(connect(t, "").Create(ctx, forged.DeepCopy(), client.DryRunAll), corev1.NamespaceTerminatingCause), nil
	})
	if err != nil {
		t.Fatal("the namespace never terminates:", err)
	}
	if ok, message := liveGuard(t, connect(t, "")).InForce(t.Context(), doomed); !ok {
		t.Error("it is not in force:", message)
	}
}
