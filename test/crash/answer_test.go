package crash

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/venafisim"
)

// platform is a Venafi platform beside the stage's API Connect. Its tokens can be found by
// nobody whose answer was lost, its certificates can.
type platform struct {
	*stage
	venafi *venafisim.Sim
	ns     string
	// holders are the credentials by name, each with an integration or a common name of
	// its own, so that the ledger tells whose every entry is.
	holders []*holder
}

// holder is a credential of the platform that does what the director says.
type holder struct {
	*platform
	name, kind string
	// version is the newest that was published.
	version int
}

const (
	aToken       = "grant"
	aCertificate = "certificate"
	folder       = `\VED\Policy\k8s`
)

// newPlatform starts one, and makes a namespace with an issuer for each use of it.
func newPlatform(s *stage) *platform {
	s.t.Helper()
	behaviour := venafisim.Usual()
	behaviour.StagePolls = 0
	sim := venafisim.New(venafisim.Options{Seed: venafisim.Sample(), Behaviour: &behaviour})
	if err := sim.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			s.t.Error(err)
		}
	})
	p := &platform{stage: s, venafi: sim, ns: s.namespace("answers", "4s", time.Minute)}
	login := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.ns, Name: "tpp-login"},
		StringData: map[string]string{"username": "operator", "password": "operator-password"},
	}
	if err := s.world.Client.Create(s.ctx, login); err != nil {
		s.t.Fatal(err)
	}
	for kind, use := range map[string]string{aToken: "Tokens", aCertificate: "Certificates"} {
		issuer := &v1alpha1.VenafiIssuer{
			URL: sim.URL(), Use: use, ClientID: "claviger-operator", CABundle: string(sim.CA()),
			Login: v1alpha1.VenafiLogin{Method: "Password", SecretRef: v1alpha1.SecretReference{Name: "tpp-login"}},
		}
		if kind == aCertificate {
			issuer.PolicyDN, issuer.IssuingCABundle = folder, string(sim.IssuingRoot())
		}
		err := s.world.Client.Create(s.ctx, &v1alpha1.CredentialIssuer{
			ObjectMeta: metav1.ObjectMeta{Namespace: p.ns, Name: kind}, Spec: v1alpha1.CredentialIssuerSpec{Venafi: issuer},
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return p
}

// hold asks for a credential of the platform, under a caller that never stops.
func (p *platform) hold(kind, name string) *holder {
	p.t.Helper()
	h := p.ask(kind, name)
	p.use(p.ns, name+"-api", h.find, h.try)
	return h
}

// ask asks for a credential of the platform.
func (p *platform) ask(kind, name string) *holder {
	p.t.Helper()
	h := &holder{platform: p, name: name, kind: kind}
	spec := v1alpha1.APIClientCredentialSpec{
		IssuerRef: v1alpha1.IssuerReference{Name: kind}, Venafi: &v1alpha1.VenafiCredential{}, DeletionPolicy: v1alpha1.DeletionRevoke,
		Secret: v1alpha1.TargetSecret{Name: name + "-api", Template: &v1alpha1.SecretTemplate{}},
	}
	switch kind {
	case aToken:
		err := p.venafi.Seed(venafisim.Seed{Integrations: []venafisim.Integration{{ClientID: name, Scope: "certificate:manage"}}})
		if err != nil {
			p.t.Fatal(err)
		}
		spec.Venafi.Token = &v1alpha1.VenafiToken{ClientID: name, Scope: "certificate:manage"}
		spec.Secret.Template.Data = map[string]string{"token": "{{ .token }}"}
	default:
		spec.Venafi.Certificate = &v1alpha1.VenafiCertificate{PolicyDN: folder + `\team-a`, CommonName: name + ".example", DNSNames: []string{name + ".example"}}
		spec.Secret.Type = corev1.SecretTypeTLS
		spec.Secret.Template.Data = map[string]string{"tls.crt": "{{ .certificate }}{{ .chain }}", "tls.key": "{{ .privateKey }}"}
	}
	err := p.world.Client.Create(p.ctx, &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Namespace: p.ns, Name: name}, Spec: spec})
	if err != nil {
		p.t.Fatal(err)
	}
	p.holders = append(p.holders, h)
	return h
}

