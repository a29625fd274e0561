package credential

import (
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/controllers/policy"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/render"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/workloads"
)

// scope is everything that was gathered about one credential in one pass, kept up
// to date with what the pass itself wrote.
type scope struct {
	key types.NamespacedName
	uid types.UID
	// credential is nil if only its journal is left.
	credential *v1alpha1.APIClientCredential
	issuer     v1alpha1.Issuer
	account    Account
	member     string
	parameters []byte
	// total and leaving count the issuer's credentials, and those of them that are being deleted
	// by themselves; namespaceEnding: with their namespace. Only for a deletion.
	total, leaving  int
	namespaceEnding bool

	// candidates are the policies that may apply, and what the namespace is like.
	candidates policy.Candidates
	policy     rotation.Policy
	policyName string
	// policyAnnotations are those of the policy that applies.
	policyAnnotations map[string]string
	ambiguous         string
	capabilities      rotation.Capabilities
	template          *render.Template
	// password is what the template needs beside the material, as it was read last.
	password    material.Secret
	specProblem *rotation.Problem
	// unrendered is why the target cannot be written for now.
	unrendered setback

	versions []journal.Version
	// own are the Secrets of single versions, by the version's nonce; strays: there are some whose
	// version no live list of the journal shows.
	own    map[string]journal.Copy
	strays []journal.Copy
	// retained are versions that an earlier credential of the same name let go.
	retained []journal.Version
	// strange holds what keeps a version from being touched.
	strange map[types.UID]*rotation.Problem
	target  journal.Target
	// secret is the target as it was read live; nil if it was not, or is missing.
	secret *corev1.Secret
	// rewritten: this pass has written the target, so it is not written for its looks
	// again, whatever the API server made of it.
	rewritten bool
	// marked are the versions that this pass chose to put back.
	marked map[int64]bool

	// place is the managed place as this pass has seen it.
	place upstream.Provisioned

	fresh rotation.Facts
	guard struct {
		ok      bool
		message string
	}
	live int
	// logins are the issuers that log in with the credential.
	logins []login
	// deliveries are where else the published version is written, in the order of the spec.
	deliveries []delivery
	// consumers are the pods that use the target, as this pass has seen them or an earlier
	// one since the same publication.
	consumers rotation.Consumers
	// found are the workloads that this pass has read, in the order of workloads.All, and others
	// the credentials that restart some of them, too.
	found     []workloads.Found
	others    []other
	workloads rotation.Workloads

	// consent is what people are asked and have said.
	consent consent
	// now is when the pass looks at it.
	now time.Time

	observeOnly bool
	clockSteady bool
	orphanAge   time.Duration
	goneSince   time.Time
	holder      string
	clusterID   string
	memory      *memory
	slots       *slots
}

func (s *scope) version(number int64) *journal.Version {
	for i := range s.versions {
		if s.versions[i].Number == number {
			return &s.versions[i]
		}
	}
	return nil
}

func (s *scope) replace(v journal.Version) {
	for i := range s.versions {
		if s.versions[i].Number == v.Number {
			s.versions[i] = v
			return
		}
	}
	s.versions = append(s.versions, v)
}

func (s *scope) drop(number int64) {
	kept := s.versions[:0]
	for _, v := range s.versions {
		if v.Number != number {
			kept = append(kept, v)
		}
	}
	s.versions = kept
}

// observe puts the scope into the planner's words.
func (s *scope) observe() rotation.Observed {
	o := rotation.Observed{
		Credential: s.observeCredential(),
		Account:    s.observeAccount(),
		Operator: rotation.Operator{
			ObserveOnly: s.observeOnly, ClockSteady: s.clockSteady, OrphanAge: s.orphanAge,
			GuardInForce: s.guard.ok, GuardMessage: s.guard.message,
		},
		Fresh: s.fresh,
	}
	o.Consent = s.observeConsent(s.now)
	o.Place = s.observePlace()
	o.Target = s.observeTarget()
	o.Logins = s.observeLogins()
	o.Deliveries = s.observeDeliveries(o.Target.Published)
	o.Consumers = s.consumers
	if !s.fresh.Has(rotation.FactConsumers) {
		o.Consumers = s.memory.seen(s.uid, o.Target.PublishedAt)
	}
	o.Workloads = s.workloads
	if v := s.version(o.Target.Published); v != nil && !s.fresh.Has(rotation.FactWorkloads) {
		o.Workloads = s.memory.march(s.uid, v.Wave).seen
	}
	for i := range s.versions {
		v := s.observeVersion(&s.versions[i])
		if v.Number == o.Target.Published && v.Refused && s.heardEarly(&s.versions[i]) {
			v.Refused, v.Doubt = false, "it was refused before somebody published it"
		}
		o.Versions = append(o.Versions, v)
	}
	for i := range s.retained {
		o.Retained = append(o.Retained, s.observeVersion(&s.retained[i]))
	}
	return o
}

