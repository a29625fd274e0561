package neosim

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/simkit"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	opsRole  = "IntegrationOperationServer.read"
	nodeRole = "NodeManager.read"
	logs     = "/api/v1/MessageProcessingLogs"
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
	clock := simkit.NewManual(start)
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

// send makes a call; who is "Basic id:secret" as a pair, or a bearer token alone.
func (l *lab) send(method, address, body string, who ...string) (int, string, error) {
	l.t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, address, bytes.NewReader([]byte(body)))
	if err != nil {
		l.t.Fatal(err)
	}
	switch len(who) {
	case 1:
		request.Header.Set("Authorization", "Bearer "+who[0])
	case 2:
		request.SetBasicAuth(who[0], who[1])
	}
	response, err := l.http.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// want makes a call and checks its status.
func (l *lab) want(status int, method, address, body string, who ...string) string {
	l.t.Helper()
	got, text, err := l.send(method, address, body, who...)
	if err != nil || got != status {
		l.t.Fatalf("%s %s answered %d %s, %v; want %d", method, address, got, text, err, status)
	}
	return text
}

func (l *lab) tokenOf(text string) string {
	l.t.Helper()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Token == "" {
		l.t.Fatalf("no token in %s: %v", text, err)
	}
	return answer.Token
}

func (l *lab) platformToken(id, secret string) string {
	l.t.Helper()
	return l.tokenOf(l.want(200, "POST", l.URL()+"/oauth2/apitoken/v1?grant_type=client_credentials", "", id, secret))
}

func (l *lab) account() string { return l.URL() + "/authorization/v1/accounts/a99" }

func (l *lab) members(role string) string {
	return l.account() + "/apps/a99tmn/roles/users?providerAccount=prov&roleName=" + url.QueryEscape(role)
}

func (l *lab) clientToken() string {
	return l.TokenURL("a99") + "?grant_type=client_credentials"
}

func TestPlatformTokensAreGivenForBasicAloneAndLive1500Seconds(t *testing.T) {
	l := newLab(t, nil)
	endpoint := l.URL() + "/oauth2/apitoken/v1"
	l.want(401, "POST", endpoint+"?grant_type=client_credentials&client_id=rotator&client_secret=rotator-secret", "client_id=rotator&client_secret=rotator-secret")
	l.want(401, "POST", endpoint+"?grant_type=client_credentials", "", "rotator", "wrong")
	l.want(400, "POST", endpoint, "grant_type=client_credentials", "rotator", "rotator-secret")
	text := l.want(200, "POST", endpoint+"?grant_type=client_credentials", "", "viewer", "viewer-secret")
	var answer map[string]any
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	token := answer["access_token"].(string)
	delete(answer, "access_token")
	want := map[string]any{"token_type": "Bearer", "expires_in": 1500.0, "scope": "hcp.readAuthorizationSettings hcp.readApplicationRoles"}
	if diff := cmp.Diff(want, answer); diff != "" {
		t.Error(diff)
	}
	l.want(200, "GET", l.account()+"/groups", "", token)
	l.want(403, "PUT", l.members(nodeRole), `{"users":[{"name":"oauth_client_x"}]}`, token)
	l.want(403, "GET", l.URL()+"/authorization/v1/accounts/other/groups", "", token)
	l.clock.Advance(1500 * time.Second)
	l.want(401, "GET", l.account()+"/groups", "", token)
}

