package servicemanagersim

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// What the broker does with the next bindings.
const (
	// BrokerMakes makes the binding.
	BrokerMakes = "makes"
	// BrokerRefuses answers 400: nothing is made.
	BrokerRefuses = "refuses"
	// BrokerFails answers 500.
	BrokerFails = "fails"
)

// RetryAfterGo is the form of Retry-After that Go's time.Time has without formatting.
const RetryAfterGo = "go"

// Behaviour is how this Service Manager behaves where it is not known for certain, and what a
// test wants of it.
type Behaviour struct {
	// TokenLife is expires_in.
	TokenLife simkit.Duration `json:"tokenLife"`
	// Async answers 202 with an operation where the answer would be 201 or 200.
	Async bool `json:"async"`
	// BrokerTime is how long an operation takes; without Async only the caller feels nothing of
	// it. The first half it is pending, then in progress.
	BrokerTime simkit.Duration `json:"brokerTime"`
	// LateRows: a binding whose operation has begun is not there before the operation is done.
	LateRows bool `json:"lateRows"`
	// Broker is one of the constants above.
	Broker string `json:"broker"`
	// FailedStay: a binding whose creation failed stays, with its name.
	FailedStay bool `json:"failedStay"`
	// DeletesFail is how many deletions the broker refuses.
	DeletesFail int `json:"deletesFail"`
	// Gone is the status for what is not there: 404 or 410.
	Gone int `json:"gone"`
	// NoLastOperations ignores attach_last_operations.
	NoLastOperations bool `json:"noLastOperations"`
	// NoSubaccountLabels leaves out what tells of which subaccount an object is.
	NoSubaccountLabels bool `json:"noSubaccountLabels"`
	// ListsShowCredentials puts credentials into lists, too.
	ListsShowCredentials bool `json:"listsShowCredentials"`
	// PageSize is the most that a page holds, whatever is asked for.
	PageSize int `json:"pageSize"`
	// ShortLists makes lists lack what comes after this many entries; num_items stays true.
	// null tells the truth.
	ShortLists *int `json:"shortLists"`
	// BindingsPerMinute and BindingsPerHour limit the calls about bindings of one client,
	// TotalPerMinute and TotalPerHour all of them; 0 limits nothing.
	BindingsPerMinute int `json:"bindingsPerMinute"`
	BindingsPerHour   int `json:"bindingsPerHour"`
	TotalPerMinute    int `json:"totalPerMinute"`
	TotalPerHour      int `json:"totalPerHour"`
	// RetryAfterForm is one of simkit's, or RetryAfterGo.
	RetryAfterForm string `json:"retryAfterForm"`
	// Unrouted is how many calls the router answers, because the application is not there.
	Unrouted int `json:"unrouted"`
}

// Usual is the behaviour as far as it is known.
func Usual() Behaviour {
	return Behaviour{
		TokenLife: simkit.Duration(43199 * time.Second), Broker: BrokerMakes, FailedStay: true, Gone: http.StatusNotFound, PageSize: 200,
		BindingsPerMinute: 600, BindingsPerHour: 6000, TotalPerMinute: 1000, TotalPerHour: 10000, RetryAfterForm: simkit.RetryAfterDate,
	}
}

func (b Behaviour) clone() Behaviour {
	if b.ShortLists != nil {
		most := *b.ShortLists
		b.ShortLists = &most
	}
	return b
}

// check refuses behaviour that the simulator does not know how to play.
func (b Behaviour) check() error {
	switch {
	case !slices.Contains([]string{BrokerMakes, BrokerRefuses, BrokerFails}, b.Broker):
		return fmt.Errorf("broker %q is none of those that are played", b.Broker)
	case b.Gone != http.StatusNotFound && b.Gone != http.StatusGone:
		return fmt.Errorf("gone is 404 or 410")
	case !slices.Contains([]string{simkit.RetryAfterSeconds, simkit.RetryAfterDate, simkit.RetryAfterNone, RetryAfterGo}, b.RetryAfterForm):
		return fmt.Errorf("form %q of Retry-After is none of those that are played", b.RetryAfterForm)
	case b.TokenLife <= 0 || b.PageSize <= 0:
		return fmt.Errorf("tokenLife and pageSize are more than 0")
	case b.BrokerTime < 0 || b.DeletesFail < 0 || b.Unrouted < 0 || min(b.BindingsPerMinute, b.BindingsPerHour, b.TotalPerMinute, b.TotalPerHour) < 0 || b.ShortLists != nil && *b.ShortLists < 0:
		return fmt.Errorf("times, limits and shortLists are at least 0")
	}
	return nil
}
