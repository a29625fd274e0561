package upstreamtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// errSuccess stands for an answer that should have been an error.
var errSuccess = errors.New("success")

func revokeTwice(t *trial) error {
	if addressable(t.up) {
		if err := t.do(AddForeign, upstream.Request{Container: t.container}); err != nil {
			return err
		}
	}
	kept, _, err := t.issue()
	if err != nil {
		return err
	}
	without := t.lab.Total()
	r, handle, err := t.issue()
	if err != nil {
		return err
	}
	restarted, err := t.open()
	if err != nil {
		return err
	}
	for i, account := range []upstream.Upstream{t.up, t.up, restarted} {
		err := t.end(t.ctx, account, handle)
		if i > 0 {
			err = gone(err)
		}
		if err != nil {
			return err
		}
		if t.lab.Total() != without {
			return fmt.Errorf("%d objects live, want the %d that were there before, auxiliary ones included", t.lab.Total(), without)
		}
	}
	if err := t.counts(r.Mark, 0, 1); err != nil {
		return err
	}
	return t.counts(kept.Mark, 1, 1)
}

func revokeNeverIssued(t *trial) error {
	_, _, err := t.issue()
	if err != nil {
		return err
	}
	before := t.lab.Total()
	never := t.request()
	if problem := classified(t.up.Revoke(t.ctx, unanswered(never)), upstream.NotFound); problem != nil {
		return problem
	}
	if t.lab.Total() != before {
		return fmt.Errorf("%d objects live, want %d", t.lab.Total(), before)
	}
	return nil
}

func revokeForeignName(t *trial) error {
	r := t.request()
	if err := t.do(TakeName, r); err != nil {
		return err
	}
	before := t.lab.Total()
	if problem := classified(t.up.Revoke(t.ctx, unanswered(r)), upstream.NotFound); problem != nil {
		return fmt.Errorf("nothing of ours exists, and yet: %w", problem)
	}
	if t.lab.Total() != before {
		return fmt.Errorf("%d objects live, want %d", t.lab.Total(), before)
	}
	return nil
}

