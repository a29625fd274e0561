package webmethodsgateway

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// This file holds what the documents of the gateway leave open or say in two ways, and what
// is assumed about it. Everything else of the package follows the published description of
// its REST interface. docs/upstreams/webmethods-api-gateway.md lists the same for people.

// restBase is below url; tokenPath is below gatewayURL, unless the issuer names a tokenURL.
const (
	restBase  = "/rest/apigateway"
	tokenPath = "/invoke/pub.apigateway.oauth2/getAccessToken"
)

// keyHeader carries an API key. x-CentraSite-APIKey is taken by gateways as well.
const keyHeader = "x-Gateway-APIKey"

// The events of approvals that are waited for.
const (
	eventCreate   = "createApplication"
	eventRegister = "registerApplication"
	eventUpdate   = "updateApplication"
)

// masked reports a key or a secret that the gateway shows to its owner only. Assumed: what is
// masked is stars, whole or in part; keys are UUIDs, so no true one holds a star.
func masked(value string) bool { return strings.Contains(value, "*") }

// notFoundHere reports an answer to POST …/accessTokens about an application that is not
// there: 400 in the description, 404 everywhere else.
func notFoundHere(status int) bool { return status == 400 || status == 404 }

// killSwitchMissing reports that PATCH is not known to this gateway. The application is
// deleted all the same.
func killSwitchMissing(status int) bool { return slices.Contains([]int{400, 404, 405, 501}, status) }

// approvalsHidden reports that the login may see no approvals, or that the gateway has none.
func approvalsHidden(status int) bool {
	return slices.Contains([]int{400, 401, 403, 404, 405}, status)
}

// refusedWords are what the gateway, and Mediator before it, says of a credential that it does
// not take; Mediator says so with status 500, which alone says nothing.
var refusedWords = []string{
	"the request is authenticated as invalid", "a required header is missing in the request", "the api key has expired",
	"unauthorized application request", "application is suspended", "invalid_client", "invalid client", "unauthorized_client",
}

// refuses reads a refusal of the credential out of an answer's text.
func refuses(body []byte) bool {
	text := strings.ToLower(string(body))
	return slices.ContainsFunc(refusedWords, func(words string) bool { return strings.Contains(text, words) })
}

// applicationWire is an application in both of its forms: the description calls fields
// applicationID and apiAccessKey, its examples id and apiAccessKey_credentials.
type applicationWire struct {
	ID            string          `json:"id"`
	ApplicationID string          `json:"applicationID"`
	Name          string          `json:"name"`
	Description   string          `json:"description"`
	Suspended     json.RawMessage `json:"isSuspended"`
	APIs          []string        `json:"consumingAPIs"`
	Strategies    []string        `json:"authStrategyIds"`
	Tokens        struct {
		Key        json.RawMessage `json:"apiAccessKey"`
		Credential json.RawMessage `json:"apiAccessKey_credentials"`
	} `json:"accessTokens"`
}

// keyWire is an API key.
type keyWire struct {
	Key     string          `json:"apiAccessKey"`
	Expires json.RawMessage `json:"expirationDate"`
}

// UnmarshalJSON reads an application in either form.
func (a *application) UnmarshalJSON(data []byte) error {
	var wire applicationWire
	if json.Unmarshal(data, &wire) != nil {
		return errForm
	}
	id := wire.ID
	if id == "" {
		id = wire.ApplicationID
	}
	if !segment.MatchString(id) {
		return errForm
	}
	*a = application{id: id, name: wire.Name, description: wire.Description, apis: wire.APIs, strategies: wire.Strategies}
	switch strings.Trim(string(wire.Suspended), `"`) {
	case "true":
		a.suspended = suspendedYes
	case "false":
		a.suspended = suspendedNo
	}
	for _, raw := range []json.RawMessage{wire.Tokens.Credential, wire.Tokens.Key} {
		var object keyWire
		var bare string
		switch {
		case len(raw) == 0 || a.key.Reveal() != "":
		case json.Unmarshal(raw, &bare) == nil:
			a.key = material.New(bare)
		case json.Unmarshal(raw, &object) == nil:
			a.key = material.New(object.Key)
			a.expires, a.expiryUnread = expiry(object.Expires)
		}
	}
	return nil
}

