package approval

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// always is a guard that has proven everything.
type always struct{}

func (always) Proven(context.Context, string) (time.Time, string) { return time.Time{}, "" }

// Of one credential at most a hundred requests are kept that nobody can act on any more, the newest;
// what was approved or rejected is the record and stays for its time.
func TestWhichRequestsAreForgotten(t *testing.T) {
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	later := metav1.NewTime(noon.Add(time.Hour))
	past := metav1.NewTime(noon.Add(-time.Second))
	// number is the age in minutes, and the number of later requests.
	request := func(number int, state v1alpha1.ApprovalState, retain *metav1.Time) *v1alpha1.ApprovalRequest {
		name := fmt.Sprintf("r%03d", number)
		return &v1alpha1.ApprovalRequest{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "payments", Name: name, UID: types.UID("uid-" + name), CreationTimestamp: metav1.NewTime(noon.Add(-time.Duration(number) * time.Minute)),
			},
			Spec: v1alpha1.ApprovalRequestSpec{
				CredentialRef: v1alpha1.ObjectIdentity{Name: "billing", UID: "credential"}, ExpiresAt: later, RetainUntil: retain,
			},
			Status: v1alpha1.ApprovalRequestStatus{State: state},
		}
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.ApprovalRequest{}).
		WithIndex(&v1alpha1.ApprovalRequest{}, IndexCredential, func(o client.Object) []string { return []string{o.(*v1alpha1.ApprovalRequest).Spec.CredentialRef.UID} }).
		WithIndex(&v1alpha1.ApprovalDecision{}, IndexRequest, func(o client.Object) []string { return []string{o.(*v1alpha1.ApprovalDecision).Spec.RequestRef.UID} })
	var all []string
	add := func(r *v1alpha1.ApprovalRequest) {
		all = append(all, r.Name)
		builder = builder.WithObjects(r, &v1alpha1.ApprovalDecision{
			ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "about-" + r.Name}, Spec: v1alpha1.ApprovalDecisionSpec{RequestRef: v1alpha1.ObjectIdentity{Name: r.Name, UID: string(r.UID)}},
		})
	}
	for n := range 104 {
		switch n {
		case 50:
			add(request(n, v1alpha1.ApprovalRejected, &past))
		case 101:
			add(request(n, v1alpha1.ApprovalRejected, &later))
		case 102:
			add(request(n, v1alpha1.ApprovalObsolete, nil))
		default:
			add(request(n, v1alpha1.ApprovalExpired, &later))
		}
	}
	c := builder.Build()
	r := &Reconciler{Client: c, Guard: always{}, Clock: clocktesting.NewFakePassiveClock(noon)}
	slices.Reverse(all) // the oldest first: what is forgotten makes room for nobody
	for _, name := range all {
		if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "payments", Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	var requests v1alpha1.ApprovalRequestList
	var decisions v1alpha1.ApprovalDecisionList
	for _, list := range []client.ObjectList{&requests, &decisions} {
		if err := c.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	left, about := map[string]bool{}, map[string]bool{}
	for i := range requests.Items {
		left[requests.Items[i].Name] = true
	}
	for i := range decisions.Items {
		about[decisions.Items[i].Spec.RequestRef.Name] = true
	}
	var gone []string
	for _, name := range all {
		if !left[name] {
			gone = append(gone, name)
		}
	}
	// r101 was rejected and its time is not over; r050 was, and it is.
	if diff := cmp.Diff([]string{"r103", "r102", "r100", "r050"}, gone); diff != "" {
		t.Errorf("forgotten (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(left, about); diff != "" {
		t.Errorf("requests and those that decisions are about (-requests +decisions):\n%s", diff)
	}
}
