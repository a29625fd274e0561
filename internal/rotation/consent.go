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

// consent tells whether people have agreed to what is due, and asks them if nobody has. It
// says who is waited for; a step, or waits, keeps what is due from being begun.
func (s *situation) consent(d *due) (step *Step, waits bool) {
	demands := s.demands(d)
	if len(demands) == 0 {
		return nil, false
	}
	for i := range demands {
		if why := demands[i].Problem; why != "" {
			s.note(&Problem{Reason: "ApprovalUnavailable", Stalled: true, Message: fmt.Sprintf(
				"%s demands approval and it cannot be given: %s", name(demands[i].Reference), why)}, nil, time.Time{})
			return nil, true
		}
	}
	if s.Fresh.Has(FactConsent) && s.Consent.Doubt != "" {
		s.note(&Problem{Reason: "ApprovalUnavailable", Stalled: true, Message: "approval is demanded and no decision can be believed: " + s.Consent.Doubt},
			nil, s.now.Add(guardRetry))
		return nil, true
	}
	d.consented = true
	var pending []string
	var until time.Time
	for i := range demands {
		ask, asked := s.ask(&demands[i])
		switch {
		case asked == nil, asked.State == approval.Expired, asked.State == approval.Pending && s.over(asked):
			return &Step{Action: AskApproval, Ask: ask, Cause: d.cause, Replaces: ask.Follows, Routine: d.routine, Needs: FactCredential | FactConsent}, true
		case asked.State == approval.Rejected:
			s.note(&Problem{Reason: "ApprovalRejected", Stalled: true, Message: fmt.Sprintf(
				"request %s was rejected: nothing is done until the spec changes or somebody requests a rotation anew", asked.Name)}, nil, time.Time{})
			return nil, true
		case asked.State != approval.Approved:
			pending = append(pending, waitsFor(asked))
			if until.IsZero() || !asked.Until.IsZero() && asked.Until.Before(until) {
				until = asked.Until
			}
		}
	}
	if len(pending) > 0 {
		s.note(nil, &Problem{Reason: "ApprovalPending", Message: fmt.Sprintf("%s waits for people: %s", what(s.operation()), strings.Join(pending, "; "))}, until)
		return nil, true
	}
	return nil, false
}

// demands are those about what is due. What was declared compromised waits for nobody: that
// word needed a right of its own, and each minute counts (hazard C8.10).
func (s *situation) demands(d *due) []Demand {
	current := s.published()
	if d.emergency || current != nil && s.compromised(current) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(s.Consent.Demands), func(demand Demand) bool {
		return !slices.Contains(demand.Operations, s.operation())
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
	if o == approval.Issue {
		return "the first version"
	}
	return "a successor"
}

// subject is what people are asked about now, in a round.
func (s *situation) subject(round int) approval.Subject {
	subject := approval.Subject{
		CredentialUID: s.Credential.UID, Generation: s.Credential.Generation, Operation: s.operation(), Round: round,
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
func (s *situation) ask(demand *Demand) (*Ask, *Asked) {
	var latest *Asked
	for i := range s.Consent.Asked {
		a := &s.Consent.Asked[i]
		if a.Reference == demand.Reference && a.Digest == s.subject(a.Round).Digest() && (latest == nil || a.Round > latest.Round) {
			latest = a
		}
	}
	round := 0
	if latest != nil {
		round = latest.Round + 1
	}
	ask := &Ask{Reference: demand.Reference, Subject: s.subject(round)}
	if current := s.published(); current != nil {
		ask.Follows = current.Number
	}
	return ask, latest
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
