package venafi_test

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/venafisim"
)

const dn = folder + `\cl-a-b.` + string(mark)

// shop is an account for certificates on a simulator with a clock that stands still.
type shop struct {
	*venafisim.Sim
	upstream.Upstream
	t     *testing.T
	clock *simkit.Manual
}

func newShop(t *testing.T, change func(*venafisim.Behaviour)) shop {
	t.Helper()
	clock := simkit.NewManual(dawn)
	sim := start(t, clock, change)
	return shop{Sim: sim, Upstream: open(t, clock, settings(sim, "Certificates", nil)), t: t, clock: clock}
}

// order is a request for a certificate, with its key.
func (s shop) order() upstream.Request {
	s.t.Helper()
	r := upstream.Request{Parameters: parametersOf(folder), Name: "cl-a-b", Mark: mark}
	var err error
	if r.Container, err = s.Locate(s.t.Context(), r.Parameters); err != nil {
		s.t.Fatal(err)
	}
	if r.Material, err = s.Upstream.(upstream.Drafter).Draft(r, rand.Reader); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// step calls Issue once and checks the class of its error; what it told goes into the
// next call.
func (s shop) step(r *upstream.Request, class upstream.ErrorClass, words string) {
	s.t.Helper()
	issued, err := s.Issue(s.t.Context(), *r)
	if err == nil || upstream.ClassOf(err) != class || !strings.Contains(err.Error(), words) {
		s.t.Fatalf("got %v, want %s with %q", err, class, words)
	}
	if r.ID = issued.ID; r.ID == "" {
		s.t.Fatal("the id of what was begun is not told")
	}
}

// done calls Issue until the certificate is there.
func (s shop) done(r upstream.Request) (upstream.Issued, upstream.Handle) {
	s.t.Helper()
	for range 10 {
		issued, err := s.Issue(s.t.Context(), r)
		if err == nil {
			return issued, upstream.Handle{
				Parameters: r.Parameters, Container: r.Container, Name: r.Name, Mark: r.Mark, ID: issued.ID, Material: issued.Material, ExpiresAt: issued.ExpiresAt,
			}
		}
		if upstream.ClassOf(err) != upstream.Pending {
			s.t.Fatal(err)
		}
		r.ID = issued.ID
	}
	s.t.Fatal("still pending")
	return upstream.Issued{}, upstream.Handle{}
}

func (s shop) kinds() map[string]venafisim.Count {
	kinds := s.Stats().Kinds
	delete(kinds, "grant")
	return kinds
}

func TestACertificateIsAskedForOnceAndFitsItsKey(t *testing.T) {
	s := newShop(t, func(b *venafisim.Behaviour) { b.StagePolls = 2 })
	r := s.order()
	s.step(&r, upstream.Pending, "was requested")
	s.step(&r, upstream.Pending, "Post CSR")
	s.step(&r, upstream.Pending, "Retrieve Certificate")
	issued, handle := s.done(r)
	if _, err := tls.X509KeyPair([]byte(issued.Material.Certificate+issued.Material.Chain), []byte(issued.Material.PrivateKey.Reveal())); err != nil {
		t.Error(err)
	}
	if strings.Count(issued.Material.Certificate, "BEGIN CERTIFICATE") != 1 || strings.Count(issued.Material.Chain, "BEGIN CERTIFICATE") != 1 || strings.Contains(issued.Material.Chain, "\r") {
		t.Error("want the leaf, and the intermediate without the root, with plain line ends")
	}
	if !issued.ExpiresAt.Equal(dawn.Add(90 * 24 * time.Hour)) {
		t.Errorf("ends %v", issued.ExpiresAt)
	}
	if s.Stats().Duplicates != 0 {
		t.Error("the certificate was requested twice")
	}
	if err := s.Revoke(t.Context(), handle); err != nil {
		t.Fatal(err)
	}
	want := map[string]venafisim.Count{"object": {Issued: 1, Revoked: 1}, "certificate": {Issued: 1, Revoked: 1}}
	if diff := cmp.Diff(want, s.kinds()); diff != "" {
		t.Error(diff)
	}
}

func TestAnApprovalInVenafiIsWaitedForAndARejectionIsFinal(t *testing.T) {
	s := newShop(t, func(b *venafisim.Behaviour) { b.NeedApproval = true })
	r := s.order()
	s.step(&r, upstream.Pending, "was requested")
	for range 3 {
		s.step(&r, upstream.AwaitingUpstreamApproval, `ticket \VED\Workflow Tickets\`)
	}
	if err := s.Reject(dn, "not this week"); err != nil {
		t.Fatal(err)
	}
	s.step(&r, upstream.Rejected, "not this week")
	if err := s.Revoke(t.Context(), upstream.Handle{Parameters: r.Parameters, Container: r.Container, Name: r.Name, Mark: r.Mark, Material: r.Material, ID: r.ID}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]venafisim.Count{"object": {Issued: 1, Revoked: 1}}, s.kinds()); diff != "" {
		t.Error(diff)
	}
}

func TestAnApprovedRequestGoesOn(t *testing.T) {
	s := newShop(t, func(b *venafisim.Behaviour) { b.NeedApproval = true })
	r := s.order()
	s.step(&r, upstream.Pending, "was requested")
	if err := s.Approve(dn); err != nil {
		t.Fatal(err)
	}
	s.done(r)
}

func TestACARefusalFailsTheVersionInTheWordsOfThePlatform(t *testing.T) {
	s := newShop(t, func(b *venafisim.Behaviour) { b.FailIssuing, b.StagePolls = "no such profile", 0 })
	r := s.order()
	s.step(&r, upstream.Pending, "was requested")
	s.step(&r, upstream.Rejected, "Post CSR failed with error: no such profile")
}

func TestACertificateForAnotherKeyIsNotTaken(t *testing.T) {
	s := newShop(t, func(b *venafisim.Behaviour) { b.WrongKey, b.StagePolls = true, 0 })
	r := s.order()
	s.step(&r, upstream.Pending, "was requested")
	s.step(&r, upstream.Conflict, "it is for another key")
}

func TestARequestInProcessIsStoppedWhenItIsRevoked(t *testing.T) {
	s := newShop(t, func(b *venafisim.Behaviour) { b.StagePolls = 9 })
	r := s.order()
	s.step(&r, upstream.Pending, "was requested")
	// Without the id, as after a lost answer.
	if err := s.Revoke(t.Context(), upstream.Handle{Parameters: r.Parameters, Container: r.Container, Name: r.Name, Mark: r.Mark, Material: r.Material}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]venafisim.Count{"object": {Issued: 1, Revoked: 1}}, s.kinds()); diff != "" {
		t.Error(diff)
	}
}

// A request that was repeated in spite of everything has issued twice for our key.
func TestBothCertificatesOfARepeatedRequestAreRevoked(t *testing.T) {
	s := newShop(t, func(b *venafisim.Behaviour) { b.StagePolls = 0 })
	r := s.order()
	_, handle := s.done(r)
	if err := s.Repeat(dn, r.Material.PrivateKey.Reveal()); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(t.Context(), handle); err != nil {
		t.Fatal(err)
	}
	want := map[string]venafisim.Count{"object": {Issued: 1, Revoked: 1}, "certificate": {Issued: 2, Revoked: 2}}
	if diff := cmp.Diff(want, s.kinds()); diff != "" {
		t.Error(diff)
	}
}

func TestAnObjectOfThatNameThatIsSomebodyElsesIsLeftAlone(t *testing.T) {
	s := newShop(t, nil)
	r := s.order()
	if err := s.AddForeign(folder, "cl-a-b."+string(mark), "Claviger ffffffffffffffffffffffffffffffff"); err != nil {
		t.Fatal(err)
	}
	err := s.Revoke(t.Context(), upstream.Handle{Parameters: r.Parameters, Container: r.Container, Name: r.Name, Mark: r.Mark, Material: r.Material})
	if upstream.ClassOf(err) != upstream.NotFound {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(map[string]venafisim.Count{"object": {Issued: 1, Live: 1}}, s.kinds()); diff != "" {
		t.Error(diff)
	}
}

func TestThePolicyIsAskedBeforeAnythingIsRequested(t *testing.T) {
	s := newShop(t, nil)
	for name, tc := range map[string]struct{ parameters, words string }{
		"a locked subject, key and domain": {
			`{"policyDN": "\\VED\\Policy\\k8s\\locked", "commonName": "orders.elsewhere", "organization": "Other"}`,
			`the policy of \VED\Policy\k8s\locked refuses this certificate: key must be of algorithm RSA; organization must be Acme; orders.elsewhere is in none of the allowed domains`,
		},
		"keys that the platform makes": {
			`{"policyDN": "\\VED\\Policy\\k8s\\service", "commonName": "orders.example"}`,
			"keys are made by the platform there",
		},
	} {
		_, err := s.Locate(t.Context(), json.RawMessage(`{"certificate": `+tc.parameters+`}`))
		if upstream.ClassOf(err) != upstream.InvalidSpec || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Locate(t.Context(), json.RawMessage(`{"certificate": {"policyDN": "\\VED\\Policy\\k8s\\locked", "commonName": "orders.example", "organization": "Acme", "key": "RSA3072"}}`)); err != nil {
		t.Error(err)
	}
	if s.Calls().Total("certificate.*") != 0 {
		t.Error("something was requested")
	}
}

func TestEveryKindOfKeyFitsItsCertificate(t *testing.T) {
	for _, kind := range []string{"", "ECDSA256", "ECDSA384", "RSA2048"} {
		s := newShop(t, nil)
		r := s.order()
		r.Parameters = json.RawMessage(`{"certificate": {"policyDN": "\\VED\\Policy\\k8s\\team-a", "commonName": "orders.example", "key": "` + kind + `"}}`)
		var err error
		if r.Material, err = s.Upstream.(upstream.Drafter).Draft(r, rand.Reader); err != nil {
			t.Fatal(err)
		}
		_, handle := s.done(r)
		if verdict, err := s.Upstream.(upstream.Verifier).Verify(t.Context(), handle); err != nil || !verdict.Accepted {
			t.Errorf("%s: %+v, %v", kind, verdict, err)
		}
	}
}
