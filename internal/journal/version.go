package journal

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// ErrTooNew says that a newer operator wrote the version. It may only be looked at
// (hazard H18).
var ErrTooNew = errors.New("written in a newer journal format")

// Issuer identifies the issuer that a version was made with.
type Issuer struct {
	Kind string
	Name string
	UID  types.UID
}

func (i Issuer) String() string { return i.Kind + "/" + i.Name + "/" + string(i.UID) }

// Version is one version as its Secret records it.
type Version struct {
	Key             types.NamespacedName
	UID             types.UID
	ResourceVersion string
	Terminating     bool
	Held            bool

	ClusterID      string
	Credential     types.NamespacedName
	CredentialUID  types.UID
	Issuer         Issuer
	Container      string
	Number         int64
	Nonce          string
	Mark           upstream.Mark
	UpstreamName   string
	DeletionPolicy string

	IntentAt time.Time
	Answers  time.Time
	Replaces string
	// InPlace: it was to take the place of Replaces upstream. ReplacedAt is when the upstream said
	// that it has, so that the other one is dead; zero if it did not.
	InPlace    bool
	ReplacedAt time.Time
	// Cause says in a few words why the version was made.
	Cause string
	// Agreed is the generation of the credential's spec that people have agreed to; 0 if none
	// were asked.
	Agreed int64
	// RequestedBy is the user who changed the credential's spec last or asked by annotation, and
	// Approvals are the names of the requests that people had agreed to, when it was begun.
	RequestedBy string
	Approvals   []string

	Holder       string
	Attempt      int
	CallDeadline time.Time

	// Class is the creation class of the upstream when the version was begun.
	Class upstream.Class
	// AnsweredAt is when the upstream's answer was written down; zero for class
	// WriteAhead, which needs none.
	AnsweredAt time.Time
	// UpstreamID is the upstream's own id; empty if it has told none.
	UpstreamID string
	// ExpiresAt is when the upstream ends the version by itself; zero means never.
	ExpiresAt time.Time
	// Adopted: it existed upstream before it was in the journal, and does not bear our mark.
	Adopted bool
	// AdoptedFrom is the Secret that its material came from; empty for one that was not adopted.
	AdoptedFrom string
	// SameAs is the nonce of an older version that is the same upstream object.
	SameAs string

	Published    bool
	RepublishAt  time.Time
	RefusedSince time.Time
	FailedAt     time.Time
	Failures     int
	RevokedAt    time.Time
	RetainedFrom string

	// Wave is the mark of workloads that are restarted for the version; empty if none are to be.
	Wave string
	// Restarted says when each workload, as kind/name, was. RolledOut is when all were done.
	Restarted map[string]time.Time
	RolledOut time.Time

	// Material, SecretHandle and Seal are empty unless the whole Secret was read.
	Material     *material.Material
	SecretHandle material.Secret
	Seal         Seal
	// Sealed says why the handle cannot be read; empty if it can, or there is none. Without
	// it nothing may be asked of the upstream that needs it.
	Sealed string
	// sealed is the handle as it stands in the Secret until Store has opened it.
	sealed []byte

	// meta is what was read, for the patches made from it.
	meta *metav1.PartialObjectMetadata
}

