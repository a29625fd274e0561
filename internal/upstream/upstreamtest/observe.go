package upstreamtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// crowd is how many objects of others share the container in the tests of lists:
// more than two pages of a hundred.
const crowd = 230

// populate makes two objects of ours, a crowd, and two more.
func (t *trial) populate() ([]upstream.Request, error) {
	var ours []upstream.Request
	for i := range 4 {
		if i == 2 {
			for range crowd {
				if err := t.do(AddForeign, upstream.Request{Container: t.container}); err != nil {
					return nil, err
				}
			}
		}
		r, _, err := t.issue()
		if err != nil {
			return nil, err
		}
		ours = append(ours, r)
	}
	return ours, nil
}

// compare checks a listing against the requests that must be in it.
func compare(listing upstream.Listing, want []upstream.Request) error {
	got := map[upstream.Mark]upstream.Found{}
	for _, found := range listing.Found {
		if _, twice := got[found.Mark]; twice {
			return fmt.Errorf("%s is listed twice", found.Name)
		}
		got[found.Mark] = found
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d objects are listed, want %d", len(got), len(want))
	}
	for _, r := range want {
		found, ok := got[r.Mark]
		if !ok || found.ID == "" || found.Name != r.Name || found.Container != r.Container {
			return fmt.Errorf("%s of %s is listed as %+v", r.Name, r.Container, found)
		}
	}
	return nil
}

func listIsComplete(t *trial) error {
	ours, err := t.populate()
	if err != nil {
		return err
	}
	one := ours[2]
	for name, tc := range map[string]struct {
		owner upstream.Owner
		want  []upstream.Request
	}{
		"everything":                   {upstream.Owner{}, ours},
		"one container":                {upstream.Owner{Container: t.container}, ours},
		"one owner":                    {upstream.Owner{Mark: one.Mark.Owner()}, []upstream.Request{one}},
		"one owner in one container":   {upstream.Owner{Container: t.container, Mark: one.Mark.Owner()}, []upstream.Request{one}},
		"an owner that has no objects": {upstream.Owner{Mark: "0000000000000000"}, nil},
	} {
		listing, err := t.up.List(t.ctx, tc.owner)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := compare(listing, tc.want); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if listing.Total < crowd+len(ours) {
			return fmt.Errorf("%s: %d objects in all, want those of others counted: %d or more", name, listing.Total, crowd+len(ours))
		}
	}
	return nil
}

func shortListIsAnError(t *trial) error {
	ours, err := t.populate()
	if err != nil {
		return err
	}
	for _, fault := range append(failures(), Fault{Kind: HalfAnswer}) {
		if !t.lab.Arm(List, fault) {
			continue
		}
		account, err := t.open()
		if err != nil {
			return err
		}
		_, err = account.List(t.ctx, upstream.Owner{})
		t.lab.Heal()
		if problem := classified(err); problem != nil {
			return fmt.Errorf("%s %d: %w", fault.Kind, fault.Status, problem)
		}
	}
	if err := t.do(ShortenLists, upstream.Request{Container: t.container}); err != nil {
		return err
	}
	listing, err := t.up.List(t.ctx, upstream.Owner{Container: t.container})
	t.lab.Heal()
	if err == nil {
		if err := compare(listing, ours); err != nil {
			return fmt.Errorf("a shortened list was believed: %w", err)
		}
		return nil
	}
	return classified(err)
}

// everyStatusIsAnError plays each status on each call of each method. After a refused
// login or a throttled answer it goes on with a new process, since the old one holds
// back.
func everyStatusIsAnError(t *trial) error {
	_, handle, err := t.issue()
	if err != nil {
		return err
	}
	decisive := map[string][]Call{"Check": {Login, ReadRealm}, "Locate": {ReadContainer}, "List": {List}, "Issue": {Create}, "Revoke": {Delete}}
	for _, m := range t.methods(handle) {
		for _, call := range decisive[m.name] {
			var account upstream.Upstream
			for status := 100; status <= 599; status++ {
				if !drawn(status) && !slices.Contains(telling, status) {
					continue
				}
				fault := Fault{Kind: Refused, Status: status, Message: "no"}
				if status < 400 {
					fault = Fault{Kind: Broken, Status: status, Message: `{"message":"no"}`}
				}
				// What 2xx says of a deletion is true; other answers of 2xx are read, and
				// those that cannot be are a property of their own.
				if status >= 200 && status < 300 || !t.lab.Arm(call, fault) {
					continue
				}
				if class := upstream.ClassOf(err); account == nil || call == Login || class == upstream.LoginFailed || class == upstream.Throttled {
					if account, err = t.open(); err != nil {
						return err
					}
				}
				err = m.run(t.ctx, account)
				t.lab.Heal()
				if problem := classified(err); problem != nil || upstream.ClassOf(err) == upstream.NotFound {
					return fmt.Errorf("%s with %d on %s: %w", m.name, status, call, errors.Join(err, problem))
				}
			}
		}
	}
	return nil
}

