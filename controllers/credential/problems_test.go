package credential

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/upstream"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func TestEveryClassOfErrorHasAnAnswerForPeople(t *testing.T) {
	for _, tc := range []struct {
		class   upstream.ErrorClass
		reason  string
		stalled bool
		pause   time.Duration
	}{
		{upstream.Retryable, v1alpha1.ReasonUpstreamUnreachable, false, shortRetry},
		{upstream.OutcomeUnknown, v1alpha1.ReasonUpstreamUnreachable, false, shortRetry},
		{upstream.Throttled, v1alpha1.ReasonUpstreamThrottled, false, shortRetry},
		{upstream.Pending, v1alpha1.ReasonIssuing, false, shortRetry},
		{upstream.AwaitingUpstreamApproval, v1alpha1.ReasonIssuing, false, personRetry},
		{upstream.LoginFailed, v1alpha1.ReasonIssuerNotReady, true, shortRetry},
		{upstream.Forbidden, v1alpha1.ReasonUpstreamForbidden, true, longRetry},
		{upstream.InvalidSpec, v1alpha1.ReasonUpstreamRefused, true, longRetry},
		{upstream.Declined, v1alpha1.ReasonUpstreamRefused, true, longRetry},
		{upstream.Rejected, v1alpha1.ReasonUpstreamRefused, true, longRetry},
		{upstream.NotFound, v1alpha1.ReasonUpstreamNotFound, true, longRetry},
		{upstream.QuotaExceeded, v1alpha1.ReasonUpstreamFull, true, longRetry},
		{upstream.Conflict, v1alpha1.ReasonUpstreamConflict, false, shortRetry},
	} {
		got := fail(setback{}, "it cannot be made", upstream.Errorf(tc.class, "no"), noon)
		awaited := tc.class == upstream.Pending || tc.class == upstream.AwaitingUpstreamApproval
		want := setback{failures: 1, awaited: awaited, notBefore: noon.Add(tc.pause), trouble: &rotation.Problem{
			Reason: tc.reason, Stalled: tc.stalled, Message: "it cannot be made: no",
		}}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(setback{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.class, diff)
		}
	}
}

func TestPausesDoubleAndEnd(t *testing.T) {
	var got []time.Duration
	s := setback{}
	for range 12 {
		s = fail(s, "x", upstream.Errorf(upstream.Retryable, "no"), noon)
		got = append(got, s.notBefore.Sub(noon))
	}
	want := []time.Duration{
		2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, 64 * time.Second, 128 * time.Second,
		256 * time.Second, 512 * time.Second, 10 * time.Minute, 10 * time.Minute, 10 * time.Minute,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pauses (-want +got):\n%s", diff)
	}
}

func TestWhatIsOnlyAwaitedIsLookedAtSoon(t *testing.T) {
	pauses := func(classes ...upstream.ErrorClass) []time.Duration {
		var got []time.Duration
		s := setback{}
		for _, class := range classes {
			s = fail(s, "x", upstream.Errorf(class, "no"), noon)
			got = append(got, s.notBefore.Sub(noon))
		}
		return got
	}
	const fails, works, person = upstream.Retryable, upstream.Pending, upstream.AwaitingUpstreamApproval
	for name, tc := range map[string]struct{ got, want []time.Duration }{
		"work of the upstream, every half a minute at last": {
			pauses(works, works, works, works, works, works),
			[]time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second},
		},
		"a person, every two minutes at last": {
			pauses(person, person, person, person, person, person),
			[]time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 2 * time.Minute, 2 * time.Minute},
		},
		"work that began after failures": {
			pauses(fails, fails, fails, works, works), []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 2 * time.Second, 4 * time.Second},
		},
		"a failure after much work": {
			pauses(works, works, works, works, fails, fails), []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 2 * time.Second, 4 * time.Second},
		},
	} {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnUpstreamThatNamesATimeIsHeard(t *testing.T) {
	got := fail(setback{}, "x", &upstream.Error{Class: upstream.Throttled, After: time.Hour, Message: "slowly"}, noon)
	if want := noon.Add(time.Hour); !got.notBefore.Equal(want) {
		t.Errorf("tried again at %s, want %s", got.notBefore, want)
	}
}

func TestAnErrorThatNobodyClassifiedIsNotShown(t *testing.T) {
	got := fail(setback{}, "x", errors.New("dial with secret canary-77"), noon)
	if strings.Contains(got.trouble.Message, "canary") || got.trouble.Reason != v1alpha1.ReasonUpstreamUnreachable {
		t.Errorf("shown: %+v", got.trouble)
	}
}

func TestWhatAVerificationFound(t *testing.T) {
	refused := upstream.Verdict{Detail: "401"}
	early := recollection{refusal: "401", refusedSince: noon.Add(-time.Minute), doubt: "missing"}
	for name, tc := range map[string]struct {
		before  recollection
		verdict upstream.Verdict
		err     error
		want    recollection
	}{
		"an acceptance clears refusals, doubts and troubles": {
			early, upstream.Verdict{Accepted: true}, nil, recollection{accepted: true},
		},
		"the first refusal is patience from now": {
			recollection{},
			refused, nil,
			recollection{refusal: "401", refusedSince: noon, refusedAt: noon, setback: setback{notBefore: noon.Add(rotation.Patience(0))}},
		},
		"a later refusal counts from the first": {
			early, refused, nil,
			recollection{
				refusal: "401", refusedSince: noon.Add(-time.Minute), refusedAt: noon, doubt: "missing",
				setback: setback{notBefore: noon.Add(rotation.Patience(time.Minute))},
			},
		},
		"no answer is held against nothing (H4)": {
			early,
			upstream.Verdict{},
			upstream.Errorf(upstream.Retryable, "down"),
			recollection{refusal: "401", refusedSince: noon.Add(-time.Minute), doubt: "missing", setback: setback{
				failures: 1, notBefore: noon.Add(shortRetry), trouble: &rotation.Problem{
					Reason: v1alpha1.ReasonVerifyUnreachable, Message: "whether version 2 is accepted cannot be found out: down",
				},
			}},
		},
	} {
		got := tc.before
		got.judge(2, tc.verdict, tc.err, noon)
		if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(recollection{}, setback{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSlotsHoldTheLimitAndForgetWhatIsPublished(t *testing.T) {
	issuer := &v1alpha1.CredentialIssuer{}
	issuer.UID = "issuer"
	s := newSlots()
	steps := []struct {
		what string
		got  bool
		want bool
	}{
		{"nobody holds one", s.free(issuer, "a", 2), true},
		{"the first is taken", s.tryTake(issuer, "a", 2), true},
		{"the second is taken", s.tryTake(issuer, "b", 2), true},
		{"the third is refused", s.tryTake(issuer, "c", 2), false},
		{"who holds one has it", s.free(issuer, "a", 2) && s.tryTake(issuer, "a", 2), true},
		{"who holds none waits", s.free(issuer, "c", 2), false},
		{"without an issuer there is none", s.free(nil, "c", 2), false},
	}
	s.report(issuer, "a", false)
	s.report(issuer, types.UID("d"), true) // seen under way after a restart
	steps = append(steps, []struct {
		what string
		got  bool
		want bool
	}{
		{"what is under way counts without having asked", s.tryTake(issuer, "c", 2), false},
		{"a higher limit lets more in", s.tryTake(issuer, "c", 3), true},
	}...)
	for _, step := range steps {
		if step.got != step.want {
			t.Errorf("%s: %v", step.what, step.got)
		}
	}
}
