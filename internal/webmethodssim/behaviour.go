package webmethodssim

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Forms that differ between sources or are not known.
const (
	// PendingApplication answers a creation that waits with the application that is to be,
	// PendingRequest with a document that has no id, PendingEmpty with no body at all.
	PendingApplication = "application"
	PendingRequest     = "request"
	PendingEmpty       = "empty"

	// StrategiesInStrategies is {"strategies":[…]}, StrategiesInStrategy {"strategy":[…]},
	// StrategiesBare [...].
	StrategiesInStrategies = "strategies"
	StrategiesInStrategy   = "strategy"
	StrategiesBare         = "bare"

	// ApprovalsListed lets the list show all requests, ApprovalsUndecided those that wait,
	// ApprovalsNone none, ApprovalsRefused answers 401.
	ApprovalsListed    = "listed"
	ApprovalsUndecided = "undecided"
	ApprovalsNone      = "none"
	ApprovalsRefused   = "refused"
)

// Behaviour is how this gateway behaves where it is not known for certain, and what a test
// wants of it.
type Behaviour struct {
	// CreatedStatus answers creations and registrations: 200 by the description, 201 by
	// others.
	CreatedStatus int `json:"createdStatus"`
	// DescribedNames writes applications as the description names their fields
	// (applicationID, apiAccessKey) and not as its examples do (id, apiAccessKey_credentials).
	DescribedNames bool `json:"describedNames"`
	// BareReads answers the reading of one object without a wrapper.
	BareReads bool `json:"bareReads"`
	// SearchCapitals writes the kind of hits in capitals; SearchOmitsEmpty leaves it out if
	// there are none.
	SearchCapitals   bool `json:"searchCapitals"`
	SearchOmitsEmpty bool `json:"searchOmitsEmpty"`
	// Strategies is the form of their list.
	Strategies string `json:"strategies"`
	// APIsHidden leaves consumingAPIs out of applications.
	APIsHidden bool `json:"apisHidden"`
	// NoKeyAtCreation: an application has no key until one is asked for.
	NoKeyAtCreation bool `json:"noKeyAtCreation"`
	// KeysRefused answers 400 to every request for a key, as one field report says.
	KeysRefused bool `json:"keysRefused"`
	// Masked shows keys and secrets to their owner only, and takes the caller for nobody's.
	Masked bool `json:"masked"`
	// KeyExpires is the expirationDate that keys show, any JSON; null is never.
	KeyExpires json.RawMessage `json:"keyExpires,omitempty"`
	// NoKillSwitch answers 405 to PATCH; SuspensionHidden leaves isSuspended out.
	NoKillSwitch     bool `json:"noKillSwitch"`
	SuspensionHidden bool `json:"suspensionHidden"`
	// DeletionDetaches takes a strategy that is deleted from its applications.
	DeletionDetaches bool `json:"deletionDetaches"`
	// UniqueNames refuses an application whose name is taken.
	UniqueNames bool `json:"uniqueNames"`
	// MediatorRefusals says what is wrong with a key in a 500, as Mediator does, instead of
	// a 401.
	MediatorRefusals bool `json:"mediatorRefusals"`
	// KeyLag is how long the APIs do not know a new application or strategy.
	KeyLag simkit.Duration `json:"keyLag"`
	// Limit is the budget of one user of the management.
	Limit simkit.Limit `json:"limit"`
	// ShortLists makes lists and searches lack what comes after this many entries, without a
	// word; counts stay true. null tells the truth.
	ShortLists *int `json:"shortLists"`

	// Approve are the events that wait for an approver: createApplication,
	// registerApplication, updateApplication.
	Approve []string `json:"approve"`
	// Pending is how a creation that waits is answered.
	Pending string `json:"pending"`
	// Approvals is what the list of requests shows to the caller.
	Approvals string `json:"approvals"`
}

// Usual is the behaviour as far as it is known.
func Usual() Behaviour {
	return Behaviour{CreatedStatus: 201, Strategies: StrategiesInStrategies, Pending: PendingApplication, Approvals: ApprovalsListed}
}

// clone shares nothing with the original: JSON is decoded into the clone, and the decoder
// writes through pointers.
func (b Behaviour) clone() Behaviour {
	if b.ShortLists != nil {
		most := *b.ShortLists
		b.ShortLists = &most
	}
	b.Approve = slices.Clone(b.Approve)
	b.KeyExpires = slices.Clone(b.KeyExpires)
	return b
}

func (b Behaviour) approves(event string) bool { return slices.Contains(b.Approve, event) }

// check refuses behaviour that the simulator does not know how to play.
func (b Behaviour) check() error {
	if b.CreatedStatus != 200 && b.CreatedStatus != 201 {
		return fmt.Errorf("createdStatus is 200 or 201, not %d", b.CreatedStatus)
	}
	for _, c := range []struct {
		name, value string
		allowed     []string
	}{
		{"strategies", b.Strategies, []string{StrategiesInStrategies, StrategiesInStrategy, StrategiesBare}},
		{"pending", b.Pending, []string{PendingApplication, PendingRequest, PendingEmpty}},
		{"approvals", b.Approvals, []string{ApprovalsListed, ApprovalsUndecided, ApprovalsNone, ApprovalsRefused}},
	} {
		if !slices.Contains(c.allowed, c.value) {
			return fmt.Errorf("%s is one of %v, not %q", c.name, c.allowed, c.value)
		}
	}
	for _, event := range b.Approve {
		if !slices.Contains([]string{eventCreate, eventRegister, eventUpdate}, event) {
			return fmt.Errorf("approve: there is no event %q", event)
		}
	}
	if b.KeyLag < 0 || b.ShortLists != nil && *b.ShortLists < 0 {
		return fmt.Errorf("keyLag and shortLists are at least 0")
	}
	if len(b.KeyExpires) > 0 && !json.Valid(b.KeyExpires) {
		return fmt.Errorf("keyExpires is no JSON")
	}
	return nil
}
