package issuer

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/upstream"
)

func identity(uid types.UID) Identity {
	return Identity{Kind: v1alpha1.KindCredentialIssuer, Namespace: "payments", Name: "apic", UID: uid}
}

// rung drains the wake-ups.
func rung(a *Accounts) []types.UID {
	var uids []types.UID
	for {
		select {
		case e := <-a.Changed():
			uids = append(uids, e.Object.GetUID())
		default:
			return uids
		}
	}
}

func TestAnAccountIsHandedOutOnlyWhileItWorks(t *testing.T) {
	a := NewAccounts(AccountsOptions{Workers: 8})
	if s := a.State(apic); s.Usable || s.Reason != "IssuerNotReady" || s.Message == "" {
		t.Errorf("unknown issuer: %+v", s)
	}
	a.publish(Account{Issuer: identity(apic), Realm: "apic.example/o1"}, State{Usable: true}, 3)
	if account, ok := a.Get(apic); !ok || account.Realm != "apic.example/o1" || account.Terminating {
		t.Errorf("working: %+v, %t", account, ok)
	}
	a.publish(Account{Issuer: identity(apic)}, State{Reason: "IssuerSuspended"}, 3)
	if _, ok := a.Get(apic); ok {
		t.Error("a suspended account was handed out")
	}
	a.forget(apic)
	if _, ok := a.Get(apic); ok || a.State(apic).Reason != "IssuerNotReady" {
		t.Error("an issuer that is gone is still known")
	}
}

func TestNewsRingAndRepetitionsDoNot(t *testing.T) {
	a := NewAccounts(AccountsOptions{})
	working := func(realm string) {
		a.publish(Account{Issuer: identity(apic), Realm: realm}, State{Usable: true}, 1)
	}
	steps := []struct {
		name string
		do   func()
		ring bool
	}{
		{"it works", func() { working("r") }, true},
		{"it still works", func() { working("r") }, false},
		{"it points elsewhere", func() { working("s") }, true},
		{"the first verdict", func() { a.conclude(identity(apic), nil, nil, Places{}) }, true},
		{"the same verdict", func() { a.conclude(identity(apic), nil, nil, Places{}) }, false},
		{"a doubt", func() { a.conclude(identity(apic), map[upstream.Mark]string{"m": "why"}, nil, Places{}) }, true},
		{"the same doubt", func() { a.conclude(identity(apic), map[upstream.Mark]string{"m": "why"}, nil, Places{}) }, false},
		{"another one from reading", func() { a.doubt(identity(apic), "n", "why") }, true},
		{"the same from reading", func() { a.doubt(identity(apic), "n", "why") }, false},
		{"no doubt any more", func() { a.conclude(identity(apic), nil, nil, Places{}) }, false},
		{"places, of which their credentials alone know whether they are as wanted", func() { a.conclude(identity(apic), nil, nil, Places{Asked: noon}) }, true},
		{"the same places", func() { a.conclude(identity(apic), nil, nil, Places{Asked: noon}) }, true},
		{"it fails", func() { a.publish(Account{Issuer: identity(apic)}, State{Reason: "IssuerNotReady"}, 1) }, true},
		{"it is gone", func() { a.forget(apic) }, true},
	}
	for _, s := range steps {
		s.do()
		if got := len(rung(a)) > 0; got != s.ring {
			t.Errorf("%s: rang %t, want %t", s.name, got, s.ring)
		}
	}
}

func TestTheBellNeverBlocksAndLosesNothing(t *testing.T) {
	a := NewAccounts(AccountsOptions{})
	want := map[types.UID]bool{}
	for n := range 3 * bellBuffer {
		uid := types.UID(mark('a', n))
		want[uid] = true
		a.publish(Account{Issuer: identity(uid)}, State{Usable: true}, 0)
	}
	for range 3 {
		for _, uid := range rung(a) {
			delete(want, uid)
		}
		a.flush()
	}
	if len(want) != 0 {
		t.Errorf("%d issuers were not announced", len(want))
	}
}

func TestOneIssuerGetsAQuarterOfTheWorkers(t *testing.T) {
	for workers, share := range map[int]int{0: 1, 1: 1, 4: 1, 8: 2, 40: 10} {
		a := NewAccounts(AccountsOptions{Workers: workers})
		a.publish(Account{Issuer: identity(apic)}, State{Usable: true}, 0)
		account, _ := a.Get(apic)
		var releases []func()
		for {
			// Every caller has a snapshot of its own; the share is the issuer's.
			snapshot, _ := a.Get(apic)
			release, ok := snapshot.TryAcquire(false)
			if !ok {
				break
			}
			releases = append(releases, release)
		}
		if len(releases) != share {
			t.Errorf("%d workers: %d calls at a time, want %d", workers, len(releases), share)
		}
		// A new login does not double the share, and a release twice frees one.
		a.publish(Account{Issuer: identity(apic)}, State{Usable: true}, 0)
		releases[0]()
		releases[0]()
		if _, ok := account.TryAcquire(false); !ok {
			t.Errorf("%d workers: a call that ended left no room", workers)
		}
		if _, ok := account.TryAcquire(false); ok {
			t.Errorf("%d workers: released twice, acquired twice", workers)
		}
		urgent, ok := account.TryAcquire(true)
		if !ok {
			t.Errorf("%d workers: what is urgent has no share of its own", workers)
			continue
		}
		if _, ok := account.TryAcquire(true); ok {
			t.Errorf("%d workers: what is urgent has two", workers)
		}
		urgent()
		if _, ok := account.TryAcquire(false); ok {
			t.Errorf("%d workers: routine took the share of what is urgent", workers)
		}
	}
}

