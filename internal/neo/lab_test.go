package neo_test

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/neo"
	"github.com/claviger-dev/claviger/internal/neosim"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/upstream/upstreamtest"
)

const (
	accountName    = "a99"
	tmn            = "a99tmn"
	opsRole        = "IntegrationOperationServer.read"
	nodeRole       = "NodeManager.read"
	platformSecret = "canary-platform-secret"
	registrarToken = "canary-registrar-token"
)

// world is a landscape with two applications, of which the second is empty.
func world() neosim.Seed {
	return neosim.Seed{Accounts: []neosim.SeedAccount{{
		Name: accountName, RegistrarToken: registrarToken,
		PlatformClients: []neosim.PlatformClient{{ID: "rotator", Secret: platformSecret}},
		Applications: []neosim.SeedApplication{
			{
				Name: tmn, ProviderAccount: "prov",
				Roles:     []neosim.Role{{Name: opsRole}, {Name: nodeRole}, {Name: "AccountAdmin"}},
				Endpoints: []neosim.Endpoint{{Path: "/api/v1/MessageProcessingLogs", Roles: []string{opsRole, nodeRole}}},
			},
			{Name: "a99iflmap", ProviderAccount: "prov", Roles: []neosim.Role{{Name: "ESBMessaging.send"}}},
		},
	}}}
}

// start runs a landscape without the limit of calls, which would be what every test
// meets first.
func start(t testing.TB, change func(*neosim.Behaviour)) *neosim.Sim {
	t.Helper()
	behaviour := neosim.Usual()
	behaviour.RequestsPerMinute = 0
	if change != nil {
		change(&behaviour)
	}
	sim := neosim.New(neosim.Options{Behaviour: &behaviour, Seed: world()})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim
}

// settings reach a simulator; change adapts the issuer's parameters.
func settings(sim *neosim.Sim, change func(map[string]any)) upstream.Settings {
	parameters := map[string]any{
		"url": sim.URL(), "account": accountName, "tokenURL": sim.TokenURL(accountName),
		"applications": []map[string]any{
			{"name": tmn, "providerAccount": "prov", "roles": []string{opsRole, nodeRole, "gone"}, "url": sim.ApplicationURL(accountName, tmn)},
			{"name": "a99iflmap", "providerAccount": "prov", "roles": []string{"ESBMessaging.send"}},
			{"name": "nothing", "providerAccount": "prov", "roles": []string{opsRole}},
		},
		"registrar": map[string]any{"type": "HTTP", "url": sim.RegistrarURL(accountName)},
		"login":     map[string]any{"secretRef": map[string]string{"name": "neo-login"}},
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
			"client_id": material.New("rotator"), "client_secret": material.New(platformSecret), "registrar_token": material.New(registrarToken),
		},
		Transport: upstream.TransportOptions{
			CABundle: sim.CA(), AllowLoopback: true, PerSecond: 1e6, Burst: 1e6, Timeout: 10 * time.Second, UserAgent: "claviger-test",
		},
	}
}

// lab plays the conformance suite on a simulator.
type lab struct {
	t      testing.TB
	sim    *neosim.Sim
	probe  bool
	change func(map[string]any)
	serial atomic.Int64
}

func newLab(t testing.TB, behaviour func(*neosim.Behaviour), probe bool, change func(map[string]any)) *lab {
	return &lab{t: t, sim: start(t, behaviour), probe: probe, change: change}
}

func (l *lab) Open() (upstream.Upstream, error) {
	return neo.NewDriver(time.Now).Open(settings(l.sim, l.change))
}

const (
	plain  = `{"application":"a99tmn","roles":["IntegrationOperationServer.read","NodeManager.read"]}`
	probed = `{"application":"a99tmn","roles":["IntegrationOperationServer.read","NodeManager.read"],"probe":{"path":"/api/v1/MessageProcessingLogs?$top=1"}}`
)

func (l *lab) Shaper() upstream.Shaper { return neo.NewDriver(time.Now) }

func (l *lab) Parameters() json.RawMessage {
	if l.probe {
		return json.RawMessage(probed)
	}
	return json.RawMessage(plain)
}

func (l *lab) Absent() map[string]json.RawMessage {
	return map[string]json.RawMessage{
		`application "nothing"`: json.RawMessage(`{"application":"nothing","roles":["IntegrationOperationServer.read"]}`),
		`role "gone"`:           json.RawMessage(`{"application":"a99tmn","roles":["NodeManager.read","gone"]}`),
	}
}

func (l *lab) Secrets() []string { return []string{platformSecret, registrarToken} }

