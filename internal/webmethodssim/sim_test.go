package webmethodssim

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// lab is a simulator and a plain client of it.
type lab struct {
	*Sim
	t     *testing.T
	clock *simkit.Manual
	http  *http.Client
}

func newLab(t *testing.T, change func(*Behaviour)) *lab {
	t.Helper()
	behaviour := Usual()
	if change != nil {
		change(&behaviour)
	}
	clock := simkit.NewManual(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	sim := New(Options{Clock: clock, Behaviour: &behaviour, Seed: Sample(), ControlListen: "127.0.0.1:0"})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	carrier := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: sim.authority.Pool(), MinVersion: tls.VersionTLS12}}
	t.Cleanup(carrier.CloseIdleConnections)
	return &lab{Sim: sim, t: t, clock: clock, http: &http.Client{Transport: carrier}}
}

// call makes a call of the management, or of what stands behind a whole address, and reads
// the answer into a map.
func (l *lab) call(want int, method, path, body string, header ...string) map[string]any {
	l.t.Helper()
	address := path
	if strings.HasPrefix(path, "/") {
		address = l.URL() + "/rest/apigateway" + path
	}
	request, err := http.NewRequestWithContext(context.Background(), method, address, bytes.NewReader([]byte(body)))
	if err != nil {
		l.t.Fatal(err)
	}
	request.SetBasicAuth("rotator", "rotator-password")
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := l.http.Do(request)
	if err != nil {
		l.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != want {
		l.t.Fatalf("%s %s answered %d %s, %v; want %d", method, path, response.StatusCode, text, err, want)
	}
	answer := map[string]any{}
	_ = json.Unmarshal(text, &answer) // an answer without a body is an empty one
	return answer
}

// at reads a value by its path.
func at(document any, path ...string) any {
	for _, name := range path {
		if list, ok := document.([]any); ok && len(list) > 0 {
			document = list[0]
		}
		fields, ok := document.(map[string]any)
		if !ok {
			return nil
		}
		document = fields[name]
	}
	return document
}

const orders = "/gateway/orders/1.0/health"

func (l *lab) create(want int) map[string]any {
	l.t.Helper()
	return l.call(want, "POST", "/applications", `{"name":"client","description":"mark=x"}`)
}

func TestOnlyWhoMayIsLetIn(t *testing.T) {
	l := newLab(t, nil)
	l.call(401, "GET", "/applications", "", "Authorization", "Basic eDp5")
	if err := l.Seed(Seed{Users: []User{{Name: "rotator", Password: "rotator-password", Powerless: true}}}); err != nil {
		t.Fatal(err)
	}
	l.call(401, "GET", "/applications", "")
}

func TestNamesAreTakenTwiceUnlessToldOtherwise(t *testing.T) {
	l := newLab(t, nil)
	if l.create(201)["id"] == l.create(201)["id"] {
		t.Error("one id for two")
	}
	l = newLab(t, func(b *Behaviour) { b.UniqueNames, b.CreatedStatus = true, 200 })
	l.create(200)
	l.create(400)
}

func TestApplicationsAreWrittenInBothForms(t *testing.T) {
	l := newLab(t, nil)
	id, _ := l.create(201)["id"].(string)
	read := l.call(200, "GET", "/applications/"+id, "")
	if key, ok := at(read, "applications", "accessTokens", "apiAccessKey_credentials", "apiAccessKey").(string); !ok || !strings.HasSuffix(key, simkit.Marker) {
		t.Errorf("%v", read)
	}
	if err := l.Adjust(func(b *Behaviour) { b.DescribedNames, b.BareReads = true, true }); err != nil {
		t.Fatal(err)
	}
	read = l.call(200, "GET", "/applications/"+id, "")
	if _, ok := at(read, "accessTokens", "apiAccessKey", "apiAccessKey").(string); !ok || read["applicationID"] != id || read["id"] != nil {
		t.Errorf("%v", read)
	}
}

func TestTheLaterEditWins(t *testing.T) {
	l := newLab(t, nil)
	shop := l.ApplicationID("shop")
	l.call(200, "PUT", "/applications/"+shop, `{"name":"shop","authStrategyIds":["a"],"accessTokens":{"apiAccessKey_credentials":{"apiAccessKey":"mine"}}}`)
	l.call(200, "PUT", "/applications/"+shop, `{"name":"shop","authStrategyIds":["b"]}`)
	if diff := cmp.Diff([]string{"b"}, l.Strategies(shop)); diff != "" {
		t.Error(diff)
	}
	if l.AcceptsKey("orders", "mine") {
		t.Error("an edit changed the key")
	}
}

func TestAKeyWorksForTheAPIsOfItsApplicationUntilItIsSuspended(t *testing.T) {
	l := newLab(t, func(b *Behaviour) { b.KeyLag = simkit.Duration(time.Minute) })
	id, _ := l.create(201)["id"].(string)
	key, _ := at(l.call(200, "GET", "/applications/"+id, ""), "applications", "accessTokens", "apiAccessKey_credentials", "apiAccessKey").(string)
	call := func(want int) map[string]any {
		t.Helper()
		return l.call(want, "GET", l.RuntimeURL()+orders, "", "x-Gateway-APIKey", key)
	}
	if words := call(401)["Exception"]; words != "The request is authenticated as invalid." {
		t.Errorf("before the news has spread: %v", words)
	}
	l.clock.Advance(time.Minute)
	if words := call(401)["Exception"]; words != "Unauthorized application request" {
		t.Errorf("not registered: %v", words)
	}
	api := at(l.call(200, "POST", "/search", `{"types":["api"],"condition":"or","scope":[{"attributeName":"apiName","keyword":"orders"}]}`), "api", "id")
	registration, _ := json.Marshal(map[string]any{"apiIDs": []any{api}})
	l.call(201, "POST", "/applications/"+id+"/apis", string(registration))
	call(200)
	l.call(200, "PATCH", "/applications/"+id, `{"isSuspended":"true"}`)
	call(401)
	if err := l.Adjust(func(b *Behaviour) { b.MediatorRefusals = true }); err != nil {
		t.Fatal(err)
	}
	call(500)
	l.call(204, "DELETE", "/applications/"+id, "")
	l.call(404, "GET", "/applications/"+id, "")
	l.call(400, "POST", "/applications/"+id+"/accessTokens", `{"type":"apiAccessKeyCredentials"}`)
}

func TestATokenWorksWhileItsStrategyIsTheApplications(t *testing.T) {
	l := newLab(t, nil)
	shop := l.ApplicationID("shop")
	made := l.call(201, "POST", "/strategies", `{"name":"s","type":"OAUTH2","authServerAlias":"local","dcrConfig":{}}`)
	id, _ := at(made, "strategy", "id").(string)
	body, _ := json.Marshal(map[string]any{
		"client_id": at(made, "strategy", "clientId"), "client_secret": at(made, "strategy", "clientRegistration", "clientSecret"),
	})
	// Basic wins over the body, so none may be sent with it.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.RuntimeURL()+"/invoke/pub.apigateway.oauth2/getAccessToken", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := l.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var token struct {
		Value string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&token); err != nil || token.Value == "" {
		t.Fatalf("%d, %v", response.StatusCode, err)
	}
	l.call(401, "GET", l.RuntimeURL()+orders, "", "Authorization", "Bearer "+token.Value)
	edit, _ := json.Marshal(map[string]any{"name": "shop", "authStrategyIds": append(l.Strategies(shop), id)})
	l.call(200, "PUT", "/applications/"+shop, string(edit))
	l.call(200, "GET", l.RuntimeURL()+orders, "", "Authorization", "Bearer "+token.Value)
	l.call(204, "DELETE", "/strategies/"+id, "")
	l.call(401, "GET", l.RuntimeURL()+orders, "", "Authorization", "Bearer "+token.Value)
	if n := len(l.Strategies(shop)); n != 2 {
		t.Errorf("%d strategies: one that is deleted stays named", n)
	}
}

