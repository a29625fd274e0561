// Package rotation decides what happens next to a credential, and does nothing.
// The one idea: Next looks at what was observed and returns one Step; the
// controllers carry it out, observe again and ask again. Time, jitter and identity
// are arguments, so every decision can be replayed in a test.
//
// Must not: read a clock, draw a random number, know Kubernetes or an upstream.
package rotation

import (
	"time"

	"github.com/claviger-dev/claviger/internal/interval"
)

// Observed is everything that a decision may look at.
type Observed struct {
	Credential Credential
	Account    Account
	Operator   Operator
	Target     Target
	// Versions of the credential in ascending order, terminating and failed ones
	// included.
	Versions []Version
	// Retained are versions that an earlier credential of the same name left alive, in
	// ascending order. They are adopted before anything is issued.
	Retained []Version
	// Consent is what people have said about what is to be done. Asked and Doubt are as old as
	// the cache unless Fresh has FactConsent.
	Consent Consent
	// Consumers are the pods that use the target; they count only while Fresh has
	// FactConsumers.
	Consumers Consumers
	// Logins are the issuers that log in with the credential.
	Logins []Login
	// Deliveries are where else the published version is written.
	Deliveries []Delivery
	// Workloads are those that are restarted for a new version; they count only while Fresh has
	// FactWorkloads.
	Workloads Workloads
	// Place is where the versions live.
	Place Place
	// Fresh are the facts that were read live in this pass. The others come from
	// the cache and may be old: good enough to idle, not good enough to act.
	Fresh Facts
}

// Credential is what a person asked for.
type Credential struct {
	// UID is the identity that jitter is computed from.
	UID string
	// Generation of the spec.
	Generation int64
	// Exists is false if only the journal of a deleted credential is left.
	Exists bool
	// GoneSince is when this process first found the credential missing.
	GoneSince time.Time
	// Deleting: it has a deletionTimestamp, DeletedAt.
	Deleting  bool
	DeletedAt time.Time
	// HeldAsMass: it was said already that too many are being deleted. It stays so while fewer and
	// fewer are left, because an administrator may be saving one after the other.
	HeldAsMass bool
	// NamespaceEnding: its namespace is being deleted, too, as far as is known.
	NamespaceEnding bool
	// Retain: deletion leaves the current version and the Secret.
	Retain bool
	// Protected: a deletion waits while pods use the target.
	Protected bool
	// Rolls: workloads are restarted when a version is published.
	Rolls bool
	// Suspended: spec.suspend.
	Suspended bool
	// Finalized: our finalizer is on it.
	Finalized bool
	// RotateRequestedAt is the time of the last request; zero if there is none.
	RotateRequestedAt time.Time
	// CompromisedAt is when somebody declared compromised whatever existed then, on the
	// credential or on its policy; zero if nobody did. RevokeAnyway: even if no successor can be
	// made.
	CompromisedAt time.Time
	RevokeAnyway  bool
	// RollbackRequestedAt is when somebody asked for the version before the published one.
	RollbackRequestedAt time.Time
	// DeletionRequestedAt is when somebody asked people to agree to its deletion; zero if nobody
	// did.
	DeletionRequestedAt time.Time
	// AbandonAll and Abandon let versions go without revoking them.
	AbandonAll bool
	Abandon    int64
	// Adopts: the first version is one that exists upstream already. AdoptsTarget: the target
	// exists and is the Secret that holds its material.
	Adopts       bool
	AdoptsTarget bool
	// Versioned: every version that has served stands in a Secret of its own as well.
	Versioned bool
	// ShowsPrevious: the target holds the version before the published one as well.
	ShowsPrevious bool
	// Problem says that the spec cannot be served as it is; nil if it can. ProblemUntil is
	// when it is looked into again; zero if only another spec ends it.
	Problem      *Problem
	ProblemUntil time.Time
	// Trouble is what kept the last attempt to begin a version from succeeding; the
	// next one is not before NotBefore.
	Trouble   *Problem
	NotBefore time.Time
}

// Problem is why something cannot go on, in the words of the API's conditions.
type Problem struct {
	// Reason is one of the reasons in api/v1alpha1/conditions.go.
	Reason string
	// Message is for people.
	Message string
	// Stalled: a person has to change something first.
	Stalled bool
}

// Account is the issuer's account on its upstream.
type Account struct {
	// Problem is nil while the account can be called.
	Problem *Problem
	// Terminating: the issuer is being deleted. It issues nothing and revokes
	// everything asked of it.
	Terminating bool
	// VerdictDone: this process has finished its first pass over the issuer.
	VerdictDone bool
	// Held: the in-use finalizers are on the issuer and its login.
	Held bool
	// SlotFree: the issuer's limit of concurrent rotations leaves room.
	SlotFree bool
	// Total is how many APIClientCredentials use the account. Leaving are those of them that are
	// being deleted by themselves and would be revoked; both count only for one that is.
	// DeletionsConfirmedAt is the time up to which an administrator has agreed to deletions.
	Total, Leaving       int
	DeletionsConfirmedAt time.Time
	// Live is how many credentials the container holds, ours and others'; it counts
	// only while Fresh has FactContainer.
	Live int
}

