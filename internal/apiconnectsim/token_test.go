package apiconnectsim

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/simkit"
)

func TestWhoGetsAToken(t *testing.T) {
	password := map[string]string{"grant_type": "password", "username": "svc-rotator", "password": "rotator-password", "realm": realm}
	with := func(changes map[string]string) map[string]string {
		out := map[string]string{}
		for _, m := range []map[string]string{password, changes} {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	cases := map[string]struct {
		grant map[string]string
		want  int
	}{
		"a right password":                           {password, 200},
		"a wrong password":                           {with(map[string]string{"password": "wrong"}), 401},
		"an unknown user":                            {with(map[string]string{"username": "nobody"}), 401},
		"another realm":                              {with(map[string]string{"realm": "provider/other"}), 401},
		"no realm":                                   {with(map[string]string{"realm": ""}), 401},
		"an unknown registration":                    {with(map[string]string{"client_id": "other"}), 401},
		"a wrong secret of the registration":         {with(map[string]string{"client_secret": "wrong"}), 401},
		"a member of an OIDC registry by password":   {with(map[string]string{"username": "oidc", "password": "p"}), 401},
		"an API key without a realm":                 {map[string]string{"grant_type": "api_key", "api_key": "many"}, 200},
		"an API key with its realm":                  {map[string]string{"grant_type": "api_key", "api_key": "many", "realm": realm}, 200},
		"an API key with another realm":              {map[string]string{"grant_type": "api_key", "api_key": "many", "realm": "provider/other"}, 401},
		"an unknown API key":                         {map[string]string{"grant_type": "api_key", "api_key": "none"}, 401},
		"an API key of a member of an OIDC registry": {map[string]string{"grant_type": "api_key", "api_key": "oidc"}, 200},
		"an unknown refresh token":                   {map[string]string{"grant_type": "refresh_token", "refresh_token": "none", "realm": realm}, 401},
		"a grant that it does not know":              {with(map[string]string{"grant_type": "client_credentials"}), 400},
	}
	s := newStand(t)
	if _, err := s.Seed(Seed{
		Logins: []Login{{Username: "oidc", Password: "p", Realm: realm, KeysOnly: true}},
		APIKeys: []APIKey{
			{Key: "many", Username: "svc-rotator", Realm: realm, MultipleUses: true},
			{Key: "oidc", Username: "oidc", Realm: realm},
		},
	}); err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			answer := s.ask(tc.grant)
			if answer.status != tc.want {
				t.Fatalf("got %d %s, want %d", answer.status, answer.text, tc.want)
			}
			if tc.want != 200 {
				if _, ok := answer.body["message"].([]any); !ok || answer.body["status"] != float64(tc.want) {
					t.Errorf("error body %s", answer.text)
				}
				return
			}
			delete(answer.body, "access_token")
			want := map[string]any{"token_type": "Bearer", "expires_in": float64(8 * 60 * 60)}
			if diff := cmp.Diff(want, answer.body); diff != "" {
				t.Error(diff)
			}
		})
	}
	stats := s.Stats()
	if stats.LoginsGranted != 5 || stats.LoginsRefused != 11 {
		t.Errorf("%d granted and %d refused, want 5 (one by the stand) and 11", stats.LoginsGranted, stats.LoginsRefused)
	}
}

func TestATokenEndsWhenItSaysSo(t *testing.T) {
	s := newStand(t, behave(func(b *Behaviour) { b.TokenLife = simkit.Duration(10 * time.Minute) }))
	s.clock.Advance(10*time.Minute - time.Second)
	s.want(200, http.MethodGet, "/api/orgs", nil)
	s.clock.Advance(time.Second)
	if answer := s.want(401, http.MethodGet, "/api/orgs", nil); answer.body["status"] != float64(401) {
		t.Errorf("error body %s", answer.text)
	}
	s.token = s.login("svc-rotator", "rotator-password")
	s.want(200, http.MethodGet, "/api/orgs", nil)
	s.ExpireTokens(false)
	s.want(401, http.MethodGet, "/api/orgs", nil)
}

func TestWithoutATokenNothingIsToldOrDone(t *testing.T) {
	s := newStand(t)
	for name, header := range map[string]string{
		"no header": "", "another scheme": "Basic " + s.token, "a token that is none": "Bearer x", "no scheme": s.token,
	} {
		answer, err := s.try(t.Context(), http.MethodGet, s.URL()+"/api/orgs", nil, map[string]string{
			"Authorization": header, "Accept": "application/json",
		})
		if err != nil || answer.status != 401 {
			t.Errorf("%s: %d, %v", name, answer.status, err)
		}
	}
	answer := s.as("x", http.MethodPost, credentials, map[string]string{"name": "a", "title": "a"})
	if answer.status != 401 || len(s.Ledger().Issued()) != 0 {
		t.Errorf("%d, ledger %v", answer.status, s.Ledger().Issued())
	}
}

