package apiconnectsim

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/simkit"
)

func newRemote(t *testing.T) (*stand, simkit.Remote, context.Context) {
	t.Helper()
	s := newStand(t, func(o *Options) { o.ControlListen = "127.0.0.1:0" })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return s, simkit.Remote{Base: s.ControlURL()}, ctx
}

// must calls the control API with a document as somebody would type it.
func must(ctx context.Context, t *testing.T, remote simkit.Remote, method, path, body string, out any) {
	t.Helper()
	var in any
	if body != "" {
		in = json.RawMessage(body)
	}
	if err := remote.Call(ctx, method, path, in, out); err != nil {
		t.Fatal(err)
	}
}

func TestTheControlAPIBuildsAWorld(t *testing.T) {
	s, remote, ctx := newRemote(t)
	var seeded Seed
	must(ctx, t, remote, http.MethodPost, "/seed", `{
		"toolkits": [{"clientId": "tk2", "clientSecret": "s2"}],
		"logins": [{"username": "u", "password": "p", "realm": "provider/r2", "rights": ["app:view:all"]}],
		"apiKeys": [{"username": "u", "realm": "provider/r2", "multipleUses": true}],
		"behaviour": {"propagation": {"min": "1s", "max": "2s"}, "createStatus": 200},
		"orgs": [{"name": "acme", "catalogs": [{"name": "sandbox", "hashClientSecret": false, "consumerOrgs": [
			{"name": "lab", "apps": [{"name": "probe", "subscribed": false, "generate": 2,
				"credentials": [{"name": "aged", "clientId": "c1", "clientSecret": "s1", "createdAt": "2025-01-01T00:00:00Z"}]}]}]}]}]
	}`, &seeded)
	app := seeded.Orgs[0].Catalogs[0].ConsumerOrgs[0].Apps[0]
	if app.ID == "" || len(app.Credentials) != 3 || app.Credentials[2].ClientSecret == "" || app.Generate != 0 || seeded.APIKeys[0].Key == "" {
		t.Fatalf("%+v", seeded)
	}
	aged := s.want(200, http.MethodGet, "/api/apps/acme/sandbox/lab/probe/credentials/aged", nil)
	if aged.str("created_at") != "2025-01-01T00:00:00.000Z" || aged.str("id") != app.Credentials[0].ID {
		t.Errorf("%s", aged.text)
	}
	if status := s.through("c1", "s1"); status != 403 {
		t.Errorf("an app without a subscription: %d", status)
	}
	must(ctx, t, remote, http.MethodPost, "/human/subscribe",
		`{"path": {"org": "acme", "catalog": "sandbox", "consumerOrg": "lab", "app": "probe"}, "subscribed": true}`, nil)
	if status := s.through("c1", "s1"); status != 200 {
		t.Errorf("with a subscription: %d", status)
	}
	if answer := s.ask(map[string]string{"grant_type": "api_key", "api_key": seeded.APIKeys[0].Key, "client_id": "tk2", "client_secret": "s2"}); answer.status != 200 {
		t.Errorf("the seeded key: %d %s", answer.status, answer.text)
	}
	var behaviour Behaviour
	must(ctx, t, remote, http.MethodGet, "/behaviour", "", &behaviour)
	if behaviour.CreateStatus != 200 || behaviour.Propagation != Between(time.Second, 2*time.Second) || behaviour.DefaultPage != 50 {
		t.Errorf("%+v", behaviour)
	}
}

