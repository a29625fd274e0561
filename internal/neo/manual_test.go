package neo_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/neo"
	"github.com/claviger-dev/claviger/internal/neosim"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	mark      = "0123456789abcdef0123456789abcdef"
	container = "/a99/prov/a99tmn"
)

func open(t *testing.T, s upstream.Settings) upstream.Upstream {
	t.Helper()
	account, err := neo.NewDriver(time.Now).Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return account
}

func manual(p map[string]any) { p["registrar"] = map[string]any{"type": "Manual"} }

// draft makes a request as the controllers do.
func draft(t *testing.T, account upstream.Upstream, parameters string) upstream.Request {
	t.Helper()
	at, err := account.Locate(t.Context(), json.RawMessage(parameters))
	if err != nil {
		t.Fatal(err)
	}
	r := upstream.Request{Parameters: json.RawMessage(parameters), Container: at, Name: "cl-one", Title: "Claviger payments/one", Mark: mark}
	if r.Material, err = account.(upstream.Drafter).Draft(r, rand.Reader); err != nil {
		t.Fatal(err)
	}
	return r
}

func handle(r upstream.Request) upstream.Handle {
	return upstream.Handle{Parameters: r.Parameters, Container: r.Container, Name: r.Name, Mark: r.Mark, Material: r.Material}
}

func roles(t *testing.T, sim *neosim.Sim) []string {
	t.Helper()
	var held []string
	for _, record := range sim.Ledger().Live() {
		if record.Kind == "assignment" {
			held = append(held, record.Attrs["user"]+" "+record.Attrs["role"])
		}
	}
	slices.Sort(held)
	return held
}

