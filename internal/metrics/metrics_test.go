package metrics

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

var now = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// shelf is a cache with what stands on it.
type shelf struct {
	client.Reader
	credentials []v1alpha1.APIClientCredential
	issuers     []v1alpha1.CredentialIssuer
	err         error
}

func (s *shelf) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch l := list.(type) {
	case *v1alpha1.APIClientCredentialList:
		l.Items = s.credentials
	case *v1alpha1.CredentialIssuerList:
		l.Items = s.issuers
	}
	return s.err
}

func credential(name, rotates, ready string, conditions ...metav1.Condition) v1alpha1.APIClientCredential {
	c := v1alpha1.APIClientCredential{}
	c.Namespace, c.Name, c.Spec.IssuerRef.Name = "payments", name, "apic"
	c.Status.Rotates = rotates
	c.Status.Conditions = append(conditions, metav1.Condition{Type: "Ready", Status: metav1.ConditionStatus(ready)})
	return c
}

func TestTheFleetIsReadAtEveryScrape(t *testing.T) {
	ago := func(d time.Duration) string { return now.Add(-d).Format(time.RFC3339) }
	suspended := credential("suspended", ago(time.Hour), "True")
	suspended.Spec.Suspend = true
	issuer := v1alpha1.CredentialIssuer{}
	issuer.Namespace, issuer.Name = "payments", "apic"
	issuer.Status.Upstream, issuer.Status.SuspectedOrphans.Count = "ibmAPIConnect", 3
	issuer.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "True"}}
	cache := &shelf{
		issuers: []v1alpha1.CredentialIssuer{issuer},
		credentials: []v1alpha1.APIClientCredential{
			credential("healthy", ago(-time.Hour), "True"),
			credential("young", "never", "False"),
			credential("queued", ago(time.Minute), "True"),
			credential("stuck", ago(time.Hour), "True"),
			credential("windowed", ago(time.Hour), "True", metav1.Condition{Type: "Rotating", Reason: "WaitingForWindow"}),
			suspended,
		},
	}
	registry := prometheus.NewPedanticRegistry()
	counters, err := Register(registry, cache, clocktesting.NewFakePassiveClock(now), "v1.2.3", true)
	if err != nil {
		t.Fatal(err)
	}
	counters.Rotated("ibmAPIConnect", "published")
	counters.Rotated("ibmAPIConnect", "published")
	counters.Rotated("ibmAPIConnect", "failed")
	counters.Notified("Issued", "smtp", "delivered")
	counters.Notified("Issued", "smtp", "delivered")
	counters.Notified("Issued", "smtp", "refused")

	want := `
# HELP claviger_credential_ready 1 if the Secret holds a credential that was accepted by the upstream, else 0.
# TYPE claviger_credential_ready gauge
claviger_credential_ready{issuer="apic",name="healthy",namespace="payments"} 1
claviger_credential_ready{issuer="apic",name="queued",namespace="payments"} 1
claviger_credential_ready{issuer="apic",name="stuck",namespace="payments"} 1
claviger_credential_ready{issuer="apic",name="suspended",namespace="payments"} 1
claviger_credential_ready{issuer="apic",name="windowed",namespace="payments"} 1
claviger_credential_ready{issuer="apic",name="young",namespace="payments"} 0
# HELP claviger_credentials_overdue Credentials whose renewal has been due for more than 15 minutes and waits neither for a window nor for a person: nothing moves.
# TYPE claviger_credentials_overdue gauge
claviger_credentials_overdue{namespace="payments"} 1
# HELP claviger_issuer_ready 1 if the issuer's login works and its containers were read, else 0. A ClusterCredentialIssuer has an empty namespace.
# TYPE claviger_issuer_ready gauge
claviger_issuer_ready{name="apic",namespace="payments",upstream="ibmAPIConnect"} 1
# HELP claviger_notifications_total Messages to receivers that were delivered, refused by the receiver for good, or dropped because the channel took nothing for too long or is gone.
# TYPE claviger_notifications_total counter
claviger_notifications_total{channel_type="smtp",event="Issued",result="delivered"} 2
claviger_notifications_total{channel_type="smtp",event="Issued",result="refused"} 1
# HELP claviger_rotations_total Versions that were published, or given up because the upstream never accepted them, by kind of upstream.
# TYPE claviger_rotations_total counter
claviger_rotations_total{result="failed",upstream="ibmAPIConnect"} 1
claviger_rotations_total{result="published",upstream="ibmAPIConnect"} 2
# HELP claviger_suspected_orphans Upstream objects that bear our mark and belong to nothing here.
# TYPE claviger_suspected_orphans gauge
claviger_suspected_orphans{name="apic",namespace="payments"} 3
`
	err = testutil.GatherAndCompare(registry, strings.NewReader(want),
		"claviger_credential_ready", "claviger_credentials_overdue", "claviger_issuer_ready", "claviger_notifications_total", "claviger_rotations_total", "claviger_suspected_orphans")
	if err != nil {
		t.Error(err)
	}
	for name, count := range map[string]int{"claviger_credential_rotation_due_timestamp_seconds": 5, "claviger_build_info": 1} {
		if got, err := testutil.GatherAndCount(registry, name); err != nil || got != count {
			t.Errorf("%s: %d series, error %v; want %d", name, got, err, count)
		}
	}

	cache.credentials = cache.credentials[:1]
	if got, err := testutil.GatherAndCount(registry, "claviger_credential_ready"); err != nil || got != 1 {
		t.Errorf("after deletions: %d series, error %v; want 1", got, err)
	}
}

func TestACacheThatCannotBeReadDoesNotTakeTheOtherMetricsAlong(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	_, err := Register(registry, &shelf{err: errors.New("not started")}, clocktesting.NewFakePassiveClock(now), "v1.2.3", true)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := testutil.GatherAndCount(registry); err != nil || got != 1 {
		t.Errorf("%d series, error %v; want the one of the build", got, err)
	}
}

func TestRegisteringTwiceIsAnError(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for _, first := range []bool{true, false} {
		_, err := Register(registry, &shelf{}, clocktesting.NewFakePassiveClock(now), "v1.2.3", true)
		if (err == nil) != first {
			t.Errorf("first %t: error %v", first, err)
		}
	}
}

func TestReplacementsAreMeasured(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	counters, err := Register(registry, &shelf{}, clocktesting.NewFakePassiveClock(now), "v1.2.3", false)
	if err != nil {
		t.Fatal(err)
	}
	counters.Replaced("venafi", 700*time.Millisecond)
	counters.Replaced("venafi", 20*time.Second)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "claviger_replacement_seconds" {
			h := family.GetMetric()[0].GetHistogram()
			if h.GetSampleCount() != 2 || h.GetSampleSum() != 20.7 {
				t.Errorf("%d samples of %v seconds", h.GetSampleCount(), h.GetSampleSum())
			}
			return
		}
	}
	t.Error("there is no such metric")
}
