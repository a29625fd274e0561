package upstreamtest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/claviger-dev/claviger/internal/upstream"
)

func realmIsStable(t *trial) error {
	other, err := t.open()
	if err != nil {
		return err
	}
	for _, account := range []upstream.Upstream{t.up, other} {
		realm, err := account.Check(t.ctx)
		if err != nil {
			return fmt.Errorf("Check: %w", err)
		}
		container, err := account.Locate(t.ctx, t.lab.Parameters())
		if err != nil {
			return fmt.Errorf("Locate: %w", err)
		}
		if realm == "" || container != t.container || !strings.HasPrefix(container, realm+"/") {
			return fmt.Errorf("realm %q, container %q, want container %q below the realm", realm, container, t.container)
		}
	}
	return nil
}

func absentContainerIsNamed(t *trial) error {
	for word, parameters := range t.lab.Absent() {
		_, err := t.up.Locate(t.ctx, parameters)
		if problem := classified(err, upstream.NotFound); problem != nil {
			return fmt.Errorf("%s: %w", word, problem)
		}
		if !strings.Contains(err.Error(), word) {
			return fmt.Errorf("%w does not name %q", err, word)
		}
	}
	return nil
}

func capabilitiesAreConstant(t *trial) error {
	before := t.up.Capabilities()
	for _, call := range []Call{Login, ReadRealm, ReadContainer} {
		t.lab.Arm(call, Fault{Kind: CutBefore})
	}
	other, err := t.open()
	if err != nil {
		return fmt.Errorf("opening makes calls: %w", err)
	}
	if after := other.Capabilities(); after != before {
		return fmt.Errorf("%+v, then %+v", before, after)
	}
	switch before.Class {
	case upstream.WriteAhead, upstream.Readable, upstream.ShownOnce, upstream.GrantOnly, upstream.Blind:
	default:
		return fmt.Errorf("unknown class %q", before.Class)
	}
	if before.Settle <= 0 || before.VerifyTimeout <= 0 || before.MaxLive < 0 {
		return fmt.Errorf("%+v lacks a time or has a negative number", before)
	}
	return nil
}

func sameRequestTwice(t *trial) error {
	r, handle, err := t.issue()
	if err != nil {
		return err
	}
	restarted, err := t.open()
	if err != nil {
		return err
	}
	for name, account := range map[string]upstream.Upstream{"the same process": t.up, "a new process": restarted} {
		again, err := t.carry(t.ctx, account, r)
		if err != nil {
			return fmt.Errorf("repeated by %s: %w", name, err)
		}
		if !again.Material.Equal(handle.Material) {
			return fmt.Errorf("repeated by %s: other material came back", name)
		}
	}
	if !t.lab.Accepts(handle.Material) {
		return fmt.Errorf("the material is not accepted")
	}
	return t.counts(r.Mark, 1, 1)
}