// Parse reads the metadata of a version Secret. ErrTooNew and errors about
// unreadable annotations come with as much of the version as could be read.
func Parse(object metav1.Object) (Version, error) {
	a := object.GetAnnotations()
	v := Version{
		Key:             types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()},
		UID:             object.GetUID(),
		ResourceVersion: object.GetResourceVersion(),
		Terminating:     object.GetDeletionTimestamp() != nil,
		Held:            slices.Contains(object.GetFinalizers(), FinalizerUpstream),
		CredentialUID:   types.UID(object.GetLabels()[LabelCredentialUID]),
		Container:       a[AnnotationContainer],
		Nonce:           a[AnnotationNonce],
		DeletionPolicy:  a[AnnotationDeletionPolicy],
		Replaces:        a[AnnotationReplaces],
		InPlace:         a[AnnotationInPlace] != "",
		Cause:           a[AnnotationCause],
		RequestedBy:     a[AnnotationRequestedBy],
		Holder:          a[AnnotationHolder],
		Published:       a[AnnotationPublished] != "",
		RetainedFrom:    a[AnnotationRetainedFrom],
		Class:           upstream.Class(cmp.Or(a[AnnotationClass], string(upstream.WriteAhead))),
		UpstreamID:      a[AnnotationUpstreamID],
		SameAs:          a[AnnotationSameAs],
		Adopted:         a[AnnotationAdopted] != "",
		AdoptedFrom:     a[AnnotationAdopted],
		Wave:            a[AnnotationRollout],
		meta:            secretMetadata(object),
	}
	if names := a[AnnotationApprovals]; names != "" {
		v.Approvals = strings.Fields(names)
	}
	r := reader{annotations: a}
	v.ClusterID = r.text(AnnotationClusterID)
	v.Mark = upstream.Mark(r.text(AnnotationMark))
	v.UpstreamName = r.text(AnnotationUpstreamName)
	v.Credential = r.name(AnnotationCredential)
	v.Issuer = r.issuer(AnnotationIssuer)
	v.Number = int64(r.number(AnnotationNumber, true))
	v.Attempt = r.number(AnnotationAttempt, true)
	v.Failures = r.number(AnnotationFailures, false)
	v.Agreed = int64(r.number(AnnotationAgreed, false))
	v.IntentAt = r.time(AnnotationIntentAt, true)
	v.CallDeadline = r.time(AnnotationCallDeadline, true)
	v.Answers = r.time(AnnotationAnswers, false)
	v.RepublishAt = r.time(AnnotationRepublishAt, false)
	v.RefusedSince = r.time(AnnotationRefusedSince, false)
	v.FailedAt = r.time(AnnotationFailedAt, false)
	v.RevokedAt = r.time(AnnotationRevokedAt, false)
	v.AnsweredAt = r.time(AnnotationAnsweredAt, false)
	v.ExpiresAt = r.time(AnnotationExpiresAt, false)
	v.ReplacedAt = r.time(AnnotationReplacedAt, false)
	v.Restarted = r.times(AnnotationRestarted)
	v.RolledOut = r.time(AnnotationRolledOut, false)
	if format := r.text(AnnotationFormat); format != "" && format != Format {
		return v, fmt.Errorf("version Secret %s has format %q, this operator reads %q: %w", v.Key.Name, format, Format, ErrTooNew)
	}
	if nonce, err := hex.DecodeString(v.Nonce); err != nil || len(nonce) != NonceBytes {
		r.fail(AnnotationNonce)
	}
	if len(r.bad) > 0 {
		return v, fmt.Errorf("version Secret %s has unreadable annotations: %s", v.Key.Name, strings.Join(r.bad, ", "))
	}
	return v, nil
}

// ParseSecret reads a whole version Secret, material included.
func ParseSecret(secret *corev1.Secret) (Version, error) {
	v, err := Parse(secret)
	if err != nil {
		return v, err
	}
	m, err := decode(secret.Data)
	if err != nil {
		return v, fmt.Errorf("version Secret %s: %w", v.Key.Name, err)
	}
	v.Material, v.Seal = m, secret.Data[keySeal]
	if handle := secret.Data[keyHandle]; len(handle) > 0 {
		v.SecretHandle = material.New(string(handle))
	}
	v.sealed = secret.Data[keySealedHandle]
	complete := v.Class == upstream.WriteAhead || !v.AnsweredAt.IsZero()
	nameless := !m.ClientSecret.Empty() && m.ClientID == ""
	if complete && (m.Empty() || nameless) || len(v.Seal) == 0 {
		return v, fmt.Errorf("version Secret %s lacks material", v.Key.Name)
	}
	return v, nil
}

// Complete reports whether nothing that a workload needs is still to come from the upstream.
func (v *Version) Complete() bool {
	return v.Class == upstream.WriteAhead || !v.AnsweredAt.IsZero()
}

