package rotation

import (
	"testing"
	"time"
)

func TestWhatGoesFirst(t *testing.T) {
	requested := func(f *facts) { f.Credential.RotateRequestedAt = ago(time.Minute) }
	rollback := func(f *facts) { f.Credential.RollbackRequestedAt = ago(time.Minute) }
	compromised := func(f *facts) { f.Credential.CompromisedAt = ago(time.Minute) }
	for _, c := range []struct {
		when  string
		given func(*facts)
		want  Urgency
	}{
		{"a credential at rest", func(*facts) {}, ByRoutine},
		{"one that is renewed by age", renewing(nil), ByRoutine},
		{"one with a predecessor", overlapping, ByRoutine},
		{"a new one", func(f *facts) { f.Versions, f.Target.Published = nil, 0 }, OnRequest},
		{"one that has lost its Secret", func(f *facts) { f.Target = Target{} }, OnRequest},
		{"a request", requested, OnRequest},
		{"a request for a time to come", func(f *facts) { f.Credential.RotateRequestedAt = in(time.Hour) }, ByRoutine},
		{"a request that was answered", both(renewing(nil), requested), ByRoutine},
		{"a rollback", rollback, OnRequest},
		{"a rollback that was answered", both(renewing(nil), rollback), ByRoutine},
		{"a deletion", func(f *facts) { f.Credential.Deleting = true }, OnRequest},
		{"what is compromised", compromised, Emergency},
		{"until it is revoked", both(overlapping, compromised, func(f *facts) { f.Versions[1].Answers, f.Versions[0].Terminating = ago(time.Minute), true }), Emergency},
		{"and not after that", both(overlapping, compromised, func(f *facts) { f.Versions[1].Answers, f.Versions[0].Revoked = ago(time.Minute), true }), ByRoutine},
	} {
		t.Run(c.when, func(t *testing.T) {
			f := working()
			c.given(f)
			if got := UrgencyOf(f.Observed, noon); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}
