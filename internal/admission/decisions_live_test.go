package admission

import (
	"context"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// administrator is a client that knows our kinds.
func administrator(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(plane.Config(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func decisionGuard(t *testing.T, policies bool) *DecisionGuard {
	t.Helper()
	c := administrator(t)
	g, err := NewDecisionGuard(c, c, clock.RealClock{}, policies)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// awaitDecisions waits for an answer of a guard that has just begun to ask.
func awaitDecisions(t *testing.T, doubt string) (since time.Time) {
	t.Helper()
	last := ""
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		since, last = decisionGuard(t, true).Proven(ctx, "default")
		return doubt == "" && last == "" || doubt != "" && strings.Contains(last, doubt), nil
	})
	if err != nil {
		t.Fatalf("want %q, and it says %q: %v", doubt, last, err)
	}
	return since
}

// TestHazardC8DecisionsOlderThanTheirPolicyProveNothing: what was written while the policies
// were away carries any name.
func TestHazardC8DecisionsOlderThanTheirPolicyProveNothing(t *testing.T) {
	admin := administrator(t)
	awaitDecisions(t, "does not exist: apply config/admission")
	lie := &v1alpha1.ApprovalDecision{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "lie"},
		Spec: v1alpha1.ApprovalDecisionSpec{
			RequestRef:  v1alpha1.ObjectIdentity{Name: "billing.renew", UID: "one"},
			ApprovalRef: v1alpha1.ApprovalReference{Kind: "RotationPolicy", Name: "strict"}, Approver: "alice@example.com", Decision: v1alpha1.Approve,
		},
	}
	if err := admin.Create(t.Context(), lie); err != nil {
		t.Fatal("nobody guards, and it is refused:", err)
	}
	install(t, nil)
	since := awaitDecisions(t, "")
	if !lie.CreationTimestamp.Time.Before(since) {
		t.Errorf("the lie of %s counts: decisions are believed from %s on", lie.CreationTimestamp, since)
	}
	// While the policy is another one, however short, lies can be told; afterwards only what
	// is younger is believed.
	p := &admissionv1.ValidatingAdmissionPolicy{}
	if err := admin.Get(t.Context(), client.ObjectKey{Name: decisionsPolicy}, p); err != nil {
		t.Fatal(err)
	}
	shipped := p.Spec.DeepCopy()
	p.Spec.Validations = p.Spec.Validations[:1]
	if err := admin.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	awaitDecisions(t, "claviger-decisions is not as this version of Claviger ships it")
	pause := time.NewTimer(1100 * time.Millisecond) // the API server's grain is a second
	<-pause.C
	p.Spec = *shipped
	if err := admin.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if again := awaitDecisions(t, ""); !again.After(since) {
		t.Errorf("decisions are believed from %s on, as before the change (%s)", again, since)
	}
	if _, doubt := decisionGuard(t, false).Proven(t.Context(), "default"); !strings.Contains(doubt, "single namespaces") {
		t.Errorf("without the right to read policies it says %q", doubt)
	}
}
