package venafi_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/venafi"
	"github.com/claviger-dev/claviger/internal/venafisim"
)

var dawn = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const mark = upstream.Mark("0123456789abcdef0123456789abcdef")

// grants is an account for tokens on a simulator with a clock that stands still.
type grants struct {
	*venafisim.Sim
	upstream.Upstream
	t     *testing.T
	clock *simkit.Manual
}

func newGrants(t *testing.T, change func(map[string]any)) grants {
	t.Helper()
	clock := simkit.NewManual(dawn)
	sim := start(t, clock, nil)
	return grants{Sim: sim, Upstream: open(t, clock, settings(sim, "Tokens", change)), t: t, clock: clock}
}

func open(t *testing.T, clock *simkit.Manual, s upstream.Settings) upstream.Upstream {
	t.Helper()
	account, err := venafi.NewDriver(clock.Now).Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// issue makes a token of an integration and the handle of it.
func (g grants) issue(clientID string) (upstream.Issued, upstream.Handle) {
	g.t.Helper()
	parameters := json.RawMessage(`{"token": {"clientID": "` + clientID + `", "scope": "certificate:manage"}}`)
	issued, err := g.Issue(g.t.Context(), upstream.Request{Parameters: parameters, Mark: mark})
	if err != nil {
		g.t.Fatal(err)
	}
	return issued, upstream.Handle{Parameters: parameters, Mark: mark, Material: issued.Material, SecretHandle: issued.SecretHandle, ExpiresAt: issued.ExpiresAt}
}

func TestATokenComesWithItsEndAndWithTheHandleToItsGrant(t *testing.T) {
	g := newGrants(t, nil)
	issued, _ := g.issue("short-lived")
	want := map[string]string{"url": g.URL(), "scope": "certificate:manage", "expires": "2026-03-01T12:10:00Z", "identity": issued.Material.Attributes["identity"]}
	if diff := cmp.Diff(want, issued.Material.Attributes); diff != "" {
		t.Error(diff)
	}
	if !issued.ExpiresAt.Equal(dawn.Add(10*time.Minute)) || issued.SecretHandle.Empty() || !strings.HasPrefix(want["identity"], "local:{") {
		t.Errorf("ends %v, handle %v, identity %s", issued.ExpiresAt, !issued.SecretHandle.Empty(), want["identity"])
	}
}

// Hazard C4, scenario c.
func TestAGrantWhoseAccessTokenHasExpiredIsRevokedByOneRefresh(t *testing.T) {
	g := newGrants(t, nil)
	_, handle := g.issue("short-lived")
	g.clock.Advance(11 * time.Minute)
	if g.LiveGrants("short-lived") != 1 {
		t.Fatal("the grant must outlive its access token here")
	}
	if err := g.Revoke(t.Context(), handle); err != nil {
		t.Fatal(err)
	}
	if g.LiveGrants("short-lived") != 0 || g.Calls().Total("auth.refresh") != 1 {
		t.Errorf("%d grants live after %d refreshes", g.LiveGrants("short-lived"), g.Calls().Total("auth.refresh"))
	}
	if err := g.Revoke(t.Context(), handle); upstream.ClassOf(err) != upstream.NotFound {
		t.Errorf("once more: %v", err)
	}
}

func TestATokenThatIsAliveIsRevokedWithoutARefresh(t *testing.T) {
	g := newGrants(t, nil)
	_, handle := g.issue("short-lived")
	if err := g.Revoke(t.Context(), handle); err != nil || g.Calls().Total("auth.refresh") != 0 {
		t.Errorf("%v after %d refreshes", err, g.Calls().Total("auth.refresh"))
	}
}

func TestARevocationThatFailsAfterTheRefreshGoesOnWithTheSameToken(t *testing.T) {
	g := newGrants(t, nil)
	_, handle := g.issue("short-lived")
	g.clock.Advance(11 * time.Minute)
	if _, err := g.Faults().Add(simkit.Fault{Operation: "auth.revoke", Skip: 1, Action: simkit.Refuse, Status: 503}); err != nil {
		t.Fatal(err)
	}
	if err := g.Revoke(t.Context(), handle); upstream.ClassOf(err) != upstream.OutcomeUnknown {
		t.Fatalf("got %v", err)
	}
	if err := g.Revoke(t.Context(), handle); err != nil {
		t.Fatal(err)
	}
	if g.LiveGrants("short-lived") != 0 || g.Calls().Total("auth.refresh") != 1 {
		t.Errorf("%d grants live after %d refreshes", g.LiveGrants("short-lived"), g.Calls().Total("auth.refresh"))
	}
}

func TestAGrantWhoseRefreshWasLostIsNeverSaidToBeGone(t *testing.T) {
	g := newGrants(t, nil)
	_, handle := g.issue("short-lived")
	g.clock.Advance(11 * time.Minute)
	if _, err := g.Faults().Add(simkit.Fault{Operation: "auth.refresh", Point: simkit.AfterCommit, Action: simkit.Cut}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []upstream.ErrorClass{upstream.OutcomeUnknown, upstream.Forbidden, upstream.Forbidden} {
		if err := g.Revoke(t.Context(), handle); upstream.ClassOf(err) != want {
			t.Errorf("try %d: %v, want %s", i+1, err, want)
		}
	}
	if g.LiveGrants("short-lived") != 1 {
		t.Error("the grant should live on")
	}
}

func TestATokenIsAcceptedOnlyWithItsOwnScopeAndIntegration(t *testing.T) {
	g := newGrants(t, nil)
	_, handle := g.issue("team-a-pipeline")
	for name, tc := range map[string]struct{ parameters, detail string }{
		"as it was asked for":     {`{"clientID": "TEAM-A-pipeline", "scope": "Certificate:Manage"}`, ""},
		"with a wider scope":      {`{"clientID": "team-a-pipeline", "scope": "certificate:manage,revoke"}`, "has scope certificate:manage, wanted certificate:manage,revoke"},
		"for another integration": {`{"clientID": "vcert-sdk", "scope": "certificate:manage"}`, "is for application team-a-pipeline"},
	} {
		h := handle
		h.Parameters = json.RawMessage(`{"token": ` + tc.parameters + `}`)
		verdict, err := g.Upstream.(upstream.Verifier).Verify(t.Context(), h)
		if err != nil || verdict.Accepted != (tc.detail == "") || !strings.Contains(verdict.Detail, tc.detail) {
			t.Errorf("%s: %+v, %v", name, verdict, err)
		}
	}
}

func TestARefusedGrantSaysWhoMustAct(t *testing.T) {
	g := newGrants(t, nil)
	for name, tc := range map[string]struct {
		parameters string
		class      upstream.ErrorClass
		words      string
	}{
		"an integration that is not known": {`{"clientID": "nobody", "scope": "certificate"}`, upstream.InvalidSpec, "client_id nobody must be the id of an API integration"},
		"a scope that is no scope":         {`{"clientID": "team-a-pipeline", "scope": "everything"}`, upstream.InvalidSpec, "The requested scope is invalid"},
		"a scope that is not allowed":      {`{"clientID": "team-a-pipeline", "scope": "ssh:manage"}`, upstream.Forbidden, "an administrator must allow the login's identity the integration team-a-pipeline with the scope ssh:manage"},
	} {
		_, err := g.Issue(t.Context(), upstream.Request{Parameters: json.RawMessage(`{"token": ` + tc.parameters + `}`), Mark: mark})
		if upstream.ClassOf(err) != tc.class || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARefusedLoginIsNotTriedAgainAtOnce(t *testing.T) {
	clock := simkit.NewManual(dawn)
	sim := start(t, clock, nil)
	s := settings(sim, "Tokens", nil)
	s.Login["password"] = material.New("wrong")
	account := open(t, clock, s)
	for range 3 {
		if _, err := account.Check(t.Context()); upstream.ClassOf(err) != upstream.LoginFailed {
			t.Fatalf("got %v", err)
		}
	}
	if calls := sim.Calls().Total("auth.password"); calls != 1 {
		t.Errorf("%d logins were tried", calls)
	}
	clock.Advance(31 * time.Second)
	if _, err := account.Check(t.Context()); upstream.ClassOf(err) != upstream.LoginFailed || sim.Calls().Total("auth.password") != 2 {
		t.Errorf("%v after %d logins", err, sim.Calls().Total("auth.password"))
	}
}

func TestTheOperatorsOwnGrantIsReplacedBeforeItEndsAndThenRevoked(t *testing.T) {
	g := newGrants(t, nil)
	for range 4 {
		if _, err := g.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.clock.Advance(41 * time.Minute) // of an hour
	}
	if logins := g.Calls().Total("auth.password"); logins != 4 {
		t.Errorf("%d logins", logins)
	}
	live := 0
	for _, record := range g.Ledger().Live() {
		if record.Kind == "grant" {
			live++
		}
	}
	if live != 1 {
		t.Errorf("%d grants were left unrevoked", live)
	}
}

func TestSettingsThatCannotWorkAreRefusedInWords(t *testing.T) {
	clock := simkit.NewManual(dawn)
	sim := start(t, clock, nil)
	for name, tc := range map[string]struct {
		change func(map[string]any)
		words  string
	}{
		"a use that is none":      {func(p map[string]any) { p["use"] = "Keys" }, "use must be Tokens or Certificates"},
		"no integration":          {func(p map[string]any) { p["clientID"] = "" }, "clientID is missing"},
		"an address with a path":  {func(p map[string]any) { p["url"] = "https://tpp.example/vedsdk" }, "without path"},
		"no service account":      {func(p map[string]any) { p["login"] = map[string]any{"method": "JWT"} }, "login.serviceAccountRef is missing"},
		"a method that is none":   {func(p map[string]any) { p["login"] = map[string]any{"method": "Kerberos"} }, "login.method must be"},
		"keys that are missing":   {func(p map[string]any) { p["login"] = map[string]any{"method": "Certificate"} }, "lacks tls.crt, tls.key"},
		"roots that are no roots": {func(p map[string]any) { p["use"], p["issuingCABundle"] = "Certificates", "none" }, "issuingCABundle holds no certificate"},
	} {
		_, err := venafi.NewDriver(clock.Now).Open(settings(sim, "Tokens", tc.change))
		if upstream.ClassOf(err) != upstream.InvalidSpec || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
