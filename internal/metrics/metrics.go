// Package metrics shows the fleet to Prometheus. The one idea: a gauge is computed
// when it is asked for, from the manager's cache, so a credential that is gone leaves
// no series behind and nobody has to remember to update one.
//
// Gauges come from status, which is written for people: they show it and decide
// nothing.
package metrics

import (
	"context"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

const (
	// scrapeTimeout bounds the wait for a cache that is not filled yet.
	scrapeTimeout = 5 * time.Second
	// overdueAfter is how long a renewal may be due before the watchdog counts it:
	// longer than a queue of rotations takes to begin, shorter than any overlap that
	// makes sense.
	overdueAfter = 15 * time.Minute
)

// Clock is the API server's clock; see internal/serverclock.
type Clock interface{ Now() time.Time }

// Counters count what happened.
type Counters struct {
	rotations, notifications *prometheus.CounterVec
	replacements             *prometheus.HistogramVec
}

// Replaced measures for how long a Secret has held a version that was ended in place.
func (c *Counters) Replaced(upstreamMember string, after time.Duration) {
	c.replacements.WithLabelValues(upstreamMember).Observe(after.Seconds())
}

// Rotated counts one rotation by its result: "published" or "failed".
func (c *Counters) Rotated(upstreamMember, result string) {
	c.rotations.WithLabelValues(upstreamMember, result).Inc()
}

// Notified counts one message to one receiver by its result: "delivered", "refused" by the
// receiver for good, or "dropped" because its channel took nothing for too long or is gone.
func (c *Counters) Notified(event, channelType, result string) {
	c.notifications.WithLabelValues(event, channelType, result).Inc()
}

// Register makes the collectors and registers them. reader is the manager's cache, which has
// issuers of the cluster if clusterKinds is true.
func Register(registerer prometheus.Registerer, reader client.Reader, clock Clock, version string, clusterKinds bool) (*Counters, error) {
	counters := &Counters{rotations: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "claviger_rotations_total",
		Help: "Versions that were published, or given up because the upstream never accepted them, by kind of upstream.",
	}, []string{"upstream", "result"}), notifications: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "claviger_notifications_total",
		Help: "Messages to receivers that were delivered, refused by the receiver for good, or dropped because the channel took nothing for too long or is gone.",
	}, []string{"event", "channel_type", "result"}), replacements: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "claviger_replacement_seconds",
		Help:    "For how long a Secret held a version that had been ended by its successor, or may have been, under strategy Replace.",
		Buckets: []float64{0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800},
	}, []string{"upstream"})}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "claviger_build_info",
		Help:        "Always 1; the labels say which operator runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	for _, collector := range []prometheus.Collector{counters.rotations, counters.notifications, counters.replacements, build, &fleet{reader: reader, clock: clock, clusterKinds: clusterKinds}} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return counters, nil
}

var (
	credentialReady = prometheus.NewDesc("claviger_credential_ready",
		"1 if the Secret holds a credential that was accepted by the upstream, else 0.", []string{"namespace", "name", "issuer"}, nil)
	credentialDue = prometheus.NewDesc("claviger_credential_rotation_due_timestamp_seconds",
		"When the next renewal is due, in seconds since 1970. Absent if none is.", []string{"namespace", "name"}, nil)
	credentialsOverdue = prometheus.NewDesc("claviger_credentials_overdue",
		"Credentials whose renewal has been due for more than 15 minutes and waits neither for a window nor for a person: nothing moves.", []string{"namespace"}, nil)
	issuerReady = prometheus.NewDesc("claviger_issuer_ready",
		"1 if the issuer's login works and its containers were read, else 0. A ClusterCredentialIssuer has an empty namespace.", []string{"namespace", "name", "upstream"}, nil)
	suspectedOrphans = prometheus.NewDesc("claviger_suspected_orphans",
		"Upstream objects that bear our mark and belong to nothing here.", []string{"namespace", "name"}, nil)
	tenantReady = prometheus.NewDesc("claviger_tenant_ready",
		"1 if the CloudIntegrationTenant can be read, else 0.", []string{"namespace", "name"}, nil)
	tenantAliases = prometheus.NewDesc("claviger_tenant_aliases",
		"Aliases of a tenant's security material by state: used (by any flow), unmanaged (used, and managed by nobody), missing (used, and not in the tenant), unused (managed, and no use was found).",
		[]string{"namespace", "name", "state"}, nil)
	tenantIncomplete = prometheus.NewDesc("claviger_tenant_incomplete_flows",
		"Deployed flows of which not everything could be read: as long as there are any, an unused alias proves nothing.", []string{"namespace", "name"}, nil)
	aliasFlows = prometheus.NewDesc("claviger_alias_flows",
		"Deployed flows that use an alias, for the aliases that the tenant's status lists.", []string{"namespace", "name", "alias", "state"}, nil)
	deliveryCurrent = prometheus.NewDesc("claviger_delivery_current",
		"1 if an alias of a tenant holds the version that the Secret of its credential holds, else 0.", []string{"namespace", "name", "alias", "credential"}, nil)
)

