package apiconnectsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEveryPathSegmentIsANameOrAnID(t *testing.T) {
	s := newStand(t)
	c := s.seeded(billing, SeedCredential{Name: "one"})
	ids, err := s.IDs(Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail", App: "billing", Credential: "one"})
	if err != nil {
		t.Fatal(err)
	}
	for mask := range 32 {
		choose := func(bit int, name, id string) string {
			if mask&(1<<bit) != 0 {
				return id
			}
			return name
		}
		o, cat, co := choose(0, "acme", ids.Org), choose(1, "production", ids.Catalog), choose(2, "retail", ids.ConsumerOrg)
		a, one := choose(3, "billing", ids.App), choose(4, "one", ids.Credential)
		for path, want := range map[string]string{
			"/api/orgs/" + o: ids.Org,
			fmt.Sprintf("/api/catalogs/%s/%s", o, cat):                              ids.Catalog,
			fmt.Sprintf("/api/consumer-orgs/%s/%s/%s", o, cat, co):                  ids.ConsumerOrg,
			fmt.Sprintf("/api/apps/%s/%s/%s/%s", o, cat, co, a):                     ids.App,
			fmt.Sprintf("/api/apps/%s/%s/%s/%s/credentials/%s", o, cat, co, a, one): c.ID,
		} {
			if answer := s.want(200, http.MethodGet, path, nil); answer.str("id") != want {
				t.Errorf("%s: id %s, want %s", path, answer.str("id"), want)
			}
		}
	}
}

func TestWhatDoesNotExistIsNotFound(t *testing.T) {
	s := newStand(t)
	s.seeded(billing, SeedCredential{Name: "one"})
	for _, path := range []string{
		"/api/orgs/x", "/api/orgs/x/catalogs", "/api/catalogs/acme/x", "/api/catalogs/x/production/credentials",
		"/api/consumer-orgs/acme/production/x", "/api/consumer-orgs/acme/production/x/apps",
		"/api/apps/acme/production/retail/x", "/api/apps/acme/production/retail/x/credentials",
		"/api/apps/acme/production/x/billing/credentials", credentials + "/x", "/apps/acme", "/api/catalogs/acme/production/nonsense",
	} {
		answer := s.want(404, http.MethodGet, path, nil)
		message, _ := answer.body["message"].([]any)
		if len(message) != 1 || answer.body["status"] != float64(404) {
			t.Errorf("%s: %s", path, answer.text)
		}
	}
}

func TestListsComeInPages(t *testing.T) {
	s := newStand(t)
	var all []string
	for i := range 120 {
		name := fmt.Sprintf("c-%03d", i)
		s.seeded(billing, SeedCredential{Name: name})
		all = append(all, name)
	}
	cases := map[string]struct {
		query string
		want  []string
	}{
		"fifty without a limit":           {"", all[:50]},
		"from an offset":                  {"offset=100", all[100:]},
		"of a size":                       {"limit=7&offset=10", all[10:17]},
		"beyond the end there is nothing": {"offset=120", []string{}},
		"far beyond the end":              {"offset=5000&limit=10", []string{}},
		"a limit of none":                 {"limit=0", []string{}},
		"all at once":                     {"limit=1000", all},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{credentials, catalogWide} {
				answer := s.want(200, http.MethodGet, path+"?"+tc.query, nil)
				if diff := cmp.Diff(tc.want, answer.names()); diff != "" {
					t.Error(diff)
				}
				if answer.body["total_results"] != float64(120) {
					t.Errorf("total_results %v", answer.body["total_results"])
				}
			}
		})
	}
	for _, query := range []string{"limit=-1", "limit=x", "offset=-3", "offset=1e9", "limit=99999999999999999999"} {
		s.want(400, http.MethodGet, credentials+"?"+query, nil)
	}
	s.adjust(func(b *Behaviour) { b.MaxPage = 30 })
	if n := len(s.want(200, http.MethodGet, catalogWide+"?limit=1000", nil).results()); n != 30 {
		t.Errorf("%d entries, want the cap", n)
	}
}

func TestATenThousandCatalogIsReadInPages(t *testing.T) {
	s := newStand(t)
	const size = 10_500
	out, err := s.Seed(Seed{Orgs: []SeedOrg{{Name: "acme", Catalogs: []SeedCatalog{{
		Name: "production", ConsumerOrgs: []SeedConsumerOrg{
			{Name: "retail", Apps: []SeedApp{{Name: "billing", Generate: size - 500}}},
			{Name: "wholesale", Apps: []SeedApp{{Name: "orders", Generate: 500}}},
		},
	}}}}})
	if err != nil {
		t.Fatal(err)
	}
	made := out.Orgs[0].Catalogs[0].ConsumerOrgs[0].Apps[0].Credentials
	if len(made) != size-500 || made[0].ClientSecret == "" {
		t.Fatalf("%d were made", len(made))
	}
	seen := map[string]bool{}
	for offset := 0; ; offset += 1000 {
		page := s.want(200, http.MethodGet, fmt.Sprintf("%s?limit=1000&offset=%d", catalogWide, offset), nil)
		if page.body["total_results"] != float64(size) {
			t.Fatalf("total_results %v", page.body["total_results"])
		}
		if len(page.results()) == 0 {
			break
		}
		for _, c := range page.results() {
			id, _ := c["id"].(string)
			seen[id] = true
		}
	}
	if len(seen) != size {
		t.Errorf("%d different ids, want %d", len(seen), size)
	}
	if !s.Accepts(made[size-501].ClientID, made[size-501].ClientSecret) {
		t.Error("the gateway does not know the last one")
	}
	whole := s.want(200, http.MethodGet, fmt.Sprintf("%s?limit=%d&fields=id", catalogWide, 2*size), nil)
	if len(whole.results()) != size || len(whole.results()[0]) != 1 {
		t.Errorf("%d entries at once, the first is %v", len(whole.results()), whole.results()[0])
	}
	s.balanced()
}