// telling are the statuses that upstreams and proxies use, and that each stand for something.
var telling = []int{301, 302, 304, 400, 401, 403, 404, 405, 409, 410, 412, 418, 422, 423, 429, 500, 501, 502, 503, 504}

// drawn tells which trials of a sweep are made: all, or one in seven.
func drawn(trial int) bool { return !sparse || trial%7 == 0 }

func throttledAnswer(t *trial) error {
	const wanted = 40 * time.Second
	if !t.lab.Arm(Create, Fault{Kind: Throttled, After: wanted}) {
		return ErrNotPlayed
	}
	r := t.request()
	_, err := t.up.Issue(t.ctx, r)
	t.lab.Heal()
	if problem := classified(err, upstream.Throttled); problem != nil {
		return problem
	}
	if after := upstream.AfterOf(err); after < wanted-2*time.Second || after > wanted+2*time.Second {
		return fmt.Errorf("told to stay away for %v, it says %v", wanted, after)
	}
	_, err = t.up.Issue(t.ctx, r)
	if problem := classified(err, upstream.Throttled); problem != nil {
		return fmt.Errorf("right after it: %w", problem)
	}
	if after := upstream.AfterOf(err); after < wanted-10*time.Second {
		return fmt.Errorf("right after it, it may come again in %v", after)
	}
	return t.counts(r.Mark, 0, 0)
}

// verify asks for a verdict until it is the wanted one, for as long as news spread.
func (t *trial) verify(account upstream.Upstream, handle upstream.Handle, want bool) error {
	verdict, err := account.(upstream.Verifier).Verify(t.ctx, handle)
	if err != nil {
		return fmt.Errorf("no verdict: %w", err)
	}
	if verdict.Accepted != want || verdict.Detail == "" {
		return fmt.Errorf("accepted %v with detail %q, want %v", verdict.Accepted, verdict.Detail, want)
	}
	return nil
}

func verdicts(t *trial) error {
	_, handle, err := t.issue()
	if err != nil {
		return err
	}
	restarted, err := t.open()
	if err != nil {
		return err
	}
	for _, account := range []upstream.Upstream{t.up, restarted} {
		if err := t.verify(account, handle, true); err != nil {
			return fmt.Errorf("what was issued: %w", err)
		}
	}
	wrong := handle
	wrong.Material = material.Material{ClientID: handle.Material.ClientID, ClientSecret: material.New("not-the-secret")}
	if err := t.verify(t.up, wrong, false); err != nil {
		return fmt.Errorf("a wrong secret: %w", err)
	}
	for _, deed := range []Deed{ChangeSecret, RemoveObject} {
		r, handle, err := t.issue()
		if err != nil {
			return err
		}
		if err := t.verify(t.up, handle, true); err != nil {
			return err
		}
		if err := t.do(deed, r); err != nil {
			return err
		}
		if err := t.verify(t.up, handle, false); err != nil {
			return fmt.Errorf("after %s: %w", deed, err)
		}
	}
	return nil
}

func unreachableIsNoVerdict(t *trial) error {
	_, handle, err := t.issue()
	if err != nil {
		return err
	}
	tried := 0
	for _, call := range []Call{Login, Read, Prove, Use} {
		for _, fault := range []Fault{
			{Kind: CutBefore},
			{Kind: HalfAnswer},
			{Kind: Throttled, After: time.Minute},
			{Kind: Page, Status: 502},
			{Kind: Refused, Status: 408},
			{Kind: Refused, Status: 429},
			{Kind: Refused, Status: 500},
			{Kind: Refused, Status: 503},
			{Kind: Refused, Status: 504},
		} {
			if call == Use && fault.Kind == HalfAnswer || !t.lab.Arm(call, fault) {
				continue // half an answer to a workload's call came from behind the check of its credential
			}
			tried++
			account, err := t.open()
			if err != nil {
				return err
			}
			verdict, err := account.(upstream.Verifier).Verify(t.ctx, handle)
			t.lab.Heal()
			if err == nil && verdict.Accepted && t.lab.Accepts(handle.Material) {
				continue // it did not need that call, and found out the truth
			}
			if problem := classified(err); problem != nil {
				return fmt.Errorf("%s: %s %d: %w", call, fault.Kind, fault.Status, problem)
			}
		}
	}
	if tried == 0 {
		return ErrNotPlayed
	}
	return nil
}

