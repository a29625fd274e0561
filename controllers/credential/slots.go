package credential

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// slots counts, per issuer, the credentials that are between intent and
// publication, so that a fleet that becomes due at once is renewed a few at a time
// (hazard H10). What is counted is in the journal: every pass over a credential
// reports what it saw, so a restart loses nothing.
type slots struct {
	mu    sync.Mutex
	taken map[types.UID]map[types.UID]bool
}

func newSlots() *slots { return &slots{taken: map[types.UID]map[types.UID]bool{}} }

// report records whether a credential is between intent and publication.
func (s *slots) report(issuer v1alpha1.Issuer, credential types.UID, underWay bool) {
	if issuer == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !underWay {
		delete(s.taken[issuer.GetUID()], credential)
		return
	}
	s.take(issuer.GetUID(), credential)
}

func (s *slots) take(issuer, credential types.UID) {
	if s.taken[issuer] == nil {
		s.taken[issuer] = map[types.UID]bool{}
	}
	s.taken[issuer][credential] = true
}

// free reports whether the credential holds a slot or could take one.
func (s *slots) free(issuer v1alpha1.Issuer, credential types.UID, limit int) bool {
	if issuer == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken[issuer.GetUID()][credential] || len(s.taken[issuer.GetUID()]) < limit
}

// tryTake takes a slot at the moment of the intent: many workers may have seen the
// same one free.
func (s *slots) tryTake(issuer v1alpha1.Issuer, credential types.UID, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.taken[issuer.GetUID()][credential] && len(s.taken[issuer.GetUID()]) >= limit {
		return false
	}
	s.take(issuer.GetUID(), credential)
	return true
}

// holds reports whether the credential holds a slot of any issuer.
func (s *slots) holds(credential types.UID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, taken := range s.taken {
		if taken[credential] {
			return true
		}
	}
	return false
}

// UnderWay reports whether a version of a credential is between intent and publication, as far
// as this process has looked.
func (r *Reconciler) UnderWay(credential types.UID) bool { return r.slots.holds(credential) }
