// Package vcert drives the simulated Venafi platform with Venafi's own client library,
// unmodified. The one idea: the simulator and the adapter are written from the same
// pages, and could be wrong in the same way; a client that others wrote cannot.
package vcert

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Venafi/vcert/v5/pkg/certificate"
	"github.com/Venafi/vcert/v5/pkg/endpoint"
	"github.com/Venafi/vcert/v5/pkg/venafi/tpp"

	"github.com/claviger-dev/claviger/internal/venafisim"
)

// zone is the policy folder as vcert names it: without \VED\Policy.
const zone = `k8s\team-a`

// lab is a simulator and vcert on it.
type lab struct {
	*venafisim.Sim
	t *testing.T
}

func newLab(t *testing.T) *lab {
	t.Helper()
	sim := venafisim.New(venafisim.Options{Seed: venafisim.Sample()})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return &lab{Sim: sim, t: t}
}

// connector is vcert; with a certificate it is presented to the platform.
func (l *lab) connector(certificates ...tls.Certificate) *tpp.Connector {
	l.t.Helper()
	trust := x509.NewCertPool()
	if !trust.AppendCertsFromPEM(l.CA()) {
		l.t.Fatal("the simulator's CA cannot be read")
	}
	connector, err := tpp.NewConnector(l.URL(), zone, false, trust)
	if err != nil {
		l.t.Fatal(err)
	}
	if len(certificates) > 0 {
		carrier := &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs: trust, Certificates: certificates, Renegotiation: tls.RenegotiateOnceAsClient, MaxVersion: tls.VersionTLS12, MinVersion: tls.VersionTLS12,
		}}
		l.t.Cleanup(carrier.CloseIdleConnections)
		connector.SetHTTPClient(&http.Client{Transport: carrier, Timeout: 30 * time.Second})
	}
	return connector
}

func password() *endpoint.Authentication {
	return &endpoint.Authentication{User: "operator", Password: "operator-password", Scope: "certificate:manage,revoke,discover;configuration"}
}

// loggedIn is vcert with a token.
func (l *lab) loggedIn() *tpp.Connector {
	l.t.Helper()
	connector := l.connector()
	answer, err := connector.GetRefreshToken(password())
	if err != nil {
		l.t.Fatal(err)
	}
	if err := connector.Authenticate(&endpoint.Authentication{AccessToken: answer.Access_token}); err != nil {
		l.t.Fatal(err)
	}
	return connector
}

func TestTokensByPasswordAreVerifiedRefreshedAndRevoked(t *testing.T) {
	l := newLab(t)
	connector := l.connector()
	first, err := connector.GetRefreshToken(password())
	if err != nil {
		t.Fatal(err)
	}
	verified, err := connector.VerifyAccessToken(&endpoint.Authentication{AccessToken: first.Access_token})
	if err != nil {
		t.Fatal(err)
	}
	if verified.ClientID != "vcert-sdk" || verified.ValidFor != 90*24*60*60 || verified.Scope != "certificate:manage,revoke,discover;configuration" {
		t.Errorf("verified %+v", verified)
	}
	second, err := connector.RefreshAccessToken(&endpoint.Authentication{RefreshToken: first.Refresh_token})
	if err != nil {
		t.Fatal(err)
	}
	// The refresh has killed the previous access token at once, and is valid once.
	if _, err := connector.VerifyAccessToken(&endpoint.Authentication{AccessToken: first.Access_token}); err == nil {
		t.Error("the token that was replaced is still accepted")
	}
	_, err = connector.RefreshAccessToken(&endpoint.Authentication{RefreshToken: first.Refresh_token})
	if err == nil || !strings.Contains(err.Error(), "400 Grant has been revoked, has expired, or the refresh token is invalid") {
		t.Errorf("a spent refresh token: %v", err)
	}
	revoke := &endpoint.Authentication{AccessToken: second.Access_token}
	if err := connector.RevokeAccessToken(revoke); err != nil {
		t.Fatal(err)
	}
	if err := connector.RevokeAccessToken(revoke); err == nil || !strings.Contains(err.Error(), "202") {
		t.Errorf("a second revocation: %v", err)
	}
	if left := l.LiveGrants("vcert-sdk"); left != 0 {
		t.Errorf("%d grants live", left)
	}
}

