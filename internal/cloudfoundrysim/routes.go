package cloudfoundrysim

import (
	"encoding/base64"
	"encoding/json"
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
	opRoot        = "root"
	opLogin       = "uaa.token"
	opClientToken = "token.client"
	opAPICall     = "api.call"
	opBindCreate  = "binding.create"
	opBindDelete  = "binding.delete"

	opInstanceCreate = "instance.create"
)

// operation is one kind of call of the Cloud Controller.
type operation struct {
	name, path string
	run        func(*turn) simkit.Answer
	// filters are the query parameters of a list beside those of paging; nil is no list.
	filters []string
}

var operations = []operation{
	{"org.list", "GET /v3/organizations", listOrgs, []string{"names", "guids"}},
	{"org.read", "GET /v3/organizations/{guid}", readOrg, nil},
	{"space.list", "GET /v3/spaces", listSpaces, []string{"names", "guids", "organization_guids"}},
	{"space.read", "GET /v3/spaces/{guid}", readSpace, nil},
	{"instance.list", "GET /v3/service_instances", listInstances, []string{"names", "guids", "space_guids", "organization_guids", "type", "label_selector"}},
	{opInstanceCreate, "POST /v3/service_instances", createInstance, nil},
	{"instance.read", "GET /v3/service_instances/{guid}", readInstance, nil},
	{"instance.parameters", "GET /v3/service_instances/{guid}/parameters", readInstanceParameters, nil},
	{"instance.update", "PATCH /v3/service_instances/{guid}", updateInstance, nil},
	{"instance.delete", "DELETE /v3/service_instances/{guid}", deleteInstance, nil},
	{"offering.list", "GET /v3/service_offerings", listOfferings, []string{"names", "space_guids"}},
	{"plan.list", "GET /v3/service_plans", listPlans, []string{"names", "service_offering_names", "service_offering_guids", "space_guids", "available"}},
	{"binding.list", "GET /v3/service_credential_bindings", listBindings, []string{"names", "guids", "service_instance_guids", "service_instance_names", "type", "label_selector"}},
	{opBindCreate, "POST /v3/service_credential_bindings", createBinding, nil},
	{"binding.read", "GET /v3/service_credential_bindings/{guid}", readBinding, nil},
	{"binding.details", "GET /v3/service_credential_bindings/{guid}/details", readDetails, nil},
	{"binding.parameters", "GET /v3/service_credential_bindings/{guid}/parameters", readParameters, nil},
	{"binding.update", "PATCH /v3/service_credential_bindings/{guid}", updateBinding, nil},
	{opBindDelete, "DELETE /v3/service_credential_bindings/{guid}", deleteBinding, nil},
	{"job.read", "GET /v3/jobs/{guid}", readJob, nil},
}

func operationNames() []string {
	names := []string{opRoot, opLogin, opClientToken, opAPICall}
	for _, op := range operations {
		names = append(names, op.name)
	}
	return names
}

// codes are those of the platform's error table.
var codes = map[int]struct {
	code  int
	title string
}{
	400: {10005, "CF-BadQueryParameter"}, 401: {1000, "CF-InvalidAuthToken"}, 403: {10003, "CF-NotAuthorized"},
	404: {10010, "CF-ResourceNotFound"}, 409: {60016, "CF-AsyncServiceBindingOperationInProgress"}, 422: {10008, "CF-UnprocessableEntity"},
	429: {10013, "CF-RateLimitExceeded"}, 503: {10015, "CF-ServiceUnavailable"},
}

func failure(status int, message string) simkit.Answer {
	known, ok := codes[status]
	if !ok {
		known.code, known.title = 10001, "UnknownError"
	}
	answer := simkit.JSON(status, map[string]any{"errors": []any{map[string]any{"code": known.code, "title": known.title, "detail": message}}})
	if status == http.StatusTooManyRequests {
		answer.Header.Set("Content-Type", "text/plain") // though the body is JSON
	}
	return answer
}

func unprocessable(words string) simkit.Answer { return failure(422, words) }

// turn is one call on its way through the Cloud Controller. It holds the lock.
type turn struct {
	sim       *Sim
	by        simkit.Actor
	path      string
	guid      string
	query     url.Values
	body      []byte
	behaviour Behaviour
}

func (t *turn) base() string { return t.sim.URL() + "/v3" }

