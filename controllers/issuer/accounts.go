package issuer

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Identity says which issuer an account belongs to.
type Identity struct {
	Kind      string
	Namespace string
	Name      string
	UID       types.UID
	// Upstream is the one-of member that is set, for example "ibmAPIConnect".
	Upstream string
}

// Account is an issuer's account that may be called now.
type Account struct {
	Issuer   Identity
	Upstream upstream.Upstream
	// Realm is the common beginning of the containers that the issuer points to. A
	// version with another one was made elsewhere: nothing may be concluded about it.
	Realm string
	// Terminating: the issuer is being deleted. It issues nothing and revokes
	// everything asked of it (hazard 2.11).
	Terminating bool
	// Login is the resourceVersion of a login Secret that a credential writes, with which the
	// last login worked; empty if a person writes it.
	Login string

	calls, urgent, waiting chan struct{}
}

// shareWait is how long a caller waits for its turn, at most. To come again costs more than a
// call of a healthy upstream takes.
const shareWait = 100 * time.Millisecond

// TryAcquire asks for leave to make one call. A call to an upstream that hangs holds a worker
// for many seconds; no issuer gets more than a quarter of them, and as many wait a moment for
// their turn, so the others go on. ok is false if none is free: come again in a second.
// What is urgent may have one more, so that it does not race with all that is routine.
// Otherwise release must be called once the call is over.
func (a *Account) TryAcquire(urgent bool) (release func(), ok bool) {
	shares := []chan struct{}{a.calls}
	if urgent {
		shares = append(shares, a.urgent)
	}
	for _, share := range shares {
		select {
		case share <- struct{}{}:
			return sync.OnceFunc(func() { <-share }), true
		default:
		}
	}
	select {
	case a.waiting <- struct{}{}:
	default:
		return nil, false
	}
	defer func() { <-a.waiting }()
	timer := time.NewTimer(shareWait) //nolint:forbidigo // a pause in this process, compared with no time of the API server
	defer timer.Stop()
	select {
	case a.calls <- struct{}{}:
		return sync.OnceFunc(func() { <-a.calls }), true
	case <-timer.C:
		return nil, false
	}
}

// State says whether an issuer can be called and, if not, why.
type State struct {
	Usable bool
	// Reason is ReasonIssuerSuspended or ReasonIssuerNotReady; empty while usable.
	Reason string
	// Message is for the conditions of credentials. It changes only with the kind of
	// trouble, never with an upstream's words: ten thousand credentials repeat it.
	Message string
	// Stalled: a person has to change something first.
	Stalled bool
}

// Verdict is what the last pass over an issuer found. It must not be changed.
type Verdict struct {
	// Done: this process has compared the upstream's listing with the journal at
	// least once. Routine renewal and retirement wait for it.
	Done bool
	// Doubts are versions that the listing does not show or shows with another
	// secret, and why in words. A doubt is a reason to verify, never to revoke.
	Doubts map[upstream.Mark]string
	// Places are the managed places that it has seen.
	Places Places
}

// Places are what a listing has shown of managed places.
type Places struct {
	// Asked is when the listing began; zero if it told nothing of places.
	Asked time.Time
	// Applied is what stands on each, by its owner: a digest of what it was made last.
	Applied map[string]string
}

// Accounts are the accounts of all issuers of this process. They are safe for
// concurrent use.
type Accounts struct {
	client            client.Client
	live              client.Reader
	operatorNamespace string
	callsPerIssuer    int

	changed *bell
	recheck *bell

	mu     sync.Mutex
	issuer map[types.UID]*entry
}

// entry is what is published about one issuer.
type entry struct {
	account Account
	state   State
	verdict Verdict
	// dismissed are the hashes that the upstream shows of material which was verified
	// in spite of them: it hashes in another way, and each is verified once only.
	dismissed map[upstream.Mark]string
	// hashes are those of the last listing.
	hashes      map[upstream.Mark]string
	credentials int
	wanted      bool
}