// Operator is the state of this process.
type Operator struct {
	// ObserveOnly: --observe-only.
	ObserveOnly bool
	// ClockSteady: the API server's time is known and did not jump.
	ClockSteady bool
	// GuardInForce counts only while Fresh has FactGuard.
	GuardInForce bool
	GuardMessage string
	// OrphanAge is how long the journal of a vanished credential is kept before it
	// is finished.
	OrphanAge time.Duration
}

// Target is the Secret that workloads mount.
type Target struct {
	// Exists and Ours: a Secret of the name exists; it is this credential's.
	Exists bool
	Ours   bool
	// Retained: an earlier credential of the same name let it go. It is ours if it
	// holds a version that was adopted.
	Retained bool
	// Terminating: somebody deleted it and a foreign finalizer holds it.
	Terminating bool
	// Published is the number of the version that it holds; 0 if none is known.
	Published int64
	// Previous is the number of the version that stands beside the published one; 0 if none
	// does, -1 if it is not known which. PreviousStale: it is not written as it would be today.
	Previous      int64
	PreviousStale bool
	// Hidden is the number of the version that was taken away last, to be revoked; 0 if
	// another one was written since.
	Hidden int64
	// Unknown is the number of the version that it bears, if the journal does not know that
	// version; 0 otherwise. If it is newer than what the journal knows, an older backup of the
	// journal was restored.
	Unknown int64
	// Drift: its metadata shows that somebody else wrote our keys; only a live read
	// tells what it holds.
	Drift bool
	// Strays: versions' own Secrets stand of which the journal knows no version; known with
	// FactJournal.
	Strays bool
	// Stale: it holds Published, and today's template renders that differently.
	Stale bool
	// PublishedAt is the API server's time of our last write; it errs only late.
	PublishedAt time.Time
	// Hasty: what it held before was ended by what it holds now, so who holds that fails.
	Hasty bool
}

// Version is one version as the journal and this process know it.
type Version struct {
	Number int64
	// Nonce tells it from every other version that there ever was.
	Nonce string
	// Agreed is the generation of the spec that people have agreed to; 0 if none were asked.
	Agreed int64
	// IntentAt is when the intent became durable, by the API server's clock. Age is
	// counted from it.
	IntentAt time.Time
	// Answers is the request that the version answers; zero if none.
	Answers time.Time
	// Problem says that the version may only be looked at: another cluster's, a
	// newer format, another realm.
	Problem *Problem

	// Terminating: its Secret is deleted. That is the irrevocable intent to revoke.
	Terminating bool
	// Failed: it was given up (refused, its answer lost, rolled back), since FailedAt, the Failures-th in a row.
	Failed   bool
	FailedAt time.Time
	Failures int
	// Revoked: the upstream object is gone; noted in the journal if RevokedNoted.
	Revoked      bool
	RevokedNoted bool
	// OncePublished: it is known to have been the target's content.
	OncePublished bool
	// Replaces: it was made to follow a published version, whose disappearance
	// proves that this one was published.
	Replaces bool
	// InPlaceOf is the number of the version whose place it was to take upstream, so that it has
	// ended that one or may have; 0 if it is an object of its own, or if that one is forgotten.
	// ReplacedAt is when the upstream's answer said that it has; zero if none did.
	InPlaceOf  int64
	ReplacedAt time.Time
	// EndedAt is when the answer of a successor said that this version has ended with it, and
	// EndedBy that one's number; zero if none did.
	EndedAt time.Time
	EndedBy int64
	// RepublishAt is when it was chosen to be put back; zero if never. MarkedNow: that
	// mark was written in this pass, so nobody has begun to retire it since.
	RepublishAt time.Time
	MarkedNow   bool
	// Held: our finalizer is on its Secret.
	Held bool
	// Wave is what marks a workload that was restarted for its publication; empty if none is to
	// be. RolledOut: all were.
	Wave      string
	RolledOut bool

	// ClaimMine: this process holds the claim; ClaimUntil is the call deadline.
	// FirstClaim: nobody has taken it over since the intent was made.
	ClaimMine  bool
	ClaimUntil time.Time
	FirstClaim bool

	// Begun: the journal holds what a first answer told of a version that the upstream still
	// works on, so the same request leads to the same object.
	Begun bool
	// Identity says which upstream object the version is; empty if nobody knows. Two
	// versions of one identity are one object (hazard C7).
	Identity string
	// ExpiresAt is when the upstream ends it by itself; zero means never.
	ExpiresAt time.Time

	// What this process remembers of its own calls. Losing it costs a repeated
	// call, never a wrong one.

	// Answered: the upstream answered Issue. For upstreams that make the material this is
	// in the journal.
	Answered bool
	// Unwritten: an answer came and the journal does not hold it yet.
	Unwritten bool
	// Unsure: nobody knows whether a call for it has reached the upstream. Lost: the last
	// call under the present claim is such a one.
	Unsure bool
	Lost   bool
	// Adopted: it existed upstream before anybody asked Claviger for it.
	Adopted bool
	// Ineffective: the upstream answered with the very credential that is published.
	Ineffective bool
	// AbsentSince is the first time in a row that it was proven not to exist upstream.
	AbsentSince time.Time
	// Accepted: the upstream took the material.
	Accepted bool
	// Refused: the last verification was a definite refusal, in the words of
	// Refusal.
	Refused bool
	Refusal string
	// Patience is how long such a refusal may last for a healthy version, where that is
	// longer than the policy's time.
	Patience time.Duration
	// RefusedSince is the first refusal in a row; RefusedNoted says that the journal
	// has it, so that a restart does not begin to count anew.
	RefusedSince time.Time
	RefusedNoted bool
	// Copied: its own Secret stands, as far as is known. CopyHeld: it was deleted, and a finalizer of
	// somebody else holds it. CopyGoneSince is when this process has
	// first seen that there is none although the version is being revoked.
	Copied        bool
	CopyHeld      bool
	CopyGoneSince time.Time
	// CopyTrouble is why its own Secret could not be written, and CopyNotBefore when that is tried
	// again.
	CopyTrouble   *Problem
	CopyNotBefore time.Time
	// Unshowable: it cannot be written beside the published one as the spec is now.
	Unshowable bool
	// Condemned: the upstream said that this version can never exist as it is.
	Condemned string
	// Declined: people of the upstream were asked about it and have said no.
	Declined bool
	// Doubt: the issuer's verdict does not find it as it should be, or it was put
	// back without being asked.
	Doubt string
	// NotBefore is when the next call for this version is allowed, and Trouble what
	// went wrong with the last one; nil if nothing did.
	NotBefore time.Time
	Trouble   *Problem
}

