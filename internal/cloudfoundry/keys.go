package cloudfoundry

import (
	"net/http"
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// keys is what has to do with keys and nothing with how they are asked for: they come from
// the same brokers, and are read and tried in the same way.
type keys struct {
	now       func() time.Time
	transport upstream.TransportOptions
	workloads *http.Client
	// own are the operator's secrets, which no message may hold.
	own []material.Secret
	// signer is nil if the login has none.
	signer *signer
}

// newKeys has a budget of its own: what a platform limits says nothing about the token
// endpoints of keys.
func newKeys(now func() time.Time, settings upstream.Settings, own []material.Secret) (*keys, error) {
	signs, err := readSigner(settings.Login)
	if err != nil {
		return nil, err
	}
	workloads, err := upstream.NewClient(settings.Transport)
	if err != nil {
		return nil, err
	}
	return &keys{now: now, transport: settings.Transport, workloads: workloads, own: slices.Clone(own), signer: signs}, nil
}

// Capabilities implements upstream.Upstream. The limit of a thousand keys is XSUAA's and
// nobody's in general, so the broker's own word is waited for.
func (*keys) Capabilities() upstream.Capabilities {
	return upstream.Capabilities{Class: upstream.Readable, UniqueNames: true, Overlap: true, Settle: settle, VerifyTimeout: verifyTimeout}
}