// expiry reads the end of a key, whose form is not documented: a number is milliseconds, a
// text one of the forms that other parts of the product use. Absent, null and empty is never.
// One that cannot be read is said to a person rather than taken for never.
func expiry(raw json.RawMessage) (at time.Time, unread bool) {
	text := strings.Trim(string(raw), `"`)
	if text == "" || text == "null" || strings.EqualFold(text, "unlimited") {
		return time.Time{}, false
	}
	var milliseconds int64
	if json.Unmarshal([]byte(text), &milliseconds) == nil {
		if milliseconds <= 0 {
			return time.Time{}, false
		}
		return time.UnixMilli(milliseconds).UTC(), false
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), false
		}
	}
	return time.Time{}, true
}

// hitsOf finds the hits of a kind in the answer of a search, whose key is written in capitals
// by the description and in small letters by others. ok is false if there is none, which may
// be how a gateway says that it found nothing: then the whole list is read.
func hitsOf[T any](body []byte, kind string) (hits []T, ok bool, err error) {
	var answer map[string]json.RawMessage
	if json.Unmarshal(body, &answer) != nil || answer == nil {
		return nil, false, errForm
	}
	for key, raw := range answer {
		if !strings.EqualFold(key, kind) {
			continue
		}
		if json.Unmarshal(raw, &hits) != nil || hits == nil {
			return nil, false, errForm
		}
		return hits, true, nil
	}
	return nil, false, nil
}

// strategiesOf reads a list of strategies: bare, or in either of two fields.
func strategiesOf(body []byte) ([]strategy, error) {
	list := json.RawMessage(body)
	var answer map[string]json.RawMessage
	if json.Unmarshal(body, &answer) == nil {
		list = answer["strategies"]
		if list == nil {
			list = answer["strategy"]
		}
	}
	var all []strategy
	if json.Unmarshal(list, &all) != nil || all == nil {
		return nil, errForm
	}
	// An entry that names nothing would make a list that is shorter than it looks.
	if slices.ContainsFunc(all, func(s strategy) bool { return !segment.MatchString(s.ID) }) {
		return nil, errForm
	}
	return all, nil
}

// registeredOf reads the APIs of an application: bare, or in a field.
func registeredOf(body []byte) ([]string, error) {
	list := json.RawMessage(body)
	var answer map[string]json.RawMessage
	if json.Unmarshal(body, &answer) == nil {
		if list = answer["apiIDs"]; list == nil {
			list = answer["apis"]
		}
	}
	var ids []string
	if json.Unmarshal(list, &ids) != nil {
		return nil, errForm
	}
	return ids, nil
}

// approvalWire is a request that waits for an approver, or is decided. Where an approver's
// comment stands is not documented; every place that suggests itself is looked at.
type approvalWire struct {
	ID        string `json:"id"`
	Event     string `json:"approvalEvent"`
	Status    string `json:"status"`
	Payload   string `json:"approvalEventPayloadAsString"`
	Comment   string `json:"approverComment"`
	Reason    string `json:"rejectionReason"`
	Approvers []struct {
		Status  string `json:"status"`
		Comment string `json:"comment"`
		Words   string `json:"approverComment"`
	} `json:"approvers"`
}

func (a approvalWire) comment() string {
	candidates := []string{a.Comment, a.Reason}
	for _, approver := range a.Approvers {
		if strings.EqualFold(approver.Status, "rejected") {
			candidates = append(candidates, approver.Words, approver.Comment)
		}
	}
	for _, candidate := range candidates {
		if strings.TrimSpace(candidate) != "" {
			return upstream.Excerpt(candidate)
		}
	}
	return "no reason was given"
}

// is reports whether a request is about an event. Whether the case of its name is kept is not
// known.
func (a approvalWire) is(event string) bool { return strings.EqualFold(a.Event, event) }

// names reports whether the payload, which is JSON in a string, speaks of an id or a mark. The
// form of payloads differs by event and is not documented; ids and marks are like nothing else.
func (a approvalWire) names(what ...string) bool {
	return !slices.ContainsFunc(what, func(word string) bool { return word == "" || !strings.Contains(a.Payload, word) })
}

// applicationID is the future id that a payload holds.
func (a approvalWire) applicationID() string {
	var payload applicationWire
	if json.Unmarshal([]byte(a.Payload), &payload) != nil {
		return ""
	}
	for _, id := range []string{payload.ApplicationID, payload.ID} {
		if segment.MatchString(id) {
			return id
		}
	}
	return ""
}
