package issuer

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/upstream"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func in(d time.Duration) time.Time { return noon.Add(d) }

func TestDecide(t *testing.T) {
	// working is an account that was checked a minute ago and swept.
	working := situation{now: noon, fresh: true, usable: true, checkedAt: in(-time.Minute), sweepAt: in(time.Hour)}
	failing := situation{now: noon, fresh: true, failures: 4, checkedAt: in(-20 * time.Second), retryAt: in(20 * time.Second), glanceAt: in(4 * time.Second)}
	with := func(s situation, change func(*situation)) situation {
		change(&s)
		return s
	}
	cases := map[string]struct {
		situation situation
		do        step
		after     time.Duration
	}{
		"an issuer that nobody looked at is logged in to": {
			situation: situation{now: noon}, do: login,
		},
		"a working one waits for its next pass": {
			situation: working, do: wait, after: time.Hour,
		},
		"a pass that is due is made": {
			situation: with(working, func(s *situation) { s.sweepAt = noon }), do: sweep,
		},
		"changed settings or a changed login are tried before the pass": {
			situation: with(working, func(s *situation) { s.fresh, s.sweepAt = false, noon }), do: login,
		},
		"a credential that was refused has the login checked": {
			situation: with(working, func(s *situation) { s.wanted = true }), do: login,
		},
		"a thousand that are refused have it checked once in five seconds": {
			situation: with(working, func(s *situation) { s.wanted, s.checkedAt = true, in(-2*time.Second) }), do: wait, after: 3 * time.Second,
		},
		"versions whose hash is not known are read": {
			situation: with(working, func(s *situation) { s.unread, s.readAt = 7, noon }), do: read,
		},
		"a few at a time": {
			situation: with(working, func(s *situation) { s.unread, s.readAt = 7, in(5*time.Second) }), do: wait, after: 5 * time.Second,
		},
		"a login that fails is tried again after its pause": {
			situation: with(failing, func(s *situation) { s.retryAt = noon }), do: login,
		},
		"until then its Secret is looked at": {
			situation: with(failing, func(s *situation) { s.glanceAt = noon }), do: login,
		},
		"and nothing else": {
			situation: failing, do: wait, after: 4 * time.Second,
		},
		"an account that is forgiven a failure is still swept": {
			situation: with(working, func(s *situation) { s.failures, s.retryAt, s.sweepAt = 1, in(5*time.Second), noon }), do: sweep,
		},
		"a login Secret that is missing is looked for every ten seconds": {
			situation: situation{now: noon, fresh: true, glanceAt: in(10 * time.Second)}, do: wait, after: 10 * time.Second,
		},
		"a suspended one is silenced": {
			situation: with(working, func(s *situation) { s.suspended = true }), do: silence,
		},
		"and then left alone, whatever is due": {
			situation: with(working, func(s *situation) {
				s.suspended, s.silenced, s.fresh, s.wanted, s.unread = true, true, false, true, 9
				s.sweepAt = in(-time.Hour)
			}), do: wait,
		},
		"one in deletion is released if nothing needs it": {
			situation: with(working, func(s *situation) { s.terminating, s.held = true, true }), do: release,
		},
		"one in deletion is looked at again in five seconds, and not swept": {
			situation: with(working, func(s *situation) {
				s.terminating, s.held, s.releaseAt, s.sweepAt, s.unread = true, true, in(5*time.Second), noon, 9
			}), do: wait, after: 5 * time.Second,
		},
		"one in deletion is still logged in to, because it must revoke (hazard 2.11)": {
			situation: situation{now: noon, terminating: true, held: true, releaseAt: in(5 * time.Second)}, do: login,
		},
		"one in deletion that is suspended goes when nothing needs it": {
			situation: with(working, func(s *situation) { s.terminating, s.held, s.suspended, s.silenced = true, true, true, true }), do: release,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			do, after := decide(tc.situation)
			if do != tc.do || after != tc.after {
				t.Errorf("%s, %s; want %s, %s", do, after, tc.do, tc.after)
			}
		})
	}
}

