package webmethodsportal_test

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/upstream/upstreamtest"
	"github.com/claviger-dev/claviger/internal/webmethodsportal"
	"github.com/claviger-dev/claviger/internal/webmethodsportalsim"
)

const (
	user     = "rotator"
	password = "canary-operator-password"
	orders   = "api-orders"
)

// start runs a simulator in real time.
func start(t testing.TB, change func(*webmethodsportalsim.Behaviour)) *webmethodsportalsim.Sim {
	t.Helper()
	behaviour := webmethodsportalsim.Usual()
	if change != nil {
		change(&behaviour)
	}
	sim := webmethodsportalsim.New(webmethodsportalsim.Options{Behaviour: &behaviour, Seed: webmethodsportalsim.Seed{
		Users: []webmethodsportalsim.User{{Name: user, Password: password}, {Name: "somebody", Password: "canary-somebody"}},
		APIs:  []webmethodsportalsim.API{{ID: orders, Name: "Orders"}, {ID: "api-other", Name: "Other"}},
	}})
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
func settings(sim *webmethodsportalsim.Sim, change func(map[string]any)) upstream.Settings {
	parameters := map[string]any{
		"url": sim.URL(), "gateway": map[string]any{"url": sim.GatewayURL()},
		"login": map[string]any{"secretRef": map[string]string{"name": "portal-login"}},
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
		Login:      map[string]material.Secret{"username": material.New(user), "password": material.New(password)},
		Transport: upstream.TransportOptions{
			CABundle: sim.CA(), AllowLoopback: true, PerSecond: 1e6, Burst: 1e6, Timeout: 10 * time.Second, UserAgent: "claviger-test",
		},
	}
}

// lab plays the conformance suite on a simulator.
type lab struct {
	t          testing.TB
	sim        *webmethodsportalsim.Sim
	parameters string
	change     func(map[string]any)
	serial     atomic.Int64
}

func (l *lab) Open() (upstream.Upstream, error) {
	return webmethodsportal.NewDriver().Open(settings(l.sim, l.change))
}

const (
	keyAlone  = `{"type":"APIKey","apis":["api-orders"]}`
	keyProbed = `{"type":"APIKey","apis":["api-orders"],"probe":{"path":"/gateway/api-orders/status"}}`
	client    = `{"type":"OAuth2","apis":["api-orders"],"redirectURIs":["https://example.invalid/cb"],"scope":"orders"}`
	clientTry = `{"type":"OAuth2","apis":["api-orders"],"probe":{"path":"/gateway/api-orders/status?x=y"}}`
)

func (l *lab) Shaper() upstream.Shaper            { return webmethodsportal.NewDriver() }
func (l *lab) Parameters() json.RawMessage        { return json.RawMessage(l.parameters) }
func (l *lab) Absent() map[string]json.RawMessage { return nil }
func (l *lab) Secrets() []string                  { return []string{password} }

func (l *lab) Exempt() map[string]string {
	reasons := map[string]string{"what went with its container is gone": "applications have no container but their user, who cannot log in any more when he is gone"}
	if !l.uniqueNames() {
		reasons["the same request from two processes at once yields one object"] = "names are not unique here; the journal's claim keeps processes apart"
	}
	return reasons
}

func (l *lab) uniqueNames() bool {
	unique := false
	l.adjust(func(b *webmethodsportalsim.Behaviour) { unique = b.UniqueNames })
	return unique
}

// operations are the simulator's names for the suite's kinds of calls.
var operations = map[upstreamtest.Call][]string{
	upstreamtest.ReadRealm:     {"application.list"},
	upstreamtest.ReadContainer: {"application.list"},
	upstreamtest.Create:        {"request.create"},
	upstreamtest.Read:          {"application.read"},
	upstreamtest.List:          {"application.list", "request.list"},
	upstreamtest.Delete:        {"application.delete", "deletion.request"},
	upstreamtest.Use:           {"gateway.token", "gateway.call"},
}

func (l *lab) Arm(call upstreamtest.Call, fault upstreamtest.Fault) bool {
	return fault.Strike(l.sim.Faults(), operations[call])
}

func (l *lab) Heal() {
	l.sim.Faults().Remove("")
	l.sim.Faults().Release("", false)
	l.adjust(func(b *webmethodsportalsim.Behaviour) { b.ShortLists = nil })
	if err := l.sim.Blind(user, false); err != nil {
		l.t.Error(err)
	}
}

func (l *lab) adjust(change func(*webmethodsportalsim.Behaviour)) {
	if err := l.sim.Adjust(change); err != nil {
		l.t.Error(err)
	}
}

// idOf is the living application of a mark.
func (l *lab) idOf(mark upstream.Mark) string {
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
		return l.sim.AddApplication(user, fresh, "")
	case upstreamtest.TakeName:
		return l.sim.AddApplication(user, r.Name+"."+string(r.Mark), "somebody else's")
	case upstreamtest.RenameObject:
		return l.sim.Change(l.idOf(r.Mark), webmethodsportalsim.Edit{Name: fresh})
	case upstreamtest.RemoveObject:
		return l.sim.Change(l.idOf(r.Mark), webmethodsportalsim.Edit{Remove: true})
	case upstreamtest.ChangeSecret:
		return l.sim.Change(l.idOf(r.Mark), webmethodsportalsim.Edit{Regenerate: true})
	case upstreamtest.RenameContainer:
		return nil // nothing above an application has a name
	case upstreamtest.LoseRights:
		return l.sim.Blind(user, true)
	case upstreamtest.ShortenLists:
		l.adjust(func(b *webmethodsportalsim.Behaviour) { b.ShortLists = new(0) })
		return nil
	}
	return upstreamtest.ErrNotPlayed
}

