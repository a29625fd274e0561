package apiconnect

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
)

// The forms of the wire. Every field may be missing, and none is trusted in size or
// content before it is used.

// named is what organisations, catalogs and apps have in common.
type named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// app as it is read alone.
type app struct {
	named
	// CredentialURLs may hold an address twice, and is nil where a version of the
	// platform does not tell.
	CredentialURLs []string `json:"app_credential_urls"`
}

// credential as it is read; its secret is told only by the answer that made it, and is
// not decoded.
type credential struct {
	named
	ClientID         string    `json:"client_id"`
	ClientSecretHash string    `json:"client_secret_hashed"`
	CreatedAt        timestamp `json:"created_at"`
	AppURL           string    `json:"app_url"`
}

func (c credential) identity() string { return c.ID }
func (n named) identity() string      { return n.ID }

// page is one page of a list. Total is a pointer, because an object without it is no
// list at all, and no empty one either.
type page[T any] struct {
	Total   *int `json:"total_results"`
	Results []T  `json:"results"`
}

// newCredential is the body that makes a credential. The name is always sent: with a
// title alone the platform derives one and numbers it, and a repeat makes a second
// object.
type newCredential struct {
	Name         string `json:"name"`
	Title        string `json:"title"`
	Summary      string `json:"summary"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

// newName is the body that renames a credential. What is left out stays as it is.
type newName struct {
	Name  string `json:"name"`
	Title string `json:"title"`
}

// clientPair is the body of verify-client-secret.
type clientPair struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

// tokenAnswer is the answer of a login.
type tokenAnswer struct {
	AccessToken  string  `json:"access_token"`
	ExpiresIn    float64 `json:"expires_in"`
	RefreshToken string  `json:"refresh_token"`
}

// problem is the body of an error.
type problem struct {
	Message text `json:"message"`
	// Error and Description are the OAuth form, which token endpoints may use.
	Error       text `json:"error"`
	Description text `json:"error_description"`
}

// text is a string that some versions send as a list of strings.
type text string

// UnmarshalJSON takes what can be read and leaves out the rest: an odd message must
// not turn a refusal into something unreadable.
func (t *text) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*t = text(one)
		return nil
	}
	var many []json.RawMessage
	_ = json.Unmarshal(data, &many) // no list either: the text stays empty
	var parts []string
	for _, raw := range many {
		if json.Unmarshal(raw, &one) == nil && one != "" {
			parts = append(parts, one)
		}
	}
	*t = text(strings.Join(parts, "; "))
	return nil
}

// timestamp is a time that may be missing or odd, and is then zero.
type timestamp struct{ time.Time }

// UnmarshalJSON never fails: a time is told to people, nothing is decided by it.
func (t *timestamp) UnmarshalJSON(data []byte) error {
	var value string
	if json.Unmarshal(data, &value) == nil {
		if parsed, err := time.Parse(time.RFC3339, value); err == nil {
			t.Time = parsed.UTC()
		}
	}
	return nil
}

// errNoJSON stands for every failure of decoding: the library's own words may quote
// values.
var errNoJSON = errors.New("it is no JSON of the expected form")

// decode reads an answer whole.
func decode(body []byte, into any) error {
	if json.Unmarshal(body, into) != nil {
		return errNoJSON
	}
	return nil
}

// messageOf finds the words of an error's body, or none.
func messageOf(body []byte) string {
	var p problem
	if decode(body, &p) != nil {
		return ""
	}
	for _, candidate := range []text{p.Message, p.Description, p.Error} {
		if candidate != "" {
			return string(candidate)
		}
	}
	return ""
}

// hashOf is how the platform shows a secret that it does not show.
func hashOf(secret material.Secret) string {
	sum := sha256.Sum256([]byte(secret.Reveal()))
	return base64.StdEncoding.EncodeToString(sum[:])
}
