package cloudintegrationsim

import (
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// maxBody bounds what is read of a request.
const maxBody = 1 << 20

// forgery is a session that protects writes.
type forgery struct {
	cookie string
	until  time.Time
}

type session struct {
	client string
	until  time.Time
}

// operation is one kind of call.
type operation struct {
	name    string
	method  string
	pattern *regexp.Regexp // of the path below /api/v1/
	role    Role
	limit   string // whose limit it is under; empty: none
	run     func(*turn) simkit.Answer
}

// The limits that calls are under.
const (
	designs  = "design"
	security = "security"
)

var operations = []operation{
	{"runtime.list", "GET", regexp.MustCompile(`^IntegrationRuntimeArtifacts$`), MonitoringDataRead, "", listRuntime},
	{"package.list", "GET", regexp.MustCompile(`^IntegrationPackages$`), WorkspacePackagesRead, designs, listPackages},
	{"design.list", "GET", regexp.MustCompile(`^IntegrationPackages\('((?:[^']|'')+)'\)/IntegrationDesigntimeArtifacts$`), WorkspacePackagesRead, designs, listDesigns},
	{"configuration.list", "GET", regexp.MustCompile(`^IntegrationDesigntimeArtifacts\(Id='((?:[^']|'')+)',Version='((?:[^']|'')+)'\)/Configurations$`), WorkspacePackagesRead, designs, listConfigurations},
	{"design.download", "GET", regexp.MustCompile(`^IntegrationDesigntimeArtifacts\(Id='((?:[^']|'')+)',Version='((?:[^']|'')+)'\)/\$value$`), WorkspacePackagesRead, designs, download},
	{"user-credential.list", "GET", regexp.MustCompile(`^UserCredentials$`), MonitoringDataRead, security, func(t *turn) simkit.Answer { return t.aliases(Users, "Kind", "default") }},
	{"oauth2-credential.list", "GET", regexp.MustCompile(`^OAuth2ClientCredentials$`), MonitoringDataRead, security, func(t *turn) simkit.Answer {
		return t.aliases(OAuth2, "ClientAuthentication", "body")
	}},
	{"keystore.list", "GET", regexp.MustCompile(`^KeystoreEntries$`), MonitoringDataRead, security, listKeystore},
	{"user-credential.read", "GET", regexp.MustCompile(`^UserCredentials\('((?:[^']|'')+)'\)$`), MonitoringDataRead, security, readCredential(Users)},
	{"user-credential.create", "POST", regexp.MustCompile(`^UserCredentials$`), CredentialsEdit, security, writeCredential(Users, false)},
	{"user-credential.update", "PUT", regexp.MustCompile(`^UserCredentials\('((?:[^']|'')+)'\)$`), CredentialsEdit, security, writeCredential(Users, true)},
	{"user-credential.delete", "DELETE", regexp.MustCompile(`^UserCredentials\('((?:[^']|'')+)'\)$`), CredentialsEdit, security, deleteCredential(Users)},
	{"oauth2-credential.read", "GET", regexp.MustCompile(`^OAuth2ClientCredentials\('((?:[^']|'')+)'\)$`), MonitoringDataRead, security, readCredential(OAuth2)},
	{"oauth2-credential.create", "POST", regexp.MustCompile(`^OAuth2ClientCredentials$`), CredentialsEdit, security, writeCredential(OAuth2, false)},
	{"oauth2-credential.update", "PUT", regexp.MustCompile(`^OAuth2ClientCredentials\('((?:[^']|'')+)'\)$`), CredentialsEdit, security, writeCredential(OAuth2, true)},
	{"oauth2-credential.delete", "DELETE", regexp.MustCompile(`^OAuth2ClientCredentials\('((?:[^']|'')+)'\)$`), CredentialsEdit, security, deleteCredential(OAuth2)},
	{"keystore.read", "GET", regexp.MustCompile(`^KeystoreEntries\('([0-9A-Fa-f]+)'\)$`), MonitoringDataRead, security, readKey},
	{"keystore.import", "POST", regexp.MustCompile(`^KeyPairResources$`), SecurityMaterialEdit, security, writeKey},
	{"keystore.delete", "DELETE", regexp.MustCompile(`^KeystoreEntries\('([0-9A-Fa-f]+)'\)$`), SecurityMaterialEdit, security, deleteKey},
	// The service document, where who wants to write fetches a token against forgery.
	{"csrf", "GET", regexp.MustCompile(`^$`), "", "", func(*turn) simkit.Answer { return simkit.JSON(http.StatusOK, map[string]any{"d": map[string]any{}}) }},
}

func operationNames() []string {
	names := []string{"token"}
	for _, op := range operations {
		names = append(names, op.name)
	}
	return names
}

// turn is one call on its way. It holds the lock.
type turn struct {
	sim       *Sim
	tenant    Tenant
	behaviour Behaviour
	client    Client
	parts     []string
	query     url.Values
	body      []byte
}

// failure is the OData form of an error.
func failure(status int, message string) simkit.Answer {
	return simkit.JSON(status, map[string]any{"error": map[string]any{
		"code": http.StatusText(status), "message": map[string]any{"lang": "en", "value": message},
	}})
}

// shown is the subject of the certificate that a client has presented, if it can be believed.
func (s *Sim) shown(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	certificate := r.TLS.PeerCertificates[0]
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if _, err := certificate.Verify(x509.VerifyOptions{Roots: s.authority.Pool(), KeyUsages: usage}); err != nil {
		return ""
	}
	return certificate.Subject.CommonName
}

// token serves the token endpoint: Basic, the pair in the form, or a certificate and no secret.
func (s *Sim) token(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
	form, _ := url.ParseQuery(string(body)) // what is unreadable is no login
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	call := simkit.Call{Operation: "token", By: simkit.Actor{Login: id, Agent: r.UserAgent()}}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		subject := s.shown(r)
		known := slices.ContainsFunc(s.tenant.Clients, func(c Client) bool {
			if c.Subject != "" {
				return c.ID == id && secret == "" && c.Subject == subject
			}
			return c.ID == id && c.Secret == secret
		})
		if !known || form.Get("grant_type") != "client_credentials" && r.URL.Query().Get("grant_type") != "client_credentials" {
			return simkit.JSON(http.StatusUnauthorized, map[string]string{"error": "unauthorized", "error_description": "Bad credentials"})
		}
		value := simkit.NewSecret(32)
		life := time.Duration(s.behaviour.TokenLife)
		s.tokens[value] = session{client: id, until: s.clock.Now().Add(life)}
		return simkit.JSON(http.StatusOK, map[string]any{"access_token": value, "token_type": "bearer", "expires_in": int(life.Seconds())})
	})
}

