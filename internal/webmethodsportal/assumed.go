package webmethodsportal

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// This file holds everything about the portal's wire that is not in its published
// contract. The contract names the calls, the types and statuses of requests, and the
// fields of an application; it does not say in what order statuses follow, how lists are
// counted, how a moment is written, where a reviewer's words stand, or what a request for
// a deletion holds. Whoever finds out that his release differs changes this file alone.

// Types of requests: contract.
const (
	typeCreation = "APPLICATION_CREATION_REQUEST"
	typeDeletion = "APPLICATION_DELETION_REQUEST"
)

// phase is what a request's status means to whoever waits for it.
type phase int

const (
	// underWay: the portal or the gateway works on it. A status that nobody knows is taken
	// for this one: nothing is concluded from it.
	underWay phase = iota
	// withPeople: somebody has to decide.
	withPeople
	// completed, refused and failed are ends, the last one until somebody retries it.
	completed
	refused
	failed
)

// phaseOf reads a status. The words are contract, their order is not, so each is judged
// alone.
func phaseOf(status string) phase {
	switch status {
	case "NEW", "APPROVAL_PENDING":
		return withPeople
	case "COMPLETED":
		return completed
	case "REJECTED":
		return refused
	case "FAILED":
		return failed
	}
	return underWay
}

// open: it may still make an application.
func (p phase) open() bool { return p == underWay || p == withPeople }

// request is one request. That its list shows the same fields as it does itself, and that
// it shows the application as soon as there is one, is assumed; the context is read where
// a release shows it.
type request struct {
	ID          string `json:"id"`
	Type        string `json:"type"`
	Status      string `json:"status"`
	Application string `json:"application"`
	Context     *struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Application string `json:"application"`
	} `json:"context"`
	remarks
}

// target is the application that a request for a deletion names.
func (r *request) target() string {
	if r.Application == "" && r.Context != nil {
		return r.Context.Application
	}
	return r.Application
}

// remarks are the places in which a reviewer's words may stand.
type remarks struct {
	Comments        string `json:"comments"`
	Comment         string `json:"comment"`
	Reason          string `json:"reason"`
	RejectionReason string `json:"rejectionReason"`
}

func (r remarks) words() string {
	for _, candidate := range []string{r.RejectionReason, r.Comments, r.Comment, r.Reason} {
		if strings.TrimSpace(candidate) != "" {
			return candidate
		}
	}
	return ""
}

// wordsOfTrace reads them from the trace of a request: a list of events, bare or in
// "result", of which the last words count.
func wordsOfTrace(body []byte) string {
	var events []remarks
	if json.Unmarshal(body, &events) != nil {
		var document struct {
			Result []remarks `json:"result"`
		}
		if json.Unmarshal(body, &document) != nil {
			return ""
		}
		events = document.Result
	}
	for _, event := range slices.Backward(events) {
		if words := event.words(); words != "" {
			return words
		}
	}
	return ""
}

// deletionContext is the context of a request for a deletion.
func deletionContext(id string) map[string]any { return map[string]any{"application": id} }

// application is one application: contract, but for the form of expiry.
type application struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Description string       `json:"description"`
	Status      string       `json:"status"`
	Credentials []credential `json:"credentials"`
	// ExternalRefKey is the application in the gateway.
	ExternalRefKey string `json:"externalRefKey"`
}

type credential struct {
	Type            string          `json:"type"`
	APIKey          string          `json:"apiKey"`
	ClientID        string          `json:"clientId"`
	ClientSecret    string          `json:"clientSecret"`
	AccessTokenURIs []string        `json:"accessTokenUris"`
	Expiry          json.RawMessage `json:"expiry"`
}

// of finds the credential of a type; nil if it is not there yet.
func (a *application) of(kind string) *credential {
	for i := range a.Credentials {
		c := &a.Credentials[i]
		if c.Type == kind && (kind == typeAPIKey && c.APIKey != "" || kind == typeOAuth2 && c.ClientID != "" && c.ClientSecret != "") {
			return c
		}
	}
	return nil
}

// void: it was rejected and holds nothing, so there is nothing to end. Such entries stay in
// lists.
func (a *application) void() bool { return a.Status == "REJECTED" && len(a.Credentials) == 0 }

// live: INACTIVE is the time before, and also what an administrator may make of it.
func (a *application) live() bool { return a.Status == "LIVE" }

// secrets are the values that no message may quote.
func (a *application) secrets() []material.Secret {
	var out []material.Secret
	for _, c := range a.Credentials {
		out = append(out, material.New(c.APIKey), material.New(c.ClientSecret))
	}
	return out
}

// The mark stands in the name, which people see and may change, and in the description.
// That a description travels from the request to the application is assumed; where there is
// none, the name alone tells.
var (
	markedName        = regexp.MustCompile(`^(.{1,64})\.([0-9a-f]{32})$`)
	markedDescription = regexp.MustCompile(`claviger:([0-9a-f]{32})\b`)
)

func nameFor(name string, mark upstream.Mark) string { return name + "." + string(mark) }

func descriptionFor(title string, mark upstream.Mark) string {
	return title + ". Do not edit. claviger:" + string(mark)
}

// markOf reads the mark of what has this name and description; empty if it bears none.
func markOf(name, description string) upstream.Mark {
	if found := markedDescription.FindStringSubmatch(description); found != nil {
		return upstream.Mark(found[1])
	}
	if found := markedName.FindStringSubmatch(name); found != nil && strings.TrimSpace(description) == "" {
		return upstream.Mark(found[2])
	}
	return ""
}

// plainName is the name without its mark.
func plainName(name string) string {
	if found := markedName.FindStringSubmatch(name); found != nil {
		return found[1]
	}
	return name
}

// endless are ways to say that a key never ends.
var endless = []string{"", "null", "0", "-1", `""`, `"0"`, `"-1"`, `"never"`, `"unlimited"`}

// moments are ways to write when it does.
var moments = []string{time.RFC3339Nano, "2006-01-02T15:04:05.000-0700", "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05", "2006-01-02"}

// expiryOf reads when a key ends; zero means never. What cannot be read is not taken for
// never.
func expiryOf(raw json.RawMessage) (at time.Time, ok bool) {
	if slices.Contains(endless, strings.ToLower(strings.TrimSpace(string(raw)))) {
		return time.Time{}, true
	}
	var number int64
	if json.Unmarshal(raw, &number) == nil {
		return ofNumber(number)
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return time.Time{}, false
	}
	if json.Unmarshal([]byte(text), &number) == nil {
		return ofNumber(number)
	}
	for _, layout := range moments {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// ofNumber: seconds up to the year 5138, milliseconds beyond.
func ofNumber(number int64) (time.Time, bool) {
	const lastSecond = 1e11
	switch {
	case number <= 0 || number > 1e15:
		return time.Time{}, false
	case number < lastSecond:
		return time.Unix(number, 0).UTC(), true
	}
	return time.UnixMilli(number).UTC(), true
}

// saysTaken reads the words of a portal that lets nobody have a name twice, which the
// contract neither promises nor excludes.
func saysTaken(words string) bool { return strings.Contains(strings.ToLower(words), "already exist") }

// refusesKey reads what the gateway says of a key that it does not take. Releases of the
// Mediator answer 500 to such calls, and the text alone tells.
func refusesKey(body string) bool {
	body = strings.ToLower(body)
	for _, words := range []string{"authenticated as invalid", "required header is missing", "api key has expired", "unauthorized application request"} {
		if strings.Contains(body, words) {
			return true
		}
	}
	return false
}
