package centrasite

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// ASSUMED. What this file knows of CentraSite is in no published document and was never
// tried on a live one:
//
//   - that the API is named by "apiId" in the body of a request;
//   - that a list is an array, alone or in an object beside its "count", and that its
//     entries have the names that the body of a request has;
//   - that an event names the application that it is about by "appId";
//   - that an approval request is about the access token whose id is its object key;
//   - that the elements of the Approval Service are called as its operations' tables call
//     them, but for case, and in whatever namespace.
//
// Documented are the paths, methods and the body of a request, its answer, the statuses of
// approval requests and the names of the service's operations.

// createBody is the body of a request. The key or the client that it carries is made here:
// CentraSite takes it, or makes another, which it then shows.
func createBody(name string, mark upstream.Mark, title, user string, w wanted, m material.Material) map[string]any {
	type property struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	properties := []property{{"apiKeyString", m.APIKey.Reveal()}}
	if w.Type == typeOAuth2 {
		properties = []property{{"clientId", m.ClientID}, {"clientSecret", m.ClientSecret.Reveal()}}
	}
	return map[string]any{
		"name": tokenName(name, mark), "description": description(title, mark), "appId": appID(mark), "userId": user, "apiId": w.API,
		"type": "Application", "accessTokenDetails": []any{map[string]any{"type": w.Type, "properties": properties}},
	}
}

// appID is the application that a version is made for; it is no other version's, so that
// one can be ended alone.
func appID(mark upstream.Mark) string { return "claviger-" + string(mark) }

// eventID of a revocation. The same one each time: a repeat is the same event.
func eventID(mark upstream.Mark) string { return "revoke-" + string(mark) }

// tokenName is what people see. The whole mark is in it, so that it is found though
// somebody has edited the description.
func tokenName(name string, mark upstream.Mark) string { return name + "." + string(mark) }

func description(title string, mark upstream.Mark) string {
	return strings.TrimSpace(title + " managed-by=claviger mark=" + string(mark))
}

var (
	ourName        = regexp.MustCompile(`^([^/\s]{1,40})\.([0-9a-f]{32})$`)
	ourApp         = regexp.MustCompile(`^claviger-([0-9a-f]{32})$`)
	ourDescription = regexp.MustCompile(`managed-by=claviger mark=([0-9a-f]{32})$`)
)

