package cloudfoundry_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/claviger-dev/claviger/internal/cloudfoundry"
	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/upstream/upstreamtest"
)

const (
	spacePath = "acme/dev"
	runtimeAt = "acme/dev/cpi-api"
	password  = "canary/rotator-password"
	clientKey = "canary/client-secret"
	assertion = "canary/assertion"
)

// authority signs external certificates, and the simulated broker trusts it.
var authority = sync.OnceValue(func() (pair [2]string) {
	a, err := simkit.NewAuthority()
	if err != nil {
		panic(err) // no test can go on
	}
	key, err := a.KeyPEM()
	if err != nil {
		panic(err)
	}
	return [2]string{string(a.PEM()), string(key)}
})

// world is a space with an instance of it-rt and one of XSUAA.
func world() cloudfoundrysim.Seed {
	return cloudfoundrysim.Seed{
		Users:     []cloudfoundrysim.User{{Name: "rotator", Password: password, Assertion: assertion, Origin: "my-idp", Spaces: []string{spacePath}}},
		Clients:   []cloudfoundrysim.Client{{ID: "rotator-client", Secret: clientKey, Spaces: []string{spacePath}}},
		ClientCAs: authority()[0],
		Instances: []cloudfoundrysim.Instance{
			{Org: "acme", Space: "dev", Name: "cpi-api", Offering: "it-rt", Plan: "api", Roles: []string{"MonitoringDataRead"}},
			{Org: "acme", Space: "dev", Name: "uaa", Offering: "xsuaa", Plan: "application"},
		},
	}
}

