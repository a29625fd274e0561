package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// The world of the simulated region.
const (
	cfNamespace = "monitoring"
	cfOrg       = "acme"
	cfSpace     = "dev"
	cfProbe     = "/api/v1/MessageProcessingLogs"
	// cfToken is how long a workload keeps a token. Real ones live for hours after their key
	// has ended; so one that ended too early would never be felt.
	cfToken = 2 * time.Second
	// cfPropagation is how long the token endpoint does not know a new key.
	cfPropagation = time.Second
)

// cfKeys are the credentials of the demo, one of each type of key, each of an instance of
// its own; the last one's is made by the operator.
var cfKeys = []struct {
	name, offering string
	credential     v1alpha1.CloudFoundryCredential
}{
	{"logs-secret", "it-rt", v1alpha1.CloudFoundryCredential{Instance: "logs-by-secret", Probe: &v1alpha1.CloudFoundryProbe{Path: cfProbe}}},
	{"logs-certificate", "it-rt", v1alpha1.CloudFoundryCredential{
		Instance: "logs-by-certificate", KeyType: "Certificate", ValidityDays: 90, KeyLength: 2048, Probe: &v1alpha1.CloudFoundryProbe{Path: cfProbe},
	}},
	{"logs-signed", "it-rt", v1alpha1.CloudFoundryCredential{
		Instance: "logs-by-our-certificate", KeyType: "ExternalCertificate", ValidityDays: 30, Probe: &v1alpha1.CloudFoundryProbe{Path: cfProbe},
	}},
	{"uaa-secret", "xsuaa", v1alpha1.CloudFoundryCredential{Instance: "uaa-by-secret", KeyType: "XSUAABindingSecret"}},
	{"uaa-certificate", "xsuaa", v1alpha1.CloudFoundryCredential{Instance: "uaa-by-certificate", KeyType: "XSUAACertificate", ValidityDays: 7}},
	{"logs-managed", "it-rt", v1alpha1.CloudFoundryCredential{
		Managed: &v1alpha1.ManagedInstance{
			Name: "logs-made-by-claviger", Offering: "it-rt", Plan: "api", Roles: []string{"MonitoringDataRead"}, GrantTypes: []string{"client_credentials"},
		},
		Probe: &v1alpha1.CloudFoundryProbe{Path: cfProbe},
	}},
}

// The keys of the target Secrets: the whole service key, and for certificates that are
// signed here the private key, which SAP's document lacks.
const (
	cfDocument   = "key.json"
	cfPrivateKey = "tls.key"
)

// cloudFoundryHouse is the house of SAP Cloud Foundry: service keys with a secret or a
// certificate, whose tokens an API takes.
type cloudFoundryHouse struct {
	sim   *cloudfoundrysim.Sim
	roots *x509.CertPool
	// signer is the authority that signs external certificates.
	signer *simkit.Authority
}

func (*cloudFoundryHouse) title() string { return "SAP Cloud Foundry" }

// cfPassword is looked for where no secret may be, so it is like no other text.
var cfPassword = rand.Text()

// cfUser is who the operator is in the region.
func cfUser() cloudfoundrysim.User {
	return cloudfoundrysim.User{Name: "claviger", Password: cfPassword, Spaces: []string{cfOrg + "/" + cfSpace}}
}

func (h *cloudFoundryHouse) open(context.Context, *stage, *os.File) (simkit.Remote, error) {
	var err error
	if h.signer, err = simkit.NewAuthority(); err != nil {
		return simkit.Remote{}, err
	}
	seed := cloudfoundrysim.Seed{Users: []cloudfoundrysim.User{cfUser()}, ClientCAs: string(h.signer.PEM())}
	for _, k := range cfKeys {
		if k.credential.Managed != nil {
			continue
		}
		seed.Instances = append(seed.Instances, cloudfoundrysim.Instance{
			Org: cfOrg, Space: cfSpace, Name: k.credential.Instance, Offering: k.offering, Plan: "any", Roles: []string{"MonitoringDataRead"},
		})
	}
	behaviour := cloudfoundrysim.Usual()
	behaviour.Propagation = simkit.Duration(cfPropagation)
	sim := cloudfoundrysim.New(cloudfoundrysim.Options{ControlListen: "127.0.0.1:0", Behaviour: &behaviour, Seed: seed})
	if err := sim.Start(); err != nil {
		return simkit.Remote{}, err
	}
	h.sim, h.roots = sim, x509.NewCertPool()
	h.roots.AppendCertsFromPEM(sim.CA())
	return simkit.Remote{Base: sim.ControlURL()}, nil
}