func TestWhatWaitsIsNotThereAndItsIDStandsInThePayload(t *testing.T) {
	l := newLab(t, func(b *Behaviour) { b.Approve, b.Pending = []string{eventCreate}, PendingRequest })
	if answer := l.create(202); answer["id"] != nil {
		t.Errorf("%v", answer)
	}
	list := l.call(200, "GET", "/approvals", "")
	request, _ := at(list, "approvalRequests", "id").(string)
	payload, _ := at(list, "approvalRequests", "approvalEventPayloadAsString").(string)
	var waiting struct {
		ID string `json:"applicationID"`
	}
	if err := json.Unmarshal([]byte(payload), &waiting); err != nil || waiting.ID == "" {
		t.Fatalf("%s, %v", payload, err)
	}
	l.call(404, "GET", "/applications/"+waiting.ID, "")
	if l.Stats().Kinds[kindApplication].Issued != 1 {
		t.Error("what waits was issued")
	}
	l.call(200, "PUT", "/approvals/"+request+"/approve", `{"approverComment":"ok"}`)
	l.call(200, "GET", "/applications/"+waiting.ID, "")
	l.call(400, "PUT", "/approvals/"+request+"/reject", `{}`)
}

func TestLiesShortenListsAndNoCounts(t *testing.T) {
	l := newLab(t, func(b *Behaviour) { b.ShortLists = new(0) })
	if list, ok := l.call(200, "GET", "/applications", "")["applications"].([]any); !ok || len(list) != 0 {
		t.Errorf("%v", list)
	}
	if n := l.call(200, "POST", "/search/_count", `{"types":["application"],"condition":"or"}`)["application"]; n != 1.0 {
		t.Errorf("counts %v", n)
	}
}

func TestBehaviourThatCannotBePlayedIsRefused(t *testing.T) {
	l := newLab(t, nil)
	for _, document := range []string{
		`{"createdStatus":204}`, `{"strategies":"x"}`, `{"pending":"x"}`, `{"approvals":"x"}`, `{"approve":["x"]}`, `{"shortLists":-1}`, `{"misspelt":true}`,
	} {
		if err := l.Seed(Seed{Behaviour: json.RawMessage(document)}); err == nil {
			t.Errorf("%s was taken", document)
		}
	}
}

func TestThePeopleOfTheControlAPI(t *testing.T) {
	l := newLab(t, func(b *Behaviour) { b.Approve = []string{eventCreate} })
	l.create(201)
	remote := simkit.Remote{Base: l.ControlURL()}
	if err := remote.Call(t.Context(), http.MethodPost, "/human/reject", order{ID: l.Requests()[0].ID, Comment: "no"}, nil); err != nil {
		t.Fatal(err)
	}
	var stats Stats
	if err := remote.Call(t.Context(), http.MethodGet, "/stats", nil, &stats); err != nil {
		t.Fatal(err)
	}
	want := []Request{{ID: l.Requests()[0].ID, Event: eventCreate, Status: "rejected"}}
	if diff := cmp.Diff(want, stats.Requests); diff != "" || stats.Operations["application.create"] != 1 {
		t.Errorf("%s %v", diff, stats.Operations)
	}
	if err := remote.Call(t.Context(), http.MethodPost, "/human/approve", order{ID: want[0].ID}, nil); err == nil {
		t.Error("a decided request was decided again")
	}
}
