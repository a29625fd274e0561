package rotation

import (
	"fmt"
	"strconv"
	"time"

	"github.com/claviger-dev/claviger/internal/interval"
)

const (
	// CallTime is the longest that one upstream call takes. A call is begun only if
	// it ends before the claim's deadline.
	CallTime = 20 * time.Second
	// ClaimTime is the length of a claim: a call, and the write of its answer.
	ClaimTime = CallTime + 30*time.Second
	// FactTime is how long what a pass has gathered counts. A longer pass ends and
	// gathers anew: a process that stood still must not act on what it saw before.
	FactTime = CallTime

	// firstBackoff doubles with every failure in a row up to lastBackoff.
	firstBackoff = time.Minute
	lastBackoff  = 6 * time.Hour

	// requestAhead is how far in the future a request may lie: clocks differ.
	requestAhead = 5 * time.Minute
	// refusalNoted is how long refusals go on before they are worth a write. A
	// restart within it begins to count anew, which errs towards patience.
	refusalNoted = 10 * time.Second

	// soonest and latest bound the pauses between verifications of new material.
	soonest = time.Second
	latest  = 30 * time.Second

	// publishedGrain is the grain of the time of publication.
	publishedGrain = time.Second

	foreignRetry = 30 * time.Second
	guardRetry   = 10 * time.Second
	clockRetry   = 30 * time.Second
	targetRetry  = 5 * time.Second
	slotRetry    = 5 * time.Second
	fullRetry    = time.Minute
)

// Backoff is the pause after the n-th failure in a row, n from 1: a minute,
// doubling, six hours at most.
func Backoff(failures int) time.Duration {
	pause := firstBackoff
	for ; failures > 1 && pause < lastBackoff; failures-- {
		pause *= 2
	}
	return min(pause, lastBackoff)
}

// Patience is the pause before refused material is tried again: a quarter of the
// time that it has been refused, between a second and half a minute.
func Patience(refusedFor time.Duration) time.Duration {
	return min(max(refusedFor/4, soonest), latest)
}

// due says why a successor is wanted.
type due struct {
	cause   string
	routine bool
	answers time.Time
	// emergency does not wait because earlier attempts failed.
	emergency bool
	// urgent: what is published works, but not for long. Where it is refused already, a
	// predecessor may be all that works, and nothing is urgent enough to end that.
	urgent bool
	// consented: people were asked, and have agreed.
	consented bool
}

func lastOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// succeed begins a new version if one is due.
func succeed(s *situation) *Step {
	if s.inFlight() != nil || s.restorable() != nil && s.published() == nil {
		return nil
	}
	s.noteEarly()
	d := s.due()
	if d == nil {
		s.noteFailure()
		return nil
	}
	problem, until := s.hindrance(d)
	if problem == nil || asksAhead[problem.Reason] {
		if step, waits := s.consent(d); step != nil || waits {
			return step
		}
	}
	if problem != nil {
		if step := s.breakHold(d, problem); step != nil {
			return step
		}
		if d.routine && !problem.Stalled && calm[problem.Reason] {
			s.note(nil, problem, until)
		} else {
			s.note(problem, nil, until)
		}
		return nil
	}
	return s.begin(d)
}

// calm are reasons to wait that are no trouble for what works already.
var calm = map[string]bool{"WaitingForWindow": true, "WaitingForVerdict": true, "Queued": true, "Observing": true, "RolledBack": true}

// asksAhead are reasons to wait that people need not wait for: a window would be over when they
// have answered, and a predecessor must not go for a successor that nobody has agreed to.
var asksAhead = map[string]bool{"WaitingForWindow": true, "UpstreamFull": true}