func TestTokensByCertificateAreForTheIdentityOfTheCertificate(t *testing.T) {
	l := newLab(t)
	known, err := l.ClientCertificate("operator")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := l.ClientCertificate("stranger")
	if err != nil {
		t.Fatal(err)
	}
	login := func(certificates ...tls.Certificate) error {
		_, err := l.connector(certificates...).GetRefreshToken(&endpoint.Authentication{ClientPKCS12: true, Scope: "certificate:manage"})
		return err
	}
	if err := login(known); err != nil {
		t.Error(err)
	}
	if err := login(stranger); err == nil {
		t.Error("a certificate that maps to nobody was accepted")
	}
	if err := login(); err == nil {
		t.Error("a login without a certificate was accepted")
	}
	if _, err := l.connector(known).GetRefreshToken(&endpoint.Authentication{ClientPKCS12: true, Scope: "ssh:manage"}); err == nil ||
		!strings.Contains(err.Error(), "403 Failed to issue grant: User is not authorized for the requested scope") {
		t.Errorf("a scope that is not allowed: %v", err)
	}
}

// order makes a request with a key and a CSR of vcert's.
func (l *lab) order(connector *tpp.Connector) *certificate.Request {
	l.t.Helper()
	request := &certificate.Request{
		Subject: pkix.Name{CommonName: "orders.team-a.example"}, DNSNames: []string{"orders.team-a.example"}, FriendlyName: "orders",
		CsrOrigin: certificate.LocalGeneratedCSR, KeyType: certificate.KeyTypeRSA, KeyLength: 2048, ChainOption: certificate.ChainOptionRootLast, Timeout: 30 * time.Second,
	}
	config, err := connector.ReadZoneConfiguration()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := connector.GenerateRequest(config, request); err != nil {
		l.t.Fatal(err)
	}
	return request
}

// leaf checks that a certificate chains to the platform's root.
func (l *lab) leaf(collection *certificate.PEMCollection) *x509.Certificate {
	l.t.Helper()
	block, _ := pem.Decode([]byte(collection.Certificate))
	if block == nil {
		l.t.Fatal("no certificate came")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		l.t.Fatal(err)
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(l.IssuingRoot())
	intermediates.AppendCertsFromPEM([]byte(strings.Join(collection.Chain, "\n")))
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		l.t.Fatal(err)
	}
	return leaf
}

func TestCertificatesAreRequestedRetrievedRenewedAndRevoked(t *testing.T) {
	l := newLab(t)
	connector := l.loggedIn()
	request := l.order(connector)
	id, err := connector.RequestCertificate(request)
	if err != nil {
		t.Fatal(err)
	}
	if id != `\VED\Policy\k8s\team-a\orders` {
		t.Errorf("picked up at %s", id)
	}
	collection, err := connector.RetrieveCertificate(request)
	if err != nil {
		t.Fatal(err)
	}
	first := l.leaf(collection)

	renewal := l.order(connector)
	if _, err := connector.RenewCertificate(&certificate.RenewalRequest{CertificateDN: id, CertificateRequest: renewal}); err != nil {
		t.Fatal(err)
	}
	renewal.PickupID = id
	if collection, err = connector.RetrieveCertificate(renewal); err != nil {
		t.Fatal(err)
	}
	second := l.leaf(collection)
	if bytes.Equal(first.RawSubjectPublicKeyInfo, second.RawSubjectPublicKeyInfo) {
		t.Error("the renewal has the old key")
	}

	if !l.AcceptsCertificate(encode(first), strings.Join(collection.Chain, "\n")) {
		t.Error("the renewal has ended the certificate before it")
	}
	if _, err := connector.RevokeCertificate(&certificate.RevocationRequest{CertificateDN: id, Reason: "superseded"}); err != nil {
		t.Fatal(err)
	}
	if l.AcceptsCertificate(collection.Certificate, strings.Join(collection.Chain, "\n")) {
		t.Error("the revoked certificate is still accepted")
	}
	stats := l.Stats()
	if got := stats.Kinds["certificate"]; got != (venafisim.Count{Issued: 2, Live: 1, Revoked: 1}) {
		t.Errorf("certificates: %+v", got)
	}
}

