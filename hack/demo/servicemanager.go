package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
	"github.com/claviger-dev/claviger/internal/servicemanagersim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// The world of the simulated subaccount.
const (
	managerNamespace  = "kyma-monitoring"
	managerSubaccount = "0c1d9a6e-7f7b-4c58-9a55-2d1c1a3a4a10"
	managerClient     = "sb-claviger!b1"
	// managerBrokerTime is how long a broker takes, so that the operator has to come again.
	managerBrokerTime = simkit.Duration(500 * time.Millisecond)
)

// managerKeys are the credentials of the demo, each of an instance of its own.
var managerKeys = []struct {
	name       string
	credential v1alpha1.CloudFoundryCredential
}{
	{"kyma-logs", v1alpha1.CloudFoundryCredential{Instance: "logs-in-kyma", Probe: &v1alpha1.CloudFoundryProbe{Path: cfProbe}}},
	{"kyma-certificate", v1alpha1.CloudFoundryCredential{
		Instance: "logs-in-kyma-by-certificate", KeyType: "Certificate", ValidityDays: 90, KeyLength: 2048, Probe: &v1alpha1.CloudFoundryProbe{Path: cfProbe},
	}},
}

// serviceManagerHouse is the house of SAP Service Manager: the keys of Cloud Foundry as bindings of
// a subaccount, made by operations.
type serviceManagerHouse struct {
	sim   *servicemanagersim.Sim
	roots *x509.CertPool
}

func (*serviceManagerHouse) title() string { return "SAP Service Manager" }

// managerSecret is looked for where no secret may be, so it is like no other text.
var managerSecret = rand.Text()

func (h *serviceManagerHouse) open(context.Context, *stage, *os.File) (simkit.Remote, error) {
	seed := servicemanagersim.Seed{
		Clients: []servicemanagersim.Client{{ID: managerClient, Secret: managerSecret, Subaccount: managerSubaccount, Plan: servicemanagersim.PlanAdmin}},
	}
	for _, k := range managerKeys {
		seed.Instances = append(seed.Instances, servicemanagersim.Instance{
			Subaccount: managerSubaccount, Name: k.credential.Instance, Offering: "it-rt", Plan: "api", Roles: []string{"MonitoringDataRead"},
		})
	}
	behaviour, brokers := servicemanagersim.Usual(), cloudfoundrysim.Usual()
	behaviour.Async, behaviour.BrokerTime = true, managerBrokerTime
	brokers.Propagation = simkit.Duration(cfPropagation)
	sim := servicemanagersim.New(servicemanagersim.Options{ControlListen: "127.0.0.1:0", Behaviour: &behaviour, Brokers: &brokers, Seed: seed})
	if err := sim.Start(); err != nil {
		return simkit.Remote{}, err
	}
	h.sim, h.roots = sim, x509.NewCertPool()
	h.roots.AppendCertsFromPEM(sim.CA())
	return simkit.Remote{Base: sim.ControlURL()}, nil
}

func (h *serviceManagerHouse) teams(context.Context, settings) ([]*team, error) {
	binding, err := h.sim.Document(managerClient)
	if err != nil {
		return nil, err
	}
	login, err := json.Marshal(binding)
	if err != nil {
		return nil, err
	}
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: managerNamespace, Name: name} }
	ours := func(kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind}
	}
	t := &team{
		namespace: managerNamespace,
		objects: []runtime.Object{
			&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: managerNamespace}},
			&corev1.Secret{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: meta("sm-login"),
				StringData: map[string]string{"credentials.json": string(login)},
			},
			&v1alpha1.CredentialIssuer{
				TypeMeta: ours("CredentialIssuer"), ObjectMeta: meta("sm"),
				Spec: v1alpha1.CredentialIssuerSpec{SAPServiceManager: &v1alpha1.SAPServiceManagerIssuer{
					URL: h.sim.URL(), SubaccountID: managerSubaccount, CABundle: string(h.sim.CA()),
					Login: v1alpha1.SAPServiceManagerLogin{SecretRef: v1alpha1.SecretReference{Name: "sm-login"}},
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
	for _, k := range managerKeys {
		credential := &v1alpha1.APIClientCredential{
			TypeMeta: ours("APIClientCredential"), ObjectMeta: meta(k.name),
			Spec: v1alpha1.APIClientCredentialSpec{
				IssuerRef:    v1alpha1.IssuerReference{Name: "sm"},
				CloudFoundry: k.credential.DeepCopy(),
				Secret:       v1alpha1.TargetSecret{Name: k.name + "-key", Template: &v1alpha1.SecretTemplate{Data: map[string]string{cfDocument: "{{ .document }}"}}},
			},
		}
		t.objects, t.credentials = append(t.objects, credential), append(t.credentials, credential)
	}
	return []*team{t}, nil
}

func (*serviceManagerHouse) read(kind string, attrs map[string]string) (version, bool) {
	return version{place: attrs["instance"], mark: attrs["mark"], held: attrs["fingerprint"]}, kind == "binding"
}

func (*serviceManagerHouse) place(credential *v1alpha1.APIClientCredential) string {
	return credential.Spec.CloudFoundry.Instance
}

// show reads the document as that of a service key: it is one.
func (*serviceManagerHouse) show(secret *corev1.Secret, credential *v1alpha1.APIClientCredential) pair {
	return (&cloudFoundryHouse{}).show(secret, credential)
}

func (h *serviceManagerHouse) caller(*v1alpha1.APIClientCredential) caller {
	return &serviceKeyCaller{url: h.sim.Landscape().APIURL() + cfProbe, roots: h.roots}
}

func (h *serviceManagerHouse) close() error {
	if h.sim == nil {
		return nil
	}
	return h.sim.Close()
}
