package apiconnect

import (
	"context"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// Adopt implements upstream.Adopter: the credential with this client id in the app, whoever
// made it.
func (a *account) Adopt(ctx context.Context, r upstream.Request) (upstream.Issued, error) {
	at, err := a.parseOwn(r.Container)
	if err != nil {
		return upstream.Issued{}, err
	}
	if _, err := parseParameters(r.Parameters); err != nil {
		return upstream.Issued{}, err
	}
	if r.Material.ClientID == "" || r.Material.ClientSecret.Empty() {
		return upstream.Issued{}, upstream.Errorf(upstream.InvalidSpec, "a client id and a client secret are needed to adopt a credential")
	}
	entries, err := a.appCredentials(ctx, at)
	if err != nil {
		return upstream.Issued{}, err
	}
	for _, entry := range entries {
		if entry.ClientID != r.Material.ClientID {
			continue
		}
		if err := checkSegment("id", entry.ID); err != nil {
			return upstream.Issued{}, upstream.Errorf(upstream.Retryable, "credential.list: the answer holds no usable id")
		}
		return upstream.Issued{Material: r.Material, ID: entry.ID}, nil
	}
	return upstream.Issued{}, upstream.Errorf(upstream.NotFound, "the app has no credential with the client id %s", upstream.Excerpt(r.Material.ClientID))
}
