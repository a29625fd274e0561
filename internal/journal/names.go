package journal

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/internal/upstream"
)

const prefix = "credentials.claviger.dev/"

// SecretType is the type of version Secrets. The admission policy guards it.
const SecretType corev1.SecretType = prefix + "version"

// FieldManager is the name under which every write of ours is known. Publication
// time is read from the managedFields entry of this name.
const FieldManager = "claviger"

// PreviousManager is the name under which what stands beside the published version is
// written: an entry of its own, so that it moves no publication time.
const PreviousManager = "claviger-previous"

// Labels. They hold ids and roles, never names, because label values end at 63
// characters.
const (
	// LabelRole says what a Secret is to us: version, target, copy or login. The cache
	// holds the metadata of Secrets that bear it and no other.
	LabelRole = prefix + "role"
	// RoleVersion, RoleTarget, RoleCopy and RoleLogin are its values.
	RoleVersion = "version"
	RoleTarget  = "target"
	RoleCopy    = "copy"
	RoleLogin   = "login"
	// LabelCredentialUID is the UID of the credential that a version or a target
	// belongs to.
	LabelCredentialUID = prefix + "credential-uid"
	// LabelIssuerUID is the UID of the issuer that a version was made with.
	LabelIssuerUID = prefix + "issuer-uid"
)

// Finalizers.
const (
	// FinalizerUpstream holds a version Secret until its object is gone upstream.
	FinalizerUpstream = prefix + "upstream"
	// FinalizerCredential holds a credential until no version of it is left.
	FinalizerCredential = prefix + "journal"
	// FinalizerInUse holds an issuer and its login Secret while versions need them.
	FinalizerInUse = prefix + "in-use"
)

// Annotations of a version Secret. Together they are an API of their own, with
// the format version in AnnotationFormat.
const (
	AnnotationFormat         = prefix + "journal"
	AnnotationClusterID      = prefix + "cluster-id"
	AnnotationCredential     = prefix + "credential"
	AnnotationIssuer         = prefix + "issuer"
	AnnotationContainer      = prefix + "container"
	AnnotationNumber         = prefix + "number"
	AnnotationNonce          = prefix + "nonce"
	AnnotationMark           = prefix + "mark"
	AnnotationUpstreamName   = prefix + "upstream-name"
	AnnotationDeletionPolicy = prefix + "deletion-policy"
	AnnotationIntentAt       = prefix + "intent-at"
	AnnotationAnswers        = prefix + "answers"
	AnnotationReplaces       = prefix + "replaces"
	AnnotationCause          = prefix + "cause"
	AnnotationHolder         = prefix + "holder"
	AnnotationAttempt        = prefix + "attempt"
	AnnotationCallDeadline   = prefix + "call-deadline"
	AnnotationPublished      = prefix + "published"
	AnnotationRepublishAt    = prefix + "republish-at"
	AnnotationRefusedSince   = prefix + "refused-since"
	AnnotationFailedAt       = prefix + "failed-at"
	AnnotationFailures       = prefix + "failures"
	AnnotationRevokedAt      = prefix + "revoked-at"
	AnnotationRetainedFrom   = prefix + "retained-from"
	// AnnotationAgreed is the generation of the credential's spec that people have agreed to;
	// absent if none were asked.
	AnnotationAgreed = prefix + "agreed"
	// AnnotationRequestedBy is the user who changed the credential's spec last or asked by
	// annotation when the version was begun; absent if that is not known. AnnotationApprovals are
	// the names of the requests that people had agreed to; absent if none were asked.
	AnnotationRequestedBy = prefix + "requested-by"
	AnnotationApprovals   = prefix + "approvals"
	// AnnotationClass is the creation class of a version that the upstream makes; absent
	// for class WriteAhead.
	AnnotationClass = prefix + "creation-class"
	// AnnotationAnsweredAt is when the upstream's answer was written down.
	AnnotationAnsweredAt = prefix + "answered-at"
	// AnnotationUpstreamID is the upstream's own public id of the version.
	AnnotationUpstreamID = prefix + "upstream-id"
	// AnnotationSameAs is the nonce of the version whose very credential the upstream answered
	// with: the two are one object there.
	AnnotationSameAs = prefix + "same-as"
	// AnnotationAdopted stands on a version that existed upstream before it was in the journal,
	// and names the Secret that its material came from.
	AnnotationAdopted = prefix + "adopted"
	// AnnotationRollout is the mark that workloads get which are restarted for the version, and
	// stands on their pod templates under the same name; absent if none are.
	AnnotationRollout = prefix + "rollout"
	// AnnotationRestarted lists the workloads that were, and when. AnnotationRolledOut is when
	// all of them had replaced their pods.
	AnnotationRestarted = prefix + "restarted"
	AnnotationRolledOut = prefix + "rolled-out"
	// AnnotationInPlace stands on a version that was to take the place of the one in
	// AnnotationReplaces upstream: from the first call on that one may be dead.
	// AnnotationReplacedAt is when the upstream's answer said that it is.
	AnnotationInPlace    = prefix + "in-place"
	AnnotationReplacedAt = prefix + "replaced-at"
	// AnnotationExpiresAt is when the upstream ends the version by itself.
	AnnotationExpiresAt = prefix + "expires-at"
	// AnnotationRendered stands on the target: nonce, template hash and keyed hash
	// of our keys. It is a hint that saves a comparison, never an authority.
	AnnotationRendered = prefix + "rendered"
	// AnnotationTrackedFrom stands on a target whose managedFields were wiped: the
	// resourceVersion that was found so.
	AnnotationTrackedFrom = prefix + "tracked-from"
	// AnnotationPrevious stands on the target: the nonce of the version beside the published
	// one and how it was rendered, or a dash and the nonce of the one that was taken away.
	AnnotationPrevious = prefix + "previous"
	// AnnotationVersion stands on the target for people.
	AnnotationVersion = prefix + "version"
	// AnnotationProbe is refused to everybody by the guard policy; a dry run with it
	// shows that the policy is in force.
	AnnotationProbe = prefix + "probe"
)

