package apiconnect_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/apiconnect"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// script is a platform that answers what a test tells it to: what the simulator, which
// is faithful, would never say.
type script struct {
	t      *testing.T
	server *httptest.Server
	mu     sync.Mutex
	// answers by "METHOD path"; the last one of a list is repeated.
	answers map[string][]answer
	seen    []string
}

type answer struct {
	status int
	body   string
	header http.Header
}

func ok(body string) answer { return answer{status: 200, body: body} }

const (
	appPath   = "/api/apps/o1/c1/co1/a1"
	listPath  = appPath + "/credentials"
	markText  = "0123456789abcdef0123456789abcdef"
	nameText  = "cl-abcdefghijklm-abcdefgh"
	workload  = "canary-secret-of-a-workload"
	byName    = "GET " + listPath + "/" + nameText
	emptyList = `{"total_results":0,"results":[]}`
)

func play(t *testing.T, answers map[string][]answer) *script {
	t.Helper()
	s := &script{t: t, answers: map[string][]answer{
		"POST /api/token":                 {ok(`{"access_token":"canary-token","expires_in":3600}`)},
		"GET /api/orgs/acme":              {ok(`{"id":"o1","name":"acme"}`)},
		"GET /api/catalogs/o1/production": {ok(`{"id":"c1","name":"production"}`)},
	}}
	for key, list := range answers {
		s.answers[key] = list
	}
	s.server = httptest.NewUnstartedServer(s)
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that refuse its certificate are part of the play
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	return s
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := r.Method + " " + r.URL.EscapedPath()
	s.seen = append(s.seen, key)
	list := s.answers[key]
	if len(list) == 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if len(list) > 1 {
		s.answers[key] = list[1:]
	}
	for name, values := range list[0].header {
		w.Header()[name] = values
	}
	w.WriteHeader(list[0].status)
	_, _ = w.Write([]byte(list[0].body))
}

func (s *script) open() upstream.Upstream {
	s.t.Helper()
	return open(s.t, s.settings())
}

func (s *script) settings() upstream.Settings {
	return upstream.Settings{
		Parameters: json.RawMessage(`{"url":"` + s.server.URL + `","providerOrg":"acme","catalog":"production","login":{"realm":"r"}}`),
		Login: map[string]material.Secret{
			"username": material.New("u"), "password": material.New("canary-password"), "client_id": material.New("t"), "client_secret": material.New("canary-toolkit"),
		},
		Transport: upstream.TransportOptions{
			CABundle:      pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw}),
			AllowLoopback: true, PerSecond: 1e6, Burst: 1e6, MaxAnswer: 1 << 20,
		},
	}
}

func (s *script) request() upstream.Request {
	host := strings.TrimPrefix(s.server.URL, "https://")
	return upstream.Request{
		Parameters: json.RawMessage(plain), Container: host + "/orgs/o1/catalogs/c1/consumer-orgs/co1/apps/a1", Name: nameText, Mark: markText,
		Material: material.Material{ClientID: markText, ClientSecret: material.New(workload)},
	}
}

// deleted reports whether any DELETE was sent.
func (s *script) deleted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, key := range s.seen {
		if strings.HasPrefix(key, "DELETE ") {
			out = append(out, key)
		}
	}
	return out
}

func entry(id, name, clientID string) string {
	return fmt.Sprintf(`{"id":%q,"name":%q,"client_id":%q,"app_url":"https://other.example%s"}`, id, name, clientID, appPath)
}

func listOf(total int, entries ...string) string {
	return fmt.Sprintf(`{"total_results":%d,"results":[%s]}`, total, strings.Join(entries, ","))
}

