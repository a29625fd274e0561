package apiconnectsim

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/simkit"
)

const (
	ownID     = "3f1c0a5d9e7b4c2a8d6f0e1b2c3d4e5f"
	ownSecret = "an own secret"
)

func hashed(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// without leaves out what differs from run to run.
func without[V any](body map[string]V, fields ...string) map[string]V {
	out := map[string]V{}
	for k, v := range body {
		if !slices.Contains(fields, k) {
			out[k] = v
		}
	}
	return out
}

func TestACreatedCredentialIsShownOnceAndHashedAfterwards(t *testing.T) {
	s := newStand(t, behave(func(b *Behaviour) { b.HostAliases = nil }))
	made := s.want(201, http.MethodPost, credentials, map[string]any{
		"name": "billing-key", "title": "Billing key", "summary": "for billing", "client_id": ownID, "client_secret": ownSecret,
		// None of these is the caller's to choose.
		"id": "mine", "type": "other", "api_version": "9", "created_at": "1999-01-01T00:00:00Z", "url": "x", "scope": "y",
	})
	ids, err := s.IDs(Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail", App: "billing", Credential: "billing-key"})
	if err != nil {
		t.Fatal(err)
	}
	api := s.URL() + "/api/"
	app := strings.Join([]string{api + "apps", ids.Org, ids.Catalog, ids.ConsumerOrg, ids.App}, "/")
	want := map[string]any{
		"type": "credential", "api_version": "2.0.0", "id": ids.Credential,
		"name": "billing-key", "title": "Billing key", "summary": "for billing",
		"client_id": ownID, "client_secret": ownSecret, "client_secret_hashed": hashed(ownSecret),
		"created_at": "2026-03-01T12:00:00.000Z", "updated_at": "2026-03-01T12:00:00.000Z",
		"org_url":          api + "orgs/" + ids.Org,
		"catalog_url":      api + "catalogs/" + ids.Org + "/" + ids.Catalog,
		"consumer_org_url": api + "consumer-orgs/" + ids.Org + "/" + ids.Catalog + "/" + ids.ConsumerOrg,
		"app_url":          app,
		"url":              app + "/credentials/" + ids.Credential,
	}
	if diff := cmp.Diff(want, made.body); diff != "" {
		t.Error(diff)
	}
	delete(want, "client_secret")
	if diff := cmp.Diff(want, s.want(200, http.MethodGet, credentials+"/billing-key", nil).body); diff != "" {
		t.Errorf("read again: %s", diff)
	}
	for _, path := range []string{credentials, catalogWide} {
		if diff := cmp.Diff([]map[string]any{want}, s.want(200, http.MethodGet, path, nil).results()); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	s.balanced()
}

func TestTheServerChoosesWhatTheCallerLeavesOut(t *testing.T) {
	s := newStand(t)
	first := s.want(201, http.MethodPost, credentials, map[string]string{"title": "Infra Key 1!"})
	second := s.want(201, http.MethodPost, credentials, map[string]string{"title": "Infra Key 1!"})
	third := s.want(201, http.MethodPost, credentials, map[string]string{"title": "Infra Key 1!"})
	got := []string{first.str("name"), second.str("name"), third.str("name")}
	if diff := cmp.Diff([]string{"infra-key-1", "infra-key-1-0", "infra-key-1-1"}, got); diff != "" {
		t.Errorf("a title alone makes another credential at each repeat: %s", diff)
	}
	if id, secret := first.str("client_id"), first.str("client_secret"); len(id) != 32 || secret == "" || first.str("client_secret_hashed") != hashed(secret) {
		t.Errorf("%s", first.text)
	}
	if first.str("client_id") == second.str("client_id") || first.str("client_secret") == second.str("client_secret") {
		t.Error("two credentials share material")
	}
}

func TestNamesAreUniquePerAppAndClientIDsPerCatalog(t *testing.T) {
	nameTaken := func(name, id string) string {
		return "The Credential cannot be created with name '" + name + "'. Another resource of type credential (id: " + id + ") already exists with the same name."
	}
	idTaken := "The client_id " + ownID + " already exists in catalog."
	s := newStand(t)
	for _, path := range []Path{
		{Org: "acme", Catalog: "production", ConsumerOrg: "wholesale", App: "orders"},
		{Org: "acme", Catalog: "sandbox", ConsumerOrg: "retail", App: "billing"},
	} {
		if _, err := s.Add(path); err != nil {
			t.Fatal(err)
		}
	}
	one := s.want(201, http.MethodPost, credentials, map[string]string{"name": "one", "title": "one", "client_id": ownID, "client_secret": ownSecret}).str("id")
	elsewhere := "/api/apps/acme/production/wholesale/orders/credentials"
	sandbox := "/api/apps/acme/sandbox/retail/billing/credentials"
	cases := map[string]struct {
		path    string
		body    map[string]string
		adjust  func(*Behaviour)
		status  int
		message string
	}{
		"the same request again":     {credentials, map[string]string{"name": "one", "client_id": ownID, "client_secret": ownSecret}, nil, 409, nameTaken("one", one)},
		"the same name, another id":  {credentials, map[string]string{"name": "one"}, nil, 409, nameTaken("one", one)},
		"another name, the same id":  {credentials, map[string]string{"name": "two", "client_id": ownID}, nil, 409, idTaken},
		"the same id in another app": {elsewhere, map[string]string{"name": "one", "client_id": ownID}, nil, 409, idTaken},
		"the client id is reported first": {
			credentials,
			map[string]string{"name": "one", "client_id": ownID},
			func(b *Behaviour) { b.ClientIDConflictFirst = true }, 409, idTaken,
		},
		"a conflict that is a bad request": {
			credentials,
			map[string]string{"name": "one"},
			func(b *Behaviour) { b.ConflictStatus = 400 }, 400, nameTaken("one", one),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s.adjust(func(b *Behaviour) {
				*b = Usual()
				if tc.adjust != nil {
					tc.adjust(b)
				}
			})
			answer := s.want(tc.status, http.MethodPost, tc.path, tc.body)
			if diff := cmp.Diff([]any{tc.message}, answer.body["message"]); diff != "" {
				t.Error(diff)
			}
		})
	}
	if n := s.Stats().Duplicates; n != len(cases) {
		t.Errorf("%d duplicates in the ledger, want %d", n, len(cases))
	}
	if n := len(s.Ledger().Issued()); n != 1 {
		t.Errorf("%d were issued, want 1", n)
	}
	s.adjust(func(b *Behaviour) { *b = Usual() })
	s.want(201, http.MethodPost, elsewhere, map[string]string{"name": "one"})
	s.want(201, http.MethodPost, sandbox, map[string]string{"name": "one", "client_id": ownID})
	// A name and an id are free again once their credential is gone.
	s.want(200, http.MethodDelete, credentials+"/"+one, nil)
	s.want(201, http.MethodPost, credentials, map[string]string{"name": "one", "client_id": ownID})
	s.balanced()
}

func TestBodiesThatAreRefused(t *testing.T) {
	s := newStand(t)
	s.seeded(billing, SeedCredential{Name: "one", ClientID: ownID})
	s.seeded(billing, SeedCredential{Name: "two"})
	for name, tc := range map[string]struct {
		method, path string
		body         any
		want         int
	}{
		"a create without name and title":  {http.MethodPost, credentials, map[string]string{"summary": "x"}, 400},
		"a create without a body":          {http.MethodPost, credentials, nil, 400},
		"a name with a slash":              {http.MethodPost, credentials, map[string]string{"name": "a/b"}, 400},
		"a name with a blank":              {http.MethodPost, credentials, map[string]string{"name": "a b"}, 400},
		"an empty client id":               {http.MethodPost, credentials, map[string]string{"name": "x", "client_id": ""}, 400},
		"an empty client secret":           {http.MethodPost, credentials, map[string]string{"name": "x", "client_secret": ""}, 400},
		"a name that is a number":          {http.MethodPost, credentials, `{"name":1}`, 400},
		"a hash that is none":              {http.MethodPost, credentials, map[string]string{"name": "x", "client_secret_hashed": "x"}, 400},
		"an update with a null client id":  {http.MethodPatch, credentials + "/one", `{"client_id":null}`, 400},
		"an update to an empty name":       {http.MethodPatch, credentials + "/one", map[string]string{"name": ""}, 400},
		"an update to a name that is none": {http.MethodPatch, credentials + "/one", map[string]string{"name": "a/b"}, 400},
		"an update to a taken name":        {http.MethodPatch, credentials + "/one", map[string]string{"name": "two"}, 409},
		"an update to a taken client id":   {http.MethodPatch, credentials + "/two", map[string]string{"client_id": ownID}, 409},
		"clearing an app by mistake":       {http.MethodDelete, credentials, nil, 400},
		"clearing another app":             {http.MethodDelete, credentials + "?confirm=shop", nil, 400},
	} {
		if answer := s.do(tc.method, tc.path, tc.body); answer.status != tc.want {
			t.Errorf("%s: got %d %s, want %d", name, answer.status, answer.text, tc.want)
		}
	}
	if n := len(s.Ledger().Live()); n != 2 {
		t.Errorf("%d live, want the 2 from before", n)
	}
}

func TestAHashMayStandForTheSecretWhereTheCatalogHashes(t *testing.T) {
	s := newStand(t)
	made := s.want(201, http.MethodPost, credentials, map[string]string{"name": "one", "client_id": ownID, "client_secret_hashed": hashed(ownSecret)})
	if _, shown := made.body["client_secret"]; shown || made.str("client_secret_hashed") != hashed(ownSecret) {
		t.Errorf("%s", made.text)
	}
	if status := s.through(ownID, ownSecret); status != 200 {
		t.Errorf("the gateway: %d", status)
	}
	no := false
	if _, err := s.Seed(Seed{Orgs: []SeedOrg{{Name: "acme", Catalogs: []SeedCatalog{{Name: "production", HashClientSecret: &no}}}}}); err != nil {
		t.Fatal(err)
	}
	made = s.want(201, http.MethodPost, credentials, map[string]string{"name": "two", "client_secret_hashed": hashed(ownSecret)})
	if made.str("client_secret") == "" || made.str("client_secret_hashed") == hashed(ownSecret) {
		t.Errorf("the hash was taken by a catalog that does not hash: %s", made.text)
	}
}

func TestHashesOfOtherInstallations(t *testing.T) {
	s := newStand(t)
	s.seeded(billing, SeedCredential{Name: "one", ClientSecret: ownSecret})
	s.adjust(func(b *Behaviour) { b.HashForm = HashOther })
	other := s.want(200, http.MethodGet, credentials+"/one", nil).str("client_secret_hashed")
	if other == "" || other == hashed(ownSecret) || len(other) != len(hashed(ownSecret)) {
		t.Errorf("the other hash is %q", other)
	}
	s.adjust(func(b *Behaviour) { b.HashForm = HashAbsent })
	if _, there := s.want(200, http.MethodGet, credentials+"/one", nil).body["client_secret_hashed"]; there {
		t.Error("the hash is still there")
	}
}

func TestVariantsOfSuccess(t *testing.T) {
	s := newStand(t, behave(func(b *Behaviour) { b.CreateStatus, b.DeleteStatus = 302, 204 }))
	made := s.want(302, http.MethodPost, credentials, map[string]string{"name": "one"})
	if location := made.header.Get("Location"); location != s.URL()+strings.TrimPrefix(location, s.URL()) || !strings.HasSuffix(location, "/credentials/"+made.str("id")) {
		t.Errorf("Location %q", location)
	}
	s.adjust(func(b *Behaviour) { b.CreateStatus = 200 })
	s.want(200, http.MethodPost, credentials, map[string]string{"name": "two"})
	if answer := s.want(204, http.MethodDelete, credentials+"/one", nil); answer.text != "" {
		t.Errorf("a body: %q", answer.text)
	}
	s.adjust(func(b *Behaviour) { b.DeleteStatus = 200 })
	s.want(200, http.MethodDelete, credentials+"/two", nil)
}

func TestARenameKeepsIdentityAgeAndMaterial(t *testing.T) {
	s := newStand(t)
	old := s.seeded(billing, SeedCredential{Name: "key"})
	fresh := s.seeded(billing, SeedCredential{Name: "key_new"})
	s.clock.Advance(time.Hour)
	rename := map[string]string{"name": "key", "title": "key"}
	// The order of the usual procedure is forced: the name is taken until the old
	// one is gone.
	s.want(409, http.MethodPatch, credentials+"/key_new", rename)
	s.want(200, http.MethodDelete, credentials+"/"+old.ID, nil)
	renamed := s.want(200, http.MethodPatch, credentials+"/key_new", rename)
	want := map[string]any{
		"id": fresh.ID, "name": "key", "title": "key", "client_id": fresh.ClientID,
		"created_at": "2026-03-01T12:00:00.000Z", "updated_at": "2026-03-01T13:00:00.000Z",
		"client_secret_hashed": hashed(fresh.ClientSecret),
	}
	got := without(renamed.body, "type", "api_version", "summary", "org_url", "catalog_url", "consumer_org_url", "app_url", "url")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if status := s.through(fresh.ClientID, fresh.ClientSecret); status != 200 {
		t.Errorf("the gateway after the rename: %d", status)
	}
	s.want(404, http.MethodGet, credentials+"/key_new", nil)
	// A delete by a name that has moved hits the wrong one; by id it cannot.
	s.want(404, http.MethodDelete, credentials+"/"+old.ID, nil)
	s.balanced()
}

func TestAnUpdateMayReplaceTheMaterial(t *testing.T) {
	s := newStand(t)
	c := s.seeded(billing, SeedCredential{Name: "one"})
	updated := s.want(200, http.MethodPatch, credentials+"/one", map[string]string{"client_id": ownID, "client_secret": ownSecret, "summary": "new"})
	if _, shown := updated.body["client_secret"]; shown || updated.str("client_id") != ownID || updated.str("summary") != "new" {
		t.Errorf("%s", updated.text)
	}
	if old, now := s.through(c.ClientID, c.ClientSecret), s.through(ownID, ownSecret); old != 401 || now != 200 {
		t.Errorf("at the gateway: the old %d, the new %d", old, now)
	}
	if cleared := s.want(200, http.MethodPatch, credentials+"/one", `{"summary":null}`); cleared.body["summary"] != nil {
		t.Errorf("%s", cleared.text)
	}
	s.want(201, http.MethodPost, credentials, map[string]string{"name": "two", "client_id": c.ClientID})
	s.balanced()
}

func TestResetsKillTheOldMaterialAtOnce(t *testing.T) {
	s := newStand(t)
	c := s.seeded(billing, SeedCredential{Name: "one"})
	one := credentials + "/" + c.ID
	first := s.want(200, http.MethodPost, one+"/reset-client-secret", nil)
	if first.str("client_id") != c.ClientID || first.str("client_secret") == c.ClientSecret || first.str("client_secret_hashed") != hashed(first.str("client_secret")) {
		t.Errorf("%s", first.text)
	}
	second := s.want(200, http.MethodPost, one+"/reset", nil)
	if second.str("client_id") == c.ClientID || second.str("id") != c.ID {
		t.Errorf("%s", second.text)
	}
	for _, dead := range [][2]string{{c.ClientID, c.ClientSecret}, {c.ClientID, first.str("client_secret")}} {
		if status := s.through(dead[0], dead[1]); status != 401 {
			t.Errorf("dead material: %d", status)
		}
	}
	if status := s.through(second.str("client_id"), second.str("client_secret")); status != 200 {
		t.Errorf("the newest: %d", status)
	}
	if record := s.Ledger().Issued()[0]; record.Changes != 2 || !record.Live() || record.Attrs["clientId"] != second.str("client_id") {
		t.Errorf("ledger %+v", record)
	}
	s.balanced()
}

func TestVerifyTellsARightSecretFromAWrongOne(t *testing.T) {
	s := newStand(t)
	c := s.seeded(billing, SeedCredential{Name: "one"})
	verify := credentials + "/one/verify-client-secret"
	s.want(200, http.MethodPost, verify, map[string]string{"client_id": c.ClientID, "client_secret": c.ClientSecret})
	for _, status := range []int{400, 401, 403, 422} {
		s.adjust(func(b *Behaviour) { b.VerifyRefusedStatus = status })
		s.want(status, http.MethodPost, verify, map[string]string{"client_id": c.ClientID, "client_secret": "wrong"})
		s.want(status, http.MethodPost, verify, map[string]string{"client_id": ownID, "client_secret": c.ClientSecret})
		s.want(status, http.MethodPost, verify, map[string]string{})
	}
	s.want(400, http.MethodPost, verify, `{"client_id":7}`)
	s.want(404, http.MethodPost, credentials+"/two/verify-client-secret", map[string]string{})
}

func TestADeletedCredentialIsGone(t *testing.T) {
	s := newStand(t)
	one, two := s.seeded(billing, SeedCredential{Name: "one"}), s.seeded(billing, SeedCredential{Name: "two"})
	if answer := s.want(200, http.MethodDelete, credentials+"/"+one.ID, nil); answer.text != "" {
		t.Errorf("a body: %q", answer.text)
	}
	s.want(404, http.MethodDelete, credentials+"/"+one.ID, nil)
	s.want(404, http.MethodGet, credentials+"/one", nil)
	if diff := cmp.Diff([]string{"two"}, s.want(200, http.MethodGet, catalogWide, nil).names()); diff != "" {
		t.Error(diff)
	}
	s.want(200, http.MethodDelete, credentials+"/two", nil)
	revoked := s.Ledger().Revoked()
	if len(revoked) != 2 || revoked[1].ID != two.ID || revoked[1].RevokedHow != "credential.delete" {
		t.Fatalf("ledger %+v", revoked)
	}
	if diff := cmp.Diff(&simkit.Actor{Login: "svc-rotator", Agent: "tester/1"}, revoked[1].RevokedBy); diff != "" {
		t.Error(diff)
	}
}

func TestClearingAnAppIsSeenInTheLedger(t *testing.T) {
	s := newStand(t)
	s.seeded(billing, SeedCredential{Name: "one"})
	s.seeded(billing, SeedCredential{Name: "two"})
	s.want(200, http.MethodDelete, credentials+"?confirm=billing", nil)
	revoked := s.Ledger().Revoked()
	if len(revoked) != 2 || revoked[0].RevokedHow != "credential.delete-all" {
		t.Errorf("ledger %+v", revoked)
	}
	s.balanced()
}

func TestOnlyOneOfManySimultaneousCreatesWins(t *testing.T) {
	s := newStand(t)
	const rivals = 40
	type rivalry struct {
		body func(i int) map[string]string
	}
	for name, r := range map[string]rivalry{
		"for one name": {func(i int) map[string]string {
			return map[string]string{"name": "contested", "client_id": fmt.Sprintf("%032d", i)}
		}},
		"for one client id": {func(i int) map[string]string {
			return map[string]string{"name": fmt.Sprintf("rival-%d", i), "client_id": ownID}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(s.Ledger().Live())
			statuses := make([]int, rivals)
			var group sync.WaitGroup
			for i := range rivals {
				group.Go(func() { statuses[i] = s.do(http.MethodPost, credentials, r.body(i)).status })
			}
			group.Wait()
			counts := map[int]int{}
			for _, status := range statuses {
				counts[status]++
			}
			if diff := cmp.Diff(map[int]int{201: 1, 409: rivals - 1}, counts); diff != "" {
				t.Error(diff)
			}
			if after := len(s.Ledger().Live()); after != before+1 {
				t.Errorf("%d credentials more, want 1", after-before)
			}
		})
	}
	s.balanced()
}

func TestManyCallersLeaveTheLedgerBalanced(t *testing.T) {
	s := newStand(t)
	const callers, rounds = 16, 12
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			for n := range rounds {
				name := fmt.Sprintf("c-%d-%d", i, n)
				made := s.do(http.MethodPost, credentials, map[string]string{"name": name})
				id := made.str("id")
				s.do(http.MethodGet, catalogWide, nil)
				s.do(http.MethodPatch, credentials+"/"+id, map[string]string{"name": name + "-x"})
				s.through(made.str("client_id"), made.str("client_secret"))
				if n%2 == 0 {
					s.do(http.MethodDelete, credentials+"/"+id, nil)
				}
			}
		})
	}
	group.Wait()
	stats := s.Stats()
	if stats.Issued != callers*rounds || stats.Revoked != callers*rounds/2 || stats.Live != stats.Issued-stats.Revoked {
		t.Errorf("issued %d, live %d, revoked %d", stats.Issued, stats.Live, stats.Revoked)
	}
	if stats.Gateway.Accepted != callers*rounds || stats.Gateway.Refused != 0 {
		t.Errorf("gateway %d accepted, %d refused", stats.Gateway.Accepted, stats.Gateway.Refused)
	}
	if n := stats.Operations["credential.create"]; n != callers*rounds {
		t.Errorf("%d creates were counted", n)
	}
	s.balanced()
}
