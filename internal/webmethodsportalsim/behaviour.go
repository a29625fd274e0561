package webmethodsportalsim

import (
	"fmt"
	"slices"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Forms that are not known for certain.
const (
	// CountTotal: the count of a list is that of all its pages; CountPage: of this page.
	CountTotal = "total"
	CountPage  = "page"

	// ExpiryMillis, ExpiryText and ExpiryGateway are ways to write when a key ends: a
	// number of milliseconds, RFC 3339, or as the gateway's pages write it.
	ExpiryMillis  = "millis"
	ExpiryText    = "text"
	ExpiryGateway = "gateway"

	// WordsInRequest, WordsInTrace and WordsNowhere say where a reviewer's words can be
	// read.
	WordsInRequest = "request"
	WordsInTrace   = "trace"
	WordsNowhere   = "nowhere"

	// RefusesByStatus answers 401 to a key that is not known, RefusesByText 500 with words.
	RefusesByStatus = "status"
	RefusesByText   = "text"
)

// Behaviour is how this portal behaves where it is not known for certain, and what a test
// wants of it.
type Behaviour struct {
	// CreationNeedsApproval and DeletionNeedsApproval: a person decides requests of that
	// type. While deletions need approval, DELETE of an application is refused.
	CreationNeedsApproval bool `json:"creationNeedsApproval"`
	DeletionNeedsApproval bool `json:"deletionNeedsApproval"`
	// Stages are what a request goes through after it was approved, one further at each
	// read of it, before it is COMPLETED.
	Stages []string `json:"stages"`
	// FailNext is how many requests end FAILED the next time they would be COMPLETED.
	FailNext int `json:"failNext"`
	// ApplicationLater: the application exists only once the request was approved, and
	// before that the request names none. ContextHidden: requests do not show what they
	// were made with.
	ApplicationLater bool `json:"applicationLater"`
	ContextHidden    bool `json:"contextHidden"`
	// DescriptionLost: an application does not get the description of its request.
	DescriptionLost bool `json:"descriptionLost"`
	// UniqueNames: nobody may have the name of another application.
	UniqueNames bool `json:"uniqueNames"`
	// WordsIn says where the words of a reviewer are.
	WordsIn string `json:"wordsIn"`

	// PageSize is the most that a page holds. FirstPage is the number of the first one, 0
	// or 1; a number below it means the first. NoLinks leaves out all links.
	PageSize  int    `json:"pageSize"`
	FirstPage int    `json:"firstPage"`
	NoLinks   bool   `json:"noLinks"`
	CountIs   string `json:"countIs"`
	// ShortLists makes lists lack what comes after this many entries of a page; the count
	// stays true. null tells the truth.
	ShortLists *int `json:"shortLists"`

	// KeyLife is how long the gateway takes a key; 0 for ever. ExpiryAs is how the portal
	// writes it.
	KeyLife  simkit.Duration `json:"keyLife"`
	ExpiryAs string          `json:"expiryAs"`
	// KeyLag is how long the gateway does not know a new key.
	KeyLag simkit.Duration `json:"keyLag"`
	// RefusesBy is how the gateway refuses a key.
	RefusesBy string `json:"refusesBy"`
}

// Usual is the behaviour as far as it is known.
func Usual() Behaviour {
	return Behaviour{
		Stages: []string{statusWaiting}, WordsIn: WordsInRequest, PageSize: 100, CountIs: CountTotal,
		ExpiryAs: ExpiryMillis, RefusesBy: RefusesByStatus,
	}
}

// clone shares nothing with the original: JSON is decoded into the clone, and the decoder
// writes through pointers.
func (b Behaviour) clone() Behaviour {
	b.Stages = slices.Clone(b.Stages)
	if b.ShortLists != nil {
		most := *b.ShortLists
		b.ShortLists = &most
	}
	return b
}

// check refuses behaviour that the simulator does not know how to play.
func (b Behaviour) check() error {
	for _, c := range []struct {
		name, value string
		allowed     []string
	}{
		{"wordsIn", b.WordsIn, []string{WordsInRequest, WordsInTrace, WordsNowhere}},
		{"countIs", b.CountIs, []string{CountTotal, CountPage}},
		{"expiryAs", b.ExpiryAs, []string{ExpiryMillis, ExpiryText, ExpiryGateway}},
		{"refusesBy", b.RefusesBy, []string{RefusesByStatus, RefusesByText}},
	} {
		if !slices.Contains(c.allowed, c.value) {
			return fmt.Errorf("%s is one of %v, not %q", c.name, c.allowed, c.value)
		}
	}
	if b.PageSize < 1 || b.FirstPage < 0 || b.FirstPage > 1 || b.FailNext < 0 || b.KeyLife < 0 || b.KeyLag < 0 || b.ShortLists != nil && *b.ShortLists < 0 {
		return fmt.Errorf("pageSize is at least 1, firstPage 0 or 1, and failNext, keyLife, keyLag and shortLists are at least 0")
	}
	return nil
}