func TestOddAnswersToACreate(t *testing.T) {
	ours, theirs := entry("id1", nameText, markText), entry("id1", nameText, "ffffffffffffffffffffffffffffffff")
	create := "POST " + listPath
	verifyPath := "POST " + listPath + "/id1/verify-client-secret"
	hashed := strings.Replace(ours, `{`, `{"client_secret_hashed":"b3RoZXI=",`, 1)
	taken := answer{status: 409, body: `{"message":["taken"]}`}
	for name, tc := range map[string]struct {
		answers map[string][]answer
		want    upstream.ErrorClass // empty: success
		says    string
	}{
		"the object comes back":                    {map[string][]answer{create: {{status: 201, body: ours}}}, "", ""},
		"a page with 200":                          {map[string][]answer{create: {ok("<html>log in</html>")}}, upstream.OutcomeUnknown, "no JSON"},
		"nothing with 201":                         {map[string][]answer{create: {{status: 201}}}, upstream.OutcomeUnknown, "no JSON"},
		"another document with 200":                {map[string][]answer{create: {ok(`{"status":"up"}`)}}, upstream.OutcomeUnknown, ""},
		"a client id of the platform's own":        {map[string][]answer{create: {{status: 201, body: theirs}}}, upstream.InvalidSpec, "id1"},
		"a hash of another kind, and it is right":  {map[string][]answer{create: {{status: 201, body: hashed}}, verifyPath: {ok(`{}`)}}, "", ""},
		"a hash of another kind, and it is wrong":  {map[string][]answer{create: {{status: 201, body: hashed}}, verifyPath: {{status: 400, body: `{}`}}}, upstream.Conflict, "another secret"},
		"a hash of another kind, and nobody knows": {map[string][]answer{create: {{status: 201, body: hashed}}, verifyPath: {{status: 502}}}, upstream.OutcomeUnknown, ""},
		"an id that is a path":                     {map[string][]answer{create: {{status: 201, body: strings.Replace(ours, "id1", "a/b", 1)}}}, upstream.OutcomeUnknown, "id"},
		"a redirect, and it is there":              {map[string][]answer{create: {{status: 302, header: http.Header{"Location": {"https://elsewhere.example/"}}}}, byName: {ok(ours)}}, "", ""},
		"a redirect, and it is not there": {map[string][]answer{
			create: {{status: 302}}, "GET " + listPath: {ok(emptyList)}, "GET " + appPath: {ok(`{"id":"a1"}`)},
		}, upstream.OutcomeUnknown, "redirect"},
		"a conflict, and it is there":               {map[string][]answer{create: {taken}, byName: {ok(ours)}}, "", ""},
		"a 400 that says it exists, and it does":    {map[string][]answer{create: {{status: 400, body: `{"message":"x already exists"}`}}, byName: {ok(ours)}}, "", ""},
		"a 400 that says something else":            {map[string][]answer{create: {{status: 400, body: `{"message":"bad title"}`}}, byName: {ok(ours)}}, upstream.InvalidSpec, "bad title"},
		"a conflict, and the look-up fails":         {map[string][]answer{create: {taken}, byName: {{status: 500}}}, upstream.OutcomeUnknown, ""},
		"a conflict, and the look-up is forbidden":  {map[string][]answer{create: {taken}, byName: {{status: 403}}}, upstream.Forbidden, ""},
		"a conflict over the name":                  {map[string][]answer{create: {taken}, byName: {ok(theirs)}, "GET " + listPath: {ok(listOf(1, theirs))}, "GET " + appPath: {ok(`{"id":"a1"}`)}}, upstream.Conflict, "name"},
		"a conflict over nothing that can be found": {map[string][]answer{create: {taken}, "GET " + listPath: {ok(emptyList)}, "GET " + appPath: {ok(`{"id":"a1"}`)}, "GET /api/catalogs/o1/c1/credentials": {ok(emptyList)}}, upstream.Retryable, ""},
		"a 404 of an app that exists":               {map[string][]answer{"GET " + appPath: {ok(`{"id":"a1"}`)}}, upstream.Retryable, "exists"},
		"a 404, and nothing else can be read":       {nil, upstream.Forbidden, "could not be proven"},
	} {
		t.Run(name, func(t *testing.T) {
			s := play(t, tc.answers)
			r := s.request()
			issued, err := s.open().Issue(t.Context(), r)
			if tc.want == "" {
				if err != nil || !issued.Material.Equal(r.Material) {
					t.Errorf("got %v", err)
				}
			} else {
				wants(t, err, tc.want, tc.says)
			}
			if deleted := s.deleted(); len(deleted) > 0 {
				t.Errorf("sent %v", deleted)
			}
		})
	}
}