// heardEarly: the refusal that this process remembers is older than the publication,
// which another process has made after an acceptance. It is a reason to ask again.
func (s *scope) heardEarly(v *journal.Version) bool {
	return !s.memory.version(v.UID).refusedAt.After(s.target.PublishedAt.Add(time.Second))
}

func (s *scope) observeCredential() rotation.Credential {
	c := rotation.Credential{UID: string(s.uid), Exists: s.credential != nil, GoneSince: s.goneSince}
	setback := s.memory.credential(s.uid)
	if s.credential != nil && setback.generation != s.credential.Generation {
		setback.trouble, setback.notBefore = nil, time.Time{}
	}
	if s.credential != nil {
		c.Generation = s.credential.Generation
	}
	c.Trouble, c.NotBefore = setback.trouble, setback.notBefore
	if s.credential == nil {
		c.Retain = len(s.versions) > 0 && s.versions[len(s.versions)-1].DeletionPolicy == string(v1alpha1.DeletionRetain)
		return c
	}
	if at := s.credential.DeletionTimestamp; at != nil {
		c.Deleting, c.DeletedAt, c.NamespaceEnding = true, at.Time, s.namespaceEnding
		c.HeldAsMass = slices.ContainsFunc(s.credential.Status.Conditions, func(held metav1.Condition) bool { return held.Reason == v1alpha1.ReasonMassDeletion })
	}
	c.Retain = s.credential.Spec.DeletionPolicy == v1alpha1.DeletionRetain
	c.Protected = s.credential.Spec.Protection != v1alpha1.ProtectionNone
	c.Rolls = len(s.credential.Spec.Rollout) > 0
	c.Suspended = s.credential.Spec.Suspend
	c.Finalized = controllerutil.ContainsFinalizer(s.credential, journal.FinalizerCredential)
	c.ShowsPrevious = s.suffix() != ""
	c.Versioned = s.credential.Spec.Secret.Naming == v1alpha1.NamingVersioned
	c.Problem = s.specProblem
	if why := s.unrendered; c.Problem == nil && why.trouble != nil {
		c.Problem, c.ProblemUntil = why.trouble, why.notBefore
	}
	if adopt := s.credential.Spec.Adopt; adopt != nil {
		c.Adopts = true
		c.AdoptsTarget = adopt.SecretRef.Name == s.credential.Spec.Secret.Name && s.target.CredentialUID == ""
	}
	at := func(annotations map[string]string, name string) time.Time {
		t, _ := requestedAt(annotations, name)
		return t
	}
	c.RotateRequestedAt = at(s.credential.Annotations, v1alpha1.AnnotationRotateRequestedAt)
	c.RollbackRequestedAt = at(s.credential.Annotations, v1alpha1.AnnotationRollbackRequestedAt)
	c.CompromisedAt = at(s.credential.Annotations, v1alpha1.AnnotationCompromisedAt)
	c.RevokeAnyway = s.credential.Annotations[v1alpha1.AnnotationRevokeWithoutSuccessor] == "true"
	// A whole fleet is declared compromised on its policy; the later word counts.
	if fleet := at(s.policyAnnotations, v1alpha1.AnnotationCompromisedAt); fleet.After(c.CompromisedAt) {
		c.CompromisedAt = fleet
		c.RevokeAnyway = c.RevokeAnyway || s.policyAnnotations[v1alpha1.AnnotationRevokeWithoutSuccessor] == "true"
	}
	c.DeletionRequestedAt = at(s.credential.Annotations, v1alpha1.AnnotationDeletionRequestedAt)
	c.AbandonAll, c.Abandon = abandoned(s.credential)
	return c
}