func TestListsThatLie(t *testing.T) {
	s := newStand(t)
	for i := range 5 {
		s.seeded(billing, SeedCredential{Name: fmt.Sprintf("c-%d", i)})
	}
	three := 3
	s.adjust(func(b *Behaviour) { b.ShortLists = &three })
	for _, path := range []string{credentials, catalogWide} {
		if answer := s.want(200, http.MethodGet, path, nil); len(answer.results()) != 3 || answer.body["total_results"] != float64(3) {
			t.Errorf("%s: %s", path, answer.text)
		}
	}
	none := 0
	s.adjust(func(b *Behaviour) { b.ShortLists = &none })
	if answer := s.want(200, http.MethodGet, credentials, nil); answer.text != `{"results":[],"total_results":0}` {
		t.Errorf("an empty lie: %s", answer.text)
	}
	// What was left out is there all the time.
	s.want(200, http.MethodGet, credentials+"/c-4", nil)
	s.adjust(func(b *Behaviour) { b.ShortLists = nil })
	if n := len(s.want(200, http.MethodGet, credentials, nil).results()); n != 5 {
		t.Errorf("%d entries after the lie", n)
	}
}

func TestFieldsAndExpansion(t *testing.T) {
	s := newStand(t)
	keys := func(m map[string]any) []string {
		out := []string{}
		for k := range m {
			out = append(out, k)
		}
		slices.Sort(out)
		return out
	}
	consumerOrgs := "/api/catalogs/acme/production/consumer-orgs"
	cases := map[string]struct {
		path string
		want []string
	}{
		"fields choose": {consumerOrgs + "?fields=name,owner&expand=owner", []string{"name", "owner"}},
		"an owner that was not expanded is missing": {consumerOrgs + "?fields=name,owner", []string{"name"}},
		"a blank makes another name":                {consumerOrgs + "?expand=owner&fields=" + url.QueryEscape("name, owner"), []string{"name"}},
		"add() keeps the rest": {consumerOrgs + "?expand=owner&fields=" + url.QueryEscape("add(owner)"), []string{
			"api_version", "catalog_url", "created_at", "id", "name", "org_url", "owner", "owner_url", "state", "title", "type", "updated_at", "url",
		}},
		"of apps": {"/api/consumer-orgs/acme/production/retail/apps?fields=name,app_credential_urls", []string{"app_credential_urls", "name"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			answer := s.want(200, http.MethodGet, tc.path, nil)
			if diff := cmp.Diff(tc.want, keys(answer.results()[0])); diff != "" {
				t.Error(diff)
			}
		})
	}
	answer := s.want(200, http.MethodGet, "/api/consumer-orgs/acme/production/retail?expand=owner", nil)
	want := map[string]any{"type": "user", "username": "jo", "email": "jo@acme.example", "first_name": "Jo", "last_name": "Doe"}
	if diff := cmp.Diff(want, answer.body["owner"]); diff != "" {
		t.Error(diff)
	}
	c := s.seeded(billing, SeedCredential{Name: "one"})
	one := s.want(200, http.MethodGet, credentials+"/"+c.ID+"?fields=name,title,created_at", nil)
	if diff := cmp.Diff(map[string]any{"name": "one", "title": "one", "created_at": "2026-03-01T12:00:00.000Z"}, one.body); diff != "" {
		t.Error(diff)
	}
}

func TestAnAppListsACredentialTwiceAndUnderAnotherHost(t *testing.T) {
	s := newStand(t)
	s.seeded(billing, SeedCredential{Name: "one"})
	app := s.want(200, http.MethodGet, "/api/apps/acme/production/retail/billing", nil)
	if app.str("type") != "app" || app.str("lifecycle_state") != "production" {
		t.Errorf("%s", app.text)
	}
	urls, _ := app.body["app_credential_urls"].([]any)
	if len(urls) != 2 || urls[0] != urls[1] {
		t.Fatalf("app_credential_urls %v: one credential, listed twice", urls)
	}
	one := s.want(200, http.MethodGet, credentials+"/one", nil)
	listed, err := url.Parse(fmt.Sprint(urls[0]))
	if err != nil {
		t.Fatal(err)
	}
	own, err := url.Parse(one.str("url"))
	if err != nil {
		t.Fatal(err)
	}
	if listed.Path != own.Path || !strings.HasSuffix(own.Path, "/"+one.str("id")) {
		t.Errorf("paths %s and %s, want one", listed.Path, own.Path)
	}
	if listed.Host == own.Host {
		t.Errorf("both under %s", own.Host)
	}
	// A path that was read from a url is followed on the real host.
	s.want(200, http.MethodGet, own.Path, nil)

	s.adjust(func(b *Behaviour) { b.DuplicateURLs, b.HostAliases = false, nil })
	app = s.want(200, http.MethodGet, "/api/apps/acme/production/retail/billing", nil)
	if diff := cmp.Diff([]any{s.URL() + own.Path}, app.body["app_credential_urls"]); diff != "" {
		t.Error(diff)
	}
}