func (s *Sim) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/oauth/token" && r.Method == http.MethodPost {
		s.token(w, r)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/api/v1/")
	i := slices.IndexFunc(operations, func(op operation) bool { return op.method == r.Method && op.pattern.MatchString(path) })
	call := simkit.Call{Operation: "unknown", By: simkit.Actor{Agent: r.UserAgent()}}
	if !ok || i < 0 {
		s.stage.Reply(w, call, failure(http.StatusNotFound, "Requested entity could not be found."))
		return
	}
	op := operations[i]
	parts := op.pattern.FindStringSubmatch(path)[1:]
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], "''", "'") // how keys write a quote
	}
	call.Operation, call.Attrs = op.name, map[string]string{"of": strings.Join(parts, " ")}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // the client has gone
	}
	client, refusal := s.atTheDoor(r, op)
	call.By.Login = client.ID
	if refusal != nil {
		s.stage.Reply(w, call, *refusal)
		return
	}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		if refused, answer := s.forged(r); refused {
			return answer
		}
		if op.role != "" && !client.has(op.role) {
			return simkit.Answer{Status: http.StatusForbidden} // often without a body
		}
		answer := op.run(&turn{sim: s, tenant: s.tenant, behaviour: s.behaviour, client: client, parts: parts, query: r.URL.Query(), body: body})
		if op.name == "csrf" && strings.EqualFold(r.Header.Get("X-CSRF-Token"), "Fetch") {
			s.greet(&answer)
		}
		if answer.Status == http.StatusOK && answer.Header.Get("Content-Type") == "application/json" && !strings.Contains(r.Header.Get("Accept"), "json") {
			return simkit.Answer{Status: 200, Header: http.Header{"Content-Type": {"application/atom+xml"}}, Body: []byte("<feed/>")}
		}
		return answer
	})
}

