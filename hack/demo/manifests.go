package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// samples are the manifests of config/samples, as a user would begin with.
type samples struct {
	namespace  *corev1.Namespace
	login      *corev1.Secret
	issuer     *v1alpha1.CredentialIssuer
	policy     *v1alpha1.RotationPolicy
	credential *v1alpha1.APIClientCredential
}

// sampleFolder is where the samples are, from the root of the repository.
const sampleFolder = "config/samples"

// apiConnectSamples are the files that make up the samples of IBM API Connect.
var apiConnectSamples = []string{"00-namespace.yaml", "10-login.yaml", "20-issuer.yaml", "30-policy.yaml", "40-credential.yaml"}

// readSamples reads files of a folder. Fields that do not exist are refused, and so are
// files that lack one of the kinds.
func readSamples(folder string, files ...string) (*samples, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	s := &samples{}
	for _, file := range files {
		if err := s.read(decoder, filepath.Join(folder, file)); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if s.namespace == nil || s.login == nil || s.issuer == nil || s.policy == nil || s.credential == nil {
		return nil, fmt.Errorf("%s must hold a Namespace, a login Secret, a CredentialIssuer, a RotationPolicy and an APIClientCredential", folder)
	}
	if s.issuer.Spec.IBMAPIConnect == nil || s.credential.Spec.IBMAPIConnect == nil || s.credential.Spec.IBMAPIConnect.Probe == nil {
		return nil, fmt.Errorf("%s: the issuer and the credential must be of IBM API Connect, with a probe", folder)
	}
	return s, nil
}

func (s *samples) read(decoder runtime.Decoder, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		object, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			return err
		}
		switch o := object.(type) {
		case *corev1.Namespace:
			s.namespace = o
		case *corev1.Secret:
			s.login = o
		case *v1alpha1.CredentialIssuer:
			s.issuer = o
		case *v1alpha1.RotationPolicy:
			s.policy = o
		case *v1alpha1.APIClientCredential:
			s.credential = o
		}
	}
}

// team is one namespace of the demo with everything in it.
type team struct {
	namespace   string
	objects     []runtime.Object
	credentials []*v1alpha1.APIClientCredential
}

// apps are the names of the first credentials; further ones are numbered.
var apps = []string{"billing", "tracking", "invoices", "orders", "refunds", "returns"}

func app(i int) string {
	if i < len(apps) {
		return apps[i]
	}
	return fmt.Sprintf("service-%d", i+1)
}

// teams spreads n credentials over two namespaces. What differs from the samples is
// what a user has to fill in (addresses, login, apps) and what makes it quick.
func (s *samples) teams(n int, upstream *simulator) ([]*team, error) {
	both := []*team{}
	for _, namespace := range []string{s.namespace.Name, "shipping"} {
		t, err := s.team(namespace, upstream)
		if err != nil {
			return nil, err
		}
		t.objects = append(t.objects, s.quick(namespace))
		both = append(both, t)
	}
	for i := range n {
		t := both[i%len(both)]
		t.add(s.credential, app(i))
		t.deploy()
	}
	return slices.DeleteFunc(both, func(t *team) bool { return len(t.credentials) == 0 }), nil
}

// team makes a namespace with a login and an issuer that work with the simulator.
func (s *samples) team(namespace string, upstream *simulator) (*team, error) {
	login, toolkit, err := accounts()
	if err != nil {
		return nil, err
	}
	space := s.namespace.DeepCopy()
	space.Name = namespace
	secret := s.login.DeepCopy()
	secret.Namespace = namespace
	secret.StringData = map[string]string{
		"username": login.Username, "password": login.Password,
		"client_id": toolkit.ClientID, "client_secret": toolkit.ClientSecret,
	}
	issuer := s.issuer.DeepCopy()
	issuer.Namespace = namespace
	connect := issuer.Spec.IBMAPIConnect
	connect.URL, connect.GatewayURL, connect.CABundle = upstream.url, upstream.gateway, string(upstream.ca)
	connect.Login.Realm = login.Realm
	return &team{namespace: namespace, objects: []runtime.Object{space, secret, issuer}}, nil
}

// quick is the sample's policy with short intervals, and with a window that is always
// open: waiting for Saturday would be beside the point. It waits for pods, too.
func (s *samples) quick(namespace string) *v1alpha1.RotationPolicy {
	policy := s.policy.DeepCopy()
	policy.Namespace = namespace
	policy.Spec.RotateAfter = v1alpha1.Interval(seconds(rotateAfter))
	policy.Spec.Overlap = v1alpha1.Interval(seconds(overlap))
	policy.Spec.Uptake = &v1alpha1.UptakePolicy{Mode: v1alpha1.UptakeConsumers, Margin: &metav1.Duration{Duration: margin}}
	for i := range policy.Spec.Windows {
		policy.Spec.Windows[i].Schedule = "* * * * *"
		policy.Spec.Windows[i].Duration = metav1.Duration{Duration: time.Hour}
	}
	return policy
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())) }

// add makes one more credential, for an app of its name.
func (t *team) add(sample *v1alpha1.APIClientCredential, app string) {
	credential := sample.DeepCopy()
	credential.Namespace, credential.Name = t.namespace, app
	credential.Spec.IBMAPIConnect.App = app
	credential.Spec.Secret.Name = app + "-api"
	t.objects = append(t.objects, credential)
	t.credentials = append(t.credentials, credential)
}

// deploy gives the last credential a Deployment that lives on it and is restarted for it.
func (t *team) deploy() {
	credential := t.credentials[len(t.credentials)-1]
	workload := deployment(credential)
	credential.Spec.Rollout = []v1alpha1.RolloutTarget{{Kind: workload.Kind, Name: workload.Name}}
	t.objects = append(t.objects, workload)
}

// manifests writes objects as one would in a file, without status.
func manifests(objects ...runtime.Object) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, nil, nil, json.SerializerOptions{Yaml: true})
	for _, object := range objects {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return nil, err
		}
		delete(fields, "status")
		text.WriteString("---\n")
		if err := encoder.Encode(&unstructured.Unstructured{Object: fields}, &text); err != nil {
			return nil, err
		}
	}
	return text.Bytes(), nil
}

// keys are the keys of a target Secret that hold the id and the secret; ok is false if
// its template has none that hold just that.
func keys(credential *v1alpha1.APIClientCredential) (id, secret string, ok bool) {
	if credential.Spec.Secret.Template == nil {
		return "client_id", "client_secret", true
	}
	for key, template := range credential.Spec.Secret.Template.Data {
		switch strings.Trim(template, "{} ") {
		case ".clientID":
			id = key
		case ".clientSecret":
			secret = key
		}
	}
	return id, secret, id != "" && secret != ""
}

func secretOf(credential *v1alpha1.APIClientCredential) types.NamespacedName {
	return types.NamespacedName{Namespace: credential.Namespace, Name: credential.Spec.Secret.Name}
}

func nameOf(credential *v1alpha1.APIClientCredential) types.NamespacedName {
	return types.NamespacedName{Namespace: credential.Namespace, Name: credential.Name}
}
