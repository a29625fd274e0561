package cloudfoundrysim_test

import (
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

	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// wire is a client that knows of the platform only what its documentation says: it follows
// the links that it is given.
type wire struct {
	*cloudfoundrysim.Sim
	t     *testing.T
	http  *http.Client
	token string
}

const instance = "acme/dev/cpi-api"

func newWire(t *testing.T, change func(*cloudfoundrysim.Behaviour)) *wire {
	t.Helper()
	behaviour := cloudfoundrysim.Usual()
	if change != nil {
		change(&behaviour)
	}
	sim := cloudfoundrysim.New(cloudfoundrysim.Options{Behaviour: &behaviour, Seed: cloudfoundrysim.Seed{
		Users: []cloudfoundrysim.User{
			{Name: "developer", Password: "right", Spaces: []string{"acme/dev"}}, {Name: "stranger", Password: "right", Spaces: []string{"other/dev"}},
		},
		Instances: []cloudfoundrysim.Instance{
			{Org: "acme", Space: "dev", Name: "cpi-api", Offering: "it-rt", Plan: "api", Roles: []string{"MonitoringDataRead"}},
			{Org: "other", Space: "dev", Name: "cpi-api", Offering: "it-rt", Plan: "api"},
		},
	}})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	trust := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: simPool(t, sim), MinVersion: tls.VersionTLS12}}
	t.Cleanup(func() {
		trust.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &wire{Sim: sim, t: t, http: &http.Client{Transport: trust, Timeout: 10 * time.Second}}
	w.token = w.logIn("developer", "right")
	return w
}

// answer is one answer, whole.
type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

func (w *wire) do(method, address, kind, body string) answer {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Content-Type", kind)
	request.Header.Set("Authorization", "bearer "+w.token)
	if strings.HasSuffix(request.URL.Path, "/oauth/token") {
		request.SetBasicAuth("cf", "")
	}
	response, err := w.http.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{status: response.StatusCode, header: response.Header, text: string(text)}
	_ = json.Unmarshal(text, &a.body) // an empty body stays none
	return a
}

func (w *wire) call(method, path, body string) answer {
	w.t.Helper()
	if !strings.HasPrefix(path, "https://") {
		path = w.URL() + path
	}
	return w.do(method, path, "application/json", body)
}

// at follows names into an answer.
func (a answer) at(path ...string) any {
	var v any = a.body
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

func (a answer) str(path ...string) string {
	text, _ := a.at(path...).(string)
	return text
}

func (w *wire) logIn(user, password string) string {
	w.t.Helper()
	root := w.call(http.MethodGet, "/", "")
	form := url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}}
	return w.do(http.MethodPost, root.str("links", "login", "href")+"/oauth/token", "application/x-www-form-urlencoded", form.Encode()).str("access_token")
}

// guid finds the instance.
func (w *wire) guid() string {
	w.t.Helper()
	found := w.call(http.MethodGet, "/v3/service_instances?names=cpi-api&type=managed", "")
	list, _ := found.at("resources").([]any)
	if len(list) != 1 {
		w.t.Fatalf("%d instances are seen, want the one of the space: %s", len(list), found.text)
	}
	one, _ := list[0].(map[string]any)
	guid, _ := one["guid"].(string)
	return guid
}

func (w *wire) create(name, more string) answer {
	w.t.Helper()
	return w.call(http.MethodPost, "/v3/service_credential_bindings",
		`{"type":"key","name":"`+name+`","relationships":{"service_instance":{"data":{"guid":"`+w.guid()+`"}}}`+more+`}`)
}

