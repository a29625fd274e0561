package webmethodsportalsim_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/webmethodsportalsim"
)

// client speaks to a simulator as anybody would.
type client struct {
	t    *testing.T
	sim  *webmethodsportalsim.Sim
	http *http.Client
}

func start(t *testing.T, change func(*webmethodsportalsim.Behaviour)) *client {
	t.Helper()
	behaviour := webmethodsportalsim.Usual()
	if change != nil {
		change(&behaviour)
	}
	sim := webmethodsportalsim.New(webmethodsportalsim.Options{Behaviour: &behaviour, ControlListen: "127.0.0.1:0", Seed: webmethodsportalsim.Seed{
		Users: []webmethodsportalsim.User{{Name: "jo", Password: "secret"}},
		APIs:  []webmethodsportalsim.API{{ID: "orders"}, {ID: "other"}},
	}})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(sim.CA())
	carrier := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(func() {
		carrier.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return &client{t: t, sim: sim, http: &http.Client{Transport: carrier}}
}

// do makes a call as jo and reads a JSON answer.
func (c *client) do(method, address, body string, header ...string) (status int, document map[string]any) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.SetBasicAuth("jo", "secret")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	_ = json.Unmarshal(text, &document) // 204 has none
	return answer.StatusCode, document
}

func (c *client) want(status int, what string, got int, document map[string]any) {
	c.t.Helper()
	if got != status {
		c.t.Fatalf("%s answered %d %v, want %d", what, got, document, status)
	}
}

// ask requests an application and returns the id of the request.
func (c *client) ask() string {
	c.t.Helper()
	status, made := c.do(http.MethodPost, c.sim.URL()+"/requests", `{"type":"APPLICATION_CREATION_REQUEST","context":{"name":"a","description":"d","apis":["orders"]}}`)
	c.want(http.StatusCreated, "the request", status, made)
	return made["id"].(string)
}

// follow reads the request until it has the status, and returns all statuses on the way.
func (c *client) follow(id, until string) (seen []string, application string) {
	c.t.Helper()
	for range 10 {
		status, r := c.do(http.MethodGet, c.sim.URL()+"/requests/"+id, "")
		c.want(http.StatusOK, "reading it", status, r)
		seen = append(seen, r["status"].(string))
		application, _ = r["application"].(string)
		if r["status"] == until {
			return seen, application
		}
	}
	c.t.Fatalf("the request went through %v and never was %s", seen, until)
	return nil, ""
}

func TestAnApplicationIsTheEndOfItsRequest(t *testing.T) {
	c := start(t, nil)
	seen, id := c.follow(c.ask(), "COMPLETED")
	if diff := cmp.Diff([]string{"APPROVED", "WAITING_THIRDPARTY", "COMPLETED"}, seen); diff != "" {
		t.Error(diff)
	}
	status, app := c.do(http.MethodGet, c.sim.URL()+"/applications/"+id, "")
	c.want(http.StatusOK, "the application", status, app)
	key := app["credentials"].([]any)[0].(map[string]any)["apiKey"].(string)
	oauth := app["credentials"].([]any)[1].(map[string]any)
	if !strings.HasPrefix(key, simkit.Marker) || !c.sim.Accepts(key, "", "") || !c.sim.Accepts("", oauth["clientId"].(string), oauth["clientSecret"].(string)) {
		t.Error("its credentials are not marked or not accepted")
	}
	call := func(api string) int {
		status, _ := c.do(http.MethodGet, c.sim.GatewayURL()+"/gateway/"+api+"/x", "", "x-Gateway-APIKey", key)
		return status
	}
	if diff := cmp.Diff([]int{200, 403, 404}, []int{call("orders"), call("other"), call("none")}); diff != "" {
		t.Error(diff)
	}
	status, document := c.do(http.MethodDelete, c.sim.URL()+"/applications/"+id, "")
	c.want(http.StatusNoContent, "the deletion", status, document)
	if got := call("orders"); got != http.StatusUnauthorized {
		t.Errorf("after the deletion the gateway answers %d", got)
	}
	if got, want := c.sim.Stats().Applications, (webmethodsportalsim.Count{Issued: 1, Revoked: 1}); got != want {
		t.Errorf("the ledger counts %+v, want %+v", got, want)
	}
}

func TestForceLeavesAnOrphanInTheGateway(t *testing.T) {
	c := start(t, nil)
	_, id := c.follow(c.ask(), "COMPLETED")
	status, document := c.do(http.MethodDelete, c.sim.URL()+"/applications/"+id+"?force=true", "")
	c.want(http.StatusNoContent, "the deletion", status, document)
	if n := c.sim.Stats().Orphans; n != 1 {
		t.Errorf("%d orphans, want 1", n)
	}
}

func TestPeopleDecideAndTheirWordsAreShown(t *testing.T) {
	c := start(t, func(b *webmethodsportalsim.Behaviour) { b.CreationNeedsApproval = true })
	rejected, agreed := c.ask(), c.ask()
	if err := c.sim.Decide(rejected, false, "no"); err != nil {
		t.Fatal(err)
	}
	if err := c.sim.Decide(agreed, true, "yes"); err != nil {
		t.Fatal(err)
	}
	status, r := c.do(http.MethodGet, c.sim.URL()+"/requests/"+rejected, "")
	c.want(http.StatusOK, "reading it", status, r)
	if r["status"] != "REJECTED" || r["comments"] != "no" {
		t.Errorf("the rejected request is %v", r)
	}
	c.follow(agreed, "COMPLETED")
	status, r = c.do(http.MethodDelete, c.sim.URL()+"/requests/"+agreed, "")
	c.want(http.StatusBadRequest, "withdrawing it", status, r)
	if want := "Unable to delete the user request in status [COMPLETED]"; r["message"] != want {
		t.Errorf("it says %v, want %q", r["message"], want)
	}
}

func TestBehaviourThatCannotBePlayedIsRefused(t *testing.T) {
	c := start(t, nil)
	for name, change := range map[string]func(*webmethodsportalsim.Behaviour){
		"words somewhere else":  func(b *webmethodsportalsim.Behaviour) { b.WordsIn = "a letter" },
		"pages without entries": func(b *webmethodsportalsim.Behaviour) { b.PageSize = 0 },
	} {
		if c.sim.Adjust(change) == nil {
			t.Errorf("%s are accepted", name)
		}
	}
}
