package credential

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/approval"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// answerTime is how long the write of an answer is tried again in one pass.
const answerTime = 30 * time.Second

// errBusy says that the issuer's share of workers is taken. It is not a failure.
var errBusy = errors.New("the issuer's share of workers is taken")

func errorsIsBusy(err error) bool { return errors.Is(err, errBusy) }

// createIntent makes the version durable here before anything exists upstream.
func (r *Reconciler) createIntent(ctx context.Context, s *scope, step rotation.Step) error {
	if step.Routine && !s.slots.tryTake(s.issuer, s.uid, s.account.SlotLimit) {
		return errBusy
	}
	if err := r.readPassword(ctx, s); errors.Is(err, errNoPassword) {
		r.cannotRender(s, err)
		return nil
	} else if err != nil {
		return err
	}
	container, err := r.container(ctx, s)
	if errorsIsBusy(err) {
		return err
	}
	if err != nil {
		r.setBack(s, fail(r.memory.credential(s.uid), "no version can be made", err, r.Clock.Now()))
		return nil
	}
	intent, err := r.draft(s, step, container)
	if err == nil && step.Adopts {
		err = r.takeOver(ctx, s, &intent)
	}
	if errorsIsBusy(err) {
		return err
	}
	if err != nil {
		r.setBack(s, fail(r.memory.credential(s.uid), "no version can be made", err, r.Clock.Now()))
		return nil
	}
	version, err := r.Store.Create(ctx, intent)
	if apierrors.IsAlreadyExists(err) {
		return r.nameTaken(ctx, s, intent, err)
	}
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
		r.setBack(s, secretRefused(r.memory.credential(s.uid), err, r.Clock.Now()))
		return nil
	}
	if err != nil {
		return err
	}
	r.memory.setBack(s.uid, setback{})
	r.memory.remember(version.UID, func(m *recollection) { m.clean = true })
	s.replace(version)
	s.slots.report(s.issuer, s.uid, true)
	log.FromContext(ctx).Info("a version is being made", "version", version.Number, "cause", step.Cause, "upstreamName", version.UpstreamName, "requestedBy", version.RequestedBy, "approvals", version.Approvals)
	return nil
}

// nameTaken tells our own version, which the cache does not show yet, from a Secret
// of somebody else that stands in the way.
func (r *Reconciler) nameTaken(ctx context.Context, s *scope, intent journal.Intent, taken error) error {
	name := types.NamespacedName{Namespace: s.key.Namespace, Name: journal.VersionSecretName(s.key.Name, string(s.uid), intent.Number)}
	secret, err := r.Store.Target(ctx, name)
	if err != nil || secret == nil || secret.Type == journal.SecretType {
		return taken
	}
	r.setBack(s, secretRefused(r.memory.credential(s.uid), fmt.Errorf("%w: it is somebody else's; delete it", taken), r.Clock.Now()))
	return nil
}

// container is where versions live. A version that was made by this account knows
// it already, by ids that no rename moves; only the first one asks the upstream.
func (r *Reconciler) container(ctx context.Context, s *scope) (string, error) {
	if s.managed() != nil {
		return s.place.Container, nil // the planner has just looked, and one that was made anew has another id
	}
	for i := len(s.versions) - 1; i >= 0; i-- {
		if v := &s.versions[i]; v.Issuer.UID == s.issuer.GetUID() {
			return v.Container, nil
		}
	}
	var container string
	err := r.call(ctx, s, func(ctx context.Context) (err error) {
		container, err = s.account.Upstream.Locate(ctx, s.parameters)
		return err
	})
	return container, err
}

// draft makes an intent, with what is made here before the call.
func (r *Reconciler) draft(s *scope, step rotation.Step, container string) (journal.Intent, error) {
	var random struct {
		nonce [journal.NonceBytes]byte
		seal  [32]byte
	}
	for _, b := range [][]byte{random.nonce[:], random.seal[:]} {
		if _, err := rand.Read(b); err != nil {
			return journal.Intent{}, fmt.Errorf("draw random material: %w", err)
		}
	}
	now := r.Clock.Now()
	intent := journal.Intent{
		ClusterID:      r.Options.ClusterID,
		Credential:     s.key,
		CredentialUID:  s.uid,
		Issuer:         s.issuerIdentity(),
		Container:      container,
		Number:         step.Version,
		Nonce:          random.nonce,
		DeletionPolicy: string(s.credential.Spec.DeletionPolicy),
		IntentAt:       now,
		Answers:        step.Answers,
		Cause:          step.Cause,
		Failures:       step.Failures,
		Holder:         r.Options.Holder,
		CallDeadline:   now.Add(rotation.ClaimTime),
		Class:          s.account.Upstream.Capabilities().Class,
		Rolls:          step.Rolls,
		Agreed:         step.Agreed,
		RequestedBy:    s.requester(approval.Renew),
		Approvals:      s.agreedTo(step),
		Seal:           random.seal[:],
	}
	if drafter, ok := s.account.Upstream.(upstream.Drafter); ok {
		var err error
		request := upstream.Request{
			Parameters: s.parameters, Container: container, Name: intent.UpstreamName(), Title: s.title(), Mark: intent.Mark(), Number: intent.Number,
		}
		if intent.Material, err = drafter.Draft(request, rand.Reader); err != nil {
			return journal.Intent{}, err
		}
	}
	if before := s.version(step.Replaces); before != nil {
		intent.Replaces, intent.InPlace = before.Nonce, step.InPlace
	}
	return intent, nil
}

