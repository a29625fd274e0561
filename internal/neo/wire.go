package neo

import (
	"encoding/json"
	"strings"
)

// The forms of the wire. The reference of the Authorization API is not public: what is
// read is read in every form that a source shows, and nothing of it is trusted in size
// or content.

// userList is the body that gives a role.
type userList struct {
	Users []userName `json:"users"`
}

type userName struct {
	Name string `json:"name"`
}

// entry is a user or a role in any of its forms: an object with a name or a userId, or
// the name itself.
type entry string

// UnmarshalJSON refuses an entry that names nothing: taken for nobody, it would make a
// list shorter than it is. Whether a role is an application's (written applicationRole,
// and applicatonRole by SAP's own client) decides nothing here.
func (e *entry) UnmarshalJSON(data []byte) error {
	var name string
	if json.Unmarshal(data, &name) == nil && name != "" {
		*e = entry(name)
		return nil
	}
	var object struct {
		Name   string `json:"name"`
		UserID string `json:"userId"`
	}
	if json.Unmarshal(data, &object) != nil || object.Name == "" && object.UserID == "" {
		return errForm
	}
	if object.Name == "" {
		object.Name = object.UserID
	}
	*e = entry(object.Name)
	return nil
}

// decodeNames reads {"field":[…]} or a bare list; ok is false for anything else, an
// object without the field included: it is no list, and no empty one either.
func decodeNames(body []byte, field string) (names []string, ok bool) {
	list := json.RawMessage(body)
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) == nil {
		if list, ok = object[field]; !ok {
			return nil, false
		}
	}
	var entries []entry
	if json.Unmarshal(list, &entries) != nil || entries == nil {
		return nil, false
	}
	names = make([]string, len(entries))
	for i, e := range entries {
		names[i] = string(e)
	}
	return names, true
}

// tokenAnswer is the answer of both token endpoints. What it says of its life is used
// for platform tokens only: tokens of clients say 0 and live.
type tokenAnswer struct {
	AccessToken string  `json:"access_token"`
	ExpiresIn   float64 `json:"expires_in"`
}

// problem is the body of an error, in the forms that may be met.
type problem struct {
	Message     string `json:"message"`
	Description string `json:"description"`
	Error       string `json:"error"`
	OAuth       string `json:"error_description"`
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
	for _, candidate := range []string{p.Message, p.Description, p.OAuth, p.Error} {
		if strings.TrimSpace(candidate) != "" {
			return candidate
		}
	}
	return ""
}