func TestOddAnswersToADeletion(t *testing.T) {
	ours := entry("id1", nameText, markText)
	remove := "DELETE " + listPath + "/id1"
	gone := func(but map[string][]answer) map[string][]answer {
		out := map[string][]answer{
			"GET /api/catalogs/o1/c1": {ok(`{"id":"c1"}`)}, "GET /api/consumer-orgs/o1/c1/co1": {ok(`{"id":"co1"}`)},
			"GET /api/consumer-orgs/o1/c1/co1/apps": {ok(listOf(1, `{"id":"a2"}`))},
		}
		maps.Copy(out, but)
		return out
	}
	there := func(answers ...answer) map[string][]answer {
		return map[string][]answer{byName: {ok(ours)}, remove: answers}
	}
	for name, tc := range map[string]struct {
		answers map[string][]answer
		want    upstream.ErrorClass // empty: success
	}{
		"200 with the object":     {there(ok(ours)), ""},
		"200 with nothing":        {there(answer{status: 200}), ""},
		"202":                     {there(answer{status: 202}), ""},
		"204":                     {there(answer{status: 204}), ""},
		"200 with a page":         {there(ok("<html>log in</html>")), upstream.OutcomeUnknown},
		"201":                     {there(answer{status: 201}), upstream.OutcomeUnknown},
		"a redirect":              {there(answer{status: 303}), upstream.OutcomeUnknown},
		"500":                     {there(answer{status: 500}), upstream.OutcomeUnknown},
		"501":                     {there(answer{status: 501}), upstream.Retryable},
		"409":                     {there(answer{status: 409}), upstream.Conflict},
		"404 while it is there":   {there(answer{status: 404}), upstream.Forbidden},
		"404 and it is gone":      {map[string][]answer{byName: {ok(ours), {status: 404}}, "GET " + listPath: {ok(emptyList)}, "GET " + appPath: {ok(`{"id":"a1"}`)}}, ""},
		"404 and nothing is sure": {map[string][]answer{byName: {ok(ours), {status: 404}}}, upstream.Forbidden},
		"an object without an id": {map[string][]answer{byName: {ok(entry("", nameText, markText))}}, upstream.Retryable},
		"an id that is a path":    {map[string][]answer{byName: {ok(entry("..", nameText, markText))}}, upstream.Retryable},
		"an app that lists more":  {map[string][]answer{"GET " + listPath: {ok(emptyList)}, "GET " + appPath: {ok(`{"id":"a1","app_credential_urls":["https://x.example` + listPath + `/id1"]}`)}}, upstream.Retryable},
		"an app that is odd":      {map[string][]answer{"GET " + listPath: {ok(emptyList)}, "GET " + appPath: {ok(`{"id":"a1","app_credential_urls":"none"}`)}}, upstream.Retryable},
		"a list without a total":  {map[string][]answer{"GET " + listPath: {ok(`{"results":[]}`)}, "GET " + appPath: {ok(`{"id":"a1"}`)}}, upstream.Retryable},
		"an empty document":       {map[string][]answer{"GET " + listPath: {ok(`{}`)}, "GET " + appPath: {ok(`{"id":"a1"}`)}}, upstream.Retryable},
		"an empty answer":         {map[string][]answer{"GET " + listPath: {ok(``)}, "GET " + appPath: {ok(`{"id":"a1"}`)}}, upstream.Retryable},
		"an app that is gone from its organisation":            {gone(nil), upstream.NotFound},
		"an app that is gone, and a catalog that is not there": {gone(map[string][]answer{"GET /api/catalogs/o1/c1": {{status: 404}}}), upstream.Forbidden},
		"an app that is gone, and a catalog that is forbidden": {gone(map[string][]answer{"GET /api/catalogs/o1/c1": {{status: 403}}}), upstream.Forbidden},
		"an app that is gone, and no organisation":             {gone(map[string][]answer{"GET /api/consumer-orgs/o1/c1/co1": {{status: 404}}}), upstream.Forbidden},
		"an app that is gone, and an unreadable list of apps":  {gone(map[string][]answer{"GET /api/consumer-orgs/o1/c1/co1/apps": {{status: 500}}}), upstream.Retryable},
		"an app that cannot be read and is in the list":        {gone(map[string][]answer{"GET /api/consumer-orgs/o1/c1/co1/apps": {ok(listOf(1, `{"id":"a1"}`))}}), upstream.Forbidden},
		"an app that is gone between the list and the reading": {gone(map[string][]answer{"GET " + listPath: {ok(emptyList)}}), upstream.NotFound},
		"an app that is not there":                             {map[string][]answer{"GET " + listPath: {ok(emptyList)}}, upstream.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			s := play(t, tc.answers)
			r := s.request()
			err := s.open().Revoke(t.Context(), handle(r))
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || upstream.ClassOf(err) != tc.want) {
				t.Errorf("got %v, want class %q", err, tc.want)
			}
			for _, key := range s.deleted() {
				if key != remove {
					t.Errorf("sent %s", key)
				}
			}
		})
	}
}