// AccountsOptions configure Accounts.
type AccountsOptions struct {
	// Client reads from the cache and writes; Live reads past every cache.
	Client client.Client
	Live   client.Reader
	// Workers is how many credentials are reconciled at a time.
	Workers int
	// OperatorNamespace is where the operator itself runs. Secrets there never get a
	// finalizer: it would keep the operator from being uninstalled. May be empty.
	OperatorNamespace string
}

// NewAccounts returns an empty pool.
func NewAccounts(options AccountsOptions) *Accounts {
	return &Accounts{
		client:            options.Client,
		live:              options.Live,
		operatorNamespace: options.OperatorNamespace,
		callsPerIssuer:    max(1, options.Workers/4),
		changed:           newBell(),
		recheck:           newBell(),
		issuer:            map[types.UID]*entry{},
	}
}

// Get returns the account of an issuer if it may be called now. A suspended issuer
// has none; State says why.
func (a *Accounts) Get(uid types.UID) (*Account, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.issuer[uid]
	if !ok || !e.state.Usable {
		return nil, false
	}
	account := e.account
	return &account, true
}

// LoggedInWith is the resourceVersion of the login Secret with which the issuer's last login
// worked; empty if this process has seen none.
func (a *Accounts) LoggedInWith(uid types.UID) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.issuer[uid]; ok {
		return e.account.Login
	}
	return ""
}

// State says whether the issuer can be called and, if not, why.
func (a *Accounts) State(uid types.UID) State {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.issuer[uid]; ok && (e.state.Usable || e.state.Reason != "") {
		return e.state
	}
	return State{Reason: v1alpha1.ReasonIssuerNotReady, Message: "The operator has not logged in to the issuer yet."}
}

// Verdict returns what the last pass found.
func (a *Accounts) Verdict(uid types.UID) Verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.issuer[uid]; ok {
		return e.verdict
	}
	return Verdict{}
}

// Dismiss takes back the doubt about a version whose material was verified since.
func (a *Accounts) Dismiss(uid types.UID, mark upstream.Mark) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.issuer[uid]
	if !ok {
		return
	}
	if _, doubted := e.verdict.Doubts[mark]; !doubted {
		return
	}
	// Verdicts have been handed out: a changed one is a new one.
	doubts := maps.Clone(e.verdict.Doubts)
	delete(doubts, mark)
	e.verdict.Doubts = doubts
	if hash := e.hashes[mark]; hash != "" {
		e.dismissed[mark] = hash
	}
}

// Recheck has the login looked at soon. It is for who was just told LoginFailed by a
// call: the issuer says so once, instead of each of its credentials.
func (a *Accounts) Recheck(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.issuer[uid]; ok && !e.wanted {
		e.wanted = true
		a.recheck.ring(e.account.Issuer)
	}
}

// Changed tells of issuers that became usable or unusable, and of verdicts with news.
// It is for one receiver; the objects have namespace, name and UID only.
func (a *Accounts) Changed() <-chan event.GenericEvent { return a.changed.out }

// SlotLimit is how many credentials of an issuer may be between intent and
// publication at a time, by routine: five, or a tenth of them if that is more
// (hazard H10).
func (a *Accounts) SlotLimit(uid types.UID) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	credentials := 0
	if e, ok := a.issuer[uid]; ok {
		credentials = e.credentials
	}
	return max(5, credentials/10)
}

// entryOf returns the entry of an issuer and makes it if there is none. a.mu is held.
func (a *Accounts) entryOf(id Identity) *entry {
	e, ok := a.issuer[id.UID]
	if !ok {
		e = &entry{
			// The same semaphore serves every account that the issuer ever has: a new
			// login does not double what may hang.
			account: Account{
				calls: make(chan struct{}, a.callsPerIssuer), urgent: make(chan struct{}, 1), waiting: make(chan struct{}, a.callsPerIssuer),
			},
			dismissed: map[upstream.Mark]string{},
		}
		a.issuer[id.UID] = e
	}
	e.account.Issuer = id
	return e
}