func TestThePauseGrowsFromFiveSecondsToFiveMinutes(t *testing.T) {
	want := []time.Duration{5 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 5 * time.Minute, 5 * time.Minute}
	for failures, pauseWanted := range want {
		if got := pause(failures); got != pauseWanted {
			t.Errorf("after %d failures: %s, want %s", failures, got, pauseWanted)
		}
	}
	if got := pause(1 << 40); got != 5*time.Minute {
		t.Errorf("after very many failures: %s", got)
	}
}

func TestPassesOfManyIssuersAreSpread(t *testing.T) {
	seen := map[time.Duration]bool{}
	for _, uid := range []types.UID{"a", "b", "c", "d"} {
		next := nextSweep(time.Hour, uid)
		if next <= 54*time.Minute || next > time.Hour {
			t.Errorf("issuer %s: next pass after %s", uid, next)
		}
		if next != nextSweep(time.Hour, uid) {
			t.Errorf("issuer %s: another time with every look", uid)
		}
		seen[next] = true
	}
	if len(seen) != 4 {
		t.Errorf("four issuers, %d times", len(seen))
	}
}

func TestWhatAFailedCheckMeans(t *testing.T) {
	cases := map[upstream.ErrorClass]struct {
		reason    string
		stalled   bool
		tolerated int // how many in a row leave a working account in use
	}{
		upstream.LoginFailed:    {reason: "LoginFailed", stalled: true},
		upstream.Forbidden:      {reason: "UpstreamForbidden", stalled: true},
		upstream.Rejected:       {reason: "UpstreamForbidden", stalled: true},
		upstream.InvalidSpec:    {reason: "InvalidSettings", stalled: true},
		upstream.NotFound:       {reason: "ContainerNotFound", stalled: true},
		upstream.Retryable:      {reason: "Unreachable", tolerated: 2},
		upstream.OutcomeUnknown: {reason: "Unreachable", tolerated: 2},
		upstream.Throttled:      {reason: "UpstreamThrottled", tolerated: 99},
	}
	for class, tc := range cases {
		t.Run(string(class), func(t *testing.T) {
			err := upstream.Errorf(class, "the words of the adapter")
			f := loginFinding(err, "correct it")
			if f.ready || f.reason != tc.reason || f.stalled != tc.stalled || !strings.Contains(f.message, "the words of the adapter") {
				t.Errorf("%+v", f)
			}
			tolerated := 0
			for n := 1; n < 100 && tolerable(err, n); n++ {
				tolerated = n
			}
			if tolerated != tc.tolerated {
				t.Errorf("tolerated %d times, want %d", tolerated, tc.tolerated)
			}
		})
	}
	if f := loginFinding(upstream.Errorf(upstream.LoginFailed, "no"), "correct it"); f.message != "no (correct it)" {
		t.Errorf("%q does not say what to do", f.message)
	}
}

func TestWhereALoginIsCorrected(t *testing.T) {
	bySecret := v1alpha1.CredentialIssuerSpec{Venafi: &v1alpha1.VenafiIssuer{Login: v1alpha1.VenafiLogin{SecretRef: v1alpha1.SecretReference{Name: "tpp-login"}}}}
	byToken := v1alpha1.CredentialIssuerSpec{Venafi: &v1alpha1.VenafiIssuer{Login: v1alpha1.VenafiLogin{
		ServiceAccountRef: &v1alpha1.ServiceAccountReference{Name: "claviger-tpp", Audience: "tpp"},
	}}}
	got := []string{correction(&bySecret), correction(&byToken)}
	want := []string{
		"correct the login in Secret tpp-login; it is tried again as soon as that changes",
		"have the upstream trust tokens of ServiceAccount claviger-tpp for audience tpp; it is tried again by itself",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("corrections (-want +got):\n%s", diff)
	}
}

func TestWordsOfAnErrorThatNobodyClassifiedAreNotShown(t *testing.T) {
	if got := words(secretive{}); strings.Contains(got, "hunter2") {
		t.Errorf("%q", got)
	}
}

type secretive struct{}

func (secretive) Error() string { return "POST https://user:hunter2@apic.example/ failed" }