func TestAListThatChangesIsReadAgainAndOneThatDoesNotFitIsRefused(t *testing.T) {
	path := "GET /api/catalogs/o1/c1/credentials"
	numbered := func(from, to int) string {
		var out []string
		for i := from; i < to; i++ {
			out = append(out, entry("id"+strconv.Itoa(i), nameText, fmt.Sprintf("%032x", i)))
		}
		return strings.Join(out, ",")
	}
	for name, tc := range map[string]struct {
		answers []answer
		total   int // -1: an error
	}{
		"one page":                      {[]answer{ok(listOf(2, numbered(0, 2)))}, 2},
		"pages that overlap by one":     {[]answer{ok(listOf(3, numbered(0, 2))), ok(listOf(3, numbered(1, 3)))}, 3},
		"a platform that ignores limit": {[]answer{ok(listOf(150, numbered(0, 150)))}, 150},
		"an entry twice":                {[]answer{ok(listOf(3, numbered(0, 2), numbered(0, 1)))}, 2},
		"a total that changes once": {[]answer{
			ok(listOf(3, numbered(0, 2))), ok(listOf(4, numbered(1, 4))), ok(listOf(4, numbered(0, 4))),
		}, 4},
		"a total that grows behind us": {[]answer{
			ok(listOf(3, numbered(0, 2))), ok(listOf(4, numbered(1, 3))), ok(listOf(4, numbered(0, 4))),
		}, 4},
		"entries that move once": {[]answer{
			ok(listOf(4, numbered(0, 2))), ok(listOf(4, numbered(2, 5))), ok(listOf(4, numbered(0, 4))),
		}, 4},
		"entries that always move":     {[]answer{ok(listOf(4, numbered(0, 2))), ok(listOf(4, numbered(2, 5))), ok(listOf(4, numbered(0, 2))), ok(listOf(4, numbered(2, 5))), ok(listOf(4, numbered(0, 2))), ok(listOf(4, numbered(2, 5)))}, -1},
		"fewer entries than the total": {[]answer{ok(listOf(3, numbered(0, 2))), ok(listOf(3, numbered(1, 2)))}, -1},
		"the same page for ever":       {[]answer{ok(listOf(900000, numbered(0, 1), numbered(0, 1)))}, -1},
		"no entries and a total":       {[]answer{ok(listOf(3))}, -1},
		"more entries than the total":  {[]answer{ok(listOf(1, numbered(0, 2)))}, -1},
		"a negative total":             {[]answer{ok(listOf(-1))}, -1},
		"an endless total":             {[]answer{ok(listOf(2000000000, numbered(0, 2)))}, -1},
		"an entry without an id":       {[]answer{ok(listOf(1, entry("", nameText, markText)))}, -1},
		"an entry of an unknown app":   {[]answer{ok(listOf(1, strings.Replace(entry("id1", nameText, markText), "/api/apps/", "/x/", 1)))}, -1},
		"an app of another catalog":    {[]answer{ok(listOf(1, strings.Replace(entry("id1", nameText, markText), "/c1/", "/c2/", 1)))}, -1},
		"an answer that is too long":   {[]answer{ok(listOf(1, entry("id1", nameText, strings.Repeat("f", 2<<20))))}, -1},
		"a failing second page":        {[]answer{ok(listOf(3, numbered(0, 2))), {status: 500}}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			listing, err := play(t, map[string][]answer{path: tc.answers}).open().List(t.Context(), upstream.Owner{})
			if tc.total < 0 {
				if err == nil || upstream.ClassOf(err) == upstream.NotFound {
					t.Errorf("got %+v, %v", listing, err)
				}
				return
			}
			if err != nil || listing.Total != tc.total || len(listing.Found) != tc.total {
				t.Errorf("%d found of %d, %v; want %d", len(listing.Found), listing.Total, err, tc.total)
			}
		})
	}
}