// publish makes an account's state known.
func (a *Accounts) publish(account Account, state State, credentials int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.entryOf(account.Issuer)
	// A new account of the same state matters too: whoever waits may be told another
	// realm.
	news := e.state != state || e.account.Realm != account.Realm || e.account.Terminating != account.Terminating ||
		e.account.Login != account.Login || e.account.Upstream != account.Upstream // which may have other rights
	account.calls, account.urgent, account.waiting = e.account.calls, e.account.urgent, e.account.waiting
	e.account, e.state, e.credentials = account, state, credentials
	if news {
		a.changed.ring(account.Issuer)
	}
}

// conclude makes a verdict known. hashes are those that the upstream listed.
func (a *Accounts) conclude(id Identity, doubts, hashes map[upstream.Mark]string, places Places) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.entryOf(id)
	news := !e.verdict.Done
	for mark := range doubts {
		if _, known := e.verdict.Doubts[mark]; !known {
			news = true
		}
	}
	maps.DeleteFunc(e.dismissed, func(mark upstream.Mark, hash string) bool { return hashes[mark] != hash })
	// That a place is still not there may be news to its credential, and it alone knows.
	news = news || !places.Asked.IsZero()
	e.verdict, e.hashes = Verdict{Done: true, Doubts: doubts, Places: places}, hashes
	if news {
		a.changed.ring(id)
	}
}

// otherSecret is why a version is doubted whose hash differs.
const otherSecret = "the upstream's listing shows another secret"

// doubt adds a doubt to the verdict of the last pass.
func (a *Accounts) doubt(id Identity, mark upstream.Mark, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.entryOf(id)
	if _, known := e.verdict.Doubts[mark]; known {
		return
	}
	doubts := map[upstream.Mark]string{mark: why}
	maps.Copy(doubts, e.verdict.Doubts)
	e.verdict.Doubts = doubts
	a.changed.ring(id)
}

// dismissals returns the hashes that have been verified to mean nothing.
func (a *Accounts) dismissals(uid types.UID) map[upstream.Mark]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.issuer[uid]; ok {
		return maps.Clone(e.dismissed)
	}
	return nil
}

// wanted reports whether somebody asked for a recheck.
func (a *Accounts) wanted(uid types.UID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.issuer[uid]
	return ok && e.wanted
}

// rechecked answers all requests for a recheck.
func (a *Accounts) rechecked(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.issuer[uid]; ok {
		e.wanted = false
	}
}

// flush sends wake-ups that did not fit earlier.
func (a *Accounts) flush() {
	a.changed.flush()
	a.recheck.flush()
}

// forget drops an issuer that is gone.
func (a *Accounts) forget(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.issuer[uid]; ok {
		delete(a.issuer, uid)
		a.changed.ring(e.account.Issuer)
	}
}

// bellBuffer is how many wake-ups may wait for their receiver.
const bellBuffer = 1024

// bell wakes a controller up. It never blocks; what does not fit is merged by issuer
// and sent with the next ring or flush.
type bell struct {
	mu      sync.Mutex
	waiting map[types.UID]Identity
	out     chan event.GenericEvent
}

func newBell() *bell {
	return &bell{waiting: map[types.UID]Identity{}, out: make(chan event.GenericEvent, bellBuffer)}
}

func (b *bell) ring(id Identity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting[id.UID] = id
	b.send()
}

// flush sends what did not fit earlier.
func (b *bell) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.send()
}

func (b *bell) send() {
	for uid, id := range b.waiting {
		object := &v1alpha1.CredentialIssuer{}
		object.Namespace, object.Name, object.UID = id.Namespace, id.Name, id.UID
		select {
		case b.out <- event.GenericEvent{Object: object}:
			delete(b.waiting, uid)
		default:
			return
		}
	}
}

// String names the issuer for messages.
func (i Identity) String() string { return fmt.Sprintf("%s %s/%s", i.Kind, i.Namespace, i.Name) }
