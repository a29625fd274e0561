package apiconnect

import (
	"context"
	"encoding/json"
)

// consumerOrg as it stands in the list of a catalog, with its owner (upstreams' page D.2).
type consumerOrg struct {
	named
	Owner struct {
		Email string `json:"email"`
	} `json:"owner"`
}

// ReadOwners implements upstream.Directory: the owner of a consumer organisation owns what its
// apps hold. One list, however many credentials there are.
func (a *account) ReadOwners(ctx context.Context) error {
	realm, err := a.resolveRealm(ctx)
	if err != nil {
		return err
	}
	entries, err := list[consumerOrg](ctx, a.platform, "consumerorg.list", realm.catalogPath()+"/consumer-orgs", "id,name,owner", "owner")
	if err != nil {
		return err
	}
	owners := make(map[string]string, 2*len(entries))
	for _, entry := range entries {
		owners[entry.ID] = entry.Owner.Email
	}
	for _, entry := range entries {
		owners[entry.Name] = entry.Owner.Email // people write names, and a name is meant before an id
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.owners = owners
	return nil
}

// OwnerOf implements upstream.Directory.
func (a *account) OwnerOf(parameters json.RawMessage) string {
	wanted, err := parseParameters(parameters)
	if err != nil {
		return ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.owners[wanted.ConsumerOrg]
}