// Handle names the version for the upstream. The material is empty unless the
// whole Secret was read.
func (v *Version) Handle(parameters []byte) upstream.Handle {
	h := upstream.Handle{
		Parameters: parameters, Container: v.Container, Name: v.UpstreamName, Mark: v.Mark, Number: v.Number,
		ID: v.UpstreamID, SecretHandle: v.SecretHandle, ExpiresAt: v.ExpiresAt,
	}
	if v.Material != nil {
		h.Material = *v.Material
	}
	return h
}

// reader collects what cannot be read, so that one message names all of it.
type reader struct {
	annotations map[string]string
	bad         []string
}

func (r *reader) fail(key string) { r.bad = append(r.bad, key) }

// text is required: without it an upstream object can be neither found nor told from
// another cluster's.
func (r *reader) text(key string) string {
	if r.annotations[key] == "" {
		r.fail(key)
	}
	return r.annotations[key]
}

func (r *reader) number(key string, required bool) int {
	text := r.annotations[key]
	if text == "" && !required {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n == 0 && required {
		r.fail(key)
	}
	return n
}

func (r *reader) time(key string, required bool) time.Time {
	text := r.annotations[key]
	if text == "" && !required {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		r.fail(key)
	}
	return t
}

// times reads a list of names, each with a time.
func (r *reader) times(key string) map[string]time.Time {
	text := r.annotations[key]
	if text == "" {
		return nil
	}
	all := map[string]time.Time{}
	for part := range strings.SplitSeq(text, ",") {
		name, at, _ := strings.Cut(part, "@")
		t, err := time.Parse(time.RFC3339Nano, at)
		if err != nil || name == "" {
			r.fail(key)
			return nil
		}
		all[name] = t
	}
	return all
}

func (r *reader) name(key string) types.NamespacedName {
	namespace, name, ok := strings.Cut(r.annotations[key], "/")
	if !ok || namespace == "" || name == "" {
		r.fail(key)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}
}

func (r *reader) issuer(key string) Issuer {
	parts := strings.Split(r.annotations[key], "/")
	if len(parts) != 3 {
		r.fail(key)
		return Issuer{}
	}
	return Issuer{Kind: parts[0], Name: parts[1], UID: types.UID(parts[2])}
}

// Intent is what a new version starts with. Random is drawn by the caller.
type Intent struct {
	ClusterID      string
	Credential     types.NamespacedName
	CredentialUID  types.UID
	Issuer         Issuer
	Container      string
	Number         int64
	Nonce          [NonceBytes]byte
	DeletionPolicy string
	IntentAt       time.Time
	Answers        time.Time
	Replaces       string
	InPlace        bool
	Cause          string
	Failures       int
	Holder         string
	CallDeadline   time.Time
	Class          upstream.Class
	// Agreed is the generation of the spec that people have agreed to; 0 if none were asked.
	Agreed int64
	// RequestedBy and Approvals are those of Version.
	RequestedBy string
	Approvals   []string
	// Rolls: workloads are to be restarted when it is published.
	Rolls bool
	// Material is what is made here before the call: all of it for class WriteAhead.
	Material material.Material
	// Adopted is what the upstream told of a credential that existed already; nil for one that
	// is to be made.
	Adopted *upstream.Issued
	// AdoptedFrom names the Secret that its material came from.
	AdoptedFrom string
	Seal        Seal
}

// Mark is what the version will be recognised by upstream.
func (i Intent) Mark() upstream.Mark { return MarkFor(i.ClusterID, string(i.CredentialUID), i.Nonce) }

// UpstreamName is the name that it will have there.
func (i Intent) UpstreamName() string {
	return UpstreamName(i.ClusterID, string(i.CredentialUID), i.Nonce)
}

// Secret writes the intent as a version Secret. For class WriteAhead it is complete:
// nothing is filled in after the upstream answered, so no answer can be lost.
func (i Intent) Secret() *corev1.Secret {
	uid := string(i.CredentialUID)
	complete := i.Class == upstream.WriteAhead
	annotations := map[string]string{
		AnnotationFormat:         Format,
		AnnotationClusterID:      i.ClusterID,
		AnnotationCredential:     i.Credential.String(),
		AnnotationIssuer:         i.Issuer.String(),
		AnnotationContainer:      i.Container,
		AnnotationNumber:         strconv.FormatInt(i.Number, 10),
		AnnotationNonce:          hex.EncodeToString(i.Nonce[:]),
		AnnotationMark:           string(i.Mark()),
		AnnotationUpstreamName:   i.UpstreamName(),
		AnnotationDeletionPolicy: i.DeletionPolicy,
		AnnotationIntentAt:       stamp(i.IntentAt),
		AnnotationCause:          i.Cause,
		AnnotationHolder:         i.Holder,
		AnnotationAttempt:        "1",
		AnnotationCallDeadline:   stamp(i.CallDeadline),
	}
	if !complete {
		annotations[AnnotationClass] = string(i.Class)
	}
	if i.Adopted != nil {
		annotations[AnnotationAdopted] = i.AdoptedFrom
		annotations[AnnotationAnsweredAt] = stamp(i.IntentAt)
		annotations[AnnotationUpstreamID] = i.Adopted.ID
		if !i.Adopted.ExpiresAt.IsZero() {
			annotations[AnnotationExpiresAt] = stamp(i.Adopted.ExpiresAt)
		}
	}
	data := encode(i.Material)
	data[keySeal] = i.Seal
	if !i.Answers.IsZero() {
		annotations[AnnotationAnswers] = stamp(i.Answers)
	}
	if i.Agreed > 0 {
		annotations[AnnotationAgreed] = strconv.FormatInt(i.Agreed, 10)
	}
	if i.RequestedBy != "" {
		annotations[AnnotationRequestedBy] = i.RequestedBy
	}
	if len(i.Approvals) > 0 {
		annotations[AnnotationApprovals] = strings.Join(i.Approvals, " ")
	}
	if i.Rolls {
		annotations[AnnotationRollout] = wave(i.Number, hex.EncodeToString(i.Nonce[:]))
	}
	if i.Replaces != "" {
		annotations[AnnotationReplaces] = i.Replaces
	}
	if i.InPlace {
		annotations[AnnotationInPlace] = "true"
	}
	if i.Failures > 0 {
		annotations[AnnotationFailures] = strconv.Itoa(i.Failures)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: i.Credential.Namespace,
			Name:      VersionSecretName(i.Credential.Name, uid, i.Number),
			Labels: map[string]string{
				LabelRole:          RoleVersion,
				LabelCredentialUID: uid,
				LabelIssuerUID:     string(i.Issuer.UID),
			},
			Annotations: annotations,
			Finalizers:  []string{FinalizerUpstream},
		},
		Type:      SecretType,
		Immutable: &complete,
		Data:      data,
	}
}