func encode(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func TestACertificateInProcessIsPending(t *testing.T) {
	l := newLab(t)
	if err := l.Adjust(func(b *venafisim.Behaviour) { b.StagePolls = 3 }); err != nil {
		t.Fatal(err)
	}
	connector := l.loggedIn()
	request := l.order(connector)
	if _, err := connector.RequestCertificate(request); err != nil {
		t.Fatal(err)
	}
	request.Timeout = 0
	var pending endpoint.ErrCertificatePending
	for _, status := range []string{"Post CSR", "Post CSR", "Retrieve Certificate"} {
		if _, err := connector.RetrieveCertificate(request); !errors.As(err, &pending) || pending.Status != status {
			t.Fatalf("got %v, want a pending one of status %s", err, status)
		}
	}
	if _, err := connector.RetrieveCertificate(request); err != nil {
		t.Fatal(err)
	}
}

func TestAnObjectInErrorIsReset(t *testing.T) {
	l := newLab(t)
	if err := l.Adjust(func(b *venafisim.Behaviour) { b.FailIssuing, b.StagePolls = "the CA is away", 0 }); err != nil {
		t.Fatal(err)
	}
	connector := l.loggedIn()
	request := l.order(connector)
	if err := connector.ResetCertificate(request, false); err == nil || !tpp.IsCertNotFound(err) {
		t.Errorf("a reset of nothing: %v", err)
	}
	if _, err := connector.RequestCertificate(request); err != nil {
		t.Fatal(err)
	}
	if _, err := connector.RetrieveCertificate(request); err == nil || !strings.Contains(err.Error(), "has encountered an error while processing, Status: Post CSR failed with error: the CA is away, Stage: 500.") {
		t.Errorf("in error: %v", err)
	}
	if err := l.Adjust(func(b *venafisim.Behaviour) { b.FailIssuing = "" }); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second is no-op, and vcert knows the words
		if err := connector.ResetCertificate(request, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := connector.RequestCertificate(request); err != nil {
		t.Fatal(err)
	}
	if _, err := connector.RetrieveCertificate(request); err != nil {
		t.Fatal(err)
	}
}

func TestCertificatesAreFoundByThumbprintAndListed(t *testing.T) {
	l := newLab(t)
	connector := l.loggedIn()
	request := l.order(connector)
	if _, err := connector.RequestCertificate(request); err != nil {
		t.Fatal(err)
	}
	collection, err := connector.RetrieveCertificate(request)
	if err != nil {
		t.Fatal(err)
	}
	l.leaf(collection)
	search := certificate.SearchRequest{"CN=orders.team-a.example"}
	found, err := connector.SearchCertificates(&search)
	if err != nil || len(found.Certificates) != 1 || found.Certificates[0].CertificateRequestId != request.PickupID {
		t.Errorf("found %+v, %v", found, err)
	}
	listed, err := connector.ListCertificates(endpoint.Filter{})
	if err != nil || len(listed) != 1 || listed[0].CN != "orders.team-a.example" {
		t.Errorf("listed %+v, %v", listed, err)
	}
}

func TestAPolicyThatDoesNotExistIsKnownAsSuch(t *testing.T) {
	l := newLab(t)
	connector := l.loggedIn()
	connector.SetZone(`k8s\nowhere`)
	if _, err := connector.ReadZoneConfiguration(); err == nil || !strings.Contains(err.Error(), "does not exist") && !strings.Contains(err.Error(), "not found") {
		t.Errorf("got %v", err)
	}
}
