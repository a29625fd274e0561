package cloudfoundry_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/cloudfoundry"
	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/servicemanagersim"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/upstream/upstreamtest"
)

const (
	subaccount    = "0c1d9a6e-7f7b-4c58-9a55-2d1c1a3a4a10"
	otherAccount  = "5d0f3c2e-1111-4c58-9a55-2d1c1a3a4a10"
	managerSecret = "canary/manager+secret"
	byClient      = "sb-admin!b1"
	byCertificate = "sb-admin-mtls!b1"
)

// managerWorld is a subaccount with an instance of it-rt and one of XSUAA, and another one.
func managerWorld() servicemanagersim.Seed {
	return servicemanagersim.Seed{
		ClientCAs: authority()[0],
		Clients: []servicemanagersim.Client{
			{ID: byClient, Secret: managerSecret, Subaccount: subaccount, Plan: servicemanagersim.PlanAdmin},
			{ID: byCertificate, Subaccount: subaccount, Plan: servicemanagersim.PlanAdmin},
		},
		Instances: []servicemanagersim.Instance{
			{Subaccount: subaccount, Name: "cpi-api", Offering: "it-rt", Plan: "api", Roles: []string{"MonitoringDataRead"}},
			{Subaccount: subaccount, Name: "uaa", Offering: "xsuaa", Plan: "application"},
			{Subaccount: subaccount, Name: "service-manager", Offering: "xsuaa", Plan: "apiaccess"},
			{Subaccount: otherAccount, Name: "cpi-api", Offering: "it-rt", Plan: "api"},
		},
	}
}

func startManager(t testing.TB, change func(*servicemanagersim.Behaviour)) *servicemanagersim.Sim {
	t.Helper()
	return startManagerAt(t, simkit.Wall{}, change)
}

