package venafisim

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Events of this simulator beside simkit's.
const (
	// EventRefused: a login or a token was refused; attrs clientId, reason.
	EventRefused = "token.refused"
	// EventTicket: a request waits for a person; attrs dn, ticket.
	EventTicket = "ticket.opened"
	// EventHuman: a person did something; attrs what, dn.
	EventHuman = "human"
)

// maxBody bounds what is read of a request.
const maxBody = 1 << 20

// operation is one kind of call.
type operation struct {
	// name is what faults, counters and events call it.
	name string
	// method and path in lower case; {x} stands for one segment.
	method, path string
	// scope and restriction that the bearer needs; without a scope no bearer is asked for.
	scope, restriction string
	run                func(*turn) simkit.Answer
}

// anyScope is met by every valid token.
const anyScope = "any"

// operations are all of them; of two paths that fit, the first counts.
func operations() []operation {
	const get, head, post, put, del = http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete
	return []operation{
		{"auth.server", get, "/vedauth/authorize/isauthserver", "", "", isAuthServer},
		{"auth.certificate", post, "/vedauth/authorize/certificate", "", "", authorizeByCertificate},
		{"auth.password", post, "/vedauth/authorize/oauth", "", "", authorizeByPassword},
		{"auth.jwt", post, "/vedauth/authorize/jwt", "", "", authorizeByJWT},
		{"auth.refresh", post, "/vedauth/authorize/token", "", "", refreshGrant},
		{"auth.verify", get, "/vedauth/authorize/verify", "", "", verifyToken},
		{"auth.revoke", get, "/vedauth/revoke/token", "", "", revokeToken},
		{"grant.list", post, "/vedsdk/oauth/enumerategrants", "admin", "", enumerateGrants},
		{"grant.get", post, "/vedsdk/oauth/getgrants", "admin", "", getGrants},
		{"grant.count", post, "/vedsdk/oauth/grantcount", "admin", "", countGrants},
		{"grant.revoke", post, "/vedsdk/oauth/revokegrants", "admin", "", revokeGrants},
		{"policy.check", post, "/vedsdk/certificates/checkpolicy", "certificate", "", checkPolicy},
		{"certificate.request", post, "/vedsdk/certificates/request", "certificate", "manage", requestCertificate},
		{"certificate.retrieve", post, "/vedsdk/certificates/retrieve", "certificate", "manage", retrieveCertificate},
		{"certificate.archived", get, "/vedsdk/certificates/retrieve/{id}", "certificate", "manage", retrieveArchived},
		{"certificate.renew", post, "/vedsdk/certificates/renew", "certificate", "manage", renewCertificate},
		{"certificate.revoke", post, "/vedsdk/certificates/revoke", "certificate", "revoke", revokeCertificate},
		{"certificate.reset", post, "/vedsdk/certificates/reset", "certificate", "manage", resetCertificate},
		{"certificate.retry", post, "/vedsdk/certificates/retry", "certificate", "manage", retryCertificate},
		{"certificate.search", get, "/vedsdk/certificates", "certificate", "", searchCertificates},
		{"certificate.count", head, "/vedsdk/certificates", "certificate", "", searchCertificates},
		{"certificate.history", get, "/vedsdk/certificates/{id}/previousversions", "certificate", "", previousVersions},
		{"certificate.read", get, "/vedsdk/certificates/{id}", "certificate", "", readCertificate},
		{"certificate.change", put, "/vedsdk/certificates/{id}", "certificate", "manage", changeCertificate},
		{"certificate.delete", del, "/vedsdk/certificates/{id}", "certificate", "delete", deleteCertificate},
		{"identity.self", get, "/vedsdk/identity/self", anyScope, "", ownIdentity},
		{"config.guid", post, "/vedsdk/config/dntoguid", anyScope, "", guidOfDN},
	}
}

// operationNames are all names that a fault can strike.
func operationNames() []string {
	var names []string
	for _, op := range operations() {
		names = append(names, op.name)
	}
	return names
}

// turn is one call on its way through. It holds the lock.
type turn struct {
	sim       *Sim
	operation string
	by        simkit.Actor
	// grant of the bearer, for operations that ask for one.
	grant     *grant
	request   *http.Request
	id        string
	query     url.Values
	body      []byte
	behaviour Behaviour
	now       time.Time
}

// read decodes the body; keys are compared as Go compares them, which forgives case
// where the platform does not.
func (t *turn) read(into any) bool { return json.Unmarshal(t.body, into) == nil }

// failure is the form of errors of the WebSDK.
func failure(status int, message string) simkit.Answer {
	return simkit.JSON(status, map[string]any{"Error": message})
}

