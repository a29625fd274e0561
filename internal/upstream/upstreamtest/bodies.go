package upstreamtest

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// brokenBodies are what no upstream should answer and proxies, crashes and new releases do.
var brokenBodies = []string{
	"", "null", "true", "0", "[]", "{}", `"text"`, "[{]", `{"`, `[null]`, `{"results":null}`, `{"results":{}}`, `{"results":[{}]}`, `{"error":"no"}`,
	`{"access_token":7}`, `{"access_token":""}`, `{"total_results":-1,"results":[]}`, `{"id":null,"name":[]}`, "\xff\xfe\x00", "<html></html>",
	strings.Repeat("[", 20000), `{"x":1e999999}`,
}

// unreadable: what cannot be read proves nothing, whatever its status.
func unreadable(t *trial) error {
	tried, thought := 0, 0
	for _, name := range []string{"Check", "Locate", "List", "Issue", "Revoke", "Verify"} {
		r, handle, err := t.issue()
		if err != nil {
			return err
		}
		for _, call := range []Call{Login, ReadRealm, ReadContainer, Read, List, Create, Delete, Prove, Use} {
			for _, status := range []int{200, 201, 404, 410} {
				for _, body := range brokenBodies {
					if thought++; !drawn(thought) {
						continue
					}
					if name == "Revoke" && t.lab.Live(r.Mark) == 0 { // the call before got through
						if r, handle, err = t.issue(); err != nil {
							return err
						}
					}
					m, makes := t.method(name, call, handle)
					if !makes || !t.lab.Arm(call, Fault{Kind: Broken, Status: status, Message: body}) {
						break
					}
					tried++
					if err := t.read(m, call, Fault{Status: status, Message: body}, r.Mark); err != nil {
						return fmt.Errorf("%s with %d %.40q on %s: %w", name, status, body, call, err)
					}
				}
			}
		}
	}
	if tried == 0 {
		return ErrNotPlayed
	}
	return nil
}

// method finds one by its name, if it makes that kind of call. A login is tried where it is
// sure to be made.
func (t *trial) method(name string, call Call, handle upstream.Handle) (method, bool) {
	for _, m := range t.methods(handle) {
		for _, made := range m.calls {
			if m.name == name && made == call && (call != Login || name == "Check") {
				return m, true
			}
		}
	}
	return method{}, false
}

// read lets a new process read the answer, and judges what it made of it.
func (t *trial) read(m method, call Call, fault Fault, mark upstream.Mark) error {
	defer t.lab.Heal()
	before := t.lab.Total()
	account, err := t.open()
	if err != nil {
		return err
	}
	err = m.run(t.ctx, account)
	if err != nil {
		if problem := classified(err); problem != nil {
			return problem
		}
	}
	absent := upstream.ClassOf(err) == upstream.NotFound
	switch {
	case m.name == "Revoke" && t.lab.Live(mark) == 0:
		return nil // it did not need that answer
	case m.name == "Locate" && absent && fault.Status < 300 && json.Valid([]byte(fault.Message)):
		return nil // an empty list holds nothing of that name, and nothing of ours is judged by it
	case absent:
		return fmt.Errorf("absence was concluded: %w", err)
	case err != nil, m.name == "Verify":
		return nil // verdicts are proven elsewhere
	case m.name == "Revoke" && call == Delete && fault.Status < 300:
		return nil // that is what success looks like to whoever deletes
	case m.name == "Issue" && t.lab.Total() > before:
		return nil // it asked again and found out the truth
	case m.name == "Check" && call == ReadRealm && fault.Status < 300 && strings.ContainsAny(fault.Message, "{[") && json.Valid([]byte(fault.Message)):
		return nil // that the realm may be read is all that is asked
	}
	return fmt.Errorf("it succeeded")
}
