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
	first := projected(&p, tally{credentials: 5, notReady: 2}, metav1.NewTime(born))
	accepted := metav1.Condition{
		Type: "Accepted", Status: metav1.ConditionTrue, Reason: "Accepted", Message: "The policy is applied.",
		ObservedGeneration: 3, LastTransitionTime: metav1.NewTime(born),
	}
	want := v1alpha1.RotationPolicyStatus{ObservedGeneration: 3, Credentials: 5, NotReady: 2, Conditions: []metav1.Condition{accepted}}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}

	p.Status = first
	spread := projected(&p, tally{credentials: 1000, due: 137, renewing: 5, failing: 2}, metav1.NewTime(born))
	want = v1alpha1.RotationPolicyStatus{
		ObservedGeneration: 3, Credentials: 1000, Due: 137, Renewing: 5, Failing: 2,
		Conditions: []metav1.Condition{accepted, {
			Type: "RenewalsDue", Status: metav1.ConditionTrue, Reason: "RenewedInTurn",
			Message: "137 of 1000 credentials are due: 5 are being renewed, 130 wait, 2 do not get on. " +
				"At most five of an issuer are renewed at a time, or a tenth of its credentials if that is more",
			ObservedGeneration: 3, LastTransitionTime: metav1.NewTime(born),
		}},
	}
	if diff := cmp.Diff(want, spread); diff != "" {
		t.Errorf("status while a fleet is renewed (-want +got):\n%s", diff)
	}
	p.Status = spread
	if diff := cmp.Diff(first, projected(&p, tally{credentials: 5, notReady: 2}, metav1.NewTime(born))); diff != "" {
		t.Errorf("status when all are renewed (-want +got):\n%s", diff)
	}

	p.Status = first
	mistyped := projected(&p, tally{credentials: 5, notReady: 2, mute: mute{"ChannelNotFound", "mial"}}, metav1.NewTime(born))
	want = first
	want.Conditions = []metav1.Condition{accepted, {
		Type: "Attention", Status: metav1.ConditionTrue, Reason: "ChannelNotFound", Message: "mial",
		ObservedGeneration: 3, LastTransitionTime: metav1.NewTime(born),
	}}
	if diff := cmp.Diff(want, mistyped); diff != "" {
		t.Errorf("status of a policy whose channel does not exist (-want +got):\n%s", diff)
	}
	p.Status = mistyped
	if diff := cmp.Diff(first, projected(&p, tally{credentials: 5, notReady: 2}, metav1.NewTime(born))); diff != "" {
		t.Errorf("status when the channel appeared (-want +got):\n%s", diff)
	}

	p.Status, p.Generation, p.Spec.Overlap = first, 4, "100d"
	later := metav1.NewTime(born.Add(time.Hour))
	got := projected(&p, tally{credentials: 5, notReady: 2}, later).Conditions[0]
	if got.Status != metav1.ConditionFalse || got.Reason != "InvalidPolicy" || got.Message == "" || !got.LastTransitionTime.Equal(&later) || got.ObservedGeneration != 4 {
		t.Errorf("condition of a policy that cannot be used: %+v", got)
	}
}

