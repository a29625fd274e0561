//go:build race

package upstreamtest

// The race detector makes a sweep five times slower. A seventh of it has all the
// concurrency that there is, and `make test` runs the whole of it without the detector.
const sparse = true