// find reads what a workload would: the id of the pair only says what it is.
func (h *holder) find(ctx context.Context, ns, name string) (pair, error) {
	secret := &corev1.Secret{}
	err := h.world.Client.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, secret)
	return pair{id: h.kind, secret: string(secret.Data["token"]) + string(secret.Data["tls.crt"])}, err
}

func (h *holder) try(_ context.Context, p pair) error {
	if h.kind == aToken && !h.venafi.AcceptsToken(p.secret) || h.kind == aCertificate && !h.venafi.AcceptsCertificate(p.secret, p.secret) {
		return errors.New("the platform does not accept it")
	}
	return nil
}

// request asks for a rotation and does not wait for it.
func (h *holder) request() {
	h.t.Helper()
	a := &actor{stage: h.stage, ns: h.ns, name: h.name}
	h.step("a request", func() bool {
		return a.annotate(v1alpha1.AnnotationRotateRequestedAt, time.Now().UTC().Format(time.RFC3339Nano))
	})
}

// awaitVersion waits until a later version is published than before.
func (h *holder) awaitVersion() {
	h.t.Helper()
	h.eventually(hit, "a version of "+h.name+" after "+strconv.Itoa(h.version), func() string {
		secret := &corev1.Secret{}
		if err := h.world.Client.Get(h.ctx, client.ObjectKey{Namespace: h.ns, Name: h.name + "-api"}, secret); err != nil {
			return err.Error()
		}
		got, err := strconv.Atoi(secret.Annotations[journal.AnnotationVersion])
		if err != nil || got <= h.version {
			return fmt.Sprintf("version %d is published, %v", got, err)
		}
		h.version = got
		return ""
	})
}

// An answer that one process knows and nobody else is written down, or what it told of is
// found again, or, where nobody can find it, it is written down that it may be there.
func TestAnAnswerThatDiesWithItsProcessIsNotForgotten(t *testing.T) {
	t.Parallel()
	s := newStage(t, newWorld(t))
	d := &director{stage: s}
	p := newPlatform(s)
	token := p.hold(aToken, "pipeline")
	o := d.operator()
	token.awaitVersion()
	d.kill(o)
	want := []string{"WriteAnswer/after", "Disown/before"}
	lost := []string{}
	if everything {
		want = []string{"WriteAnswer/before", "WriteAnswer/before", "WriteAnswer/after", "Disown/before", "Disown/after", "Suspect/before", "Suspect/after"}
		token.request()
		d.crashAt("WriteAnswer/before")
		lost = p.unknown(token)
		if len(lost) != 1 {
			t.Fatalf("%d grants live that nobody knows of, want the one whose answer was lost", len(lost))
		}
		p.hold(aCertificate, "found")
		d.crashAt("WriteAnswer/before")
	}

	certificate := p.hold(aCertificate, "billing")
	d.crashAt("WriteAnswer/after")
	o = d.operator()
	certificate.awaitVersion()
	d.kill(o)
	d.disown(certificate, "Disown/before")
	if everything {
		d.disown(certificate, "Disown/after")
		d.crashAt("Suspect/before")
		d.crashAt("Suspect/after")
	}
	if diff := gocmp.Diff(want, d.hits); diff != "" {
		t.Errorf("boundaries at which an operator died (-want +got):\n%s", diff)
	}

	// The attempt whose answer was lost has answered the request.
	token.request()
	d.operator()
	token.awaitVersion()
	p.end(token, lost)
}

// disown has an operator die with an answer that another process has made pointless: it
// took over the claim meanwhile, asked again, and was answered with the same certificate.
func (d *director) disown(h *holder, boundary string) {
	d.t.Helper()
	h.request()
	since := h.venafi.Events().Last()
	fault, err := h.venafi.Faults().Add(simkit.Fault{Operation: "certificate.retrieve", Point: simkit.AfterCommit, Action: simkit.Hold})
	if err != nil {
		d.t.Fatal(err)
	}
	slow, err := d.world.RunArmed(boundary)
	if err != nil {
		d.t.Fatal(err)
	}
	d.operators = append(d.operators, slow)
	ctx, cancel := context.WithTimeout(d.ctx, hit)
	defer cancel()
	held, err := h.venafi.Events().Wait(ctx, since, func(e simkit.Event) bool { return e.Type == simkit.EventHeld && e.Attrs["fault"] == fault })
	if err != nil {
		d.t.Fatalf("no operator fetches a certificate: %v", err)
	}
	quick := d.operator()
	h.awaitVersion()
	h.venafi.Faults().Release(held.Attrs["hold"], false)
	d.awaitDeath(slow, boundary)
	d.kill(quick)
}

