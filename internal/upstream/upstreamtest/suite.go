package upstreamtest

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// limit bounds one property; a call that never returns is a failure, not a hang.
const limit = 2 * time.Minute

// patientCalls bound how often a pending call is repeated.
const patientCalls = 200

// property is one sentence about adapters, and the trial that can refute it.
type property struct {
	name string
	// concerns says for which adapters it is meant; nil means all.
	concerns func(upstream.Upstream) bool
	holds    func(*trial) error
}

// properties are all of them. Those of Issue concern the classes in which a request
// may be repeated.
func properties() []property {
	return []property{
		{"the realm is the beginning of every container, and is the same for every process", nil, realmIsStable},
		{"a container that does not exist is NotFound and named", nil, absentContainerIsNamed},
		{"capabilities are constant and whole", nil, capabilitiesAreConstant},
		{"the same request twice yields one object", repeatable, sameRequestTwice},
		{"the same request from two processes at once yields one object", repeatable, sameRequestAtOnce},
		{"an answer that was lost is made good by repeating the request", repeatable, lostAnswer},
		{"an answer that was lost for good is an unknown outcome, and one call makes one object", once, lostForGood},
		{"what a lost answer was about is found by its mark and revoked", markedOnce, lostIsFound},
		{"a request that was refused or never arrived leaves nothing behind", nil, refusedRequest},
		{"requests at the same time are kept apart", overlaps, manyAtOnce},
		{"a name that somebody else has too stays his", sharedNames, sharedName},
		{"a name that somebody else took is a Conflict and stays his", uniqueNames, takenName},
		{"an id that somebody else took is a Conflict and stays his", uniqueNames, takenID},
		{"an object that a person renamed is still the request's", repeatable, renamedObjectIsFound},
		{"the material has the fields that were announced, and no other", nil, materialIsAsAnnounced},
		{"two versions overlap", overlaps, versionsOverlap},
		{"revoking twice is no error, and revokes nothing else", nil, revokeTwice},
		{"revoking what was never issued is no error", addressable, revokeNeverIssued},
		{"revoking touches no object of somebody else under the same name", uniqueNames, revokeForeignName},
		{"a revocation whose answer was lost is made good by repeating it", nil, lostRevocation},
		{"a renamed object is revoked all the same", addressable, revokeRenamedObject},
		{"revoking never succeeds while the object lives, whatever fails or lies", nil, revokeDespiteLies},
		{"absence is believed only from a container that could be read", addressable, absenceNeedsProof},
		{"what went with its container is gone", addressable, revokeWithContainer},
		{"a list is complete over many pages", addressable, listIsComplete},
		{"a list that may be short is an error", addressable, shortListIsAnError},
		{"no status is taken for proven absence, and none but 2xx for success", nil, everyStatusIsAnError},
		{"an answer that cannot be read is neither success nor absence", nil, unreadable},
		{"a throttled answer holds back the whole account for as long as it asks", nil, throttledAnswer},
		{"verification accepts what works and refuses what does not", verifies, verdicts},
		{"verification that finds nothing out is an error, not a refusal", verifies, unreachableIsNoVerdict},
		{"a call whose caller has gone is an error", nil, cancelledCall},
		{"a call ends within a second of its caller's going", nil, abandonedCall},
		{"no goroutine is left when the calls have ended", nil, nobodyLeft},
		{"no error holds a secret value", nil, errorsHoldNoSecret},
		{"the same failure has the same words each time", nil, sameFailureSameWords},
	}
}