func TestAFoundObjectSaysAllThatIsKnown(t *testing.T) {
	body := `{"id":"id1","name":"` + nameText + `","client_id":"` + markText + `","client_secret_hashed":"aGFzaA==","created_at":"2026-01-18T07:42:43.000Z","app_url":"https://cm.example` + appPath + `/"}`
	s := play(t, map[string][]answer{"GET /api/catalogs/o1/c1/credentials": {ok(listOf(1, body))}})
	listing, err := s.open().List(t.Context(), upstream.Owner{})
	if err != nil {
		t.Fatal(err)
	}
	want := upstream.Listing{Total: 1, Found: []upstream.Found{{
		ID: "id1", Name: nameText, Mark: markText, Container: s.request().Container, SecretHash: "aGFzaA==", CreatedAt: time.Date(2026, 1, 18, 7, 42, 43, 0, time.UTC),
	}}}
	if diff := cmp.Diff(want, listing); diff != "" {
		t.Error(diff)
	}
}

func TestOddAnswersToAVerification(t *testing.T) {
	ours := entry("id1", nameText, markText)
	check := "POST " + listPath + "/id1/verify-client-secret"
	get := "GET " + listPath + "/id1"
	for name, tc := range map[string]struct {
		answers  map[string][]answer
		accepted bool
		want     upstream.ErrorClass // empty: a verdict
	}{
		"200 with nothing":                    {map[string][]answer{check: {{status: 200}}}, true, ""},
		"204":                                 {map[string][]answer{check: {{status: 204}}}, true, ""},
		"200 with a page":                     {map[string][]answer{check: {ok("<html>")}}, false, upstream.Retryable},
		"400":                                 {map[string][]answer{check: {{status: 400, body: `{"message":"wrong"}`}}}, false, ""},
		"422":                                 {map[string][]answer{check: {{status: 422}}}, false, ""},
		"400 with a page of a proxy":          {map[string][]answer{check: {{status: 400, body: "<html>"}}}, false, upstream.Retryable},
		"401 while the login works":           {map[string][]answer{check: {{status: 401, body: `{}`}}, get: {ok(ours)}}, false, ""},
		"401 and the login does not work":     {map[string][]answer{check: {{status: 401}}, get: {{status: 401}}}, false, upstream.LoginFailed},
		"401 and the credential is not there": {map[string][]answer{check: {{status: 401}}}, false, upstream.LoginFailed},
		"401 and another object is there":     {map[string][]answer{check: {{status: 401}}, get: {ok(entry("id2", nameText, markText))}}, false, upstream.LoginFailed},
		"401 and nothing is sure":             {map[string][]answer{check: {{status: 401}}, get: {{status: 500}}}, false, upstream.Retryable},
		"403":                                 {map[string][]answer{check: {{status: 403}}}, false, upstream.Forbidden},
		"404":                                 {map[string][]answer{check: {{status: 404}}}, false, upstream.Forbidden},
		"a redirect":                          {map[string][]answer{check: {{status: 302}}}, false, upstream.Retryable},
		"405":                                 {map[string][]answer{check: {{status: 405}}}, false, upstream.InvalidSpec},
	} {
		t.Run(name, func(t *testing.T) {
			tc.answers[byName] = []answer{ok(ours)}
			s := play(t, tc.answers)
			verdict, err := verify(t.Context(), s.open(), handle(s.request()))
			if tc.want != "" {
				wants(t, err, tc.want)
				return
			}
			if err != nil || verdict.Accepted != tc.accepted || verdict.Detail == "" {
				t.Errorf("%+v, %v", verdict, err)
			}
		})
	}
}

