package servicemanagersim_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/servicemanagersim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

const account = "0c1d9a6e"

// caller is a client of the simulator that knows nothing but the wire.
type caller struct {
	t     *testing.T
	sim   *servicemanagersim.Sim
	clock *simkit.Manual
	http  *http.Client
	token string
}

func start(t *testing.T, change func(*servicemanagersim.Behaviour)) *caller {
	t.Helper()
	behaviour := servicemanagersim.Usual()
	if change != nil {
		change(&behaviour)
	}
	clock := simkit.NewManual(time.Now())
	sim := servicemanagersim.New(servicemanagersim.Options{Clock: clock, Behaviour: &behaviour, Seed: servicemanagersim.Seed{
		Clients: []servicemanagersim.Client{
			{ID: "admin", Secret: "a+b", Subaccount: account, Plan: servicemanagersim.PlanAdmin},
			{ID: "mtls", Subaccount: account, Plan: servicemanagersim.PlanAdmin},
			{ID: "audit", Secret: "s", Subaccount: account, Plan: servicemanagersim.PlanAudit},
			{ID: "box", Secret: "s", Subaccount: account, Plan: servicemanagersim.PlanContainer},
		},
		Instances: []servicemanagersim.Instance{{Subaccount: account, Name: "cpi", ID: "i-1", Offering: "it-rt", Plan: "api"}},
	}})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &caller{t: t, sim: sim, clock: clock}
	c.http = c.presenting(nil)
	c.enter("admin", "a+b")
	return c
}

func (c *caller) presenting(certificate *tls.Certificate) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.sim.CA())
	settings := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if certificate != nil {
		settings.Certificates = []tls.Certificate{*certificate}
	}
	carrier := &http.Transport{TLSClientConfig: settings}
	c.t.Cleanup(carrier.CloseIdleConnections)
	return &http.Client{Transport: carrier}
}

// enter logs in and reports the status.
func (c *caller) enter(id, secret string) int {
	c.t.Helper()
	document, err := c.sim.Document(id)
	if err != nil {
		c.t.Fatal(err)
	}
	client := c.http
	if document["key"] != "" {
		pair, err := tls.X509KeyPair([]byte(document["certificate"]), []byte(document["key"]))
		if err != nil {
			c.t.Fatal(err)
		}
		client = c.presenting(&pair)
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
	response, err := client.PostForm(document["url"]+document["certurl"]+"/oauth/token", form)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		c.t.Fatal(err)
	}
	if response.StatusCode == http.StatusOK {
		c.token = answer.Token
	}
	return response.StatusCode
}

// call makes one and returns status, header and document.
func (c *caller) call(method, path string, body any) (int, http.Header, map[string]any) {
	c.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.sim.URL()+path, bytes.NewReader(text))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	response, err := c.http.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	whole, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	document := map[string]any{}
	_ = json.Unmarshal(whole, &document) // what is none stays empty
	return response.StatusCode, response.Header, document
}

// must makes a call that has to be answered with the status.
func (c *caller) must(status int, method, path string, body any) map[string]any {
	c.t.Helper()
	got, _, document := c.call(method, path, body)
	if got != status {
		c.t.Fatalf("%s %s: %d %v, want %d", method, path, got, document, status)
	}
	return document
}

func binding(name string, labels map[string][]string) map[string]any {
	return map[string]any{"name": name, "service_instance_id": "i-1", "labels": labels}
}

func TestWhoLogsIn(t *testing.T) {
	c := start(t, nil)
	for _, tc := range []struct {
		id, secret string
		want       int
	}{{"admin", "a+b", 200}, {"admin", "a b", 401}, {"audit", "s", 200}, {"mtls", "", 200}} {
		if got := c.enter(tc.id, tc.secret); got != tc.want {
			t.Errorf("%s with %q: %d, want %d", tc.id, tc.secret, got, tc.want)
		}
	}
	c.must(200, "GET", "/v1/service_instances", nil)
	c.sim.ExpireTokens()
	c.must(401, "GET", "/v1/service_instances", nil)
}

func TestPlansDecideWhatIsSeenAndDone(t *testing.T) {
	c := start(t, nil)
	c.must(200, "GET", "/v1/platforms", nil)
	c.enter("audit", "s")
	c.must(200, "GET", "/v1/service_instances/i-1", nil)
	c.must(403, "POST", "/v1/service_bindings", binding("b", nil))
	c.enter("box", "s")
	c.must(403, "GET", "/v1/platforms", nil)
	c.must(404, "GET", "/v1/service_instances/i-1", nil)
	if seen := c.must(200, "GET", "/v1/service_instances", nil); seen["num_items"] != 0.0 {
		t.Errorf("it sees %v", seen)
	}
}

func TestABindingIsMadeOnceAndReadAgainAndAgain(t *testing.T) {
	c := start(t, nil)
	made := c.must(201, "POST", "/v1/service_bindings", binding("b", map[string][]string{"who": {"me"}}))
	if made["credentials"] == nil || made["ready"] != true {
		t.Errorf("made %v", made)
	}
	path := "/v1/service_bindings/" + fmt.Sprint(made["id"])
	if again := c.must(200, "GET", path, nil); fmt.Sprint(again["credentials"]) != fmt.Sprint(made["credentials"]) {
		t.Error("its credentials have changed")
	}
	if said := c.must(409, "POST", "/v1/service_bindings", binding("b", nil)); said["description"] != "binding with same name exists for instance with id i-1" {
		t.Errorf("the name is taken: %v", said)
	}
	c.must(404, "POST", "/v1/service_bindings", map[string]any{"name": "x", "service_instance_id": "i-2"})
	c.must(200, "PATCH", path, map[string]any{"name": "c"})
	c.must(400, "PATCH", path, map[string]any{"labels": []any{map[string]any{"op": "add", "key": "who", "values": []string{"you"}}}})
	c.must(201, "POST", "/v1/service_bindings", binding("b", nil))
	c.must(200, "DELETE", path, nil)
	c.must(404, "GET", path, nil)
}

