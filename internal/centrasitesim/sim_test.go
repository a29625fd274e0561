package centrasitesim_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/centrasitesim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// visitor calls a simulator as nobody's adapter does.
type visitor struct {
	t      *testing.T
	sim    *centrasitesim.Sim
	client *http.Client
}

func visit(t *testing.T, clock simkit.Clock, change func(*centrasitesim.Behaviour)) *visitor {
	t.Helper()
	behaviour := centrasitesim.Usual()
	if change != nil {
		change(&behaviour)
	}
	seed := centrasitesim.Sample()
	seed.APIs[0].Contract = simkit.Duration(time.Hour)
	sim := centrasitesim.New(centrasitesim.Options{Clock: clock, Behaviour: &behaviour, Seed: seed})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(sim.CA())
	return &visitor{t, sim, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}}
}

// call returns the status and the body of an answer.
func (v *visitor) call(method, url, user, body string, header ...string) (int, string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		v.t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, strings.TrimSuffix(user, "-k8s")+"-password")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func (v *visitor) want(status int, words string, gotStatus int, got string) {
	v.t.Helper()
	if status != gotStatus || !strings.Contains(got, words) {
		v.t.Errorf("got %d %s, want %d with %q", gotStatus, got, status, words)
	}
}

const (
	tokens = "/abs/apirepository/v1/accesstokens"
	body   = `{"name":"n","description":"d","appId":"a-17","userId":"svc-k8s","apiId":"uddi:orders","type":"Application","accessTokenDetails":[{"type":"APIKey","properties":[{"key":"apiKeyString","value":"6c0f"}]}]}`
)

func TestAKeyLivesUntilItsContractEndsAndCanBeRenewed(t *testing.T) {
	clock := simkit.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	v := visit(t, clock, func(b *centrasitesim.Behaviour) { b.MakeKeys = false })
	serve := func(status int, words, key string) {
		t.Helper()
		s, got := v.call(http.MethodGet, v.sim.MediatorURL()+"/ws/OrdersVirtualService/x", "", "", "x-CentraSite-APIKey", key)
		v.want(status, words, s, got)
	}
	s, got := v.call(http.MethodPost, v.sim.URL()+tokens, "svc-k8s", body)
	v.want(200, `"status":"SUCCESS"`, s, got)
	s, got = v.call(http.MethodPost, v.sim.URL()+tokens, "svc-k8s", body)
	v.want(409, "already", s, got)
	serve(200, "OrdersVirtualService", "6c0f")
	serve(500, "The request is authenticated as invalid.", "other")
	serve(500, "A required header is missing in the request.", "")
	clock.Advance(time.Hour)
	serve(500, "The API key has expired.", "6c0f")
	s, got = v.call(http.MethodPut, v.sim.URL()+tokens+"/a-17?eventId=e", "svc-k8s", "")
	v.want(200, "renewed", s, got)
	serve(200, "OrdersVirtualService", "6c0f")
	s, got = v.call(http.MethodDelete, v.sim.URL()+tokens+"/a-17?eventId=e", "svc-k8s", "")
	v.want(204, "", s, got)
	serve(500, "The request is authenticated as invalid.", "6c0f")
	s, got = v.call(http.MethodDelete, v.sim.URL()+tokens+"/a-17?eventId=e", "svc-k8s", "")
	v.want(404, "no access token", s, got)
}

func TestOneNoRejectsAndApproversDecideBySOAP(t *testing.T) {
	v := visit(t, nil, nil)
	soap := func(user, operation, arguments string) (int, string) {
		t.Helper()
		return v.call(http.MethodPost, v.sim.ApprovalURL(), user,
			`<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:a="`+centrasitesim.Namespace+`"><e:Body><a:`+operation+`>`+arguments+`</a:`+operation+`></e:Body></e:Envelope>`)
	}
	s, got := v.call(http.MethodPost, v.sim.URL()+tokens, "svc-k8s", strings.Replace(body, "orders", "payroll", 1))
	v.want(200, "SUCCESS", s, got)
	s, got = v.call(http.MethodGet, v.sim.URL()+"/abs/apirepository/v1/events?eventStatus=INPROGRESS", "svc-k8s", "")
	v.want(200, `"appId":"a-17"`, s, got)
	s, got = soap("alice", "getPendingApprovals", "")
	v.want(200, "<a:Count>1</a:Count>", s, got)
	s, got = soap("svc-k8s", "getPendingApprovals", "")
	v.want(200, "<a:Count>0</a:Count>", s, got)
	_, all := soap("alice", "getApprovalRequests", "<a:status>In Progress</a:status>")
	_, key, _ := strings.Cut(all, "<a:Key>")
	key, _, _ = strings.Cut(key, "<")
	s, got = soap("svc-k8s", "approve", "<a:approvalRequestKeys>"+key+"</a:approvalRequestKeys>")
	v.want(500, "may not decide", s, got)
	s, got = soap("alice", "reject", "<a:approvalRequestKeys>"+key+"</a:approvalRequestKeys><a:comment>no &lt;budget&gt;</a:comment>")
	v.want(200, "rejectResponse", s, got)
	s, got = soap("svc-k8s", "getApprovalRequests", "<a:status>Rejected</a:status>")
	v.want(200, "no &lt;budget&gt;", s, got)
	s, got = soap("svc-k8s", "getApprovalActions", "<a:approvalRequestKeys>"+key+"</a:approvalRequestKeys>")
	v.want(200, "<a:User>alice</a:User>", s, got)
	s, got = soap("carol", "approve", "<a:approvalRequestKeys>"+key+"</a:approvalRequestKeys>")
	v.want(500, "nothing is to be decided", s, got)
	s, got = soap("carol", "dance", "")
	v.want(500, "not known", s, got)
	if n := v.sim.Stats(); n.Requests != 1 || n.Tokens.Issued != 0 {
		t.Errorf("%+v, want a request and no access token", n)
	}
}

func TestStrangersAndNonsenseAreRefused(t *testing.T) {
	v := visit(t, nil, nil)
	s, got := v.call(http.MethodGet, v.sim.URL()+tokens, "mallory", "")
	v.want(401, "not known", s, got)
	s, got = v.call(http.MethodPost, v.sim.URL()+tokens, "svc-k8s", `{}`)
	v.want(400, "not complete", s, got)
	s, got = v.call(http.MethodPost, v.sim.URL()+tokens, "svc-k8s", strings.Replace(body, "uddi:orders", "uddi:x", 1))
	v.want(400, "There is no API", s, got)
	s, got = v.call(http.MethodGet, v.sim.MediatorURL()+"/nowhere", "", "")
	v.want(404, "", s, got)
	if err := v.sim.Adjust(func(b *centrasitesim.Behaviour) { b.TokenLife = 0 }); err == nil {
		t.Error("tokens without a life are accepted")
	}
}
