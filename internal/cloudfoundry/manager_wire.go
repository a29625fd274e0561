package cloudfoundry

import (
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// entity is an object of Service Manager: an instance or a binding. Of a binding's
// credentials nothing is kept.
type entity struct {
	ID        string              `json:"id"`
	Name      string              `json:"name"`
	Instance  string              `json:"service_instance_id"`
	CreatedAt string              `json:"created_at"`
	Ready     *bool               `json:"ready"`
	Labels    map[string][]string `json:"labels"`
	Last      *operation          `json:"last_operation"`
}

// operation is what is being done to an object, or was done last.
type operation struct {
	ID       string          `json:"id"`
	Type     string          `json:"type"`
	State    string          `json:"state"`
	Errors   json.RawMessage `json:"errors"`
	Resource string          `json:"resource_id"`
}

// label is the only value of a label, empty if there is none or there are more.
func (m entity) label(name string) string {
	if values := m.Labels[name]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// ours reports whether a binding is this version's, by its label.
func (m entity) ours(mark upstream.Mark) bool { return m.label(managerLabelMark) == string(mark) }

// last is what is known of an object's last operation. An object that tells none and is not
// said to be unready was made.
func (m entity) last() operation {
	switch {
	case m.Last != nil && m.Last.State != "":
		return *m.Last
	case m.Ready != nil && !*m.Ready:
		return operation{Type: "create", State: "in progress"}
	}
	return operation{Type: "create", State: stateSucceeded}
}

// created reads a time; the zero time if it cannot be read.
func (m entity) created() time.Time {
	at, err := time.Parse(time.RFC3339Nano, m.CreatedAt)
	if err != nil {
		return time.Time{}
	}
	return at
}

// decodeEntity reads one object, which must be the one that was asked for.
func decodeEntity(body []byte, id string) (entity, error) {
	var m entity
	if json.Unmarshal(body, &m) != nil || !segment.MatchString(m.ID) || id != "" && m.ID != id {
		return m, errForm
	}
	return m, nil
}

// entityPage is one of a list.
type entityPage struct {
	Token string   `json:"token"`
	Total *int     `json:"num_items"`
	Items []entity `json:"items"`
}

func decodeEntityPage(body []byte) (entityPage, error) {
	var p entityPage
	if json.Unmarshal(body, &p) != nil || p.Total == nil || *p.Total < len(p.Items) {
		return p, errForm
	}
	for _, m := range p.Items {
		if !segment.MatchString(m.ID) {
			return p, errForm
		}
	}
	return p, nil
}

// decodeOperation reads one.
func decodeOperation(body []byte) (operation, error) {
	var op operation
	if json.Unmarshal(body, &op) != nil || op.State == "" {
		return op, errForm
	}
	return op, nil
}

// refusalForm is how Service Manager refuses, and how operations tell why they failed.
type refusalForm struct {
	Error       string `json:"error"`
	Description string `json:"description"`
	Broker      *struct {
		Status      int    `json:"StatusCode"`
		Message     string `json:"ErrorMessage"`
		Description string `json:"Description"`
	} `json:"broker_error"`
}

// refused reads a refusal; false says that the text has not its form.
func refused(body []byte) (refusalForm, bool) {
	var form refusalForm
	return form, json.Unmarshal(body, &form) == nil && (form.Error != "" || form.Description != "" || form.Broker != nil)
}

// words are all that a refusal says, without saying it twice.
func (f refusalForm) words() string {
	parts := []string{f.Error, f.Description}
	if f.Broker != nil {
		parts = append(parts, f.Broker.Message, f.Broker.Description)
	}
	var said []string
	for _, part := range parts {
		if part = strings.TrimSpace(part); part != "" && !slices.ContainsFunc(said, func(before string) bool { return strings.Contains(before, part) }) {
			said = append(said, part)
		}
	}
	return strings.Join(said, ": ")
}

// brokerStatus is what the broker answered to Service Manager; 0 if the broker is not who
// refuses.
func (f refusalForm) brokerStatus() int {
	if f.Broker != nil {
		return f.Broker.Status
	}
	return 0
}

// brokerClass says what it means that an operation at the broker failed. A broker that says
// no is not asked for the same again as if nothing were wrong.
func (f refusalForm) brokerClass() upstream.ErrorClass {
	switch status := f.brokerStatus(); {
	case exhausted(f.words()):
		return upstream.QuotaExceeded
	case status >= 400 && !passing(status):
		return upstream.InvalidSpec
	}
	return upstream.Retryable
}

// place of an operation: …/v1/service_bindings/<binding>/operations/<operation>.
var operationPath = regexp.MustCompile(`/v1/service_bindings/([A-Za-z0-9][A-Za-z0-9._~-]{0,127})/operations/([A-Za-z0-9][A-Za-z0-9._~-]{0,127})$`)

// readLocation takes the ids out of a Location, which is a path or a whole address. It is
// never called as it stands: only ids are taken from it.
func readLocation(location string) (binding, operation string) {
	if at, err := url.Parse(location); err == nil {
		if m := operationPath.FindStringSubmatch(at.Path); m != nil {
			return m[1], m[2]
		}
	}
	return "", ""
}

// literal writes a value into a query.
func literal(value string) string { return "'" + strings.ReplaceAll(value, "'", "''") + "'" }

// managerDocument is a binding of Service Manager itself, as the cockpit and the command line
// show it.
type managerDocument struct {
	ClientID     string `json:"clientid"`
	ClientSecret string `json:"clientsecret"`
	URL          string `json:"url"`
	TokenURL     string `json:"tokenurl"`
	ManagerURL   string `json:"sm_url"`
	Certificate  string `json:"certificate"`
	Key          string `json:"key"`
	CertURL      string `json:"certurl"`
}

// parseManagerDocument reads one; some tools show it below credentials.
func parseManagerDocument(text string) (managerDocument, error) {
	var whole struct {
		managerDocument
		Credentials *managerDocument `json:"credentials"`
	}
	if json.Unmarshal([]byte(text), &whole) != nil {
		return managerDocument{}, errors.New("it is no JSON object")
	}
	if whole.Credentials != nil {
		return *whole.Credentials, nil
	}
	return whole.managerDocument, nil
}
