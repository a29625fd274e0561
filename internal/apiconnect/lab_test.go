package apiconnect_test

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/claviger-dev/claviger/internal/apiconnect"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/upstream/upstreamtest"
)

// app is where everything lives in the tests.
var app = apiconnectsim.Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail", App: "billing"}

const (
	realmName = "provider/default-idp-2"
	rotator   = "svc-rotator"
	password  = "canary-rotator-password"
	toolkit   = "canary-toolkit-secret"
)

// start runs a simulator with one account.
func start(t testing.TB, behaviour apiconnectsim.Behaviour) *apiconnectsim.Sim {
	t.Helper()
	sim := apiconnectsim.New(apiconnectsim.Options{
		Behaviour: &behaviour,
		Seed: apiconnectsim.Seed{
			Toolkits: []apiconnectsim.Toolkit{{ClientID: "toolkit", ClientSecret: toolkit}},
			Logins:   []apiconnectsim.Login{{Username: rotator, Password: password, Realm: realmName}},
		},
	})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := sim.Add(app); err != nil {
		t.Fatal(err)
	}
	return sim
}

// settings reach a simulator; change adapts the issuer's parameters.
func settings(sim *apiconnectsim.Sim, change func(map[string]any)) upstream.Settings {
	parameters := map[string]any{
		"url": sim.URL(), "providerOrg": app.Org, "catalog": app.Catalog, "gatewayURL": sim.GatewayURL(),
		"login": map[string]any{"realm": realmName, "secretRef": map[string]string{"name": "apic-login"}},
	}
	if change != nil {
		change(parameters)
	}
	raw, err := json.Marshal(parameters)
	if err != nil {
		raw = []byte(err.Error()) // refused by Open, which says so
	}
	return upstream.Settings{
		Parameters: raw,
		Login: map[string]material.Secret{
			"username": material.New(rotator), "password": material.New(password),
			"client_id": material.New("toolkit"), "client_secret": material.New(toolkit),
		},
		Transport: upstream.TransportOptions{
			CABundle: sim.CA(), AllowLoopback: true, PerSecond: 1e6, Burst: 1e6, Timeout: 10 * time.Second, UserAgent: "claviger-test",
		},
	}
}

// lab plays the conformance suite on a simulator.
type lab struct {
	t      testing.TB
	sim    *apiconnectsim.Sim
	ids    apiconnectsim.Path
	probe  bool
	serial atomic.Int64
}

func newLab(t testing.TB, behaviour apiconnectsim.Behaviour, probe bool) *lab {
	l := &lab{t: t, sim: start(t, behaviour), probe: probe}
	var err error
	if l.ids, err = l.sim.IDs(app); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) Open() (upstream.Upstream, error) {
	return apiconnect.NewDriver(time.Now).Open(settings(l.sim, nil))
}

func (l *lab) Shaper() upstream.Shaper { return apiconnect.NewDriver(time.Now) }

func (l *lab) Parameters() json.RawMessage {
	if l.probe {
		return json.RawMessage(`{"consumerOrg":"retail","app":"billing","probe":{"path":"/orders/health"}}`)
	}
	return json.RawMessage(`{"consumerOrg":"retail","app":"billing"}`)
}

func (l *lab) Absent() map[string]json.RawMessage {
	return map[string]json.RawMessage{
		`consumer organisation "nobody"`: json.RawMessage(`{"consumerOrg":"nobody","app":"billing"}`),
		`app "nothing"`:                  json.RawMessage(`{"consumerOrg":"retail","app":"nothing"}`),
	}
}

func (l *lab) Secrets() []string { return []string{password, toolkit} }

// operations are the simulator's names for the suite's kinds of calls.
var operations = map[upstreamtest.Call][]string{
	upstreamtest.Login:         {"token.*"},
	upstreamtest.ReadRealm:     {"org.*", "catalog.*"},
	upstreamtest.ReadContainer: {"consumer-org.*", "app.*"},
	upstreamtest.Create:        {"credential.create"},
	upstreamtest.Read:          {"credential.get"},
	upstreamtest.List:          {"credential.list", "credential.list-catalog"},
	upstreamtest.Delete:        {"credential.delete"},
	upstreamtest.Prove:         {"credential.verify-secret"},
	upstreamtest.Use:           {"gateway.call"},
}

func (l *lab) Arm(call upstreamtest.Call, fault upstreamtest.Fault) bool {
	if call == upstreamtest.Use && !l.probe {
		return false
	}
	return fault.Strike(l.sim.Faults(), operations[call])
}

func (l *lab) Heal() {
	l.sim.Faults().Remove("")
	l.sim.Faults().Release("", false)
	l.adjust(func(b *apiconnectsim.Behaviour) { b.ShortLists = nil })
	l.admit(apiconnectsim.Login{})
}

func (l *lab) adjust(change func(*apiconnectsim.Behaviour)) {
	if err := l.sim.Adjust(change); err != nil {
		l.t.Error(err)
	}
}