// token is an access token in a list.
type token struct {
	UUID        string   `json:"accesstokenuuid"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	AppID       string   `json:"appId"`
	UserID      string   `json:"userId"`
	CreatedDate string   `json:"createdDate"`
	Details     []detail `json:"accessTokenDetails"`
}

// detail is one key or client of an access token.
type detail struct {
	Type       string `json:"type"`
	Properties []struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	} `json:"properties"`
}

// mark is whose it is; empty if it is not ours. The application says it, which nobody can
// edit; where a release does not show that, the description and the name do.
func (t token) mark() upstream.Mark {
	for _, look := range []struct {
		in string
		by *regexp.Regexp
		at int
	}{{t.AppID, ourApp, 1}, {t.Description, ourDescription, 1}, {t.Name, ourName, 2}} {
		if found := look.by.FindStringSubmatch(look.in); found != nil {
			return upstream.Mark(found[look.at])
		}
	}
	return ""
}

// ourPart is the name that was asked for, or what somebody made of it.
func (t token) ourPart() string {
	if found := ourName.FindStringSubmatch(t.Name); found != nil {
		return found[1]
	}
	return t.Name
}

// created is the zero time where it is not told.
func (t token) created() time.Time { return parseTime(t.CreatedDate) }

// shown reads the material out of the details; nil if they do not show it.
func shown(details []detail, kind string) (*material.Material, time.Time) {
	for _, d := range details {
		if !strings.EqualFold(d.Type, kind) {
			continue
		}
		values := map[string]string{}
		for _, p := range d.Properties {
			values[p.Key] = p.Value
		}
		expires := parseTime(values["expiryDate"])
		switch {
		case kind == typeAPIKey && values["apiKeyString"] != "":
			return &material.Material{APIKey: material.New(values["apiKeyString"])}, expires
		case kind == typeOAuth2 && values["clientId"] != "" && values["clientSecret"] != "":
			return &material.Material{ClientID: values["clientId"], ClientSecret: material.New(values["clientSecret"])}, expires
		}
	}
	return nil, time.Time{}
}

// parseTime reads a time with a zone; what has none could be wrong by a day.
func parseTime(text string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.000Z0700", "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	return time.Time{}
}

// made is the answer to a request.
type made struct {
	Status  string   `json:"status"`
	Message string   `json:"message"`
	UUID    string   `json:"accesstokenuuid"`
	Details []detail `json:"accessTokenDetails"`
}

// event is something that CentraSite works on.
type event struct {
	AppID string `json:"appId"`
	UUID  string `json:"accesstokenuuid"`
}

var (
	errForm  = errors.New("the answer does not have the form of a list")
	errShort = errors.New("the list is not whole: its count does not fit its entries")
)

// readList reads an array, alone or under one of the names. whole says that a count went
// with it: without one, nothing is concluded from an empty list.
func readList[T any](body []byte, names ...string) (entries []T, whole bool, err error) {
	body = bytes.TrimSpace(body)
	raw, count := json.RawMessage(body), -1
	if len(body) > 0 && body[0] == '{' {
		var fields map[string]json.RawMessage
		if json.Unmarshal(body, &fields) != nil {
			return nil, false, errForm
		}
		raw = nil
		for key, value := range fields {
			for _, name := range names {
				if strings.EqualFold(key, name) {
					raw = value
				}
			}
			if strings.EqualFold(key, "count") && json.Unmarshal(value, &count) != nil {
				return nil, false, errForm
			}
		}
	}
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &entries) != nil {
		return nil, false, errForm
	}
	if count >= 0 && count != len(entries) {
		return nil, false, errShort
	}
	return entries, count >= 0, nil
}

// Statuses of approval requests.
const (
	statusInProgress = "In Progress"
	statusApproved   = "Approved"
	statusRejected   = "Rejected"
	statusNoAction   = "No Action"
)

// The operations of the Approval Service that are used.
const (
	getApprovalRequests = "getApprovalRequests"
	getApprovalActions  = "getApprovalActions"
)

// approvalRequest is one, whatever its elements' case and namespace.
type approvalRequest struct{ key, object, status, remarks string }

// envelope writes a call of the Approval Service with one kind of argument.
func envelope(namespace, operation, argument string, values ...string) []byte {
	var out bytes.Buffer
	out.WriteString(`<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:cs="`)
	_ = xml.EscapeText(&out, []byte(namespace)) // a buffer takes everything
	out.WriteString(`"><soapenv:Header/><soapenv:Body><cs:` + operation + `>`)
	for _, value := range values {
		out.WriteString(`<cs:` + argument + `>`)
		_ = xml.EscapeText(&out, []byte(value))
		out.WriteString(`</cs:` + argument + `>`)
	}
	out.WriteString(`</cs:` + operation + `></soapenv:Body></soapenv:Envelope>`)
	return out.Bytes()
}

// readRequests reads the elements of an ApprovalRequestList, or of the actions of requests:
// each element that has a status, with what stands in it. fault is what a SOAP fault says.
// An answer without a list is an error: an empty one has its count.
func readRequests(body []byte) (requests []approvalRequest, fault string, err error) {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	var path []string
	var fields []map[string]string // of each open element: what its children said
	listed, count := false, ""
	for {
		next, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(path) > maxDepth {
			return nil, "", errForm
		}
		switch element := next.(type) {
		case xml.StartElement:
			path = append(path, plain(element.Name.Local))
			fields = append(fields, map[string]string{})
			for _, attribute := range element.Attr {
				fields[len(fields)-1][plain(attribute.Name.Local)] = attribute.Value
			}
		case xml.CharData:
			if len(path) > 0 {
				fields[len(fields)-1][""] += string(element)
			}
		case xml.EndElement:
			name, own := path[len(path)-1], fields[len(fields)-1]
			path, fields = path[:len(path)-1], fields[:len(fields)-1]
			text := strings.TrimSpace(own[""])
			if len(fields) > 0 && fields[len(fields)-1][name] == "" {
				fields[len(fields)-1][name] = text
			}
			switch {
			case name == "fault":
				return nil, first(own, "faultstring", "reason", "text", "faultcode"), nil
			case own["status"] != "" && (name == "approvalrequest" || name == "approvalaction"):
				requests = append(requests, approvalRequest{
					key: first(own, "key", "approvalrequestkey"), object: own["objectkey"], status: own["status"], remarks: first(own, "remarks", "comment"),
				})
			case strings.HasSuffix(name, "list"):
				listed, count = true, own["count"]
			}
		}
	}
	if len(path) > 0 || !listed {
		return nil, "", errForm
	}
	if count != "" && count != decimal(len(requests)) {
		return nil, "", errShort
	}
	return requests, "", nil
}

// maxDepth is more than any envelope has.
const maxDepth = 64

// first is the first of these that is there.
func first(fields map[string]string, names ...string) string {
	for _, name := range names {
		if fields[name] != "" {
			return fields[name]
		}
	}
	return ""
}

// plain takes case and punctuation off a name.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' {
			return -1
		}
		return r
	}, strings.ToLower(name))
}
