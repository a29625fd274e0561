package operatortest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	UserAgent  string
	User       struct{ Username string }
	ObjectRef  struct{ APIGroup, Resource, Subresource, Namespace, Name string }
	// ResponseStatus is absent if the client went away.
	ResponseStatus           struct{ Code int }
	RequestReceivedTimestamp time.Time
	// ResponseObject is there where Options.Bodies asked for it.
	ResponseObject json.RawMessage
}

// Own reports whether an operator has asked.
func (e *event) Own() bool { return e.User.Username == user }

func (e *event) request() Request {
	r := Request{
		Verb: e.Verb, Resource: e.ObjectRef.Resource, Namespace: e.ObjectRef.Namespace,
		Name: e.ObjectRef.Name, Status: e.ResponseStatus.Code, Received: e.RequestReceivedTimestamp,
	}
	if e.ObjectRef.Subresource != "" {
		r.Resource += "/" + e.ObjectRef.Subresource
	}
	return r
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
	var requests []Request
	err := w.events(since, namespace, func(e event) error {
		if e.Own() && e.ObjectRef.Resource != "leases" && !dryRun(e.RequestURI) {
			requests = append(requests, e.request())
		}
		return nil
	})
	return requests, err
}

// Writes are those of all operators of this world in all namespaces since a mark, events
// included and leases left out, told by the name of the program and not by its account.
func (w *World) Writes(since Mark) ([]Request, error) {
	var writes []Request
	err := w.events(since, "", func(e event) error {
		r := e.request()
		if strings.HasPrefix(e.UserAgent, "claviger/") && r.Write() && e.ObjectRef.Resource != "leases" && !dryRun(e.RequestURI) {
			writes = append(writes, r)
		}
		return nil
	})
	return writes, err
}

// events reads the audit log from a mark to its present end. An empty namespace means all
// of it.
func (w *World) events(since Mark, namespace string, take func(event) error) error {
	file, err := os.Open(w.auditLog())
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Seek(int64(since), io.SeekStart); err != nil {
		return err
	}
	mention := []byte(`"namespace":"` + namespace + `"`)
	for lines := bufio.NewReaderSize(file, 1<<20); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // the rest of a line is still being written
		}
		if err != nil {
			return err
		}
		// Most lines are about other namespaces, and to decode one is slow.
		if namespace != "" && !bytes.Contains(line, mention) {
			continue
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		if namespace != "" && e.ObjectRef.Namespace != namespace {
			continue
		}
		if err := take(e); err != nil {
			return err
		}
	}
}

func dryRun(uri string) bool {
	parsed, err := url.Parse(uri)
	return err == nil && parsed.Query().Has("dryRun")
}