func TestOddAnswersToALogin(t *testing.T) {
	login := "POST /api/token"
	for name, tc := range map[string]struct {
		answer answer
		want   upstream.ErrorClass
		says   string
	}{
		"400":                       {answer{status: 400, body: `{"error":"invalid_grant","error_description":"no such realm"}`}, upstream.LoginFailed, "no such realm"},
		"401":                       {answer{status: 401, body: `{"message":"wrong"}`}, upstream.LoginFailed, "wrong"},
		"404":                       {answer{status: 404}, upstream.InvalidSpec, "platform API"},
		"405":                       {answer{status: 405}, upstream.InvalidSpec, ""},
		"a redirect to a page":      {answer{status: 302, header: http.Header{"Location": {"/login"}}}, upstream.Retryable, "redirect"},
		"a page with 200":           {ok("<html>"), upstream.Retryable, "without a token"},
		"no token with 200":         {ok(`{}`), upstream.Retryable, "without a token"},
		"a token of another type":   {ok(`{"access_token":42}`), upstream.Retryable, ""},
		"a token with a line break": {ok(`{"access_token":"a\r\nX: y"}`), upstream.Retryable, ""},
		"500":                       {answer{status: 500}, upstream.Retryable, ""},
		"429":                       {answer{status: 429, header: http.Header{"Retry-After": {"30"}}}, upstream.Throttled, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := play(t, map[string][]answer{login: {tc.answer}}).open().Check(t.Context())
			wants(t, err, tc.want, tc.says)
		})
	}
}

func TestNamesStandEscapedInPaths(t *testing.T) {
	s := play(t, map[string][]answer{
		"GET /api/consumer-orgs/o1/c1/retail%3Fa=b%23%2525": {ok(`{"id":"co1"}`)},
		"GET /api/apps/o1/c1/co1/b%C3%BCro%3Bx":             {ok(`{"id":"a1"}`)},
	})
	container, err := s.open().Locate(t.Context(), json.RawMessage(`{"consumerOrg":"retail?a=b#%25","app":"büro;x"}`))
	if err != nil || container != s.request().Container {
		t.Errorf("%q, %v; seen %q", container, err, s.seen)
	}
}

func TestMessagesAreShortPlainAndWithoutSecrets(t *testing.T) {
	long := `{"message":["` + strings.Repeat("very long ", 1000) + `"]}`
	echo := `{"message":"\u001b[31mcanary-password and ` + workload + ` and canary-token and canary-toolkit"}`
	for name, body := range map[string]string{"a long message": long, "an echo with escapes": echo} {
		t.Run(name, func(t *testing.T) {
			s := play(t, map[string][]answer{"POST " + listPath: {{status: 422, body: body, header: http.Header{"X-Request-Id": {"canary-token"}}}}})
			_, err := s.open().Issue(t.Context(), s.request())
			wants(t, err, upstream.InvalidSpec, "422")
			text := fmt.Sprintf("%v %+v %#v", err, err, err)
			if strings.Contains(text, "canary") || strings.Contains(text, "\x1b") || len(err.Error()) > 400 {
				t.Errorf("%s", text)
			}
		})
	}
}