func (s *Sim) platformRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.root)
	mux.HandleFunc("POST /oauth/token", s.login)
	for _, op := range operations {
		mux.HandleFunc(op.path, s.serve(op))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.stage.Reply(w, simkit.Call{Operation: "unknown", By: simkit.Actor{Agent: r.UserAgent()}}, failure(404, "Unknown request"))
	})
	return mux
}

func (s *Sim) root(w http.ResponseWriter, r *http.Request) {
	s.stage.Play(w, r, simkit.Call{Operation: opRoot, By: simkit.Actor{Agent: r.UserAgent()}}, func() simkit.Answer {
		link := func(path string) map[string]any { return map[string]any{"href": s.URL() + path} }
		v3 := link("/v3")
		v3["meta"] = map[string]string{"version": "3.190.0"}
		return simkit.JSON(http.StatusOK, map[string]any{"links": map[string]any{
			"self": link(""), "cloud_controller_v2": nil, "cloud_controller_v3": v3, "login": link(""), "uaa": link(""), "credhub": nil,
			"app_ssh": map[string]any{"href": "ssh.cf.example:2222", "meta": map[string]string{"oauth_client": "ssh-proxy"}},
		}})
	})
}

// login serves the UAA.
func (s *Sim) login(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
	form, _ := url.ParseQuery(string(body)) // what is readable is kept
	who := form.Get("username")
	id, secret, _ := r.BasicAuth()
	if who == "" && id != "cf" {
		who = id
	}
	call := simkit.Call{Operation: opLogin, By: simkit.Actor{Login: who, Agent: r.UserAgent()}}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		refuse := func(status int, kind, words string) simkit.Answer {
			return simkit.JSON(status, map[string]string{"error": kind, "error_description": words})
		}
		client, known := s.world.clients[id]
		if id != "cf" && (!known || client.Secret != secret) || id == "cf" && secret != "" {
			return refuse(401, "invalid_client", "Bad client credentials")
		}
		login := ""
		switch form.Get("grant_type") {
		case "password":
			user, known := s.world.users[form.Get("username")]
			if !known || user.Password != form.Get("password") || user.Origin != origin(r, form) {
				return refuse(401, "unauthorized", "Bad credentials")
			}
			login = user.Name
		case "client_credentials":
			if id == "cf" {
				return refuse(401, "invalid_client", "Unauthorized grant type: client_credentials")
			}
			login = id
		case "urn:ietf:params:oauth:grant-type:jwt-bearer":
			for _, user := range s.world.users {
				if user.Assertion != "" && user.Assertion == form.Get("assertion") {
					login = user.Name
				}
			}
			if login == "" {
				return refuse(401, "invalid_token", "Could not verify the assertion")
			}
		case "refresh_token":
			if login = s.world.refresh[form.Get("refresh_token")]; login == "" {
				return refuse(401, "invalid_token", "Invalid refresh token")
			}
		default:
			return refuse(400, "unsupported_grant_type", "Unsupported grant type")
		}
		return s.grant(login)
	})
}

// grant makes tokens. The access token has the form of a JWT, which libraries look into.
func (s *Sim) grant(login string) simkit.Answer {
	life := time.Duration(s.behaves().TokenLife)
	until := s.clock.Now().Add(life)
	part := func(v any) string {
		text, _ := json.Marshal(v) // made of strings and numbers
		return base64.RawURLEncoding.EncodeToString(text)
	}
	value := part(map[string]string{"alg": "none"}) + "." + part(map[string]any{"jti": newGUID(), "user_name": login, "exp": until.Unix()}) + "." + simkit.NewSecret(43)
	fresh := simkit.NewSecret(34) + "-r"
	s.world.tokens[value], s.world.refresh[fresh] = &token{login, until}, login
	return simkit.JSON(http.StatusOK, map[string]any{
		"access_token": value, "token_type": "bearer", "refresh_token": fresh, "expires_in": int(life.Seconds()),
		"scope": "openid cloud_controller.read cloud_controller.write", "jti": newGUID(),
	})
}

// origin reads login_hint, {"origin":"my-idp"}.
func origin(r *http.Request, form url.Values) string {
	var hint struct{ Origin string }
	for _, text := range []string{r.URL.Query().Get("login_hint"), form.Get("login_hint")} {
		_ = json.Unmarshal([]byte(text), &hint) // whatever else it is, it names no provider
	}
	return hint.Origin
}

