package centrasitesim

import (
	"fmt"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Behaviour is how this CentraSite behaves where it is not known for certain, and what a
// test wants of it.
type Behaviour struct {
	// HideDetails keeps keys and secrets out of lists. AnswerDetails shows them in the
	// answer to a request.
	HideDetails   bool `json:"hideDetails"`
	AnswerDetails bool `json:"answerDetails"`
	// MakeKeys makes keys and clients of CentraSite's own, whatever a request proposes;
	// else what it proposes is taken.
	MakeKeys bool `json:"makeKeys"`
	// AllowTwins lets one application have two access tokens of a kind; else the second
	// request is 409.
	AllowTwins bool `json:"allowTwins"`
	// ListPending shows requests in the list that nobody has approved yet, and rejected ones.
	ListPending bool `json:"listPending"`
	// BareLists sends arrays without their count.
	BareLists bool `json:"bareLists"`
	// ShortLists makes lists lack what comes after this many entries, without a word; the
	// count stays true. null tells the truth.
	ShortLists *int `json:"shortLists"`
	// SmallElements writes the elements of the Approval Service with a small first letter,
	// and their fields as attributes.
	SmallElements bool `json:"smallElements"`
	// RemarksInActions keeps the remarks of a rejection out of the request.
	RemarksInActions bool `json:"remarksInActions"`
	// WorkLag is how long CentraSite works on what is approved: until then it is an event in
	// progress. DeployLag is how long after that Mediator does not know it.
	WorkLag   simkit.Duration `json:"workLag"`
	DeployLag simkit.Duration `json:"deployLag"`
	// RenewChanges has a renewal make another key.
	RenewChanges bool `json:"renewChanges"`
	// TokenLife is how long OAuth2 access tokens of Mediator live.
	TokenLife simkit.Duration `json:"tokenLife"`
}

// Usual is the behaviour that is likeliest.
func Usual() Behaviour {
	return Behaviour{MakeKeys: true, TokenLife: simkit.Duration(time.Hour)}
}

// clone shares nothing with the original: JSON is decoded into the clone, and the
// decoder writes through pointers.
func (b Behaviour) clone() Behaviour {
	if b.ShortLists != nil {
		most := *b.ShortLists
		b.ShortLists = &most
	}
	return b
}

// check refuses behaviour that the simulator does not know how to play.
func (b Behaviour) check() error {
	if b.TokenLife <= 0 {
		return fmt.Errorf("tokens must live for some time")
	}
	if b.WorkLag < 0 || b.DeployLag < 0 || (b.ShortLists != nil && *b.ShortLists < 0) {
		return fmt.Errorf("lags and shortLists are at least 0")
	}
	return nil
}
