// Package upstream is the port between Claviger and the systems that own
// credentials. The one idea: an adapter says what it can do as data
// (Capabilities) and does four small things; everything that must be right about
// order, crashes and lost answers is decided once, outside, for all adapters.
//
// Adapters import this package and their protocol's library, nothing else of the
// project. They classify every failure once, as an *Error; no caller ever sees an
// HTTP status.
package upstream

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
)

// Class says who makes the material of a credential and so what a lost answer
// costs. See the table in docs/design.md, "creation classes".
type Class string

const (
	// WriteAhead: we make the material and hold it before the call; after a lost
	// answer the same bytes are sent again.
	WriteAhead Class = "WriteAhead"
	// Readable: the upstream makes it and shows it again on request.
	Readable Class = "Readable"
	// ShownOnce: the upstream makes it and shows it once; what cannot be used is
	// found by its mark and revoked.
	ShownOnce Class = "ShownOnce"
	// GrantOnly: the upstream makes it; a single one cannot be addressed.
	GrantOnly Class = "GrantOnly"
	// Blind: the upstream makes it; nothing can be listed.
	Blind Class = "Blind"
)

// Capabilities are what the planner reasons about. They are constants of an
// adapter as it is configured: asking for them costs no call.
type Capabilities struct {
	// Class is the creation class.
	Class Class
	// UniqueNames: a second create with the same name or id is refused, so a
	// repeat does no harm and a claim may be taken over at once.
	UniqueNames bool
	// Overlap: two versions may be valid side by side. Otherwise each one that is made ends the
	// one before, and InPlace is true.
	Overlap bool
	// InPlace: a version can be made so that it takes the place of another one, which ends with
	// it. See Request.Replaces.
	InPlace bool
	// MaxLive is how many live credentials one container takes, entries of others
	// included; 0 means no limit is known.
	MaxLive int
	// Unlisted: List does not show single versions, so that one is missing from it says
	// nothing.
	Unlisted bool
	// Settle is how long after the deadline of a call without an answer nothing
	// may be concluded from not finding its effect.
	Settle time.Duration
	// VerifyTimeout is how long definite refusals of new material are patience and
	// not failure, unless a policy says otherwise.
	VerifyTimeout time.Duration
}

// Mark makes an upstream object recognisable: 32 lower-case hex digits, the first
// 16 from the credential's identity, the last 16 from the version's nonce. It
// serves to find an object, never alone to prove whose it is.
type Mark string

// Owner returns the half of the mark that all versions of one credential share.
func (m Mark) Owner() string {
	if len(m) != 32 {
		return ""
	}
	return string(m[:16])
}

// Owner selects what List returns.
type Owner struct {
	// Container limits the listing to one container; empty means everything that
	// the issuer's login can see.
	Container string
	// Mark limits it to objects whose mark has this owner half; empty means all
	// that bear a mark of our shape.
	Mark string
}

// Found is an object that bears a mark of our shape.
type Found struct {
	// ID is the upstream's own immutable id.
	ID string
	// Name is the upstream's name of it. People may change it.
	Name string
	// Mark as it was read.
	Mark Mark
	// Container where it lives, as Locate would name it.
	Container string
	// CreatedAt by the upstream's clock; zero if it tells none.
	CreatedAt time.Time
	// SecretHash is base64(SHA-256(secret)) if the upstream tells it, else empty.
	SecretHash string
}

// Listing is the answer of List.
type Listing struct {
	// Found are the marked objects.
	Found []Found
	// Total counts every object of the container, those of others included. It is
	// meant for MaxLive.
	Total int
	// Places are those that bear an owner, of a listing of everything that the login can see.
	// Only a Provisioner knows any.
	Places []FoundPlace
}

// Request asks for one version. The same Request is sent again after a lost
// answer.
type Request struct {
	// Parameters is the credential's one-of member as JSON.
	Parameters json.RawMessage
	// Container is where to create it, as Locate returned it.
	Container string
	// Name for the new object, never used before. At most 32 characters.
	Name string
	// Title for people, for upstreams that have one.
	Title string
	// Mark for the new object.
	Mark Mark
	// Number is the version's number, for titles and labels that people read.
	Number int64
	// Material is what the Drafter made before the call: complete for class WriteAhead,
	// a private key or nothing otherwise.
	Material material.Material
	// ID and SecretHandle are what an earlier answer to this request has told, while the
	// upstream still works on it; empty otherwise.
	ID           string
	SecretHandle material.Secret
	// Repeat: an earlier call for this request may have reached the upstream, so what is
	// there is looked up before anything is made.
	Repeat bool
	// Replaces is the version whose place the new one is to take, with all that is known of it;
	// nil for an object of its own. Only adapters with InPlace are given one. Where it cannot be
	// taken, and nothing was ended, an object of its own is made instead, if versions overlap.
	Replaces *Handle
}

// Issued is the answer of Issue. Together with an error of class Pending or
// AwaitingUpstreamApproval its ID and SecretHandle tell what was begun: they are written
// down before anything else happens and come back in the next Request, so nothing is
// asked for twice.
type Issued struct {
	// Material as the upstream accepted or made it, the drafted part included.
	Material material.Material
	// ID is the upstream's own public id of what was made; empty if the request's name or
	// mark is all that it takes to find it again.
	ID string
	// SecretHandle is what Revoke needs and must not be public: a registration token, a
	// refresh token. Empty if there is none.
	SecretHandle material.Secret
	// ExpiresAt is when the upstream ends it by itself; zero means never.
	ExpiresAt time.Time
	// Replaced: it has taken the place of Request.Replaces, which is dead from then on. The two may
	// be one thing to the upstream, so Revoke of the dead one is not called any more.
	Replaced bool
}