func (h *cloudFoundryHouse) teams(context.Context, settings) ([]*team, error) {
	key, err := h.signer.KeyPEM()
	if err != nil {
		return nil, err
	}
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: cfNamespace, Name: name} }
	ours := func(kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind}
	}
	t := &team{
		namespace: cfNamespace,
		objects: []runtime.Object{
			&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: cfNamespace}},
			&corev1.Secret{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: meta("cf-login"),
				StringData: map[string]string{
					"username": cfUser().Name, "password": cfUser().Password, "signer.crt": string(h.signer.PEM()), "signer.key": string(key),
				},
			},
			&v1alpha1.CredentialIssuer{
				TypeMeta: ours("CredentialIssuer"), ObjectMeta: meta("cf"),
				Spec: v1alpha1.CredentialIssuerSpec{CloudFoundry: &v1alpha1.CloudFoundryIssuer{
					URL: h.sim.URL(), Organization: cfOrg, Space: cfSpace, CABundle: string(h.sim.CA()),
					ManagedInstances: []v1alpha1.ManagedInstanceAllowance{{Offering: "it-rt", Plans: []string{"api"}, Roles: []string{"MonitoringDataRead"}}},
					Login:            v1alpha1.CloudFoundryLogin{SecretRef: v1alpha1.SecretReference{Name: "cf-login"}},
				}},
			},
			&v1alpha1.RotationPolicy{
				TypeMeta: ours("RotationPolicy"), ObjectMeta: meta("quick"),
				Spec: v1alpha1.RotationPolicySpec{
					Selector:    &metav1.LabelSelector{},
					RotateAfter: v1alpha1.Interval(seconds(rotateAfter)), Overlap: v1alpha1.Interval(seconds(overlap)),
				},
			},
		},
	}
	for _, k := range cfKeys {
		data := map[string]string{cfDocument: "{{ .document }}"}
		if k.credential.KeyType == "ExternalCertificate" {
			data[cfPrivateKey] = "{{ .privateKey }}"
		}
		credential := &v1alpha1.APIClientCredential{
			TypeMeta: ours("APIClientCredential"), ObjectMeta: meta(k.name),
			Spec: v1alpha1.APIClientCredentialSpec{
				IssuerRef:    v1alpha1.IssuerReference{Name: "cf"},
				CloudFoundry: k.credential.DeepCopy(),
				Secret:       v1alpha1.TargetSecret{Name: k.name + "-key", Template: &v1alpha1.SecretTemplate{Data: data}},
			},
		}
		t.objects, t.credentials = append(t.objects, credential), append(t.credentials, credential)
	}
	return []*team{t}, nil
}

func (*cloudFoundryHouse) read(kind string, attrs map[string]string) (version, bool) {
	return version{place: attrs["instance"], mark: attrs["mark"], held: attrs["fingerprint"]}, kind == "key"
}

func (*cloudFoundryHouse) place(credential *v1alpha1.APIClientCredential) string {
	if managed := credential.Spec.CloudFoundry.Managed; managed != nil {
		return managed.Name
	}
	return credential.Spec.CloudFoundry.Instance
}

