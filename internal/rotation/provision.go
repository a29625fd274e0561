package rotation

import (
	"fmt"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/approval"
)

// A managed place is a container upstream that is made for one credential, with what its
// versions may do. It is no version: no material, no journal entry, and looking it up by its
// owner says all about it. So a step that makes it may be repeated, and what is promised is
// the order alone: the credential's finalizer is there before it, people have agreed to it as
// to the version, and it goes after the last version.

// Place is where the credential's versions live, if it is made for them.
type Place struct {
	// Managed: it is.
	Managed bool
	// Leaves: it is deleted with the credential.
	Leaves bool
	// Doubted: it is not known to be there as the spec wants it.
	Doubted bool

	// Exists, Usable and Differs count only while Fresh has FactPlace. Usable: versions can
	// be made in it. Differs: it is not what the spec wants.
	Exists, Usable, Differs bool
	// AbsentSince is when this process first saw, in a row, that it is not there. Ended: it
	// was there before, and went because this process asked for it.
	AbsentSince time.Time
	Ended       bool

	// Hidden is why nothing can be said about it until HiddenUntil: it cannot be looked at,
	// belongs to somebody else, or the upstream works on it.
	Hidden      *Problem
	HiddenUntil time.Time
	// Trouble is what the last attempt to make, change or delete it has come to, and NotBefore
	// when the next one is due.
	Trouble   *Problem
	NotBefore time.Time
}

// hidden notes that nothing can be said about the place yet. That the upstream works on it is no
// trouble.
func (s *situation) hidden() bool {
	if !s.now.Before(s.Place.HiddenUntil) {
		return false
	}
	if p := s.Place.Hidden; p != nil && p.Reason == underWork && !s.ending() {
		s.note(nil, p, s.Place.HiddenUntil)
	} else {
		s.note(p, nil, s.Place.HiddenUntil)
	}
	return true
}

// underWork is the reason of what passes by itself.
const underWork = "Provisioning"

// resting notes that the last attempt has come to nothing, and is not repeated yet.
func (s *situation) resting() bool {
	if !s.now.Before(s.Place.NotBefore) {
		return false
	}
	s.note(s.Place.Trouble, nil, s.Place.NotBefore)
	return true
}

// unguarded notes that nothing protects what would be made durable.
func (s *situation) unguarded() bool {
	if !s.Fresh.Has(FactGuard) || s.Operator.GuardInForce {
		return false
	}
	s.note(s.guardless(), nil, s.now.Add(guardRetry))
	return true
}

// furnish makes the place before the version that is to live in it. ready: it can be made. A
// place that only differs is good enough: what is due must not wait for a change that the
// upstream refuses.
func (s *situation) furnish(d *due) (step *Step, ready bool) {
	switch {
	case !s.Place.Managed:
		return nil, true
	case s.hidden():
		return nil, false
	case !s.Fresh.Has(FactPlace):
		return &Step{Action: Look, Needs: FactPlace}, false
	case s.Place.Usable:
		return nil, true
	case s.resting():
		return nil, false
	}
	return s.provision(d.cause, d.consented), false
}

func (s *situation) provision(cause string, consented bool) *Step {
	step := &Step{Action: Provision, Cause: cause, Needs: FactCredential | FactIssuer | FactGuard | FactPlace}
	if consented {
		step.Needs, step.Agreed = step.Needs|FactConsent, s.Credential.Generation
	}
	return step
}

// tendPlace makes the place what the spec wants, or makes it anew if somebody has deleted it, while
// versions live in it. Their keys go on to work.
func tendPlace(s *situation) *Step {
	if !s.Place.Managed || !s.Place.Doubted || len(s.Versions) == 0 {
		return nil
	}
	if p := s.blocked(); p != nil {
		if calm[p.Reason] {
			s.note(nil, p, time.Time{})
		} else {
			s.note(p, nil, time.Time{})
		}
		return nil
	}
	switch {
	case !s.Credential.Finalized:
		return &Step{Action: AddFinalizer, Needs: FactCredential}
	case !s.Account.Held:
		return &Step{Action: HoldIssuer, Needs: FactIssuer}
	case s.hidden(), s.resting():
		return nil
	case !s.Fresh.Has(FactPlace):
		return &Step{Action: Look, Needs: FactPlace}
	case s.Place.Usable && !s.Place.Differs:
		return nil
	}
	// What keys may do changes under those who use them, so whoever is asked about versions is
	// asked about it.
	cause, operation := "what the managed instance may do was changed", approval.Renew
	if !s.Place.Usable {
		cause = "the managed instance is not there"
	}
	if len(s.demands(operation)) == 0 {
		operation = approval.Issue
	}
	step, waits, agreed := s.agreement(operation, cause)
	if step != nil || waits {
		return step
	}
	if s.unguarded() {
		return nil
	}
	return s.provision(cause, agreed)
}

// clearPlace deletes the place after all that lived in it. done: nothing is left to be done
// about it. Who abandons a version leaves it where it lives.
func (s *situation) clearPlace() (step *Step, done bool) {
	c, p := s.Credential, s.Place
	if !p.Managed || !p.Leaves || p.Ended || !c.Finalized || c.Retain || c.AbandonAll || c.Abandon != 0 {
		return nil, true
	}
	const way = "; to leave it where it is, set deletion of the managed instance to Keep"
	switch {
	case s.Operator.ObserveOnly:
		s.note(observing(), nil, time.Time{})
		return nil, false
	case s.Account.Problem != nil:
		s.note(&Problem{Reason: s.Account.Problem.Reason, Stalled: s.Account.Problem.Stalled, Message: strings.TrimSuffix(
			"the managed instance waits to be deleted: "+s.Account.Problem.Message, ".") + way}, nil, time.Time{})
		return nil, false
	case !s.Operator.ClockSteady:
		s.note(clockSkew(), nil, s.now.Add(clockRetry))
		return nil, false
	case s.hidden(), s.resting():
		return nil, false
	case !s.Fresh.Has(FactPlace):
		return &Step{Action: Look, Needs: FactPlace}, false
	case !p.Exists:
		// A creation whose answer was lost may still be carried out (hazard C4).
		until := p.AbsentSince.Add(s.caps.Settle)
		if s.now.Before(until) {
			s.note(&Problem{Reason: "Deleting", Message: fmt.Sprintf(
				"the managed instance is not there, and is looked for again at %s, because a call for it may still be under way", text(until))}, nil, until)
			return nil, false
		}
		return nil, true
	case s.unguarded():
		return nil, false
	}
	return &Step{Action: Deprovision, Cause: "the credential is deleted", Needs: FactCredential | FactGuard | FactPlace}, false
}
