package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/venafisim"
)

// The world of the simulated platform, which venafisim.Sample makes.
const (
	venafiNamespace   = "certificates"
	venafiOperator    = "operator"
	venafiSession     = "claviger-operator"
	venafiIntegration = "team-a-pipeline"
	venafiFolder      = `\VED\Policy\k8s\team-a`
	venafiCommonName  = "orders.team-a.example"
	venafiTokenKey    = "access-token"
	venafiLogin       = "operator-certificate"
)

// venafiRotateAfter is out of step with the other houses. The operator is killed while it
// makes credentials of the first house. A grant whose answer dies with it is lost for good,
// and costs the two minutes after which nothing can be under way any more.
const venafiRotateAfter = rotateAfter - 4*time.Second

// venafiPassword is looked for where no secret may be, so it is like no other text.
var venafiPassword = rand.Text()

// venafiHouse is the house of Venafi: a token that the platform itself takes, and
// certificates that another server takes which trusts the platform's authority and asks it
// for revocations. One of them is the operator's own: tokens are made with a login that
// the operator renews meanwhile.
type venafiHouse struct {
	sim    *venafisim.Sim
	server *simkit.Listener
	roots  *x509.CertPool
}

func (*venafiHouse) title() string { return "Venafi" }

func (h *venafiHouse) open(context.Context, *stage, *os.File) (simkit.Remote, error) {
	seed := venafisim.Sample()
	for i := range seed.Identities {
		if seed.Identities[i].Name == venafiOperator {
			seed.Identities[i].Password = venafiPassword
		}
	}
	authority, err := simkit.NewAuthority()
	if err != nil {
		return simkit.Remote{}, err
	}
	certificate, err := authority.Server()
	if err != nil {
		return simkit.Remote{}, err
	}
	sim := venafisim.New(venafisim.Options{ControlListen: "127.0.0.1:0", Authority: authority, Seed: seed})
	if err := sim.Start(); err != nil {
		return simkit.Remote{}, err
	}
	h.sim, h.roots = sim, authority.Pool()
	if h.server, err = simkit.ListenAsking("127.0.0.1:0", certificate, http.HandlerFunc(h.serve)); err != nil {
		return simkit.Remote{}, errors.Join(err, h.close())
	}
	return simkit.Remote{Base: sim.ControlURL()}, nil
}

// serve answers whoever presents a certificate of the platform that is not revoked. It is
// asked at every call, so that a connection which outlives its certificate is felt.
func (h *venafiHouse) serve(w http.ResponseWriter, r *http.Request) {
	var chain bytes.Buffer
	for _, c := range r.TLS.PeerCertificates {
		_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a buffer takes everything
	}
	if !h.sim.AcceptsCertificate(chain.String(), chain.String()) {
		w.WriteHeader(http.StatusForbidden)
	}
}

func (h *venafiHouse) teams(context.Context, settings) ([]*team, error) {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: venafiNamespace, Name: name}
	}
	ours := func(kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind}
	}
	issuer := func(name, use string) *v1alpha1.CredentialIssuer {
		i := &v1alpha1.VenafiIssuer{
			URL: h.sim.URL(), Use: use, ClientID: venafiSession, CABundle: string(h.sim.CA()),
			Login: v1alpha1.VenafiLogin{Method: "Password", SecretRef: v1alpha1.SecretReference{Name: "tpp-login"}},
		}
		if use == "Certificates" {
			i.PolicyDN, i.IssuingCABundle = venafiFolder, string(h.sim.IssuingRoot())
		} else {
			i.Login = v1alpha1.VenafiLogin{
				Method: "Certificate", SecretRef: v1alpha1.SecretReference{Name: venafiLogin},
				CredentialRef: &v1alpha1.CredentialReference{Name: venafiLogin},
			}
		}
		return &v1alpha1.CredentialIssuer{TypeMeta: ours("CredentialIssuer"), ObjectMeta: meta(name), Spec: v1alpha1.CredentialIssuerSpec{Venafi: i}}
	}
	credential := func(name, issuer string, wanted v1alpha1.VenafiCredential, secret v1alpha1.TargetSecret) *v1alpha1.APIClientCredential {
		return &v1alpha1.APIClientCredential{
			TypeMeta: ours("APIClientCredential"), ObjectMeta: meta(name),
			Spec: v1alpha1.APIClientCredentialSpec{IssuerRef: v1alpha1.IssuerReference{Name: issuer}, Venafi: &wanted, Secret: secret},
		}
	}
	token := credential("pipeline-token", "tpp-tokens",
		v1alpha1.VenafiCredential{Token: &v1alpha1.VenafiToken{ClientID: venafiIntegration, Scope: "certificate:manage"}},
		v1alpha1.TargetSecret{Name: "pipeline-token", Template: &v1alpha1.SecretTemplate{Preset: "AccessToken"}})
	certificate := func(name, commonName string) *v1alpha1.APIClientCredential {
		return credential(name, "tpp-certificates",
			v1alpha1.VenafiCredential{Certificate: &v1alpha1.VenafiCertificate{PolicyDN: venafiFolder, CommonName: commonName}},
			v1alpha1.TargetSecret{Name: name, Type: corev1.SecretTypeTLS, Template: &v1alpha1.SecretTemplate{Preset: "TLS"}})
	}
	// The common name is what the platform knows the operator by.
	login, orders := certificate(venafiLogin, venafiOperator), certificate("orders-certificate", venafiCommonName)
	return []*team{{
		namespace: venafiNamespace,
		objects: []runtime.Object{
			&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: venafiNamespace}},
			&corev1.Secret{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: meta("tpp-login"),
				StringData: map[string]string{"username": venafiOperator, "password": venafiPassword},
			},
			issuer("tpp-tokens", "Tokens"), issuer("tpp-certificates", "Certificates"),
			&v1alpha1.RotationPolicy{
				TypeMeta: ours("RotationPolicy"), ObjectMeta: meta("quick"),
				Spec: v1alpha1.RotationPolicySpec{
					Selector:    &metav1.LabelSelector{},
					RotateAfter: v1alpha1.Interval(seconds(venafiRotateAfter)), Overlap: v1alpha1.Interval(seconds(overlap)),
				},
			},
			login, orders, token,
		},
		credentials: []*v1alpha1.APIClientCredential{login, orders, token},
	}}, nil
}

