package neo

import (
	"context"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// registrar makes and ends OAuth clients. Neo has no public API for it, so who does it is
// the issuer's choice.
type registrar interface {
	// register succeeds if the client exists as it is wanted. AwaitingUpstreamApproval:
	// a person has to act, and the call is made again.
	register(ctx context.Context, r registration) error
	// end succeeds if the client was there and has ended; NotFound is proven absence,
	// AwaitingUpstreamApproval and Pending mean that a person has to act.
	end(ctx context.Context, id string, secret material.Secret) error
	// list names the clients with this beginning of their ids; none if this registrar
	// cannot tell, so what is not in it is not proven absent.
	list(ctx context.Context, prefix string) ([]registered, error)
}

// registration is what a client is to be.
type registration struct {
	id, name, title string
	secret          material.Secret
	at              application
}

// registered is a client as a registrar lists it.
type registered struct {
	id, name, provider, application string
}

// manualRegistrar is a person who works in the cockpit. What he has done is found out by
// asking for a token: whoever gets one is registered.
type manualRegistrar struct{ account *account }

func (m *manualRegistrar) register(ctx context.Context, r registration) error {
	_, refused, err := m.account.clientToken(ctx, r.id, r.secret)
	if err != nil || refused == "" {
		return err
	}
	return upstream.Errorf(upstream.AwaitingUpstreamApproval,
		"a person must register the OAuth client %s in the cockpit (Security > OAuth > Clients > Register New Client): name %s, subscription %s/%s, authorization grant Client Credentials, confidential, with the id and the secret of this version",
		r.id, r.name, r.at.ProviderAccount, r.at.Name)
}

// end waits until the token endpoint refuses the client. Its roles are gone by then, so
// it can do nothing meanwhile. Without its secret nobody can be asked whether it is there,
// and a person is told.
func (m *manualRegistrar) end(ctx context.Context, id string, secret material.Secret) error {
	if !secret.Empty() {
		_, refused, err := m.account.clientToken(ctx, id, secret)
		if err != nil {
			return err
		}
		if refused != "" {
			return upstream.Errorf(upstream.NotFound, "the client %s has no roles and gets no token", id)
		}
	}
	return upstream.Errorf(upstream.AwaitingUpstreamApproval,
		"its roles are taken; a person must delete the OAuth client %s in the cockpit (Security > OAuth > Clients), and it is done when the client gets no token any more", id)
}

// list has nobody to ask: a person keeps no list that we could read.
func (m *manualRegistrar) list(context.Context, string) ([]registered, error) { return nil, nil }