// Handle names a version for Revoke and Verify.
type Handle struct {
	// Parameters is the credential's one-of member as JSON.
	Parameters json.RawMessage
	// Container, Name, Mark and Number as they were requested.
	Container string
	Name      string
	Mark      Mark
	Number    int64
	// Material is what is known of it: all of it once Issue was answered, else what was
	// drafted.
	Material material.Material
	// ID, SecretHandle and ExpiresAt as Issue told them. Without an ID, where Issue would
	// have told one, the answer was lost: all that bears the name or the mark is meant.
	ID           string
	SecretHandle material.Secret
	ExpiresAt    time.Time
}

// LogValue keeps handles short in logs; the material redacts itself anyway.
func (h Handle) LogValue() slog.Value {
	return slog.GroupValue(slog.String("container", h.Container), slog.String("name", h.Name))
}

// Upstream is one account on one upstream. It is safe for concurrent use and
// shared by all credentials of an issuer. Every method returns either nil or an
// *Error.
type Upstream interface {
	// Capabilities does no I/O.
	Capabilities() Capabilities
	// Check logs in and reads the issuer's own containers (organisation,
	// catalogue), and returns them by immutable id, as the common beginning of
	// every container that Locate returns. It is how an issuer is found healthy
	// and how a moved one is noticed.
	Check(ctx context.Context) (realm string, err error)
	// Locate resolves what a person named (consumer organisation, app) to a
	// container of immutable ids. NotFound says which part does not exist.
	Locate(ctx context.Context, parameters json.RawMessage) (container string, err error)
	// List returns what bears a mark of our shape. A listing that may be short
	// (a page that failed, a total that does not fit) is an error, never a
	// shorter list.
	List(ctx context.Context, owner Owner) (Listing, error)
	// Issue makes sure that the requested version exists. For classes WriteAhead
	// and Readable the same Request twice yields one object; the others are called
	// at most once per claimed attempt. OutcomeUnknown means sent, no answer.
	Issue(ctx context.Context, request Request) (Issued, error)
	// Revoke ends one version. It re-reads the identity of what it is about to
	// delete and touches nothing that is not this handle's. NotFound says that nothing
	// of it is there, and proven so by reading its container by immutable ids; that is
	// where a revoked version ends, and after a lost answer it is believed the second
	// time only (hazard C4). Pending says that the upstream works on it.
	Revoke(ctx context.Context, handle Handle) error
}

// Drafter makes material here, before the call: it is in the journal before the
// upstream hears of it. Class WriteAhead needs one, and its draft is complete; others may
// draft a private key. The request has everything but Material. Draft does no I/O, and
// random is its only source of randomness. Its error is InvalidSpec.
type Drafter interface {
	Draft(request Request, random io.Reader) (material.Material, error)
}

// Adopter finds a credential that exists upstream already by its material, so that it can
// be taken over. Found has its ID set. NotFound says that the container has none such;
// nothing is changed upstream.
type Adopter interface {
	Adopt(ctx context.Context, request Request) (Issued, error)
}

// Directory is implemented where the upstream knows whom its places belong to, for those who
// want to be told about a credential.
type Directory interface {
	// ReadOwners reads whom all places of the account belong to. A place that somebody may not
	// see has no owner.
	ReadOwners(ctx context.Context) error
	// OwnerOf returns the mail address of whom the place belongs to that a credential's parameters
	// name, as ReadOwners found it last; empty if it is not known. It does no I/O.
	OwnerOf(parameters json.RawMessage) string
}

// Verdict is what a verification found.
type Verdict struct {
	// Accepted: the upstream takes the material.
	Accepted bool
	// Detail says in a few words what was tried and, on refusal, what was answered.
	// It goes to conditions and must hold nothing secret.
	Detail string
	// Patience is how long this refusal may last for a healthy credential, where that is
	// longer than Capabilities.VerifyTimeout: a right that is cached for an hour.
	Patience time.Duration
}

// Verifier proves that material logs in. A definite refusal is a Verdict; that
// nothing could be found out (unreachable, throttled, 5xx) is an error, and never
// counts against the material (hazard H4).
type Verifier interface {
	Verify(ctx context.Context, handle Handle) (Verdict, error)
}

// Driver makes Upstreams of one kind.
type Driver interface {
	// Member is the name of the one-of member that selects this driver, for
	// example "ibmAPIConnect".
	Member() string
	// Open checks the settings and does no I/O. A bad setting is InvalidSpec, and
	// its message is shown to people.
	Open(settings Settings) (Upstream, error)
}

// Shaper is a Driver that says, without an account and without a call, which fields the
// material of a credential will have. A template is checked with it before anything is
// issued. The zero Shape says that the parameters do not tell.
type Shaper interface {
	Shape(parameters json.RawMessage) material.Shape
}

// Settings configure one account.
type Settings struct {
	// Parameters is the issuer's one-of member as JSON.
	Parameters json.RawMessage
	// Login is the data of the login Secret.
	Login map[string]material.Secret
	// Token returns a token of the service account that the login names, valid for some
	// minutes at least; nil if it names none. Its error is an *Error. It is asked anew for
	// each login, because tokens are short-lived.
	Token func(context.Context) (material.Secret, error)
	// Transport carries the calls; see NewTransport. It already limits the rate,
	// the size of answers and the addresses that may be dialled.
	Transport TransportOptions
}
