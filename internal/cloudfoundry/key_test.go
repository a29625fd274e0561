package cloudfoundry_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/cloudfoundry"
	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// request asks for the n-th key.
func request(t *testing.T, account upstream.Upstream, parameters string, n int) upstream.Request {
	t.Helper()
	container, err := account.Locate(t.Context(), json.RawMessage(parameters))
	if err != nil {
		t.Fatal(err)
	}
	r := upstream.Request{
		Parameters: json.RawMessage(parameters), Container: container, Number: int64(n),
		Name: fmt.Sprintf("cl-aaaaaaaaaaaaa-%08d", n), Mark: upstream.Mark(fmt.Sprintf("%032x", n)),
	}
	if r.Material, err = account.(upstream.Drafter).Draft(r, rand.Reader); err != nil {
		t.Fatal(err)
	}
	return r
}

func handle(r upstream.Request, i upstream.Issued) upstream.Handle {
	return upstream.Handle{
		Parameters: r.Parameters, Container: r.Container, Name: r.Name, Mark: r.Mark, Number: r.Number, Material: i.Material, ID: i.ID, ExpiresAt: i.ExpiresAt,
	}
}

func TestKeysOfEveryTypeLogInUntilTheyAreRevoked(t *testing.T) {
	const probe = `,"probe":{"path":"/api/v1/MessageProcessingLogs?$top=1"}}`
	for name, tc := range map[string]struct {
		parameters string
		days       int
	}{
		"a secret":               {`{"instance":"cpi-api"` + probe, 0},
		"a certificate":          {`{"instance":"cpi-api","keyType":"Certificate","validityDays":90,"keyLength":2048` + probe, 90},
		"a certificate of ours":  {`{"instance":"cpi-api","keyType":"ExternalCertificate","validityDays":30` + probe, 30},
		"a secret of XSUAA":      {`{"instance":"uaa","keyType":"XSUAABindingSecret"}`, 0},
		"a certificate of XSUAA": {`{"instance":"uaa","keyType":"XSUAACertificate","validityDays":7}`, 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			account := open(t, start(t, nil))
			r := request(t, account, tc.parameters, 1)
			issued, err := account.Issue(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if tc.days == 0 && !issued.ExpiresAt.IsZero() {
				t.Errorf("a secret expires at %s", issued.ExpiresAt)
			}
			if left := time.Until(issued.ExpiresAt).Hours() / 24; tc.days > 0 && (left < float64(tc.days)-1 || left > float64(tc.days)+1) {
				t.Errorf("a certificate of %d days expires at %s", tc.days, issued.ExpiresAt)
			}
			if m := issued.Material; (tc.days > 0) != (m.Certificate != "" && m.Chain != "" && !m.PrivateKey.Empty()) || m.Document.Empty() || m.Attributes["tokenURL"] == "" {
				t.Errorf("the material lacks something: %v", m.Attributes)
			}
			if flaw := cloudfoundry.NewDriver(time.Now).Shape(r.Parameters).Unfit(issued.Material); flaw != "" {
				t.Errorf("not as announced: %s", flaw)
			}
			h := handle(r, issued)
			if verdict, err := account.(upstream.Verifier).Verify(t.Context(), h); err != nil || !verdict.Accepted {
				t.Errorf("verdict %+v, %v", verdict, err)
			}
			if err := account.Revoke(t.Context(), h); err != nil {
				t.Fatal(err)
			}
			if verdict, err := account.(upstream.Verifier).Verify(t.Context(), h); err != nil || verdict.Accepted {
				t.Errorf("after the revocation: verdict %+v, %v", verdict, err)
			}
		})
	}
}

