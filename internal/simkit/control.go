package simkit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// controlBody bounds what the control API reads; a seed of ten thousand
	// objects is a few megabytes.
	controlBody = 64 << 20
	// longestPoll bounds one wait for events.
	longestPoll = 5 * time.Minute
)

// LedgerPage is what GET /ledger answers.
type LedgerPage struct {
	Issued  int      `json:"issued"`
	Live    int      `json:"live"`
	Revoked int      `json:"revoked"`
	Records []Record `json:"records"`
}

// EventPage is what GET /events answers. Next is the "since" of the next call;
// Lost is true if events between were dropped for want of room.
type EventPage struct {
	Events []Event `json:"events"`
	Next   int64   `json:"next"`
	Lost   bool    `json:"lost,omitempty"`
}

// ReleaseOrder is what POST /release reads. An empty id means all held calls;
// Then is "continue" (default) or "cut".
type ReleaseOrder struct {
	ID   string `json:"id,omitempty"`
	Then string `json:"then,omitempty"`
}

// Control registers the parts of the control API that all simulators share:
//
//	GET    /healthz
//	GET    /faults  POST /faults  DELETE /faults[?id=]
//	GET    /held    POST /release
//	GET    /events[?since=&type=&wait=]
//	GET    /ledger[?state=live|revoked]  GET /ledger/entries[?since=]
//	GET    /calls
func (s *Stage) Control(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /faults", Do(func(*http.Request, struct{}) (any, error) {
		return map[string]any{"faults": s.Faults.List()}, nil
	}))
	mux.HandleFunc("POST /faults", Do(func(_ *http.Request, fault Fault) (any, error) {
		id, err := s.Faults.Add(fault)
		return map[string]string{"id": id}, err
	}))
	mux.HandleFunc("DELETE /faults", Do(func(r *http.Request, _ struct{}) (any, error) {
		return map[string]int{"removed": s.Faults.Remove(r.URL.Query().Get("id"))}, nil
	}))
	mux.HandleFunc("GET /held", Do(func(*http.Request, struct{}) (any, error) {
		return map[string]any{"held": s.Faults.Held()}, nil
	}))
	mux.HandleFunc("POST /release", Do(func(_ *http.Request, order ReleaseOrder) (any, error) {
		if order.Then != "" && order.Then != "continue" && order.Then != "cut" {
			return nil, fmt.Errorf("then is continue or cut, not %q", order.Then)
		}
		return map[string]int{"released": s.Faults.Release(order.ID, order.Then == "cut")}, nil
	}))
	mux.HandleFunc("GET /events", Do(s.controlEvents))
	mux.HandleFunc("GET /ledger", Do(s.controlLedger))
	mux.HandleFunc("GET /ledger/entries", Do(func(r *http.Request, _ struct{}) (any, error) {
		since, err := number(r.URL.Query(), "since")
		return map[string]any{"entries": s.Ledger.Entries(since)}, err
	}))
	mux.HandleFunc("GET /calls", Do(func(*http.Request, struct{}) (any, error) {
		return map[string]any{"calls": s.Calls.List()}, nil
	}))
}

func (s *Stage) controlLedger(r *http.Request, _ struct{}) (any, error) {
	all := s.Ledger.Issued()
	page := LedgerPage{Issued: len(all), Records: []Record{}}
	state := r.URL.Query().Get("state")
	if state != "" && state != "live" && state != "revoked" {
		return nil, fmt.Errorf("state is live or revoked, not %q", state)
	}
	for _, record := range all {
		word := "revoked"
		if record.Live() {
			word = "live"
			page.Live++
		} else {
			page.Revoked++
		}
		if state == "" || state == word {
			page.Records = append(page.Records, record)
		}
	}
	return page, nil
}

