package issuer

import (
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/interval"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// firstRetry and lastRetry bound the pause after a failure.
	firstRetry = 5 * time.Second
	lastRetry  = 5 * time.Minute
	// glance is how often the login Secret of an issuer that does not work is read:
	// whoever corrects it wants to see the effect, and the upstream is not asked
	// unless it changed.
	glance = 10 * time.Second
	// recheckPause keeps a storm of refused calls from becoming a storm of logins.
	recheckPause = 5 * time.Second
	// patience is how many checks in a row may fail for want of an answer before a
	// working account is taken out of use.
	patience = 3
	// releasePause is how often an issuer that waits for its last version looks.
	releasePause = 5 * time.Second
	// readPause and readSlice limit the reading of version Secrets to five a second.
	readPause = 5 * time.Second
	readSlice = 25
	// unsteadyPause is how often the API server is asked while its clock is in doubt:
	// without answers nobody would learn that it is not.
	unsteadyPause = 10 * time.Second
)

// step is what is done next for an issuer.
type step string

const (
	// wait: nothing is due.
	wait step = "wait"
	// silence: take a suspended account out of use.
	silence step = "silence"
	// release: look whether a terminating issuer may go.
	release step = "release"
	// login: read the login Secret and ask the upstream whether it works.
	login step = "login"
	// sweep: compare the upstream's listing with the journal.
	sweep step = "sweep"
	// read: read some of the version Secrets whose hash is not known yet.
	read step = "read"
)

// situation is everything that the decision looks at. Times are local: they measure
// waiting in this process and are compared with nothing else.
type situation struct {
	now         time.Time
	terminating bool
	suspended   bool
	silenced    bool
	// held: our finalizer is on the issuer. releaseAt is when it is looked at again.
	held      bool
	releaseAt time.Time
	// fresh: the account was opened with the present generation and login Secret, as
	// far as the cache tells.
	fresh bool
	// usable: the last check succeeded, or failed too seldom to matter.
	usable bool
	// failures of the check in a row. checkedAt is when it was last tried and retryAt
	// when it may be again; glanceAt is when the login Secret is read again.
	failures  int
	checkedAt time.Time
	retryAt   time.Time
	glanceAt  time.Time
	// wanted: a credential was told that the login failed.
	wanted bool
	// sweepAt and readAt are when the next pass and the next reading are due.
	sweepAt time.Time
	unread  int
	readAt  time.Time
}

// decide returns what to do now or, if that is to wait, for how long; zero means
// until something changes.
func decide(s situation) (step, time.Duration) {
	var wakeUp time.Time
	due := func(at time.Time) bool {
		if !s.now.Before(at) {
			return true
		}
		if wakeUp.IsZero() || at.Before(wakeUp) {
			wakeUp = at
		}
		return false
	}
	switch {
	case s.terminating && s.held && due(s.releaseAt):
		return release, 0
	case s.suspended && !s.silenced:
		return silence, 0
	case s.suspended:
		// Nothing is sent to the upstream, and nothing is looked up for it.
	case !s.fresh:
		return login, 0
	case s.wanted && due(s.checkedAt.Add(recheckPause)):
		return login, 0
	case s.failures > 0 && due(s.retryAt):
		return login, 0
	case !s.usable:
		if due(s.glanceAt) {
			return login, 0
		}
	case s.terminating:
		// It issues nothing, so nothing routine waits for a verdict.
	case due(s.sweepAt):
		return sweep, 0
	case s.unread > 0 && due(s.readAt):
		return read, 0
	}
	if wakeUp.IsZero() {
		return wait, 0
	}
	return wait, wakeUp.Sub(s.now)
}

// pause is how long to wait after the n-th failure in a row.
func pause(failures int) time.Duration {
	if failures > 10 {
		return lastRetry
	}
	return min(firstRetry<<max(0, failures-1), lastRetry)
}

// sweepSpread is the part of the interval over which the passes of many issuers are
// spread.
const sweepSpread = 10

// nextSweep is how long after one pass the next is due: the interval less a part that
// depends on the issuer alone, so that issuers made together are not swept together.
func nextSweep(every time.Duration, uid types.UID) time.Duration {
	return every - interval.Jitter(string(uid), every/sweepSpread)
}

// finding is what the issuer's Ready says.
type finding struct {
	ready   bool
	reason  string
	message string
	// stalled: a person has to change something; otherwise it is tried again.
	stalled bool
	// passes: it is no reason to close an account that works.
	passes bool
}

// loginFinding translates what Open or Check said. The words of an upstream are shown
// here, once, and not in every credential.
func loginFinding(err error, correct string) finding {
	f := finding{message: words(err)}
	switch upstream.ClassOf(err) {
	case upstream.LoginFailed:
		f.reason, f.stalled = v1alpha1.ReasonLoginFailed, true
		f.message += " (" + correct + ")"
	case upstream.InvalidSpec:
		f.reason, f.stalled = v1alpha1.ReasonInvalidSettings, true
	case upstream.NotFound:
		f.reason, f.stalled = v1alpha1.ReasonContainerNotFound, true
	case upstream.Forbidden, upstream.Rejected:
		f.reason, f.stalled = v1alpha1.ReasonUpstreamForbidden, true
	case upstream.Throttled, upstream.QuotaExceeded:
		f.reason = v1alpha1.ReasonUpstreamThrottled
	default:
		f.reason = v1alpha1.ReasonUnreachable
	}
	return f
}

// correction says what a person does about a login that is refused.
func correction(spec *v1alpha1.CredentialIssuerSpec) string {
	if ref := spec.LoginServiceAccount(); ref != nil {
		return "have the upstream trust tokens of ServiceAccount " + ref.Name + " for audience " + ref.Audience + "; it is tried again by itself"
	}
	return "correct the login in Secret " + spec.LoginSecret() + "; it is tried again as soon as that changes"
}

// words are what an error says to people. Only classified errors are made for that;
// any other one may quote a request.
func words(err error) string {
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		return e.Message
	}
	return "the upstream failed in a way that its adapter does not know"
}

// tolerable reports whether a working account stays in use after a failed check: an
// answer that proves nothing is forgiven a few times, and want of budget always,
// because it is our own.
func tolerable(err error, failures int) bool {
	switch upstream.ClassOf(err) {
	case upstream.Throttled:
		return true
	case upstream.Retryable, upstream.Pending, upstream.OutcomeUnknown:
		return failures < patience
	default:
		return false
	}
}