func (s *scope) issuerIdentity() journal.Issuer {
	return journal.Issuer{Kind: s.issuer.IssuerKind(), Name: s.issuer.GetName(), UID: s.issuer.GetUID()}
}

// claim takes over the right to call.
func (r *Reconciler) claim(ctx context.Context, s *scope, step rotation.Step) error {
	v := s.version(step.Version)
	return r.edit(ctx, s, v, journal.Claimed(r.Options.Holder, v.Attempt+1, r.Clock.Now().Add(rotation.ClaimTime)))
}

// edit changes a version's metadata and keeps the scope true.
func (r *Reconciler) edit(ctx context.Context, s *scope, v *journal.Version, edits ...journal.Edit) error {
	edited, err := r.Store.Edit(ctx, *v, edits...)
	if err != nil {
		return err
	}
	s.replace(edited)
	return nil
}

// issue calls the upstream to create what the intent holds.
func (r *Reconciler) issue(ctx context.Context, s *scope, step rotation.Step) error {
	v := s.version(step.Version)
	if v.Material == nil {
		if err := r.readVersion(ctx, v); err != nil {
			return err
		}
	}
	if v.Sealed != "" {
		r.tellSealed(v, "made")
		return nil
	}
	request := upstream.Request{
		Parameters: s.parameters, Container: v.Container, Name: v.UpstreamName, Title: s.title(), Mark: v.Mark, Number: v.Number,
		Material: *v.Material, ID: v.UpstreamID, SecretHandle: v.SecretHandle,
		Repeat: v.Attempt > 1 || !r.memory.version(v.UID).clean,
	}
	var err error
	if request.Replaces, err = r.toReplace(ctx, s, step.Replaces); err != nil {
		return err
	}
	var issued upstream.Issued
	err = r.call(upstream.WithSendCheck(ctx, r.fence(v.CallDeadline)), s, func(ctx context.Context) (err error) {
		issued, err = s.account.Upstream.Issue(ctx, request)
		return err
	})
	if errorsIsBusy(err) {
		return err
	}
	now := r.Clock.Now()
	r.memory.remember(v.UID, func(m *recollection) { m.hear(v, issued, err, now) })
	return nil
}

// hear keeps what the upstream answered to Issue.
func (m *recollection) hear(v *journal.Version, issued upstream.Issued, err error, now time.Time) {
	class := upstream.ClassOf(err)
	told := issued.ID != v.UpstreamID || !issued.SecretHandle.Empty()
	m.declined = class == upstream.Declined
	switch {
	case err == nil:
		m.answered, m.setback = v.Class == upstream.WriteAhead, setback{}
		if v.Class != upstream.WriteAhead || told || !issued.ExpiresAt.IsZero() || issued.Replaced {
			m.answer = &journal.Answer{Issued: issued, At: now}
		}
		return
	case class == upstream.Conflict, class == upstream.Rejected:
		m.condemned = messageOf(err)
		return
	case class == upstream.OutcomeUnknown:
		m.clean, m.lostAttempt = false, v.Attempt
	case told && issued.ID != "":
		m.answer = &journal.Answer{Issued: issued}
	}
	m.setback = fail(m.setback, unmade(v, class), err, now)
}

// unmade says what a call that made nothing was about. Who has to act by hand finds the
// id and the secret to use in the version Secret.
func unmade(v *journal.Version, class upstream.ErrorClass) string {
	switch {
	case class == upstream.AwaitingUpstreamApproval && v.Class == upstream.WriteAhead:
		return fmt.Sprintf("version %d waits for a person (client_id and client_secret are in the Secret %s)", v.Number, v.Key.Name)
	case class == upstream.AwaitingUpstreamApproval:
		return fmt.Sprintf("version %d waits for a person", v.Number)
	case class == upstream.Pending:
		return fmt.Sprintf("version %d is being made", v.Number)
	case class == upstream.Declined:
		return fmt.Sprintf("version %d is not made until somebody requests a rotation anew", v.Number)
	}
	return fmt.Sprintf("version %d cannot be made", v.Number)
}