func (s *scope) observeAccount() rotation.Account {
	a := rotation.Account{
		Problem: s.account.Problem, VerdictDone: s.account.VerdictDone, Live: s.live,
		SlotFree: s.slots.free(s.issuer, s.uid, s.account.SlotLimit), Total: s.total, Leaving: s.leaving,
	}
	if s.issuer != nil {
		a.DeletionsConfirmedAt, _ = requestedAt(s.issuer.GetAnnotations(), v1alpha1.AnnotationDeletionsConfirmedAt)
		a.Terminating = s.issuer.GetDeletionTimestamp() != nil
		a.Held = controllerutil.ContainsFinalizer(s.issuer, journal.FinalizerInUse)
	}
	return a
}

func (s *scope) observeVersion(v *journal.Version) rotation.Version {
	r := s.memory.version(v.UID)
	observed := rotation.Version{
		Number:       v.Number,
		Nonce:        v.Nonce,
		Agreed:       v.Agreed,
		IntentAt:     v.IntentAt,
		Answers:      v.Answers,
		Problem:      s.strange[v.UID],
		Terminating:  v.Terminating,
		Failed:       !v.FailedAt.IsZero(),
		FailedAt:     v.FailedAt,
		Failures:     v.Failures,
		Revoked:      !v.RevokedAt.IsZero() || r.revoked,
		RevokedNoted: !v.RevokedAt.IsZero(),
		// What nobody has had an answer about was never published, whatever has vanished since.
		OncePublished: v.Published || v.Complete() && s.predecessorGone(v),
		Replaces:      v.Replaces != "",
		RepublishAt:   v.RepublishAt,
		MarkedNow:     s.marked[v.Number],
		Held:          v.Held,
		Wave:          v.Wave,
		RolledOut:     !v.RolledOut.IsZero(),
		ClaimMine:     v.Holder == s.holder,
		ClaimUntil:    v.CallDeadline,
		FirstClaim:    v.Attempt == 1,
		Begun:         v.UpstreamID != "",
		Identity:      s.identity(v),
		ExpiresAt:     v.ExpiresAt,
		Answered:      r.answered || !v.AnsweredAt.IsZero(),
		Unwritten:     r.answer != nil,
		Unsure:        !r.answered && v.AnsweredAt.IsZero() && !r.clean,
		Lost:          r.lostAttempt == v.Attempt,
		Ineffective:   v.SameAs != "",
		Adopted:       v.Adopted,
		AbsentSince:   r.absentSince,
		Patience:      r.patience,
		Accepted:      r.accepted,
		Refused:       r.refusal != "",
		Refusal:       r.refusal,
		RefusedSince:  r.refusedSince,
		RefusedNoted:  !v.RefusedSince.IsZero(),
		Unshowable:    r.unshowable != "" && r.unshowable == s.rendering(),
		Condemned:     r.condemned,
		Declined:      r.declined,
		Doubt:         r.doubt,
		NotBefore:     r.notBefore,
		Trouble:       r.trouble,
	}
	s.observeReplacement(v, &observed)
	if own, ok := s.own[v.Nonce]; ok {
		observed.Copied, observed.CopyHeld = true, own.Terminating
	}
	observed.CopyGoneSince, observed.CopyTrouble, observed.CopyNotBefore = r.copyGoneSince, r.copying.trouble, r.copying.notBefore
	observed.Unsure = observed.Unsure && !observed.OncePublished
	if !v.RefusedSince.IsZero() && (r.refusedSince.IsZero() || v.RefusedSince.Before(r.refusedSince)) {
		observed.RefusedSince = v.RefusedSince
	}
	return observed
}

// identity says which upstream object a version is; empty if it is known by its own mark
// alone, which no other bears.
func (s *scope) identity(v *journal.Version) string {
	if v.SameAs != "" {
		return "nonce/" + v.SameAs
	}
	for i := range s.versions {
		if s.versions[i].SameAs == v.Nonce {
			return "nonce/" + v.Nonce
		}
	}
	if v.UpstreamID == "" {
		return ""
	}
	return v.Container + "/" + v.UpstreamID
}

// predecessorGone proves that a version was published: the one that it was made to
// follow is let go only after that. So does a successor that was made to follow it.
func (s *scope) predecessorGone(v *journal.Version) bool {
	gone := v.Replaces != ""
	for i := range s.versions {
		if s.versions[i].Nonce == v.Replaces {
			gone = false
		}
		if s.versions[i].Replaces == v.Nonce {
			return true
		}
	}
	return gone
}