func TestRefreshTokens(t *testing.T) {
	s := newStand(t, behave(func(b *Behaviour) {
		b.RefreshTokens, b.RefreshLife = true, simkit.Duration(24*time.Hour)
		b.TokenStatus = 201
	}))
	first := s.ask(map[string]string{"grant_type": "password", "username": "svc-rotator", "password": "rotator-password", "realm": realm})
	if first.status != 201 || first.body["refresh_expires_in"] != float64(24*60*60) {
		t.Fatalf("%d %s", first.status, first.text)
	}
	refresh := map[string]string{"grant_type": "refresh_token", "refresh_token": first.str("refresh_token"), "realm": realm}
	s.clock.Advance(9 * time.Hour)
	second := s.ask(refresh)
	if second.status != 201 {
		t.Fatalf("%d %s", second.status, second.text)
	}
	if answer := s.as(second.str("access_token"), http.MethodGet, "/api/orgs", nil); answer.status != 200 {
		t.Errorf("the refreshed token: %d", answer.status)
	}
	s.clock.Advance(15 * time.Hour)
	if answer := s.ask(refresh); answer.status != 401 {
		t.Errorf("after its life: %d", answer.status)
	}
}

func TestAPIKeysAreForOneUseAndFiveMinutes(t *testing.T) {
	use := func(s *stand, key string) int {
		return s.ask(map[string]string{"grant_type": "api_key", "api_key": key}).status
	}
	make := func(s *stand, key APIKey) string {
		key.Username, key.Realm = "svc-rotator", realm
		made, err := s.AddAPIKey(key)
		if err != nil {
			s.t.Fatal(err)
		}
		return made
	}
	s := newStand(t)
	once := make(s, APIKey{})
	if first, second := use(s, once), use(s, once); first != 200 || second != 401 {
		t.Errorf("single use: %d, then %d", first, second)
	}
	late := make(s, APIKey{})
	many := make(s, APIKey{MultipleUses: true})
	short := make(s, APIKey{MultipleUses: true, Life: simkit.Duration(time.Minute)})
	if first, second := use(s, short), use(s, short); first != 200 || second != 200 {
		t.Errorf("multiple uses: %d, then %d", first, second)
	}
	s.clock.Advance(5 * time.Minute)
	if status := use(s, late); status != 401 {
		t.Errorf("after five minutes: %d", status)
	}
	if status := use(s, short); status != 401 {
		t.Errorf("after its own life: %d", status)
	}
	if status := use(s, many); status != 200 {
		t.Errorf("multiple uses without an end: %d", status)
	}
	if _, err := s.AddAPIKey(APIKey{Username: "ghost", Realm: realm}); err == nil {
		t.Error("a key for nobody was made")
	}
}

func TestASingleUseKeyIsUsedUpEvenIfTheAnswerIsLost(t *testing.T) {
	s := newStand(t)
	key, err := s.AddAPIKey(APIKey{Username: "svc-rotator", Realm: realm})
	if err != nil {
		t.Fatal(err)
	}
	s.fault(simkit.Fault{Operation: "token.api_key", Point: simkit.AfterCommit, Action: simkit.HTML})
	grant := map[string]string{"grant_type": "api_key", "api_key": key}
	if first, second := s.ask(grant).status, s.ask(grant).status; first != 502 || second != 401 {
		t.Errorf("%d, then %d", first, second)
	}
}

