package policy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/controlplane"
	"github.com/claviger-dev/claviger/internal/serverclock"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// counting counts the writes of the operator, events apart.
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

// world is an operator with the policy controller alone.
type world struct {
	*testing.T
	client client.Client
	writes atomic.Int64
	// renewing are the credentials of which a version is being made.
	renewing sync.Map
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	cp, err := controlplane.Start(ctx, controlplane.Options{CRDPaths: []string{"../../config/crd"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{T: t}
	if w.client, err = client.New(cp.Config(), client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	config := cp.Config()
	config.Wrap(func(inner http.RoundTripper) http.RoundTripper { return counting{inner, &w.writes} })
	again := true // with -count the name of the controller comes back
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Controller: crconfig.Controller{SkipNameValidation: &again},
	})
	if err != nil {
		t.Fatal(err)
	}
	underWay := func(credential types.UID) bool { _, yes := w.renewing.Load(credential); return yes }
	if err := Setup(mgr, serverclock.New(clock.RealClock{}), underWay, true); err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the manager ended with: %v", err)
		}
	})
	return w
}

func (w *world) create(objects ...client.Object) {
	w.Helper()
	for _, o := range objects {
		o.SetNamespace("default")
		if err := w.client.Create(w.Context(), o); err != nil {
			w.Fatal(err)
		}
	}
}

// until waits until look has nothing to complain about.
func (w *world) until(what string, look func() error) {
	w.Helper()
	deadline, tick := time.NewTimer(time.Minute), time.NewTicker(50*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for {
		err := look()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			w.Fatalf("%s: not after a minute: %v", what, err)
		case <-tick.C:
		}
	}
}

// shows waits until a policy's status is as wanted.
func (w *world) shows(name, reason string, credentials, notReady int64) {
	w.Helper()
	p := &v1alpha1.RotationPolicy{}
	w.until(fmt.Sprintf("%s shows %s for %d, %d not ready", name, reason, credentials, notReady), func() error {
		if err := w.client.Get(w.Context(), types.NamespacedName{Namespace: "default", Name: name}, p); err != nil {
			return err
		}
		accepted := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionAccepted)
		if accepted == nil || accepted.Reason != reason || p.Status.Credentials != credentials || p.Status.NotReady != notReady || p.Status.ObservedGeneration != p.Generation {
			return fmt.Errorf("%+v", p.Status)
		}
		return nil
	})
}

// attention waits until a policy's Attention has a reason; none if it is empty.
func (w *world) attention(name, reason string) {
	w.Helper()
	p := &v1alpha1.RotationPolicy{}
	w.until(name+" says "+reason, func() error {
		if err := w.client.Get(w.Context(), types.NamespacedName{Namespace: "default", Name: name}, p); err != nil {
			return err
		}
		c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionAttention)
		if c == nil && reason == "" && p.Status.ObservedGeneration == p.Generation || c != nil && c.Reason == reason {
			return nil
		}
		return fmt.Errorf("%+v", p.Status)
	})
}

func rotation(name string, selector *metav1.LabelSelector, windows ...v1alpha1.Window) *v1alpha1.RotationPolicy {
	return &v1alpha1.RotationPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.RotationPolicySpec{Selector: selector, RotateAfter: "90d", Overlap: "10d", Windows: windows},
	}
}

func wanting(name, policyRef string, labels map[string]string) *v1alpha1.APIClientCredential {
	c := credential(labels, policyRef)
	c.Name = name
	c.Spec.IssuerRef.Name = "apic"
	c.Spec.IBMAPIConnect = &v1alpha1.IBMAPIConnectCredential{ConsumerOrg: "retail", App: "billing"}
	c.Spec.Secret.Name = name + "-api"
	return c
}

