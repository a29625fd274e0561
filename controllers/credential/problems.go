package credential

import (
	"errors"
	"fmt"
	"time"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// shortRetry is for what passes by itself: a throttled or silent upstream.
	shortRetry = 2 * time.Second
	// longRetry is for what a person has to change; a change of the objects that we
	// watch wakes the credential earlier.
	longRetry = time.Minute
	// personRetry is for what a person does upstream, of which nothing tells us.
	personRetry = 10 * time.Second
	// longestRetry bounds the doubling of all.
	longestRetry = 10 * time.Minute
	// longestWork and longestPerson bound it for what is only waited for: nothing has failed,
	// and a key is wanted soon after it was made, or agreed to.
	longestWork   = 30 * time.Second
	longestPerson = 2 * time.Minute
)

// verdicts map what an adapter said to what people read. Stalled ones need a
// person.
var verdicts = map[upstream.ErrorClass]struct {
	reason  string
	stalled bool
	retry   time.Duration
	// longest bounds the pause where the upstream works or a person is awaited; zero: it is a
	// failure.
	longest time.Duration
}{
	upstream.Retryable:                {v1alpha1.ReasonUpstreamUnreachable, false, shortRetry, 0},
	upstream.OutcomeUnknown:           {v1alpha1.ReasonUpstreamUnreachable, false, shortRetry, 0},
	upstream.Throttled:                {v1alpha1.ReasonUpstreamThrottled, false, shortRetry, 0},
	upstream.Pending:                  {v1alpha1.ReasonIssuing, false, shortRetry, longestWork},
	upstream.AwaitingUpstreamApproval: {v1alpha1.ReasonIssuing, false, personRetry, longestPerson},
	// The issuer itself says when its login works again, and wakes its credentials.
	upstream.LoginFailed:   {v1alpha1.ReasonIssuerNotReady, true, shortRetry, 0},
	upstream.Forbidden:     {v1alpha1.ReasonUpstreamForbidden, true, longRetry, 0},
	upstream.InvalidSpec:   {v1alpha1.ReasonUpstreamRefused, true, longRetry, 0},
	upstream.Rejected:      {v1alpha1.ReasonUpstreamRefused, true, longRetry, 0},
	upstream.Declined:      {v1alpha1.ReasonUpstreamRefused, true, longRetry, 0},
	upstream.NotFound:      {v1alpha1.ReasonUpstreamNotFound, true, longRetry, 0},
	upstream.QuotaExceeded: {v1alpha1.ReasonUpstreamFull, true, longRetry, 0},
	upstream.Conflict:      {v1alpha1.ReasonUpstreamConflict, false, shortRetry, 0},
}

// fail turns the failure of an upstream call into what to tell and when to try
// again: the n-th failure in a row waits twice as long as the one before.
func fail(before setback, doing string, err error, now time.Time) setback {
	verdict, ok := verdicts[upstream.ClassOf(err)]
	if !ok {
		verdict = verdicts[upstream.Retryable]
	}
	// An upstream that begins to work on what failed before has got on, and what fails while
	// it works is the first failure.
	awaited, longest := verdict.longest > 0, longestRetry
	if awaited {
		longest = verdict.longest
	}
	failures := before.failures
	if awaited != before.awaited {
		failures = 0
	}
	pause := verdict.retry << min(failures, 10)
	pause = max(min(pause, longest), upstream.AfterOf(err))
	return setback{
		failures:  failures + 1,
		awaited:   awaited,
		notBefore: now.Add(pause),
		trouble: &rotation.Problem{
			Reason: verdict.reason, Stalled: verdict.stalled, Message: fmt.Sprintf("%s: %s", doing, messageOf(err)),
		},
	}
}

// unreachable is fail for a verification: nothing was found out, and nothing is
// held against the material (hazard H4).
func unreachable(before setback, doing string, err error, now time.Time) setback {
	s := fail(before, doing, err, now)
	if !s.trouble.Stalled {
		s.trouble.Reason = v1alpha1.ReasonVerifyUnreachable
	}
	return s
}

// secretRefused is what to tell when the API server refuses a Secret of ours: a
// full quota, an admission policy, a missing right. Its own words say which.
func secretRefused(before setback, err error, now time.Time) setback {
	pause := min(longRetry<<min(before.failures, 10), longestRetry)
	return setback{
		failures:  before.failures + 1,
		notBefore: now.Add(pause),
		trouble: &rotation.Problem{
			Reason: v1alpha1.ReasonSecretRefused, Stalled: true,
			Message: fmt.Sprintf("the API server refuses a Secret that is needed (each credential needs room for its own Secret and two versions): %s", err),
		},
	}
}

// messageOf is what an adapter says to people. The text of any other error stays in
// the log: nobody has checked it for secrets.
func messageOf(err error) string {
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		return e.Message
	}
	return "unexpected error; see the operator's log"
}