// due finds the most urgent cause.
func (s *situation) due() *due {
	answers := time.Time{}
	if s.requested() {
		answers = s.Credential.RotateRequestedAt
	}
	current := s.published()
	switch {
	case current == nil && len(s.Versions) == 0:
		if s.Credential.Adopts {
			return &due{cause: "adopted", answers: answers}
		}
		return &due{cause: "first issue", answers: answers}
	case current == nil && s.ahead(s.newest()):
		return &due{cause: fmt.Sprintf("the Secret bears version %d, which the journal does not know, and no earlier one can be put back", s.Target.Unknown), answers: answers}
	case current == nil:
		return &due{cause: "no version is left that could be published", answers: answers}
	case current.Terminating:
		return &due{cause: fmt.Sprintf("version %d was deleted while it is published", current.Number), answers: answers, urgent: true}
	case current.Failed:
		return &due{cause: fmt.Sprintf("version %d was rolled back, and no earlier one is left", current.Number), answers: answers}
	case s.compromised(current):
		return &due{cause: fmt.Sprintf("version %d was declared compromised", current.Number), answers: lastOf(answers, s.Credential.CompromisedAt), emergency: true, urgent: true}
	case s.endedBy(current) != nil:
		return &due{cause: s.endedBy(current).how(current), answers: answers}
	case current.Refused:
		return &due{cause: fmt.Sprintf("version %d is refused by the upstream: %s", current.Number, current.Refusal), answers: answers}
	case !answers.IsZero():
		return &due{cause: "requested", answers: answers}
	}
	if d := s.expiring(current); d != nil {
		return d
	}
	if s.policy.RotateAfter.IsUnlimited() || s.policy.Problem != nil {
		return nil
	}
	at := dueAt(s.policy, s.Credential.UID, current.IntentAt)
	if s.now.Before(at) {
		s.wake(at)
		return nil
	}
	return &due{cause: "older than " + s.policy.RotateAfter.String(), routine: true}
}

// expiring: the upstream ends the version by itself.
func (s *situation) expiring(v *Version) *due {
	by := ExpiresBy(s.policy, v)
	if by.IsZero() {
		return nil
	}
	if s.now.Before(by) {
		s.wake(by)
		return nil
	}
	d := &due{cause: "version " + strconv.FormatInt(v.Number, 10) + " expires at " + text(v.ExpiresAt)}
	at, _ := expiryRenewal(s.policy, v, s.now)
	d.routine = at.After(s.now)
	d.urgent = !d.routine
	return d
}

// expiryRenewal is when a version is renewed because the upstream ends it. Windows bind such
// a renewal only while one opens early enough: half of the time that is left is kept for
// verification and uptake (hazard H15). late: none does.
func expiryRenewal(p Policy, v *Version, now time.Time) (at time.Time, late bool) {
	by := ExpiresBy(p, v)
	next, ok := p.Windows.Next(lastOf(by, now))
	latest := by.Add(v.ExpiresAt.Sub(by) / 2)
	if p.KeepsWindows {
		latest = v.ExpiresAt
	}
	late = len(p.Windows) > 0 && (!ok || !next.Before(latest))
	if ok && next.After(now) && (!late || p.KeepsWindows) {
		return next, late
	}
	return by, late
}

// announceExpiry tells early that no window opens in time for what the upstream ends.
func announceExpiry(s *situation) *Step {
	v := s.published()
	if v == nil || !v.live() || v.ExpiresAt.IsZero() || s.inFlight() != nil {
		return nil
	}
	at, late := expiryRenewal(s.policy, v, s.now)
	if !late {
		return nil
	}
	message := fmt.Sprintf("version %d expires at %s and no window opens early enough: it is renewed at %s, outside of the windows. Add a window or lengthen renewBefore",
		v.Number, text(v.ExpiresAt), text(at))
	if s.policy.KeepsWindows {
		message = fmt.Sprintf("version %d expires at %s and is renewed at %s, when the next window opens: workloads fail in between. "+
			"Add a window, lengthen renewBefore, or let expiringOutsideWindows be Renew", v.Number, text(v.ExpiresAt), text(at))
	}
	s.note(&Problem{Reason: "WindowTooLate", Message: message}, nil, time.Time{})
	return nil
}

// dueAt is the age at which a successor is wanted, less the jitter that spreads a
// fleet. The jitter is a hash of the credential, so it never moves.
func dueAt(p Policy, uid string, issuedAt time.Time) time.Time {
	return p.RotateAfter.AddTo(issuedAt).Add(-interval.Jitter(uid, interval.DefaultJitter(p.RotateAfter)))
}

// Answered returns the version that answers the last request; 0 if none does, or if
// there is no request.
func (o Observed) Answered() int64 {
	t := o.Credential.RotateRequestedAt
	if t.IsZero() {
		return 0
	}
	for i := range o.Versions {
		if v := &o.Versions[i]; !v.IntentAt.Before(t) || !v.Answers.Before(t) {
			return v.Number
		}
	}
	return 0
}

