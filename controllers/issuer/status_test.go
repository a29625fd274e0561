package issuer

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

func observed(f finding) *gathered {
	issuer := &v1alpha1.CredentialIssuer{}
	issuer.Generation = 4
	return &gathered{issuer: issuer, record: &record{id: identity(apic), outcome: &f, realm: "apic.example/o1"}, credentials: 2}
}

var (
	loggedIn = finding{ready: true, reason: "LoggedIn", message: "fine"}
	refused  = finding{reason: "LoginFailed", message: "wrong", stalled: true}
	silent   = finding{reason: "Unreachable", message: "no answer"}
)

// TestHazardM7 is kstatus: Reconciling and Stalled stand only while they are True,
// never together, and never beside a Ready that is True.
func TestHazardM7(t *testing.T) {
	cases := map[string]struct {
		finding finding
		want    map[string]metav1.ConditionStatus
	}{
		"works":             {finding: loggedIn, want: map[string]metav1.ConditionStatus{"Ready": "True"}},
		"a person must act": {finding: refused, want: map[string]metav1.ConditionStatus{"Ready": "False", "Stalled": "True"}},
		"it is tried again": {finding: silent, want: map[string]metav1.ConditionStatus{"Ready": "False", "Reconciling": "True"}},
	}
	for from, before := range cases {
		for name, tc := range cases {
			t.Run(name+", after: "+from, func(t *testing.T) {
				g := observed(before.finding)
				*g.issuer.IssuerStatus() = projected(g, metav1.NewTime(noon))
				g.record.outcome = &tc.finding
				status := projected(g, metav1.NewTime(noon.Add(time.Hour)))
				got := map[string]metav1.ConditionStatus{}
				for _, c := range status.Conditions {
					got[c.Type] = c.Status
					if c.ObservedGeneration != 4 || c.Reason != tc.finding.reason {
						t.Errorf("%+v", c)
					}
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("conditions (-want +got):\n%s", diff)
				}
				changed := meta.FindStatusCondition(status.Conditions, "Ready").LastTransitionTime.Time
				if want := before.finding.ready != tc.finding.ready; want != changed.After(noon) {
					t.Errorf("last transition at %s", changed)
				}
			})
		}
	}
}

func TestProjectedSaysWhatIsKnown(t *testing.T) {
	g := observed(loggedIn)
	g.issuer.IssuerStatus().SuspectedOrphans = v1alpha1.SuspectedOrphans{Count: 7}
	status := projected(g, metav1.NewTime(noon))
	if status.Realm != "apic.example/o1" || status.Credentials != 2 || status.ObservedGeneration != 4 {
		t.Errorf("%+v", status)
	}
	if status.SuspectedOrphans.Count != 7 {
		t.Error("a process that has not looked yet took back what an earlier one reported")
	}
	g.record.pass.done = true
	if got := projected(g, metav1.NewTime(noon)); got.SuspectedOrphans.Count != 0 {
		t.Error("what is not there any more is still reported")
	}

	reason := func() string {
		return meta.FindStatusCondition(projected(g, metav1.NewTime(noon)).Conditions, "Ready").Reason
	}
	g.record.pass.trouble = &finding{reason: "UpstreamForbidden", stalled: true}
	if got := reason(); got != "UpstreamForbidden" {
		t.Errorf("a listing that is refused shows as %s", got)
	}
	g.record.pass.trouble = nil
	now := metav1.NewTime(noon)
	g.issuer.SetDeletionTimestamp(&now)
	if got := reason(); got != "Deleting" {
		t.Errorf("an issuer in deletion shows as %s", got)
	}
	g.record.outcome = &refused
	if got := reason(); got != "LoginFailed" {
		t.Errorf("an issuer in deletion whose login fails, so that nothing can be revoked, shows as %s", got)
	}
}

func TestAnIssuerSaysThatDeletionsAreHeld(t *testing.T) {
	g := observed(loggedIn)
	g.held = true
	*g.issuer.IssuerStatus() = projected(g, metav1.NewTime(noon))
	got := meta.FindStatusCondition(g.issuer.IssuerStatus().Conditions, v1alpha1.ConditionDeletionsHeld)
	want := &metav1.Condition{
		Type: "DeletionsHeld", Status: metav1.ConditionTrue, Reason: "MassDeletion", ObservedGeneration: 4, LastTransitionTime: metav1.NewTime(noon),
		Message: "more credentials are being deleted at once than is plausible, and none of them is revoked. If that is meant, set the annotation " +
			"credentials.claviger.dev/deletions-confirmed-at to the time of now; if it is not, set spec.deletionPolicy of those with reason MassDeletion to Retain",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("condition while deletions are held (-want +got):\n%s", diff)
	}
	g.held = false
	if got := meta.FindStatusCondition(projected(g, metav1.NewTime(noon)).Conditions, v1alpha1.ConditionDeletionsHeld); got != nil {
		t.Errorf("condition when none is held: %+v", got)
	}
}