// admit changes what the account may see.
func (l *lab) admit(login apiconnectsim.Login) {
	login.Username, login.Password, login.Realm = rotator, password, realmName
	if _, err := l.sim.Seed(apiconnectsim.Seed{Logins: []apiconnectsim.Login{login}}); err != nil {
		l.t.Error(err)
	}
}

// add makes a credential of somebody else's in an app.
func (l *lab) add(appID string, credential apiconnectsim.SeedCredential) error {
	if credential.Name == "" {
		credential.Name = fmt.Sprintf("foreign-%d", l.serial.Add(1))
	}
	_, err := l.sim.Seed(apiconnectsim.Seed{Orgs: []apiconnectsim.SeedOrg{{Name: l.ids.Org, Catalogs: []apiconnectsim.SeedCatalog{{
		Name: l.ids.Catalog, ConsumerOrgs: []apiconnectsim.SeedConsumerOrg{{
			Name: l.ids.ConsumerOrg, Apps: []apiconnectsim.SeedApp{{Name: appID, Credentials: []apiconnectsim.SeedCredential{credential}}},
		}},
	}}}}})
	return err
}

func (l *lab) Do(deed upstreamtest.Deed, r upstream.Request) error {
	object := l.ids
	for _, record := range l.records(r.Mark) {
		if record.Live() {
			object.Credential = record.ID
		}
	}
	fresh := fmt.Sprintf("renamed-%d", l.serial.Add(1))
	switch deed {
	case upstreamtest.AddForeign:
		return l.add(l.ids.App, apiconnectsim.SeedCredential{})
	case upstreamtest.TakeName:
		return l.add(l.ids.App, apiconnectsim.SeedCredential{Name: r.Name})
	case upstreamtest.TakeID:
		return l.add("another-app", apiconnectsim.SeedCredential{ClientID: string(r.Mark)})
	case upstreamtest.RenameObject:
		return l.sim.Rename(object, fresh)
	case upstreamtest.RemoveObject:
		return l.sim.Delete(object)
	case upstreamtest.ChangeSecret:
		_, err := l.sim.ResetSecret(object)
		return err
	case upstreamtest.RenameContainer:
		if err := l.sim.Rename(l.ids, fresh); err != nil {
			return err
		}
		return l.sim.Rename(apiconnectsim.Path{Org: l.ids.Org, Catalog: l.ids.Catalog, ConsumerOrg: l.ids.ConsumerOrg}, fresh)
	case upstreamtest.RemoveContainer:
		return l.sim.Delete(l.ids)
	case upstreamtest.LoseRights:
		l.admit(apiconnectsim.Login{ConsumerOrgs: []string{}})
		return nil
	case upstreamtest.ShortenLists:
		l.adjust(func(b *apiconnectsim.Behaviour) { b.ShortLists = new(0) })
		return nil
	}
	return upstreamtest.ErrNotPlayed
}

func (l *lab) records(mark upstream.Mark) []simkit.Record {
	var out []simkit.Record
	for _, record := range l.sim.Ledger().Issued() {
		if record.Attrs["clientId"] == string(mark) {
			out = append(out, record)
		}
	}
	return out
}

func (l *lab) Live(mark upstream.Mark) int {
	n := 0
	for _, record := range l.records(mark) {
		if record.Live() {
			n++
		}
	}
	return n
}

func (l *lab) Issued(mark upstream.Mark) int { return len(l.records(mark)) }
func (l *lab) Total() int                    { return len(l.sim.Ledger().Live()) }
func (l *lab) Accepts(m material.Material) bool {
	return l.sim.Accepts(m.ClientID, m.ClientSecret.Reveal())
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformance proves the contract of the port, on installations that differ in
// everything that is not known for certain.
func TestConformance(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*apiconnectsim.Behaviour)
		probe  bool
	}{
		"as usual":              {change: func(*apiconnectsim.Behaviour) {}},
		"as usual with a probe": {change: func(*apiconnectsim.Behaviour) {}, probe: true},
		"as odd as it may be": {change: func(b *apiconnectsim.Behaviour) {
			b.TokenStatus, b.RefreshTokens = 201, true
			b.CreateStatus, b.DeleteStatus, b.ConflictStatus, b.ClientIDConflictFirst = 302, 204, 400, true
			b.VerifyRefusedStatus, b.HashForm, b.MessageAsString = 401, apiconnectsim.HashOther, true
			b.MaxPage, b.HiddenStatus, b.ForbiddenListsAreEmpty = 30, 403, true
		}},
		"with no hash and no refusal but 422": {change: func(b *apiconnectsim.Behaviour) {
			b.CreateStatus, b.HashForm, b.VerifyRefusedStatus = 200, apiconnectsim.HashAbsent, 422
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			behaviour := apiconnectsim.Usual()
			tc.change(&behaviour)
			upstreamtest.Run(t, func(t testing.TB) upstreamtest.Lab { return newLab(t, behaviour, tc.probe) })
		})
	}
}
