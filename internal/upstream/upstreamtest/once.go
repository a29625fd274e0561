package upstreamtest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// once: a request may not be repeated, since each call makes something new.
func once(u upstream.Upstream) bool { return !repeatable(u) }

// markedOnce: what such a call has made is found by its mark.
func markedOnce(u upstream.Upstream) bool { return once(u) && addressable(u) }

// sharedNames: names are no identities.
func sharedNames(u upstream.Upstream) bool { return addressable(u) && !uniqueNames(u) }

// lostForGood: where a repeat would make a second object, an adapter must neither repeat by
// itself nor call the outcome anything but unknown.
func lostForGood(t *trial) error {
	tried := 0
	for _, kind := range []Kind{CutAfter, HalfAnswer, Slow} {
		r := t.request()
		if !t.lab.Arm(Create, Fault{Kind: kind}) {
			continue
		}
		tried++
		ctx, cancel := context.WithTimeout(t.ctx, patience(kind))
		_, err := t.up.Issue(ctx, r)
		cancel()
		t.lab.Heal()
		if problem := classified(err, upstream.OutcomeUnknown); problem != nil {
			return fmt.Errorf("%s: %w", kind, problem)
		}
		if issued := t.lab.Issued(r.Mark); issued > 1 {
			return fmt.Errorf("%s: one call made %d objects", kind, issued)
		}
	}
	if tried == 0 {
		return ErrNotPlayed
	}
	return nil
}

// lostIsFound: what cannot be used is found by its mark and ended.
func lostIsFound(t *trial) error {
	r := t.request()
	if !t.lab.Arm(Create, Fault{Kind: CutAfter}) {
		return ErrNotPlayed
	}
	_, err := t.up.Issue(t.ctx, r)
	t.lab.Heal()
	if problem := classified(err, upstream.OutcomeUnknown); problem != nil {
		return problem
	}
	if err := t.counts(r.Mark, 1, 1); err != nil {
		return err
	}
	restarted, err := t.open()
	if err != nil {
		return err
	}
	listing, err := restarted.List(t.ctx, upstream.Owner{Container: t.container, Mark: r.Mark.Owner()})
	if err != nil {
		return err
	}
	if len(listing.Found) != 1 || listing.Found[0].Mark != r.Mark {
		return fmt.Errorf("it is listed as %+v", listing.Found)
	}
	if err := t.end(t.ctx, restarted, unanswered(r)); err != nil {
		return err
	}
	return t.counts(r.Mark, 0, 1)
}

// manyAtOnce: an account is shared by all credentials of an issuer.
func manyAtOnce(t *trial) error {
	other, err := t.open()
	if err != nil {
		return err
	}
	before := t.lab.Total()
	const many = 6
	requests, handles, errs := make([]upstream.Request, many), make([]upstream.Handle, many), make([]error, many)
	for i := range requests {
		requests[i] = t.request()
	}
	var group sync.WaitGroup
	for i, r := range requests {
		account := t.up
		if i >= many*2/3 {
			account = other
		}
		group.Go(func() {
			var issued upstream.Issued
			issued, errs[i] = t.carry(t.ctx, account, r)
			handles[i] = handleOf(r, issued)
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("at the same time: %w", err)
	}
	for i, r := range requests {
		handle := handles[i]
		if !t.lab.Accepts(handle.Material) {
			return fmt.Errorf("the material of request %d is not accepted", i+1)
		}
		// Where nothing can be marked upstream, no ledger tells whose an object is.
		if addressable(t.up) {
			if err := t.counts(r.Mark, 1, 1); err != nil {
				return err
			}
		}
		for j := range i {
			if handles[j].Material.Equal(handle.Material) {
				return fmt.Errorf("two requests were answered with the same material")
			}
		}
	}
	// Each handle ends its own version and no other's.
	for i, handle := range handles {
		if err := t.end(t.ctx, t.up, handle); err != nil {
			return err
		}
		for j := range handles {
			if accepted := t.lab.Accepts(handles[j].Material); accepted != (j > i) {
				return fmt.Errorf("after %d of %d revocations the material of request %d is accepted: %t", i+1, many, j+1, accepted)
			}
		}
	}
	if t.lab.Total() != before {
		return fmt.Errorf("%d objects live in the end, want the %d of before", t.lab.Total(), before)
	}
	return nil
}

func sharedName(t *trial) error {
	r := t.request()
	if err := t.do(TakeName, r); err != nil {
		return err
	}
	before := t.lab.Total()
	issued, err := t.carry(t.ctx, t.up, r)
	if err != nil {
		// An upstream may let nobody have a name twice without promising it.
		if problem := classified(err); problem != nil {
			return problem
		}
		if t.lab.Total() != before {
			return fmt.Errorf("%d objects live, want the %d of before", t.lab.Total(), before)
		}
		return nil
	}
	if err := t.counts(r.Mark, 1, 1); err != nil {
		return err
	}
	if !t.lab.Accepts(issued.Material) || t.lab.Total() <= before {
		return fmt.Errorf("accepted: %t, %d objects live, and %d lived before", t.lab.Accepts(issued.Material), t.lab.Total(), before)
	}
	if err := t.end(t.ctx, t.up, handleOf(r, issued)); err != nil {
		return err
	}
	if t.lab.Total() != before {
		return fmt.Errorf("after the revocation %d objects live, want the %d of before", t.lab.Total(), before)
	}
	return t.counts(r.Mark, 0, 1)
}
