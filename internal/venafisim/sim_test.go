package venafisim

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/simkit"
)

var dawn = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// lab is a simulator and a plain client of it.
type lab struct {
	*Sim
	t     *testing.T
	clock *simkit.Manual
	http  *http.Client
}

func newLab(t *testing.T, change func(*Behaviour)) *lab {
	t.Helper()
	behaviour := Usual()
	if change != nil {
		change(&behaviour)
	}
	clock := simkit.NewManual(dawn)
	sim := New(Options{Clock: clock, Behaviour: &behaviour, Seed: Sample(), ControlListen: "127.0.0.1:0"})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	carrier := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: sim.authority.Pool(), MinVersion: tls.VersionTLS12}}
	t.Cleanup(carrier.CloseIdleConnections)
	return &lab{Sim: sim, t: t, clock: clock, http: &http.Client{Transport: carrier}}
}

// send makes a call with a bearer, or without one, and returns the status line and the
// body.
func (l *lab) send(method, path, bearer string, body any) (status, text string, err error) {
	l.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		l.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(context.Background(), method, l.URL()+path, bytes.NewReader(encoded))
	if err != nil {
		l.t.Fatal(err)
	}
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	response, err := l.http.Do(request)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	return response.Status, string(answer), err
}

// want makes a call and checks the beginning of its status line.
func (l *lab) want(status, method, path, bearer string, body any) map[string]any {
	l.t.Helper()
	got, text, err := l.send(method, path, bearer, body)
	if err != nil || !strings.HasPrefix(got, status) {
		l.t.Fatalf("%s %s answered %s %s, %v; want %s", method, path, got, text, err, status)
	}
	var document map[string]any
	_ = json.Unmarshal([]byte(text), &document) // some answers have no body
	return document
}

// token logs in by password.
func (l *lab) token(user, clientID, scope string) map[string]any {
	l.t.Helper()
	return l.want("200", "POST", "/vedauth/Authorize/OAuth", "", map[string]string{
		"client_id": clientID, "scope": scope, "username": user, "password": user + "-password",
	})
}

func bearerOf(answer map[string]any) string {
	token, _ := answer["access_token"].(string)
	return token
}

func TestGrantsAreCountedAndNeverNamed(t *testing.T) {
	l := newLab(t, nil)
	admin := bearerOf(l.token("admin", "grant-admin", "admin"))
	for range 3 {
		l.token("operator", "team-a-pipeline", "certificate:manage")
	}
	query := map[string]any{"ApplicationId": "Team-A-Pipeline"}
	grants := l.want("200", "POST", "/vedsdk/oauth/EnumerateGrants", admin, query)["Grants"].([]any)
	if len(grants) != 3 {
		t.Fatalf("%d grants", len(grants))
	}
	for key := range grants[0].(map[string]any) {
		if strings.Contains(strings.ToLower(key), "token") || strings.EqualFold(key, "id") || strings.Contains(key, "Guid") {
			t.Errorf("a grant shows %s", key)
		}
	}
	l.want("200", "POST", "/vedsdk/oauth/revokegrants", admin, query)
	if count := l.want("200", "POST", "/vedsdk/oauth/grantcount", admin, query)["Count"]; count != 0.0 {
		t.Errorf("%v grants are left", count)
	}
	viewer := bearerOf(l.token("viewer", "grant-admin", "admin"))
	l.want("403", "POST", "/vedsdk/oauth/getgrants", viewer, query)
}

func TestWordsStandInTheStatusLine(t *testing.T) {
	l := newLab(t, nil)
	login := map[string]string{"client_id": "team-a-pipeline", "scope": "ssh", "username": "operator", "password": "operator-password"}
	l.want("403 Failed to issue grant: User is not authorized for the requested scope", "POST", "/vedauth/authorize/oauth", "", login)
	delete(login, "scope")
	l.want("400 Scope is missing or empty", "POST", "/vedauth/authorize/oauth", "", login)
	l.want("202 Venafi Authentication Server", "GET", "/vedauth/authorize/IsAuthServer", "", nil)
	l.want("400 Certificate does not exist.", "POST", "/vedsdk/certificates/retrieve", bearerOf(l.token("operator", "vcert-sdk", "certificate:manage")), map[string]string{"CertificateDN": `\VED\Policy\k8s\team-a\none`})
}

