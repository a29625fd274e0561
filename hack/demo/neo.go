package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/neosim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// The world of the simulated landscape, which neosim.Sample makes.
const (
	neoAccount     = "a99"
	neoApplication = "a99tmn"
	neoProbe       = "/api/v1/MessageProcessingLogs"
	neoNamespace   = "integration"
)

// neoHouse is the house of SAP Neo: OAuth clients that an endpoint registers, whose tokens
// an application takes as long as their users have roles there. It lives in the demo's own
// process, which the operator's death does not touch.
type neoHouse struct {
	sim   *neosim.Sim
	roots *x509.CertPool
}

func (*neoHouse) title() string { return "SAP Neo" }

func (h *neoHouse) open(context.Context, *stage, *os.File) (simkit.Remote, error) {
	h.sim = neosim.New(neosim.Options{ControlListen: "127.0.0.1:0", Seed: neosim.Sample()})
	if err := h.sim.Start(); err != nil {
		h.sim = nil
		return simkit.Remote{}, err
	}
	h.roots = x509.NewCertPool()
	h.roots.AppendCertsFromPEM(h.sim.CA())
	return simkit.Remote{Base: h.sim.ControlURL()}, nil
}

func (h *neoHouse) teams(context.Context, settings) ([]*team, error) {
	account := neosim.Sample().Accounts[0]
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: neoNamespace, Name: name} }
	ours := func(kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind}
	}
	roles := []string{"IntegrationOperationServer.read", "NodeManager.read"}
	credential := &v1alpha1.APIClientCredential{
		TypeMeta: ours("APIClientCredential"), ObjectMeta: meta("monitoring"),
		Spec: v1alpha1.APIClientCredentialSpec{
			IssuerRef: v1alpha1.IssuerReference{Name: "neo"},
			SAPNeo:    &v1alpha1.SAPNeoCredential{Application: neoApplication, Roles: roles, Probe: &v1alpha1.SAPNeoProbe{Path: neoProbe}},
			Secret:    v1alpha1.TargetSecret{Name: "monitoring-client"},
		},
	}
	return []*team{{
		namespace: neoNamespace,
		objects: []runtime.Object{
			&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: neoNamespace}},
			&corev1.Secret{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: meta("neo-login"),
				StringData: map[string]string{
					"client_id": account.PlatformClients[0].ID, "client_secret": account.PlatformClients[0].Secret, "registrar_token": account.RegistrarToken,
				},
			},
			&v1alpha1.CredentialIssuer{
				TypeMeta: ours("CredentialIssuer"), ObjectMeta: meta("neo"),
				Spec: v1alpha1.CredentialIssuerSpec{SAPNeo: &v1alpha1.SAPNeoIssuer{
					URL: h.sim.URL(), Account: neoAccount, TokenURL: h.sim.TokenURL(neoAccount), CABundle: string(h.sim.CA()),
					Applications: []v1alpha1.SAPNeoApplication{{
						Name: neoApplication, ProviderAccount: "prov", Roles: roles, URL: h.sim.ApplicationURL(neoAccount, neoApplication),
					}},
					Registrar: v1alpha1.SAPNeoRegistrar{Type: "HTTP", URL: h.sim.RegistrarURL(neoAccount)},
					Login:     v1alpha1.SAPNeoLogin{SecretRef: v1alpha1.SecretReference{Name: "neo-login"}},
				}},
			},
			&v1alpha1.RotationPolicy{
				TypeMeta: ours("RotationPolicy"), ObjectMeta: meta("quick"),
				Spec: v1alpha1.RotationPolicySpec{
					Selector:    &metav1.LabelSelector{},
					RotateAfter: v1alpha1.Interval(seconds(rotateAfter)), Overlap: v1alpha1.Interval(seconds(overlap)),
				},
			},
			credential,
		},
		credentials: []*v1alpha1.APIClientCredential{credential},
	}}, nil
}

func (*neoHouse) read(kind string, attrs map[string]string) (version, bool) {
	return version{place: attrs["application"], mark: attrs["clientId"], held: attrs["clientId"]}, kind == "client"
}

func (*neoHouse) place(credential *v1alpha1.APIClientCredential) string {
	return credential.Spec.SAPNeo.Application
}

func (*neoHouse) show(secret *corev1.Secret, credential *v1alpha1.APIClientCredential) pair {
	id, key, _ := keys(credential)
	return pair{
		held:    string(secret.Data[id]),
		secret:  material.New(string(secret.Data[key])),
		version: secret.Annotations[journal.AnnotationVersion],
	}
}

func (h *neoHouse) caller(*v1alpha1.APIClientCredential) caller {
	return &tokenCaller{
		tokenURL: h.sim.TokenURL(neoAccount) + "?grant_type=client_credentials",
		url:      h.sim.ApplicationURL(neoAccount, neoApplication) + neoProbe,
		client: &http.Client{
			Timeout:   callTimeout,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots, MinVersion: tls.VersionTLS12}},
		},
	}
}

func (h *neoHouse) close() error {
	if h.sim == nil {
		return nil
	}
	return h.sim.Close()
}

// tokenCaller calls an application with a token that it keeps, as OAuth clients do: not
// one for each call.
type tokenCaller struct {
	tokenURL, url string
	client        *http.Client
	// token belongs to the client id of.
	of    string
	token material.Secret
}

func (c *tokenCaller) rest() {
	c.of, c.token = "", material.Secret{}
	c.client.CloseIdleConnections()
}

func (c *tokenCaller) call(ctx context.Context, p pair) error {
	if c.of != p.held {
		if err := c.logIn(ctx, p); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "workload")
	request.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	return served(c.client, request)
}

func (c *tokenCaller) logIn(ctx context.Context, p pair) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.tokenURL, nil)
	if err != nil {
		return err
	}
	request.SetBasicAuth(p.held, p.secret.Reveal())
	response, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("the token endpoint answered %d", response.StatusCode)
	}
	c.of, c.token = p.held, material.New(answer.Token)
	return nil
}
