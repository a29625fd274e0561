package upstream

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetricsCountCallsByKindOperationAndResult(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	observe := metrics.Observer("ibmAPIConnect")
	observe("credential.create", "2xx", time.Second, time.Millisecond)
	observe("credential.create", "2xx", time.Second, time.Millisecond)
	observe("credential.create", "budget", 0, 0)
	want := `
# HELP claviger_upstream_requests_total Calls to upstreams by kind of upstream, operation and result (2xx, 3xx, 4xx, 5xx, error: no answer, budget: not made because the issuer's rate limit was used up).
# TYPE claviger_upstream_requests_total counter
claviger_upstream_requests_total{operation="credential.create",result="2xx",upstream="ibmAPIConnect"} 2
claviger_upstream_requests_total{operation="credential.create",result="budget",upstream="ibmAPIConnect"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "claviger_upstream_requests_total"); err != nil {
		t.Error(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if h := metric.GetHistogram(); h != nil {
				counts[family.GetName()] += h.GetSampleCount()
			}
		}
	}
	for _, name := range []string{"claviger_upstream_request_duration_seconds", "claviger_upstream_ratelimit_wait_seconds"} {
		if counts[name] != 2 {
			t.Errorf("%s has %d samples, want those of the 2 calls that were made", name, counts[name])
		}
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Error("registered twice")
	}
}
