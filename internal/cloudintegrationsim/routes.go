package cloudintegrationsim

import (
	"crypto/x509"
	"encoding/hex"
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

type session struct {
	client string
	until  time.Time
}

// operation is one kind of call.
type operation struct {
	name    string
	pattern *regexp.Regexp // of the path below /api/v1/
	role    Role
	design  bool // under the limit of designs
	run     func(*turn) simkit.Answer
}

var operations = []operation{
	{"runtime.list", regexp.MustCompile(`^IntegrationRuntimeArtifacts$`), MonitoringDataRead, false, listRuntime},
	{"package.list", regexp.MustCompile(`^IntegrationPackages$`), WorkspacePackagesRead, true, listPackages},
	{"design.list", regexp.MustCompile(`^IntegrationPackages\('((?:[^']|'')+)'\)/IntegrationDesigntimeArtifacts$`), WorkspacePackagesRead, true, listDesigns},
	{"configuration.list", regexp.MustCompile(`^IntegrationDesigntimeArtifacts\(Id='((?:[^']|'')+)',Version='((?:[^']|'')+)'\)/Configurations$`), WorkspacePackagesRead, true, listConfigurations},
	{"design.download", regexp.MustCompile(`^IntegrationDesigntimeArtifacts\(Id='((?:[^']|'')+)',Version='((?:[^']|'')+)'\)/\$value$`), WorkspacePackagesRead, true, download},
	{"user-credential.list", regexp.MustCompile(`^UserCredentials$`), MonitoringDataRead, false, func(t *turn) simkit.Answer { return t.aliases(t.tenant.UserCredentials, "Kind", "default") }},
	{"oauth2-credential.list", regexp.MustCompile(`^OAuth2ClientCredentials$`), MonitoringDataRead, false, func(t *turn) simkit.Answer {
		return t.aliases(t.tenant.OAuth2Credentials, "ClientAuthentication", "body")
	}},
	{"keystore.list", regexp.MustCompile(`^KeystoreEntries$`), MonitoringDataRead, false, listKeystore},
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
	i := slices.IndexFunc(operations, func(op operation) bool { return op.pattern.MatchString(path) })
	call := simkit.Call{Operation: "unknown", By: simkit.Actor{Agent: r.UserAgent()}}
	if !ok || i < 0 || r.Method != http.MethodGet {
		s.stage.Reply(w, call, failure(http.StatusNotFound, "Requested entity could not be found."))
		return
	}
	op := operations[i]
	parts := op.pattern.FindStringSubmatch(path)[1:]
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], "''", "'") // how keys write a quote
	}
	call.Operation, call.Attrs = op.name, map[string]string{"of": strings.Join(parts, " ")}
	client, refusal := s.atTheDoor(r, op)
	call.By.Login = client.ID
	if refusal != nil {
		s.stage.Reply(w, call, *refusal)
		return
	}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !client.has(op.role) {
			return simkit.Answer{Status: http.StatusForbidden} // often without a body
		}
		answer := op.run(&turn{sim: s, tenant: s.tenant, behaviour: s.behaviour, client: client, parts: parts, query: r.URL.Query()})
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
	if op.design {
		if wait, ok := s.throttle.Take("design", s.behaviour.DesignLimit); !ok {
			answer := failure(http.StatusTooManyRequests, "Too many requests.")
			if s.behaviour.StateRetryAfter {
				s.stage.RetryAfter(&answer, wait, simkit.RetryAfterSeconds)
			}
			return s.tenant.Clients[i], &answer
		}
	}
	return s.tenant.Clients[i], nil
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
func (t *turn) aliases(names []string, field, value string) simkit.Answer {
	if t.query.Has("$top") || t.query.Has("$select") {
		return failure(http.StatusNotImplemented, "Not implemented")
	}
	entries := []map[string]any{}
	for _, name := range names {
		entries = append(entries, map[string]any{"Name": name, field: value, "Description": "", "Password": nil})
	}
	return simkit.JSON(http.StatusOK, map[string]any{"d": map[string]any{"results": entries}})
}

func listKeystore(t *turn) simkit.Answer {
	if t.query.Has("$top") || t.query.Has("$select") || t.query.Get("keystoreName") != "system" {
		return failure(http.StatusBadRequest, "Query options are not supported.")
	}
	entries := []map[string]any{}
	for _, alias := range t.tenant.KeyPairs {
		entries = append(entries, map[string]any{"Hexalias": strings.ToUpper(hex.EncodeToString([]byte(alias))), "Alias": alias, "Type": "Key Pair"})
	}
	return simkit.JSON(http.StatusOK, map[string]any{"d": map[string]any{"results": entries}})
}
