package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/webmethodsportalsim"
)

const (
	portalNamespace = "catalogue"
	portalKey       = "api_key"
)

// portalPassword is looked for where no secret may be, so it is like no other text.
var portalPassword = rand.Text()

// portalHouse is the house of the webMethods Developer Portal: an API key and an OAuth2
// client, each for an API of its own, which the gateway behind the portal takes as long as
// their applications live.
type portalHouse struct {
	sim   *webmethodsportalsim.Sim
	roots *x509.CertPool
	// keyed and tokened are the APIs of the key and of the client.
	keyed, tokened string
}

func (*portalHouse) title() string { return "the webMethods Developer Portal" }

func (h *portalHouse) open(context.Context, *stage, *os.File) (simkit.Remote, error) {
	seed := webmethodsportalsim.Sample()
	seed.Users[0].Password = portalPassword
	behaviour := webmethodsportalsim.Usual()
	behaviour.Stages = nil // each look at a request takes longer than the one before
	sim := webmethodsportalsim.New(webmethodsportalsim.Options{ControlListen: "127.0.0.1:0", Behaviour: &behaviour, Seed: seed})
	if err := sim.Start(); err != nil {
		return simkit.Remote{}, err
	}
	h.sim, h.roots, h.keyed, h.tokened = sim, x509.NewCertPool(), seed.APIs[0].ID, seed.APIs[1].ID
	h.roots.AppendCertsFromPEM(sim.CA())
	return simkit.Remote{Base: sim.ControlURL()}, nil
}

func (h *portalHouse) teams(context.Context, settings) ([]*team, error) {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: portalNamespace, Name: name}
	}
	ours := func(kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind}
	}
	credential := func(name, kind, api string, template *v1alpha1.SecretTemplate) *v1alpha1.APIClientCredential {
		return &v1alpha1.APIClientCredential{
			TypeMeta: ours("APIClientCredential"), ObjectMeta: meta(name),
			Spec: v1alpha1.APIClientCredentialSpec{
				IssuerRef: v1alpha1.IssuerReference{Name: "portal"},
				WebMethodsPortal: &v1alpha1.WebMethodsPortalCredential{
					Type: kind, APIs: []string{api}, Probe: &v1alpha1.WebMethodsPortalProbe{Path: h.path(api)},
				},
				Secret: v1alpha1.TargetSecret{Name: name, Template: template},
			},
		}
	}
	key := credential("catalogue-key", "APIKey", h.keyed, &v1alpha1.SecretTemplate{Data: map[string]string{portalKey: "{{ .apiKey }}"}})
	client := credential("invoices-client", "OAuth2", h.tokened, nil)
	return []*team{{
		namespace: portalNamespace,
		objects: []runtime.Object{
			&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: portalNamespace}},
			&corev1.Secret{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: meta("portal-login"),
				StringData: map[string]string{"username": webmethodsportalsim.Sample().Users[0].Name, "password": portalPassword},
			},
			&v1alpha1.CredentialIssuer{
				TypeMeta: ours("CredentialIssuer"), ObjectMeta: meta("portal"),
				Spec: v1alpha1.CredentialIssuerSpec{WebMethodsPortal: &v1alpha1.WebMethodsPortalIssuer{
					URL: h.sim.URL(), CABundle: string(h.sim.CA()), Gateway: &v1alpha1.WebMethodsPortalGateway{URL: h.sim.GatewayURL()},
					Login: v1alpha1.WebMethodsPortalLogin{SecretRef: v1alpha1.SecretReference{Name: "portal-login"}},
				}},
			},
			&v1alpha1.RotationPolicy{
				TypeMeta: ours("RotationPolicy"), ObjectMeta: meta("quick"),
				Spec: v1alpha1.RotationPolicySpec{
					Selector:    &metav1.LabelSelector{},
					RotateAfter: v1alpha1.Interval(seconds(rotateAfter)), Overlap: v1alpha1.Interval(seconds(overlap)),
				},
			},
			key, client,
		},
		credentials: []*v1alpha1.APIClientCredential{key, client},
	}}, nil
}

// path is what probes and workloads ask of an API.
func (*portalHouse) path(api string) string { return "/gateway/" + api + "/status" }

// read tells applications apart by what their workload shows: a key by a hash of it.
func (h *portalHouse) read(kind string, attrs map[string]string) (version, bool) {
	v := version{place: attrs["apis"], mark: attrs["mark"], held: attrs["clientId"]}
	if v.place == h.keyed {
		v.held = attrs["fingerprint"]
	}
	return v, kind == "application"
}

func (*portalHouse) place(credential *v1alpha1.APIClientCredential) string {
	return credential.Spec.WebMethodsPortal.APIs[0]
}

func (h *portalHouse) show(secret *corev1.Secret, credential *v1alpha1.APIClientCredential) pair {
	p := pair{version: secret.Annotations[journal.AnnotationVersion]}
	if key := secret.Data[portalKey]; h.place(credential) == h.keyed {
		if len(key) > 0 {
			p.held, p.secret = fingerprint(key), material.New(string(key))
		}
		return p
	}
	id, key, _ := keys(credential)
	p.held, p.secret = string(secret.Data[id]), material.New(string(secret.Data[key]))
	return p
}

func (h *portalHouse) caller(credential *v1alpha1.APIClientCredential) caller {
	client := &http.Client{
		Timeout:   callTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots, MinVersion: tls.VersionTLS12}},
	}
	url := h.sim.GatewayURL() + h.path(h.place(credential))
	if h.place(credential) == h.keyed {
		return &portalKeyCaller{url: url, client: client}
	}
	return &tokenCaller{tokenURL: h.sim.TokenURL() + "?grant_type=client_credentials", url: url, client: client}
}

func (h *portalHouse) close() error {
	if h.sim == nil {
		return nil
	}
	return h.sim.Close()
}

// portalKeyCaller calls an API with a key in the header of the gateway.
type portalKeyCaller struct {
	url    string
	client *http.Client
}

func (c *portalKeyCaller) rest() { c.client.CloseIdleConnections() }

func (c *portalKeyCaller) call(ctx context.Context, p pair) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "workload")
	request.Header.Set("X-Gateway-Apikey", p.secret.Reveal())
	return served(c.client, request)
}