func startManagerAt(t testing.TB, clock simkit.Clock, change func(*servicemanagersim.Behaviour)) *servicemanagersim.Sim {
	t.Helper()
	behaviour := servicemanagersim.Usual()
	// The suite makes more calls than the limits allow; those have tests of their own.
	behaviour.BindingsPerMinute, behaviour.BindingsPerHour, behaviour.TotalPerMinute, behaviour.TotalPerHour = 0, 0, 0, 0
	if change != nil {
		change(&behaviour)
	}
	brokers := cloudfoundrysim.Usual()
	sim := servicemanagersim.New(servicemanagersim.Options{Clock: clock, Behaviour: &behaviour, Brokers: &brokers, Seed: managerWorld()})
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

// managerSettings reach a simulator as one of its clients, by the fields of its binding or by
// the whole document.
func managerSettings(sim *servicemanagersim.Sim, client string, whole bool) upstream.Settings {
	raw, err := json.Marshal(map[string]any{"url": sim.URL(), "subaccountID": subaccount})
	if err != nil {
		raw = []byte(err.Error()) // refused by Open, which says so
	}
	fields, err := sim.Document(client)
	if err != nil {
		fields = nil // and so is this
	}
	login := map[string]material.Secret{"signer.crt": material.New(authority()[0]), "signer.key": material.New(authority()[1])}
	if text, err := json.Marshal(fields); whole && err == nil {
		login["credentials.json"] = material.New(string(text))
	} else {
		for name, value := range fields {
			login[name] = material.New(value)
		}
	}
	return upstream.Settings{
		Parameters: raw, Login: login,
		Transport: upstream.TransportOptions{
			CABundle: sim.CA(), AllowLoopback: true, PerSecond: 1e6, Burst: 1e6, Timeout: 10 * time.Second, UserAgent: "claviger-test",
		},
	}
}

func openManager(t testing.TB, sim *servicemanagersim.Sim) upstream.Upstream {
	t.Helper()
	account, err := cloudfoundry.NewManagerDriver(time.Now).Open(managerSettings(sim, byClient, false))
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// managerLab plays the conformance suite on a simulator.
type managerLab struct {
	t          testing.TB
	sim        *servicemanagersim.Sim
	client     string
	whole      bool
	parameters string
	at         string
	// moves: the login that loses its rights is found in another subaccount; otherwise it
	// is only let look, and not at this instance.
	moves  bool
	serial atomic.Int64
}

func (l *managerLab) Open() (upstream.Upstream, error) {
	return cloudfoundry.NewManagerDriver(time.Now).Open(managerSettings(l.sim, l.client, l.whole))
}

func (l *managerLab) Shaper() upstream.Shaper { return cloudfoundry.NewManagerDriver(time.Now) }

func (l *managerLab) Parameters() json.RawMessage { return json.RawMessage(l.parameters) }

func (l *managerLab) Absent() map[string]json.RawMessage {
	return map[string]json.RawMessage{
		`instance "it's not there"`: json.RawMessage(`{"instance":"it's not there"}`),
		`instance "3f1c"`:           json.RawMessage(`{"instanceGUID":"3f1c"}`),
	}
}

func (l *managerLab) Secrets() []string {
	document, err := l.sim.Document(l.client)
	if err != nil {
		l.t.Error(err)
	}
	return []string{document["clientsecret"] + document["key"]} // it has one of them
}

// managerOperations are the simulator's names for the suite's kinds of calls.
var managerOperations = map[upstreamtest.Call][]string{
	upstreamtest.Login:         {"client.login"},
	upstreamtest.ReadRealm:     {"instance.list"},
	upstreamtest.ReadContainer: {"instance.list"},
	upstreamtest.Create:        {"binding.create"},
	upstreamtest.Read:          {"binding.read", "instance.read", "platform.list", "operation.read"},
	upstreamtest.List:          {"binding.list"},
	upstreamtest.Delete:        {"binding.delete"},
	upstreamtest.Use:           {"token.client", "api.call"},
}

func (l *managerLab) faults(call upstreamtest.Call) *simkit.Faults {
	if call == upstreamtest.Use {
		return l.sim.Landscape().Faults()
	}
	return l.sim.Faults()
}

func (l *managerLab) Arm(call upstreamtest.Call, fault upstreamtest.Fault) bool {
	return fault.Strike(l.faults(call), managerOperations[call])
}

func (l *managerLab) Heal() {
	for _, faults := range []*simkit.Faults{l.sim.Faults(), l.sim.Landscape().Faults()} {
		faults.Remove("")
		faults.Release("", false)
	}
	l.adjust(func(b *servicemanagersim.Behaviour) { b.ShortLists = nil })
	l.grant(subaccount, servicemanagersim.PlanAdmin)
}

func (l *managerLab) adjust(change func(*servicemanagersim.Behaviour)) {
	if err := l.sim.Adjust(change); err != nil {
		l.t.Error(err)
	}
}

// grant says where the operator's clients are, and of which plan.
func (l *managerLab) grant(subaccount, plan string) {
	seed := servicemanagersim.Seed{Clients: managerWorld().Clients}
	for i := range seed.Clients {
		seed.Clients[i].Subaccount, seed.Clients[i].Plan = subaccount, plan
	}
	if err := l.sim.Seed(seed); err != nil {
		l.t.Error(err)
	}
}

func (l *managerLab) id(mark upstream.Mark) string {
	for _, record := range l.records(mark) {
		if record.Live() {
			return record.ID
		}
	}
	return ""
}

func (l *managerLab) Do(deed upstreamtest.Deed, r upstream.Request) error {
	fresh := fmt.Sprintf("foreign-%d", l.serial.Add(1))
	switch deed {
	case upstreamtest.AddForeign:
		_, err := l.sim.AddBinding(subaccount, l.at, fresh)
		return err
	case upstreamtest.TakeName, upstreamtest.TakeID: // the name is the only id that we choose
		if id, err := l.sim.AddBinding(subaccount, l.at, r.Name); err != nil && id != l.id(r.Mark) {
			return err
		}
		return nil // our own object has the name, so nobody else can take it
	case upstreamtest.RenameObject:
		return l.sim.RenameBinding(l.id(r.Mark), fresh)
	case upstreamtest.RemoveObject:
		return l.sim.RemoveBinding(l.id(r.Mark))
	case upstreamtest.ChangeSecret:
		return l.sim.Reissue(l.id(r.Mark))
	case upstreamtest.RenameContainer:
		err := l.sim.RenameInstance(subaccount, l.at, fresh)
		l.at = fresh
		return err
	case upstreamtest.RemoveContainer:
		return l.sim.RemoveInstance(subaccount, l.at)
	case upstreamtest.LoseRights:
		if l.moves {
			l.grant(otherAccount, servicemanagersim.PlanAdmin)
		} else {
			l.grant(subaccount, servicemanagersim.PlanContainer)
		}
		return nil
	case upstreamtest.ShortenLists:
		l.adjust(func(b *servicemanagersim.Behaviour) { b.ShortLists = new(0) })
		return nil
	}
	return upstreamtest.ErrNotPlayed
}

func (l *managerLab) records(mark upstream.Mark) []simkit.Record {
	var out []simkit.Record
	for _, record := range l.sim.Ledger().Issued() {
		if record.Kind == "binding" && record.Attrs["mark"] == string(mark) {
			out = append(out, record)
		}
	}
	return out
}

func (l *managerLab) Live(mark upstream.Mark) int {
	n := 0
	for _, record := range l.records(mark) {
		if record.Live() {
			n++
		}
	}
	return n
}

func (l *managerLab) Issued(mark upstream.Mark) int { return len(l.records(mark)) }
func (l *managerLab) Total() int                    { return len(l.sim.Ledger().Live()) }
func (l *managerLab) Accepts(m material.Material) bool {
	if m.Certificate != "" {
		block, _ := pem.Decode([]byte(m.Certificate))
		return block != nil && l.sim.Landscape().AcceptsCertificate(block.Bytes)
	}
	return l.sim.Landscape().Accepts(m.ClientID, m.ClientSecret.Reveal())
}

// TestManagerConformance proves the contract of the port for each way in which Service Manager
// is known, or not known, to answer.
func TestManagerConformance(t *testing.T) {
	const probe = `,"probe":{"path":"/api/v1/MessageProcessingLogs?$top=1"}`
	for name, tc := range map[string]struct {
		lab    *managerLab
		change func(*servicemanagersim.Behaviour)
	}{
		"a secret, made at once, in small pages": {
			&managerLab{client: byClient, parameters: `{"instance":"cpi-api"` + probe + `}`, at: "cpi-api"},
			func(b *servicemanagersim.Behaviour) { b.PageSize = 50 },
		},
		"a secret of XSUAA, by operations, with a certificate, in a release that tells little": {
			&managerLab{client: byCertificate, whole: true, parameters: `{"instance":"uaa","keyType":"XSUAABindingSecret"}`, at: "uaa", moves: true},
			func(b *servicemanagersim.Behaviour) {
				b.Async, b.Gone, b.NoLastOperations, b.ListsShowCredentials = true, 410, true, true
			},
		},
		// The key is shorter than the API server admits, because hundreds are made.
		"a certificate that is signed here, made by an operation that takes its time": {
			&managerLab{client: byClient, whole: true, parameters: `{"instance":"cpi-api","keyType":"ExternalCertificate","keyLength":1024` + probe + `}`, at: "cpi-api"},
			func(b *servicemanagersim.Behaviour) {
				b.Async, b.BrokerTime = true, simkit.Duration(5*time.Millisecond)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upstreamtest.Run(t, func(t testing.TB) upstreamtest.Lab {
				l := &managerLab{client: tc.lab.client, whole: tc.lab.whole, parameters: tc.lab.parameters, at: tc.lab.at, moves: tc.lab.moves}
				l.t, l.sim = t, startManager(t, tc.change)
				return l
			})
		})
	}
}