// refusal is an answer whose words stand in the status line alone.
func refusal(status int, reason string) simkit.Answer {
	return simkit.Answer{Status: status, Reason: reason}
}

func (s *Sim) routes() http.Handler {
	table := operations()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
		path := strings.TrimRight(strings.ToLower(r.URL.Path), "/")
		for _, op := range table {
			if id, ok := fits(op.path, path); ok && op.method == r.Method {
				s.serve(w, r, op, id, body)
				return
			}
		}
		call := simkit.Call{Operation: "unknown", By: simkit.Actor{Agent: r.UserAgent()}}
		s.stage.Reply(w, call, simkit.Answer{
			Status: http.StatusNotFound, Header: http.Header{"Content-Type": {"text/html"}},
			Body: []byte("<html><head><title>404 - File or directory not found.</title></head></html>"),
		})
	})
}

// fits matches a path with a pattern of segments.
func fits(pattern, path string) (id string, ok bool) {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return "", false
	}
	for i := range want {
		switch {
		case strings.HasPrefix(want[i], "{"):
			id = have[i]
		case want[i] != have[i]:
			return "", false
		}
	}
	return id, true
}

// serve plays one operation. A caller without a right token is refused at the door,
// before the fault points.
func (s *Sim) serve(w http.ResponseWriter, r *http.Request, op operation, id string, body []byte) {
	call := simkit.Call{Operation: op.name, By: simkit.Actor{Agent: r.UserAgent()}, Attrs: describe(id, body)}
	if op.scope != "" {
		if refused := s.atTheDoor(r, op, &call); refused != nil {
			s.stage.Reply(w, call, *refused)
			return
		}
	}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		t := &turn{
			sim: s, operation: op.name, by: call.By, request: r, id: id, query: lowerKeys(r.URL.Query()),
			body: body, behaviour: s.behaves(), now: s.clock.Now(),
		}
		if op.scope != "" {
			t.grant = s.grantOf(bearer(r))
		}
		return op.run(t)
	})
}

func bearer(r *http.Request) string {
	value, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return value
}

// atTheDoor checks the bearer of a call of the WebSDK.
func (s *Sim) atTheDoor(r *http.Request, op operation, call *simkit.Call) *simkit.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	g := s.grantOf(bearer(r))
	alive := g != nil && (g.serves(now) ||
		// The pool of the WebSDK remembers sessions.
		!g.revoked.IsZero() && now.Before(g.revoked.Add(time.Duration(s.behaves().SessionCache))) && now.Before(g.accessEnds))
	if !alive {
		s.stage.Events.Append(EventRefused, op.name, map[string]string{"reason": "invalid_token", "agent": r.UserAgent()})
		answer := simkit.JSON(http.StatusUnauthorized, map[string]string{"error": "invalid_token", "error_description": "Access token is invalid, expired or revoked"})
		return &answer
	}
	call.By.Login = g.identity.Name + "/" + g.clientID
	if !g.scope.has(op.scope, op.restriction) {
		wanted := strings.TrimSuffix(op.scope+":"+op.restriction, ":")
		answer := simkit.JSON(http.StatusForbidden, map[string]string{
			"error": "insufficient_scope", "error_description": "Grant rejected scope '" + wanted + "'. The token lacks it.",
		})
		return &answer
	}
	s.firstUse(g)
	return nil
}

// firstUse plays the villain. The lock is held.
func (s *Sim) firstUse(g *grant) {
	if g.used {
		return
	}
	g.used = true
	if !s.behaves().RevokePredecessor {
		return
	}
	for _, older := range s.world.grants {
		if older != g && older.clientID == g.clientID && !older.granted.After(g.granted) {
			s.endGrant(older, simkit.Actor{Login: "the judge"}, "revoke-predecessor")
		}
	}
}

// lowerKeys makes the names of query parameters comparable.
func lowerKeys(values url.Values) url.Values {
	out := url.Values{}
	for key, value := range values {
		out[strings.ToLower(key)] = append(out[strings.ToLower(key)], value...)
	}
	return out
}

// describe says what a call is about, for faults and events.
func describe(id string, body []byte) map[string]string {
	attrs := map[string]string{}
	if id != "" {
		attrs["id"] = id
	}
	var document map[string]any
	_ = json.Unmarshal(body, &document) // whatever it is, it describes nothing
	for _, key := range []string{"client_id", "PolicyDN", "ObjectName", "CertificateDN", "Thumbprint", "ObjectDN", "ApplicationId"} {
		if value, ok := document[key].(string); ok && value != "" {
			attrs[key] = value
		}
	}
	return attrs
}

// mayUse reports whether an identity may have grants of an integration.
func (i *Integration) mayUse(identity *Identity) bool {
	return i.Identities == nil || slices.Contains(i.Identities, identity.Name)
}