// show reads the document. Keys of one XSUAA instance share their client id, so they are
// told apart by what proves it.
func (*cloudFoundryHouse) show(secret *corev1.Secret, _ *v1alpha1.APIClientCredential) pair {
	k, err := parseServiceKey(secret.Data[cfDocument])
	if err != nil {
		return pair{}
	}
	if key := secret.Data[cfPrivateKey]; len(key) > 0 {
		k.Key = string(key)
	}
	text, err := json.Marshal(k) //nolint:gosec // the demo's own workload holds its key
	if err != nil {
		return pair{}
	}
	return pair{held: k.fingerprint(), secret: material.New(string(text)), version: secret.Annotations[journal.AnnotationVersion]}
}

func (h *cloudFoundryHouse) caller(*v1alpha1.APIClientCredential) caller {
	return &serviceKeyCaller{url: h.sim.APIURL() + cfProbe, roots: h.roots}
}

func (h *cloudFoundryHouse) close() error {
	if h.sim == nil {
		return nil
	}
	return h.sim.Close()
}

// serviceKey is a service key as SAP's own libraries read it: it-rt nests it.
type serviceKey struct {
	ClientID     string `json:"clientid"`
	ClientSecret string `json:"clientsecret"`
	Certificate  string `json:"certificate"`
	Key          string `json:"key"`
	URL          string `json:"url"`
	TokenURL     string `json:"tokenurl"`
	CertURL      string `json:"certurl"`
}

func parseServiceKey(text []byte) (serviceKey, error) {
	var whole struct {
		serviceKey
		OAuth *serviceKey `json:"oauth"`
	}
	if err := json.Unmarshal(text, &whole); err != nil {
		return serviceKey{}, errors.New("the Secret holds no service key")
	}
	if whole.OAuth != nil {
		return *whole.OAuth, nil
	}
	return whole.serviceKey, nil
}

// fingerprint is what the ledger calls a key by.
func (k serviceKey) fingerprint() string {
	proof := []byte(k.ClientSecret)
	if block, _ := pem.Decode([]byte(k.Certificate)); block != nil {
		proof = block.Bytes
	}
	return fingerprint(proof)
}

// fingerprint is what ledgers call a secret by.
func fingerprint(secret []byte) string {
	sum := sha256.Sum256(secret)
	return hex.EncodeToString(sum[:8])
}

// tokenEndpoint is where the key logs in.
func (k serviceKey) tokenEndpoint() string {
	switch {
	case k.TokenURL != "":
		return k.TokenURL
	case k.CertURL != "":
		return k.CertURL + "/oauth/token"
	}
	return k.URL + "/oauth/token"
}

// serviceKeyCaller calls an API with tokens of a service key.
type serviceKeyCaller struct {
	url   string
	roots *x509.CertPool
	// client presents the certificate of the key of, and token is its token until until.
	client *http.Client
	of     string
	token  material.Secret
	until  time.Time
}

func (c *serviceKeyCaller) rest() {
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	c.of, c.token, c.client = "", material.Secret{}, nil
}

func (c *serviceKeyCaller) call(ctx context.Context, p pair) error {
	if c.of != p.held || time.Now().After(c.until) {
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

func (c *serviceKeyCaller) logIn(ctx context.Context, p pair) error {
	k, err := parseServiceKey([]byte(p.secret.Reveal()))
	if err != nil {
		return err
	}
	if c.client == nil || c.of != p.held {
		c.rest()
		settings := &tls.Config{RootCAs: c.roots, MinVersion: tls.VersionTLS12}
		if k.Key != "" {
			pair, err := tls.X509KeyPair([]byte(k.Certificate), []byte(k.Key))
			if err != nil {
				return errors.New("certificate and key do not belong together")
			}
			settings.Certificates = []tls.Certificate{pair}
		}
		c.client = &http.Client{Timeout: callTimeout, Transport: &http.Transport{TLSClientConfig: settings}}
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {k.ClientID}}
	if k.ClientSecret != "" {
		form.Set("client_secret", k.ClientSecret)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, k.tokenEndpoint(), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "workload")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
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
	c.of, c.token, c.until = p.held, material.New(answer.Token), time.Now().Add(cfToken)
	return nil
}
