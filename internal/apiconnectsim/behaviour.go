package apiconnectsim

import (
	"fmt"
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Range is a random delay between two ends; equal ends make it fixed.
type Range struct {
	Min simkit.Duration `json:"min"`
	Max simkit.Duration `json:"max"`
}

// Exactly is a fixed delay.
func Exactly(d time.Duration) Range { return Range{Min: simkit.Duration(d), Max: simkit.Duration(d)} }

// Between is a random delay.
func Between(least, most time.Duration) Range {
	return Range{Min: simkit.Duration(least), Max: simkit.Duration(most)}
}

// What client_secret_hashed holds.
const (
	// HashSHA256 is base64(SHA-256(client_secret)), the form that was seen.
	HashSHA256 = "sha256"
	// HashOther is the same length and another value: a client must not conclude
	// from a difference alone that its secret is dead.
	HashOther = "other"
	// HashAbsent leaves the field out.
	HashAbsent = "absent"
)

// Behaviour is how this installation behaves where installations differ, or where
// it is not known for certain how they do.
type Behaviour struct {
	// TokenLife is expires_in of access tokens.
	TokenLife simkit.Duration `json:"tokenLife"`
	// TokenStatus is the status of a granted token: 200 or 201.
	TokenStatus int `json:"tokenStatus"`
	// RefreshTokens says whether refresh tokens are given; RefreshLife how long
	// they live.
	RefreshTokens bool            `json:"refreshTokens"`
	RefreshLife   simkit.Duration `json:"refreshLife"`
	// APIKeyLife is the life of API keys that state none. Keys for multiple uses
	// that state none live for ever.
	APIKeyLife simkit.Duration `json:"apiKeyLife"`

	// Propagation is how long the gateway does not know a new credential or a new
	// secret, RevocationLag how long it still takes one that is gone.
	Propagation   Range `json:"propagation"`
	RevocationLag Range `json:"revocationLag"`
	// UnsubscribedStatus is the gateway's answer to a credential whose app has no
	// subscription: 403 or 401.
	UnsubscribedStatus int `json:"unsubscribedStatus"`
	// RevokePredecessor makes the simulator the villain: the first time that the
	// gateway accepts a credential, every older credential of its app is killed. A
	// judge of rotations that counts no failure then is no judge.
	RevokePredecessor bool `json:"revokePredecessor"`

	// CreateStatus is that of a created credential: 201, 200, or 302 with Location.
	CreateStatus int `json:"createStatus"`
	// DeleteStatus is 200 or 204.
	DeleteStatus int `json:"deleteStatus"`
	// ConflictStatus is 409, or 400 with the same words.
	ConflictStatus int `json:"conflictStatus"`
	// ClientIDConflictFirst reports the client_id where both name and client_id
	// are taken.
	ClientIDConflictFirst bool `json:"clientIDConflictFirst"`
	// VerifyRefusedStatus is the answer of verify-client-secret to a wrong secret:
	// any 4xx.
	VerifyRefusedStatus int `json:"verifyRefusedStatus"`
	// HashForm is HashSHA256, HashOther or HashAbsent.
	HashForm string `json:"hashForm"`
	// MessageAsString sends "message" as a string and not as an array.
	MessageAsString bool `json:"messageAsString"`
	// DuplicateURLs lists an app's first credential twice in app_credential_urls.
	DuplicateURLs bool `json:"duplicateURLs"`
	// HostAliases are host names that urls in answers use beside the real one.
	// They should not resolve, so that a client that follows them fails loudly.
	HostAliases []string `json:"hostAliases"`

	// DefaultPage is the page size without "limit". MaxPage caps what "limit" may
	// ask for, silently; 0 caps nothing.
	DefaultPage int `json:"defaultPage"`
	MaxPage     int `json:"maxPage"`
	// ShortLists makes every list lie: it answers 200 with at most this many
	// entries in all, and with a total_results to match. null tells the truth.
	ShortLists *int `json:"shortLists"`
	// HiddenStatus is the answer for an organization that the login does not see:
	// 404 or 403.
	HiddenStatus int `json:"hiddenStatus"`
	// ForbiddenListsAreEmpty answers a list that the login may not read with 200
	// and no entries, and not with 403.
	ForbiddenListsAreEmpty bool `json:"forbiddenListsAreEmpty"`
	// RateLimit is a limit per login on the platform API; none by default.
	RateLimit simkit.Limit `json:"rateLimit"`
}

// Usual is the behaviour of an installation out of the box, as far as it is known,
// with a gateway that learns at once.
func Usual() Behaviour {
	return Behaviour{
		TokenLife:           simkit.Duration(8 * time.Hour),
		TokenStatus:         200,
		RefreshLife:         simkit.Duration(24 * time.Hour),
		APIKeyLife:          simkit.Duration(5 * time.Minute),
		UnsubscribedStatus:  403,
		CreateStatus:        201,
		DeleteStatus:        200,
		ConflictStatus:      409,
		VerifyRefusedStatus: 400,
		HashForm:            HashSHA256,
		DuplicateURLs:       true,
		HostAliases:         []string{"mgmt.apic.invalid", "cm.apic.invalid"},
		DefaultPage:         50,
		HiddenStatus:        404,
	}
}

// clone shares nothing with the original: JSON is decoded into the clone, and the
// decoder writes through pointers and into slices that are there already.
func (b Behaviour) clone() Behaviour {
	b.HostAliases = slices.Clone(b.HostAliases)
	if b.ShortLists != nil {
		most := *b.ShortLists
		b.ShortLists = &most
	}
	return b
}

// check refuses behaviour that the simulator does not know how to play.
func (b Behaviour) check() error {
	for _, c := range []struct {
		name    string
		value   int
		allowed []int
	}{
		{"tokenStatus", b.TokenStatus, []int{200, 201}},
		{"createStatus", b.CreateStatus, []int{200, 201, 302}},
		{"deleteStatus", b.DeleteStatus, []int{200, 204}},
		{"conflictStatus", b.ConflictStatus, []int{400, 409}},
		{"unsubscribedStatus", b.UnsubscribedStatus, []int{401, 403}},
		{"hiddenStatus", b.HiddenStatus, []int{403, 404}},
	} {
		if !slices.Contains(c.allowed, c.value) {
			return fmt.Errorf("%s is one of %v, not %d", c.name, c.allowed, c.value)
		}
	}
	if b.VerifyRefusedStatus < 400 || b.VerifyRefusedStatus > 499 {
		return fmt.Errorf("verifyRefusedStatus is a 4xx, not %d", b.VerifyRefusedStatus)
	}
	if !slices.Contains([]string{HashSHA256, HashOther, HashAbsent}, b.HashForm) {
		return fmt.Errorf("unknown hashForm %q", b.HashForm)
	}
	if b.TokenLife <= 0 || b.RefreshLife <= 0 || b.APIKeyLife <= 0 {
		return fmt.Errorf("tokens and keys must live for some time")
	}
	if b.DefaultPage < 1 || b.MaxPage < 0 || (b.ShortLists != nil && *b.ShortLists < 0) {
		return fmt.Errorf("defaultPage is at least 1, maxPage and shortLists at least 0")
	}
	for name, r := range map[string]Range{"propagation": b.Propagation, "revocationLag": b.RevocationLag} {
		if r.Min < 0 || r.Max < r.Min {
			return fmt.Errorf("%s: min is at least 0 and max at least min", name)
		}
	}
	return nil
}