// errorsHoldNoSecret lets the upstream echo what it was sent, which some do.
func errorsHoldNoSecret(t *trial) error {
	r, handle, err := t.issue()
	if err != nil {
		return err
	}
	for _, call := range []Call{Login, ReadRealm, ReadContainer, Create, Read, List, Delete, Prove, Use} {
		sent := slices.Clone(t.lab.Secrets())
		// What the upstream makes itself is not sent to it at creation: there it sees what was drafted.
		secret := ""
		switch call {
		case Create:
			secret = r.Material.ClientSecret.Reveal()
		case Prove, Use:
			secret = handle.Material.ClientSecret.Reveal()
		}
		if secret != "" {
			sent = append(sent, secret)
		}
		echo := "you sent " + strings.Join(sent, " and ") + " and more"
		for _, fault := range []Fault{
			{Kind: Refused, Status: 400, Message: echo},
			{Kind: Refused, Status: 401, Message: echo},
			{Kind: Refused, Status: 409, Message: echo},
			{Kind: Refused, Status: 500, Message: echo},
			{Kind: CutBefore},
			{Kind: CutAfter},
			{Kind: HalfAnswer},
			{Kind: Page, Status: 502},
		} {
			if !t.lab.Arm(call, fault) {
				continue
			}
			account, err := t.open()
			if err != nil {
				return err
			}
			_, issueErr := account.Issue(t.ctx, r)
			_, listErr := account.List(t.ctx, upstream.Owner{})
			_, checkErr := account.Check(t.ctx)
			_, locateErr := account.Locate(t.ctx, t.lab.Parameters())
			errs := []error{issueErr, listErr, checkErr, locateErr}
			if verifier, ok := account.(upstream.Verifier); ok {
				verdict, err := verifier.Verify(t.ctx, handle)
				errs = append(errs, err, errors.New(verdict.Detail))
			}
			errs = append(errs, account.Revoke(t.ctx, handle))
			t.lab.Heal()
			if err := searchSecrets(errs, append(sent, handle.Material.ClientSecret.Reveal())); err != nil {
				return fmt.Errorf("%s: %s %d: %w", call, fault.Kind, fault.Status, err)
			}
		}
	}
	return nil
}

// sameFailureSameWords: messages become conditions, and one that differs at each try is
// a write to the API server at each try.
func sameFailureSameWords(t *trial) error {
	r, handle, err := t.issue()
	if err != nil {
		return err
	}
	for _, call := range []Call{Login, ReadRealm, ReadContainer, Create, Read, List, Delete, Prove, Use} {
		for _, fault := range []Fault{
			{Kind: CutBefore},
			{Kind: CutAfter},
			{Kind: HalfAnswer},
			{Kind: Throttled, After: time.Minute},
			{Kind: Page, Status: 502},
			{Kind: Refused, Status: 401},
			{Kind: Refused, Status: 403},
			{Kind: Refused, Status: 404},
			{Kind: Refused, Status: 500},
		} {
			if !t.lab.Arm(call, fault) || call == Delete && (fault.Kind == CutAfter || fault.Kind == HalfAnswer) {
				t.lab.Heal()
				continue // a deletion that got through is not there to fail again
			}
			var words [2]string
			for i := range words {
				account, err := t.open()
				if err != nil {
					return err
				}
				_, checkErr := account.Check(t.ctx)
				_, locateErr := account.Locate(t.ctx, t.lab.Parameters())
				_, listErr := account.List(t.ctx, upstream.Owner{})
				_, issueErr := account.Issue(t.ctx, r)
				errs := []error{checkErr, locateErr, listErr, issueErr}
				if verifier, ok := account.(upstream.Verifier); ok {
					verdict, err := verifier.Verify(t.ctx, handle)
					errs = append(errs, err, errors.New(verdict.Detail))
				}
				if call == Delete {
					errs = append(errs, account.Revoke(t.ctx, handle))
				}
				words[i] = fmt.Sprint(errs)
			}
			t.lab.Heal()
			if words[0] != words[1] {
				return fmt.Errorf("%s: %s %d: first %s, then %s", call, fault.Kind, fault.Status, words[0], words[1])
			}
		}
	}
	return nil
}

// searchSecrets looks at errors in every form in which they could be written, causes
// included.
func searchSecrets(errs []error, secrets []string) error {
	for _, err := range errs {
		for cause := err; cause != nil; cause = errors.Unwrap(cause) {
			asJSON, _ := json.Marshal(cause) // an error that JSON cannot express is not logged as JSON
			for _, form := range []string{cause.Error(), fmt.Sprintf("%+v", cause), fmt.Sprintf("%#v", cause), string(asJSON)} {
				for i, secret := range secrets {
					if secret != "" && strings.Contains(form, secret) {
						return fmt.Errorf("secret %d of %d is in a %T", i+1, len(secrets), cause)
					}
				}
			}
		}
	}
	return nil
}