// atTheDoor finds who calls, and spends a call of the limit.
func (s *Sim) atTheDoor(r *http.Request, op operation) (Client, *simkit.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	session, known := s.tokens[value]
	i := slices.IndexFunc(s.tenant.Clients, func(c Client) bool { return c.ID == session.client })
	if !known || !s.clock.Now().Before(session.until) || i < 0 {
		answer := simkit.Answer{Status: http.StatusUnauthorized}
		return Client{}, &answer
	}
	if op.limit != "" {
		limit := s.behaviour.DesignLimit
		if op.limit == security {
			limit = s.behaviour.SecurityLimit
		}
		if wait, ok := s.throttle.Take(op.limit, limit); !ok {
			answer := failure(http.StatusTooManyRequests, "Too many requests.")
			if s.behaviour.StateRetryAfter {
				s.stage.RetryAfter(&answer, wait, simkit.RetryAfterSeconds)
			}
			return s.tenant.Clients[i], &answer
		}
	}
	return s.tenant.Clients[i], nil
}

// greet begins a session for who will write: a token, and two cookies that go with it.
func (s *Sim) greet(answer *simkit.Answer) {
	token, cookie := simkit.NewSecret(16), simkit.NewSecret(16)
	s.sessions[token] = forgery{cookie: cookie, until: s.clock.Now().Add(time.Duration(s.behaviour.SessionLife))}
	answer.Header = answer.Header.Clone()
	answer.Header.Set("X-CSRF-Token", token)
	answer.Header.Add("Set-Cookie", "JSESSIONID="+cookie+"; Path=/api; Secure; HttpOnly")
	answer.Header.Add("Set-Cookie", "JTENANTSESSIONID_acme=x"+cookie+"; Path=/; Secure; HttpOnly")
}

// forged: a write came without the token and the cookies of a session, where the tenant asks
// for them.
func (s *Sim) forged(r *http.Request) (bool, simkit.Answer) {
	if r.Method == http.MethodGet || !s.behaviour.AsksForToken {
		return false, simkit.Answer{}
	}
	known, ok := s.sessions[r.Header.Get("X-CSRF-Token")]
	first, err := r.Cookie("JSESSIONID")
	second, also := r.Cookie("JTENANTSESSIONID_acme")
	if ok && err == nil && also == nil && first.Value == known.cookie && second.Value == "x"+known.cookie && s.clock.Now().Before(known.until) {
		return false, simkit.Answer{}
	}
	return true, simkit.Answer{Status: http.StatusForbidden, Header: http.Header{"X-Csrf-Token": {"Required"}}}
}

// page cuts entries as $top, $skip and $inlinecount ask.
func (t *turn) page(entries []map[string]any) simkit.Answer {
	total := len(entries)
	skip, _ := strconv.Atoi(t.query.Get("$skip")) // what is no number skips nothing
	entries = entries[min(max(skip, 0), total):]
	top, err := strconv.Atoi(t.query.Get("$top"))
	if err != nil {
		top = total
	}
	if t.behaviour.MaxPage > 0 {
		top = min(top, t.behaviour.MaxPage)
	}
	entries = entries[:min(max(top, 0), len(entries))]
	d := map[string]any{"results": entries}
	if t.query.Get("$inlinecount") == "allpages" && !t.behaviour.NoCount {
		d["__count"] = strconv.Itoa(total)
	}
	return simkit.JSON(http.StatusOK, map[string]any{"d": d})
}

// sees reports whether the client may see a design in lists, and reads whether it may
// read it.
func (t *turn) sees(f Flow) bool {
	return t.reads(f) || t.behaviour.HiddenAre != "missing"
}
func (t *turn) reads(f Flow) bool { return !f.Protected || t.client.has(AccessAllArtifacts) }