func lostRevocation(t *trial) error {
	for _, kind := range []Kind{CutAfter, HalfAnswer, Slow} {
		r, handle, err := t.issue()
		if err != nil {
			return err
		}
		if !t.lab.Arm(Delete, Fault{Kind: kind}) {
			continue
		}
		ctx, cancel := context.WithTimeout(t.ctx, patience(kind))
		err = t.up.Revoke(ctx, handle)
		cancel()
		t.lab.Heal()
		if err != nil {
			if problem := classified(err, upstream.OutcomeUnknown); problem != nil {
				return fmt.Errorf("%s: %w", kind, problem)
			}
		}
		if err := gone(t.end(t.ctx, t.up, handle)); err != nil {
			return fmt.Errorf("%s, repeated: %w", kind, err)
		}
		if err := t.counts(r.Mark, 0, 1); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func revokeRenamedObject(t *trial) error {
	before := t.lab.Total()
	r, handle, err := t.issue()
	if err != nil {
		return err
	}
	if err := t.do(RenameObject, r); err != nil {
		return err
	}
	// Somebody else sits on the name by now: it must not be hit in its place.
	ours := t.lab.Total()
	if err := t.do(TakeName, r); err != nil {
		return err
	}
	foreign := t.lab.Total() - ours
	if err := t.end(t.ctx, t.up, handle); err != nil {
		return err
	}
	if t.lab.Total() != before+foreign {
		return fmt.Errorf("%d objects live, want %d", t.lab.Total(), before+foreign)
	}
	return t.counts(r.Mark, 0, 1)
}

// failures are what a call may meet that proves nothing.
func failures() []Fault {
	all := []Fault{
		{Kind: CutBefore}, {Kind: Throttled, After: time.Minute}, {Kind: Page, Status: 200}, {Kind: Page, Status: 404}, {Kind: Page, Status: 502}, {Kind: Page, Status: 503},
	}
	for _, status := range []int{400, 401, 403, 404, 405, 408, 409, 410, 422, 429, 500, 502, 503, 504} {
		all = append(all, Fault{Kind: Refused, Status: status})
	}
	return all
}

func revokeDespiteLies(t *trial) error {
	r, handle, err := t.issue()
	if err != nil {
		return err
	}
	// attempt revokes from a new process, since one that failed may hold back.
	attempt := func(what string) error {
		account, err := t.open()
		if err != nil {
			return err
		}
		err = t.end(t.ctx, account, handle)
		t.lab.Heal()
		if live := t.lab.Live(r.Mark); gone(err) == nil && live > 0 {
			return fmt.Errorf("%s: Revoke answered %w, and the object lives", what, cmp.Or(err, errSuccess))
		}
		if err != nil {
			if problem := classified(err); problem != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
		if t.lab.Live(r.Mark) == 0 { // it got through, for example past a fault on a call that it did not need
			if r, handle, err = t.issue(); err != nil {
				return err
			}
		}
		return nil
	}
	for _, call := range []Call{Login, ReadRealm, ReadContainer, Read, List, Delete} {
		for _, fault := range failures() {
			if !t.lab.Arm(call, fault) {
				continue
			}
			if err := attempt(fmt.Sprintf("%s: %s %d", call, fault.Kind, fault.Status)); err != nil {
				return err
			}
		}
	}
	if !addressable(t.up) {
		return nil // what people do to containers and names is nothing to it
	}
	for _, deeds := range [][]Deed{{LoseRights}, {ShortenLists}, {RenameContainer}, {RenameObject, ShortenLists}, {RenameObject, LoseRights}} {
		for _, deed := range deeds {
			if err := t.do(deed, r); err != nil {
				return err
			}
		}
		if err := attempt(fmt.Sprint(deeds)); err != nil {
			return err
		}
	}
	return nil
}

func absenceNeedsProof(t *trial) error {
	r, handle, err := t.issue()
	if err != nil {
		return err
	}
	if err := t.do(RemoveObject, r); err != nil {
		return err
	}
	refute := func(what string) error {
		account, err := t.open()
		if err != nil {
			return err
		}
		err = account.Revoke(t.ctx, handle)
		t.lab.Heal()
		if upstream.ClassOf(err) == upstream.NotFound {
			return fmt.Errorf("%s: absence was concluded: %w", what, err)
		}
		if err := classified(err); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	for _, call := range []Call{Login, List} {
		for _, fault := range failures() {
			if !t.lab.Arm(call, fault) {
				continue
			}
			if err := refute(fmt.Sprintf("%s: %s %d", call, fault.Kind, fault.Status)); err != nil {
				return err
			}
		}
	}
	if err := t.do(LoseRights, r); err != nil {
		return err
	}
	if err := refute(string(LoseRights)); err != nil {
		return err
	}
	if problem := classified(t.up.Revoke(t.ctx, handle), upstream.NotFound); problem != nil {
		return fmt.Errorf("all is well again: %w", problem)
	}
	return nil
}

func revokeWithContainer(t *trial) error {
	r, handle, err := t.issue()
	if err != nil {
		return err
	}
	if err := t.do(RemoveContainer, r); err != nil {
		return err
	}
	if err := t.do(LoseRights, r); err != nil {
		return err
	}
	account, err := t.open()
	if err != nil {
		return err
	}
	err = account.Revoke(t.ctx, handle)
	if problem := classified(err); problem != nil || upstream.ClassOf(err) == upstream.NotFound {
		return fmt.Errorf("without rights: %w", cmp.Or(problem, err))
	}
	t.lab.Heal()
	if problem := classified(t.up.Revoke(t.ctx, handle), upstream.NotFound); problem != nil {
		return fmt.Errorf("with rights: %w", problem)
	}
	return t.counts(r.Mark, 0, 1)
}
