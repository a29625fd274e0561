package upstream

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count the calls to all upstreams. Issuers are not a label: their number is
// the users', and each would be a time series.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	wait     *prometheus.HistogramVec
}

// NewMetrics makes the collectors and registers them.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "claviger_upstream_requests_total",
			Help: "Calls to upstreams by kind of upstream, operation and result (2xx, 3xx, 4xx, 5xx, error: no answer, budget: not made because the issuer's rate limit was used up).",
		}, []string{"upstream", "operation", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "claviger_upstream_request_duration_seconds",
			Help:    "Time from sending a call to the headers of its answer, calls without an answer included.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}, []string{"upstream", "operation"}),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "claviger_upstream_ratelimit_wait_seconds",
			Help:    "Time that a call which was made had waited for the issuer's budget.",
			Buckets: []float64{.001, .01, .05, .1, .25, .5, 1, 2},
		}, []string{"upstream"}),
	}
	for _, collector := range []prometheus.Collector{m.requests, m.duration, m.wait} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Observer returns what TransportOptions.Observe takes, for one kind of upstream (a
// one-of member).
func (m *Metrics) Observer(upstream string) func(operation, result string, took, waited time.Duration) {
	return func(operation, result string, took, waited time.Duration) {
		m.requests.WithLabelValues(upstream, operation, result).Inc()
		if result == "budget" {
			return
		}
		m.duration.WithLabelValues(upstream, operation).Observe(took.Seconds())
		m.wait.WithLabelValues(upstream).Observe(waited.Seconds())
	}
}
