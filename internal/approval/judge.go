package approval

import (
	"cmp"
	"slices"
	"time"
)

// State is how far an operation has come with people.
type State string

// The states.
const (
	// Pending: not enough have agreed, and nobody has said no.
	Pending State = "Pending"
	// Approved: enough have agreed, and nobody has said no.
	Approved State = "Approved"
	// Rejected: somebody has said no. It stays so.
	Rejected State = "Rejected"
	// Expired: the time to answer is over, and not enough have agreed.
	Expired State = "Expired"
)

// Verdict is what the decisions on a request come to.
type Verdict struct {
	State State
	// Counted are the decisions that count, oldest first.
	Counted []Decision
	// Ignored are those that do not, and why, oldest first.
	Ignored []Ignored
	// Missing are the users or groups whose agreement is still needed, where the quorum names
	// them.
	Missing []string
}

// Ignored is a decision that does not count.
type Ignored struct {
	Decision Decision
	// Why in a few words, for people.
	Why string
}

// Judge counts decisions. Their order does not matter, and one that is given twice counts
// once.
func Judge(r Request, decisions []Decision, now time.Time) Verdict {
	sorted := slices.Clone(decisions)
	slices.SortFunc(sorted, func(a, b Decision) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Name, b.Name))
	})
	var v Verdict
	spoken := map[string]bool{} // whether what a user said first was yes
	rejected := r.Rejected
	for _, d := range sorted {
		why := r.ignores(&d)
		// The first word of a person counts, except that yes may still become no: who has
		// second thoughts while there is time must be heard, and a no must not be withdrawn.
		if before, again := spoken[d.Approver]; why == "" && again && (!before || d.Approves) {
			why = "this user has decided already"
		}
		if why != "" {
			v.Ignored = append(v.Ignored, Ignored{d, why})
			continue
		}
		spoken[d.Approver] = d.Approves
		rejected = rejected || !d.Approves
		v.Counted = append(v.Counted, d)
	}
	var met bool
	met, v.Missing = r.met(v.Counted)
	switch {
	case rejected:
		v.State = Rejected
	case met:
		v.State = Approved
	case !now.Before(r.ExpiresAt):
		v.State = Expired
	default:
		v.State = Pending
	}
	return v
}

// ignores says why a decision does not count; empty if it does.
func (r *Request) ignores(d *Decision) string {
	switch {
	case r.UID == "" || d.RequestUID != r.UID:
		return "it is about another request"
	case d.Reference != r.Reference:
		return "it was made with the right to approve for something else"
	case d.Approver == "":
		return "it names nobody"
	case d.At.IsZero() || !d.At.Before(r.ExpiresAt):
		return "it came after the request had expired"
	case d.Approves && d.Approver == r.RequestedBy:
		// A requester who says no is only changing his mind.
		return "who asks may not approve"
	case !r.asks(d):
		return "neither the user nor a group of the user was asked"
	}
	return ""
}

// asks reports whether somebody's word is wanted. Without a list it is that of everybody who
// has the right to approve, which admission has proven.
func (r *Request) asks(d *Decision) bool {
	if len(r.Approvers) == 0 && len(r.Groups) == 0 {
		return true
	}
	return slices.Contains(r.Approvers, d.Approver) || slices.ContainsFunc(d.Groups, func(group string) bool { return slices.Contains(r.Groups, group) })
}

// met reports whether the quorum is reached, and who is missing. What it does not know is
// never reached.
func (r *Request) met(counted []Decision) (met bool, missing []string) {
	switch r.Quorum {
	case Any:
		return slices.ContainsFunc(counted, func(d Decision) bool { return d.Approves }), nil
	case All:
		return r.everybody(counted)
	case EachGroup:
		for _, group := range r.Groups {
			if !slices.ContainsFunc(counted, func(d Decision) bool { return d.Approves && slices.Contains(d.Groups, group) }) {
				missing = append(missing, group)
			}
		}
		return len(r.Groups) > 0 && len(missing) == 0, missing
	}
	return false, nil
}

// everybody leaves out the requester, who has agreed by asking and may not approve. If nobody
// else is listed the quorum is never reached: one person alone is no second pair of eyes.
func (r *Request) everybody(counted []Decision) (met bool, missing []string) {
	others := 0
	for _, user := range r.Approvers {
		if user == r.RequestedBy {
			continue
		}
		others++
		if !slices.ContainsFunc(counted, func(d Decision) bool { return d.Approves && d.Approver == user }) {
			missing = append(missing, user)
		}
	}
	return others > 0 && len(missing) == 0, missing
}

// Together is the state of an operation for which several demands have asked: it is approved
// only if all are. Without any demand it is approved at once.
func Together(states ...State) State {
	worst := Approved
	for _, state := range states {
		if severity(state) > severity(worst) {
			worst = state
		}
	}
	return worst
}

func severity(s State) int {
	switch s {
	case Approved:
		return 0
	case Pending:
		return 1
	case Expired:
		return 2
	case Rejected:
		return 3
	}
	return 1 // what is not known is not approved
}
