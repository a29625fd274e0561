package credential

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// memory is what this process remembers of its own calls. All of it may be lost at
// any moment: then a call is repeated, and no outcome changes.
type memory struct {
	mu          sync.Mutex
	versions    map[types.UID]recollection
	credentials map[types.UID]setback
	goneSince   map[types.NamespacedName]time.Time
	projected   map[types.UID]projection
	pruned      time.Time
	requests    map[types.UID]string
	sightings   map[types.UID]sighting
	marches     map[types.UID]march
	unrendered  map[types.UID]setback
	blind       map[types.UID]blindness
	places      map[types.UID]placing
}

// projection is the last status that was written, when, and the resource version that it has.
type projection struct {
	became string
	at     time.Time
	status v1alpha1.APIClientCredentialStatus
}

// lag is how long a cache may show what was there before the last write. A resource version
// that is older for longer is that of a database that was restored.
const lag = time.Minute

// follows reports whether the cache still shows what was there before the status was written.
func (p projection) follows(resourceVersion string, now time.Time) bool {
	order, err := resourceversion.CompareResourceVersion(resourceVersion, p.became)
	return err == nil && order < 0 && now.Sub(p.at) < lag
}

// recollection is about one version.
type recollection struct {
	answered bool
	// clean: this process made the intent, and no call for it is without an answer.
	// lostAttempt is the claim whose last call is.
	clean       bool
	lostAttempt int
	// answer waits to be written into the journal; nil if none does.
	answer      *journal.Answer
	absentSince time.Time
	patience    time.Duration

	accepted     bool
	refusal      string
	refusedSince time.Time
	refusedAt    time.Time
	condemned    string
	declined     bool
	// doubt is what is still to be looked into; seenDoubt is the verdict's last word.
	doubt     string
	seenDoubt string
	revoked   bool
	// copyGoneSince is when its own Secret was first seen to be gone, after the version was retired;
	// copying is what became of the last attempt to write one.
	copyGoneSince time.Time
	copying       setback
	// unshowable is the rendering in which it cannot stand beside the published version.
	unshowable string
	// unfit: a retained version that the upstream does not accept any more.
	unfit bool
	setback
}

// setback is what went wrong last, and when to try again.
type setback struct {
	failures int
	// awaited: nothing failed; the upstream works on it, or a person there has to.
	awaited   bool
	notBefore time.Time
	trouble   *rotation.Problem
	// generation of the credential that it is about: another spec is another attempt.
	generation int64
}

func newMemory() *memory {
	return &memory{
		versions:    map[types.UID]recollection{},
		credentials: map[types.UID]setback{},
		goneSince:   map[types.NamespacedName]time.Time{},
		projected:   map[types.UID]projection{},
		requests:    map[types.UID]string{},
		sightings:   map[types.UID]sighting{},
		marches:     map[types.UID]march{},
		unrendered:  map[types.UID]setback{},
		blind:       map[types.UID]blindness{},
		places:      map[types.UID]placing{},
	}
}

// cannotRender remembers why the target cannot be written as the spec has it.
func (m *memory) cannotRender(uid types.UID, why setback) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unrendered[uid] = why
}

// unrenderable is why the target cannot be written as the spec of that generation has it;
// empty if nothing is known, or if it is to be tried again.
func (m *memory) unrenderable(uid types.UID, generation int64, now time.Time) setback {
	m.mu.Lock()
	defer m.mu.Unlock()
	why, ok := m.unrendered[uid]
	if ok && (why.generation != generation || !now.Before(why.notBefore)) {
		delete(m.unrendered, uid)
		return setback{}
	}
	return why
}

func (m *memory) version(uid types.UID) recollection {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.versions[uid]
}

func (m *memory) remember(uid types.UID, change func(*recollection)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.versions[uid]
	change(&r)
	m.versions[uid] = r
}

func (m *memory) forget(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.versions, uid)
}

func (m *memory) credential(uid types.UID) setback {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.credentials[uid]
}

// setBack remembers what keeps a credential, as its spec is now, from a new version.
func (r *Reconciler) setBack(s *scope, what setback) {
	what.generation = s.credential.Generation
	r.memory.setBack(s.uid, what)
}

func (m *memory) setBack(uid types.UID, s setback) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s == (setback{}) {
		delete(m.credentials, uid)
		return
	}
	m.credentials[uid] = s
}

// written returns the status that the credential has as far as is known: the one
// that was written last, if the cache still shows what came before. Without
// this a cache that lags would have every status written twice.
func (m *memory) written(c *v1alpha1.APIClientCredential, now time.Time) v1alpha1.APIClientCredentialStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p, ok := m.projected[c.UID]; ok && p.follows(c.ResourceVersion, now) {
		return p.status
	}
	return c.Status
}

func (m *memory) wrote(uid types.UID, became string, at time.Time, status v1alpha1.APIClientCredentialStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.projected[uid] = projection{became: became, at: at, status: status}
	if at.Sub(m.pruned) >= lag {
		// The cache shows the others by now: kept, they would be a second copy of every status.
		maps.DeleteFunc(m.projected, func(_ types.UID, p projection) bool { return at.Sub(p.at) >= lag })
		m.pruned = at
	}
}

// requestChanged reports whether the request annotation is another one than when this
// process last looked. The first look only remembers: an old annotation is no news.
func (m *memory) requestChanged(uid types.UID, text string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, known := m.requests[uid]
	m.requests[uid] = text
	return known && before != text
}

// forgetCredential drops what is remembered of a credential that is gone.
func (m *memory) forgetCredential(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.credentials, uid)
	delete(m.projected, uid)
	delete(m.requests, uid)
	delete(m.sightings, uid)
	delete(m.unrendered, uid)
	delete(m.marches, uid)
	delete(m.blind, uid)
	delete(m.places, uid)
}

// firstMissed returns when the credential was first found missing.
func (m *memory) firstMissed(key types.NamespacedName, now time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	since, ok := m.goneSince[key]
	if !ok {
		since = now
		m.goneSince[key] = since
	}
	return since
}

func (m *memory) found(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.goneSince, key)
}