func TestClientTokensSayThatTheyLiveZeroSeconds(t *testing.T) {
	l := newLab(t, nil)
	if err := l.Register("a99", Client{ID: "hand", Secret: "secret", Application: "a99tmn"}); err != nil {
		t.Fatal(err)
	}
	text := l.want(200, "POST", l.clientToken(), "", "hand", "secret")
	token := l.tokenOf(text)
	var answer map[string]any
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	delete(answer, "access_token")
	if diff := cmp.Diff(map[string]any{"token_type": "Bearer", "expires_in": 0.0, "scopes": []any{}}, answer); diff != "" {
		t.Error(diff)
	}
	// It works for all that, once its user has the roles.
	l.want(403, "GET", l.ApplicationURL("a99", "a99tmn")+logs, "", token)
	platform := l.platformToken("rotator", "rotator-secret")
	for _, role := range []string{opsRole, nodeRole} {
		l.want(200, "PUT", l.members(role), `{"users":[{"name":"oauth_client_hand"}]}`, platform)
	}
	l.want(200, "GET", l.ApplicationURL("a99", "a99tmn")+logs+"?$top=1", "", token)
	l.want(404, "GET", l.ApplicationURL("a99", "a99tmn")+"/elsewhere", "", token)
	l.want(401, "GET", l.ApplicationURL("a99", "a99tmn")+logs, "", "no-token")
	if !l.Accepts("hand", "secret") || l.Accepts("hand", "other") {
		t.Error("Accepts disagrees with the wire")
	}
	// A client that is gone gets no token, and the one that is out lives two minutes.
	if err := l.Deregister("hand"); err != nil {
		t.Fatal(err)
	}
	l.want(401, "POST", l.clientToken(), "", "hand", "secret")
	l.want(200, "GET", l.ApplicationURL("a99", "a99tmn")+logs, "", token)
	l.clock.Advance(2 * time.Minute)
	l.want(401, "GET", l.ApplicationURL("a99", "a99tmn")+logs, "", token)
}

func TestRolesAreSetsOfUserNames(t *testing.T) {
	l := newLab(t, nil)
	token := l.platformToken("rotator", "rotator-secret")
	for range 2 { // a name that no client bears, twice
		l.want(200, "PUT", l.members(nodeRole), `{"users":[{"name":"oauth_client_later"}]}`, token)
	}
	l.want(200, "PUT", l.members(nodeRole), `{"users":[{"name":"someone"}]}`, token)
	if got := l.want(200, "GET", l.members(nodeRole), "", token); got != `{"users":[{"name":"oauth_client_later"},{"name":"someone"}]}` {
		t.Error(got)
	}
	if got := l.want(200, "GET", l.account()+"/users/roles?userId=oauth_client_later", "", token); got != `{"roles":[{"applicationName":"a99tmn","name":"NodeManager.read","providerAccount":"prov"}]}` {
		t.Error(got)
	}
	l.want(200, "DELETE", l.members(nodeRole)+"&users=someone;nobody", "", token)
	l.want(200, "DELETE", l.account()+"/users/roles?userId=oauth_client_later&roles=*", "", token)
	if got := l.want(200, "GET", l.account()+"/users/roles/?userId=oauth_client_later", "", token); got != `{"roles":[]}` {
		t.Error(got)
	}
	l.want(404, "PUT", l.members("no.such"), `{"users":[{"name":"u"}]}`, token)
	l.want(400, "PUT", l.members(nodeRole), `{"users":"u"}`, token)
	l.want(404, "GET", l.account()+"/apps/nothing/roles", "", token)
	if diff := cmp.Diff(Count{Issued: 2, Revoked: 2}, l.Stats().Assignments); diff != "" {
		t.Errorf("the ledger counts assignments otherwise: %s", diff)
	}
}

func TestPeopleMakeRolesAndTheirEndTakesTheMembers(t *testing.T) {
	l := newLab(t, nil)
	token := l.platformToken("rotator", "rotator-secret")
	roles := l.account() + "/apps/a99tmn/roles"
	l.want(201, "POST", roles, `{"roles":[{"name":"mine"}]}`, token)
	l.want(409, "POST", roles, `{"roles":[{"name":"mine"}]}`, token)
	l.want(200, "PUT", l.members("mine"), `{"users":[{"name":"u"}]}`, token)
	l.want(200, "DELETE", roles+"?roles=mine;NodeManager.read", "", token)
	l.want(404, "GET", l.members("mine"), "", token)
	l.want(200, "GET", l.members(nodeRole), "", token) // predefined roles stay
	if diff := cmp.Diff(Count{Issued: 1, Revoked: 1}, l.Stats().Assignments); diff != "" {
		t.Error(diff)
	}
}

