package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/centrasitesim"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
)

const (
	centraSiteNamespace = "consumers"
	centraSiteUser      = "svc-k8s"
	centraSiteReviewer  = "alice"
)

// centraSiteRotateAfter is out of step with the other houses: what the operator was asking
// for when it was killed is looked up only when the call cannot be under way any more.
const centraSiteRotateAfter = rotateAfter - 2*time.Second

// centraSitePassword is looked for where no secret may be, so it is like no other text.
var centraSitePassword = rand.Text()

// centraSiteHouse is the house of CentraSite: a key and a client that anybody gets, and a
// key that a reviewer agrees to each time, in CentraSite.
type centraSiteHouse struct {
	sim   *centrasitesim.Sim
	roots *x509.CertPool
	leave context.CancelFunc
	left  chan struct{}
}

func (*centraSiteHouse) title() string { return "CentraSite" }

func (h *centraSiteHouse) open(ctx context.Context, _ *stage, _ *os.File) (simkit.Remote, error) {
	seed := centrasitesim.Sample()
	for i := range seed.Users {
		if seed.Users[i].Name == centraSiteUser {
			seed.Users[i].Password = centraSitePassword
		}
	}
	sim := centrasitesim.New(centrasitesim.Options{ControlListen: "127.0.0.1:0", Seed: seed})
	if err := sim.Start(); err != nil {
		return simkit.Remote{}, err
	}
	h.sim, h.roots, h.left = sim, x509.NewCertPool(), make(chan struct{})
	h.roots.AppendCertsFromPEM(sim.CA())
	reviewing, leave := context.WithCancel(ctx)
	h.leave = leave
	go h.review(reviewing)
	return simkit.Remote{Base: sim.ControlURL()}, nil
}

// review agrees to everything that is asked, as its reviewer does.
func (h *centraSiteHouse) review(ctx context.Context) {
	defer close(h.left)
	for since := int64(0); ; {
		asked, err := h.sim.Events().Wait(ctx, since, func(e simkit.Event) bool { return e.Type == centrasitesim.EventAsked })
		if err != nil {
			return // the demo is over
		}
		since = asked.Seq
		_ = h.sim.Approve(asked.Attrs["appId"], centraSiteReviewer) // what was taken back needs no answer
	}
}

func (h *centraSiteHouse) teams(context.Context, settings) ([]*team, error) {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: centraSiteNamespace, Name: name}
	}
	ours := func(kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind}
	}
	credential := func(name string, wanted v1alpha1.CentraSiteCredential, data map[string]string) *v1alpha1.APIClientCredential {
		return &v1alpha1.APIClientCredential{
			TypeMeta: ours("APIClientCredential"), ObjectMeta: meta(name),
			Spec: v1alpha1.APIClientCredentialSpec{
				IssuerRef: v1alpha1.IssuerReference{Name: "centrasite"}, CentraSite: &wanted,
				Secret: v1alpha1.TargetSecret{Name: name, Template: &v1alpha1.SecretTemplate{Data: data}},
			},
		}
	}
	key := func(api, service string) v1alpha1.CentraSiteCredential {
		return v1alpha1.CentraSiteCredential{API: api, Type: "APIKey", Probe: &v1alpha1.CentraSiteProbe{Path: "/ws/" + service}}
	}
	apiKey := map[string]string{"api_key": "{{ .apiKey }}"}
	orders := credential("orders-key", key("uddi:orders", "OrdersVirtualService"), apiKey)
	payroll := credential("payroll-key", key("uddi:payroll", "PayrollVirtualService"), apiKey)
	client := credential("orders-oauth", v1alpha1.CentraSiteCredential{API: "uddi:orders", Type: "OAuth2", Service: "OrdersVirtualService"},
		map[string]string{"client_id": "{{ .clientID }}", "client_secret": "{{ .clientSecret }}"})
	return []*team{{
		namespace: centraSiteNamespace,
		objects: []runtime.Object{
			&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: centraSiteNamespace}},
			&corev1.Secret{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: meta("centrasite-login"),
				StringData: map[string]string{"username": centraSiteUser, "password": centraSitePassword},
			},
			&v1alpha1.CredentialIssuer{
				TypeMeta: ours("CredentialIssuer"), ObjectMeta: meta("centrasite"),
				Spec: v1alpha1.CredentialIssuerSpec{CentraSite: &v1alpha1.CentraSiteIssuer{
					URL: h.sim.URL(), UserID: centraSiteUser, CABundle: string(h.sim.CA()),
					Approvals: v1alpha1.CentraSiteApprovals{URL: h.sim.ApprovalURL(), Namespace: centrasitesim.Namespace},
					Mediator:  v1alpha1.CentraSiteMediator{URL: h.sim.MediatorURL()},
					Login:     v1alpha1.CentraSiteLogin{SecretRef: v1alpha1.SecretReference{Name: "centrasite-login"}},
				}},
			},
			&v1alpha1.RotationPolicy{
				TypeMeta: ours("RotationPolicy"), ObjectMeta: meta("quick"),
				Spec: v1alpha1.RotationPolicySpec{
					Selector:    &metav1.LabelSelector{},
					RotateAfter: v1alpha1.Interval(seconds(centraSiteRotateAfter)), Overlap: v1alpha1.Interval(seconds(overlap)),
				},
			},
			orders, payroll, client,
		},
		credentials: []*v1alpha1.APIClientCredential{orders, payroll, client},
	}}, nil
}