// operations are the simulator's names for the suite's kinds of calls.
var operations = map[upstreamtest.Call][]string{
	upstreamtest.Login:         {"token.platform"},
	upstreamtest.ReadRealm:     {"user.roles.list", "group.list"},
	upstreamtest.ReadContainer: {"role.list"},
	upstreamtest.Create:        {"client.put", "member.add"},
	upstreamtest.List:          {"client.list", "member.list"},
	upstreamtest.Delete:        {"client.delete", "user.roles.delete"},
	upstreamtest.Use:           {"token.client", "application.call"},
}

func (l *lab) Arm(call upstreamtest.Call, fault upstreamtest.Fault) bool {
	return fault.Strike(l.sim.Faults(), operations[call])
}

func (l *lab) Heal() {
	l.sim.Faults().Remove("")
	l.sim.Faults().Release("", false)
	l.adjust(func(b *neosim.Behaviour) { b.ShortLists = nil })
	l.grant(neosim.PlatformClient{}, registrarToken)
}

func (l *lab) adjust(change func(*neosim.Behaviour)) {
	if err := l.sim.Adjust(change); err != nil {
		l.t.Error(err)
	}
}

// grant changes what the operator's own logins may do.
func (l *lab) grant(client neosim.PlatformClient, token string) {
	client.ID, client.Secret = "rotator", platformSecret
	if err := l.sim.Seed(neosim.Seed{Accounts: []neosim.SeedAccount{{Name: accountName, RegistrarToken: token, PlatformClients: []neosim.PlatformClient{client}}}}); err != nil {
		l.t.Error(err)
	}
}

// register adds a client of somebody else's.
func (l *lab) register(c neosim.Client) error {
	if c.Secret == "" {
		c.Secret = "canary-foreign-secret"
	}
	return l.sim.Register(accountName, c)
}

func (l *lab) Do(deed upstreamtest.Deed, r upstream.Request) error {
	fresh := fmt.Sprintf("foreign-%d", l.serial.Add(1))
	id := string(r.Mark)
	switch deed {
	case upstreamtest.AddForeign:
		return l.register(neosim.Client{ID: fresh, Application: tmn, Roles: []string{opsRole}})
	case upstreamtest.TakeName:
		return l.register(neosim.Client{ID: fresh, Name: r.Name, Application: tmn})
	case upstreamtest.TakeID:
		return l.register(neosim.Client{ID: id, Name: fresh, Application: "a99iflmap"})
	case upstreamtest.RenameObject:
		return l.sim.Rename(id, fresh)
	case upstreamtest.RemoveObject:
		return l.sim.Deregister(id)
	case upstreamtest.ChangeSecret:
		return l.sim.ChangeSecret(id, "canary-other-secret")
	case upstreamtest.RenameContainer:
		return nil // technical names never change, and titles stand nowhere
	case upstreamtest.RemoveContainer:
		return l.sim.Unsubscribe(accountName, tmn)
	case upstreamtest.LoseRights:
		l.grant(neosim.PlatformClient{Scopes: []neosim.Scope{}}, "canary-another-token")
		return nil
	case upstreamtest.ShortenLists:
		l.adjust(func(b *neosim.Behaviour) { b.ShortLists = new(0) })
		return nil
	}
	return upstreamtest.ErrNotPlayed
}

func (l *lab) records(mark upstream.Mark) []simkit.Record {
	var out []simkit.Record
	for _, record := range l.sim.Ledger().Issued() {
		if record.Kind == "client" && record.ID == string(mark) {
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

// TestConformance proves the contract of the port, on landscapes that differ in
// everything that is not known for certain.
func TestConformance(t *testing.T) {
	for name, tc := range map[string]struct {
		behaviour func(*neosim.Behaviour)
		probe     bool
		change    func(map[string]any)
	}{
		"as usual":              {},
		"as usual with a probe": {probe: true},
		"as odd as it may be": {
			behaviour: func(b *neosim.Behaviour) {
				b.Segment, b.RoleFlag, b.Members = neosim.SegmentApplications, neosim.FlagMisspelt, neosim.MembersBare
				b.AssignStatus, b.ForbiddenStatus, b.UnknownUserStatus = 201, 400, 404
				b.Refusal, b.ScopesAsText, b.ExpiresIn = neosim.RefusalHTML, true, 3600
			},
			change: func(p map[string]any) { p["applicationPath"] = "applications" },
		},
		"with no groups and users by their id": {
			behaviour: func(b *neosim.Behaviour) {
				b.GroupsStatus, b.Members, b.Refusal = 404, neosim.MembersByUserID, neosim.RefusalEmpty
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upstreamtest.Run(t, func(t testing.TB) upstreamtest.Lab { return newLab(t, tc.behaviour, tc.probe, tc.change) })
		})
	}
}
