package venafi_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/upstream/upstreamtest"
	"github.com/claviger-dev/claviger/internal/venafi"
	"github.com/claviger-dev/claviger/internal/venafisim"
)

const (
	password = "canary-operator-password"
	folder   = `\VED\Policy\k8s\team-a`
	pipeline = "team-a-pipeline"
)

// start runs a simulator in real time, or by a clock of its own.
func start(t testing.TB, clock simkit.Clock, change func(*venafisim.Behaviour)) *venafisim.Sim {
	t.Helper()
	behaviour := venafisim.Usual()
	if change != nil {
		change(&behaviour)
	}
	seed := venafisim.Sample()
	for i := range seed.Identities {
		if seed.Identities[i].Name == "operator" {
			seed.Identities[i].Password = password
		}
	}
	sim := venafisim.New(venafisim.Options{Clock: clock, Behaviour: &behaviour, Seed: seed})
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
func settings(sim *venafisim.Sim, use string, change func(map[string]any)) upstream.Settings {
	parameters := map[string]any{
		"url": sim.URL(), "use": use, "clientID": "claviger-operator", "scope": "certificate:manage,revoke", "issuingCABundle": string(sim.IssuingRoot()),
		"login": map[string]any{"method": "Password", "secretRef": map[string]string{"name": "tpp-login"}},
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
		Login:      map[string]material.Secret{"username": material.New("operator"), "password": material.New(password)},
		Transport: upstream.TransportOptions{
			CABundle: sim.CA(), AllowLoopback: true, PerSecond: 1e6, Burst: 1e6, Timeout: 10 * time.Second, UserAgent: "claviger-test",
		},
	}
}

// certificateLogin changes settings to a login by certificate.
func certificateLogin(t testing.TB, sim *venafisim.Sim, s upstream.Settings) upstream.Settings {
	t.Helper()
	pair, err := sim.ClientCertificate("operator")
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	s.Login = map[string]material.Secret{
		"tls.crt": material.New(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))),
		"tls.key": material.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))),
	}
	return s
}

// base is what both labs have in common.
type base struct {
	t      testing.TB
	sim    *venafisim.Sim
	serial atomic.Int64
}

func (l *base) Secrets() []string { return []string{password} }

func (l *base) heal() {
	l.sim.Faults().Remove("")
	l.sim.Faults().Release("", false)
	if err := l.sim.Adjust(func(b *venafisim.Behaviour) { b.ShortLists = nil }); err != nil {
		l.t.Error(err)
	}
}

// certificateLab plays the suite on certificates.
type certificateLab struct {
	base
	mu     sync.Mutex
	folder string
}

func (l *certificateLab) Open() (upstream.Upstream, error) {
	return venafi.NewDriver(time.Now).Open(settings(l.sim, "Certificates", nil))
}

func (l *certificateLab) in() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.folder
}

func parametersOf(dn string) json.RawMessage {
	raw, _ := json.Marshal(map[string]any{"certificate": map[string]any{ // texts always marshal
		"policyDN": dn, "commonName": "orders.team-a.example", "dnsNames": []string{"orders.team-a.example"},
	}})
	return raw
}

func (l *certificateLab) Shaper() upstream.Shaper { return venafi.NewDriver(time.Now) }

func (l *certificateLab) Parameters() json.RawMessage { return parametersOf(l.in()) }

func (l *certificateLab) Absent() map[string]json.RawMessage {
	return map[string]json.RawMessage{`\VED\Policy\nowhere`: parametersOf(`\VED\Policy\nowhere`)}
}

// Exempt: the platform answers for a folder that was deleted as for one that may not be
// seen, and a CA knows nothing of folders.
func (l *certificateLab) Exempt() map[string]string {
	return map[string]string{"what went with its container is gone": "certificates outlive the folder that they were requested in, and a deleted folder looks like a hidden one"}
}

func (l *certificateLab) Arm(call upstreamtest.Call, fault upstreamtest.Fault) bool {
	return fault.Strike(l.sim.Faults(), map[upstreamtest.Call][]string{
		upstreamtest.Login:         {"auth.password"},
		upstreamtest.ReadRealm:     {"auth.verify"},
		upstreamtest.ReadContainer: {"config.guid", "policy.check"},
		upstreamtest.Create:        {"certificate.request"},
		upstreamtest.Read:          {"certificate.read"},
		upstreamtest.List:          {"certificate.search"},
		upstreamtest.Delete:        {"certificate.revoke"},
	}[call])
}

