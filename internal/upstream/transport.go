package upstream

import "time"

// TransportOptions say how calls travel. NewTransport makes a round tripper of
// them.
type TransportOptions struct {
	// CABundle is PEM of the only authorities that are trusted; empty means the
	// system's.
	CABundle []byte
	// AllowPlainHTTP and AllowLoopback are for tests and the demo alone.
	AllowPlainHTTP bool
	AllowLoopback  bool
	// PerSecond and Burst are the issuer's budget of calls.
	PerSecond float64
	Burst     int
	// UserAgent names us to the upstream.
	UserAgent string
	// Timeout of one call from dialling to the last byte.
	Timeout time.Duration
	// MaxAnswer is the largest answer in bytes that is read.
	MaxAnswer int64
	// Observe, if set, is told of every call that was made: operation, answer class
	// ("2xx", "4xx", "error"), duration and how long it waited for budget.
	Observe func(operation, result string, took, waited time.Duration)
}
