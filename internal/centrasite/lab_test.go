package centrasite_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/claviger-dev/claviger/internal/centrasite"
	"github.com/claviger-dev/claviger/internal/centrasitesim"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/upstream/upstreamtest"
)

const (
	password = "canary-operator-password"
	keys     = `{"api":"uddi:orders","type":"APIKey","probe":{"path":"/ws/OrdersVirtualService/orders?limit=1"}}`
	clients  = `{"api":"uddi:orders","type":"OAuth2","service":"OrdersVirtualService","probe":{"path":"/ws/OrdersVirtualService"}}`
)

// start runs a simulator in real time, or by a clock of its own.
func start(t testing.TB, clock simkit.Clock, change func(*centrasitesim.Behaviour)) *centrasitesim.Sim {
	t.Helper()
	behaviour := centrasitesim.Usual()
	if change != nil {
		change(&behaviour)
	}
	seed := centrasitesim.Sample()
	seed.Users[0].Password = password
	sim := centrasitesim.New(centrasitesim.Options{Clock: clock, Behaviour: &behaviour, Seed: seed})
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

// settings reach a simulator; more are further parameters of the issuer.
func settings(sim *centrasitesim.Sim, more map[string]any) upstream.Settings {
	parameters := map[string]any{
		"url": sim.URL(), "userID": "svc-k8s",
		"approvals": map[string]string{"url": sim.ApprovalURL(), "namespace": centrasitesim.Namespace},
		"mediator":  map[string]string{"url": sim.MediatorURL()},
		"login":     map[string]any{"secretRef": map[string]string{"name": "centrasite-login"}},
	}
	maps.Copy(parameters, more)
	raw, err := json.Marshal(parameters)
	if err != nil {
		raw = []byte(err.Error()) // refused by Open, which says so
	}
	return upstream.Settings{
		Parameters: raw,
		Login:      map[string]material.Secret{"username": material.New("svc-k8s"), "password": material.New(password)},
		Transport: upstream.TransportOptions{
			CABundle: sim.CA(), AllowLoopback: true, PerSecond: 1e6, Burst: 1e6, Timeout: 10 * time.Second, UserAgent: "claviger-test",
		},
	}
}

// world is a CentraSite that the suite is played on.
type world struct {
	parameters string
	behaviour  func(*centrasitesim.Behaviour)
	issuer     map[string]any
	exempt     map[string]string
}

// lab plays the suite.
type lab struct {
	t      testing.TB
	sim    *centrasitesim.Sim
	world  world
	serial atomic.Int64
}

func newLab(t testing.TB, w world) *lab {
	l := &lab{t: t, sim: start(t, nil, w.behaviour), world: w}
	// An empty list without a count proves nothing, and no CentraSite is empty.
	if err := l.sim.Add("svc-k8s", "portal", "portal"); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) Open() (upstream.Upstream, error) {
	return centrasite.NewDriver(time.Now).Open(settings(l.sim, l.world.issuer))
}
func (l *lab) Shaper() upstream.Shaper            { return centrasite.NewDriver(time.Now) }
func (l *lab) Parameters() json.RawMessage        { return json.RawMessage(l.world.parameters) }
func (l *lab) Absent() map[string]json.RawMessage { return nil } // nothing can be asked whether it exists
func (l *lab) Secrets() []string                  { return []string{password} }
func (l *lab) Exempt() map[string]string          { return l.world.exempt }

func (l *lab) operations(call upstreamtest.Call) []string {
	return map[upstreamtest.Call][]string{
		upstreamtest.ReadRealm: {"event.list"}, upstreamtest.Create: {"token.create"}, upstreamtest.List: {"token.list"},
		upstreamtest.Delete: {"token.revoke"}, upstreamtest.Use: {"mediator.call", "mediator.token"},
	}[call]
}

func (l *lab) Arm(call upstreamtest.Call, fault upstreamtest.Fault) bool {
	return fault.Strike(l.sim.Faults(), l.operations(call))
}

func (l *lab) Heal() {
	l.sim.Faults().Remove("")
	l.sim.Faults().Release("", false)
	if err := l.sim.Adjust(func(b *centrasitesim.Behaviour) { b.ShortLists = nil }); err != nil {
		l.t.Error(err)
	}
	if err := l.sim.Allow("svc-k8s"); err != nil {
		l.t.Error(err)
	}
}

func (l *lab) Do(deed upstreamtest.Deed, r upstream.Request) error {
	fresh := fmt.Sprintf("foreign-%d", l.serial.Add(1))
	id := ""
	for _, record := range l.records(r.Mark) {
		if record.Live() {
			id = record.ID
		}
	}
	switch deed {
	case upstreamtest.AddForeign:
		return l.sim.Add("svc-k8s", fresh, fresh)
	case upstreamtest.TakeName:
		return l.sim.Add("svc-k8s", r.Name, fresh)
	case upstreamtest.RenameObject:
		return l.sim.Rename(id, fresh)
	case upstreamtest.RemoveObject:
		return l.sim.Remove(id)
	case upstreamtest.ChangeSecret:
		return l.sim.ChangeKey(id)
	case upstreamtest.RenameContainer:
		return nil // users have ids
	case upstreamtest.RemoveContainer:
		l.sim.Empty("svc-k8s")
		return nil
	case upstreamtest.LoseRights:
		return l.sim.Deny("svc-k8s")
	case upstreamtest.ShortenLists:
		return l.sim.Adjust(func(b *centrasitesim.Behaviour) { b.ShortLists = new(1) })
	}
	return upstreamtest.ErrNotPlayed
}

// records are the access tokens that were made for a mark, whatever they are called now.
func (l *lab) records(mark upstream.Mark) []simkit.Record {
	var out []simkit.Record
	for _, record := range l.sim.Ledger().Issued() {
		if strings.Contains(record.Attrs["description"], string(mark)) && mark != "" {
			out = append(out, record)
		}
	}
	return out
}

func (l *lab) Live(mark upstream.Mark) int {
	live := 0
	for _, record := range l.records(mark) {
		if record.Live() {
			live++
		}
	}
	return live
}

func (l *lab) Issued(mark upstream.Mark) int { return len(l.records(mark)) }
func (l *lab) Total() int                    { return len(l.sim.Ledger().Live()) }

func (l *lab) Accepts(m material.Material) bool {
	if m.ClientID != "" {
		return l.sim.AcceptsClient(m.ClientID, m.ClientSecret.Reveal())
	}
	return l.sim.AcceptsKey(m.APIKey.Reveal())
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformance proves the contract of the port, on releases that differ in everything
// that is not known for certain.
func TestConformance(t *testing.T) {
	const (
		atOnce = "the same request from two processes at once yields one object"
		short  = "a list that may be short is an error"
		never  = "it is shown once, in an answer; the journal has it from then on"
	)
	for name, w := range map[string]world{
		"keys as usual":    {parameters: keys},
		"clients as usual": {parameters: clients},
		"keys as they were proposed, never shown": {
			parameters: keys,
			behaviour: func(b *centrasitesim.Behaviour) {
				b.MakeKeys, b.HideDetails, b.SmallElements, b.ListPending = false, true, true, true
			},
			issuer: map[string]any{"tokensPath": "/abs/apirepository/accesstokens/external"},
		},
		"clients in bare lists, two for one application": {
			parameters: clients,
			behaviour:  func(b *centrasitesim.Behaviour) { b.BareLists, b.AllowTwins = true, true },
			exempt: map[string]string{
				atOnce:                                 "nothing keeps two requests at once apart; claims of the journal do",
				short:                                  "a list without a count does not tell",
				"what went with its container is gone": "the list is empty then, and without a count that proves nothing",
			},
		},
		"keys that are shown once": {
			parameters: keys,
			behaviour:  func(b *centrasitesim.Behaviour) { b.HideDetails, b.AnswerDetails = true, true },
			exempt: map[string]string{
				atOnce: never, "the same request twice yields one object": never,
				"an answer that was lost is made good by repeating the request": never,
				"an object that a person renamed is still the request's":        never,
			},
		},
	} {
		t.Run(strings.ReplaceAll(name, ",", ""), func(t *testing.T) {
			t.Parallel()
			upstreamtest.Run(t, func(t testing.TB) upstreamtest.Lab { return newLab(t, w) })
		})
	}
}