func TestRotationSlotsAreFiveOrATenth(t *testing.T) {
	a := NewAccounts(AccountsOptions{})
	if got := a.SlotLimit(apic); got != 5 {
		t.Errorf("unknown issuer: %d", got)
	}
	for credentials, want := range map[int]int{0: 5, 49: 5, 50: 5, 60: 6, 10000: 1000} {
		a.publish(Account{Issuer: identity(apic)}, State{Usable: true}, credentials)
		if got := a.SlotLimit(apic); got != want {
			t.Errorf("%d credentials: %d, want %d", credentials, got, want)
		}
	}
}

func TestADismissedDoubtComesBackOnlyWithAnotherHash(t *testing.T) {
	a := NewAccounts(AccountsOptions{})
	hashes := map[upstream.Mark]string{"m": "odd"}
	a.conclude(identity(apic), map[upstream.Mark]string{"m": otherSecret, "gone": "not listed"}, hashes, Places{})
	before := a.Verdict(apic)
	a.Dismiss(apic, "m")
	a.Dismiss(apic, "gone")
	a.Dismiss(apic, "never doubted")
	a.Dismiss(other, "m")
	if got := a.Verdict(apic); len(got.Doubts) != 0 || !got.Done {
		t.Errorf("after dismissal: %+v", got)
	}
	if len(before.Doubts) != 2 {
		t.Error("a verdict that was handed out has changed")
	}
	if diff := cmp.Diff(map[upstream.Mark]string{"m": "odd"}, a.dismissals(apic)); diff != "" {
		t.Errorf("what is missing must be doubted again, what hashes oddly not:\n%s", diff)
	}
	a.conclude(identity(apic), nil, map[upstream.Mark]string{"m": "changed"}, Places{})
	if got := a.dismissals(apic); len(got) != 0 {
		t.Errorf("another hash is still dismissed: %v", got)
	}
}

func TestARecheckIsAskedForOnce(t *testing.T) {
	a := NewAccounts(AccountsOptions{})
	a.Recheck(apic) // unknown: nothing to look at
	a.publish(Account{Issuer: identity(apic)}, State{Usable: true}, 0)
	for range 1000 {
		a.Recheck(apic)
	}
	if got := len(a.recheck.out); got != 1 || !a.wanted(apic) {
		t.Errorf("%d wake-ups, wanted %t; want one", got, a.wanted(apic))
	}
	a.rechecked(apic)
	if a.wanted(apic) {
		t.Error("still wanted after the check")
	}
}

// A caller that finds all shares taken has one as soon as another call ends; and while nothing
// ends, no more wait than there are shares.
func TestAMomentIsWaitedForAShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAccounts(AccountsOptions{Workers: 4})
		a.publish(Account{Issuer: identity(apic)}, State{Usable: true}, 0)
		account, _ := a.Get(apic)
		release, ok := account.TryAcquire(false)
		if !ok {
			t.Fatal("the first call has no share")
		}
		begun, waited := time.Now(), make(chan bool)
		go func() {
			_, ok := account.TryAcquire(false)
			waited <- ok
		}()
		synctest.Wait()
		if _, ok := account.TryAcquire(false); ok || !time.Now().Equal(begun) {
			t.Errorf("a second one waits: acquired %t after %s", ok, time.Since(begun))
		}
		release()
		if !<-waited || !time.Now().Equal(begun) {
			t.Errorf("who waits has no share %s after the call has ended", time.Since(begun))
		}
		if _, ok := account.TryAcquire(false); ok || time.Since(begun) != shareWait {
			t.Errorf("while a call hangs: acquired %t after %s", ok, time.Since(begun))
		}
	})
}

func TestAccountsAreSafeForConcurrentUse(t *testing.T) {
	a := NewAccounts(AccountsOptions{Workers: 16})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				a.publish(Account{Issuer: identity(apic)}, State{Usable: true}, 10)
				a.conclude(identity(apic), map[upstream.Mark]string{"m": "why"}, map[upstream.Mark]string{"m": "h"}, Places{})
				if account, ok := a.Get(apic); ok {
					if release, ok := account.TryAcquire(false); ok {
						release()
					}
				}
				for range a.Verdict(apic).Doubts {
					a.Dismiss(apic, "m")
				}
				a.Recheck(apic)
				a.State(apic)
				a.SlotLimit(apic)
				a.flush()
			}
		})
	}
	group.Wait()
	if _, ok := a.Get(apic); !ok {
		t.Error("the account is gone")
	}
}