func listRuntime(t *turn) simkit.Answer {
	entries := []map[string]any{}
	for _, f := range t.tenant.Flows {
		if f.Deployed == "" {
			continue
		}
		entries = append(entries, map[string]any{
			"Id": f.ID, "Version": f.Deployed, "Name": f.ID, "Type": orElse(f.Type, "INTEGRATION_FLOW"),
			"DeployedBy": "somebody", "DeployedOn": "/Date(1772359200000)/", "Status": orElse(f.Status, "STARTED"),
		})
	}
	return t.page(entries)
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func listPackages(t *turn) simkit.Answer {
	entries := []map[string]any{}
	seen := map[string]bool{}
	for _, f := range t.tenant.Flows {
		if f.Version != "" && !seen[f.Package] {
			seen[f.Package] = true
			entries = append(entries, map[string]any{"Id": f.Package, "Version": "1.0.0", "Mode": "EDIT_ALLOWED", "ModifiedDate": "1772359200000"})
		}
	}
	return t.page(entries)
}

func listDesigns(t *turn) simkit.Answer {
	entries := []map[string]any{}
	for _, f := range t.tenant.Flows {
		if f.Version != "" && f.Package == t.parts[0] && t.sees(f) {
			entries = append(entries, map[string]any{"Id": f.ID, "Version": f.Version, "PackageId": f.Package, "Name": f.ID})
		}
	}
	return t.page(entries)
}

// design finds the flow of the path, or refuses it.
func (t *turn) design() (Flow, *simkit.Answer) {
	for _, f := range t.tenant.Flows {
		if f.ID != t.parts[0] || f.Version == "" || t.parts[1] != "active" && t.parts[1] != f.Version {
			continue
		}
		if !t.reads(f) {
			answer := simkit.Answer{Status: http.StatusForbidden}
			return f, &answer
		}
		return f, nil
	}
	answer := failure(http.StatusNotFound, "Requested entity could not be found.")
	return Flow{}, &answer
}

func listConfigurations(t *turn) simkit.Answer {
	f, refusal := t.design()
	if refusal != nil {
		return *refusal
	}
	entries := []map[string]any{}
	for _, name := range f.parameters() {
		entries = append(entries, map[string]any{"ParameterKey": name, "ParameterValue": f.set(name), "DataType": "xsd:string"})
	}
	return simkit.JSON(http.StatusOK, map[string]any{"d": map[string]any{"results": entries}})
}

func download(t *turn) simkit.Answer {
	f, refusal := t.design()
	if refusal != nil {
		return *refusal
	}
	if f.ConfigureOnly {
		return failure(t.behaviour.DownloadRefusal, "The artifact cannot be downloaded.")
	}
	archive, err := f.archive()
	if err != nil {
		return failure(http.StatusInternalServerError, err.Error())
	}
	if t.behaviour.BrokenZIP {
		archive = archive[:len(archive)/2]
	}
	return simkit.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/zip"}}, Body: archive}
}

// aliases lists security material; $top and $select are not implemented there.
func (t *turn) aliases(set, field, value string) simkit.Answer {
	if t.query.Has("$top") || t.query.Has("$select") {
		return failure(http.StatusNotImplemented, "Not implemented")
	}
	entries := []map[string]any{}
	for _, e := range t.sim.all(set) {
		shown := t.shown(e)
		if shown[field] == nil {
			shown[field] = value
		}
		entries = append(entries, shown)
	}
	return simkit.JSON(http.StatusOK, map[string]any{"d": map[string]any{"results": entries}})
}

func listKeystore(t *turn) simkit.Answer {
	if t.query.Has("$top") || t.query.Has("$select") || t.query.Get("keystoreName") != "system" {
		return failure(http.StatusBadRequest, "Query options are not supported.")
	}
	entries := []map[string]any{}
	for _, e := range t.sim.all(Keys) {
		entries = append(entries, shownKey(e))
	}
	return simkit.JSON(http.StatusOK, map[string]any{"d": map[string]any{"results": entries}})
}
