package interval

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"time"
)

// Jitter returns a time in [0, max) that depends on identity alone. Over many
// identities it is uniform, so that a fleet made in one minute is not due in one
// minute; for one identity it is the same for ever, in every process and release.
// A random number would move the due time with every look at it, and a due time
// that moves can be missed again and again. A max of zero or less gives zero.
func Jitter(identity string, max time.Duration) time.Duration {
	if max <= 0 {
		return 0
	}
	// The prefix keeps this hash apart from every other use of the same identity.
	sum := sha256.Sum256([]byte("claviger/jitter/v1\x00" + identity))
	// The upper half of the product scales 64 bits to [0, max) without the bias of
	// a remainder.
	scaled, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:8]), uint64(max))
	return time.Duration(scaled)
}

// DefaultJitter is the span over which renewals after rotateAfter are spread: 5 %
// of its shortest length, at most a day. Unlimited needs none.
func DefaultJitter(rotateAfter Interval) time.Duration {
	if rotateAfter.IsUnlimited() {
		return 0
	}
	return min(rotateAfter.Min()/20, day)
}