// title is what people read upstream.
func (s *scope) title() string { return "Claviger " + s.key.String() }

// writeAnswer writes down what the upstream answered. It goes on while the operator is told
// to stop, and reads the Secret again when somebody else has written on it, as long as the
// claim is ours (hazard H5).
func (r *Reconciler) writeAnswer(ctx context.Context, s *scope, step rotation.Step) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	v := s.version(step.Version)
	answer := *r.memory.version(v.UID).answer
	same, err := r.sameCredential(ctx, s, v, answer)
	if err != nil {
		return err
	}
	answer.SameAs = same
	filled := *v
	err = retry.OnError(answerRetries, func(err error) bool { return ctx.Err() == nil && !apierrors.IsNotFound(err) }, func() error {
		var err error
		if filled, err = r.Store.Fill(ctx, filled, answer); apierrors.IsConflict(err) {
			fresh, readErr := r.Store.Version(ctx, v.Key, v.UID)
			if readErr != nil {
				return readErr
			}
			filled = fresh
			if fresh.Holder != r.Options.Holder {
				return nil // another process has taken over: the next decision disowns the answer
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	s.replace(filled)
	if filled.Holder == r.Options.Holder {
		// A cache that falls behind may show the version as if it were still to be made.
		r.memory.remember(v.UID, func(m *recollection) { m.answer, m.answered = nil, !answer.At.IsZero() })
	}
	return nil
}

// answerRetries are those of the write of an answer.
var answerRetries = wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 12, Cap: 5 * time.Second}

// sameCredential finds out whether the upstream answered with what is published already, and
// returns the nonce of that version. Two versions of one object must never be revoked one
// by one (hazard C7).
func (r *Reconciler) sameCredential(ctx context.Context, s *scope, v *journal.Version, answer journal.Answer) (string, error) {
	published := s.version(s.observeTarget().Published)
	if published == nil || published == v || answer.At.IsZero() || v.Class == upstream.WriteAhead {
		return "", nil
	}
	if published.Material == nil {
		if err := r.readVersion(ctx, published); err != nil {
			return "", err
		}
	}
	if published.Material.Equal(answer.Material) {
		return published.Nonce, nil
	}
	return "", nil
}

// disown ends upstream what only this process knows of. What the same request leads to
// again is the other process's as well, and is left to it.
func (r *Reconciler) disown(ctx context.Context, s *scope, step rotation.Step) error {
	v := s.version(step.Version)
	answer := r.memory.version(v.UID).answer
	if !s.capabilities.Repeatable && !answer.At.IsZero() {
		handle := v.Handle(s.parameters)
		handle.Material, handle.ID, handle.SecretHandle = answer.Material, answer.ID, answer.SecretHandle
		err := r.call(ctx, s, func(ctx context.Context) error { return s.account.Upstream.Revoke(ctx, handle) })
		if errorsIsBusy(err) {
			return err
		}
		if err != nil && upstream.ClassOf(err) != upstream.NotFound {
			now := r.Clock.Now()
			r.memory.remember(v.UID, func(m *recollection) {
				m.setback = fail(m.setback, fmt.Sprintf("what was made twice for version %d cannot be revoked", v.Number), err, now)
			})
			return nil
		}
	}
	r.memory.remember(v.UID, func(m *recollection) { m.answer, m.setback = nil, setback{} })
	return nil
}

// fence stops a call at the last moment if its claim has run out: a process that
// was paused must not create what another has given up (hazard C2). The wall clock
// decides, because Go's own deadlines stand still while a machine is suspended.
func (r *Reconciler) fence(deadline time.Time) func() error {
	return func() error {
		if r.Clock.Now().Add(rotation.CallTime).After(deadline) {
			return upstream.Errorf(upstream.Retryable, "the claim for this call has run out")
		}
		return nil
	}
}

// verify asks the upstream whether it takes the material.
func (r *Reconciler) verify(ctx context.Context, s *scope, step rotation.Step) error {
	v := s.version(step.Version)
	if v.Material == nil {
		if err := r.readVersion(ctx, v); err != nil {
			return err
		}
	}
	verdict, err := r.ask(ctx, s, v)
	if errorsIsBusy(err) {
		return err
	}
	now := r.Clock.Now()
	r.memory.remember(v.UID, func(m *recollection) { m.judge(v.Number, verdict, err, now) })
	if err == nil && verdict.Accepted {
		r.Issuers.Dismiss(s.issuer.GetUID(), v.Mark)
	}
	if err == nil && !verdict.Accepted && step.Version == s.observeTarget().Published {
		r.event(s, corev1.EventTypeWarning, v1alpha1.ReasonPublishedRefused, "Verify", "version %d is refused by the upstream: %s", v.Number, verdict.Detail)
	}
	return nil
}

// ask has the upstream judge the material of a version. An upstream that cannot is
// not asked by the planner; if it were, that would be no acceptance.
func (r *Reconciler) ask(ctx context.Context, s *scope, v *journal.Version) (verdict upstream.Verdict, err error) {
	verifier, ok := s.account.Upstream.(upstream.Verifier)
	if !ok {
		return verdict, upstream.Errorf(upstream.InvalidSpec, "this upstream cannot verify")
	}
	err = r.call(ctx, s, func(ctx context.Context) error {
		verdict, err = verifier.Verify(ctx, v.Handle(s.parameters))
		return err
	})
	return verdict, err
}

// judge keeps what a verification found.
func (m *recollection) judge(number int64, verdict upstream.Verdict, err error, now time.Time) {
	switch {
	case err != nil:
		m.setback = unreachable(m.setback, fmt.Sprintf("whether version %d is accepted cannot be found out", number), err, now)
	case verdict.Accepted:
		m.accepted, m.refusal, m.refusedSince, m.doubt, m.setback = true, "", time.Time{}, "", setback{}
	default:
		if m.refusal == "" {
			m.refusedSince = now
		}
		m.accepted, m.refusal, m.refusedAt, m.patience = false, verdict.Detail, now, verdict.Patience
		m.setback = setback{notBefore: now.Add(rotation.Patience(now.Sub(m.refusedSince)))}
	}
}

// note writes what the journal must know.
func (r *Reconciler) note(ctx context.Context, s *scope, step rotation.Step) error {
	v := s.version(step.Version)
	now := r.Clock.Now()
	switch step.Action {
	case rotation.NoteRefusal:
		return r.edit(ctx, s, v, journal.RefusedSince(r.memory.version(v.UID).refusedSince))
	case rotation.NotePublished:
		return r.edit(ctx, s, v, journal.Published())
	case rotation.NoteRevoked:
		return r.edit(ctx, s, v, journal.RevokedAt(now))
	case rotation.RollBack:
		return r.rollBack(ctx, s, step, now)
	case rotation.MarkRepublish:
		s.marked[v.Number] = true
		edits := []journal.Edit{journal.RepublishAt(now)}
		if givenUp := s.version(step.Replaces); step.Rolls && givenUp != nil {
			edits = append(edits, journal.RolledBack(v, givenUp))
		}
		return r.edit(ctx, s, v, edits...)
	}
	if err := r.edit(ctx, s, v, journal.FailedAt(now, v.Failures+1)); err != nil {
		return err
	}
	s.slots.report(s.issuer, s.uid, false)
	r.Metrics.Rotated(s.member, "failed")
	r.event(s, corev1.EventTypeWarning, "VersionFailed", "Fail", "version %d is given up and will be revoked: %s", step.Version, step.Cause)
	return nil
}

// rollBack gives up a version that has served. That it has is noted with it: nothing else
// would say so once the version before it is published again. It is no failure of the upstream,
// so nothing backs off because of it.
func (r *Reconciler) rollBack(ctx context.Context, s *scope, step rotation.Step, now time.Time) error {
	v := s.version(step.Version)
	if err := r.edit(ctx, s, v, journal.Published(), journal.FailedAt(rotation.GivenUpAt(step, now), v.Failures)); err != nil {
		return err
	}
	r.Metrics.Rotated(s.member, "rolled back")
	r.event(s, corev1.EventTypeWarning, v1alpha1.ReasonRolledBack, "RollBack", "version %d is given up and will be revoked: %s", step.Version, step.Cause)
	return nil
}

// call runs one upstream call on a share of the workers, on a context that the
// operator's shutdown does not cancel: a call that was sent must be answered
// (hazard H5).
func (r *Reconciler) call(ctx context.Context, s *scope, do func(context.Context) error) error {
	release, ok := s.account.TryAcquire(rotation.UrgencyOf(s.observe(), r.Clock.Now()) == rotation.Emergency)
	if !ok {
		return errBusy
	}
	defer release()
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), rotation.CallTime)
	defer cancel()
	err := do(detached)
	if upstream.ClassOf(err) == upstream.LoginFailed {
		r.Issuers.Recheck(s.issuer.GetUID())
	}
	return err
}
