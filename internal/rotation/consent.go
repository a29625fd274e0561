package rotation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/approval"
)

// Consent is what people were asked about a credential, and what they have answered.
type Consent struct {
	// Demands of the issuer and of every policy that chooses the credential. Each is met by
	// itself, so that none takes away what another one wants (hazard C8).
	Demands []Demand
	// Asked are the requests about the credential that count.
	Asked []Asked
	// Doubt says why nobody's answer can be believed; empty if answers can. It counts only
	// while Fresh has FactConsent.
	Doubt string
}

// Demand is what one issuer or policy wants to be asked about.
type Demand struct {
	Reference  approval.Reference
	Operations []approval.Operation
	// Problem says why nobody could meet it; empty if somebody can.
	Problem string
}

// Asked is a request and how far it has come.
type Asked struct {
	Name      string
	Reference approval.Reference
	Digest    string
	Round     int
	State     approval.State
	// Recorded: the request's own status says that it was approved, which is written only when
	// that was proven.
	Recorded bool
	// Until is when the time to answer ends; zero if never.
	Until time.Time
	// Missing are those whose agreement is still needed, where the quorum names them.
	Missing []string
	// Unproven is how many approvals do not count because anybody could have written them.
	Unproven int
}

// Ask is one request that is to be made.
type Ask struct {
	Reference approval.Reference
	Subject   approval.Subject
	// Follows is the number of the published version; 0 if none is.
	Follows int64
}

// consent tells whether people have agreed to the version that is due.
func (s *situation) consent(d *due) (step *Step, waits bool) {
	step, waits, d.consented = s.agreement(s.operation(), d.cause)
	if step != nil {
		step.Routine = d.routine
	}
	return step, waits
}

// agreement tells whether people have agreed to an operation, and asks them if nobody has. It
// says who is waited for; a step, or waits, keeps it from being begun. agreed: they had to be
// asked, and have said yes.
func (s *situation) agreement(o approval.Operation, cause string) (step *Step, waits, agreed bool) {
	demands := s.demands(o)
	if len(demands) == 0 {
		return nil, false, false
	}
	for i := range demands {
		if why := demands[i].Problem; why != "" {
			s.note(&Problem{Reason: "ApprovalUnavailable", Stalled: true, Message: fmt.Sprintf(
				"%s demands approval and it cannot be given: %s", name(demands[i].Reference), why)}, nil, time.Time{})
			return nil, true, false
		}
	}
	if s.Fresh.Has(FactConsent) && s.Consent.Doubt != "" {
		s.note(&Problem{Reason: "ApprovalUnavailable", Stalled: true, Message: "approval is demanded and no decision can be believed: " + s.Consent.Doubt},
			nil, s.now.Add(guardRetry))
		return nil, true, false
	}
	var pending []string
	var until time.Time
	for i := range demands {
		ask, asked := s.ask(&demands[i], o)
		switch {
		case asked == nil, asked.State == approval.Expired, asked.State == approval.Pending && s.over(asked):
			return &Step{Action: AskApproval, Ask: ask, Cause: cause, Replaces: ask.Follows, Needs: FactCredential | FactConsent}, true, false
		case asked.State == approval.Rejected:
			s.note(&Problem{Reason: "ApprovalRejected", Stalled: true, Message: fmt.Sprintf(
				"request %s was rejected: nothing is done until %s", asked.Name, askedAnew(o))}, nil, time.Time{})
			return nil, true, false
		case asked.State != approval.Approved:
			pending = append(pending, waitsFor(asked))
			if until.IsZero() || !asked.Until.IsZero() && asked.Until.Before(until) {
				until = asked.Until
			}
		}
	}
	if len(pending) > 0 {
		s.note(nil, &Problem{Reason: "ApprovalPending", Message: fmt.Sprintf("%s waits for people: %s", what(o), strings.Join(pending, "; "))}, until)
		return nil, true, false
	}
	return nil, false, true
}

// demands are those about an operation. What was declared compromised waits for nobody: that
// word needed a right of its own, and each minute counts (hazard C8.10).
func (s *situation) demands(o approval.Operation) []Demand {
	if current := s.published(); current != nil && s.compromised(current) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(s.Consent.Demands), func(demand Demand) bool {
		return !slices.Contains(demand.Operations, o)
	})
}

// operation is what something that is due is to people.
func (s *situation) operation() approval.Operation {
	if s.published() == nil {
		return approval.Issue
	}
	return approval.Renew
}

func what(o approval.Operation) string {
	switch o {
	case approval.Issue:
		return "the first version"
	case approval.Delete:
		return "the deletion"
	}
	return "a successor"
}

// askedAnew is what has people asked once more after somebody said no.
func askedAnew(o approval.Operation) string {
	if o == approval.Delete {
		return "somebody requests the deletion anew"
	}
	return "the spec changes or somebody requests a rotation anew"
}

// subject is what people are asked about now, in a round.
func (s *situation) subject(o approval.Operation, round int) approval.Subject {
	if o == approval.Delete {
		return approval.Deletion(s.Credential.UID, s.Credential.DeletionRequestedAt, round)
	}
	subject := approval.Subject{
		CredentialUID: s.Credential.UID, Generation: s.Credential.Generation, Operation: o, Round: round,
	}
	if t := s.Credential.RotateRequestedAt; s.open(t) {
		subject.Request = t
	}
	if current := s.published(); current != nil {
		subject.Nonce = current.Nonce
	} else if newest := s.newest(); newest != nil {
		// Attempts that failed in a row are one operation. What came before them, and was in
		// use or taken away, is not: nobody agreed to another beginning.
		if base := newest.Number - int64(newest.Failures); base > 0 {
			subject.Nonce = "after " + strconv.FormatInt(base, 10)
		}
	}
	return subject
}