func TestPoliciesSayWhetherAndToWhomTheyApply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	production := map[string]string{"tier": "production"}
	w.create(
		wanting("billing", "", production), wanting("shipping", "", production), wanting("reports", "yearly", production),
		wanting("sandbox", "", nil), wanting("lost", "missing", production),
	)
	w.create(rotation("quarterly", &metav1.LabelSelector{MatchLabels: production}), rotation("yearly", nil))
	w.shows("quarterly", v1alpha1.ReasonAccepted, 2, 2)
	w.shows("yearly", v1alpha1.ReasonAccepted, 1, 1)

	never := v1alpha1.Window{Schedule: "0 0 30 2 *", Duration: metav1.Duration{Duration: time.Hour}, TimeZone: "UTC"}
	w.create(rotation("february", nil, never))
	w.shows("february", v1alpha1.ReasonInvalidPolicy, 0, 0)
	w.until("an event tells it", func() error {
		var list eventsv1.EventList
		if err := w.client.List(t.Context(), &list, client.InNamespace("default")); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Reason == v1alpha1.ReasonInvalidPolicy && e.Regarding.Name == "february" && strings.Contains(e.Note, "windows[0]") {
				return nil
			}
		}
		return fmt.Errorf("%d events", len(list.Items))
	})

	// A newer policy that selects the same takes nothing away (hazard M9), and to be
	// woken for nothing writes nothing (invariant 9).
	writes := w.writes.Load()
	w.create(rotation("younger", &metav1.LabelSelector{}))
	w.shows("younger", v1alpha1.ReasonAccepted, 1, 1)
	w.shows("quarterly", v1alpha1.ReasonAccepted, 2, 2)
	if got := w.writes.Load() - writes; got != 1 {
		t.Errorf("%d writes for one new policy", got)
	}

	// Readiness is counted, a while later and all at once (hazard M2).
	writes = w.writes.Load()
	for _, name := range []string{"billing", "shipping"} {
		c := &v1alpha1.APIClientCredential{}
		if err := w.client.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: name}, c); err != nil {
			t.Fatal(err)
		}
		meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonPublished})
		if err := w.client.Status().Update(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	w.shows("quarterly", v1alpha1.ReasonAccepted, 2, 0)
	if got := w.writes.Load() - writes; got != 1 {
		t.Errorf("%d writes for two credentials that became ready", got)
	}
}

func TestAPolicySaysHowFarAFleetIsThatAnEditMadeDue(t *testing.T) {
	t.Parallel()
	const fleet, atATime = 200, 20
	w := newWorld(t)
	said := func(name, rotates, attention string) types.UID {
		t.Helper()
		c := &v1alpha1.APIClientCredential{}
		if err := w.client.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: name}, c); err != nil {
			t.Fatal(err)
		}
		c.Status.Rotates = rotates
		meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonPublished})
		if attention != "" {
			meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionAttention, Status: metav1.ConditionTrue, Reason: attention})
		}
		if err := w.client.Status().Update(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		return c.UID
	}
	name := func(i int) string { return fmt.Sprintf("billing-%d", i) }
	later, past := time.Now().Add(240*time.Hour).UTC().Format(time.RFC3339), time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	for i := range fleet {
		w.create(wanting(name(i), "", nil))
		said(name(i), later, "")
	}
	w.create(rotation("quarterly", &metav1.LabelSelector{}))
	w.shows("quarterly", v1alpha1.ReasonAccepted, fleet, 0)

	counts := func(want v1alpha1.RotationPolicyStatus, message string) {
		t.Helper()
		w.until(fmt.Sprintf("%d are due, %d are being renewed, %d fail", want.Due, want.Renewing, want.Failing), func() error {
			p := &v1alpha1.RotationPolicy{}
			if err := w.client.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: "quarterly"}, p); err != nil {
				return err
			}
			got, told := p.Status, ""
			if c := meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionRenewalsDue); c != nil {
				told = c.Message
			}
			got.Conditions, got.ObservedGeneration = nil, 0
			if diff := cmp.Diff(want, got); diff != "" {
				return errors.New(diff)
			}
			if !strings.HasPrefix(told, message) || (told == "") != (message == "") {
				return fmt.Errorf("it says %q", told)
			}
			return nil
		})
	}
	// What the credential controller does after an edit of the policy.
	began, writes := time.Now(), w.writes.Load()
	for i := range fleet {
		attention := ""
		if i == fleet-1 {
			attention = v1alpha1.ReasonBackingOff
		}
		if uid := said(name(i), past, attention); i < atATime {
			w.renewing.Store(uid, true)
		}
	}
	counts(v1alpha1.RotationPolicyStatus{Credentials: fleet, Due: fleet, Renewing: atATime, Failing: 1},
		"200 of 200 credentials are due: 20 are being renewed, 179 wait, 1 do not get on.")
	for i := range fleet {
		w.renewing.Clear()
		said(name(i), later, "")
	}
	counts(v1alpha1.RotationPolicyStatus{Credentials: fleet}, "")
	// One write each countInterval, and one more for its beginning.
	if got, most := w.writes.Load()-writes, 2+int64(time.Since(began)/countInterval); got > most {
		t.Errorf("%d writes for %d renewals in %s, want at most %d", got, fleet, time.Since(began), most)
	}
	w.until("an event tells it", func() error {
		var list eventsv1.EventList
		if err := w.client.List(t.Context(), &list, client.InNamespace("default")); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Reason == "RenewalsDue" && e.Regarding.Name == "quarterly" {
				return nil
			}
		}
		return fmt.Errorf("%d events", len(list.Items))
	})
}
