package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/controlplane"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/serverclock"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// clusterID of the tests, and the longest that anything may take.
const (
	clusterID = "cluster-of-the-tests"
	longest   = time.Minute
)

var started *controlplane.ControlPlane

// plane starts the control plane for the first test that needs one.
var plane = sync.OnceValues(func() (*controlplane.ControlPlane, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	var err error
	started, err = controlplane.Start(ctx, controlplane.Options{CRDPaths: []string{"../../config/crd"}, ControllerManager: true})
	return started, err
})

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code := m.Run()
	if started != nil {
		if err := started.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// world is one operator that looks after one namespace.
type world struct {
	*testing.T
	client    client.Client
	namespace string
	provider  *provider
	accounts  *Accounts
	// writes counts what the operator sends to the API server, events and leases apart.
	writes atomic.Int64
}

// counting counts the writes that pass through.
type counting struct {
	inner  http.RoundTripper
	writes *atomic.Int64
}

func (c counting) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet && !strings.Contains(request.URL.Path, "/events") {
		c.writes.Add(1)
	}
	return c.inner.RoundTrip(request)
}

// newWorld starts the controllers of this package for a namespace of the test's own.
func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	w, config, options := prepare(t)
	for _, c := range change {
		c(&options)
	}
	ours, err := labels.NewRequirement(journal.LabelRole, selection.Exists, nil)
	if err != nil {
		t.Fatal(err)
	}
	again := true
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:     w.client.Scheme(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: crconfig.Controller{SkipNameValidation: &again},
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{w.namespace: {}},
			ByObject:          map[client.Object]cache.ByObject{secretMetadata(): {Label: labels.NewSelector().Add(*ours)}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.accounts = NewAccounts(AccountsOptions{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Workers: 8, OperatorNamespace: "claviger-system"})
	if err := Setup(mgr, w.accounts, options); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the manager ended with: %v", err)
		}
	})
	return w
}

// prepare makes a namespace, and access to it for an operator.
func prepare(t *testing.T) (*world, *rest.Config, Options) {
	t.Helper()
	cp, err := plane()
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	direct, err := client.New(cp.Config(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "issuer-"}}
	if err := direct.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, client: direct, namespace: namespace.Name, provider: newProvider()}
	server := serverclock.New(clock.RealClock{})
	config := cp.Config()
	config.Wrap(server.Wrap)
	config.Wrap(func(inner http.RoundTripper) http.RoundTripper { return counting{inner, &w.writes} })
	return w, config, Options{
		Registry: upstream.NewRegistry(w.provider), ClusterID: clusterID, Server: server,
		SweepInterval: time.Hour, OrphanAge: time.Hour, CountInterval: 100 * time.Millisecond,
	}
}

// stepper is an operator without a queue: it reconciles when it is told to, by a
// clock that the test moves.
type stepper struct {
	*world
	reconciler *Reconciler
	clock      *clocktesting.FakePassiveClock
}

func newStepper(t *testing.T) *stepper {
	t.Helper()
	w, config, options := prepare(t)
	operator, err := client.New(config, client.Options{Scheme: w.client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	local := clocktesting.NewFakePassiveClock(noon)
	options.Local = local
	w.accounts = NewAccounts(AccountsOptions{Client: operator, Live: operator, Workers: 8})
	return &stepper{world: w, clock: local, reconciler: &Reconciler{
		Client: operator, Live: operator, Accounts: w.accounts, Recorder: events.NewFakeRecorder(1000), Options: options.withDefaults(),
	}}
}

// settle reconciles until there is nothing to do now, and returns when there will be.
func (s *stepper) settle(name string) time.Duration {
	s.Helper()
	for range 50 {
		result, err := s.reconciler.Reconcile(s.Context(), ctrl.Request{NamespacedName: s.key(name)})
		if err != nil {
			s.Fatal(err)
		}
		if result.RequeueAfter != atOnce && result.RequeueAfter != conflictPause {
			return result.RequeueAfter
		}
	}
	s.Fatal("it never settles")
	return 0
}

// pass lets time go by, and looks as often as it was asked to.
func (s *stepper) pass(name string, d time.Duration) {
	s.Helper()
	for end := s.clock.Now().Add(d); ; {
		next := s.settle(name)
		if next == 0 || s.clock.Now().Add(next).After(end) {
			s.clock.SetTime(end)
			return
		}
		s.clock.SetTime(s.clock.Now().Add(next))
	}
}

// until waits until look has nothing to complain about.
func (w *world) until(what string, look func() error) {
	w.Helper()
	deadline, tick := time.NewTimer(longest), time.NewTicker(50*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for {
		err := look()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			w.Fatalf("%s: not after %s: %v", what, longest, err)
		case <-tick.C:
		}
	}
}

func (w *world) create(o client.Object) {
	w.Helper()
	if err := w.client.Create(w.Context(), o); err != nil {
		w.Fatal(err)
	}
}

func (w *world) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: w.namespace, Name: name}
}

