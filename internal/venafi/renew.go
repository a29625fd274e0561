package venafi

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// A grant is renewed in place by its refresh token, which is good once: the answer brings both
// tokens anew, and the access token before is dead from that moment on. So it is done only on
// request, and whatever a new grant can do as well is left to a new grant.

// grantIsOver is how the platform refuses a refresh token that leads nowhere.
const grantIsOver = "Grant has been revoked, has expired, or the refresh token is invalid"

// last stands in a handle behind the refresh token of a grant that ends with its access token.
// A refresh would yield a token that ends at that very time: renewed like this, the last days of
// a grant would be one replacement after the other, each shorter than the one before.
const last = "\nlast"

// lastMargin is how far apart two ends may be that are one.
const lastMargin = 60

// handle is what must be kept of an answer to renew or end its grant; empty if it cannot be
// refreshed.
func (g grantAnswer) handle() material.Secret {
	if g.RefreshToken != "" && g.Expires > 0 && g.RefreshUntil > 0 && g.Expires+lastMargin >= g.RefreshUntil {
		return material.New(g.RefreshToken + last)
	}
	return material.New(g.RefreshToken)
}

// refreshToken is the token in a handle.
func refreshToken(handle material.Secret) material.Secret {
	return material.New(strings.TrimSuffix(handle.Reveal(), last))
}

// refreshable reports whether a refresh of a grant yields what is wanted: it keeps the scope that
// the grant was made with.
func refreshable(wanted tokenParameters, h upstream.Handle) bool {
	return !h.SecretHandle.Empty() && !strings.HasSuffix(h.SecretHandle.Reveal(), last) &&
		maps.Equal(scopeOf(h.Material.Attributes["scope"]), scopeOf(wanted.Scope))
}

// refreshCall spends the refresh token of a handle. Before 21.3 the id is compared with the stored
// one, which is in lower case.
func refreshCall(operation, clientID string, h upstream.Handle) call {
	token := refreshToken(h.SecretHandle)
	return call{
		operation: operation, method: http.MethodPost, path: "/vedauth/authorize/token", effect: true, secrets: hidden(token, h.SecretHandle),
		body: map[string]string{"client_id": strings.ToLower(clientID), "refresh_token": token.Reveal()},
	}
}

// renew refreshes a grant. Neither renewed nor an error means that the platform refuses it
// definitely, so that nothing was ended and a new grant can be made.
func (a *tokens) renew(ctx context.Context, wanted tokenParameters, h upstream.Handle) (answer grantAnswer, asked time.Time, renewed bool, err error) {
	asked = a.platform.now()
	c := refreshCall("token.renew", wanted.ClientID, h)
	r, err := a.platform.exchange(ctx, c, material.Secret{})
	if err != nil {
		return grantAnswer{}, asked, false, err
	}
	switch {
	case r.status == http.StatusOK && r.decode(&answer) && answer.AccessToken != "":
		return answer, asked, true, nil
	case !r.throttled && (r.status == http.StatusBadRequest || r.status == http.StatusUnauthorized || r.status == http.StatusForbidden):
		return grantAnswer{}, asked, false, nil
	}
	return grantAnswer{}, asked, false, refusal(c, r)
}