// serve plays one operation of the Cloud Controller. What is refused at its door is
// refused before the fault points.
func (s *Sim) serve(op operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
		call := simkit.Call{Operation: op.name, By: simkit.Actor{Agent: r.UserAgent()}, Attrs: map[string]string{"guid": r.PathValue("guid")}}
		if refusal := s.atTheDoor(r, &call); refusal != nil {
			s.stage.Reply(w, call, *refusal)
			return
		}
		if op.name == opBindCreate || op.name == opInstanceCreate {
			call.Attrs = createAttrs(body)
		}
		s.stage.Play(w, r, call, func() simkit.Answer {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.settle()
			query := r.URL.Query()
			if refusal := checkQuery(op, query); refusal != nil {
				return *refusal
			}
			return op.run(&turn{sim: s, by: call.By, path: r.URL.Path, guid: r.PathValue("guid"), query: query, body: body, behaviour: s.behaves()})
		})
	}
}

// atTheDoor finds who calls, and spends one of his calls.
func (s *Sim) atTheDoor(r *http.Request, call *simkit.Call) *simkit.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	t := s.world.tokens[value]
	now := s.clock.Now()
	if !strings.EqualFold(kind, "bearer") || t == nil || !now.Before(t.until) {
		answer := failure(401, "Invalid Auth Token")
		return &answer
	}
	call.By.Login = t.login
	limit := s.behaves().RequestsPerHour
	if limit == 0 {
		return nil
	}
	recent := slices.DeleteFunc(s.world.spent[t.login], func(at time.Time) bool { return !now.Before(at.Add(time.Hour)) })
	if len(recent) >= limit {
		answer := failure(429, "Rate Limit Exceeded")
		s.stage.RetryAfter(&answer, recent[0].Add(time.Hour).Sub(now), simkit.RetryAfterSeconds)
		return &answer
	}
	s.world.spent[t.login] = append(recent, now)
	return nil
}

// checkQuery refuses parameters that a list does not know.
func checkQuery(op operation, query url.Values) *simkit.Answer {
	valid := append(slices.Clone(op.filters), "page", "per_page", "order_by", "include", "created_ats", "updated_ats", "fields[service_offering]")
	for name := range query {
		if op.filters != nil && !slices.Contains(valid, name) {
			answer := failure(400, "The query parameter is invalid: Unknown query parameter(s): '"+name+"'. Valid parameters are: '"+strings.Join(valid, "', '")+"'")
			return &answer
		}
	}
	return nil
}

// createAttrs says what a creation is about.
func createAttrs(body []byte) map[string]string {
	var document struct {
		Name     string
		Metadata struct{ Labels map[string]*string }
	}
	_ = json.Unmarshal(body, &document) // whatever it is, it is refused later
	attrs := map[string]string{"name": document.Name}
	if mark := document.Metadata.Labels["credentials.claviger.dev/mark"]; mark != nil {
		attrs["mark"] = *mark
	}
	return attrs
}

// page answers a list.
func (t *turn) page(resources []any) simkit.Answer {
	number, size := 1, 50
	for name, into := range map[string]*int{"page": &number, "per_page": &size} {
		if text := t.query.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > 5000 {
				return failure(400, "The query parameter is invalid: "+name+" must be between 1 and 5000")
			}
			*into = n
		}
	}
	total := len(resources)
	if short := t.behaviour.ShortLists; short != nil {
		resources = resources[:min(*short, total)]
	}
	from := min((number-1)*size, len(resources))
	shown := append([]any{}, resources[from:min(from+size, len(resources))]...)
	pages := max(1, (total+size-1)/size)
	href := func(n int) any {
		if n < 1 || n > pages {
			return nil
		}
		query := url.Values{}
		for name, values := range t.query {
			query[name] = values
		}
		query.Set("page", strconv.Itoa(n))
		query.Set("per_page", strconv.Itoa(size))
		return map[string]string{"href": t.sim.URL() + t.path + "?" + query.Encode()}
	}
	return simkit.JSON(http.StatusOK, map[string]any{
		"pagination": map[string]any{"total_results": total, "total_pages": pages, "first": href(1), "last": href(pages), "next": href(number + 1), "previous": href(number - 1)},
		"resources":  shown,
	})
}

// wanted reports whether a value passes a filter: a list separated by commas.
func (t *turn) wanted(filter, value string) bool {
	text, given := t.query[filter]
	if !given {
		return true
	}
	for _, one := range strings.Split(strings.Join(text, ","), ",") {
		if decoded, err := url.QueryUnescape(one); err == nil && decoded == value {
			return true
		}
	}
	return false
}
