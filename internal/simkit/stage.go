package simkit

import (
	"crypto/tls"
	"errors"
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Call is one call as faults, counters and events see it.
type Call struct {
	// Operation is the simulator's name for it, e.g. "credential.create".
	Operation string
	// By is who calls.
	By Actor
	// Attrs are what it is about (app, client id); never a secret.
	Attrs map[string]string
}

func (c Call) attr(name string) string {
	switch name {
	case "login":
		return c.By.Login
	case "agent":
		return c.By.Agent
	}
	return c.Attrs[name]
}

// attrs gives what events show of the call; the caller may add to it.
func (c Call) attrs() map[string]string {
	attrs := maps.Clone(c.Attrs)
	if attrs == nil {
		attrs = map[string]string{}
	}
	attrs["login"], attrs["agent"] = c.By.Login, c.By.Agent
	return attrs
}

// Answer is a whole HTTP answer, made before a byte of it is sent.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Reason replaces the standard words of the status line: some upstreams say there,
	// and nowhere else, what went wrong. Such an answer closes its connection.
	Reason string
}

// JSON answers with a document.
func JSON(status int, document any) Answer {
	return Answer{
		Status: status,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   marshal(document),
	}
}

func (a Answer) head(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.Header)
	// Stated, so that an answer that is cut short is seen to be.
	w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
	w.WriteHeader(a.Status)
}

// write sends it. A client that has gone is no concern of the upstream.
func (a Answer) write(w http.ResponseWriter) {
	if a.Reason != "" || a.Status < http.StatusOK {
		// net/http takes the statuses from 100 to 199 for the beginning of an answer.
		a.writeRaw(w)
		return
	}
	if a.Status == http.StatusNoContent || a.Status == http.StatusNotModified {
		maps.Copy(w.Header(), a.Header)
		w.WriteHeader(a.Status)
		return
	}
	a.head(w)
	_, _ = w.Write(a.Body)
}

