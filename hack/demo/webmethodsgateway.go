package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"regexp"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/webmethodssim"
)

// The world of the simulated gateway, which webmethodssim.Sample makes.
const (
	gatewayNamespace = "gateway"
	gatewayUser      = "operator"
	gatewayProbe     = "/gateway/orders/1.0/health"
	gatewayKey       = "api_key"
)

// gatewayRotateAfter is out of step with the other houses, for the reason of
// venafiRotateAfter: names are not unique there, so a creation whose answer dies with the
// operator is looked for three minutes later.
const gatewayRotateAfter = rotateAfter - 3*time.Second

// gatewayPassword is looked for where no secret may be, so it is like no other text.
var gatewayPassword = rand.Text()

// gatewayHouse is the house of webMethods API Gateway: an API key, each version of which is
// an application of its own, and an OAuth2 client, each version of which is a strategy of an
// application that people keep.
type gatewayHouse struct {
	sim   *webmethodssim.Sim
	roots *x509.CertPool
}

func (*gatewayHouse) title() string { return "webMethods" }

func (h *gatewayHouse) open(context.Context, *stage, *os.File) (simkit.Remote, error) {
	seed := webmethodssim.Sample()
	seed.Users = []webmethodssim.User{{Name: gatewayUser, Password: gatewayPassword}}
	authority, err := simkit.NewAuthority()
	if err != nil {
		return simkit.Remote{}, err
	}
	sim := webmethodssim.New(webmethodssim.Options{ControlListen: "127.0.0.1:0", Authority: authority, Seed: seed})
	if err := sim.Start(); err != nil {
		return simkit.Remote{}, err
	}
	h.sim, h.roots = sim, authority.Pool()
	return simkit.Remote{Base: sim.ControlURL()}, nil
}

func (h *gatewayHouse) teams(context.Context, settings) ([]*team, error) {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: gatewayNamespace, Name: name}
	}
	ours := func(kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind}
	}
	credential := func(name string, wanted v1alpha1.WebMethodsGatewayCredential, data map[string]string) *v1alpha1.APIClientCredential {
		wanted.Probe = &v1alpha1.WebMethodsGatewayProbe{Path: gatewayProbe}
		return &v1alpha1.APIClientCredential{
			TypeMeta: ours("APIClientCredential"), ObjectMeta: meta(name),
			Spec: v1alpha1.APIClientCredentialSpec{
				IssuerRef: v1alpha1.IssuerReference{Name: "gateway"}, WebMethodsGateway: &wanted,
				Secret: v1alpha1.TargetSecret{Name: name, Template: &v1alpha1.SecretTemplate{Data: data}},
			},
		}
	}
	key := credential("shop-key",
		v1alpha1.WebMethodsGatewayCredential{Type: "APIKey", APIs: []v1alpha1.WebMethodsGatewayAPI{{Name: "orders", Version: "1.0"}}},
		map[string]string{gatewayKey: "{{ .apiKey }}"})
	client := credential("shop-client",
		v1alpha1.WebMethodsGatewayCredential{Type: "OAuth2", Application: "shop", Scopes: []string{"orders"}},
		map[string]string{"client_id": "{{ .clientID }}", "client_secret": "{{ .clientSecret }}"})
	return []*team{{
		namespace: gatewayNamespace,
		objects: []runtime.Object{
			&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: gatewayNamespace}},
			&corev1.Secret{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: meta("gateway-login"),
				StringData: map[string]string{"username": gatewayUser, "password": gatewayPassword},
			},
			&v1alpha1.CredentialIssuer{
				TypeMeta: ours("CredentialIssuer"), ObjectMeta: meta("gateway"),
				Spec: v1alpha1.CredentialIssuerSpec{WebMethodsGateway: &v1alpha1.WebMethodsGatewayIssuer{
					URL: h.sim.URL(), GatewayURL: h.sim.RuntimeURL(), CABundle: string(h.sim.CA()),
					Login: v1alpha1.WebMethodsGatewayLogin{SecretRef: v1alpha1.SecretReference{Name: "gateway-login"}},
				}},
			},
			&v1alpha1.RotationPolicy{
				TypeMeta: ours("RotationPolicy"), ObjectMeta: meta("quick"),
				Spec: v1alpha1.RotationPolicySpec{
					Selector:    &metav1.LabelSelector{},
					RotateAfter: v1alpha1.Interval(seconds(gatewayRotateAfter)), Overlap: v1alpha1.Interval(seconds(overlap)),
				},
			},
			key, client,
		},
		credentials: []*v1alpha1.APIClientCredential{key, client},
	}}, nil
}

// gatewayMark is the mark in a description. What people made has none.
var gatewayMark = regexp.MustCompile(`\bmark=([0-9a-f]{32})\b`)

// read finds the versions: applications by what the ledger calls their key, strategies by
// their client id.
func (*gatewayHouse) read(kind string, attrs map[string]string) (version, bool) {
	mark := gatewayMark.FindStringSubmatch(attrs["description"])
	held, known := map[string]string{"application": attrs["key"], "strategy": attrs["clientId"]}[kind]
	if mark == nil || !known {
		return version{}, false
	}
	return version{place: kind, mark: mark[1], held: held}, true
}

func (*gatewayHouse) place(credential *v1alpha1.APIClientCredential) string {
	if credential.Spec.WebMethodsGateway.Type == "APIKey" {
		return "application"
	}
	return "strategy"
}

func (*gatewayHouse) show(secret *corev1.Secret, credential *v1alpha1.APIClientCredential) pair {
	p := pair{version: secret.Annotations[journal.AnnotationVersion]}
	if credential.Spec.WebMethodsGateway.Type == "APIKey" {
		if key := secret.Data[gatewayKey]; len(key) > 0 {
			p.held, p.secret = webmethodssim.Fingerprint(string(key)), material.New(string(key))
		}
		return p
	}
	p.held, p.secret = string(secret.Data["client_id"]), material.New(string(secret.Data["client_secret"]))
	return p
}

func (h *gatewayHouse) caller(credential *v1alpha1.APIClientCredential) caller {
	client := &http.Client{
		Timeout:   callTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots, MinVersion: tls.VersionTLS12}},
	}
	if credential.Spec.WebMethodsGateway.Type == "APIKey" {
		return &gatewayKeyCaller{url: h.sim.RuntimeURL() + gatewayProbe, client: client}
	}
	return &tokenCaller{
		tokenURL: h.sim.RuntimeURL() + "/invoke/pub.apigateway.oauth2/getAccessToken",
		url:      h.sim.RuntimeURL() + gatewayProbe,
		client:   client,
	}
}

func (h *gatewayHouse) close() error {
	if h.sim == nil {
		return nil
	}
	return h.sim.Close()
}

// gatewayKeyCaller calls with the API key that its Secret holds.
type gatewayKeyCaller struct {
	url    string
	client *http.Client
}

func (c *gatewayKeyCaller) rest() { c.client.CloseIdleConnections() }

func (c *gatewayKeyCaller) call(ctx context.Context, p pair) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "workload")
	request.Header.Set("x-Gateway-APIKey", p.secret.Reveal())
	return served(c.client, request)
}
