package policy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

func TestProjected(t *testing.T) {
	p := policyOf("quarterly", 0, nil)
	p.Generation = 3
	p.Spec.RotateAfter, p.Spec.Overlap = "90d", "10d"
	first := projected(&p, 5, 2, metav1.NewTime(born))
	want := v1alpha1.RotationPolicyStatus{
		ObservedGeneration: 3, Credentials: 5, NotReady: 2,
		Conditions: []metav1.Condition{{
			Type: "Accepted", Status: metav1.ConditionTrue, Reason: "Accepted", Message: "The policy is applied.",
			ObservedGeneration: 3, LastTransitionTime: metav1.NewTime(born),
		}},
	}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}

	p.Status, p.Generation, p.Spec.Overlap = first, 4, "100d"
	later := metav1.NewTime(born.Add(time.Hour))
	got := projected(&p, 5, 2, later).Conditions[0]
	if got.Status != metav1.ConditionFalse || got.Reason != "InvalidPolicy" || got.Message == "" || !got.LastTransitionTime.Equal(&later) || got.ObservedGeneration != 4 {
		t.Errorf("condition of a policy that cannot be used: %+v", got)
	}
}

func TestStatusIsWrittenOnlyWhenDue(t *testing.T) {
	accepted := func(credentials int64, reason string) v1alpha1.RotationPolicyStatus {
		return v1alpha1.RotationPolicyStatus{Credentials: credentials, Conditions: []metav1.Condition{{Type: "Accepted", Reason: reason}}}
	}
	cases := map[string]struct {
		before, after v1alpha1.RotationPolicyStatus
		last          time.Time
		do            bool
		pause         time.Duration
	}{
		"nothing changed": {before: accepted(1, "Accepted"), after: accepted(1, "Accepted")},
		"a count changed, and the last write is long ago (hazard M2)": {
			before: accepted(1, "Accepted"), after: accepted(2, "Accepted"), last: born.Add(-30 * time.Second), do: true,
		},
		"a count changed, and the last write was just now": {
			before: accepted(1, "Accepted"), after: accepted(2, "Accepted"), last: born.Add(-20 * time.Second), pause: 10 * time.Second,
		},
		"a condition changed, and the last write was just now": {
			before: accepted(1, "Accepted"), after: accepted(2, "InvalidPolicy"), last: born, do: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			do, pause := due(tc.before, tc.after, tc.last, born)
			if do != tc.do || pause != tc.pause {
				t.Errorf("%t, %s; want %t, %s", do, pause, tc.do, tc.pause)
			}
		})
	}
}
