package rotation

import "time"

// Urgency orders the credentials that wait to be looked at: the higher one goes first.
type Urgency int

// The urgencies.
const (
	// ByRoutine is what age and expiry ask for. What an operator finds when it starts comes
	// after that.
	ByRoutine Urgency = 0
	// OnRequest is what a person waits for: a new credential, a rotation, a rollback, a deletion.
	OnRequest Urgency = 50
	// Emergency is something declared compromised that is not revoked yet, and what was renewed in
	// place while the Secret holds what that has ended.
	Emergency Urgency = 100
)

// UrgencyOf tells how soon a credential is to be looked at again.
func UrgencyOf(o Observed, now time.Time) Urgency {
	s := &situation{Observed: o, now: now}
	for i := range s.Versions {
		v := &s.Versions[i]
		dead := v.Number == s.Target.Published && (v.ended() || s.endedBy(v) != nil)
		if dead || !v.Revoked && s.compromised(v) {
			return Emergency
		}
	}
	if s.ending() || s.published() == nil || s.requested() || s.open(s.Credential.RollbackRequestedAt) && s.unanswered(s.Credential.RollbackRequestedAt) {
		return OnRequest
	}
	return ByRoutine
}