// Live versions may be valid upstream and nobody has decided to revoke them.
func (v *Version) live() bool { return !v.Terminating && !v.Failed && !v.ended() }

// trusted: nothing speaks against the version's being accepted upstream.
func (v *Version) trusted() bool { return !v.Refused && v.Doubt == "" }

// Policy is what a RotationPolicy prefers, defaults filled in.
type Policy struct {
	// RotateAfter is Unlimited without a policy.
	RotateAfter interval.Interval
	// Overlap is how long a predecessor outlives the publication of its successor.
	Overlap interval.Interval
	// RenewBefore is how long before the upstream's own end a successor is due; zero means a
	// third of the version's life.
	RenewBefore interval.Interval
	// Windows bind routine renewal and retirement. KeepsWindows: also the renewal of what the
	// upstream ends before the next one opens.
	Windows      interval.Windows
	KeepsWindows bool
	// Uptake says whether pods are watched.
	Uptake Uptake
	// Rollout says how workloads are restarted.
	Rollout Rollout
	// VerifyTimeout is how long definite refusals are patience.
	VerifyTimeout time.Duration
	// Replace: a version may be renewed by one that takes its place upstream and ends it, so that
	// workloads fail until they have the new one.
	Replace bool
	// Problem says that the named policy does not exist or is not accepted: then
	// nothing new is begun by routine, and no first version is made.
	Problem *Problem
}

// Capabilities are what the planner needs to know of an adapter.
type Capabilities struct {
	// RepeatHarmless: the same request twice yields one object, so a claim may be
	// taken over at once (classes WriteAhead and Readable with unique names or ids).
	RepeatHarmless bool
	// Repeatable: the same request leads to the same object, at the latest when no earlier
	// call can be under way any more (classes WriteAhead and Readable).
	Repeatable bool
	// Addressable: what a lost answer has left can be found and ended (all classes but
	// GrantOnly and Blind).
	Addressable bool
	// Verifies: the adapter can prove material.
	Verifies bool
	// Overlap: two versions may be valid side by side. Otherwise each one that is made ends the
	// one before.
	Overlap bool
	// InPlace: a version can be made so that it takes the place of another one upstream.
	InPlace bool
	// MaxLive is how many a container takes; 0 means no limit.
	MaxLive int
	// Settle is how long after a call's deadline nothing may be concluded.
	Settle time.Duration
}

// Facts is a set of things that a step wants to know from a live read.
type Facts uint

// The facts.
const (
	// FactCredential and FactIssuer are live reads of the objects.
	FactCredential Facts = 1 << iota
	FactIssuer
	// FactTarget is a live read of the target Secret and of the versions that it
	// may hold, so that bytes are compared.
	FactTarget
	// FactGuard is a probe of the admission policies.
	FactGuard
	// FactContainer is a count of what the upstream's container holds.
	FactContainer
	// FactJournal is a live list of the credential's version Secrets.
	FactJournal
	// FactConsumers is a live list of the namespace's pods, young enough to prove that none
	// can use an earlier version if it shows none.
	FactConsumers
	// FactCopies are live reads of the versions' own Secrets.
	FactCopies
	// FactWorkloads is a live read of the workloads that are restarted.
	FactWorkloads
	// FactConsent is a live read of what people were asked and have answered, and a proof that
	// the answers are theirs.
	FactConsent
	// FactPlace is a look upstream at the managed place.
	FactPlace
)

// Has reports whether all of want are in f.
func (f Facts) Has(want Facts) bool { return f&want == want }