func TestWhatDiffersBetweenSourcesCanBePlayedEitherWay(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Behaviour)
		path   string
		status int
		want   string
	}{
		"members by user id":         {func(b *Behaviour) { b.Members = MembersByUserID }, "/apps/a99tmn/roles/users?roleName=AccountAdmin", 200, `{"users":[{"userId":"u"}]}`},
		"members as a bare list":     {func(b *Behaviour) { b.Members = MembersBare }, "/apps/a99tmn/roles/users?roleName=AccountAdmin", 200, `["u"]`},
		"a short list of members":    {func(b *Behaviour) { b.ShortLists = new(0) }, "/apps/a99tmn/roles/users?roleName=AccountAdmin", 200, `{"users":[]}`},
		"the other segment":          {func(b *Behaviour) { b.Segment = SegmentApplications }, "/applications/a99tmn/roles/users?roleName=AccountAdmin", 200, `{"users":[{"name":"u"}]}`},
		"the segment that is not":    {func(b *Behaviour) { b.Segment = SegmentApplications }, "/apps/a99tmn/roles/users?roleName=AccountAdmin", 404, ""},
		"both segments":              {func(b *Behaviour) { b.Segment = SegmentBoth }, "/applications/a99tmn/roles/users?roleName=AccountAdmin", 200, `{"users":[{"name":"u"}]}`},
		"no call for groups":         {func(b *Behaviour) { b.GroupsStatus = 404 }, "/groups", 404, ""},
		"a user without roles":       {func(*Behaviour) {}, "/users/roles?userId=nobody", 200, `{"roles":[]}`},
		"a user that is not known":   {func(b *Behaviour) { b.UnknownUserStatus = 404 }, "/users/roles?userId=nobody", 404, ""},
		"the flag as it is spelt":    {func(*Behaviour) {}, "/apps/a99tmn/roles", 200, `{"roles":[{"applicationRole":true,"name":"IntegrationOperationServer.read","shared":true,"type":"PREDEFINED"},{"applicationRole":true,"name":"NodeManager.read","shared":true,"type":"PREDEFINED"},{"applicationRole":true,"name":"NodeManager.deploycontent","shared":true,"type":"PREDEFINED"},{"applicationRole":true,"name":"AccountAdmin","shared":false,"type":"CUSTOM"}]}`},
		"the flag as it is misspelt": {func(b *Behaviour) { b.RoleFlag = FlagMisspelt }, "/apps/a99tmn/roles", 200, `{"roles":[{"applicatonRole":true,"name":"IntegrationOperationServer.read","shared":true,"type":"PREDEFINED"},{"applicatonRole":true,"name":"NodeManager.read","shared":true,"type":"PREDEFINED"},{"applicatonRole":true,"name":"NodeManager.deploycontent","shared":true,"type":"PREDEFINED"},{"applicatonRole":true,"name":"AccountAdmin","shared":false,"type":"CUSTOM"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, tc.change)
			token := l.platformToken("rotator", "rotator-secret")
			for _, segment := range []string{"apps", "applications"} { // one of them is there
				if _, _, err := l.send("PUT", l.account()+"/"+segment+"/a99tmn/roles/users?roleName=AccountAdmin", `{"users":[{"name":"u"}]}`, token); err != nil {
					t.Fatal(err)
				}
			}
			if got := l.want(tc.status, "GET", l.account()+tc.path, "", token); tc.want != "" && got != tc.want {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestASubaccountHasAHundredCallsInAnySixtySeconds(t *testing.T) {
	l := newLab(t, func(b *Behaviour) { b.StateRetryAfter = true })
	token := l.platformToken("rotator", "rotator-secret")
	for i := range 100 {
		l.want(200, "GET", l.account()+"/groups", "", token)
		if i == 49 {
			l.clock.Advance(20 * time.Second)
		}
	}
	l.want(429, "GET", l.account()+"/groups", "", token)
	l.clock.Advance(39 * time.Second)
	l.want(429, "GET", l.account()+"/groups", "", token)
	l.clock.Advance(time.Second) // the first fifty are sixty seconds old
	for range 50 {
		l.want(200, "GET", l.account()+"/groups", "", token)
	}
	l.want(429, "GET", l.account()+"/groups", "", token)
	if got := l.Calls().Outcome("group.list", "429"); got != 3 {
		t.Errorf("%d calls were turned away", got)
	}
}

func (l *lab) put(status int, id, body string) string {
	l.t.Helper()
	return l.want(status, "PUT", l.RegistrarURL("a99")+"/clients/"+id, body, "registrar-token")
}

const wanted = `{"name":"cl-1","description":"d","application":"a99tmn","providerAccount":"prov","grant":"client_credentials","confidential":true,"secret":"s"}`

func TestTheAssumedRegistrarTakesTheSameRequestTwice(t *testing.T) {
	l := newLab(t, nil)
	l.put(201, "id-1", wanted)
	l.put(200, "id-1", wanted)
	l.put(409, "id-1", `{"name":"cl-1","application":"a99tmn","providerAccount":"prov","grant":"client_credentials","secret":"other"}`)
	l.put(409, "id-2", wanted)
	l.put(422, "id-3", `{"name":"cl-3","application":"nothing","grant":"client_credentials","secret":"s"}`)
	l.put(400, "id-4", `{"name":"cl-4"}`)
	address := l.RegistrarURL("a99") + "/clients"
	shown := `{"application":"a99tmn","clientId":"id-1","description":"d","name":"cl-1","providerAccount":"prov","state":"Active"}`
	if got := l.want(200, "GET", address+"/id-1", "", "registrar-token"); got != shown {
		t.Error(got)
	}
	if got := l.want(200, "GET", address+"?prefix=id-", "", "registrar-token"); got != `{"clients":[`+shown+`],"total":1}` {
		t.Error(got)
	}
	l.want(401, "GET", address, "", "another-token")
	l.want(200, "POST", l.clientToken(), "", "id-1", "s")
	l.want(204, "DELETE", address+"/id-1", "", "registrar-token")
	l.want(404, "DELETE", address+"/id-1", "", "registrar-token")
	l.want(401, "POST", l.clientToken(), "", "id-1", "s")
	stats := l.Stats()
	if diff := cmp.Diff(Count{Issued: 1, Revoked: 1}, stats.Clients); diff != "" || stats.Duplicates != 2 {
		t.Errorf("%d duplicates; %s", stats.Duplicates, diff)
	}
}

func TestAPersonDecidesLater(t *testing.T) {
	l := newLab(t, func(b *Behaviour) { b.PersonDecides = true })
	address := l.RegistrarURL("a99") + "/clients/id-1"
	l.put(202, "id-1", wanted)
	l.put(202, "id-1", wanted)
	l.want(401, "POST", l.clientToken(), "", "id-1", "s")
	if l.Decide() != 1 {
		t.Error("the person had something to do")
	}
	l.put(200, "id-1", wanted)
	l.want(200, "POST", l.clientToken(), "", "id-1", "s")
	l.want(202, "DELETE", address, "", "registrar-token")
	l.want(200, "POST", l.clientToken(), "", "id-1", "s")
	if l.Decide() != 1 || l.Decide() != 0 {
		t.Error("the person had one thing to do")
	}
	l.want(404, "GET", address, "", "registrar-token")
	// What nobody has registered yet is taken back without a person.
	l.put(202, "id-2", wanted)
	l.want(204, "DELETE", l.RegistrarURL("a99")+"/clients/id-2", "", "registrar-token")
	if diff := cmp.Diff(Count{Issued: 1, Revoked: 1}, l.Stats().Clients); diff != "" {
		t.Error(diff)
	}
}

func TestACallIsCutAfterItWasCarriedOut(t *testing.T) {
	l := newLab(t, nil)
	token := l.platformToken("rotator", "rotator-secret")
	for operation, call := range map[string]func() error{
		"client.put": func() error {
			_, _, err := l.send("PUT", l.RegistrarURL("a99")+"/clients/id-1", wanted, "registrar-token")
			return err
		},
		"member.add": func() error {
			_, _, err := l.send("PUT", l.members(nodeRole), `{"users":[{"name":"oauth_client_id-1"}]}`, token)
			return err
		},
	} {
		if _, err := l.Faults().Add(simkit.Fault{Operation: operation, Match: map[string]string{"clientId": "id-*"}, Point: simkit.AfterCommit, Action: simkit.Cut}); err != nil {
			t.Fatal(err)
		}
		if call() == nil {
			t.Errorf("%s was answered", operation)
		}
	}
	stats := l.Stats()
	if diff := cmp.Diff([]Count{{Issued: 1, Live: 1}, {Issued: 1, Live: 1}}, []Count{stats.Clients, stats.Assignments}); diff != "" {
		t.Error(diff)
	}
}

func TestTheVillainEndsOlderClientsWhenANewOneIsServed(t *testing.T) {
	l := newLab(t, func(b *Behaviour) { b.RevokePredecessor = true })
	for _, id := range []string{"old", "new"} {
		if err := l.Register("a99", Client{ID: id, Secret: "s", Application: "a99tmn", Roles: []string{opsRole, nodeRole}}); err != nil {
			t.Fatal(err)
		}
	}
	token := l.tokenOf(l.want(200, "POST", l.clientToken(), "", "new", "s"))
	l.want(200, "GET", l.ApplicationURL("a99", "a99tmn")+logs, "", token)
	l.want(401, "POST", l.clientToken(), "", "old", "s")
}

func TestLagsPass(t *testing.T) {
	l := newLab(t, func(b *Behaviour) {
		b.RegistrationLag, b.RoleLag, b.Refusal = simkit.Duration(time.Minute), simkit.Duration(2*time.Minute), RefusalEmpty
	})
	if err := l.Register("a99", Client{ID: "hand", Secret: "s", Application: "a99tmn", Roles: []string{opsRole, nodeRole}}); err != nil {
		t.Fatal(err)
	}
	if got := l.want(401, "POST", l.clientToken(), "", "hand", "s"); got != "" {
		t.Errorf("the refusal says %q", got)
	}
	l.clock.Advance(time.Minute)
	token := l.tokenOf(l.want(200, "POST", l.clientToken(), "", "hand", "s"))
	l.want(403, "GET", l.ApplicationURL("a99", "a99tmn")+logs, "", token)
	l.clock.Advance(time.Minute)
	l.want(200, "GET", l.ApplicationURL("a99", "a99tmn")+logs, "", token)
	if err := l.Unassign("a99", "a99tmn", nodeRole, "hand"); err != nil {
		t.Fatal(err)
	}
	l.want(200, "GET", l.ApplicationURL("a99", "a99tmn")+logs, "", token)
	l.clock.Advance(2 * time.Minute)
	l.want(403, "GET", l.ApplicationURL("a99", "a99tmn")+logs, "", token)
}

func TestTheControlAPIPlaysPeople(t *testing.T) {
	l := newLab(t, nil)
	remote := simkit.Remote{Base: l.ControlURL()}
	call := func(path string, in any) {
		t.Helper()
		if err := remote.Call(t.Context(), http.MethodPost, path, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	call("/human/register", order{Account: "a99", Client: Client{ID: "hand", Secret: "s", Application: "a99tmn", Roles: []string{nodeRole}}})
	call("/human/rename", order{ID: "hand", Name: "other"})
	call("/human/change-secret", order{ID: "hand", Secret: "s2"})
	l.want(401, "POST", l.clientToken(), "", "hand", "s")
	l.want(200, "POST", l.clientToken(), "", "hand", "s2")
	call("/human/unassign", order{Account: "a99", Application: "a99tmn", Role: nodeRole, ID: "hand"})
	call("/human/unsubscribe", order{Account: "a99", Application: "a99tmn"})
	call("/human/expire-tokens", order{})
	if err := remote.Call(t.Context(), http.MethodPost, "/human/deregister", order{ID: "hand"}, nil); err == nil {
		t.Error("a client that is gone was deregistered")
	}
	if err := remote.Call(t.Context(), http.MethodPatch, "/behaviour", map[string]any{"segment": "neither"}, nil); err == nil {
		t.Error("a behaviour that is none was taken")
	}
	var stats Stats
	if err := remote.Call(t.Context(), http.MethodGet, "/stats", nil, &stats); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Count{{Issued: 1, Revoked: 1}, {Issued: 1, Revoked: 1}}, []Count{stats.Clients, stats.Assignments}); diff != "" {
		t.Error(diff)
	}
}