// requested reports whether a request is open. It is answered by the journal,
// never by the status, so that a lost status repeats nothing (hazard C5).
func (s *situation) requested() bool {
	t := s.Credential.RotateRequestedAt
	return s.open(t) && s.Answered() == 0
}

// noteFailure keeps a version that was given up in sight until another one is
// made. Whoever asked for it by annotation would otherwise see nothing: a request is
// answered by the attempt, so that it is not repeated for ever (hazard C5).
func (s *situation) noteFailure() {
	v := s.newest()
	if v == nil || !v.Failed || s.published() == nil {
		return
	}
	if v.rolledBack() {
		s.note(nil, &Problem{Reason: "RolledBack", Message: fmt.Sprintf(
			"version %d was rolled back on request; version %d is in use", v.Number, s.Target.Published)}, time.Time{})
		return
	}
	s.note(&Problem{Reason: "VersionFailed", Message: fmt.Sprintf(
		"version %d was given up, and its event says why; version %d stays. When the cause is gone, request a rotation anew", v.Number, s.Target.Published)},
		nil, time.Time{})
}

// hindrance says why what is due cannot begin yet, and when to look again.
func (s *situation) hindrance(d *due) (*Problem, time.Time) {
	if p := s.blocked(); p != nil {
		return p, time.Time{}
	}
	if s.policy.Problem != nil && (d.routine || s.published() == nil) {
		return s.policy.Problem, time.Time{}
	}
	if s.now.Before(s.Credential.NotBefore) {
		return s.Credential.Trouble, s.Credential.NotBefore
	}
	if newest := s.newest(); newest != nil && newest.Failed {
		if !s.caps.Addressable && newest.Failures >= maxLostGrants && d.answers.IsZero() {
			return &Problem{Reason: "TooManyAttempts", Stalled: true, Message: fmt.Sprintf(
				"%d versions in a row were given up, and this upstream cannot be searched for what they left: request a rotation when the cause is gone", newest.Failures)}, time.Time{}
		}
		if newest.rolledBack() && d.routine {
			// Who has rolled back must not get another one made by routine the next minute.
			if retry := s.policy.Overlap.AddTo(newest.FailedAt); s.now.Before(retry) {
				return &Problem{Reason: "RolledBack", Message: fmt.Sprintf(
					"version %d was rolled back on request; a renewal is made at %s, or when one is requested", newest.Number, text(retry))}, retry
			}
		}
		// What was accepted and not wanted says nothing about whether the next one is.
		// And what workloads hold may be dead since the first attempt: one that leaves it alone is
		// made at once.
		inPlace := newest.InPlaceOf != 0 && newest.InPlaceOf == s.Target.Published
		free := newest.rolledBack() || inPlace || d.emergency && newest.IntentAt.Before(d.answers)
		if retry := newest.FailedAt.Add(Backoff(newest.Failures)); s.now.Before(retry) && !free {
			return &Problem{Reason: "BackingOff", Message: fmt.Sprintf(
				"version %d was given up; the next one is made at %s, after failure %d in a row", newest.Number, text(retry), newest.Failures)}, retry
		}
	}
	if d.routine {
		if p, until := s.routineHindrance(); p != nil {
			return p, until
		}
	}
	if p := s.withoutOverlap(); p != nil {
		return p, time.Time{}
	}
	if s.Fresh.Has(FactGuard) && !s.Operator.GuardInForce {
		return s.guardless(), s.now.Add(guardRetry)
	}
	return s.roomUpstream()
}

func (s *situation) routineHindrance() (*Problem, time.Time) {
	switch {
	case !s.Account.VerdictDone:
		return waitingForVerdict(), time.Time{}
	case !s.policy.Windows.Open(s.now):
		next, _ := s.policy.Windows.Next(s.now)
		return &Problem{Reason: "WaitingForWindow", Message: "a renewal is due and waits for the window that opens at " + text(next)}, next
	case !s.Account.SlotFree:
		return &Problem{Reason: "Queued", Message: "a renewal is due; other credentials of the issuer are renewed first"}, s.now.Add(slotRetry)
	}
	return nil, time.Time{}
}

