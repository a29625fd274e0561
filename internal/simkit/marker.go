package simkit

import (
	"crypto/rand"
	"encoding/hex"
)

// Marker is in every secret value that a simulator makes up: secrets, tokens, refresh
// tokens. Whoever finds it where no secret may be has found a leak, without knowing one
// value. It is made of hexadecimal digits, so that it fits the forms of all upstreams.
const Marker = "5ec2e7ca11ed"

// NewSecret makes a secret value of so many hexadecimal digits, the marker first. At
// least sixteen of them are random.
func NewSecret(digits int) string {
	digits = max(digits, len(Marker)+16)
	random := make([]byte, (digits-len(Marker)+1)/2)
	_, _ = rand.Read(random) // crypto/rand ends the process rather than to fail
	return (Marker + hex.EncodeToString(random))[:digits]
}
