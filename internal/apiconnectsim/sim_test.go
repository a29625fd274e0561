package apiconnectsim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	realm       = "provider/default-idp-2"
	credentials = "/api/apps/acme/production/retail/billing/credentials"
	catalogWide = "/api/catalogs/acme/production/credentials"
)

var billing = Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail", App: "billing"}

// stand is a running simulator, its clock and a client that trusts it.
type stand struct {
	*Sim
	t      testing.TB
	clock  *simkit.Manual
	client *http.Client
	token  string
}

// newStand starts the sample world on a clock that stands still, and logs in as
// the login that may do everything.
func newStand(t testing.TB, adjust ...func(*Options)) *stand {
	t.Helper()
	s := &stand{t: t, clock: simkit.NewManual(epoch)}
	options := Options{Clock: s.clock, Seed: Sample()}
	for _, a := range adjust {
		a(&options)
	}
	s.Sim = New(options)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.CA()) {
		t.Fatal("the CA is no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 64}
	s.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.token = s.login("svc-rotator", "rotator-password")
	return s
}

// behave sets the behaviour before the start.
func behave(change func(*Behaviour)) func(*Options) {
	return func(o *Options) {
		b := Usual()
		change(&b)
		o.Behaviour = &b
	}
}

// response is an answer that was read to its end.
type response struct {
	status int
	header http.Header
	text   string
	body   map[string]any // nil if the answer is no JSON object
}

func (r response) str(field string) string {
	text, _ := r.body[field].(string)
	return text
}

// results are the entries of a list.
func (r response) results() []map[string]any {
	var out []map[string]any
	entries, _ := r.body["results"].([]any)
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		out = append(out, entry)
	}
	return out
}

func (r response) names() []string {
	names := []string{}
	for _, entry := range r.results() {
		name, _ := entry["name"].(string)
		names = append(names, name)
	}
	return names
}

// try sends one request; a body that is a string goes out as it is.
func (s *stand) try(ctx context.Context, method, url string, body any, header map[string]string) (response, error) {
	s.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		reader = bytes.NewReader(encoded)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("User-Agent", "tester/1")
	for name, value := range header {
		r.Header.Set(name, value)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return response{}, err
	}
	out := response{status: answer.StatusCode, header: answer.Header, text: string(text)}
	_ = json.Unmarshal(text, &out.body)
	return out, nil
}

// as calls the platform with a token.
func (s *stand) as(token, method, path string, body any) response {
	s.t.Helper()
	answer, err := s.try(s.t.Context(), method, s.URL()+path, body, map[string]string{
		"Authorization": "Bearer " + token, "Accept": "application/json", "Content-Type": "application/json",
	})
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer
}

// do calls the platform as the login that may do everything.
func (s *stand) do(method, path string, body any) response {
	s.t.Helper()
	return s.as(s.token, method, path, body)
}

// want is do with an expected status.
func (s *stand) want(status int, method, path string, body any) response {
	s.t.Helper()
	answer := s.do(method, path, body)
	if answer.status != status {
		s.t.Fatalf("%s %s: got %d %s, want %d", method, path, answer.status, answer.text, status)
	}
	return answer
}

// ask calls the token endpoint with the toolkit's registration.
func (s *stand) ask(grant map[string]string) response {
	s.t.Helper()
	body := map[string]string{"client_id": "toolkit", "client_secret": "toolkit-secret"}
	for name, value := range grant {
		body[name] = value
	}
	answer, err := s.try(s.t.Context(), http.MethodPost, s.URL()+"/api/token", body, map[string]string{
		"Accept": "application/json", "Content-Type": "application/json",
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return answer
}

func (s *stand) login(username, password string) string {
	s.t.Helper()
	answer := s.ask(map[string]string{"grant_type": "password", "username": username, "password": password, "realm": realm})
	if answer.str("access_token") == "" {
		s.t.Fatalf("login of %s: %d %s", username, answer.status, answer.text)
	}
	return answer.str("access_token")
}

// through calls the gateway and returns the status.
func (s *stand) through(clientID, secret string) int {
	s.t.Helper()
	answer, err := s.try(s.t.Context(), http.MethodGet, s.GatewayURL()+"/orders/v1", nil, map[string]string{
		"X-IBM-Client-Id": clientID, "X-IBM-Client-Secret": secret,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.status
}

// seeded adds one credential by hand and returns it with its secret.
func (s *stand) seeded(path Path, credential SeedCredential) SeedCredential {
	s.t.Helper()
	out, err := s.Seed(Seed{Orgs: []SeedOrg{{Name: path.Org, Catalogs: []SeedCatalog{{
		Name: path.Catalog, ConsumerOrgs: []SeedConsumerOrg{{
			Name: path.ConsumerOrg, Apps: []SeedApp{{Name: path.App, Credentials: []SeedCredential{credential}}},
		}},
	}}}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return out.Orgs[0].Catalogs[0].ConsumerOrgs[0].Apps[0].Credentials[0]
}

func (s *stand) fault(fault simkit.Fault) {
	s.t.Helper()
	if _, err := s.Faults().Add(fault); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stand) adjust(change func(*Behaviour)) {
	s.t.Helper()
	if err := s.Adjust(change); err != nil {
		s.t.Fatal(err)
	}
}

// await waits for an event of a type.
func (s *stand) await(kind string) simkit.Event {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	event, err := s.Events().Wait(ctx, 0, func(e simkit.Event) bool { return e.Type == kind })
	if err != nil {
		s.t.Fatalf("no event %q: %v", kind, err)
	}
	return event
}

// balanced checks that ledger and world agree: what is issued and not revoked is
// what the platform lists, and nothing else.
func (s *stand) balanced() {
	s.t.Helper()
	live := map[string]string{}
	for _, record := range s.Ledger().Live() {
		live[record.ID] = record.Attrs["clientId"]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, o := range s.world.orgs.order {
		for _, c := range o.catalogs.order {
			for _, credential := range c.credentials {
				n++
				if live[credential.id] != credential.clientID {
					s.t.Errorf("the ledger says %q of %s, the platform %q", live[credential.id], credential.id, credential.clientID)
				}
			}
		}
	}
	if n != len(live) {
		s.t.Errorf("%d in the platform, %d live in the ledger", n, len(live))
	}
}