func TestListsAreFilteredAndPaged(t *testing.T) {
	c := start(t, func(b *servicemanagersim.Behaviour) { b.PageSize = 2 })
	for i := range 5 {
		c.must(201, "POST", "/v1/service_bindings", binding(fmt.Sprintf("b'%d", i), map[string][]string{"who": {"me"}, "odd": {fmt.Sprint(i%2 == 1)}}))
	}
	list := func(query url.Values) (names []string) {
		t.Helper()
		for {
			page := c.must(200, "GET", "/v1/service_bindings?"+query.Encode(), nil)
			for _, one := range page["items"].([]any) {
				names = append(names, fmt.Sprint(one.(map[string]any)["name"]))
			}
			token, more := page["token"].(string)
			if !more {
				if page["num_items"] != float64(len(names)) {
					t.Errorf("%v: %v items counted, %v", query, page["num_items"], names)
				}
				return names
			}
			query.Set("token", token)
		}
	}
	for query, want := range map[[2]string]string{
		{"", ""}:                               "b'0 b'1 b'2 b'3 b'4",
		{"name eq 'b''3'", ""}:                 "b'3",
		{"name in ('b''3', 'b''4')", ""}:       "b'3 b'4",
		{"service_instance_id ne 'i-1'", ""}:   "",
		{"name contains '''2'", "who eq 'me'"}: "b'2",
		{"", "odd eq 'true' and who eq 'me'"}:  "b'1 b'3",
		{"", "nobody en 'x'"}:                  "b'0 b'1 b'2 b'3 b'4",
		{"", "nobody eq 'x'"}:                  "",
	} {
		values := url.Values{}
		for i, name := range []string{"fieldQuery", "labelQuery"} {
			if query[i] != "" {
				values.Set(name, query[i])
			}
		}
		if got := strings.Join(list(values), " "); got != want {
			t.Errorf("%v: %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"name eq b", "name = 'b'", "shoe eq 'b'", "name eq 'b' and", "credentials.claviger.dev/mark eq 'x'"} {
		c.must(400, "GET", "/v1/service_bindings?"+url.Values{"fieldQuery": {query}}.Encode(), nil)
	}
	c.must(400, "GET", "/v1/service_bindings?"+url.Values{"labelQuery": {"credentials.claviger.dev/mark eq 'x'"}}.Encode(), nil)
}

func TestAnOperationGoesThroughItsStates(t *testing.T) {
	c := start(t, func(b *servicemanagersim.Behaviour) { b.Async, b.BrokerTime = true, simkit.Duration(4*time.Second) })
	status, header, _ := c.call("POST", "/v1/service_bindings", binding("b", nil))
	location := header.Get("Location")
	if status != 202 || !strings.HasPrefix(location, "/v1/service_bindings/") || !strings.Contains(location, "/operations/") {
		t.Fatalf("%d, Location %q", status, location)
	}
	path, _, _ := strings.Cut(location, "/operations/")
	var states []string
	for range 3 {
		states = append(states, fmt.Sprint(c.must(200, "GET", location, nil)["state"]))
		if len(states) < 3 {
			c.must(422, "DELETE", path, nil)
			c.clock.Advance(3 * time.Second)
		}
	}
	if got := strings.Join(states, ", "); got != "pending, in progress, succeeded" {
		t.Errorf("its states: %s", got)
	}
	if got := c.must(200, "GET", path, nil); got["credentials"] == nil {
		t.Error("it has no credentials")
	}
}

func TestALimitSaysWhenToComeAgain(t *testing.T) {
	c := start(t, func(b *servicemanagersim.Behaviour) {
		b.BindingsPerMinute, b.RetryAfterForm = 2, servicemanagersim.RetryAfterGo
	})
	for range 2 {
		c.must(200, "GET", "/v1/service_bindings", nil)
	}
	status, header, _ := c.call("GET", "/v1/service_bindings", nil)
	at, err := time.Parse("2006-01-02 15:04:05 -0700 MST", header.Get("Retry-After"))
	if status != 429 || err != nil || at.Sub(c.clock.Now()) > 62*time.Second || at.Sub(c.clock.Now()) < 59*time.Second {
		t.Errorf("%d, Retry-After %q: %v", status, header.Get("Retry-After"), err)
	}
	c.must(200, "GET", "/v1/service_instances", nil) // another limit
	c.clock.Advance(time.Minute)
	c.must(200, "GET", "/v1/service_bindings", nil)
}

func TestAMisspeltSwitchIsRefused(t *testing.T) {
	for _, change := range []func(*servicemanagersim.Behaviour){
		func(b *servicemanagersim.Behaviour) { b.Broker = "thinks" },
		func(b *servicemanagersim.Behaviour) { b.Gone = 400 },
		func(b *servicemanagersim.Behaviour) { b.RetryAfterForm = "words" },
		func(b *servicemanagersim.Behaviour) { b.PageSize = 0 },
	} {
		c := servicemanagersim.New(servicemanagersim.Options{})
		if err := c.Adjust(change); err == nil {
			t.Error("it was taken")
		}
	}
}