// Run proves all properties that concern the adapter, each in a Lab of its own. What
// the Lab cannot play is not proven, and fails. A package that runs them also has a TestMain
// of goleak's, which sees what is left when the labs are closed.
func Run(t *testing.T, newLab func(testing.TB) Lab) {
	for _, p := range properties() {
		t.Run(p.name, func(t *testing.T) {
			err := prove(t.Context(), p, newLab(t))
			if errors.Is(err, errNotConcerned) {
				t.Log(err)
				return
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// errNotConcerned says that a property is not meant for this adapter.
var errNotConcerned = fmt.Errorf("not meant for an upstream of these capabilities: %w", ErrNotPlayed)

// prove tries one property.
func prove(ctx context.Context, p property, lab Lab) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := &trial{ctx: ctx, lab: lab}
	account, err := t.open()
	if err != nil {
		return err
	}
	if p.concerns != nil && !p.concerns(account) {
		return errNotConcerned
	}
	if exempter, ok := lab.(Exempter); ok && exempter.Exempt()[p.name] != "" {
		return fmt.Errorf("%s: %w", exempter.Exempt()[p.name], errNotConcerned)
	}
	t.up = account
	if t.container, err = account.Locate(ctx, lab.Parameters()); err != nil {
		return fmt.Errorf("the healthy container cannot be located: %w", err)
	}
	return p.holds(t)
}

func repeatable(u upstream.Upstream) bool {
	class := u.Capabilities().Class
	return class == upstream.WriteAhead || class == upstream.Readable
}

// addressable: a version can be named upstream by more than its own secret.
func addressable(u upstream.Upstream) bool {
	class := u.Capabilities().Class
	return class != upstream.GrantOnly && class != upstream.Blind
}
func uniqueNames(u upstream.Upstream) bool { return u.Capabilities().UniqueNames }
func overlaps(u upstream.Upstream) bool    { return u.Capabilities().Overlap }
func verifies(u upstream.Upstream) bool    { _, ok := u.(upstream.Verifier); return ok }

// trial is one property being tried on one lab.
type trial struct {
	ctx context.Context
	lab Lab
	// up is an account that was opened while all was well, and has located.
	up        upstream.Upstream
	container string
}

func (t *trial) open() (upstream.Upstream, error) {
	account, err := t.lab.Open()
	if err != nil {
		return nil, fmt.Errorf("the account cannot be opened: %w", err)
	}
	return account, nil
}

// request makes one that was never made before.
func (t *trial) request() upstream.Request {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails, see its documentation
	mark := upstream.Mark(hex.EncodeToString(random[:]))
	encoding := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	r := upstream.Request{
		Parameters: t.lab.Parameters(),
		Container:  t.container,
		Name:       "cl-" + encoding.EncodeToString(random[:8]) + "-" + encoding.EncodeToString(random[8:13]),
		Title:      "suite/thing v1",
		Mark:       mark,
	}
	if drafter, ok := t.up.(upstream.Drafter); ok {
		// A draft that fails leaves the material empty, and the property that needs it fails.
		r.Material, _ = drafter.Draft(r, rand.Reader)
	}
	return r
}

// carry asks for the same version until the upstream has made it, as the controllers do:
// what a partial answer told comes back with the next call.
func (t *trial) carry(ctx context.Context, account upstream.Upstream, r upstream.Request) (upstream.Issued, error) {
	for range patientCalls {
		issued, err := account.Issue(ctx, r)
		if upstream.ClassOf(err) != upstream.Pending || err == nil {
			return issued, err
		}
		if issued.ID != "" {
			r.ID, r.SecretHandle = issued.ID, issued.SecretHandle
		}
		t.wait(upstream.AfterOf(err))
	}
	return upstream.Issued{}, fmt.Errorf("still pending after %d calls", patientCalls)
}

// end revokes until the upstream has done it. An upstream that worked on it for a while
// may say of it in the end that nothing is there.
func (t *trial) end(ctx context.Context, account upstream.Upstream, h upstream.Handle) error {
	for i := range patientCalls {
		err := account.Revoke(ctx, h)
		if upstream.ClassOf(err) != upstream.Pending || err == nil {
			if i > 0 {
				return gone(err)
			}
			return err
		}
		t.wait(upstream.AfterOf(err))
	}
	return fmt.Errorf("still pending after %d calls", patientCalls)
}

// wait lets time pass upstream, where the lab can; otherwise the next call is made at once.
func (t *trial) wait(d time.Duration) {
	if lab, ok := t.lab.(interface{ Pass(time.Duration) }); ok {
		lab.Pass(max(d, time.Second))
	}
}

// gone: a second revocation succeeds or says that nothing is there.
func gone(err error) error {
	if upstream.ClassOf(err) == upstream.NotFound {
		return nil
	}
	return err
}

// issue makes an object while all is well.
func (t *trial) issue() (upstream.Request, upstream.Handle, error) {
	r := t.request()
	issued, err := t.carry(t.ctx, t.up, r)
	if err != nil {
		return r, upstream.Handle{}, fmt.Errorf("a healthy upstream refused: %w", err)
	}
	if t.lab.Live(r.Mark) != 1 {
		return r, upstream.Handle{}, fmt.Errorf("after Issue %d objects live, want 1", t.lab.Live(r.Mark))
	}
	return r, handleOf(r, issued), nil
}

// handleOf names what was issued; unanswered names what may have been.
func handleOf(r upstream.Request, i upstream.Issued) upstream.Handle {
	h := unanswered(r)
	h.Material, h.ID, h.SecretHandle, h.ExpiresAt = i.Material, i.ID, i.SecretHandle, i.ExpiresAt
	return h
}

func unanswered(r upstream.Request) upstream.Handle {
	return upstream.Handle{Parameters: r.Parameters, Container: r.Container, Name: r.Name, Mark: r.Mark, Number: r.Number, Material: r.Material}
}

// do lets a deed be done.
func (t *trial) do(deed Deed, r upstream.Request) error {
	if err := t.lab.Do(deed, r); err != nil {
		return fmt.Errorf("%s: %w", deed, err)
	}
	return nil
}

// counts compares the ledger with what must be there.
func (t *trial) counts(mark upstream.Mark, live, issued int) error {
	if t.lab.Live(mark) != live || t.lab.Issued(mark) != issued {
		return fmt.Errorf("%d objects live and %d were ever issued, want %d and %d", t.lab.Live(mark), t.lab.Issued(mark), live, issued)
	}
	return nil
}

// classified checks that an error is an *Error of a known class, one of want if any
// are given.
func classified(err error, want ...upstream.ErrorClass) error {
	if err == nil {
		return fmt.Errorf("succeeded, want an error of %v", want)
	}
	own, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return fmt.Errorf("%T is no *upstream.Error: %w", err, err)
	}
	known := want
	if len(known) == 0 {
		known = []upstream.ErrorClass{
			upstream.Retryable, upstream.Throttled, upstream.LoginFailed, upstream.Forbidden, upstream.InvalidSpec, upstream.Conflict,
			upstream.NotFound, upstream.Pending, upstream.AwaitingUpstreamApproval, upstream.Rejected, upstream.Declined, upstream.QuotaExceeded, upstream.OutcomeUnknown,
		}
	}
	for _, class := range known {
		if own.Class == class {
			if strings.TrimSpace(own.Message) == "" {
				return fmt.Errorf("%s without a message", own.Class)
			}
			return nil
		}
	}
	return fmt.Errorf("got %w, want one of %v", err, known)
}