func TestRightsAreAskedForAtEveryCall(t *testing.T) {
	s := newStand(t)
	c := s.seeded(billing, SeedCredential{Name: "one"})
	one := credentials + "/" + c.ID
	material := map[string]string{"client_id": c.ClientID, "client_secret": c.ClientSecret}
	cases := map[string]struct {
		method, path           string
		body                   any
		rotator, viewer, noone int
	}{
		"list consumer orgs":         {http.MethodGet, "/api/catalogs/acme/production/consumer-orgs", nil, 200, 200, 403},
		"list apps":                  {http.MethodGet, "/api/catalogs/acme/production/apps", nil, 200, 200, 403},
		"read an app":                {http.MethodGet, "/api/apps/acme/production/retail/billing", nil, 200, 200, 403},
		"list a catalog's":           {http.MethodGet, catalogWide, nil, 200, 200, 403},
		"list an app's":              {http.MethodGet, credentials, nil, 200, 200, 403},
		"read a credential":          {http.MethodGet, one, nil, 200, 200, 403},
		"verify a secret":            {http.MethodPost, one + "/verify-client-secret", material, 200, 200, 403},
		"rename a credential":        {http.MethodPatch, one, map[string]string{"name": "one"}, 200, 403, 403},
		"create a credential":        {http.MethodPost, credentials, map[string]string{"title": "two"}, 201, 403, 403},
		"reset a secret":             {http.MethodPost, one + "/reset-client-secret", nil, 200, 403, 403},
		"delete a credential":        {http.MethodDelete, one, nil, 200, 403, 403},
		"create an app":              {http.MethodPost, "/api/consumer-orgs/acme/production/retail/apps", map[string]string{"title": "x"}, 201, 403, 403},
		"read the catalog":           {http.MethodGet, "/api/catalogs/acme/production", nil, 200, 200, 200},
		"read the catalog's setting": {http.MethodGet, "/api/catalogs/acme/production/settings", nil, 200, 200, 200},
	}
	viewer, noone := s.login("svc-viewer", "viewer-password"), s.login("svc-nobody", "nobody-password")
	for name, tc := range cases {
		// Who may do least goes first: its refusal must leave the object in place.
		for _, who := range []struct {
			token string
			want  int
		}{{noone, tc.noone}, {viewer, tc.viewer}} {
			if answer := s.as(who.token, tc.method, tc.path, tc.body); answer.status != who.want {
				t.Errorf("%s: got %d %s, want %d", name, answer.status, answer.text, who.want)
			}
		}
	}
	if n := len(s.Ledger().Entries(0)); n != 1 {
		t.Errorf("%d entries in the ledger: somebody without the right changed something", n)
	}
	for _, name := range []string{"verify a secret", "rename a credential", "create a credential", "reset a secret", "create an app", "delete a credential"} {
		tc := cases[name]
		s.want(tc.rotator, tc.method, tc.path, tc.body)
	}
	s.balanced()

	// A right that is taken away is felt by a session that is open.
	if _, err := s.Seed(Seed{Logins: []Login{{Username: "svc-rotator", Password: "rotator-password", Realm: realm, Rights: []Right{ViewApps}}}}); err != nil {
		t.Fatal(err)
	}
	s.want(403, http.MethodPost, credentials, map[string]string{"title": "three"})
	s.adjust(func(b *Behaviour) { b.ForbiddenListsAreEmpty = true })
	if answer := s.want(200, http.MethodGet, "/api/catalogs/acme/production/consumer-orgs", nil); answer.body["total_results"] != float64(0) {
		t.Errorf("a forbidden list: %s", answer.text)
	}
}

func TestALoginDoesNotSeeWhatIsNotItsOwn(t *testing.T) {
	s := newStand(t)
	wholesale := Path{Org: "acme", Catalog: "production", ConsumerOrg: "wholesale", App: "orders"}
	foreign := Path{Org: "globex", Catalog: "production", ConsumerOrg: "retail", App: "billing"}
	for _, path := range []Path{wholesale, foreign} {
		if _, err := s.Add(path); err != nil {
			t.Fatal(err)
		}
	}
	s.seeded(billing, SeedCredential{Name: "seen"})
	s.seeded(wholesale, SeedCredential{Name: "hidden"})
	if _, err := s.Seed(Seed{Logins: []Login{{
		Username: "partial", Password: "p", Realm: realm, Orgs: []string{"acme"}, ConsumerOrgs: []string{"retail"},
	}}}); err != nil {
		t.Fatal(err)
	}
	token := s.login("partial", "p")
	for path, want := range map[string][]string{
		"/api/orgs": {"acme"},
		"/api/catalogs/acme/production/consumer-orgs": {"retail"},
		"/api/catalogs/acme/production/apps":          {"billing"},
		catalogWide:                                   {"seen"},
	} {
		answer := s.as(token, http.MethodGet, path, nil)
		if diff := cmp.Diff(want, answer.names()); diff != "" || answer.status != 200 || answer.body["total_results"] != float64(len(want)) {
			t.Errorf("%s: %d %v %s", path, answer.status, answer.body["total_results"], diff)
		}
	}
	for path, want := range map[string]int{
		"/api/orgs/globex": 404,
		"/api/catalogs/globex/production/credentials":                   404,
		"/api/apps/acme/production/wholesale/orders/credentials":        404,
		"/api/apps/acme/production/wholesale/orders/credentials/hidden": 404,
	} {
		if answer := s.as(token, http.MethodGet, path, nil); answer.status != want {
			t.Errorf("%s: %d, want %d", path, answer.status, want)
		}
	}
	s.adjust(func(b *Behaviour) { b.HiddenStatus = 403 })
	if answer := s.as(token, http.MethodGet, "/api/orgs/globex", nil); answer.status != 403 {
		t.Errorf("the other variant: %d", answer.status)
	}
	if n := len(s.want(200, http.MethodGet, catalogWide, nil).results()); n != 2 {
		t.Errorf("the rotator sees %d, want 2", n)
	}
}

func TestTheRealmsAreToldToEverybody(t *testing.T) {
	s := newStand(t)
	answer, err := s.try(t.Context(), http.MethodGet, s.URL()+"/api/cloud/provider/identity-providers", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if results := answer.results(); len(results) != 1 || results[0]["realm"] != realm {
		t.Errorf("%s", answer.text)
	}
}
