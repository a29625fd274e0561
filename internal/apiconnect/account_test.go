package apiconnect_test

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/apiconnect"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	plain  = `{"consumerOrg":"retail","app":"billing"}`
	probed = `{"consumerOrg":"retail","app":"billing","probe":{"path":"/orders/v1/health"}}`
)

// open opens an account on a simulator.
func open(t *testing.T, s upstream.Settings) upstream.Upstream {
	t.Helper()
	account, err := apiconnect.NewDriver(time.Now).Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// request is the first version of some credential in the app of the tests.
func request(t *testing.T, account upstream.Upstream, parameters string) upstream.Request {
	t.Helper()
	container, err := account.Locate(t.Context(), json.RawMessage(parameters))
	if err != nil {
		t.Fatal(err)
	}
	mark := upstream.Mark("0123456789abcdef0123456789abcdef")
	return upstream.Request{
		Parameters: json.RawMessage(parameters), Container: container, Name: "cl-abcdefghijklm-abcdefgh", Title: "payments/billing v1", Mark: mark,
		Material: material.Material{ClientID: string(mark), ClientSecret: material.New("canary-secret-of-a-workload")},
	}
}

func handle(r upstream.Request) upstream.Handle {
	return upstream.Handle{Parameters: r.Parameters, Container: r.Container, Name: r.Name, Mark: r.Mark, Material: r.Material}
}

func mustIssue(t *testing.T, account upstream.Upstream, r upstream.Request) {
	t.Helper()
	if _, err := account.Issue(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func verify(ctx context.Context, account upstream.Upstream, h upstream.Handle) (upstream.Verdict, error) {
	return account.(upstream.Verifier).Verify(ctx, h)
}

// wants checks an error's class and words.
func wants(t *testing.T, err error, class upstream.ErrorClass, words ...string) {
	t.Helper()
	if err == nil || upstream.ClassOf(err) != class {
		t.Errorf("got %v, want %s", err, class)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

// calls counts the simulator's calls by operation.
func calls(sim *apiconnectsim.Sim) map[string]int {
	out := map[string]int{}
	for _, count := range sim.Calls().List() {
		out[count.Operation] += count.Calls
	}
	return out
}

func TestARotationCostsFourPlatformCalls(t *testing.T) {
	behaviour := apiconnectsim.Usual()
	behaviour.Propagation = apiconnectsim.Exactly(time.Minute)
	clock := simkit.NewManual(time.Now())
	sim := apiconnectsim.New(apiconnectsim.Options{Clock: clock, Behaviour: &behaviour, Seed: apiconnectsim.Sample()})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	s := settings(sim, nil)
	s.Login = map[string]material.Secret{
		"username": material.New("svc-rotator"), "password": material.New("rotator-password"),
		"client_id": material.New("toolkit"), "client_secret": material.New("toolkit-secret"),
	}
	account := open(t, s)
	r := request(t, account, probed)
	before := calls(sim)

	if _, err := account.Locate(t.Context(), r.Parameters); err != nil {
		t.Fatal(err)
	}
	mustIssue(t, account, r)
	for range 5 { // the gateway has not heard of it yet
		verdict, err := verify(t.Context(), account, handle(r))
		if err != nil || verdict.Accepted || !strings.Contains(verdict.Detail, "not yet") {
			t.Fatalf("%+v, %v", verdict, err)
		}
	}
	clock.Advance(time.Minute)
	if verdict, err := verify(t.Context(), account, handle(r)); err != nil || !verdict.Accepted {
		t.Fatalf("%+v, %v", verdict, err)
	}
	if err := account.Revoke(t.Context(), handle(r)); err != nil {
		t.Fatal(err)
	}
	got := calls(sim)
	for operation, count := range before {
		if got[operation] -= count; got[operation] == 0 {
			delete(got, operation)
		}
	}
	want := map[string]int{"credential.create": 1, "credential.verify-secret": 1, "credential.get": 1, "credential.delete": 1, "gateway.call": 6}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsSentIsWhatWasAskedFor(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	account := open(t, settings(sim, nil))
	r := request(t, account, plain)
	mustIssue(t, account, r)
	live := sim.Ledger().Live()
	if len(live) != 1 {
		t.Fatalf("%d credentials live", len(live))
	}
	want := map[string]string{"org": "acme", "catalog": "production", "consumerOrg": "retail", "app": "billing", "name": r.Name, "clientId": string(r.Mark)}
	got := maps.Clone(live[0].Attrs)
	delete(got, "appId")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if live[0].IssuedBy.Agent != "claviger-test" {
		t.Errorf("issued by %+v", live[0].IssuedBy)
	}
	if !sim.Accepts(r.Material.ClientID, r.Material.ClientSecret.Reveal()) {
		t.Error("the material is not accepted")
	}
	ids, err := sim.IDs(app)
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(sim.URL(), "https://")
	if want := host + "/orgs/" + ids.Org + "/catalogs/" + ids.Catalog + "/consumer-orgs/" + ids.ConsumerOrg + "/apps/" + ids.App; r.Container != want {
		t.Errorf("container %s, want %s", r.Container, want)
	}
}

func TestEverythingMayBeNamedByID(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	ids, err := sim.IDs(app)
	if err != nil {
		t.Fatal(err)
	}
	byName, err := open(t, settings(sim, nil)).Locate(t.Context(), json.RawMessage(plain))
	if err != nil {
		t.Fatal(err)
	}
	account := open(t, settings(sim, func(p map[string]any) { p["providerOrg"], p["catalog"] = ids.Org, ids.Catalog }))
	byID, err := account.Locate(t.Context(), json.RawMessage(`{"consumerOrg":"`+ids.ConsumerOrg+`","app":"`+ids.App+`"}`))
	if err != nil || byID != byName {
		t.Errorf("by id %q, by name %q, %v", byID, byName, err)
	}
}

func TestARotationGoesOnByIDAfterEverythingGotOtherNames(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	account := open(t, settings(sim, nil))
	first := request(t, account, plain)
	mustIssue(t, account, first)
	for _, path := range []apiconnectsim.Path{app, {Org: "acme", Catalog: "production", ConsumerOrg: "retail"}} {
		if err := sim.Rename(path, "renamed"); err != nil {
			t.Fatal(err)
		}
	}
	second := first
	second.Name, second.Mark = "cl-abcdefghijklm-22222222", "0123456789abcdef2222222222222222"
	second.Material.ClientID = string(second.Mark)
	mustIssue(t, account, second)
	if verdict, err := verify(t.Context(), account, handle(second)); err != nil || !verdict.Accepted {
		t.Errorf("%+v, %v", verdict, err)
	}
	if err := account.Revoke(t.Context(), handle(first)); err != nil {
		t.Error(err)
	}
	if live := sim.Ledger().Live(); len(live) != 1 || live[0].Attrs["clientId"] != string(second.Mark) {
		t.Errorf("live: %+v", live)
	}
}

func TestCheckNamesWhatDoesNotExist(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	for name, tc := range map[string]struct {
		field, value string
		words        []string
	}{
		"the organisation": {"providerOrg", "nobody", []string{`"nobody"`, "GET /api/orgs"}},
		"the catalog":      {"catalog", "nothing", []string{`"nothing"`, `"acme"`, "/catalogs lists them"}},
	} {
		t.Run(name, func(t *testing.T) {
			account := open(t, settings(sim, func(p map[string]any) { p[tc.field] = tc.value }))
			_, err := account.Check(t.Context())
			wants(t, err, upstream.NotFound, tc.words...)
			_, err = account.List(t.Context(), upstream.Owner{})
			wants(t, err, upstream.NotFound)
		})
	}
}

func TestAnAppThatWasMadeAgainIsAnotherApp(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	account := open(t, settings(sim, nil))
	r := request(t, account, plain)
	if err := sim.Delete(app); err != nil {
		t.Fatal(err)
	}
	if _, err := sim.Add(app); err != nil {
		t.Fatal(err)
	}
	_, err := account.Issue(t.Context(), r)
	wants(t, err, upstream.NotFound, "does not exist in catalog", "any more")
	if now := request(t, account, plain); now.Container == r.Container {
		t.Error("the old container is still remembered")
	}
}

func TestALostConsumerOrganisationProvesNothing(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	account := open(t, settings(sim, nil))
	r := request(t, account, plain)
	mustIssue(t, account, r)
	if err := sim.Delete(apiconnectsim.Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail"}); err != nil {
		t.Fatal(err)
	}
	wants(t, account.Revoke(t.Context(), handle(r)), upstream.Forbidden, "consumerorg.read", "could not be proven")
	_, err := account.Issue(t.Context(), r)
	wants(t, err, upstream.Forbidden)
}

func TestAVersionOfAnotherPlatformIsNotTouched(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	account := open(t, settings(sim, nil))
	r := request(t, account, plain)
	mustIssue(t, account, r)
	host, rest, _ := strings.Cut(r.Container, "/")
	for name, container := range map[string]string{
		"another host": "platform.example/" + rest, "no container": "billing", "an empty id": host + "/orgs//catalogs/c/consumer-orgs/o/apps/a",
		"a path that climbs": host + "/orgs/o/catalogs/../consumer-orgs/o/apps/a", "another shape": host + "/orgs/o/catalogs/c/apps/a/consumer-orgs/o",
	} {
		t.Run(name, func(t *testing.T) {
			moved := r
			moved.Container = container
			_, issueErr := account.Issue(t.Context(), moved)
			_, verifyErr := verify(t.Context(), account, handle(moved))
			_, listErr := account.List(t.Context(), upstream.Owner{Container: container})
			for _, err := range []error{issueErr, verifyErr, listErr, account.Revoke(t.Context(), handle(moved))} {
				wants(t, err, upstream.InvalidSpec)
			}
		})
	}
	if len(sim.Ledger().Live()) != 1 {
		t.Error("it was touched")
	}
}

func TestARequestThatCouldNotBeFoundAgainIsRefusedBeforeTheCall(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	account := open(t, settings(sim, nil))
	good := request(t, account, plain)
	for name, change := range map[string]func(*upstream.Request){
		"no mark":                    func(r *upstream.Request) { r.Mark, r.Material.ClientID = "", "" },
		"an upper-case mark":         func(r *upstream.Request) { r.Mark = "0123456789ABCDEF0123456789ABCDEF" },
		"a client id of its own":     func(r *upstream.Request) { r.Material.ClientID = "another" },
		"no secret":                  func(r *upstream.Request) { r.Material.ClientSecret = material.Secret{} },
		"no name":                    func(r *upstream.Request) { r.Name = "" },
		"a name with a slash":        func(r *upstream.Request) { r.Name = "../billing" },
		"parameters that are absent": func(r *upstream.Request) { r.Parameters = nil },
		"an app without a name":      func(r *upstream.Request) { r.Parameters = json.RawMessage(`{"consumerOrg":"retail"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			r := good
			change(&r)
			_, err := account.Issue(t.Context(), r)
			wants(t, err, upstream.InvalidSpec)
		})
	}
	if n := calls(sim)["credential.create"]; n != 0 {
		t.Errorf("%d calls", n)
	}
	for _, mark := range []upstream.Mark{"", "0123", "generated"} {
		wants(t, account.Revoke(t.Context(), upstream.Handle{Container: good.Container, Name: good.Name, Mark: mark}), upstream.InvalidSpec, "mark")
	}
}

func TestASecretThatSomebodyResetIsAConflict(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	account := open(t, settings(sim, nil))
	r := request(t, account, plain)
	mustIssue(t, account, r)
	path := app
	path.Credential = r.Name
	if _, err := sim.ResetSecret(path); err != nil {
		t.Fatal(err)
	}
	_, err := account.Issue(t.Context(), r)
	wants(t, err, upstream.Conflict, "reset")
}

func TestTheGatewaysAnswerIsAVerdictOrAnError(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	account := open(t, settings(sim, nil))
	r := request(t, account, probed)
	mustIssue(t, account, r)
	if err := sim.Subscribe(app, false); err != nil {
		t.Fatal(err)
	}
	verdict, err := verify(t.Context(), account, handle(r))
	if err != nil || verdict.Accepted || !strings.Contains(verdict.Detail, "no subscription") {
		t.Errorf("without a subscription: %+v, %v", verdict, err)
	}
	if err := sim.Subscribe(app, true); err != nil {
		t.Fatal(err)
	}
	for status, class := range map[int]upstream.ErrorClass{
		404: upstream.InvalidSpec, 400: upstream.InvalidSpec, 405: upstream.InvalidSpec,
		408: upstream.Retryable, 429: upstream.Retryable, 500: upstream.Retryable, 503: upstream.Retryable,
	} {
		fault := simkit.Fault{Operation: "gateway.call", Action: simkit.Refuse, Status: status, RetryAfter: simkit.Duration(7 * time.Second)}
		if _, err := sim.Faults().Add(fault); err != nil {
			t.Fatal(err)
		}
		// Another account each time: a gateway that throttles is left alone for a while.
		_, err := verify(t.Context(), open(t, settings(sim, nil)), handle(r))
		wants(t, err, class, "/orders/v1/health")
		if after := upstream.AfterOf(err); (status == 429 || status == 503) != (after == 7*time.Second) {
			t.Errorf("%d: come again after %v", status, after)
		}
	}
	_, err = verify(t.Context(), open(t, settings(sim, func(p map[string]any) { delete(p, "gatewayURL") })), handle(r))
	wants(t, err, upstream.InvalidSpec, "gatewayURL")
}

func TestAThrottledGatewayDoesNotPauseThePlatform(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	account := open(t, settings(sim, nil))
	r := request(t, account, probed)
	mustIssue(t, account, r)
	if _, err := sim.Faults().Add(simkit.Fault{Operation: "gateway.call", Action: simkit.ThrottleCall, RetryAfter: simkit.Duration(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // by the gateway, then by ourselves
		_, err := verify(t.Context(), account, handle(r))
		wants(t, err, upstream.Retryable)
		if upstream.AfterOf(err) < 50*time.Minute {
			t.Errorf("come again after %v", upstream.AfterOf(err))
		}
	}
	if err := account.Revoke(t.Context(), handle(r)); err != nil {
		t.Error(err)
	}
}

func TestAStaleTokenCostsOneLoginAndOneRepeat(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	account := open(t, settings(sim, nil))
	r := request(t, account, plain)
	mustIssue(t, account, r)
	before := calls(sim)
	sim.ExpireTokens(true)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if _, err := account.List(t.Context(), upstream.Owner{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := calls(sim)["token.password"] - before["token.password"]; n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
}

func TestAPlatformThatTakesNoTokenIsNotStormed(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	account := open(t, settings(sim, nil))
	if _, err := account.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := sim.Faults().Add(simkit.Fault{Operation: "org.get", Action: simkit.Refuse, Status: 401, Count: -1}); err != nil {
		t.Fatal(err)
	}
	before := calls(sim)
	for range 100 {
		_, err := account.Check(t.Context())
		wants(t, err, upstream.LoginFailed)
	}
	after := calls(sim)
	if logins, reads := after["token.password"]-before["token.password"], after["org.get"]-before["org.get"]; logins != 1 || reads != 2 {
		t.Errorf("%d logins and %d reads, want 1 and 2", logins, reads)
	}
}

func TestAWrongLoginIsSaidOnceAndClearly(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	s := settings(sim, nil)
	s.Login["password"] = material.New("canary-wrong")
	account := open(t, s)
	for range 10 {
		_, err := account.Check(t.Context())
		wants(t, err, upstream.LoginFailed, "401", "check username, password")
	}
	if n := calls(sim)["token.password"]; n != 1 {
		t.Errorf("%d logins, want 1: an account locks after a few", n)
	}
}

func TestAnAPIKeyThatIsSpentSaysSo(t *testing.T) {
	for name, tc := range map[string]struct {
		multiple bool
		words    []string
	}{
		"for single use":    {false, []string{"worked before", "multiple uses", "new key"}},
		"for multiple uses": {true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			sim := start(t, apiconnectsim.Usual())
			key, err := sim.AddAPIKey(apiconnectsim.APIKey{Username: rotator, Realm: realmName, MultipleUses: tc.multiple})
			if err != nil {
				t.Fatal(err)
			}
			s := settings(sim, func(p map[string]any) { p["login"] = map[string]any{"grant": "APIKey"} })
			s.Login = map[string]material.Secret{"api_key": material.New(key), "client_id": material.New("toolkit"), "client_secret": material.New(toolkit)}
			account := open(t, s)
			if _, err := account.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			sim.ExpireTokens(true)
			_, err = account.Check(t.Context())
			if tc.words == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wants(t, err, upstream.LoginFailed, tc.words...)
			if strings.Contains(err.Error(), key) {
				t.Error("the key is in the error")
			}
		})
	}
}

func TestAForeignCredentialOfOurShapeIsListedOnlyByItsOwner(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	account := open(t, settings(sim, nil))
	r := request(t, account, plain)
	mustIssue(t, account, r)
	path := app
	path.Credential = r.Name
	if err := sim.Rename(path, "billing-key"); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		owner upstream.Owner
		want  int
	}{
		"everything":    {upstream.Owner{}, 0}, // any server-made client id looks like it
		"its owner":     {upstream.Owner{Mark: r.Mark.Owner()}, 1},
		"another owner": {upstream.Owner{Mark: "ffffffffffffffff"}, 0},
	} {
		listing, err := account.List(t.Context(), tc.owner)
		if err != nil || len(listing.Found) != tc.want || listing.Total != 1 {
			t.Errorf("%s: %+v, %v", name, listing, err)
		}
	}
}
