//go:build !crashall

package crash

// everything: only the boundaries at which most is at stake, and the disasters that ask
// for least time; `make test-crash` has the others.
const everything = false