func TestASlowBrokerIsPendingAndIsAskedForOneKey(t *testing.T) {
	sim := start(t, func(b *cloudfoundrysim.Behaviour) {
		b.Async, b.BrokerTime = true, simkit.Duration(300*time.Millisecond)
	})
	account := open(t, sim)
	r := request(t, account, `{"instance":"cpi-api"}`, 1)
	issued, err := account.Issue(t.Context(), r)
	if upstream.ClassOf(err) != upstream.Pending || issued.ID == "" || upstream.AfterOf(err) == 0 {
		t.Fatalf("first answer %q, %v", issued.ID, err)
	}
	r.ID = issued.ID
	until(t, func() bool { issued, err = account.Issue(t.Context(), r); return err == nil })
	h := handle(r, issued)
	if err := account.Revoke(t.Context(), h); upstream.ClassOf(err) != upstream.Pending {
		t.Fatalf("first revocation: %v", err)
	}
	until(t, func() bool { return upstream.ClassOf(account.Revoke(t.Context(), h)) == upstream.NotFound })
	if n := len(sim.Ledger().Issued()); n != 1 || len(sim.Ledger().Live()) != 0 {
		t.Errorf("%d keys were made, %d live", n, len(sim.Ledger().Live()))
	}
}

// until asks again until the answer is yes.
func until(t *testing.T, ask func() bool) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for range 500 {
		if ask() {
			return
		}
		<-look.C
	}
	t.Fatal("it did not happen within ten seconds")
}

func TestWhatTheBrokerSaysDecidesTheClass(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*cloudfoundrysim.Behaviour)
		want   upstream.ErrorClass
	}{
		"it refuses the parameters":       {func(b *cloudfoundrysim.Behaviour) { b.Broker = cloudfoundrysim.BrokerRefuses }, upstream.InvalidSpec},
		"it does not answer":              {func(b *cloudfoundrysim.Behaviour) { b.Broker = cloudfoundrysim.BrokerFails }, upstream.Retryable},
		"the row hangs and is cleaned up": {func(b *cloudfoundrysim.Behaviour) { b.Broker = cloudfoundrysim.BrokerHangs }, upstream.Retryable},
		"the same on an older platform": {func(b *cloudfoundrysim.Behaviour) {
			b.Broker, b.FailedNamesStay = cloudfoundrysim.BrokerFails, true
		}, upstream.Retryable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := start(t, tc.change)
			account := open(t, sim)
			r := request(t, account, `{"instance":"cpi-api"}`, 1)
			if _, err := account.Issue(t.Context(), r); upstream.ClassOf(err) != tc.want {
				t.Fatalf("got %v, want %s", err, tc.want)
			}
			if err := sim.Adjust(func(b *cloudfoundrysim.Behaviour) { b.Broker = cloudfoundrysim.BrokerMakes }); err != nil {
				t.Fatal(err)
			}
			r.Repeat = true
			until(t, func() bool { _, err := account.Issue(t.Context(), r); return err == nil })
			if live := len(sim.Ledger().Live()); live != 1 {
				t.Errorf("%d rows live, want 1", live)
			}
		})
	}
}