// controlEvents is a long poll: it answers at once if there is something to say,
// or else with the first event of the wanted type, or empty after the wait.
func (s *Stage) controlEvents(r *http.Request, _ struct{}) (any, error) {
	query := r.URL.Query()
	since, err := number(query, "since")
	if err != nil {
		return nil, err
	}
	wait := 30 * time.Second
	if text := query.Get("wait"); text != "" {
		if wait, err = time.ParseDuration(text); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(wait, longestPoll))
	defer cancel()
	kind := query.Get("type")
	wanted := func(e Event) bool { return kind == "" || e.Type == kind }
	page := EventPage{Events: []Event{}, Next: since}
	// What is there already counts even if the wait is zero.
	if !s.page(&page, wanted) {
		if _, err := s.Events.Wait(ctx, page.Next, wanted); err == nil {
			s.page(&page, wanted)
		}
	}
	return page, nil
}

// page adds the wanted events after page.Next and reports whether there were any.
func (s *Stage) page(page *EventPage, wanted func(Event) bool) bool {
	events := s.Events.Since(page.Next)
	if len(events) > 0 {
		page.Lost = page.Lost || events[0].Seq > page.Next+1
		page.Next = events[len(events)-1].Seq
	}
	for _, event := range events {
		if wanted(event) {
			page.Events = append(page.Events, event)
		}
	}
	return len(page.Events) > 0
}

func number(query url.Values, name string) (int64, error) {
	text := query.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is not a number of an event: %q", name, text)
	}
	return n, nil
}

// Do makes a handler of the control API from a function: the JSON body is read
// into In, unknown fields are refused (a misspelt fault would never strike), the
// result is written as JSON, and an error is answered as 400 with {"error": text}.
func Do[In any](do func(*http.Request, In) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, controlBody))
		if err == nil && len(bytes.TrimSpace(body)) > 0 {
			decoder := json.NewDecoder(bytes.NewReader(body))
			decoder.DisallowUnknownFields()
			err = decoder.Decode(&in)
		}
		var out any
		if err == nil {
			out, err = do(r, in)
		}
		if err != nil {
			JSON(http.StatusBadRequest, map[string]string{"error": err.Error()}).write(w)
			return
		}
		JSON(http.StatusOK, out).write(w)
	}
}

// Remote speaks to the control API of a simulator in another process.
type Remote struct {
	// Base is the address of the control listener.
	Base string
	// Client defaults to http.DefaultClient.
	Client *http.Client
}

// Call sends in as JSON (nothing if nil) and reads the answer into out (drops it
// if nil). An answer that is not 200 is an error with the simulator's own words.
func (c Remote) Call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(encoded)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return err
	}
	client := c.Client
	if client == nil {
		client = http.DefaultClient
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %d %s", method, path, answer.StatusCode, bytes.TrimSpace(text))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// AddFault sets a fault and returns its id.
func (c Remote) AddFault(ctx context.Context, fault Fault) (string, error) {
	var out struct{ ID string }
	err := c.Call(ctx, http.MethodPost, "/faults", fault, &out)
	return out.ID, err
}

// Release lets held calls go on; see ReleaseOrder.
func (c Remote) Release(ctx context.Context, order ReleaseOrder) error {
	return c.Call(ctx, http.MethodPost, "/release", order, nil)
}

// Ledger reads all records.
func (c Remote) Ledger(ctx context.Context) (LedgerPage, error) {
	var page LedgerPage
	err := c.Call(ctx, http.MethodGet, "/ledger", nil, &page)
	return page, err
}

// Wait returns the first event after since that want accepts, now or once it
// happens, or the context's error.
func (c Remote) Wait(ctx context.Context, since int64, want func(Event) bool) (Event, error) {
	for {
		var page EventPage
		path := "/events?wait=10s&since=" + strconv.FormatInt(since, 10)
		if err := c.Call(ctx, http.MethodGet, path, nil, &page); err != nil {
			return Event{}, err
		}
		if page.Lost {
			return Event{}, errors.New("events were lost: the reader is too slow")
		}
		for _, event := range page.Events {
			if want(event) {
				return event, nil
			}
		}
		since = page.Next
	}
}