// roomUpstream refuses to begin what the container would refuse: a half-done
// rotation is worse than a late one (failure F18).
func (s *situation) roomUpstream() (*Problem, time.Time) {
	if !s.full() {
		return nil, time.Time{}
	}
	advice := "none of them will be revoked by itself; remove one that nobody uses"
	leaving := s.leaving()
	if v := s.newest(); v != nil && v.Terminating && !v.Revoked {
		advice = fmt.Sprintf("version %d was deleted and is revoked when another one is published, for which there must be room; remove one that nobody uses", v.Number)
	}
	if leaving > 0 {
		advice = fmt.Sprintf("%d of them are older versions that are revoked when their overlap has passed", leaving)
	}
	return &Problem{Reason: "UpstreamFull", Stalled: leaving == 0, Message: fmt.Sprintf(
		"the upstream holds %d credentials there and takes %d: %s", s.Account.Live, s.caps.MaxLive, advice)}, s.now.Add(fullRetry)
}

// breakHold makes room for a successor that cannot wait, in an upstream that takes no more: the
// oldest predecessor goes before its overlap has passed. Otherwise what is published would
// die for everybody while an older version is kept for a few (hazard H11).
func (s *situation) breakHold(d *due, problem *Problem) *Step {
	if problem.Reason != "UpstreamFull" || !d.urgent {
		return nil
	}
	for i := range s.Versions {
		v := &s.Versions[i]
		if v.live() && v.Number < s.Target.Published && !s.now.Before(v.RepublishAt.Add(ClaimTime)) {
			return &Step{Action: Retire, Version: v.Number, BreaksHold: true, Cause: "the upstream takes no more, and a successor cannot wait: " + d.cause}
		}
	}
	return nil
}

// leaving counts the versions that make room without anybody's help. Predecessors
// of a version that cannot be relied upon stay, and nobody must be told to wait
// for them (hazard H11).
func (s *situation) leaving() int {
	current, n := s.published(), 0
	for i := range s.Versions {
		v := &s.Versions[i]
		overlapping := v.live() && current != nil && v.Number < current.Number && current.live() && current.trusted()
		if !v.Revoked && (overlapping || !v.live() && s.dispensable(v)) {
			n++
		}
	}
	return n
}

// begin returns the steps before an intent, then the intent: what protects it must
// be durable before it.
func (s *situation) begin(d *due) *Step {
	if !s.Credential.Finalized {
		return &Step{Action: AddFinalizer, Needs: FactCredential}
	}
	if !s.Account.Held {
		return &Step{Action: HoldIssuer, Needs: FactIssuer}
	}
	if step, ready := s.furnish(d); !ready {
		return step
	}
	step := &Step{
		Action: CreateIntent, Version: 1, Cause: d.cause, Answers: d.answers, Routine: d.routine,
		Needs: FactCredential | FactIssuer | FactGuard,
	}
	if d.consented {
		step.Needs, step.Agreed = step.Needs|FactConsent, s.Credential.Generation
	}
	if s.caps.MaxLive > 0 {
		step.Needs |= FactContainer
	}
	if s.Place.Managed {
		step.Needs |= FactPlace
	}
	step.Adopts = s.Credential.Adopts && len(s.Versions) == 0
	if newest := s.newest(); newest != nil {
		step.Version = newest.Number + 1
		if newest.Failed {
			step.Failures = newest.Failures
		}
	}
	if s.Target.Unknown >= step.Version {
		step.Version = s.Target.Unknown + 1 // its number was used (hazard C3)
	}
	if current := s.published(); current != nil {
		step.Replaces, step.Rolls, step.InPlace = current.Number, s.Credential.Rolls, s.inPlace(current)
	} else {
		// Whether somebody else's Secret stands in the way is found out before
		// anything is issued.
		step.Needs |= FactTarget
		if s.Target.Exists {
			// Our own Secret, and it holds nothing that we know: the cache may lack
			// versions, and their numbers would be used again.
			step.Needs |= FactJournal
		}
	}
	return step
}

func text(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// stamp says when something that is bound to windows may happen.
func stamp(windows interval.Windows, at time.Time) string {
	if next, ok := windows.Next(at); ok {
		return text(next)
	}
	return text(at)
}
