package issuer

import (
	"testing"
	"time"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// TestAWrongLoginIsNotRepeated is an account that locks after a few wrong logins: the
// Secret is looked at every ten seconds, the upstream is asked ever more seldom.
func TestAWrongLoginIsNotRepeated(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	secret := s.login("wrong")
	s.issuer("apic")
	s.pass("apic", 10*time.Minute)
	// At 0, 5, 15, 35, 75, 155, 315 and 615 s.
	if got := s.provider.count("check"); got != 7 {
		t.Errorf("%d logins in ten minutes, want 7", got)
	}
	secret.StringData = map[string]string{"password": "right"}
	if err := s.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	s.pass("apic", 10*time.Second)
	s.says("apic", v1alpha1.ReasonLoggedIn)
}

func TestAWorkingAccountSurvivesWhatProvesNothing(t *testing.T) {
	t.Parallel()
	cases := map[upstream.ErrorClass]struct {
		// usable after each of the first checks that fail
		usable []bool
		reason string
	}{
		upstream.Retryable:   {usable: []bool{true, true, false}, reason: v1alpha1.ReasonUnreachable},
		upstream.Throttled:   {usable: []bool{true, true, true, true}, reason: v1alpha1.ReasonLoggedIn},
		upstream.LoginFailed: {usable: []bool{false}, reason: v1alpha1.ReasonLoginFailed},
	}
	for class, tc := range cases {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			s := newStepper(t)
			s.login("right")
			issuer := s.issuer("apic")
			s.settle("apic")
			s.provider.set(func() { s.provider.failing["check"] = upstream.Errorf(class, "no") })
			s.clock.SetTime(s.clock.Now().Add(recheckPause))
			s.accounts.Recheck(issuer.UID)
			for n, usable := range tc.usable {
				next := s.settle("apic")
				if _, ok := s.accounts.Get(issuer.UID); ok != usable {
					t.Errorf("after %d failures usable %t, want %t", n+1, ok, usable)
				}
				s.clock.SetTime(s.clock.Now().Add(next))
			}
			s.says("apic", tc.reason)
			s.provider.set(func() { delete(s.provider.failing, "check") })
			s.pass("apic", 10*time.Minute)
			s.says("apic", v1alpha1.ReasonLoggedIn)
		})
	}
}

func TestVersionsAreReadFiveASecond(t *testing.T) {
	t.Parallel()
	s := newStepper(t)
	issuer := s.issuer("apic")
	billing := s.credential("billing", "apic")
	for n := range int64(60) {
		s.version(billing, issuer, n+1, time.Hour)
		s.provider.put(upstreamOf(billing, n+1))
	}
	s.login("right")
	for round, left := range []int{35, 10, 0} {
		next := s.settle("apic")
		if got := len(s.reconciler.records[s.key("apic")].pass.unread); got != left {
			t.Errorf("after %d rounds %d are left to read, want %d", round+1, got, left)
		}
		if left > 0 && next != readPause {
			t.Errorf("the next round is after %s, want %s", next, readPause)
		}
		s.clock.SetTime(s.clock.Now().Add(readPause))
	}
	if got := s.accounts.Verdict(issuer.UID); len(got.Doubts) != 0 || !got.Done {
		t.Errorf("%+v", got)
	}

	// What was read once is not read again, and is compared in the pass itself.
	changed := upstreamOf(billing, 7)
	changed.SecretHash = "bm90IG91cnM="
	s.provider.put(changed)
	s.clock.SetTime(s.clock.Now().Add(time.Hour))
	s.settle("apic")
	if got := s.accounts.Verdict(issuer.UID).Doubts; len(got) != 1 || got[changed.Mark] != otherSecret {
		t.Errorf("doubts %v", got)
	}
	if got := s.reconciler.records[s.key("apic")].pass.unread; len(got) != 0 {
		t.Errorf("%d are read again", len(got))
	}
}