// ask returns the request that counts for a demand, nil if there is none, and what is to be
// asked then: one round later than what nobody answered in time.
func (s *situation) ask(demand *Demand, o approval.Operation) (*Ask, *Asked) {
	var latest *Asked
	for i := range s.Consent.Asked {
		a := &s.Consent.Asked[i]
		if a.Reference == demand.Reference && a.Digest == s.subject(o, a.Round).Digest() && (latest == nil || a.Round > latest.Round) {
			latest = a
		}
	}
	round := 0
	if latest != nil {
		round = latest.Round + 1
	}
	ask := &Ask{Reference: demand.Reference, Subject: s.subject(o, round)}
	if current := s.published(); current != nil {
		ask.Follows = current.Number
	}
	return ask, latest
}

// askDeletion asks people about a deletion that somebody has announced. Nothing waits for
// their answer: admission lets the deletion begin when they have agreed.
func askDeletion(s *situation) *Step {
	if s.Credential.DeletionRequestedAt.IsZero() {
		return nil
	}
	// Who is waited for stands in the status and in the request, not in the conditions: what is
	// in use is as well as before.
	quiet := *s
	step, _, _ := quiet.agreement(approval.Delete, "its deletion was requested")
	s.wake(quiet.until)
	return step
}

// holdForApproval keeps a deleted credential as it is until people have agreed, if they must be
// asked. What was retired before by routine goes on being revoked. Nobody can be asked in a namespace
// that is being deleted (hazard C8.11), nor about something that was never begun.
func holdForApproval(s *situation) *Step {
	if !s.Credential.Exists || s.Credential.NamespaceEnding || len(s.Versions) == 0 {
		return nil
	}
	step, waits, agreed := s.agreement(approval.Delete, "the credential is deleted")
	if agreed && !s.Fresh.Has(FactConsent) {
		step = &Step{Action: Look, Needs: FactCredential | FactConsent}
	}
	if step == nil && !waits {
		return nil
	}
	if step != nil {
		return step
	}
	// Until then it is one that lives: what workloads need is not revoked, even if somebody has
	// deleted its version Secret by hand.
	lives := *s
	lives.Credential.Deleting = false
	finish := finishRetirements(&lives)
	s.wake(lives.until)
	if finish != nil {
		return finish
	}
	return s.stop(nil)
}

// DeletionApproval tells how far people have come with the deletion of a credential.
type DeletionApproval string

// The answers.
const (
	// DeletionFree: nobody demands to be asked.
	DeletionFree DeletionApproval = ""
	// DeletionNeeded: people have to be asked, and were not.
	DeletionNeeded DeletionApproval = "Needed"
	// DeletionPending: they were asked.
	DeletionPending DeletionApproval = "Pending"
	// DeletionApproved: they have agreed.
	DeletionApproved DeletionApproval = "Approved"
	// DeletionRejected: somebody has said no.
	DeletionRejected DeletionApproval = "Rejected"
)

// Deletion tells it from what was observed. That people have agreed is said when it is on record:
// answers from the cache prove nothing, and admission believes this word.
func (o Observed) Deletion(now time.Time) DeletionApproval {
	s := &situation{Observed: o, now: now}
	state := DeletionFree
	for _, demand := range s.demands(approval.Delete) {
		_, asked := s.ask(&demand, approval.Delete)
		is := DeletionNeeded
		switch {
		case asked == nil || asked.State == approval.Expired:
		case asked.State == approval.Rejected:
			is = DeletionRejected
		case asked.State == approval.Approved && asked.Recorded:
			is = DeletionApproved
		default:
			is = DeletionPending
		}
		state = worse(state, is)
	}
	return state
}

// worse is what two demands come to: one no is a no, and all must have been asked.
func worse(a, b DeletionApproval) DeletionApproval {
	for _, is := range []DeletionApproval{DeletionRejected, DeletionNeeded, DeletionPending, DeletionApproved} {
		if a == is || b == is {
			return is
		}
	}
	return DeletionFree
}

// over: the time to answer has ended since the answers were read.
func (s *situation) over(a *Asked) bool { return !a.Until.IsZero() && !s.now.Before(a.Until) }

// outdated: people have agreed to a version as the spec was then, and it is another one now.
// What they read is what is done, or nothing is (hazard C8.9).
func (s *situation) outdated(v *Version) bool {
	return v.Agreed != 0 && v.Agreed != s.Credential.Generation
}

func waitsFor(a *Asked) string {
	words := fmt.Sprintf("request %s of %s", a.Name, name(a.Reference))
	if len(a.Missing) > 0 {
		words += ", answers of " + strings.Join(a.Missing, ", ") + " are missing"
	}
	if a.Unproven > 0 {
		words += fmt.Sprintf(", %d approval(s) from before the admission policies were surely in force must be given anew", a.Unproven)
	}
	if !a.Until.IsZero() {
		words += ", until " + text(a.Until)
	}
	return words
}

func name(r approval.Reference) string { return r.Kind + " " + r.Name }