// observeTarget says which version the target holds: by its bytes if they were
// read, else by the hint that we left on it, as long as nobody else wrote there.
func (s *scope) observeTarget() rotation.Target {
	t := s.heldByTarget()
	if v := s.version(t.Published); v != nil {
		t.Hasty = !v.ReplacedAt.IsZero()
	}
	return t
}

func (s *scope) heldByTarget() rotation.Target {
	t := rotation.Target{
		Exists: s.target.Exists, Ours: s.target.CredentialUID == s.uid, Terminating: s.target.Terminating,
		Retained: s.target.CredentialUID != s.uid && s.target.Credential == s.key.String(), PublishedAt: s.target.PublishedAt,
		Strays: len(s.strays) > 0,
	}
	if t.Retained && s.heldByBytes() != 0 {
		// It is written once more, to bear this credential's UID.
		t.Ours, t.Stale, t.Published = true, true, s.heldByBytes()
		return t
	}
	if !t.Exists || !t.Ours {
		return t
	}
	s.observePrevious(&t)
	t.Unknown = s.unknown()
	if n := s.heldByBytes(); n != 0 {
		t.Published = n
		t.Stale = !s.rewritten && (t.PublishedAt.IsZero() || !s.asWritten(s.version(n)))
		return t
	}
	for i := range s.versions {
		v := &s.versions[i]
		if v.Nonce != s.target.Hint.Nonce {
			continue
		}
		switch {
		case s.target.Data != nil && v.Seal != nil:
			if !s.target.HoldsAsHinted(v.Seal) {
				return t
			}
		case s.touched():
			t.Drift = true
		}
		t.Published = v.Number
		t.Stale = !s.rewritten && (t.PublishedAt.IsZero() || s.target.Version != strconv.FormatInt(v.Number, 10) ||
			s.template != nil && s.target.Hint.Template != s.template.Hash())
		return t
	}
	t.Drift = s.target.Data == nil
	return t
}

// mostAhead is by how much a target can be ahead of its journal: a number that somebody wrote
// there must not use up the numbers that there are.
const mostAhead = 10000

// unknown is the number of the version that the target bears, whose nonce the journal does not
// know. A hint is believed whoever wrote it, as a restored Secret's managers say nothing: a
// forged one costs its author a login upstream.
func (s *scope) unknown() int64 {
	number, err := strconv.ParseInt(s.target.Version, 10, 64)
	newest := int64(0)
	if len(s.versions) > 0 {
		newest = s.versions[len(s.versions)-1].Number
	}
	if err != nil || s.target.Hint.Nonce == "" || s.hintKnown() || number < 0 || number > newest+mostAhead {
		return 0
	}
	return number
}

// asWritten reports whether the target is, byte for byte, as this operator would
// write it today: hint, labels and dropped keys included.
func (s *scope) asWritten(v *journal.Version) bool {
	if s.secret == nil {
		return true
	}
	rendered, err := s.template.Render(*v.Material, s.input(v))
	return err != nil || s.publication(v, rendered).Unchanged(s.secret)
}

// publication is a version as it is written into the target.
func (s *scope) publication(v *journal.Version, rendered map[string][]byte) journal.Publication {
	return journal.Publication{
		Credential: s.key, CredentialUID: s.uid, Name: s.credential.Spec.Secret.Name, Type: s.credential.Spec.Secret.Type,
		Version: v.Number, Nonce: v.Nonce, Seal: v.Seal, Template: s.template.Hash(), Data: rendered,
	}
}

// input is what a rendering of a version takes beside its material.
func (s *scope) input(v *journal.Version) render.Input {
	return render.Input{Nonce: v.Nonce, Password: s.password}
}

func (s *scope) touched() bool {
	return s.target.Touched(s.target.OwnedKeys) || s.template != nil &&
		s.target.Hint.Template == s.template.Hash() && s.target.Touched(s.template.Keys())
}

func (s *scope) heldByBytes() int64 {
	if s.target.Data == nil || s.template == nil {
		return 0
	}
	for i := len(s.versions) - 1; i >= 0; i-- {
		v := &s.versions[i]
		if v.Material == nil || v.SameAs != "" {
			continue // a version that was answered with another one's bytes is not what is held
		}
		if rendered, err := s.template.Render(*v.Material, s.input(v)); err == nil && render.Published(s.target.Data, rendered) {
			return v.Number
		}
	}
	return 0
}