// read finds the versions: their application is made of their mark.
func (*centraSiteHouse) read(kind string, attrs map[string]string) (version, bool) {
	v := version{place: attrs["api"] + " " + attrs["type"], mark: strings.TrimPrefix(attrs["appId"], "claviger-"), held: attrs["fingerprint"]}
	if attrs["clientId"] != "" {
		v.held = attrs["clientId"]
	}
	return v, kind == "token"
}

func (*centraSiteHouse) place(credential *v1alpha1.APIClientCredential) string {
	return credential.Spec.CentraSite.API + " " + credential.Spec.CentraSite.Type
}

func (*centraSiteHouse) show(secret *corev1.Secret, credential *v1alpha1.APIClientCredential) pair {
	p := pair{version: secret.Annotations[journal.AnnotationVersion]}
	if credential.Spec.CentraSite.Type == "OAuth2" {
		p.held, p.secret = string(secret.Data["client_id"]), material.New(string(secret.Data["client_secret"]))
		return p
	}
	if key := secret.Data["api_key"]; len(key) > 0 {
		p.held, p.secret = fingerprint(key), material.New(string(key))
	}
	return p
}

func (h *centraSiteHouse) caller(credential *v1alpha1.APIClientCredential) caller {
	client := &http.Client{
		Timeout:   callTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots, MinVersion: tls.VersionTLS12}},
	}
	of := credential.Spec.CentraSite
	if of.Type == "OAuth2" {
		return &tokenCaller{
			tokenURL: h.sim.MediatorURL() + "/rest/pub.mediator.oauth2.getOAuth2AccessToken?scope=" + of.Service,
			url:      h.sim.MediatorURL() + "/ws/" + of.Service, client: client,
		}
	}
	return &keyCaller{url: h.sim.MediatorURL() + of.Probe.Path, client: client}
}

func (h *centraSiteHouse) close() error {
	if h.sim == nil {
		return nil
	}
	h.leave()
	<-h.left
	return h.sim.Close()
}

// keyCaller calls with the key that its Secret holds.
type keyCaller struct {
	url    string
	client *http.Client
}

func (c *keyCaller) rest() { c.client.CloseIdleConnections() }

func (c *keyCaller) call(ctx context.Context, p pair) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "workload")
	request.Header.Set("x-CentraSite-APIKey", p.secret.Reveal())
	return served(c.client, request)
}