func TestKorifiGetsItsMarksAfterwards(t *testing.T) {
	sim := start(t, func(b *cloudfoundrysim.Behaviour) { b.Korifi = true })
	r := request(t, open(t, sim), `{"instance":"cpi-api"}`, 1)
	if _, err := sim.Faults().Add(simkit.Fault{Operation: "binding.create", Action: simkit.Cut, Point: simkit.AfterCommit, Skip: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, sim).Issue(t.Context(), r); upstream.ClassOf(err) != upstream.OutcomeUnknown {
		t.Fatalf("the answer was cut: %v", err)
	}
	r.Repeat = true
	account := open(t, sim)
	if _, err := account.Issue(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	listing, err := account.List(t.Context(), upstream.Owner{})
	if err != nil || len(listing.Found) != 1 || listing.Found[0].Mark != r.Mark {
		t.Errorf("listed %+v, %v", listing, err)
	}
	if live := sim.Ledger().Live(); len(live) != 1 {
		t.Errorf("%d keys live, want 1", len(live))
	}
}

func TestAMissingRoleIsNamedAndHasPatience(t *testing.T) {
	sim := start(t, nil)
	seed := world()
	seed.Instances[0].Roles = nil
	if err := sim.Seed(seed); err != nil {
		t.Fatal(err)
	}
	account := open(t, sim)
	r := request(t, account, `{"instance":"cpi-api","probe":{"path":"/api/v1/MessageProcessingLogs?$top=1"}}`, 1)
	issued, err := account.Issue(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	verdict, err := account.(upstream.Verifier).Verify(t.Context(), handle(r, issued))
	if err != nil || verdict.Accepted || verdict.Patience < time.Hour || !strings.Contains(verdict.Detail, "role") {
		t.Errorf("verdict %+v, %v", verdict, err)
	}
}

func TestTenThousandKeysAreListedWithListCallsOnly(t *testing.T) {
	sim := start(t, func(b *cloudfoundrysim.Behaviour) { b.KeysPerInstance = 20_000 })
	for i := range 10_000 {
		if _, err := sim.AddKey(runtimeAt, fmt.Sprintf("key-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	account := open(t, sim)
	r := request(t, account, `{"instance":"cpi-api"}`, 1)
	if _, err := account.Issue(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	before := map[string]int{}
	for _, n := range sim.Calls().List() {
		before[n.Operation] += n.Calls
	}
	listing, err := account.List(t.Context(), upstream.Owner{})
	if err != nil || len(listing.Found) != 1 || listing.Total != 10_001 {
		t.Fatalf("%d found of %d: %v", len(listing.Found), listing.Total, err)
	}
	for _, n := range sim.Calls().List() {
		if made := n.Calls - before[n.Operation]; made > 0 && !strings.HasSuffix(n.Operation, ".list") {
			t.Errorf("%d calls of %s", made, n.Operation)
		}
	}
}

// SAP takes a certificate once, so what failed is not sent again: the next version has another.
func TestAnExternalCertificateIsSentOnce(t *testing.T) {
	sim := start(t, func(b *cloudfoundrysim.Behaviour) { b.Broker = cloudfoundrysim.BrokerFails })
	account := open(t, sim)
	const parameters = `{"instance":"cpi-api","keyType":"ExternalCertificate"}`
	r := request(t, account, parameters, 1)
	for range 2 {
		if _, err := account.Issue(t.Context(), r); upstream.ClassOf(err) != upstream.Rejected {
			t.Fatalf("the broker failed, and the answer is %v", err)
		}
		r.Repeat = true
	}
	if calls := sim.Calls().Total("binding.create"); calls != 1 {
		t.Errorf("%d creations", calls)
	}
	if err := sim.Adjust(func(b *cloudfoundrysim.Behaviour) { b.Broker = cloudfoundrysim.BrokerMakes }); err != nil {
		t.Fatal(err)
	}
	if err := account.Revoke(t.Context(), handle(r, upstream.Issued{Material: r.Material})); err != nil {
		t.Error(err)
	}
	if _, err := account.Issue(t.Context(), request(t, account, parameters, 2)); err != nil {
		t.Error(err)
	}
}

// What cannot be signed is said before anything exists upstream.
func TestExternalCertificatesNeedAnAuthority(t *testing.T) {
	sim := start(t, nil)
	for name, tc := range map[string]struct {
		change func(map[string]material.Secret)
		want   string
	}{
		"none":          {func(login map[string]material.Secret) { delete(login, "signer.crt"); delete(login, "signer.key") }, "needs the keys signer.crt and signer.key"},
		"one half":      {func(login map[string]material.Secret) { delete(login, "signer.key") }, "must be a certificate authority with its key"},
		"no authority":  {func(login map[string]material.Secret) { leaf(t, login) }, "may sign others"},
		"another's key": {func(login map[string]material.Secret) { login["signer.key"] = material.New("x") }, "must be a certificate authority with its key"},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings(sim, "Password")
			tc.change(s.Login)
			account, err := cloudfoundry.NewDriver(time.Now).Open(s)
			if err == nil {
				_, err = account.Locate(t.Context(), json.RawMessage(`{"instance":"cpi-api","keyType":"ExternalCertificate"}`))
			}
			if upstream.ClassOf(err) != upstream.InvalidSpec || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// leaf puts a certificate in the authority's place that may not sign.
func leaf(t *testing.T, login map[string]material.Secret) {
	t.Helper()
	a, err := simkit.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Client("nobody's authority")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	login["signer.crt"] = material.New(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})))
	login["signer.key"] = material.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
}