func TestOpenSaysWhatIsWrongWithTheSettings(t *testing.T) {
	s := play(t, nil)
	base, err := url.Parse(s.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change map[string]any
		login  []string // keys to take away
		says   []string // nil: it opens
	}{
		"good settings":                {},
		"a trailing slash":             {change: map[string]any{"url": s.server.URL + "/"}},
		"IBM's platform endpoint":      {change: map[string]any{"url": s.server.URL + "/api/"}},
		"fields of later versions":     {change: map[string]any{"colour": "blue"}},
		"a URL with a path":            {change: map[string]any{"url": s.server.URL + "/x"}, says: []string{"path"}},
		"a URL with a user":            {change: map[string]any{"url": "https://u:canary@" + base.Host}, says: []string{"url"}},
		"no URL":                       {change: map[string]any{"url": ""}, says: []string{"url"}},
		"another scheme":               {change: map[string]any{"url": "ftp://" + base.Host}, says: []string{"https"}},
		"a gateway with a query":       {change: map[string]any{"gatewayURL": s.server.URL + "/?a=b"}, says: []string{"gatewayURL"}},
		"an organisation with a slash": {change: map[string]any{"providerOrg": "a/b"}, says: []string{"providerOrg"}},
		"no catalog":                   {change: map[string]any{"catalog": ""}, says: []string{"catalog"}},
		"a catalog that climbs":        {change: map[string]any{"catalog": ".."}, says: []string{"catalog"}},
		"an unknown grant":             {change: map[string]any{"login": map[string]any{"grant": "Magic"}}, says: []string{"Password", "APIKey"}},
		"no realm":                     {change: map[string]any{"login": map[string]any{}}, says: []string{"realm", "identity-providers"}},
		"an API key that is missing":   {change: map[string]any{"login": map[string]any{"grant": "APIKey"}}, says: []string{"lacks api_key"}},
		"two keys that are missing":    {login: []string{"password", "client_id"}, says: []string{"lacks password, client_id"}},
		"parameters of another type":   {change: map[string]any{"maxPerApp": "two"}, says: []string{"JSON"}},
	} {
		t.Run(name, func(t *testing.T) {
			settings := s.settings()
			parameters := map[string]any{}
			if err := json.Unmarshal(settings.Parameters, &parameters); err != nil {
				t.Fatal(err)
			}
			for field, value := range tc.change {
				parameters[field] = value
			}
			if settings.Parameters, err = json.Marshal(parameters); err != nil {
				t.Fatal(err)
			}
			for _, key := range tc.login {
				delete(settings.Login, key)
			}
			account, err := apiconnect.NewDriver(time.Now).Open(settings)
			if tc.says != nil {
				wants(t, err, upstream.InvalidSpec, tc.says...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := account.Check(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheCABundleOfTheParametersIsUsed(t *testing.T) {
	s := play(t, nil)
	settings := s.settings()
	bundle := settings.Transport.CABundle
	settings.Transport.CABundle = nil
	_, err := open(t, settings).Check(t.Context())
	wants(t, err, upstream.Retryable, "CA bundle")
	parameters := map[string]any{}
	if err := json.Unmarshal(settings.Parameters, &parameters); err != nil {
		t.Fatal(err)
	}
	parameters["caBundle"] = string(bundle)
	if settings.Parameters, err = json.Marshal(parameters); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, settings).Check(t.Context()); err != nil {
		t.Error(err)
	}
	parameters["caBundle"] = "-----BEGIN CERTIFICATE-----"
	if settings.Parameters, err = json.Marshal(parameters); err != nil {
		t.Fatal(err)
	}
	_, err = apiconnect.NewDriver(time.Now).Open(settings)
	wants(t, err, upstream.InvalidSpec, "CA bundle")
}

func TestMaxPerAppIsACapability(t *testing.T) {
	s := play(t, nil)
	settings := s.settings()
	settings.Parameters = json.RawMessage(strings.Replace(string(settings.Parameters), "{", `{"maxPerApp":2,`, 1))
	if got := open(t, settings).Capabilities().MaxLive; got != 2 {
		t.Errorf("MaxLive %d, want 2", got)
	}
	if got := s.open().Capabilities().MaxLive; got != 0 {
		t.Errorf("MaxLive %d, want none", got)
	}
}