func sameRequestAtOnce(t *trial) error {
	other, err := t.open()
	if err != nil {
		return err
	}
	r := t.request()
	errs := make([]error, 8)
	var group sync.WaitGroup
	for i := range errs {
		account := t.up
		if i%2 == 1 {
			account = other
		}
		group.Go(func() { _, errs[i] = t.carry(t.ctx, account, r) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("one of them: %w", err)
		}
	}
	return t.counts(r.Mark, 1, 1)
}

func lostAnswer(t *trial) error {
	for _, kind := range []Kind{CutAfter, HalfAnswer, Slow} {
		r := t.request()
		if !t.lab.Arm(Create, Fault{Kind: kind}) {
			continue
		}
		ctx, cancel := context.WithTimeout(t.ctx, patience(kind))
		_, err := t.carry(ctx, t.up, r)
		cancel()
		t.lab.Heal()
		// An adapter that resolves the loss by itself may succeed.
		if err != nil {
			if problem := classified(err, upstream.OutcomeUnknown); problem != nil {
				return fmt.Errorf("%s: %w", kind, problem)
			}
		}
		if err := t.counts(r.Mark, 1, 1); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		restarted, err := t.open()
		if err != nil {
			return err
		}
		issued, err := t.carry(t.ctx, restarted, r)
		if err != nil {
			return fmt.Errorf("%s, repeated: %w", kind, err)
		}
		if !t.lab.Accepts(issued.Material) {
			return fmt.Errorf("%s, repeated: the material is not accepted", kind)
		}
		if t.up.Capabilities().Class == upstream.WriteAhead && !issued.Material.Equal(r.Material) {
			return fmt.Errorf("%s, repeated: other material came back than was sent", kind)
		}
		if err := t.counts(r.Mark, 1, 1); err != nil {
			return fmt.Errorf("%s, repeated: %w", kind, err)
		}
	}
	return nil
}

// patience is how long a caller waits for an answer: a slow one never comes.
func patience(kind Kind) time.Duration {
	if kind == Slow {
		return time.Second
	}
	return limit
}

func refusedRequest(t *trial) error {
	for _, fault := range []Fault{
		{Kind: CutBefore}, {Kind: Refused, Status: 400}, {Kind: Refused, Status: 403}, {Kind: Refused, Status: 404}, {Kind: Refused, Status: 500}, {Kind: Page, Status: 502},
	} {
		r := t.request()
		if !t.lab.Arm(Create, fault) {
			continue
		}
		_, err := t.up.Issue(t.ctx, r)
		t.lab.Heal()
		if problem := classified(err); problem != nil {
			return fmt.Errorf("%s %d: %w", fault.Kind, fault.Status, problem)
		}
		if err := t.counts(r.Mark, 0, 0); err != nil {
			return fmt.Errorf("%s %d: %w", fault.Kind, fault.Status, err)
		}
		if _, err := t.carry(t.ctx, t.up, r); err != nil {
			return fmt.Errorf("%s %d, repeated: %w", fault.Kind, fault.Status, err)
		}
		if err := t.counts(r.Mark, 1, 1); err != nil {
			return fmt.Errorf("%s %d, repeated: %w", fault.Kind, fault.Status, err)
		}
	}
	return nil
}

func takenName(t *trial) error { return taken(t, TakeName) }

func takenID(t *trial) error { return taken(t, TakeID) }

// taken leaves the count of the mark alone: TakeID makes somebody else's object with
// that very id.
func taken(t *trial, deed Deed) error {
	r := t.request()
	if err := t.do(deed, r); err != nil {
		return err
	}
	before := t.lab.Total()
	for _, attempt := range []string{"first", "second"} {
		_, err := t.up.Issue(t.ctx, r)
		if problem := classified(err, upstream.Conflict); problem != nil {
			return fmt.Errorf("%s attempt: %w", attempt, problem)
		}
	}
	if t.lab.Total() != before {
		return fmt.Errorf("%d objects live, want %d as before", t.lab.Total(), before)
	}
	return nil
}

func renamedObjectIsFound(t *trial) error {
	r, handle, err := t.issue()
	if err != nil {
		return err
	}
	if err := t.do(RenameObject, r); err != nil {
		return err
	}
	restarted, err := t.open()
	if err != nil {
		return err
	}
	issued, err := t.carry(t.ctx, restarted, r)
	if err != nil {
		return fmt.Errorf("repeated after the rename: %w", err)
	}
	if !issued.Material.Equal(handle.Material) {
		return fmt.Errorf("other material came back")
	}
	return t.counts(r.Mark, 1, 1)
}

func versionsOverlap(t *trial) error {
	_, first, err := t.issue()
	if err != nil {
		return err
	}
	_, second, err := t.issue()
	if err != nil {
		return err
	}
	if !t.lab.Accepts(first.Material) || !t.lab.Accepts(second.Material) {
		return fmt.Errorf("the first is accepted: %v, the second: %v", t.lab.Accepts(first.Material), t.lab.Accepts(second.Material))
	}
	if err := t.end(t.ctx, t.up, first); err != nil {
		return err
	}
	if t.lab.Accepts(first.Material) || !t.lab.Accepts(second.Material) {
		return fmt.Errorf("after revoking the first it is accepted: %v, the second: %v", t.lab.Accepts(first.Material), t.lab.Accepts(second.Material))
	}
	return nil
}

func cancelledCall(t *trial) error {
	r, handle, err := t.issue()
	if err != nil {
		return err
	}
	gone, cancel := context.WithCancel(t.ctx)
	cancel()
	account, err := t.open()
	if err != nil {
		return err
	}
	_, issueErr := account.Issue(gone, t.request())
	_, listErr := account.List(gone, upstream.Owner{})
	_, checkErr := account.Check(gone)
	_, locateErr := account.Locate(gone, t.lab.Parameters())
	for name, err := range map[string]error{
		"Issue": issueErr, "List": listErr, "Check": checkErr, "Locate": locateErr, "Revoke": account.Revoke(gone, handle),
	} {
		if problem := classified(err, upstream.Retryable, upstream.OutcomeUnknown, upstream.Throttled); problem != nil {
			return fmt.Errorf("%s: %w", name, problem)
		}
	}
	return t.counts(r.Mark, 1, 1)
}
