package centrasitesim

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Namespace of the elements of the Approval Service. The product's own is not known.
const Namespace = "urn:centrasitesim:approval"

// approvalOperations are the operations of the service, and the simulator's names for them.
var approvalOperations = map[string]string{
	"getPendingApprovals": "approval.pending", "getApprovalRequests": "approval.requests", "getApprovalActions": "approval.actions",
	"getApprovalHistory": "approval.history", "approve": "approval.approve", "reject": "approval.reject",
}

// soapCall is what an envelope asks for.
type soapCall struct {
	operation string
	arguments map[string][]string
}

// readEnvelope reads one.
func readEnvelope(body []byte) (soapCall, bool) {
	call := soapCall{arguments: map[string][]string{}}
	decoder := xml.NewDecoder(bytes.NewReader(body))
	var path []xml.Name
	for {
		next, err := decoder.Token()
		if err != nil {
			return call, call.operation != "" && len(path) == 0
		}
		switch element := next.(type) {
		case xml.StartElement:
			path = append(path, element.Name)
			if len(path) == 3 && path[1].Local == "Body" && element.Name.Space == Namespace {
				call.operation = element.Name.Local
			}
		case xml.CharData:
			if len(path) == 4 && path[3].Space == Namespace {
				call.arguments[path[3].Local] = append(call.arguments[path[3].Local], string(element))
			}
		case xml.EndElement:
			path = path[:len(path)-1]
		}
	}
}

func soapFault(status int, words string) simkit.Answer {
	return soapAnswer(status, `<s:Fault><faultcode>s:Client</faultcode><faultstring>`+escape(words)+`</faultstring></s:Fault>`)
}

func soapAnswer(status int, body string) simkit.Answer {
	return simkit.Answer{
		Status: status, Header: http.Header{"Content-Type": {"text/xml; charset=utf-8"}},
		Body: []byte(`<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>` + body + `</s:Body></s:Envelope>`),
	}
}

func escape(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // a builder takes everything
	return out.String()
}

// approvals serves the Approval Service.
func (s *Sim) approvals(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
	asked, ok := readEnvelope(body)
	call := simkit.Call{Operation: "unknown", By: simkit.Actor{Agent: r.UserAgent()}}
	if refusal := s.atTheDoor(r, &call); refusal != nil {
		s.stage.Reply(w, call, *refusal)
		return
	}
	name, known := approvalOperations[asked.operation]
	if !ok || !known {
		s.stage.Reply(w, call, soapFault(http.StatusInternalServerError, "The operation '"+asked.operation+"' is not known."))
		return
	}
	call.Operation = name
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.world.users[call.By.Login].denied {
			return soapFault(http.StatusInternalServerError, "The user lacks the permission.")
		}
		return s.answerApproval(asked, call.By)
	})
}

// answerApproval carries out one operation. The lock is held.
func (s *Sim) answerApproval(asked soapCall, by simkit.Actor) simkit.Answer {
	keys := asked.arguments["approvalRequestKeys"]
	chosen := func(want func(*token) bool) []*token {
		return slices.DeleteFunc(slices.Clone(s.world.tokens), func(t *token) bool { return t.approval == nil || !want(t) })
	}
	switch asked.operation {
	case "getPendingApprovals":
		return s.requests(chosen(func(t *token) bool {
			return t.approval.status == inProgress && slices.Contains(t.api.Approvers, by.Login)
		}))
	case "getApprovalRequests":
		statuses := asked.arguments["status"]
		return s.requests(chosen(func(t *token) bool { return len(statuses) == 0 || slices.Contains(statuses, t.approval.status) }))
	case "getApprovalActions", "getApprovalHistory":
		return s.actions(asked.operation, chosen(func(t *token) bool { return slices.Contains(keys, t.approval.key) }))
	}
	comment := strings.Join(asked.arguments["comment"], "")
	for _, t := range chosen(func(t *token) bool { return slices.Contains(keys, t.approval.key) }) {
		if err := s.decide(t, by.Login, asked.operation == "approve", comment, by, "approval."+asked.operation); err != nil {
			return soapFault(http.StatusInternalServerError, err.Error())
		}
	}
	return soapAnswer(http.StatusOK, `<a:`+asked.operation+`Response xmlns:a="`+Namespace+`"/>`)
}

// field is one of an element.
type field struct{ name, value string }

// element writes one in this release's way.
func (s *Sim) element(name string, fields ...field) string {
	var out strings.Builder
	if s.behaves().SmallElements {
		out.WriteString(`<a:` + strings.ToLower(name[:1]) + name[1:])
		for _, f := range fields {
			out.WriteString(` ` + strings.ToLower(f.name[:1]) + f.name[1:] + `="` + escape(f.value) + `"`)
		}
		return out.String() + `/>`
	}
	out.WriteString(`<a:` + name + `>`)
	for _, f := range fields {
		out.WriteString(`<a:` + f.name + `>` + escape(f.value) + `</a:` + f.name + `>`)
	}
	return out.String() + `</a:` + name + `>`
}

// requests writes an ApprovalRequestList. The lock is held.
func (s *Sim) requests(tokens []*token) simkit.Answer {
	total, shown := len(tokens), tokens
	if most := s.behaves().ShortLists; most != nil {
		shown = tokens[:min(total, *most)]
	}
	var out strings.Builder
	out.WriteString(`<a:getApprovalRequestsResponse xmlns:a="` + Namespace + `"><a:ApprovalRequestList><a:Count>` + strconv.Itoa(total) + `</a:Count>`)
	for _, t := range shown {
		remarks := t.approval.remarks
		if s.behaves().RemarksInActions {
			remarks = ""
		}
		out.WriteString(s.element("ApprovalRequest",
			field{"Key", t.approval.key}, field{"RequestorKey", t.approval.requestor}, field{"SubmitDate", t.approval.submitted.UTC().Format(time.RFC3339)},
			field{"ObjectKey", t.uuid}, field{"ObjectType", "AccessToken"}, field{"Status", t.approval.status}, field{"Remarks", remarks},
		))
	}
	return soapAnswer(http.StatusOK, out.String()+`</a:ApprovalRequestList></a:getApprovalRequestsResponse>`)
}

// actions writes what people did about requests. The lock is held.
func (s *Sim) actions(operation string, tokens []*token) simkit.Answer {
	var out strings.Builder
	out.WriteString(`<a:` + operation + `Response xmlns:a="` + Namespace + `"><a:ApprovalActionList>`)
	for _, t := range tokens {
		if t.approval.by != "" {
			out.WriteString(s.element("ApprovalAction",
				field{"ApprovalRequestKey", t.approval.key}, field{"User", t.approval.by}, field{"Status", t.approval.status}, field{"Remarks", t.approval.remarks}))
		}
	}
	return soapAnswer(http.StatusOK, out.String()+`</a:ApprovalActionList></a:`+operation+`Response>`)
}