// stamp keeps nanoseconds: a version and a request of the same second must keep
// their order.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// Edit is one change of a version Secret's metadata.
type Edit func(metav1.Object)

func annotate(key, value string) Edit {
	return func(o metav1.Object) {
		a := maps.Clone(o.GetAnnotations())
		if a == nil {
			a = map[string]string{}
		}
		a[key] = value
		o.SetAnnotations(a)
	}
}

// Claimed gives the right to call to a process until a deadline.
func Claimed(holder string, attempt int, deadline time.Time) Edit {
	return func(o metav1.Object) {
		annotate(AnnotationHolder, holder)(o)
		annotate(AnnotationAttempt, strconv.Itoa(attempt))(o)
		annotate(AnnotationCallDeadline, stamp(deadline))(o)
	}
}

// RefusedSince records the first refusal in a row.
func RefusedSince(t time.Time) Edit { return annotate(AnnotationRefusedSince, stamp(t)) }

// FailedAt records that the version is given up, and the how-manieth in a row it is.
func FailedAt(t time.Time, failures int) Edit {
	return func(o metav1.Object) {
		annotate(AnnotationFailedAt, stamp(t))(o)
		annotate(AnnotationFailures, strconv.Itoa(failures))(o)
	}
}

// Answer is what is written down of an upstream's answer.
type Answer struct {
	upstream.Issued
	// At is when it was complete; zero for what was only begun.
	At time.Time
	// SameAs is the nonce of the version whose credential it is; empty if it is a new one.
	SameAs string
}