func TestARevokedTokenIsRememberedForAWhile(t *testing.T) {
	l := newLab(t, func(b *Behaviour) { b.SessionCache = simkit.Duration(time.Minute) })
	token := bearerOf(l.token("operator", "vcert-sdk", "certificate:manage"))
	l.want("200", "GET", "/vedauth/revoke/token", token, nil)
	l.want("202", "GET", "/vedauth/revoke/token", token, nil)
	l.want("401", "GET", "/vedauth/authorize/verify", token, nil)
	l.want("200", "GET", "/vedsdk/certificates/", token, nil)
	l.clock.Advance(time.Minute)
	l.want("401", "GET", "/vedsdk/certificates/", token, nil)
}

// csr is a PKCS#10 of a new key.
func csr(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "a.example"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func TestARepeatedRequestIssuesAgainAndArchivesWhatWasThere(t *testing.T) {
	l := newLab(t, func(b *Behaviour) { b.StagePolls = 0 })
	token := bearerOf(l.token("operator", "vcert-sdk", "certificate:manage,revoke,delete"))
	const dn = `\VED\Policy\k8s\team-a\a`
	guid := ""
	for range 2 {
		guid, _ = l.want("200", "POST", "/vedsdk/certificates/request", token, map[string]any{"PolicyDN": `\VED\Policy\k8s\team-a`, "ObjectName": "a", "PKCS10": csr(t)})["Guid"].(string)
		l.want("200", "POST", "/vedsdk/certificates/retrieve", token, map[string]any{"CertificateDN": dn, "IncludeChain": true})
	}
	versions := l.want("200", "GET", "/vedsdk/certificates/"+guid+"/PreviousVersions", token, nil)["PreviousVersions"].([]any)
	if len(versions) != 1 || l.Stats().Duplicates != 1 {
		t.Errorf("%d versions, %d duplicates", len(versions), l.Stats().Duplicates)
	}
	for i, revoked := range []bool{true, false} {
		answer := l.want("200", "POST", "/vedsdk/certificates/revoke", token, map[string]any{"CertificateDN": dn})
		if answer["Success"] != revoked || answer["Requested"] != revoked {
			t.Errorf("revocation %d: %v", i+1, answer)
		}
	}
	l.want("200", "DELETE", "/vedsdk/certificates/"+guid, token, nil)
	if l.want("200", "POST", "/vedsdk/config/dntoguid", token, map[string]string{"ObjectDN": dn})["Result"] != 400.0 {
		t.Error("the object is still found")
	}
	want := map[string]Count{"grant": {Issued: 1, Live: 1}, "object": {Issued: 1, Revoked: 1}, "certificate": {Issued: 2, Live: 1, Revoked: 1}}
	if diff := cmp.Diff(want, l.Stats().Kinds); diff != "" {
		t.Error(diff)
	}
}

func TestSearchesHavePagesAndATotalThatStaysTrue(t *testing.T) {
	l := newLab(t, nil)
	token := bearerOf(l.token("operator", "vcert-sdk", "certificate"))
	for i := range 5 {
		if err := l.AddCertificate(`\VED\Policy\k8s\team-a`, fmt.Sprintf("c%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	page := l.want("200", "GET", `/vedsdk/Certificates/?ParentDNRecursive=%5CVED%5CPolicy&limit=2&offset=4`, token, nil)
	if len(page["Certificates"].([]any)) != 1 || page["TotalCount"] != 5.0 {
		t.Errorf("%v", page)
	}
	if err := l.Adjust(func(b *Behaviour) { b.ShortLists = new(1) }); err != nil {
		t.Fatal(err)
	}
	page = l.want("200", "GET", "/vedsdk/certificates/", token, nil)
	if len(page["Certificates"].([]any)) != 1 || page["TotalCount"] != 5.0 {
		t.Errorf("shortened: %v", page)
	}
	if err := l.Deny(`\VED\Policy\k8s\team-a`, "operator"); err != nil {
		t.Fatal(err)
	}
	if total := l.want("200", "GET", "/vedsdk/certificates/", token, nil)["TotalCount"]; total != 0.0 {
		t.Errorf("without rights %v are seen", total)
	}
}

func TestAGrantIsCommittedBeforeItsConnectionIsCut(t *testing.T) {
	l := newLab(t, nil)
	if _, err := l.Faults().Add(simkit.Fault{Operation: "auth.password", Point: simkit.AfterCommit, Action: simkit.Cut}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.send("POST", "/vedauth/authorize/oauth", "", map[string]string{"client_id": "vcert-sdk", "scope": "certificate", "username": "operator", "password": "operator-password"}); err == nil {
		t.Error("an answer came")
	}
	if live := l.LiveGrants("vcert-sdk"); live != 1 {
		t.Errorf("%d grants live", live)
	}
}

func TestJWTsLogInWhoTheyAreMappedTo(t *testing.T) {
	l := newLab(t, nil)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	point := public.Bytes()[1:]
	encode := base64.RawURLEncoding.EncodeToString
	keys := fmt.Sprintf(`{"keys": [{"kty": "EC", "kid": "k", "crv": "P-256", "x": %q, "y": %q}]}`, encode(point[:32]), encode(point[32:]))
	if err := l.Seed(Seed{
		JWTIssuers: []JWTIssuer{{Issuer: "https://cluster", Purpose: "tpp", Keys: json.RawMessage(keys)}},
		Identities: []Identity{{Name: "workload", Subjects: []string{"system:serviceaccount:claviger-system:claviger"}}},
	}); err != nil {
		t.Fatal(err)
	}
	sign := func(claims string) string {
		text := encode([]byte(`{"alg":"ES256","kid":"k"}`)) + "." + encode([]byte(claims))
		digest := sha256.Sum256([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return text + "." + encode(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	}
	const whole = `{"iss":"https://cluster","sub":"system:serviceaccount:claviger-system:claviger","aud":["tpp"],"exp":%d}`
	good := sign(fmt.Sprintf(whole, dawn.Add(time.Hour).Unix()))
	for name, tc := range map[string]struct{ token, status string }{
		"as it should be":    {good, "200"},
		"expired":            {sign(fmt.Sprintf(whole, dawn.Unix())), "400"},
		"for another":        {sign(strings.Replace(fmt.Sprintf(whole, dawn.Add(time.Hour).Unix()), "tpp", "vault", 1)), "400"},
		"of a stranger":      {sign(strings.Replace(fmt.Sprintf(whole, dawn.Add(time.Hour).Unix()), "system:", "other:", 1)), "400"},
		"with another claim": {strings.Replace(good, ".", ".e30", 1), "400"},
	} {
		t.Run(name, func(*testing.T) {
			l.want(tc.status, "POST", "/vedauth/authorize/jwt", "", map[string]string{"client_id": "vcert-sdk", "scope": "certificate", "jwt": tc.token})
		})
	}
}

func TestTheControlAPIKnowsPeopleAndShowsNoToken(t *testing.T) {
	l := newLab(t, func(b *Behaviour) { b.NeedApproval = true })
	token := bearerOf(l.token("operator", "vcert-sdk", "certificate:manage"))
	const dn = `\VED\Policy\k8s\team-a\a`
	l.want("200", "POST", "/vedsdk/certificates/request", token, map[string]any{"PolicyDN": `\VED\Policy\k8s\team-a`, "ObjectName": "a", "PKCS10": csr(t)})
	remote := simkit.Remote{Base: l.ControlURL()}
	if err := remote.Call(t.Context(), http.MethodPost, "/human/approve", map[string]string{"dn": dn}, nil); err != nil {
		t.Fatal(err)
	}
	if err := remote.Call(t.Context(), http.MethodPost, "/human/approve", map[string]string{"dn": dn}, nil); err == nil {
		t.Error("nobody waited, and yet it was approved")
	}
	for _, path := range []string{"/ledger", "/ledger/entries", "/events", "/calls", "/stats", "/behaviour"} {
		var page json.RawMessage
		if err := remote.Call(t.Context(), http.MethodGet, path, nil, &page); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(page), token) || strings.Contains(string(page), "operator-password") {
			t.Errorf("%s shows a secret", path)
		}
	}
}