// finish follows the job of an answer to its end.
func (w *wire) finish(a answer) answer {
	w.t.Helper()
	if a.status != http.StatusAccepted || a.text != "" || a.header.Get("Location") == "" {
		w.t.Fatalf("answered %d %q with Location %q, want 202 without a body", a.status, a.text, a.header.Get("Location"))
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for range 1000 {
		job := w.call(http.MethodGet, a.header.Get("Location"), "")
		if state := job.str("state"); state != "PROCESSING" && state != "POLLING" {
			return job
		}
		<-look.C
	}
	w.t.Fatal("the job did not end")
	return answer{}
}

func TestAKeyIsMadeReadAndDeletedThroughJobs(t *testing.T) {
	w := newWire(t, func(b *cloudfoundrysim.Behaviour) { b.Async, b.BrokerTime = true, simkit.Duration(50*time.Millisecond) })
	begun := w.create("first", `,"parameters":{"key-type":"certificate","validity":30},"metadata":{"labels":{"example.org/owner":"me"}}`)
	// The row is there before its job is done, and its credentials are not.
	rows, _ := w.call(http.MethodGet, "/v3/service_credential_bindings?label_selector=example.org%2Fowner%3Dme", "").at("resources").([]any)
	if len(rows) != 1 {
		t.Fatalf("%d rows right after the answer", len(rows))
	}
	job := w.finish(begun)
	if job.str("state") != "COMPLETE" || job.str("operation") != "service_keys.create" {
		t.Fatalf("the job: %s", job.text)
	}
	key := w.call(http.MethodGet, job.str("links", "service_credential_binding", "href"), "")
	if key.str("name") != "first" || key.str("last_operation", "state") != "succeeded" || key.str("metadata", "labels", "example.org/owner") != "me" {
		t.Errorf("the key: %s", key.text)
	}
	for range 2 { // again and again
		details := w.call(http.MethodGet, key.str("links", "details", "href"), "")
		if !strings.Contains(details.str("credentials", "oauth", "certificate"), "BEGIN CERTIFICATE") || details.str("credentials", "oauth", "clientid") == "" {
			t.Errorf("the details lack something: %d", details.status)
		}
	}
	if asked := w.call(http.MethodGet, key.str("links", "parameters", "href"), ""); asked.str("key-type") != "certificate" {
		t.Errorf("the parameters: %s", asked.text)
	}
	self := key.str("links", "self", "href")
	if changed := w.call(http.MethodPatch, self, `{"metadata":{"labels":{"example.org/owner":null}}}`); changed.status != http.StatusOK || changed.at("metadata", "labels", "example.org/owner") != nil {
		t.Errorf("the change: %s", changed.text)
	}
	if job := w.finish(w.call(http.MethodDelete, self, "")); job.str("state") != "COMPLETE" {
		t.Errorf("the deletion: %s", job.text)
	}
	if again := w.call(http.MethodDelete, self, ""); again.status != http.StatusNotFound {
		t.Errorf("a second deletion answers %d", again.status)
	}
}

func TestAFailedJobStillNamesItsKey(t *testing.T) {
	w := newWire(t, func(b *cloudfoundrysim.Behaviour) { b.Broker = cloudfoundrysim.BrokerRefuses })
	job := w.finish(w.create("refused", ""))
	if job.str("state") != "FAILED" || !strings.Contains(job.text, "bind could not be completed: Service broker error") {
		t.Fatalf("the job: %s", job.text)
	}
	href := job.str("links", "service_credential_binding", "href")
	if details := w.call(http.MethodGet, href+"/details", ""); details.status != http.StatusNotFound || !strings.Contains(details.text, "Creation of service key failed") {
		t.Errorf("details of a failed key: %d %s", details.status, details.text)
	}
	// The name of what failed is free: the row is replaced.
	if err := w.Adjust(func(b *cloudfoundrysim.Behaviour) { b.Broker = cloudfoundrysim.BrokerMakes }); err != nil {
		t.Fatal(err)
	}
	if job := w.finish(w.create("refused", "")); job.str("state") != "COMPLETE" {
		t.Errorf("again: %s", job.text)
	}
	if live := len(w.Ledger().Live()); live != 1 {
		t.Errorf("%d rows live", live)
	}
}

func TestListsArePagedByLinks(t *testing.T) {
	w := newWire(t, nil)
	for i := range 7 {
		if _, err := w.AddKey(instance, fmt.Sprintf("key-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.AddKey("other/dev/cpi-api", "not to be seen"); err != nil {
		t.Fatal(err)
	}
	seen, pages := map[string]bool{}, 0
	for next := "/v3/service_credential_bindings?per_page=3&type=key"; next != ""; pages++ {
		page := w.call(http.MethodGet, next, "")
		if page.at("pagination", "total_results") != 7.0 || page.at("pagination", "total_pages") != 3.0 {
			t.Fatalf("page %d says %s", pages+1, page.text)
		}
		resources, _ := page.at("resources").([]any)
		for _, r := range resources {
			one, _ := r.(map[string]any)
			name, _ := one["name"].(string)
			seen[name] = true
		}
		next = page.str("pagination", "next", "href")
	}
	if len(seen) != 7 || pages != 3 {
		t.Errorf("%d keys on %d pages", len(seen), pages)
	}
}

func TestWhatThePlatformRefuses(t *testing.T) {
	w := newWire(t, nil)
	if job := w.finish(w.create("taken", "")); job.str("state") != "COMPLETE" {
		t.Fatal(job.text)
	}
	for name, tc := range map[string]struct {
		answer answer
		status int
		words  string
	}{
		"a name twice":              {w.create("taken", ""), 422, "already has a key binding with name 'taken'"},
		"a field that is not known": {w.create("other", `,"colour":"red"`), 422, "Unknown field"},
		"a label that is none":      {w.create("other", `,"metadata":{"labels":{"a b":"c"}}`), 422, "label key error"},
		"a filter that is none":     {w.call(http.MethodGet, "/v3/service_credential_bindings?colour=red", ""), 400, "Unknown query parameter(s): 'colour'"},
		"a page that is too large":  {w.call(http.MethodGet, "/v3/spaces?per_page=5001", ""), 400, "per_page must be between 1 and 5000"},
		"a job that is none":        {w.call(http.MethodGet, "/v3/jobs/nothing", ""), 404, "Job not found"},
	} {
		if tc.answer.status != tc.status || !strings.Contains(tc.answer.text, tc.words) {
			t.Errorf("%s: %d %s, want %d with %q", name, tc.answer.status, tc.answer.text, tc.status, tc.words)
		}
	}
	w.ExpireTokens()
	if late := w.call(http.MethodGet, "/v3/spaces", ""); late.status != http.StatusUnauthorized || !strings.Contains(late.text, "CF-InvalidAuthToken") {
		t.Errorf("after the end of the token: %d %s", late.status, late.text)
	}
	if token := w.logIn("developer", "wrong"); token != "" {
		t.Error("a wrong password is taken")
	}
}

// newInstance asks for one of a plan that is looked up by names.
func (w *wire) newInstance(name, more string) answer {
	w.t.Helper()
	first := func(path string) string {
		list, _ := w.call(http.MethodGet, path, "").at("resources").([]any)
		if len(list) != 1 {
			w.t.Fatalf("%d resources at %s, want one", len(list), path)
		}
		one, _ := list[0].(map[string]any)
		guid, _ := one["guid"].(string)
		return guid
	}
	return w.call(http.MethodPost, "/v3/service_instances", fmt.Sprintf(
		`{"type":"managed","name":%q,"relationships":{"space":{"data":{"guid":%q}},"service_plan":{"data":{"guid":%q}}}%s}`,
		name, first("/v3/spaces?names=dev"), first("/v3/service_plans?names=api&service_offering_names=it-rt"), more))
}

func TestAnInstanceIsMadeChangedAndDeletedThroughJobs(t *testing.T) {
	w := newWire(t, func(b *cloudfoundrysim.Behaviour) {
		b.Async, b.InstanceTime, b.Retrievable = true, simkit.Duration(50*time.Millisecond), true
	})
	begun := w.newInstance("mine", `,"parameters":{"roles":["MonitoringDataRead"]},"metadata":{"labels":{"example.org/owner":"me"}}`)
	busy, _ := w.call(http.MethodGet, "/v3/service_instances?label_selector=example.org%2Fowner%3Dme", "").at("resources").([]any)
	if len(busy) != 1 {
		t.Fatalf("%d instances right after the answer", len(busy))
	}
	job := w.finish(begun)
	if job.str("state") != "COMPLETE" || job.str("operation") != "service_instance.create" {
		t.Fatalf("the job: %s", job.text)
	}
	self := job.str("links", "service_instances", "href")
	if again := w.newInstance("mine", ""); again.status != http.StatusUnprocessableEntity || !strings.Contains(again.text, "The service instance name is taken: mine.") {
		t.Errorf("a second one: %d %s", again.status, again.text)
	}
	changed := w.call(http.MethodPatch, self, `{"parameters":{"roles":["WorkspacePackagesRead"]},"metadata":{"annotations":{"example.org/hash":"2"}}}`)
	if key := w.call(http.MethodPost, "/v3/service_credential_bindings", `{"type":"key","name":"early","relationships":{"service_instance":{"data":{"guid":"`+self[strings.LastIndex(self, "/")+1:]+`"}}}}`); key.status != http.StatusUnprocessableEntity || !strings.Contains(key.text, "operation in progress for the service instance") {
		t.Errorf("a key meanwhile: %d %s", key.status, key.text)
	}
	if job := w.finish(changed); job.str("state") != "COMPLETE" {
		t.Errorf("the change: %s", job.text)
	}
	if got := w.call(http.MethodGet, self+"/parameters", ""); fmt.Sprint(got.at("roles")) != "[WorkspacePackagesRead]" {
		t.Errorf("the parameters: %s", got.text)
	}
	if got := w.call(http.MethodGet, self, ""); got.str("last_operation", "type") != "update" || got.str("metadata", "annotations", "example.org/hash") != "2" || got.str("metadata", "labels", "example.org/owner") != "me" {
		t.Errorf("the instance: %s", got.text)
	}
	if _, err := w.AddKey("acme/dev/mine", "somebody-elses"); err != nil {
		t.Fatal(err)
	}
	if job := w.finish(w.call(http.MethodDelete, self, "")); job.str("state") != "COMPLETE" {
		t.Errorf("the deletion: %s", job.text)
	}
	if live := len(w.Ledger().Live()); live != 0 {
		t.Errorf("%d objects live: the instance's keys go with it", live)
	}
}

func TestWhatTheBrokerOfInstancesRefuses(t *testing.T) {
	w := newWire(t, func(b *cloudfoundrysim.Behaviour) { b.LateMetadata = true })
	for name, tc := range map[string]struct{ parameters, words string }{
		"a parameter that is not known": {`{"colour":"red"}`, "the parameters are not understood"},
		"a token that lives too long":   {`{"token-validity":90000}`, "token-validity 90000 is not between 3600 and 86400"},
		"what is deprecated":            {`{"grant-types":["client_x509"]}`, "grant type client_x509 is deprecated"},
	} {
		job := w.finish(w.newInstance("refused", `,"parameters":`+tc.parameters))
		if job.str("state") != "FAILED" || !strings.Contains(job.text, "create could not be completed: Service broker error: "+tc.words) {
			t.Errorf("%s: %s", name, job.text)
		}
		failed := w.call(http.MethodGet, job.str("links", "service_instances", "href"), "")
		if failed.str("last_operation", "state") != "failed" || !strings.Contains(failed.str("last_operation", "description"), tc.words) {
			t.Errorf("%s: %s", name, failed.text)
		}
	}
	// The name of what failed is free; and a change that fails leaves what was there.
	self := w.finish(w.newInstance("refused", `,"parameters":{"roles":["MonitoringDataRead"]}`)).str("links", "service_instances", "href")
	job := w.finish(w.call(http.MethodPatch, self, `{"parameters":{"token-validity":1},"metadata":{"annotations":{"example.org/hash":"2"}}}`))
	if got := w.call(http.MethodGet, self, ""); job.str("state") != "FAILED" || got.str("last_operation", "type") != "update" || got.at("metadata", "annotations", "example.org/hash") != nil {
		t.Errorf("after a change that failed: %s, %s", job.text, got.text)
	}
	if hidden := w.call(http.MethodGet, self+"/parameters", ""); hidden.status != http.StatusBadRequest {
		t.Errorf("parameters of an offering that does not show them: %d", hidden.status)
	}
	if err := w.Adjust(func(b *cloudfoundrysim.Behaviour) { b.InstancesPerSpace = 2 }); err != nil {
		t.Fatal(err)
	}
	if full := w.newInstance("third", ""); !strings.Contains(full.text, "You have exceeded your space's services limit.") {
		t.Errorf("beyond the quota: %d %s", full.status, full.text)
	}
	if roles := w.Instances("acme/dev")[1].Roles; len(roles) != 1 || roles[0] != "MonitoringDataRead" {
		t.Errorf("the roles are %v", roles)
	}
}

// A 429 is JSON that says it is text.
func TestTheLimitIsOneOfTheUser(t *testing.T) {
	w := newWire(t, func(b *cloudfoundrysim.Behaviour) { b.RequestsPerHour = 2 })
	for _, path := range []string{"/v3/spaces", "/v3/organizations"} {
		if got := w.call(http.MethodGet, path, ""); got.status != http.StatusOK {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	turned := w.call(http.MethodGet, "/v3/spaces", "")
	if turned.status != http.StatusTooManyRequests || turned.header.Get("Retry-After") == "" || turned.header.Get("Content-Type") != "text/plain" || turned.at("errors") == nil {
		t.Errorf("the third call: %d %v %s", turned.status, turned.header, turned.text)
	}
	w.token = w.logIn("stranger", "right")
	if other := w.call(http.MethodGet, "/v3/spaces", ""); other.status != http.StatusOK {
		t.Errorf("another user: %d", other.status)
	}
}

func simPool(t *testing.T, sim *cloudfoundrysim.Sim) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(sim.CA()) {
		t.Fatal("the simulator's CA cannot be read")
	}
	return pool
}
