//go:build !race

package upstreamtest

// sparse: a sweep tries all that it can.
const sparse = false