// read finds the versions: certificates by the mark in the name of their object, grants by
// their token. Grants of the operator's own sessions are no versions.
func (*venafiHouse) read(kind string, attrs map[string]string) (version, bool) {
	switch kind {
	case "grant":
		return version{place: attrs["clientId"], mark: attrs["fingerprint"], held: attrs["fingerprint"]}, attrs["clientId"] == venafiIntegration
	case "certificate":
		mark := attrs["name"][strings.LastIndex(attrs["name"], ".")+1:]
		return version{place: attrs["cn"], mark: mark, held: attrs["serial"]}, true
	}
	return version{}, false
}

func (*venafiHouse) place(credential *v1alpha1.APIClientCredential) string {
	if credential.Spec.Venafi.Token != nil {
		return credential.Spec.Venafi.Token.ClientID
	}
	return credential.Spec.Venafi.Certificate.CommonName
}

func (*venafiHouse) show(secret *corev1.Secret, credential *v1alpha1.APIClientCredential) pair {
	p := pair{version: secret.Annotations[journal.AnnotationVersion]}
	if credential.Spec.Venafi.Token != nil {
		token := secret.Data[venafiTokenKey]
		if len(token) > 0 {
			p.held, p.secret = fingerprint(token), material.New(string(token))
		}
		return p
	}
	block, _ := pem.Decode(secret.Data[corev1.TLSCertKey])
	if block == nil {
		return p
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return p
	}
	p.held = leaf.SerialNumber.Text(16)
	p.secret = material.New(string(secret.Data[corev1.TLSCertKey]) + string(secret.Data[corev1.TLSPrivateKeyKey]))
	return p
}

func (h *venafiHouse) caller(credential *v1alpha1.APIClientCredential) caller {
	if credential.Spec.Venafi.Token != nil {
		return &bearerCaller{url: h.sim.URL() + "/vedsdk/identity/self", client: &http.Client{
			Timeout:   callTimeout,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots, MinVersion: tls.VersionTLS12}},
		}}
	}
	return &certificateCaller{url: h.server.URL(), roots: h.roots}
}

func (h *venafiHouse) close() error {
	var errs []error
	if h.server != nil {
		errs = append(errs, h.server.Close())
	}
	if h.sim != nil {
		errs = append(errs, h.sim.Close())
	}
	return errors.Join(errs...)
}

// bearerCaller calls with the token that its Secret holds.
type bearerCaller struct {
	url    string
	client *http.Client
}

func (c *bearerCaller) rest() { c.client.CloseIdleConnections() }

func (c *bearerCaller) call(ctx context.Context, p pair) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "workload")
	request.Header.Set("Authorization", "Bearer "+p.secret.Reveal())
	return served(c.client, request)
}

// certificateCaller presents the certificate that its Secret holds.
type certificateCaller struct {
	url   string
	roots *x509.CertPool
	// client presents the certificate of.
	client *http.Client
	of     string
}

func (c *certificateCaller) rest() {
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	c.client, c.of = nil, ""
}

func (c *certificateCaller) call(ctx context.Context, p pair) error {
	if c.client == nil || c.of != p.held {
		c.rest()
		both := []byte(p.secret.Reveal())
		certificate, err := tls.X509KeyPair(both, both)
		if err != nil {
			return errors.New("certificate and key do not belong together")
		}
		c.of, c.client = p.held, &http.Client{Timeout: callTimeout, Transport: &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs: c.roots, MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate},
		}}}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "workload")
	return served(c.client, request)
}