// edit records what is not secret of an answer.
func (a Answer) edit() Edit {
	issued, at := a.Issued, a.At
	return func(o metav1.Object) {
		if a.SameAs != "" {
			annotate(AnnotationSameAs, a.SameAs)(o)
		}
		if !at.IsZero() {
			annotate(AnnotationAnsweredAt, stamp(at))(o)
		}
		if issued.ID != "" {
			annotate(AnnotationUpstreamID, issued.ID)(o)
		}
		if !issued.ExpiresAt.IsZero() {
			annotate(AnnotationExpiresAt, stamp(issued.ExpiresAt))(o)
		}
		// Who answers with what is published already has ended nothing.
		if issued.Replaced && !at.IsZero() && a.SameAs == "" {
			annotate(AnnotationReplacedAt, stamp(at))(o)
		}
	}
}

// Published records that the version was the target's content.
func Published() Edit { return annotate(AnnotationPublished, "true") }

// RepublishAt records that the version is about to be put back.
func RepublishAt(t time.Time) Edit { return annotate(AnnotationRepublishAt, stamp(t)) }

// wave marks the workloads of a version. It depends on the version alone, so nobody restarts
// one twice for it.
func wave(number int64, nonce string) string { return fmt.Sprintf("%d.%s", number, nonce[:8]) }

// RolledBack records that workloads are to be restarted once more for a version, because pods
// may use what came after it and was given up.
func RolledBack(v, givenUp *Version) Edit {
	return func(o metav1.Object) {
		again := wave(v.Number, v.Nonce) + "." + wave(givenUp.Number, givenUp.Nonce)
		a := maps.Clone(o.GetAnnotations())
		if a[AnnotationRollout] == again {
			return
		}
		a[AnnotationRollout] = again
		delete(a, AnnotationRestarted)
		delete(a, AnnotationRolledOut)
		o.SetAnnotations(a)
	}
}

// Restarted records when a workload was.
func Restarted(workload string, t time.Time) Edit {
	return func(o metav1.Object) {
		entry := workload + "@" + stamp(t.Truncate(time.Second))
		if before := o.GetAnnotations()[AnnotationRestarted]; before != "" {
			entry = before + "," + entry
		}
		annotate(AnnotationRestarted, entry)(o)
	}
}

// RolledOut records that all workloads have replaced their pods.
func RolledOut(t time.Time) Edit { return annotate(AnnotationRolledOut, stamp(t)) }

// RevokedAt records that the upstream object is gone.
func RevokedAt(t time.Time) Edit { return annotate(AnnotationRevokedAt, stamp(t)) }

// Hold puts our finalizer on.
func Hold(o metav1.Object) {
	if !slices.Contains(o.GetFinalizers(), FinalizerUpstream) {
		o.SetFinalizers(append(slices.Clone(o.GetFinalizers()), FinalizerUpstream))
	}
}

// Released takes our finalizer off.
func Released(o metav1.Object) { dropFinalizer(o, FinalizerUpstream) }

// Retained labels the version for a later credential of the same name and lets
// it go.
func Retained(from types.NamespacedName) Edit {
	return func(o metav1.Object) {
		annotate(AnnotationRetainedFrom, from.String())(o)
		Released(o)
	}
}

// Adopted gives a version of an earlier credential to another one, and to the issuer
// that it is now handled with.
func Adopted(uid types.UID, issuer Issuer) Edit {
	return func(o metav1.Object) {
		Hold(o)
		a := maps.Clone(o.GetAnnotations())
		delete(a, AnnotationRetainedFrom)
		a[AnnotationPublished] = "true"
		a[AnnotationIssuer] = issuer.String()
		o.SetAnnotations(a)
		labels := maps.Clone(o.GetLabels())
		labels[LabelCredentialUID] = string(uid)
		labels[LabelIssuerUID] = string(issuer.UID)
		o.SetLabels(labels)
	}
}

func dropFinalizer(o metav1.Object, finalizer string) {
	o.SetFinalizers(slices.DeleteFunc(slices.Clone(o.GetFinalizers()), func(f string) bool { return f == finalizer }))
}
