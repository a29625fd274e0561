package webmethodsgateway

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// segment is what may stand in a path without being taken for more than one name.
var segment = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$`)

// Whether an application is suspended; the zero value is that the gateway does not tell.
const (
	suspendedYes = "yes"
	suspendedNo  = "no"
)

// application is one of the gateway's, as far as it concerns us.
type application struct {
	id, name, description string
	suspended             string
	apis, strategies      []string
	key                   material.Secret
	expires               time.Time
	expiryUnread          bool
}

// strategy is an OAuth2 client that an application may use.
type strategy struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	ClientID    string `json:"clientId"`
	Client      struct {
		ID     string `json:"clientId"`
		Secret string `json:"clientSecret"`
	} `json:"clientRegistration"`
}

// marking begins what is ours in a description.
const marking = "managed by Claviger, mark="

var markRule = regexp.MustCompile(`\bmark=([0-9a-f]{32})\b`)

var placeRule = regexp.MustCompile(`\bapplication=([A-Za-z0-9][A-Za-z0-9._~-]{0,127})\b`)

// describe writes the description of what is made for a request. people read its beginning.
func describe(r upstream.Request, applicationID string) string {
	out := upstream.Excerpt(r.Title) + ": " + marking + string(r.Mark)
	if applicationID != "" {
		out += " application=" + applicationID
	}
	return out
}

// markOf finds the mark in a description, or none.
func markOf(description string) upstream.Mark {
	if !strings.Contains(description, marking) {
		return ""
	}
	if found := markRule.FindStringSubmatch(description); found != nil {
		return upstream.Mark(found[1])
	}
	return ""
}

// placeOf finds the application that a strategy's description names, or none.
func placeOf(description string) string {
	if found := placeRule.FindStringSubmatch(description); found != nil {
		return found[1]
	}
	return ""
}

func isMark(mark upstream.Mark) bool { return markRule.MatchString("mark=" + string(mark)) }

// applicationsOf reads {"applications":[…]}.
func applicationsOf(body []byte) ([]application, error) {
	var answer struct {
		Applications []application `json:"applications"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Applications == nil {
		return nil, errForm
	}
	return answer.Applications, nil
}

// applicationOf reads one application, wrapped or bare, and gives its bytes as well: what an
// edit does not mean to change goes back as it came.
func applicationOf(body []byte) (application, map[string]json.RawMessage, error) {
	var answer struct {
		Applications []json.RawMessage `json:"applications"`
	}
	raw := json.RawMessage(body)
	if json.Unmarshal(body, &answer) == nil && answer.Applications != nil {
		if len(answer.Applications) != 1 {
			return application{}, nil, errForm
		}
		raw = answer.Applications[0]
	}
	var one application
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &one) != nil || json.Unmarshal(raw, &fields) != nil {
		return application{}, nil, errForm
	}
	return one, fields, nil
}

// strategyOf reads one strategy, wrapped or bare.
func strategyOf(body []byte) (strategy, error) {
	var answer struct {
		Strategy json.RawMessage `json:"strategy"`
	}
	raw := json.RawMessage(body)
	if json.Unmarshal(body, &answer) == nil && answer.Strategy != nil {
		raw = answer.Strategy
	}
	var one strategy
	if json.Unmarshal(raw, &one) != nil || !segment.MatchString(one.ID) {
		return strategy{}, errForm
	}
	if one.ClientID == "" {
		one.ClientID = one.Client.ID
	}
	return one, nil
}

// says reports a document that has something in it.
func says(body []byte) bool {
	var document map[string]json.RawMessage
	return json.Unmarshal(body, &document) == nil && len(document) > 0
}

// problem is the body of an error, in the forms that may be met.
type problem struct {
	Details     string `json:"errorDetails"`
	Message     string `json:"message"`
	Exception   string `json:"Exception"`
	Description string `json:"error_description"`
	Error       string `json:"error"`
}

// formError stands for every failure of decoding: the library's own words may quote
// values.
type formError struct{}

func (formError) Error() string { return "it is no JSON of the expected form" }

var errForm formError

// messageOf finds the words of an error's body, or none.
func messageOf(body []byte) string {
	var p problem
	if json.Unmarshal(body, &p) != nil {
		return ""
	}
	for _, candidate := range []string{p.Details, p.Message, p.Exception, p.Description, p.Error} {
		if strings.TrimSpace(candidate) != "" {
			return candidate
		}
	}
	return ""
}
