package operatortest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"
)

func (w *World) auditLog() string { return filepath.Join(w.folder, "audit.jsonl") }

// Request is one finished request of an operator, as the API server recorded it.
type Request struct {
	// Verb is create, update, patch, delete, get, list or watch.
	Verb string
	// Resource is the plural, with the subresource after a slash if there is one.
	Resource  string
	Namespace string
	Name      string
	// Status is the HTTP status of the answer.
	Status int
	// Received is when the API server got it: what it changed was changed later.
	Received time.Time
}

// String is short, for lists of them in a test.
func (r Request) String() string { return r.Verb + " " + r.Resource + " " + r.Name }

// Write reports whether the request changed something or tried to.
func (r Request) Write() bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.Verb)
}

// event is the part of an audit event that is read here.
type event struct {
	Verb       string
	RequestURI string
	User       struct{ Username string }
	ObjectRef  struct{ Resource, Subresource, Namespace, Name string }
	// ResponseStatus is absent if the client went away.
	ResponseStatus           struct{ Code int }
	RequestReceivedTimestamp time.Time
}

// Mark is a place in the audit log.
type Mark int64

// Now is the present end of the audit log. Requests that were answered before are in
// front of it.
func (w *World) Now() (Mark, error) {
	info, err := os.Stat(w.auditLog())
	if err != nil {
		return 0, err
	}
	return Mark(info.Size()), nil
}

// Requests are those of all operators of this world in one namespace since a mark, in
// the order of their answers. Dry runs are left out: they write nothing. Leases are
// left out: they are the operator's heart beat.
func (w *World) Requests(since Mark, namespace string) ([]Request, error) {
	file, err := os.Open(w.auditLog())
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Seek(int64(since), io.SeekStart); err != nil {
		return nil, err
	}
	var requests []Request
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return requests, nil // the rest of a line is still being written
		}
		if err != nil {
			return nil, err
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
		if e.User.Username != user || e.ObjectRef.Namespace != namespace || e.ObjectRef.Resource == "leases" || dryRun(e.RequestURI) {
			continue
		}
		r := Request{
			Verb: e.Verb, Resource: e.ObjectRef.Resource, Namespace: e.ObjectRef.Namespace,
			Name: e.ObjectRef.Name, Status: e.ResponseStatus.Code, Received: e.RequestReceivedTimestamp,
		}
		if e.ObjectRef.Subresource != "" {
			r.Resource += "/" + e.ObjectRef.Subresource
		}
		requests = append(requests, r)
	}
}

func dryRun(uri string) bool {
	parsed, err := url.Parse(uri)
	return err == nil && parsed.Query().Has("dryRun")
}