func TestTally(t *testing.T) {
	type subject struct {
		rotates   string
		is        []string
		deleting  bool
		underWay  bool
		wantAfter tally
	}
	at := func(d time.Duration) string { return born.Add(d).UTC().Format(time.RFC3339) }
	cases := map[string]subject{
		"not looked at yet":           {wantAfter: tally{credentials: 1, notReady: 1}},
		"never due":                   {rotates: "never", is: []string{"Ready"}, wantAfter: tally{credentials: 1}},
		"due tomorrow":                {rotates: at(24 * time.Hour), is: []string{"Ready"}, wantAfter: tally{credentials: 1, next: born.Add(24*time.Hour + time.Minute)}},
		"due a moment ago":            {rotates: at(-59 * time.Second), is: []string{"Ready"}, wantAfter: tally{credentials: 1, next: born.Add(time.Second)}},
		"due for a minute, in a line": {rotates: at(-time.Minute), is: []string{"Ready"}, wantAfter: tally{credentials: 1, due: 1}},
		"due and being renewed":       {rotates: at(-time.Hour), is: []string{"Ready"}, underWay: true, wantAfter: tally{credentials: 1, due: 1, renewing: 1}},
		"due, and the renewal fails":  {rotates: at(-time.Hour), is: []string{"Ready", "Attention"}, wantAfter: tally{credentials: 1, due: 1, failing: 1}},
		"due and stalled":             {rotates: at(-time.Hour), is: []string{"Stalled"}, wantAfter: tally{credentials: 1, notReady: 1, due: 1, failing: 1}},
		"due, and tried once more":    {rotates: at(-time.Hour), is: []string{"Ready", "Attention"}, underWay: true, wantAfter: tally{credentials: 1, due: 1, renewing: 1}},
		"due and deleted":             {rotates: at(-time.Hour), deleting: true, wantAfter: tally{credentials: 1, notReady: 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := credential(nil, "")
			c.Status.Rotates = tc.rotates
			for _, is := range tc.is {
				c.Status.Conditions = append(c.Status.Conditions, metav1.Condition{Type: is, Status: metav1.ConditionTrue})
			}
			if tc.deleting {
				gone := metav1.NewTime(born)
				c.DeletionTimestamp = &gone
			}
			var got tally
			got.add(c, tc.underWay, born)
			if diff := cmp.Diff(tc.wantAfter, got, cmp.AllowUnexported(tally{}, mute{})); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhenToCountAgain(t *testing.T) {
	cases := map[string]struct {
		counted tally
		want    time.Duration
	}{
		"nothing is ever due":       {tally{credentials: 5}, 0},
		"one becomes due":           {tally{credentials: 5, next: born.Add(time.Hour)}, time.Hour},
		"some are due, others soon": {tally{credentials: 5, due: 1, next: born.Add(time.Second)}, 30 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.counted.again(born); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

func TestAPolicyRestsAfterAWrite(t *testing.T) {
	cases := map[string]struct {
		last                 time.Time
		generation, observed int64
		want                 time.Duration
	}{
		"never written by this process":                {generation: 1, observed: 1},
		"written long ago":                             {last: born.Add(-30 * time.Second), generation: 1, observed: 1},
		"written a while ago (hazard M2)":              {last: born.Add(-20 * time.Second), generation: 1, observed: 1, want: 10 * time.Second},
		"written just now, and somebody changed it":    {last: born, generation: 2, observed: 1},
		"written just now, and never observed by then": {last: born, generation: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := policyOf("quarterly", 0, nil)
			p.Generation, p.Status.ObservedGeneration = tc.generation, tc.observed
			if got := rest(&p, tc.last, born); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

func TestWhichTimesOfRenewalMatter(t *testing.T) {
	at := func(d time.Duration) string { return born.Add(d).UTC().Format(time.RFC3339) }
	cases := map[string]struct {
		before, after string
		want          bool
	}{
		"the same":                              {at(-time.Hour), at(-time.Hour), false},
		"renewed in time":                       {at(-30 * time.Second), at(24 * time.Hour), false},
		"renewed late":                          {at(-time.Hour), at(24 * time.Hour), true},
		"the policy was made stricter":          {at(24 * time.Hour), at(-time.Hour), true},
		"the policy was made looser":            {at(time.Hour), at(24 * time.Hour), false},
		"the first version, and when it is due": {"never", at(24 * time.Hour), true},
		"due, and nothing is due any more":      {at(-time.Hour), "never", true},
		"not due, and nothing is due any more":  {at(time.Hour), "never", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := moves(tc.before, tc.after, born); got != tc.want {
				t.Errorf("%t, want %t", got, tc.want)
			}
		})
	}
}