// Format is the format version that this operator writes and reads.
const Format = "v1"

// NonceBytes is the length of a nonce.
const NonceBytes = 10

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// VersionSecretName computes the name of a version Secret, so that none has to be
// listed: a GET is some thirty times cheaper than a list by label.
func VersionSecretName(credential, uid string, number int64) string {
	return fmt.Sprintf("%s.%s.v%d", credential, shortUID(uid), number)
}

// CopyName computes the name of the Secret that holds one version for good. Part of the nonce
// is in it, because numbers begin anew with a new credential and a name must mean one content
// for ever: whoever refers to it in Git gets that or nothing. No name ends like that of a
// version Secret (hazard H13).
func CopyName(target string, number int64, nonce string) string {
	raw, err := hex.DecodeString(nonce)
	if err != nil || len(raw) < 5 {
		return ""
	}
	return fmt.Sprintf("%s-%d-%s", target, number, base32Lower.EncodeToString(raw[:5]))
}

// CredentialOf is the credential that an object of ours was written for; ok is false if it
// names none.
func CredentialOf(o metav1.Object) (credential types.NamespacedName, ok bool) {
	namespace, name, ok := strings.Cut(o.GetAnnotations()[AnnotationCredential], "/")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok
}

func shortUID(uid string) string {
	hexOnly := strings.ReplaceAll(uid, "-", "")
	if len(hexOnly) > 8 {
		return hexOnly[:8]
	}
	return hexOnly
}

// ownerHash is 64 bits of a hash of the cluster and the credential, so that two
// clusters that share an app never take each other's objects for their own.
func ownerHash(clusterID, credentialUID string) [8]byte {
	h := sha256.New()
	for _, part := range []string{"claviger/owner/v1", clusterID, credentialUID} {
		// Lengths keep ("ab","c") apart from ("a","bc").
		_ = binary.Write(h, binary.BigEndian, uint32(len(part)))
		h.Write([]byte(part))
	}
	return [8]byte(h.Sum(nil)[:8])
}

// MarkFor computes the mark of a version: 16 hex digits of its owner, 16 of its
// nonce.
func MarkFor(clusterID, credentialUID string, nonce [NonceBytes]byte) upstream.Mark {
	owner := ownerHash(clusterID, credentialUID)
	return upstream.Mark(hex.EncodeToString(owner[:]) + hex.EncodeToString(nonce[:8]))
}

// OwnerMark is the half of the mark that all versions of a credential share.
func OwnerMark(clusterID, credentialUID string) string {
	owner := ownerHash(clusterID, credentialUID)
	return hex.EncodeToString(owner[:])
}

// UpstreamName computes the name that a version has upstream: 25 characters, and
// 40 bits of the nonce in it make sure that none is used twice (failure F1).
func UpstreamName(clusterID, credentialUID string, nonce [NonceBytes]byte) string {
	return UpstreamPrefix(clusterID, credentialUID) + base32Lower.EncodeToString(nonce[:5])
}

// UpstreamPrefix is what the names that all versions of a credential have upstream begin with.
func UpstreamPrefix(clusterID, credentialUID string) string {
	owner := ownerHash(clusterID, credentialUID)
	return "cl-" + base32Lower.EncodeToString(owner[:]) + "-"
}

// PlaceOwner says whose a place upstream is that was made for one credential alone. It is the
// credential's name and not its UID: a credential that is made again, or comes back from a
// backup, finds its place, and at no time are there two of one name.
func PlaceOwner(clusterID string, credential types.NamespacedName) string {
	owner := placeHash(clusterID, credential)
	return hex.EncodeToString(owner[:])
}

// PlaceName is the name that such a place gets: what people recognise of the credential's name,
// and the owner, so that nothing of anybody else is called like it. At most 32 characters.
func PlaceName(clusterID string, credential types.NamespacedName) string {
	owner := placeHash(clusterID, credential)
	known := strings.ReplaceAll(credential.Name, ".", "-")
	return known[:min(len(known), 18)] + "-" + base32Lower.EncodeToString(owner[:])
}

func placeHash(clusterID string, credential types.NamespacedName) [8]byte {
	return ownerHash(clusterID, "place of "+credential.String())
}
