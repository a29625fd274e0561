package admission

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// The policies that prove who asked and who decided, the one among them that answers the
// probe, and its sentence, which stands in config/admission/approvals.yaml, too.
const (
	decisionsPolicy = "claviger-decisions"
	decisionRefusal = "the probe is refused to everybody: decisions are guarded"
)

var consentPolicies = []string{decisionsPolicy, "claviger-approvals", "claviger-requesters"}

const (
	// decisionProof is how long a proof counts. What people are said to have agreed to is
	// done once and for good, so it is shorter than that of the journal.
	decisionProof = time.Minute
	// inForce is how long after its last change a policy may not be known to the API server
	// yet.
	inForce = 10 * time.Second
)

// DecisionGuard tells since when nobody can have lied in an ApprovalDecision (hazard C8.4). A
// decision that was made while the policies were away, or others, carries any name that its
// writer liked, and looks like every other one.
type DecisionGuard struct {
	guard *Guard
	since time.Time // guarded by guard.mu
}

// NewDecisionGuard is like NewGuard. Without the right to read policies nothing can be
// proven: whoever may not see them does not know since when they are in force.
func NewDecisionGuard(live client.Reader, writer client.Writer, clock clock.PassiveClock, policies bool) (*DecisionGuard, error) {
	guard, err := NewGuard(live, writer, clock, policies)
	if err != nil {
		return nil, err
	}
	guard.lifetime = decisionProof
	var wanted []client.Object
	for _, o := range guard.shipped {
		for _, name := range consentPolicies {
			if o.GetName() == name {
				wanted = append(wanted, o)
			}
		}
	}
	guard.shipped = wanted
	return &DecisionGuard{guard: guard}, nil
}

// Proven returns since when the approvals of a namespace prove who agreed, or in a sentence
// for a condition why they prove nothing.
func (d *DecisionGuard) Proven(ctx context.Context, namespace string) (since time.Time, doubt string) {
	if !d.guard.policies {
		return time.Time{}, "an operator that serves single namespaces cannot read the admission policies"
	}
	if doubt := d.guard.remembered(ctx, "", d.compare); doubt != "" {
		return time.Time{}, doubt
	}
	if doubt := d.guard.remembered(ctx, namespace, func(ctx context.Context) string { return d.probe(ctx, namespace) }); doubt != "" {
		return time.Time{}, doubt
	}
	d.guard.mu.Lock()
	defer d.guard.mu.Unlock()
	return d.since, ""
}

// compare finds out whether the policies are as shipped, and when they were changed last.
func (d *DecisionGuard) compare(ctx context.Context) string {
	var since time.Time
	for _, want := range d.guard.shipped {
		live, doubt := d.guard.same(ctx, want)
		if doubt != "" {
			return doubt
		}
		if at := changedAt(live); at.After(since) {
			since = at
		}
	}
	d.guard.mu.Lock()
	defer d.guard.mu.Unlock()
	d.since = since.Add(inForce)
	return ""
}

// changedAt is when an object was changed last, by the API server's clock. What others write
// into its status changes nothing.
func changedAt(o client.Object) time.Time {
	at := o.GetCreationTimestamp().Time
	for _, entry := range o.GetManagedFields() {
		if entry.Subresource == "" && entry.Time != nil && entry.Time.After(at) {
			at = entry.Time.Time
		}
	}
	return at
}

// probe tries, in a dry run, what the policy refuses to everybody. That the operator itself is
// refused as a service account would prove nothing: that sentence may be another policy's.
func (d *DecisionGuard) probe(ctx context.Context, namespace string) string {
	lie := &v1alpha1.ApprovalDecision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, GenerateName: "claviger-probe-", Annotations: map[string]string{journal.AnnotationProbe: "true"},
		},
		Spec: v1alpha1.ApprovalDecisionSpec{
			RequestRef:  v1alpha1.ObjectIdentity{Name: "probe", UID: "probe"},
			ApprovalRef: v1alpha1.ApprovalReference{Kind: v1alpha1.KindRotationPolicy, Name: "probe"},
			Approver:    "nobody", Decision: v1alpha1.Approve,
		},
	}
	err := d.guard.writer.Create(ctx, lie, client.DryRunAll)
	switch {
	case err == nil:
		return fmt.Sprintf("decisions are not guarded in namespace %s: a decision in the name of somebody else was accepted (in a dry run)", namespace)
	case refusedBy(err, decisionsPolicy, decisionRefusal):
		return ""
	default:
		return fmt.Sprintf("whether decisions are guarded in namespace %s is not proven: the probe met something else than policy %s: %s", namespace, decisionsPolicy, cause(err))
	}
}
