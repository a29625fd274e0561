package webmethodsgateway_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/upstream/upstreamtest"
	"github.com/claviger-dev/claviger/internal/webmethodsgateway"
	"github.com/claviger-dev/claviger/internal/webmethodssim"
)

const password = "canary-operator-password"

// start runs a gateway with two APIs and the application shop.
func start(t testing.TB, change func(*webmethodssim.Behaviour)) *webmethodssim.Sim {
	t.Helper()
	behaviour := webmethodssim.Usual()
	if change != nil {
		change(&behaviour)
	}
	seed := webmethodssim.Sample()
	seed.Users = []webmethodssim.User{{Name: "operator", Password: password}}
	sim := webmethodssim.New(webmethodssim.Options{Behaviour: &behaviour, Seed: seed})
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

// settings reach a simulator.
func settings(sim *webmethodssim.Sim) upstream.Settings {
	raw, err := json.Marshal(map[string]any{
		"url": sim.URL(), "gatewayURL": sim.RuntimeURL(),
		"login": map[string]any{"secretRef": map[string]string{"name": "gateway-login"}},
	})
	if err != nil {
		raw = []byte(err.Error()) // refused by Open, which says so
	}
	return upstream.Settings{
		Parameters: raw,
		Login:      map[string]material.Secret{"username": material.New("operator"), "password": material.New(password)},
		Transport: upstream.TransportOptions{
			CABundle: sim.CA(), AllowLoopback: true, PerSecond: 1e6, Burst: 1e6, Timeout: 10 * time.Second, UserAgent: "claviger-test",
		},
	}
}

// lab plays the conformance suite on a simulator, for keys or for clients.
type lab struct {
	t       testing.TB
	sim     *webmethodssim.Sim
	clients bool
	probe   bool
	unique  bool
	serial  atomic.Int64
	shop    string
}

func newLab(t testing.TB, clients, probe bool, change func(*webmethodssim.Behaviour)) *lab {
	l := &lab{t: t, clients: clients, probe: probe}
	l.sim = start(t, func(b *webmethodssim.Behaviour) {
		if change != nil {
			change(b)
		}
		l.unique = b.UniqueNames
	})
	l.shop = l.sim.ApplicationID("shop")
	return l
}

func (l *lab) Open() (upstream.Upstream, error) {
	return webmethodsgateway.NewDriver().Open(settings(l.sim))
}

func newDriver() *webmethodsgateway.Driver { return webmethodsgateway.NewDriver() }

func (l *lab) Shaper() upstream.Shaper { return newDriver() }

// with is one parameter more.
func (l *lab) with(parameters string) json.RawMessage {
	if l.probe {
		parameters += `, "probe": {"path": "/gateway/orders/1.0/health"}`
	}
	return json.RawMessage("{" + parameters + "}")
}

func (l *lab) Parameters() json.RawMessage {
	if l.clients {
		return l.with(`"type": "OAuth2", "application": "shop", "scopes": ["orders"]`)
	}
	return l.with(`"type": "APIKey", "apis": [{"name": "orders", "version": "1.0"}, {"name": "stock"}]`)
}

func (l *lab) Absent() map[string]json.RawMessage {
	if l.clients {
		return map[string]json.RawMessage{`application "nothing"`: l.with(`"type": "OAuth2", "application": "nothing"`)}
	}
	return map[string]json.RawMessage{
		`API "nothing"`:           l.with(`"type": "APIKey", "apis": [{"name": "orders"}, {"name": "nothing"}]`),
		`"orders" of version 9.9`: l.with(`"type": "APIKey", "apis": [{"name": "orders", "version": "9.9"}]`),
	}
}

func (l *lab) Secrets() []string { return []string{password} }

// Exempt: names are not unique, so nobody keeps two processes from making two.
func (l *lab) Exempt() map[string]string {
	if l.unique && !l.clients {
		return nil
	}
	return map[string]string{
		"the same request from two processes at once yields one object": "the gateway takes any name of a strategy twice, and mostly of an application, and the planner lets one process ask at a time",
	}
}

// operations are the simulator's names for the suite's kinds of calls.
func (l *lab) operations(call upstreamtest.Call) []string {
	if l.clients {
		return map[upstreamtest.Call][]string{
			upstreamtest.ReadRealm: {"search.count"}, upstreamtest.ReadContainer: {"search"},
			upstreamtest.Create: {"strategy.create"}, upstreamtest.Read: {"application.read", "strategy.read"},
			upstreamtest.List: {"strategy.list", "application.list"}, upstreamtest.Delete: {"application.update", "strategy.delete"},
			upstreamtest.Use: {"token.client", "api.call"},
		}[call]
	}
	return map[upstreamtest.Call][]string{
		upstreamtest.ReadRealm: {"search.count"}, upstreamtest.ReadContainer: {"search"},
		upstreamtest.Create: {"application.create"}, upstreamtest.Read: {"application.read"},
		upstreamtest.List: {"application.list"}, upstreamtest.Delete: {"application.suspend", "application.delete"},
		upstreamtest.Use: {"api.call"},
	}[call]
}

func (l *lab) Arm(call upstreamtest.Call, fault upstreamtest.Fault) bool {
	return fault.Strike(l.sim.Faults(), l.operations(call))
}

func (l *lab) Heal() {
	l.sim.Faults().Remove("")
	l.sim.Faults().Release("", false)
	l.adjust(func(b *webmethodssim.Behaviour) { b.ShortLists = nil })
	l.powerless(false)
}

func (l *lab) adjust(change func(*webmethodssim.Behaviour)) {
	if err := l.sim.Adjust(change); err != nil {
		l.t.Error(err)
	}
}

func (l *lab) powerless(powerless bool) {
	if err := l.sim.Seed(webmethodssim.Seed{Users: []webmethodssim.User{{Name: "operator", Password: password, Powerless: powerless}}}); err != nil {
		l.t.Error(err)
	}
}

func (l *lab) Do(deed upstreamtest.Deed, r upstream.Request) error {
	fresh := fmt.Sprintf("foreign-%d", l.serial.Add(1))
	id := l.live(r.Mark)
	switch deed {
	case upstreamtest.LoseRights:
		l.powerless(true)
		return nil
	case upstreamtest.ShortenLists:
		l.adjust(func(b *webmethodssim.Behaviour) { b.ShortLists = new(0) })
		return nil
	}
	if l.clients {
		return l.doToClient(deed, r, id, fresh)
	}
	switch deed {
	case upstreamtest.AddForeign:
		return l.sim.AddApplication(webmethodssim.SeedApplication{Name: fresh})
	case upstreamtest.TakeName:
		return l.sim.AddApplication(webmethodssim.SeedApplication{Name: r.Name})
	case upstreamtest.RenameObject:
		return l.sim.RenameApplication(id, fresh)
	case upstreamtest.RemoveObject:
		return l.sim.RemoveApplication(id, false)
	case upstreamtest.ChangeSecret:
		return l.sim.RegenerateKey(id)
	case upstreamtest.RenameContainer:
		return nil // it is the gateway itself, which has no name
	case upstreamtest.RemoveContainer:
		l.sim.RemoveApplications()
		return nil
	}
	return upstreamtest.ErrNotPlayed
}

func (l *lab) doToClient(deed upstreamtest.Deed, r upstream.Request, id, fresh string) error {
	switch deed {
	case upstreamtest.AddForeign:
		l.sim.AddStrategy(fresh)
		return nil
	case upstreamtest.TakeName:
		l.sim.AddStrategy(r.Name)
		return nil
	case upstreamtest.RenameObject:
		return l.sim.RenameStrategy(id, fresh)
	case upstreamtest.RemoveObject:
		if err := l.sim.Detach(l.shop, id); err != nil {
			return err
		}
		return l.sim.RemoveStrategy(id)
	case upstreamtest.ChangeSecret:
		return l.sim.RefreshStrategy(id)
	case upstreamtest.RenameContainer:
		return l.sim.RenameApplication(l.shop, fresh)
	case upstreamtest.RemoveContainer:
		return l.sim.RemoveApplication(l.shop, true)
	}
	return upstreamtest.ErrNotPlayed
}

func (l *lab) records(mark upstream.Mark) []simkit.Record {
	kind := "application"
	if l.clients {
		kind = "strategy"
	}
	var out []simkit.Record
	for _, record := range l.sim.Ledger().Issued() {
		if record.Kind == kind && mark != "" && strings.Contains(record.Attrs["description"], string(mark)) {
			out = append(out, record)
		}
	}
	return out
}

// live is the id of the object of a mark.
func (l *lab) live(mark upstream.Mark) string {
	for _, record := range l.records(mark) {
		if record.Live() {
			return record.ID
		}
	}
	return ""
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
	if l.clients {
		return l.sim.AcceptsClient("orders", m.ClientID, m.ClientSecret.Reveal())
	}
	return l.sim.AcceptsKey("orders", m.APIKey.Reveal()) && l.sim.AcceptsKey("stock", m.APIKey.Reveal())
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformance proves the contract of the port, on gateways that differ in everything
// that is not known for certain.
func TestConformance(t *testing.T) {
	odd := func(b *webmethodssim.Behaviour) {
		b.CreatedStatus, b.DescribedNames, b.BareReads, b.SearchCapitals, b.SearchOmitsEmpty = 200, true, true, true, true
		b.Strategies, b.APIsHidden, b.NoKeyAtCreation, b.NoKillSwitch, b.SuspensionHidden = webmethodssim.StrategiesBare, true, true, true, true
		b.DeletionDetaches, b.UniqueNames, b.MediatorRefusals, b.Approvals = true, true, true, webmethodssim.ApprovalsRefused
	}
	for name, tc := range map[string]struct {
		clients, probe bool
		behaviour      func(*webmethodssim.Behaviour)
	}{
		"keys as usual":                     {},
		"keys with a probe":                 {probe: true},
		"keys as odd as may be":             {probe: true, behaviour: odd},
		"clients as usual":                  {clients: true},
		"clients with a probe":              {clients: true, probe: true},
		"clients as odd as may be":          {clients: true, probe: true, behaviour: odd},
		"clients in a list of another name": {clients: true, behaviour: func(b *webmethodssim.Behaviour) { b.Strategies = webmethodssim.StrategiesInStrategy }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upstreamtest.Run(t, func(t testing.TB) upstreamtest.Lab { return newLab(t, tc.clients, tc.probe, tc.behaviour) })
		})
	}
}
