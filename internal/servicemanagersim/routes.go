package servicemanagersim

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// maxBody bounds what is read of a request.
const maxBody = 1 << 20

// Operations, as faults, counters and events call them.
const (
	opLogin         = "client.login"
	opBindingCreate = "binding.create"
)

// route is one kind of call of the API.
type route struct {
	name, path string
	run        func(*turn) simkit.Answer
	// bindings: it counts for the limit of bindings.
	bindings bool
}

var routes = []route{
	{"instance.list", "GET /v1/service_instances", listInstances, false},
	{"instance.read", "GET /v1/service_instances/{id}", readInstance, false},
	{"platform.list", "GET /v1/platforms", listPlatforms, false},
	{"binding.list", "GET /v1/service_bindings", listBindings, true},
	{opBindingCreate, "POST /v1/service_bindings", createBinding, true},
	{"binding.read", "GET /v1/service_bindings/{id}", readBinding, true},
	{"binding.update", "PATCH /v1/service_bindings/{id}", updateBinding, true},
	{"binding.delete", "DELETE /v1/service_bindings/{id}", deleteBinding, true},
	{"operation.read", "GET /v1/service_bindings/{id}/operations/{operation}", readOperation, true},
}

func operationNames() []string {
	names := []string{opLogin}
	for _, r := range routes {
		names = append(names, r.name)
	}
	return names
}

// failure is the API's form of a refusal.
func failure(status int, message string) simkit.Answer {
	kind := map[int]string{
		400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Gone", 422: "UnprocessableEntity", 429: "TooManyRequests",
	}[status]
	if kind == "" {
		kind = "InternalServerError"
	}
	return simkit.JSON(status, map[string]any{"error": kind, "description": message})
}

// turn is one call on its way through the API. It holds the lock.
type turn struct {
	sim       *Sim
	by        simkit.Actor
	client    Client
	id        string
	operation string
	query     url.Values
	body      []byte
	behaviour Behaviour
}

func (s *Sim) routes() http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.HandleFunc(r.path, s.serve(r))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.stage.Reply(w, simkit.Call{Operation: "unknown", By: simkit.Actor{Agent: r.UserAgent()}}, failure(404, "no such path"))
	})
	return mux
}

// login serves the token server of the clients.
func (s *Sim) login(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
	form, _ := url.ParseQuery(string(body)) // what is readable is kept
	id := form.Get("client_id")
	call := simkit.Call{Operation: opLogin, By: simkit.Actor{Login: id, Agent: r.UserAgent()}}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		refuse := func(status int, kind, words string) simkit.Answer {
			return simkit.JSON(status, map[string]string{"error": kind, "error_description": words})
		}
		if r.Method != http.MethodPost || r.URL.Path != "/oauth/token" || form.Get("grant_type") != "client_credentials" {
			return refuse(400, "unsupported_grant_type", "Unsupported grant type")
		}
		c, known := s.world.clients[id]
		proven := known && c.Secret != "" && form.Get("client_secret") == c.Secret
		if known && c.Secret == "" && r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			proven = thumbprint(r.TLS.PeerCertificates[0].Raw) == thumbprint(s.world.pairs[id].certificate.Certificate[0])
		}
		if !proven {
			return refuse(401, "unauthorized", "Bad credentials")
		}
		life := time.Duration(s.behaves().TokenLife)
		value := simkit.NewSecret(43)
		s.world.tokens[value] = token{id, s.clock.Now().Add(life)}
		return simkit.JSON(http.StatusOK, map[string]any{"access_token": value, "token_type": "bearer", "expires_in": int(life.Seconds()), "scope": c.Plan, "jti": newID()})
	})
}

// serve plays one call of the API. What is refused at its door is refused before the fault
// points.
func (s *Sim) serve(route route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
		call := simkit.Call{Operation: route.name, By: simkit.Actor{Agent: r.UserAgent()}, Attrs: map[string]string{"id": r.PathValue("id")}}
		if refusal := s.atTheDoor(r, &call, route); refusal != nil {
			s.stage.Reply(w, call, *refusal)
			return
		}
		if route.name == opBindingCreate {
			call.Attrs = createAttrs(body)
		}
		s.stage.Play(w, r, call, func() simkit.Answer {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.settle()
			client, known := s.world.clients[call.By.Login]
			if !known {
				return failure(403, "the client is gone")
			}
			return route.run(&turn{
				sim: s, by: call.By, client: client, id: r.PathValue("id"), operation: r.PathValue("operation"), query: r.URL.Query(), body: body, behaviour: s.behaves(),
			})
		})
	}
}