func want(t *testing.T, err error, class upstream.ErrorClass, words ...string) {
	t.Helper()
	if err == nil || upstream.ClassOf(err) != class {
		t.Fatalf("got %v, want %s", err, class)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

// A person registers, and later deletes; in between and afterwards the client has no more
// power than it should.
func TestAPersonRegistersAndDeletes(t *testing.T) {
	sim := start(t, nil)
	account := open(t, settings(sim, manual))
	r := draft(t, account, probed)
	for range 2 {
		_, err := account.Issue(t.Context(), r)
		want(t, err, upstream.AwaitingUpstreamApproval, mark, "cl-one", "prov/a99tmn", "Client Credentials")
		if strings.Contains(err.Error(), r.Material.ClientSecret.Reveal()) {
			t.Fatal("the message holds the secret")
		}
	}
	if held := roles(t, sim); len(held) > 0 {
		t.Fatalf("nobody is registered, and yet %v", held)
	}
	person := neosim.Client{ID: mark, Secret: r.Material.ClientSecret.Reveal(), Name: r.Name, Application: tmn}
	if err := sim.Register(accountName, person); err != nil {
		t.Fatal(err)
	}
	issued, err := account.Issue(t.Context(), r)
	if err != nil || !issued.Material.Equal(r.Material) {
		t.Fatalf("%v, %v", issued, err)
	}
	all := []string{userOf(mark) + " " + opsRole, userOf(mark) + " " + nodeRole}
	if diff := cmp.Diff(all, roles(t, sim)); diff != "" {
		t.Fatal(diff)
	}
	verdict, err := account.(upstream.Verifier).Verify(t.Context(), handle(r))
	if err != nil || !verdict.Accepted {
		t.Fatalf("%+v, %v", verdict, err)
	}

	err = account.Revoke(t.Context(), handle(r))
	want(t, err, upstream.AwaitingUpstreamApproval, "its roles are taken", mark)
	if held := roles(t, sim); len(held) > 0 {
		t.Fatalf("retired, and yet %v", held)
	}
	verdict, err = account.(upstream.Verifier).Verify(t.Context(), handle(r))
	if err != nil || verdict.Accepted || !strings.Contains(verdict.Detail, "403") {
		t.Fatalf("a client without roles: %+v, %v", verdict, err)
	}
	// Without the secret nobody can be asked, and that is said.
	blank := handle(r)
	blank.Material = material.Material{}
	want(t, account.Revoke(t.Context(), blank), upstream.AwaitingUpstreamApproval, mark)
	if err := sim.Deregister(mark); err != nil {
		t.Fatal(err)
	}
	want(t, account.Revoke(t.Context(), handle(r)), upstream.NotFound, mark)
}

func userOf(id string) string { return "oauth_client_" + id }

// Somebody registered the client with another secret: it is not ours, and gets nothing.
func TestAWrongRegistrationGetsNoRoles(t *testing.T) {
	sim := start(t, nil)
	account := open(t, settings(sim, manual))
	r := draft(t, account, plain)
	if err := sim.Register(accountName, neosim.Client{ID: mark, Secret: "mistyped", Application: tmn}); err != nil {
		t.Fatal(err)
	}
	_, err := account.Issue(t.Context(), r)
	want(t, err, upstream.AwaitingUpstreamApproval)
	if held := roles(t, sim); len(held) > 0 {
		t.Errorf("it has %v", held)
	}
}

// That the token endpoint cannot be reached, or throttles, says nothing about the person.
func TestASilentTokenEndpointIsNoPerson(t *testing.T) {
	sim := start(t, nil)
	account := open(t, settings(sim, manual))
	r := draft(t, account, plain)
	for _, fault := range []simkit.Fault{
		{Action: simkit.Cut},
		{Action: simkit.HTML},
		{Action: simkit.Refuse, Status: 403},
		{Action: simkit.Refuse, Status: 404},
		{Action: simkit.Refuse, Status: 500},
		{Action: simkit.ThrottleCall, RetryAfter: 1},
	} {
		fault.Operation = "token.client"
		if _, err := sim.Faults().Add(fault); err != nil {
			t.Fatal(err)
		}
		_, issueErr := account.Issue(t.Context(), r)
		if class := upstream.ClassOf(issueErr); issueErr == nil || class == upstream.AwaitingUpstreamApproval || class == upstream.Throttled {
			t.Errorf("%s %d: Issue %v", fault.Action, fault.Status, issueErr)
		}
		if fault.Action == simkit.ThrottleCall {
			return // the token endpoint is left alone now
		}
		if _, err := sim.Faults().Add(fault); err != nil {
			t.Fatal(err)
		}
		revokeErr := account.Revoke(t.Context(), handle(r))
		if class := upstream.ClassOf(revokeErr); revokeErr == nil || class == upstream.NotFound {
			t.Errorf("%s %d: Revoke %v", fault.Action, fault.Status, revokeErr)
		}
	}
}

// The registrar may have a person behind it, too.
func TestARegistrarWithAPersonBehindIt(t *testing.T) {
	sim := start(t, func(b *neosim.Behaviour) { b.PersonDecides = true })
	account := open(t, settings(sim, nil))
	r := draft(t, account, plain)
	for range 2 {
		_, err := account.Issue(t.Context(), r)
		want(t, err, upstream.AwaitingUpstreamApproval, "a person has to act")
	}
	if held := roles(t, sim); len(held) > 0 {
		t.Fatalf("nobody is registered, and yet %v", held)
	}
	sim.Decide()
	if _, err := account.Issue(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want(t, account.Revoke(t.Context(), handle(r)), upstream.AwaitingUpstreamApproval)
	if held := roles(t, sim); len(held) > 0 {
		t.Fatalf("retired, and yet %v", held)
	}
	sim.Decide()
	want(t, account.Revoke(t.Context(), handle(r)), upstream.NotFound)
}

// Without a registrar that can list, the users that have roles are what is seen, each once.
func TestUsersWithRolesAreListed(t *testing.T) {
	sim := start(t, nil)
	account := open(t, settings(sim, manual))
	for _, id := range []string{mark, "fedcba9876543210fedcba9876543210", "somebody"} {
		if err := sim.Register(accountName, neosim.Client{ID: id, Secret: "s", Application: tmn, Roles: []string{opsRole, nodeRole}}); err != nil {
			t.Fatal(err)
		}
	}
	listing, err := account.List(t.Context(), upstream.Owner{Mark: mark[:16]})
	if err != nil {
		t.Fatal(err)
	}
	realm, err := account.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := strings.TrimSuffix(realm, "/a99") + container
	expected := upstream.Listing{Found: []upstream.Found{{ID: mark, Name: userOf(mark), Mark: mark, Container: at}}, Total: 3}
	if diff := cmp.Diff(expected, listing); diff != "" {
		t.Error(diff)
	}
}

// A subaccount takes a hundred calls a minute. What an issuer may make at most, told as the
// controllers tell it, never meets that limit; two hundred calls at once would.
func TestTheBudgetOfAnIssuerFitsTheLimitOfASubaccount(t *testing.T) {
	sim := start(t, func(b *neosim.Behaviour) { b.RequestsPerMinute = 100 })
	bounded := settings(sim, nil)
	bounded.Transport.PerSecond, bounded.Transport.Burst = 1.5, 8
	account := open(t, bounded)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	turnedAway := 0
	for range 40 {
		if _, err := account.Check(ctx); upstream.ClassOf(err) == upstream.Throttled {
			turnedAway++
		}
	}
	if got := sim.Calls().Outcome("user.roles.list", "429"); got != 0 {
		t.Errorf("the subaccount turned %d calls away", got)
	}
	if turnedAway == 0 {
		t.Error("forty calls at once were within the budget")
	}
}

func TestIssuersThatCannotWorkAreRefused(t *testing.T) {
	sim := start(t, nil)
	for name, tc := range map[string]struct {
		change func(map[string]any)
		words  string
	}{
		"no address":                {func(p map[string]any) { p["url"] = "" }, "url must be"},
		"an address with a user":    {func(p map[string]any) { p["tokenURL"] = "https://u@h/" }, "tokenURL must be"},
		"an account that is a path": {func(p map[string]any) { p["account"] = "a/b" }, "technical name"},
		"no application":            {func(p map[string]any) { p["applications"] = nil }, "applications is empty"},
		"an application twice": {func(p map[string]any) {
			p["applications"] = []map[string]any{{"name": "x", "providerAccount": "p", "roles": []string{"r"}}, {"name": "x", "providerAccount": "q", "roles": []string{"r"}}}
		}, "name of its own"},
		"an application without roles": {func(p map[string]any) { p["applications"] = []map[string]any{{"name": "x", "providerAccount": "p"}} }, "no roles"},
		"another spelling":             {func(p map[string]any) { p["applicationPath"] = "application" }, "apps or applications"},
		"no registrar":                 {func(p map[string]any) { p["registrar"] = nil }, "registrar.type"},
		"a registrar without address":  {func(p map[string]any) { p["registrar"] = map[string]any{"type": "HTTP"} }, "registrar.url"},
	} {
		_, err := neo.NewDriver(time.Now).Open(settings(sim, tc.change))
		if upstream.ClassOf(err) != upstream.InvalidSpec || !strings.Contains(fmt.Sprint(err), tc.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	without := settings(sim, nil)
	without.Login = map[string]material.Secret{"client_id": material.New("x")}
	if _, err := neo.NewDriver(time.Now).Open(without); !strings.Contains(fmt.Sprint(err), "lacks client_secret, registrar_token") {
		t.Error(err)
	}
}

func TestCredentialsAskOnlyForWhatTheIssuerOffers(t *testing.T) {
	sim := start(t, nil)
	account := open(t, settings(sim, nil))
	for parameters, words := range map[string]string{
		`{"application":"other","roles":["x"]}`:                                        `does not offer an application "other"`,
		`{"application":"a99tmn","roles":["AccountAdmin"]}`:                            `does not offer the role "AccountAdmin"`,
		`{"application":"a99tmn","roles":[]}`:                                          "name the roles",
		`{"application":"a99iflmap","roles":["ESBMessaging.send","NodeManager.read"]}`: `the role "NodeManager.read" of a99iflmap`,
	} {
		_, err := account.Locate(t.Context(), json.RawMessage(parameters))
		want(t, err, upstream.InvalidSpec, words)
	}
}