// writeRaw writes the answer with a reason of its own, which net/http has no way to
// state.
func (a Answer) writeRaw(w http.ResponseWriter) {
	conn, stream, err := http.NewResponseController(w).Hijack()
	if err != nil {
		// Only a server that is not Listen's cannot do it.
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	defer func() { _ = conn.Close() }()
	header := a.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Length", strconv.Itoa(len(a.Body)))
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	header.Set("Connection", "close")
	_, _ = stream.WriteString("HTTP/1.1 " + strconv.Itoa(a.Status) + " " + oneLine(a.Reason) + "\r\n")
	_ = header.Write(stream)
	_, _ = stream.WriteString("\r\n")
	_, _ = stream.Write(a.Body)
	_ = stream.Flush()
}

// oneLine keeps a reason from writing headers.
func oneLine(reason string) string {
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(reason)
}

// Stage is where the calls of one simulator are played.
type Stage struct {
	Clock  Clock
	Faults *Faults
	Events *Events
	Ledger *Ledger
	Calls  *Calls
	// Error writes a refusal in the upstream's own form.
	Error func(status int, message string) Answer
}

// Close ends a simulator: it cuts all connections, held ones included. A listener that is nil was
// never opened.
func (s *Stage) Close(listeners ...*Listener) error {
	s.Faults.Close()
	var err error
	for _, l := range listeners {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
	}
	return err
}

// NewStage sets an empty one. Without an error form, plain JSON is used; the
// operations are those of NewFaults.
func NewStage(clock Clock, form func(status int, message string) Answer, operations ...string) *Stage {
	if form == nil {
		form = func(status int, message string) Answer {
			return JSON(status, map[string]any{"status": status, "message": message})
		}
	}
	events := NewEvents(clock)
	return &Stage{
		Clock: clock, Faults: NewFaults(operations...), Events: events,
		Ledger: NewLedger(clock, events), Calls: NewCalls(), Error: form,
	}
}

// Reply counts the call and answers it without any fault point: for calls that are
// refused before the upstream would have done anything, so that they do not use up
// a fault that waits for a real one.
func (s *Stage) Reply(w http.ResponseWriter, call Call, answer Answer) {
	s.Calls.arrived(call)
	s.answer(w, call, answer)
}

// Play runs one call: the faults before the commit, the commit, the faults after
// it, the answer. The body of the request must have been read to its end, or a
// client that goes away is not noticed.
func (s *Stage) Play(w http.ResponseWriter, r *http.Request, call Call, commit func() Answer) {
	s.Calls.arrived(call)
	if v := s.strike(r, call, BeforeCommit); v.ends != "" {
		s.end(w, call, v, Answer{})
		return
	}
	answer := commit()
	if v := s.strike(r, call, AfterCommit); v.ends != "" {
		s.end(w, call, v, answer)
		return
	}
	s.answer(w, call, answer)
}

// answer counts and then answers: who has the answer finds the call counted.
func (s *Stage) answer(w http.ResponseWriter, call Call, answer Answer) {
	s.Calls.ended(call, strconv.Itoa(answer.Status))
	answer.write(w)
}

// Ways in which a fault ends a call; also the outcomes that Calls counts.
const (
	endsAnswered  = "answered"
	endsCut       = "cut"
	endsTruncated = "truncated"
	endsDropped   = "dropped"
	endsGone      = "gone"
)

type verdict struct {
	ends   string // empty: the call goes on
	answer Answer // of endsAnswered
}

func (s *Stage) strike(r *http.Request, call Call, point Point) verdict {
	for _, fault := range s.Faults.take(call, point) {
		if fault.Action == Hold {
			if v := s.hold(r, call, fault); v.ends != "" {
				return v
			}
			continue
		}
		attrs := call.attrs()
		attrs["fault"], attrs["action"], attrs["point"] = fault.ID, string(fault.Action), string(point)
		s.Events.Append(EventFault, call.Operation, attrs)
		switch fault.Action {
		case Delay:
			if v := s.delay(r, fault); v.ends != "" {
				return v
			}
		case Cut:
			return verdict{ends: endsCut}
		case Truncate:
			return verdict{ends: endsTruncated}
		default:
			return verdict{ends: endsAnswered, answer: s.refusal(fault)}
		}
	}
	return verdict{}
}

// hold announces the call and waits for its release or the end of its client.
func (s *Stage) hold(r *http.Request, call Call, fault Fault) verdict {
	h := s.Faults.hold(call, fault.Point)
	attrs := call.attrs()
	attrs["hold"], attrs["fault"], attrs["point"] = h.ID, fault.ID, string(fault.Point)
	s.Events.Append(EventHeld, call.Operation, attrs)
	gone := r.Context().Done()
	if fault.Point == BeforeCommit && fault.IfClientGone == CommitCall {
		gone = nil
	}
	select {
	case <-gone:
		if s.Faults.forget(h) {
			if fault.Point == AfterCommit {
				return verdict{ends: endsGone}
			}
			s.Events.Append(EventDropped, call.Operation, attrs)
			return verdict{ends: endsDropped}
		}
		// Released in the same moment: the channel holds the release.
		return s.released(<-h.release, call, attrs)
	case cut := <-h.release:
		return s.released(cut, call, attrs)
	}
}

func (s *Stage) released(cut bool, call Call, attrs map[string]string) verdict {
	s.Events.Append(EventReleased, call.Operation, attrs)
	if cut {
		return verdict{ends: endsCut}
	}
	return verdict{}
}

func (s *Stage) delay(r *http.Request, fault Fault) verdict {
	gone := r.Context().Done()
	if fault.Point == BeforeCommit && fault.IfClientGone == CommitCall {
		gone = nil
	}
	select {
	case <-gone:
		if fault.Point == AfterCommit {
			return verdict{ends: endsGone}
		}
		return verdict{ends: endsDropped}
	case <-s.Clock.After(time.Duration(fault.Delay)):
		return verdict{}
	}
}

// refusal is the answer of a fault that gives one.
func (s *Stage) refusal(fault Fault) Answer {
	var answer Answer
	switch fault.Action {
	case HTML:
		answer = Answer{
			Status: fault.Status,
			Header: http.Header{"Content-Type": {"text/html"}},
			Body:   []byte(page(fault.Status)),
		}
	case Garble:
		answer = Answer{Status: fault.Status, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(fault.Message)}
	case ThrottleCall:
		answer = s.Error(http.StatusTooManyRequests, orElse(fault.Message, "Too many requests."))
	default:
		answer = s.Error(fault.Status, orElse(fault.Message, http.StatusText(fault.Status)))
	}
	if fault.RetryAfter > 0 {
		s.RetryAfter(&answer, time.Duration(fault.RetryAfter), fault.RetryAfterForm)
	}
	return answer
}

// RetryAfter puts the header on an answer in one of the forms. Seconds are rounded
// up: a client that believes them must not come too early.
func (s *Stage) RetryAfter(answer *Answer, wait time.Duration, form string) {
	if answer.Header == nil {
		answer.Header = http.Header{}
	}
	switch form {
	case RetryAfterSeconds:
		answer.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	case RetryAfterDate:
		at := s.Clock.Now().Add(wait).UTC()
		if rounded := at.Truncate(time.Second); rounded.Before(at) {
			at = rounded.Add(time.Second)
		}
		answer.Header.Set("Retry-After", at.Format(http.TimeFormat))
	}
}

// end counts and carries out how a fault ends a call.
func (s *Stage) end(w http.ResponseWriter, call Call, v verdict, answer Answer) {
	if v.ends == endsAnswered {
		s.answer(w, call, v.answer)
		return
	}
	s.Calls.ended(call, v.ends)
	if v.ends == endsTruncated {
		// An empty answer cannot be cut in half: its headers alone are complete.
		if len(answer.Body) > 0 {
			answer.head(w)
			_, _ = w.Write(answer.Body[:len(answer.Body)/2])
			// Flushed, or the half that should arrive stays in a buffer.
			_ = http.NewResponseController(w).Flush()
		}
	}
	hangUp(w)
}

// hangUp closes the connection under TLS, so that no close_notify pretends that
// the answer was complete.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		// Only a server that is not Listen's cannot do it; a silent 200 would make
		// the fault a success.
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	_ = conn.Close()
}

func page(status int) string {
	title := strconv.Itoa(status) + " " + http.StatusText(status)
	return "<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n<center><h1>" + title +
		"</h1></center>\r\n<hr><center>gateway</center>\r\n</body>\r\n</html>\r\n"
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