func TestBehaviourIsLaidOverTheOldOne(t *testing.T) {
	s, remote, ctx := newRemote(t)
	before := s.behaves()
	must(ctx, t, remote, http.MethodPatch, "/behaviour", `{"shortLists": 1, "hostAliases": ["a.invalid"], "tokenLife": "5m"}`, nil)
	must(ctx, t, remote, http.MethodPatch, "/behaviour", `{"shortLists": 2, "hostAliases": ["b.invalid", "c.invalid"]}`, nil)
	got := s.behaves()
	if *got.ShortLists != 2 || time.Duration(got.TokenLife) != 5*time.Minute || got.DeleteStatus != 200 {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff(Usual(), before); diff != "" {
		t.Errorf("the old behaviour changed under its readers: %s", diff)
	}
	must(ctx, t, remote, http.MethodPatch, "/behaviour", `{"shortLists": null}`, nil)
	if s.behaves().ShortLists != nil {
		t.Error("lists still lie")
	}
	held := s.behaves()
	for name, body := range map[string]string{
		"a misspelt switch":        `{"shortList": 1}`,
		"an unknown status":        `{"createStatus": 418}`,
		"a range upside down":      `{"propagation": {"min": "2s", "max": "1s"}}`,
		"a range that is negative": `{"revocationLag": {"min": "-2s", "max": "1s"}}`,
		"tokens without a life":    `{"tokenLife": "0s"}`,
		"a hash of another kind":   `{"hashForm": "md5"}`,
		"pages of nothing":         `{"defaultPage": 0}`,
		"a refusal that succeeds":  `{"verifyRefusedStatus": 200}`,
		"nothing at all":           ``,
	} {
		var in any
		if body != "" {
			in = json.RawMessage(body)
		}
		if err := remote.Call(ctx, http.MethodPatch, "/behaviour", in, nil); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if diff := cmp.Diff(held, s.behaves()); diff != "" {
		t.Errorf("a refused change changed something: %s", diff)
	}
}

func TestWhatPeopleDoThroughTheControlAPI(t *testing.T) {
	s, remote, ctx := newRemote(t)
	c := s.seeded(billing, SeedCredential{Name: "one"})
	s.seeded(billing, SeedCredential{Name: "two"})
	const path = `"path": {"org": "acme", "catalog": "production", "consumerOrg": "retail", "app": "billing"`
	must(ctx, t, remote, http.MethodPost, "/human/rename", `{`+path+`, "credential": "one"}, "name": "uno"}`, nil)
	var material Material
	must(ctx, t, remote, http.MethodPost, "/human/reset-secret", `{`+path+`, "credential": "uno"}}`, &material)
	if material.ClientID != c.ClientID || !s.Accepts(material.ClientID, material.ClientSecret) {
		t.Errorf("%+v", material)
	}
	var revoked struct{ Revoked int }
	must(ctx, t, remote, http.MethodPost, "/human/revoke-predecessors", `{`+path+`}}`, &revoked)
	if revoked.Revoked != 1 {
		t.Errorf("%d predecessors", revoked.Revoked)
	}
	must(ctx, t, remote, http.MethodPost, "/human/delete", `{`+path+`, "credential": "two"}}`, nil)
	var key struct{ APIKey string }
	must(ctx, t, remote, http.MethodPost, "/human/api-key", `{"username": "svc-viewer", "realm": "`+realm+`"}`, &key)
	if answer := s.ask(map[string]string{"grant_type": "api_key", "api_key": key.APIKey}); answer.status != 200 {
		t.Errorf("the key: %d", answer.status)
	}
	must(ctx, t, remote, http.MethodPost, "/human/expire-tokens", "", nil)
	s.want(401, http.MethodGet, "/api/orgs", nil)
	if err := remote.Call(ctx, http.MethodPost, "/human/delete", json.RawMessage(`{`+path+`, "credential": "two"}}`), nil); err == nil || !strings.Contains(err.Error(), "was not found") {
		t.Errorf("a second deletion: %v", err)
	}
	var stats Stats
	must(ctx, t, remote, http.MethodGet, "/stats", "", &stats)
	if stats.Issued != 2 || stats.Live != 0 || stats.Revoked != 2 || stats.LoginsGranted != 2 || stats.Operations["token.api_key"] != 1 {
		t.Errorf("%+v", stats)
	}
	s.balanced()
}

func TestNothingSecretLeavesByTheControlAPI(t *testing.T) {
	s, remote, ctx := newRemote(t)
	const canary = "canary-4f1e"
	s.want(201, http.MethodPost, credentials, map[string]string{"name": "one", "client_id": ownID, "client_secret": canary})
	s.through(ownID, canary)
	s.through(ownID, canary+"-wrong")
	s.want(200, http.MethodPost, credentials+"/one/verify-client-secret", map[string]string{"client_id": ownID, "client_secret": canary})
	s.fault(simkit.Fault{Operation: "credential.update", Action: simkit.Refuse, Status: 500})
	s.want(500, http.MethodPatch, credentials+"/one", map[string]string{"client_secret": canary})
	for _, path := range []string{"/ledger", "/ledger/entries", "/events?wait=0s", "/stats", "/calls", "/faults", "/held", "/behaviour"} {
		var text json.RawMessage
		must(ctx, t, remote, http.MethodGet, path, "", &text)
		if strings.Contains(string(text), canary) || strings.Contains(string(text), s.token) || strings.Contains(string(text), "rotator-password") {
			t.Errorf("%s shows a secret", path)
		}
	}
}

func TestASimulatorThatCannotStartSaysWhy(t *testing.T) {
	for name, options := range map[string]Options{
		"a control API for everybody":     {ControlListen: "0.0.0.0:0"},
		"an address that is none":         {Listen: "nowhere"},
		"a gateway address that is none":  {GatewayListen: "nowhere"},
		"behaviour that it cannot play":   {Behaviour: &Behaviour{}},
		"a seed with a name that is none": {Seed: Seed{Orgs: []SeedOrg{{Name: "a/b"}}}},
		"a key for nobody":                {Seed: Seed{APIKeys: []APIKey{{Username: "ghost"}}}},
		"one client id twice": {Seed: Seed{Orgs: []SeedOrg{{Name: "o", Catalogs: []SeedCatalog{{Name: "c", ConsumerOrgs: []SeedConsumerOrg{{
			Name: "co", Apps: []SeedApp{{Name: "a", Credentials: []SeedCredential{{Name: "x", ClientID: "1"}, {Name: "y", ClientID: "1"}}}},
		}}}}}}}},
	} {
		s := New(options)
		if err := s.Start(); err == nil {
			t.Errorf("%s: it started", name)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
