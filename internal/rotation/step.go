package rotation

import "time"

// Action is what a step does. Each makes at most one durable effect.
type Action string

// The actions.
const (
	// Wait does nothing until Step.Until, or until something changes.
	Wait Action = "Wait"
	// Look reads the facts of Step.Needs live and decides again.
	Look Action = "Look"
	// AddFinalizer puts our finalizer on the credential.
	AddFinalizer Action = "AddFinalizer"
	// HoldIssuer puts the in-use finalizers on the issuer and its login.
	HoldIssuer Action = "HoldIssuer"
	// AskApproval writes a request to people, and does nothing until they have answered.
	AskApproval Action = "AskApproval"
	// Provision has the managed place made, or made what the spec wants.
	Provision Action = "Provision"
	// Deprovision has the managed place deleted, after the last version.
	Deprovision Action = "Deprovision"
	// CreateIntent creates the version Secret, before the upstream is called.
	CreateIntent Action = "CreateIntent"
	// Claim takes over the right to call for an intent.
	Claim Action = "Claim"
	// Adopt takes over a retained version that the upstream still accepts.
	Adopt Action = "Adopt"
	// Issue calls the upstream to create the version.
	Issue Action = "Issue"
	// WriteAnswer writes the upstream's answer into the version Secret.
	WriteAnswer Action = "WriteAnswer"
	// Disown ends upstream what an answer told of, because another process has taken over the
	// claim meanwhile and will not know of it.
	Disown Action = "Disown"
	// Suspect lets a version go that may live upstream and cannot be found there, after it
	// was written down where an administrator looks.
	Suspect Action = "Suspect"
	// Verify asks the upstream whether it takes the material.
	Verify Action = "Verify"
	// NoteRefusal records since when the material is refused.
	NoteRefusal Action = "NoteRefusal"
	// Fail records that the version will never be published.
	Fail Action = "Fail"
	// RollBack records that the published version is given up for the one before it.
	RollBack Action = "RollBack"
	// MarkRepublish records that an older version, or its own Secret, is about to be written again.
	MarkRepublish Action = "MarkRepublish"
	// Publish writes the version into the target.
	Publish Action = "Publish"
	// ShowPrevious writes a version beside the published one, or takes away what is there
	// if Version is 0.
	ShowPrevious Action = "ShowPrevious"
	// HidePrevious takes away what is beside the published version, and writes down that the
	// version must not be shown again.
	HidePrevious Action = "HidePrevious"
	// PublishCopy writes a version into a Secret of its own.
	PublishCopy Action = "PublishCopy"
	// WithdrawCopy deletes the version's own Secret, or one that no version is left of if
	// Version is 0.
	WithdrawCopy Action = "WithdrawCopy"
	// NotePublished records that the version was published, where nothing else
	// proves it.
	NotePublished Action = "NotePublished"
	// Restart marks a workload's pod template with the published version, so that its controller
	// replaces its pods.
	Restart Action = "Restart"
	// NoteRollout records that a workload was restarted, or that all were.
	NoteRollout Action = "NoteRollout"
	// Retire deletes the version Secret, which its finalizer holds: the irrevocable
	// intent to revoke.
	Retire Action = "Retire"
	// Revoke calls the upstream to end the version.
	Revoke Action = "Revoke"
	// NoteRevoked records the revocation on a version Secret that stays.
	NoteRevoked Action = "NoteRevoked"
	// Release takes our finalizer off a version Secret.
	Release Action = "Release"
	// Abandon takes it off without revoking, on an administrator's word.
	Abandon Action = "Abandon"
	// Retain labels a version and takes our finalizer off it.
	Retain Action = "Retain"
	// RetainTarget labels the target and lets it go.
	RetainTarget Action = "RetainTarget"
	// DeleteTarget deletes the target.
	DeleteTarget Action = "DeleteTarget"
	// RemoveFinalizer lets the credential go.
	RemoveFinalizer Action = "RemoveFinalizer"
)

// Actions lists every action, for tests that must not forget one.
func Actions() []Action {
	return []Action{
		Wait, Look, AddFinalizer, HoldIssuer, AskApproval, Provision, CreateIntent, Adopt, Claim, Issue, WriteAnswer, Disown, Suspect, Verify, NoteRefusal, Fail, RollBack, MarkRepublish, Publish,
		ShowPrevious, HidePrevious, PublishCopy, WithdrawCopy, NotePublished, Restart, NoteRollout, Retire, Revoke, NoteRevoked, Release, Abandon, Retain, RetainTarget, DeleteTarget, Deprovision, RemoveFinalizer,
	}
}

// Step is one decision with its explanation.
type Step struct {
	Action Action
	// Version is the number that the action is about; 0 if none.
	Version int64
	// Cause says in a few words why a version is made: it becomes the event.
	Cause string
	// Answers is the request that a new version answers, or that one is given up for.
	Answers time.Time
	// Replaces is the number of the published version that a new one follows, or whose place an
	// older one takes; of an Issue: the version that the upstream is to end with the new one.
	Replaces int64
	// InPlace: the new version is to take the place of Replaces upstream.
	InPlace bool
	// Ask is what people are asked.
	Ask *Ask
	// Agreed is the generation of the spec that people have agreed to; 0 if none were asked.
	Agreed int64
	// Adopts: the new version is one that exists upstream already.
	Adopts bool
	// Rolls: workloads are to be restarted when the version is published.
	Rolls bool
	// Workload, as kind/name, is the one that is restarted or was; empty if it is about all.
	Workload string
	// BreaksHold: a version is retired before its overlap has passed.
	BreaksHold bool
	// Failures counts what failed in a row before a new version.
	Failures int
	// Needs are the facts that must be read live before the action.
	Needs Facts
	// Until is when to look again without being woken; zero means only when
	// something changes.
	Until time.Time
	// Problem says why a Wait does not go on; nil if nothing is wrong.
	Problem *Problem
	// Notice is what goes on while Ready stays True: a rotation under way.
	Notice *Problem
	// Routine marks what may be put off.
	Routine bool
}