// records are the applications that were requested for a mark, whatever they are called
// now.
func (l *lab) records(mark upstream.Mark) []simkit.Record {
	var out []simkit.Record
	for _, record := range l.sim.Ledger().Issued() {
		if record.Attrs["mark"] == string(mark) {
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
	return l.sim.Accepts(m.APIKey.Reveal(), m.ClientID, m.ClientSecret.Reveal())
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformance proves the contract of the port, on portals that differ in everything
// that is not known for certain.
func TestConformance(t *testing.T) {
	for name, tc := range map[string]struct {
		behaviour  func(*webmethodsportalsim.Behaviour)
		parameters string
		change     func(map[string]any)
	}{
		"keys as usual":            {parameters: keyAlone},
		"keys that are probed":     {parameters: keyProbed, behaviour: func(b *webmethodsportalsim.Behaviour) { b.UniqueNames, b.PageSize = true, 10 }},
		"clients as usual":         {parameters: client},
		"clients that are probed":  {parameters: clientTry, behaviour: func(b *webmethodsportalsim.Behaviour) { b.ContextHidden, b.FirstPage = true, 1 }},
		"deletions by request":     {parameters: keyAlone, change: func(p map[string]any) { p["deletion"] = "Request" }},
		"statuses in an odd order": {parameters: keyProbed, behaviour: odd},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upstreamtest.Run(t, func(t testing.TB) upstreamtest.Lab {
				return &lab{t: t, sim: start(t, tc.behaviour), parameters: tc.parameters, change: tc.change}
			})
		})
	}
}

// odd is as far from the usual as the contract lets a portal be.
func odd(b *webmethodsportalsim.Behaviour) {
	b.Stages = []string{"WAITING_THIRDPARTY", "SOMETHING_NEW", "APPROVED", "WAITING_THIRDPARTY"}
	b.UniqueNames, b.NoLinks, b.CountIs, b.FirstPage = true, true, webmethodsportalsim.CountPage, 1
	b.KeyLife, b.ExpiryAs, b.RefusesBy = simkit.Duration(time.Hour), webmethodsportalsim.ExpiryGateway, webmethodsportalsim.RefusesByText
}