func TestTheCatalogSaysWhetherItHashes(t *testing.T) {
	s := newStand(t)
	settings := "/api/catalogs/acme/production/settings"
	if answer := s.want(200, http.MethodGet, settings, nil); answer.body["hash_client_secret"] != true {
		t.Errorf("%s", answer.text)
	}
	no := false
	if _, err := s.Seed(Seed{Orgs: []SeedOrg{{Name: "acme", Catalogs: []SeedCatalog{{Name: "production", HashClientSecret: &no}}}}}); err != nil {
		t.Fatal(err)
	}
	if answer := s.want(200, http.MethodGet, settings, nil); answer.body["hash_client_secret"] != false {
		t.Errorf("%s", answer.text)
	}
}

func TestAnAppIsMadeWithItsFirstCredential(t *testing.T) {
	s := newStand(t)
	apps := "/api/consumer-orgs/acme/production/retail/apps"
	made := s.want(201, http.MethodPost, apps, map[string]string{"name": "shop", "title": "Shop", "summary": "sells"})
	id, secret := made.str("client_id"), made.str("client_secret")
	if made.str("name") != "shop" || made.str("summary") != "sells" || len(id) != 32 || secret == "" {
		t.Fatalf("%s", made.text)
	}
	first := s.want(200, http.MethodGet, "/api/apps/acme/production/retail/shop/credentials/credential-for-shop", nil)
	if first.str("client_id") != id {
		t.Errorf("%s", first.text)
	}
	if status := s.through(id, secret); status != 403 {
		t.Errorf("an app without a subscription: %d at the gateway", status)
	}
	s.want(409, http.MethodPost, apps, map[string]string{"name": "shop", "title": "Shop"})
	s.want(409, http.MethodPost, apps, map[string]string{"name": "shop2", "title": "Shop", "client_id": id})
	if again := s.want(201, http.MethodPost, apps, map[string]string{"title": "Shop"}); again.str("name") != "shop-0" {
		t.Errorf("derived name %s", again.str("name"))
	}
	s.balanced()
}

func TestTheDoorAsksForJSON(t *testing.T) {
	s := newStand(t)
	bearer := "Bearer " + s.token
	cases := map[string]struct {
		body   any
		header map[string]string
		want   int
	}{
		"no Accept":          {nil, map[string]string{"Authorization": bearer}, 406},
		"Accept of pages":    {nil, map[string]string{"Authorization": bearer, "Accept": "text/html"}, 406},
		"any Accept will do": {"{}", map[string]string{"Authorization": bearer, "Accept": "*/*", "Content-Type": "application/json; charset=utf-8"}, 400},
		"no Content-Type":    {"{}", map[string]string{"Authorization": bearer, "Accept": "application/json"}, 415},
		"not JSON":           {"name=x", map[string]string{"Authorization": bearer, "Accept": "application/json", "Content-Type": "application/json"}, 400},
		"not an object":      {"[1]", map[string]string{"Authorization": bearer, "Accept": "application/json", "Content-Type": "application/json"}, 400},
		"too large":          {`{"name":"` + strings.Repeat("x", largestBody) + `"}`, map[string]string{"Authorization": bearer, "Accept": "application/json", "Content-Type": "application/json"}, 413},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			answer, err := s.try(t.Context(), http.MethodPost, s.URL()+credentials, tc.body, tc.header)
			if err != nil {
				t.Fatal(err)
			}
			if answer.status != tc.want || answer.header.Get("X-Request-Id") == "" || !json.Valid([]byte(answer.text)) {
				t.Errorf("got %d %v %s, want %d", answer.status, answer.header, answer.text, tc.want)
			}
		})
	}
	if n := len(s.Ledger().Issued()); n != 0 {
		t.Errorf("%d credentials were made", n)
	}
}

func TestMessagesAreListsOrText(t *testing.T) {
	s := newStand(t)
	if _, ok := s.want(404, http.MethodGet, credentials+"/x", nil).body["message"].([]any); !ok {
		t.Error("the message is no list")
	}
	s.adjust(func(b *Behaviour) { b.MessageAsString = true })
	if _, ok := s.want(404, http.MethodGet, credentials+"/x", nil).body["message"].(string); !ok {
		t.Error("the message is no text")
	}
	if _, ok := s.want(400, http.MethodPost, credentials, "{}").body["errors"].([]any); !ok {
		t.Error("there are no errors beside the message")
	}
}
