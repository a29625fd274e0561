package rotationtest

import (
	"fmt"
	"slices"

	"github.com/claviger-dev/claviger/internal/rotation"
)

// Broken says which of the rules that hold at every moment do not. In brackets: the
// invariant of the design.
func (w *World) Broken() []string {
	faults := w.faults
	say := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	inFlight, answered, rolledBack := 0, 0, 0
	for i := range w.Journal {
		r := &w.Journal[i]
		if w.mine(r) && !r.Terminating && r.failedAt.IsZero() && !r.served {
			inFlight++
		}
		if !w.RequestedAt.IsZero() && !w.RequestedAt.Equal(w.CompromisedAt) && r.Answers.Equal(w.RequestedAt) {
			answered++
		}
		if !w.RollbackAt.IsZero() && r.gaveUpFor.Equal(w.RollbackAt) {
			rolledBack++
		}
	}
	if inFlight > 1 {
		say("%d versions are under way", inFlight)
	}
	if answered > 1 {
		say("the request was answered %d times (8)", answered)
	}
	if rolledBack > 1 {
		say("%d versions were given up for one request", rolledBack)
	}
	if !w.abandonAll {
		for material, o := range w.Upstream {
			if o.Live && w.byNonce(o.Nonce) == nil && !slices.Contains(w.suspected, o.Nonce) && !slices.Contains(w.erased, o.Nonce) {
				say("material %d lives upstream and the journal does not know it (2, 10)", material)
			}
		}
	}
	held := w.Upstream[w.Target.Holds]
	let := w.Target.uid != w.uid && w.Target.uid != 0 // of a credential that vanished
	over := !held.until.IsZero() && !w.Now.Before(held.until)
	spared := held.spent || w.replaced(held) || over || w.Ending() && !w.Retain || w.abandonAll || let
	if w.Target.Holds != 0 && !w.Target.foreign && !held.Killed && !spared && (!held.Live || held.Bad) {
		say("the target holds material %d, which is not accepted (1)", w.Target.Holds)
	}
	if t := w.Target; t.Exists && t.uid == w.uid && t.previous != 0 && !w.Ending() && !w.abandonAll {
		for material, o := range w.Upstream {
			if o.Nonce == t.previous && o.Revoked {
				say("the target shows material %d beside the published one, and it is revoked", material)
			}
		}
	}
	for _, d := range w.Dimensions {
		faults = append(faults, d.Broken(w)...)
	}
	return faults
}

// Settled says what is not as it should be when nothing is left to do and nothing is
// wrong any more.
func (w *World) Settled(last rotation.Step) error {
	for _, d := range w.Dimensions {
		if err := d.Settled(w); err != nil {
			return err
		}
	}
	if w.Ending() {
		return w.ended()
	}
	if why := w.variant.impossible(w); why != "" {
		if last.Problem == nil || last.Problem.Reason != why {
			return fmt.Errorf("this can only end with %s, and %+v is said", why, last.Problem)
		}
		return nil
	}
	if held := w.Upstream[w.Target.Holds]; (!held.Live || held.Bad) && !held.spent {
		return fmt.Errorf("the target holds %d, which is not accepted", w.Target.Holds)
	}
	for i := range w.Journal {
		if r := &w.Journal[i]; r.Material == w.Target.Holds && w.mine(r) && r.IntentAt.Before(w.CompromisedAt) && r.Answers.Before(w.CompromisedAt) && w.variant.Capabilities.MaxLive != 1 {
			return fmt.Errorf("version %d was declared compromised and is in use", r.Number)
		}
	}
	if err := w.ledger(); err != nil {
		return err
	}
	if w.Target.previous != 0 {
		return fmt.Errorf("nothing but the published version lives, and version %d is shown beside it", w.Target.previous)
	}
	said := last.Problem != nil && !history[last.Problem.Reason]
	if said || last.Notice != nil && !history[last.Notice.Reason] {
		return fmt.Errorf("there is nothing left to say, and %+v %+v is said", last.Problem, last.Notice)
	}
	return nil
}

// ledger: issued = live + revoked, and live is what the journal says.
func (w *World) ledger() error {
	for i := range w.Upstream {
		o, r := &w.Upstream[i], w.byNonce(w.Upstream[i].Nonce)
		switch {
		case i == 0 || !o.Live || slices.Contains(w.suspected, o.Nonce), slices.Contains(w.erased, o.Nonce) && r == nil:
			continue
		case r == nil:
			return fmt.Errorf("material %d lives and no version is it (10)", i)
		case !w.mine(r):
			continue // what was left is somebody else's
		case r.Material != i || !r.revokedAt.IsZero():
			return fmt.Errorf("material %d lives, and version %d says that it does not (10)", i, r.Number)
		case i != w.Target.Holds:
			return fmt.Errorf("version %d lives and nobody needs it (10)", r.Number)
		}
	}
	for i := range w.Journal {
		r := &w.Journal[i]
		if o := w.Upstream[r.Material]; w.mine(r) && r.revokedAt.IsZero() && !o.Live && !o.Killed {
			return fmt.Errorf("version %d counts as live and is not (10)", r.Number)
		}
	}
	return nil
}

func (w *World) ended() error {
	for i := range w.Journal {
		if r := &w.Journal[i]; w.mine(r) {
			return fmt.Errorf("the credential is deleted and version %d is held", r.Number)
		}
	}
	if w.Exists {
		return fmt.Errorf("the deleted credential is held")
	}
	return nil
}

// history are reasons that tell what was, or will be, for as long as nothing new has happened.
var history = map[string]bool{"WindowTooLate": true, "VersionFailed": true, "RolledBack": true, "RollbackImpossible": true}