func (l *certificateLab) Heal() {
	l.heal()
	if err := l.sim.Allow(l.in(), "operator"); err != nil {
		l.t.Error(err)
	}
}

// dnOf is where the object of a mark is now.
func (l *certificateLab) dnOf(mark upstream.Mark) string {
	dn := ""
	for _, record := range l.records(mark) {
		if record.Live() {
			dn = l.in() + `\` + record.Attrs["name"]
		}
	}
	return dn
}

func (l *certificateLab) Do(deed upstreamtest.Deed, r upstream.Request) error {
	fresh := fmt.Sprintf("somebody-elses-%d", l.serial.Add(1))
	switch deed {
	case upstreamtest.AddForeign:
		return l.sim.AddCertificate(l.in(), fresh)
	case upstreamtest.TakeName:
		return l.sim.AddCertificate(l.in(), r.Name+"."+string(r.Mark))
	case upstreamtest.RenameObject:
		return l.sim.RenameObject(l.dnOf(r.Mark), fresh)
	case upstreamtest.RemoveObject:
		return l.sim.RemoveObject(l.dnOf(r.Mark))
	case upstreamtest.ChangeSecret:
		return l.sim.Replace(l.dnOf(r.Mark))
	case upstreamtest.RenameContainer:
		l.mu.Lock()
		defer l.mu.Unlock()
		was := l.folder
		l.folder = `\VED\Policy\k8s\` + fresh
		return l.sim.RenamePolicy(was, l.folder)
	case upstreamtest.LoseRights:
		return l.sim.Deny(l.in(), "operator")
	case upstreamtest.ShortenLists:
		return l.sim.Adjust(func(b *venafisim.Behaviour) { b.ShortLists = new(0) })
	}
	return upstreamtest.ErrNotPlayed
}

// records are the objects that were made for a mark, whatever they are called now.
func (l *certificateLab) records(mark upstream.Mark) []simkit.Record {
	var out []simkit.Record
	for _, record := range l.sim.Ledger().Issued() {
		if record.Kind == "object" && record.Attrs["origin"] == "Claviger "+string(mark) {
			out = append(out, record)
		}
	}
	return out
}

func (l *certificateLab) Live(mark upstream.Mark) int {
	live := 0
	for _, record := range l.records(mark) {
		if record.Live() {
			live++
		}
	}
	return live
}

func (l *certificateLab) Issued(mark upstream.Mark) int { return len(l.records(mark)) }

// Total leaves out the grants of the operator's own logins.
func (l *certificateLab) Total() int {
	total := 0
	for _, record := range l.sim.Ledger().Live() {
		if record.Kind != "grant" {
			total++
		}
	}
	return total
}

func (l *certificateLab) Accepts(m material.Material) bool {
	return l.sim.AcceptsCertificate(m.Certificate, m.Chain)
}

// tokenLab plays the suite on grants. The platform knows no marks, so the lab notes which
// grants appeared while a request was carried out.
type tokenLab struct {
	base
	certificate bool
	mu          sync.Mutex
	grants      map[upstream.Mark][]string
}

// noting is an account that tells the lab what its calls led to.
type noting struct {
	upstream.Upstream
	upstream.Verifier
	lab *tokenLab
}

func (n noting) Issue(ctx context.Context, r upstream.Request) (upstream.Issued, error) {
	before := len(n.lab.sim.Ledger().Issued())
	issued, err := n.Upstream.Issue(ctx, r)
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	for _, record := range n.lab.sim.Ledger().Issued()[before:] {
		if record.Attrs["clientId"] == pipeline {
			n.lab.grants[r.Mark] = append(n.lab.grants[r.Mark], record.ID)
		}
	}
	return issued, err
}

func (l *tokenLab) Open() (upstream.Upstream, error) {
	s := settings(l.sim, "Tokens", nil)
	if l.certificate {
		s = certificateLogin(l.t, l.sim, settings(l.sim, "Tokens", func(p map[string]any) { p["login"] = map[string]any{"method": "Certificate"} }))
	}
	account, err := venafi.NewDriver(time.Now).Open(s)
	if err != nil {
		return nil, err
	}
	return noting{Upstream: account, Verifier: account.(upstream.Verifier), lab: l}, nil
}

// Secrets: a login by certificate sends none.
func (l *tokenLab) Secrets() []string {
	if l.certificate {
		return nil
	}
	return l.base.Secrets()
}

func (l *tokenLab) Shaper() upstream.Shaper { return venafi.NewDriver(time.Now) }

func (l *tokenLab) Parameters() json.RawMessage {
	return json.RawMessage(`{"token": {"clientID": "Team-A-Pipeline", "scope": "certificate:manage,revoke"}}`)
}
func (l *tokenLab) Absent() map[string]json.RawMessage { return nil }
func (l *tokenLab) Heal()                              { l.heal() }

func (l *tokenLab) Arm(call upstreamtest.Call, fault upstreamtest.Fault) bool {
	login := "auth.password"
	if l.certificate {
		login = "auth.certificate"
	}
	return fault.Strike(l.sim.Faults(), map[upstreamtest.Call][]string{
		upstreamtest.Login: {login}, upstreamtest.ReadRealm: {"auth.verify"}, upstreamtest.Create: {login},
		upstreamtest.Delete: {"auth.revoke"}, upstreamtest.Prove: {"auth.verify"},
	}[call])
}

func (l *tokenLab) Do(deed upstreamtest.Deed, r upstream.Request) error {
	switch deed {
	case upstreamtest.RemoveObject, upstreamtest.ChangeSecret:
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, id := range l.grants[r.Mark] {
			if err := l.sim.EndGrantByID(id); err != nil {
				return err
			}
		}
		return nil
	}
	return upstreamtest.ErrNotPlayed
}

func (l *tokenLab) count(mark upstream.Mark) (live, issued int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	alive := map[string]bool{}
	for _, record := range l.sim.Ledger().Live() {
		alive[record.ID] = record.Kind == "grant"
	}
	for _, id := range l.grants[mark] {
		if alive[id] {
			live++
		}
	}
	return live, len(l.grants[mark])
}

func (l *tokenLab) Live(mark upstream.Mark) int   { live, _ := l.count(mark); return live }
func (l *tokenLab) Issued(mark upstream.Mark) int { _, issued := l.count(mark); return issued }

func (l *tokenLab) Total() int {
	total := 0
	for _, record := range l.sim.Ledger().Live() {
		if record.Kind == "grant" && record.Attrs["clientId"] == pipeline {
			total++
		}
	}
	return total
}

func (l *tokenLab) Accepts(m material.Material) bool { return l.sim.AcceptsToken(m.Token.Reveal()) }

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformance proves the contract of the port, on platforms that differ in everything
// that is not known for certain.
func TestConformance(t *testing.T) {
	usual := func(*venafisim.Behaviour) {}
	odd := func(b *venafisim.Behaviour) {
		b.AuthServerStatus, b.RefusedLoginStatus, b.ScopeWithSpaces, b.StagePolls, b.RevokeStatus = 200, 401, true, 3, 202
	}
	for name, newLab := range map[string]func(testing.TB) upstreamtest.Lab{
		"certificates, as usual": func(t testing.TB) upstreamtest.Lab { return newCertificateLab(t, usual) },
		"certificates, oddly":    func(t testing.TB) upstreamtest.Lab { return newCertificateLab(t, odd) },
		"tokens by password":     func(t testing.TB) upstreamtest.Lab { return newTokenLab(t, usual, false) },
		"tokens by certificate":  func(t testing.TB) upstreamtest.Lab { return newTokenLab(t, odd, true) },
	} {
		t.Run(strings.ReplaceAll(name, ",", ""), func(t *testing.T) {
			t.Parallel()
			upstreamtest.Run(t, newLab)
		})
	}
}

func newCertificateLab(t testing.TB, change func(*venafisim.Behaviour)) *certificateLab {
	return &certificateLab{base: base{t: t, sim: start(t, nil, change)}, folder: folder}
}

func newTokenLab(t testing.TB, change func(*venafisim.Behaviour), certificate bool) *tokenLab {
	return &tokenLab{base: base{t: t, sim: start(t, nil, change)}, certificate: certificate, grants: map[upstream.Mark][]string{}}
}
