// Package upstreamtest proves that an adapter keeps the contract of the port, against
// a simulator that can fail on either side of a commit and lie. The one idea: what
// must be true of every adapter is written once, as properties that speak only of the
// port and of a ledger that no fault can reach; an adapter brings a Lab and runs them
// all.
//
// Each property returns an error instead of failing a test, so that the suite itself
// is tested: adapters that sin on purpose must be caught (see suite_test.go).
package upstreamtest

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Lab is one simulated upstream with one account on it and one container that
// Claviger may use. A new one starts empty and healthy.
type Lab interface {
	// Open opens the account as a new process would: it remembers nothing of what
	// others learned. Its budget of calls must not be the bottleneck.
	Open() (upstream.Upstream, error)
	// Parameters name the container as a team would.
	Parameters() json.RawMessage
	// Absent are parameters that name something which does not exist, by the word
	// that the message must contain.
	Absent() map[string]json.RawMessage
	// Secrets are the secret values of the login.
	Secrets() []string

	// Arm lets a fault strike every call of this kind until Heal. False means that
	// the upstream has no such call, or that the fault cannot be played on it.
	Arm(Call, Fault) bool
	// Do lets people, or the upstream itself, do something. The request says to which
	// object, where the deed is about one. ErrNotPlayed fails the property.
	Do(deed Deed, request upstream.Request) error
	// Heal ends faults and lies; what people did stays.
	Heal()

	// Live counts live objects with this mark, auxiliary ones left out.
	Live(upstream.Mark) int
	// Issued counts objects that ever had this mark.
	Issued(upstream.Mark) int
	// Total counts all live objects, auxiliary ones and those of others included.
	Total() int
	// Accepts reports whether a workload with this material is served, once the news
	// of every change has spread.
	Accepts(material.Material) bool
}

// Exempter is a Lab of an upstream that cannot have a property of the suite, whatever its
// adapter does.
type Exempter interface {
	// Exempt gives the reasons by the sentences of the properties.
	Exempt() map[string]string
}

// ErrNotPlayed is returned by a Lab that cannot play a deed.
var ErrNotPlayed = errors.New("the simulator does not play this")

// Call is a kind of call that an adapter makes.
type Call string

const (
	// Login is the call that yields the operator's own token.
	Login Call = "login"
	// ReadRealm reads the issuer's own containers.
	ReadRealm Call = "read realm"
	// ReadContainer reads the container that Locate finds and those above it.
	ReadContainer Call = "read container"
	// Create makes an object.
	Create Call = "create"
	// Read reads one object.
	Read Call = "read"
	// List lists objects.
	List Call = "list"
	// Delete ends one object.
	Delete Call = "delete"
	// Prove asks the upstream whether material is right.
	Prove Call = "prove"
	// Use logs in with the material as a workload does.
	Use Call = "use"
)

// Kind says how a fault shows.
type Kind string

const (
	// Refused: an answer with Status in the upstream's own error form, nothing done.
	Refused Kind = "refused"
	// Page: an HTML page with Status, as proxies write it, nothing done.
	Page Kind = "page"
	// Broken: an answer with Status whose whole body is Message, nothing done.
	Broken Kind = "broken"
	// CutBefore: the connection is cut and nothing was done.
	CutBefore Kind = "cut before the commit"
	// CutAfter: everything was done and the connection is cut.
	CutAfter Kind = "cut after the commit"
	// HalfAnswer: everything was done and half of the answer comes.
	HalfAnswer Kind = "half an answer"
	// Slow: everything was done and the answer does not come while the caller waits.
	Slow Kind = "slow"
	// Throttled: 429 with Retry-After.
	Throttled Kind = "throttled"
)

// Fault is one failure.
type Fault struct {
	Kind Kind
	// Status of Refused, Page and Broken.
	Status int
	// Message is what Refused says in its body, and the body of Broken.
	Message string
	// After is what Throttled asks for.
	After time.Duration
}

// Deed is what people, or the upstream, do behind the operator's back.
type Deed string

const (
	// AddForeign: somebody else makes an object in the container.
	AddForeign Deed = "add a foreign object"
	// TakeName: somebody else makes an object with the request's name.
	TakeName Deed = "take the name"
	// TakeID: somebody else makes an object elsewhere with the request's own id.
	TakeID Deed = "take the id"
	// RenameObject: somebody renames the request's object.
	RenameObject Deed = "rename the object"
	// RemoveObject: somebody deletes the request's object.
	RemoveObject Deed = "remove the object"
	// ChangeSecret: somebody gives the request's object another secret.
	ChangeSecret Deed = "change the secret"
	// RenameContainer: somebody renames the container and what parameters name above it.
	RenameContainer Deed = "rename the container"
	// RemoveContainer: somebody deletes the container with all that is in it.
	RemoveContainer Deed = "remove the container"
	// LoseRights: the login may see nothing of the container any more, until Heal.
	LoseRights Deed = "lose rights"
	// ShortenLists: lists lack entries and say nothing of it, until Heal.
	ShortenLists Deed = "shorten lists"
)