// fleet reads all objects at every scrape.
type fleet struct {
	reader       client.Reader
	clock        Clock
	clusterKinds bool
}

// Describe implements prometheus.Collector.
func (f *fleet) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{credentialReady, credentialDue, credentialsOverdue, issuerReady, suspectedOrphans, tenantReady, tenantAliases, tenantIncomplete, aliasFlows, deliveryCurrent} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector. If the cache cannot be read there are no
// gauges: an error would take all other metrics of the process with it.
func (f *fleet) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout) //nolint:forbidigo // prometheus.Collector is given none
	defer cancel()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	var credentials v1alpha1.APIClientCredentialList
	if err := f.reader.List(ctx, &credentials, client.UnsafeDisableDeepCopy); err == nil {
		f.collectCredentials(credentials.Items, gauge)
	}
	var tenants v1alpha1.CloudIntegrationTenantList
	if err := f.reader.List(ctx, &tenants, client.UnsafeDisableDeepCopy); err == nil {
		collectTenants(tenants.Items, gauge)
	}
	issuer := func(o v1alpha1.Issuer) {
		status := o.IssuerStatus()
		gauge(issuerReady, ready(status.Conditions), o.GetNamespace(), o.GetName(), status.Upstream)
		gauge(suspectedOrphans, float64(status.SuspectedOrphans.Count), o.GetNamespace(), o.GetName())
	}
	var issuers v1alpha1.CredentialIssuerList
	if err := f.reader.List(ctx, &issuers, client.UnsafeDisableDeepCopy); err == nil {
		for i := range issuers.Items {
			issuer(&issuers.Items[i])
		}
	}
	var shared v1alpha1.ClusterCredentialIssuerList
	if !f.clusterKinds {
		return
	}
	if err := f.reader.List(ctx, &shared, client.UnsafeDisableDeepCopy); err == nil {
		for i := range shared.Items {
			issuer(&shared.Items[i])
		}
	}
}

func (f *fleet) collectCredentials(credentials []v1alpha1.APIClientCredential, gauge func(*prometheus.Desc, float64, ...string)) {
	late := map[string]int{}
	now := f.clock.Now()
	for i := range credentials {
		c := &credentials[i]
		gauge(credentialReady, ready(c.Status.Conditions), c.Namespace, c.Name, c.Spec.IssuerRef.Name)
		late[c.Namespace] += 0 // A namespace with credentials and no delay shows 0.
		due, err := time.Parse(time.RFC3339, c.Status.Rotates)
		if err != nil {
			continue // "never", or nothing yet.
		}
		gauge(credentialDue, float64(due.Unix()), c.Namespace, c.Name)
		if overdue(c, due, now) {
			late[c.Namespace]++
		}
	}
	for namespace, count := range late {
		gauge(credentialsOverdue, float64(count), namespace)
	}
}

func collectTenants(tenants []v1alpha1.CloudIntegrationTenant, gauge func(*prometheus.Desc, float64, ...string)) {
	for i := range tenants {
		t := &tenants[i]
		gauge(tenantReady, ready(t.Status.Conditions), t.Namespace, t.Name)
		for _, d := range t.Status.Deliveries {
			value := 0.0
			if d.Current {
				value = 1
			}
			gauge(deliveryCurrent, value, t.Namespace, t.Name, d.Alias, d.Credential)
		}
		counts := t.Status.Counts
		if counts == nil {
			continue // it was never read
		}
		for state, count := range map[string]int32{"used": counts.Used, "unmanaged": counts.Unmanaged, "missing": counts.Missing, "unused": counts.Unused} {
			gauge(tenantAliases, float64(count), t.Namespace, t.Name, state)
		}
		gauge(tenantIncomplete, float64(counts.Incomplete), t.Namespace, t.Name)
		for _, alias := range t.Status.Aliases {
			gauge(aliasFlows, float64(alias.FlowCount), t.Namespace, t.Name, alias.Name, strings.ToLower(string(alias.State)))
		}
	}
}

// overdue reports whether a renewal is due and nothing moves. It is computed from the
// time that status names, so it rises also if the operator has stopped reconciling.
func overdue(c *v1alpha1.APIClientCredential, due, now time.Time) bool {
	if c.DeletionTimestamp != nil || c.Spec.Suspend || now.Sub(due) <= overdueAfter {
		return false
	}
	for _, condition := range c.Status.Conditions {
		if condition.Reason == v1alpha1.ReasonWaitingForWindow {
			return false
		}
	}
	return true
}

func ready(conditions []metav1.Condition) float64 {
	if meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady) {
		return 1
	}
	return 0
}