// issuer makes an issuer that logs in with the Secret apic-login.
func (w *world) issuer(name string) *v1alpha1.CredentialIssuer {
	w.Helper()
	issuer := &v1alpha1.CredentialIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.CredentialIssuerSpec{IBMAPIConnect: &v1alpha1.IBMAPIConnectIssuer{
			URL: "https://" + name + ".example", ProviderOrg: "acme", Catalog: "production",
			Login: v1alpha1.IBMAPIConnectLogin{Realm: "provider/default-idp-2", SecretRef: v1alpha1.SecretReference{Name: "apic-login"}},
		}},
	}
	w.create(issuer)
	return issuer
}

// login makes the login Secret.
func (w *world) login(password string) *corev1.Secret {
	w.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "apic-login"},
		StringData: map[string]string{"password": password},
	}
	w.create(secret)
	return secret
}

// credential makes a credential of an issuer.
func (w *world) credential(name, issuer string) *v1alpha1.APIClientCredential {
	w.Helper()
	c := &v1alpha1.APIClientCredential{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.APIClientCredentialSpec{
			IssuerRef:     v1alpha1.IssuerReference{Name: issuer},
			IBMAPIConnect: &v1alpha1.IBMAPIConnectCredential{ConsumerOrg: "retail", App: "billing"},
			Secret:        v1alpha1.TargetSecret{Name: name + "-api"},
		},
	}
	w.create(c)
	return c
}

// version makes the version Secret of a credential, as old as age.
func (w *world) version(c *v1alpha1.APIClientCredential, issuer *v1alpha1.CredentialIssuer, number int64, age time.Duration) *corev1.Secret {
	w.Helper()
	secret := w.intent(c, issuer, number, age)
	w.create(secret)
	return secret
}

func (*world) intent(c *v1alpha1.APIClientCredential, issuer *v1alpha1.CredentialIssuer, number int64, age time.Duration) *corev1.Secret {
	intentAt := time.Now().Add(-age)
	return journal.Intent{
		ClusterID: clusterID, Credential: client.ObjectKeyFromObject(c), CredentialUID: c.UID,
		Issuer:    journal.Issuer{Kind: v1alpha1.KindCredentialIssuer, Name: issuer.Name, UID: issuer.UID},
		Container: "apic.example/a1", Number: number, Nonce: nonce(number), DeletionPolicy: "Revoke",
		IntentAt: intentAt, Holder: "test", CallDeadline: intentAt.Add(20 * time.Second),
		Class:    upstream.WriteAhead,
		Material: material.Material{ClientID: "id", ClientSecret: material.New(fmt.Sprintf("secret-%d", number))}, Seal: []byte("seal"),
	}.Secret()
}

func nonce(number int64) [journal.NonceBytes]byte { return [journal.NonceBytes]byte{7: byte(number)} }

// upstreamOf is the upstream object that belongs to a version of a credential.
func upstreamOf(c *v1alpha1.APIClientCredential, number int64) upstream.Found {
	sum := sha256.Sum256(fmt.Appendf(nil, "secret-%d", number))
	return upstream.Found{
		ID: fmt.Sprintf("id-%d", number), Name: journal.UpstreamName(clusterID, string(c.UID), nonce(number)),
		Mark: journal.MarkFor(clusterID, string(c.UID), nonce(number)), Container: "apic.example/a1",
		SecretHash: base64.StdEncoding.EncodeToString(sum[:]),
	}
}

// published makes the target Secret of a credential that holds a version.
func (w *world) published(c *v1alpha1.APIClientCredential, number int64) {
	w.Helper()
	n := nonce(number)
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: c.Spec.Secret.Name,
			Labels:      map[string]string{journal.LabelRole: journal.RoleTarget, journal.LabelCredentialUID: string(c.UID)},
			Annotations: map[string]string{journal.AnnotationRendered: hex.EncodeToString(n[:]) + ".t.d"},
		},
		StringData: map[string]string{"client_id": string(upstreamOf(c, number).Mark)},
	})
}

// says waits until the issuer's Ready has a reason, and returns the issuer.
func (w *world) says(name, reason string) *v1alpha1.CredentialIssuer {
	w.Helper()
	issuer := &v1alpha1.CredentialIssuer{}
	w.until(name+" says "+reason, func() error {
		if err := w.client.Get(w.Context(), w.key(name), issuer); err != nil {
			return err
		}
		ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Reason != reason {
			return fmt.Errorf("status is %+v", issuer.Status)
		}
		return nil
	})
	return issuer
}

// judged waits for the first verdict about an issuer.
func (w *world) judged(issuer *v1alpha1.CredentialIssuer) {
	w.Helper()
	w.until("the first pass is done", func() error {
		if !w.accounts.Verdict(issuer.UID).Done {
			return fmt.Errorf("state %+v", w.accounts.State(issuer.UID))
		}
		return nil
	})
}

// gone waits until an object is gone.
func (w *world) gone(o client.Object) {
	w.Helper()
	w.until(o.GetName()+" is gone", func() error {
		err := w.client.Get(w.Context(), client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("finalizers %v, error %w", o.GetFinalizers(), err)
	})
}
