package cloudfoundrysim

import (
	"fmt"
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// What the broker does with the next keys.
const (
	// BrokerMakes makes the key.
	BrokerMakes = "makes"
	// BrokerRefuses answers 400: nothing is made.
	BrokerRefuses = "refuses"
	// BrokerFails answers 500, or not in time: whatever it made is the platform's to
	// delete, out of everybody's sight.
	BrokerFails = "fails"
	// BrokerHangs leaves the row in its first state until a cleanup job sets it to
	// failed, BrokerTime later.
	BrokerHangs = "hangs"
)

// Behaviour is how this region behaves where it is not known for certain, and what a
// test wants of it.
type Behaviour struct {
	// TokenLife is expires_in of the UAA.
	TokenLife simkit.Duration `json:"tokenLife"`
	// Broker is one of the constants above.
	Broker string `json:"broker"`
	// BrokerTime is how long the broker takes for a key; Async tells that it is polled.
	BrokerTime simkit.Duration `json:"brokerTime"`
	Async      bool            `json:"async"`
	// DeletesFail is how many deletions the broker refuses.
	DeletesFail int `json:"deletesFail"`
	// FailedNamesStay is an older region: a key whose creation failed keeps its name.
	FailedNamesStay bool `json:"failedNamesStay"`
	// Korifi refuses metadata at creation and tells less of jobs.
	Korifi bool `json:"korifi"`
	// RequestsPerHour is the limit of one user; 0 limits nothing.
	RequestsPerHour int `json:"requestsPerHour"`
	// Propagation is how long the token endpoint does not know a new key.
	Propagation simkit.Duration `json:"propagation"`
	// KeysPerInstance is the broker's limit.
	KeysPerInstance int `json:"keysPerInstance"`
	// InstanceBroker is one of the constants above, for instances, and InstanceTime is how long
	// the broker takes for one.
	InstanceBroker string          `json:"instanceBroker"`
	InstanceTime   simkit.Duration `json:"instanceTime"`
	// InstancesPerSpace is the space's quota; 0 limits nothing.
	InstancesPerSpace int `json:"instancesPerSpace"`
	// Withheld are names of plans that the space may not use.
	Withheld []string `json:"withheld"`
	// LateMetadata: metadata that comes with parameters is written when the broker has taken them.
	LateMetadata bool `json:"lateMetadata"`
	// Retrievable: the offering shows the parameters of its instances.
	Retrievable bool `json:"retrievable"`
	// RoleDelay is how long a role that an instance is given later is unknown to the API.
	RoleDelay simkit.Duration `json:"roleDelay"`
	// ShortLists makes lists lack what comes after this many entries; the totals stay
	// true. null tells the truth.
	ShortLists *int `json:"shortLists"`
	// RevokePredecessor makes the simulator the villain: older keys of an instance end
	// when a newer one is used for the first time.
	RevokePredecessor bool `json:"revokePredecessor"`
}

// Usual is the behaviour as far as it is known.
func Usual() Behaviour {
	return Behaviour{TokenLife: simkit.Duration(1199 * time.Second), Broker: BrokerMakes, KeysPerInstance: 1000, InstanceBroker: BrokerMakes}
}

func (b Behaviour) clone() Behaviour {
	if b.ShortLists != nil {
		most := *b.ShortLists
		b.ShortLists = &most
	}
	b.Withheld = slices.Clone(b.Withheld)
	return b
}

// check refuses behaviour that the simulator does not know how to play.
func (b Behaviour) check() error {
	for _, broker := range []string{b.Broker, b.InstanceBroker} {
		if !slices.Contains([]string{BrokerMakes, BrokerRefuses, BrokerFails, BrokerHangs}, broker) {
			return fmt.Errorf("broker %q is none of those that are played", broker)
		}
	}
	if b.TokenLife <= 0 || b.KeysPerInstance <= 0 {
		return fmt.Errorf("tokenLife and keysPerInstance are more than 0")
	}
	if b.BrokerTime < 0 || b.Propagation < 0 || b.RequestsPerHour < 0 || b.DeletesFail < 0 || b.InstanceTime < 0 || b.InstancesPerSpace < 0 || b.RoleDelay < 0 || (b.ShortLists != nil && *b.ShortLists < 0) {
		return fmt.Errorf("times, limits and shortLists are at least 0")
	}
	return nil
}