// live are the ledger's ids of what lives of a holder.
func (h *holder) live() []string {
	ids := []string{}
	for _, record := range h.venafi.Ledger().Live() {
		if record.Kind == h.kind && (record.Attrs["clientId"] == h.name || record.Attrs["cn"] == h.name+".example") {
			ids = append(ids, record.ID)
		}
	}
	return ids
}

// issued counts what was ever made for a holder.
func (h *holder) issued() int {
	n := 0
	for _, record := range h.venafi.Ledger().Issued() {
		if record.Kind == h.kind && (record.Attrs["clientId"] == h.name || record.Attrs["cn"] == h.name+".example") {
			n++
		}
	}
	return n
}

// unknown are the grants of a holder that live and whose token no version holds.
func (p *platform) unknown(h *holder) []string {
	p.t.Helper()
	versions, err := p.versions(p.ctx, p.ns)
	if err != nil {
		p.t.Fatal(err)
	}
	known := map[string]bool{}
	for _, v := range versions {
		known[p.venafi.GrantOf(string(v.Data["token"]))] = true
	}
	unknown := []string{}
	for _, id := range h.live() {
		if !known[id] {
			unknown = append(unknown, id)
		}
	}
	return unknown
}

// unsettled says how journal and ledger differ, or what is still on its way: nothing once
// every holder has one version that lives, and beside it what was lost.
func (p *platform) unsettled(token *holder, lost []string) string {
	versions, err := p.versions(p.ctx, p.ns)
	if err != nil {
		return err.Error()
	}
	if len(versions) != len(p.holders) {
		return fmt.Sprintf("%d versions of %d credentials are in the journal", len(versions), len(p.holders))
	}
	for _, h := range p.holders {
		c := &v1alpha1.APIClientCredential{}
		if err := p.world.Client.Get(p.ctx, client.ObjectKey{Namespace: p.ns, Name: h.name}, c); err != nil {
			return err.Error()
		}
		if !meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionReady) || len(c.Status.Conditions) != 1 {
			return h.name + ": " + conditions(c)
		}
		want := 1
		if h == token {
			want += len(lost)
		}
		if got := h.live(); len(got) != want {
			return fmt.Sprintf("%s: %v live, want %d", h.name, got, want)
		}
	}
	if diff := gocmp.Diff(lost, p.unknown(token)); diff != "" {
		return "grants that nobody knows of (-want +got):\n" + diff
	}
	return ""
}

// end waits for rest and holds the ledger against the journal and against what was said of
// what was lost. Then everything is deleted, and only that may be left.
func (p *platform) end(token *holder, lost []string) {
	p.t.Helper()
	p.eventually(toRest, "at rest", func() string { return p.unsettled(token, lost) })
	p.judgeQuiet()
	for _, h := range p.holders {
		newest := p.newest(&actor{stage: p.stage, ns: p.ns, name: h.name})
		if got := h.issued(); got != newest {
			p.t.Errorf("%s: %d were issued and the journal counts %d", h.name, got, newest)
		}
	}
	if n := p.venafi.Stats().Duplicates; n > 0 {
		p.t.Errorf("%d certificates were asked for twice", n)
	}
	issuer := &v1alpha1.CredentialIssuer{}
	if err := p.world.Client.Get(p.ctx, client.ObjectKey{Namespace: p.ns, Name: aToken}, issuer); err != nil {
		p.t.Fatal(err)
	}
	if told := issuer.Status.Unresolved; told.Count != int64(len(lost)) || len(told.Newest) != len(lost) {
		p.t.Errorf("%d grants were lost and the issuer tells of %+v", len(lost), told)
	}
	p.hangUp()
	p.calling.Wait()
	p.judge()
	p.judgeCallers()
	p.leave()
	for _, h := range p.holders {
		want := []string{}
		if h == token {
			want = lost
		}
		if diff := gocmp.Diff(want, h.live()); diff != "" {
			p.t.Errorf("%s: lives on upstream after its namespace (-want +got):\n%s", h.name, diff)
		}
	}
}