func start(t testing.TB, change func(*cloudfoundrysim.Behaviour)) *cloudfoundrysim.Sim {
	t.Helper()
	behaviour := cloudfoundrysim.Usual()
	if change != nil {
		change(&behaviour)
	}
	sim := cloudfoundrysim.New(cloudfoundrysim.Options{Behaviour: &behaviour, Seed: world()})
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

// settings reach a simulator with one of the logins.
func settings(sim *cloudfoundrysim.Sim, login string) upstream.Settings {
	parameters := map[string]any{
		"url": sim.URL(), "organization": "acme", "space": "dev", "login": map[string]any{"type": login, "origin": "my-idp"},
	}
	raw, err := json.Marshal(parameters)
	if err != nil {
		raw = []byte(err.Error()) // refused by Open, which says so
	}
	return upstream.Settings{
		Parameters: raw,
		Login: map[string]material.Secret{
			"username": material.New("rotator"), "password": material.New(password), "assertion": material.New(assertion),
			"client_id": material.New("rotator-client"), "client_secret": material.New(clientKey),
			"signer.crt": material.New(authority()[0]), "signer.key": material.New(authority()[1]),
		},
		Transport: upstream.TransportOptions{
			CABundle: sim.CA(), AllowLoopback: true, PerSecond: 1e6, Burst: 1e6, Timeout: 10 * time.Second, UserAgent: "claviger-test",
		},
	}
}

func open(t testing.TB, sim *cloudfoundrysim.Sim) upstream.Upstream {
	t.Helper()
	account, err := cloudfoundry.NewDriver(time.Now).Open(settings(sim, "Password"))
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// lab plays the conformance suite on a simulator.
type lab struct {
	t          testing.TB
	sim        *cloudfoundrysim.Sim
	login      string
	parameters string
	at         string
	serial     atomic.Int64
}

func (l *lab) Open() (upstream.Upstream, error) {
	return cloudfoundry.NewDriver(time.Now).Open(settings(l.sim, l.login))
}

func (l *lab) Shaper() upstream.Shaper { return cloudfoundry.NewDriver(time.Now) }

func (l *lab) Parameters() json.RawMessage { return json.RawMessage(l.parameters) }

func (l *lab) Absent() map[string]json.RawMessage {
	return map[string]json.RawMessage{
		`instance "nothing"`: json.RawMessage(`{"instance":"nothing"}`),
		`instance "3f1c"`:    json.RawMessage(`{"instanceGUID":"3f1c"}`),
	}
}

func (l *lab) Secrets() []string { return []string{password, clientKey, assertion} }

// operations are the simulator's names for the suite's kinds of calls.
var operations = map[upstreamtest.Call][]string{
	upstreamtest.Login:         {"root", "uaa.token"},
	upstreamtest.ReadRealm:     {"org.list", "space.list"},
	upstreamtest.ReadContainer: {"instance.list"},
	upstreamtest.Create:        {"binding.create"},
	upstreamtest.Read:          {"binding.details", "space.read"},
	upstreamtest.List:          {"binding.list"},
	upstreamtest.Delete:        {"binding.delete"},
	upstreamtest.Use:           {"token.client", "api.call"},
}

func (l *lab) Arm(call upstreamtest.Call, fault upstreamtest.Fault) bool {
	return fault.Strike(l.sim.Faults(), operations[call])
}

func (l *lab) Heal() {
	l.sim.Faults().Remove("")
	l.sim.Faults().Release("", false)
	l.adjust(func(b *cloudfoundrysim.Behaviour) { b.ShortLists = nil })
	l.grant(spacePath)
}

func (l *lab) adjust(change func(*cloudfoundrysim.Behaviour)) {
	if err := l.sim.Adjust(change); err != nil {
		l.t.Error(err)
	}
}

// grant says where the operator's logins are Space Developers.
func (l *lab) grant(spaces ...string) {
	seed := world()
	seed.Instances = nil
	seed.Users[0].Spaces, seed.Clients[0].Spaces = spaces, spaces
	if err := l.sim.Seed(seed); err != nil {
		l.t.Error(err)
	}
}

func (l *lab) guid(mark upstream.Mark) string {
	for _, record := range l.records(mark) {
		if record.Live() {
			return record.ID
		}
	}
	return ""
}

func (l *lab) Do(deed upstreamtest.Deed, r upstream.Request) error {
	fresh := fmt.Sprintf("foreign-%d", l.serial.Add(1))
	switch deed {
	case upstreamtest.AddForeign:
		_, err := l.sim.AddKey(l.at, fresh)
		return err
	case upstreamtest.TakeName, upstreamtest.TakeID: // the name is the only id that we choose
		if guid, err := l.sim.AddKey(l.at, r.Name); err != nil && guid != l.guid(r.Mark) {
			return err
		}
		return nil // our own object has the name, so nobody else can take it
	case upstreamtest.RenameObject:
		return nil // names of keys never change
	case upstreamtest.RemoveObject:
		return l.sim.RemoveKey(l.guid(r.Mark))
	case upstreamtest.ChangeSecret:
		return l.sim.Reissue(l.guid(r.Mark))
	case upstreamtest.RenameContainer:
		err := l.sim.RenameInstance(l.at, fresh)
		l.at = spacePath + "/" + fresh
		return err
	case upstreamtest.RemoveContainer:
		return l.sim.RemoveInstance(l.at)
	case upstreamtest.LoseRights:
		l.grant()
		return nil
	case upstreamtest.ShortenLists:
		l.adjust(func(b *cloudfoundrysim.Behaviour) { b.ShortLists = new(0) })
		return nil
	}
	return upstreamtest.ErrNotPlayed
}

func (l *lab) records(mark upstream.Mark) []simkit.Record {
	var out []simkit.Record
	for _, record := range l.sim.Ledger().Issued() {
		if record.Kind == "key" && record.Attrs["mark"] == string(mark) {
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
	if m.Certificate != "" {
		block, _ := pem.Decode([]byte(m.Certificate))
		return block != nil && l.sim.AcceptsCertificate(block.Bytes)
	}
	return l.sim.Accepts(m.ClientID, m.ClientSecret.Reveal())
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformance proves the contract of the port.
func TestConformance(t *testing.T) {
	const probe = `,"probe":{"path":"/api/v1/MessageProcessingLogs?$top=1"}`
	for name, tc := range map[string]struct{ login, parameters, at string }{
		"a secret, by password": {"Password", `{"instance":"cpi-api"` + probe + `}`, runtimeAt},
		"a secret of XSUAA, by client credentials": {
			"ClientCredentials", `{"instance":"uaa","keyType":"XSUAABindingSecret"}`, "acme/dev/uaa",
		},
		// The key is shorter than the API server admits, because hundreds are made.
		"a certificate that is signed here, by a token": {"JWTBearer", `{"instance":"cpi-api","keyType":"ExternalCertificate","keyLength":1024` + probe + `}`, runtimeAt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upstreamtest.Run(t, func(t testing.TB) upstreamtest.Lab {
				return &lab{t: t, sim: start(t, nil), login: tc.login, parameters: tc.parameters, at: tc.at}
			})
		})
	}
}