// atTheDoor finds who calls, and spends one of his calls.
func (s *Sim) atTheDoor(r *http.Request, call *simkit.Call, route route) *simkit.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	behaviour := s.behaves()
	if behaviour.Unrouted > 0 {
		_ = s.Adjust(func(b *Behaviour) { b.Unrouted-- }) // was more than 0
		return &simkit.Answer{
			Status: http.StatusNotFound, Header: http.Header{"X-Cf-Routererror": {"unknown_route"}, "Content-Type": {"text/plain"}},
			Body: []byte("404 Not Found: Requested route does not exist.\n"),
		}
	}
	kind, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	t, known := s.world.tokens[value]
	now := s.clock.Now()
	if !strings.EqualFold(kind, "bearer") || !known || !now.Before(t.until) {
		answer := failure(401, "authentication failed")
		return &answer
	}
	call.By.Login = t.client
	limits := []limit{{"all", behaviour.TotalPerMinute, time.Minute}, {"all", behaviour.TotalPerHour, time.Hour}}
	if route.bindings {
		limits = append(limits, limit{"bindings", behaviour.BindingsPerMinute, time.Minute}, limit{"bindings", behaviour.BindingsPerHour, time.Hour})
	}
	for _, l := range limits {
		if wait := s.spentOut(t.client, l, now); wait > 0 {
			answer := simkit.JSON(http.StatusTooManyRequests, map[string]string{
				"description": fmt.Sprintf("The allowed request limit of %d responses has been reached. Please try again later. Check the 'Retry-After' header value to see how long you need to wait.", l.most),
			})
			s.retryAfter(&answer, now, wait, behaviour.RetryAfterForm)
			return &answer
		}
	}
	s.world.spent[t.client+"/all"] = append(s.world.spent[t.client+"/all"], now)
	if route.bindings {
		s.world.spent[t.client+"/bindings"] = append(s.world.spent[t.client+"/bindings"], now)
	}
	return nil
}

// limit is how many calls of a group are let through in a time.
type limit struct {
	group string
	most  int
	per   time.Duration
}

// spentOut says how long a client that has used up a limit has to wait.
func (s *Sim) spentOut(client string, l limit, now time.Time) time.Duration {
	if l.most == 0 {
		return 0
	}
	recent := slices.DeleteFunc(slices.Clone(s.world.spent[client+"/"+l.group]), func(at time.Time) bool { return !now.Before(at.Add(l.per)) })
	if len(recent) < l.most {
		return 0
	}
	return recent[len(recent)-l.most].Add(l.per).Sub(now)
}

func (s *Sim) retryAfter(answer *simkit.Answer, now time.Time, wait time.Duration, form string) {
	if form == RetryAfterGo {
		answer.Header.Set("Retry-After", now.Add(wait).UTC().Truncate(time.Second).Add(time.Second).String())
		return
	}
	s.stage.RetryAfter(answer, wait, form)
}

// createAttrs says what a creation is about.
func createAttrs(body []byte) map[string]string {
	var document struct {
		Name   string              `json:"name"`
		Labels map[string][]string `json:"labels"`
	}
	_ = json.Unmarshal(body, &document) // whatever it is, it is refused later
	return map[string]string{"name": document.Name, "mark": strings.Join(document.Labels["_claviger_mark"], ",")}
}

// page answers a list of what passes the queries. A token is the number of the item that
// comes next.
func (t *turn) page(items []item) simkit.Answer {
	fields, err := parseQuery(t.query.Get("fieldQuery"))
	if err != nil {
		return failure(400, "fieldQuery: "+err.Error())
	}
	labels, err := parseQuery(t.query.Get("labelQuery"))
	if err != nil {
		return failure(400, "labelQuery: "+err.Error())
	}
	var chosen []any
	for _, one := range items {
		fits := true
		for _, c := range fields {
			values, known := one.fields[c.key]
			if !known {
				return failure(400, "unsupported field query key: "+c.key)
			}
			fits = fits && c.holds(values)
		}
		for _, c := range labels {
			fits = fits && c.holds(one.labels[c.key])
		}
		if fits {
			chosen = append(chosen, one.document)
		}
	}
	size := t.behaviour.PageSize
	if text := t.query.Get("max_items"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return failure(400, "max_items must be a number")
		}
		size = min(size, n)
	}
	from := 0
	if text := t.query.Get("token"); text != "" {
		if from, err = strconv.Atoi(text); err != nil || from < 0 {
			return failure(400, "invalid token")
		}
	}
	total := len(chosen)
	if short := t.behaviour.ShortLists; short != nil {
		chosen = chosen[:min(*short, total)]
	}
	from = min(from, len(chosen))
	to := min(from+size, len(chosen))
	document := map[string]any{"num_items": total, "items": append([]any{}, chosen[from:to]...)}
	if to < len(chosen) && size > 0 {
		document["token"] = strconv.Itoa(to)
	}
	return simkit.JSON(http.StatusOK, document)
}

// item is what queries look at, and what is shown.
type item struct {
	document any
	fields   map[string][]string
	labels   map[string][]string
}

func keyPEM(certificate tls.Certificate) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}
