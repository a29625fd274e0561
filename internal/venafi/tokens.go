package venafi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// tokenParameters are what a credential says of its token.
type tokenParameters struct {
	ClientID string `json:"clientID"`
	Scope    string `json:"scope"`
}

// tokens is an account whose versions are grants. A grant has no name and no id: its
// token is the only handle to it.
type tokens struct {
	platform *platform
	realm    string

	mu        sync.Mutex
	refreshed map[upstream.Mark]*refreshed
}

// refreshed is a grant whose access token had expired and was replaced in order to be
// revoked. See Revoke.
type refreshed struct {
	token material.Secret
	// lost: the answer to the refresh never came, so nothing leads to the grant any more.
	lost bool
}

// Capabilities implements upstream.Upstream.
func (a *tokens) Capabilities() upstream.Capabilities {
	return upstream.Capabilities{Class: upstream.GrantOnly, Overlap: true, InPlace: true, Settle: settle, VerifyTimeout: verifyTimeout}
}

// Check implements upstream.Upstream.
func (a *tokens) Check(ctx context.Context) (string, error) {
	if err := a.platform.check(ctx); err != nil {
		return "", err
	}
	return a.realm, nil
}

// Locate implements upstream.Upstream. Grants live in an integration, which the platform
// shows to administrators only: whether it exists is found out by the first grant.
func (a *tokens) Locate(ctx context.Context, raw json.RawMessage) (string, error) {
	parameters, err := parse(raw, useTokens)
	if err != nil {
		return "", err
	}
	if err := given(ctx.Err()); err != nil {
		return "", err
	}
	return a.realm + "/" + strings.ToLower(parameters.Token.ClientID), nil
}

// List implements upstream.Upstream. Nothing that the platform lists bears a mark.
func (a *tokens) List(ctx context.Context, _ upstream.Owner) (upstream.Listing, error) {
	return upstream.Listing{}, given(ctx.Err())
}

// Issue implements upstream.Upstream: each call is a new grant, unless it is told to renew one in
// place.
func (a *tokens) Issue(ctx context.Context, r upstream.Request) (upstream.Issued, error) {
	parameters, err := parse(r.Parameters, useTokens)
	if err != nil {
		return upstream.Issued{}, err
	}
	if r.Replaces != nil && refreshable(*parameters.Token, *r.Replaces) {
		answer, asked, renewed, err := a.renew(ctx, *parameters.Token, *r.Replaces)
		if renewed || err != nil {
			return a.issued(answer, asked, renewed), err
		}
	}
	answer, asked, err := a.platform.authorize(ctx, "token.issue", parameters.Token.ClientID, parameters.Token.Scope)
	if err != nil {
		return upstream.Issued{}, err
	}
	return a.issued(answer, asked, false), nil
}

// issued is what an answer tells of a token; nothing if there was none.
func (a *tokens) issued(answer grantAnswer, asked time.Time, replaced bool) upstream.Issued {
	if answer.AccessToken == "" {
		return upstream.Issued{}
	}
	ends := answer.ends(asked)
	attributes := map[string]string{"url": a.platform.base.String(), "scope": answer.Scope, "identity": answer.Identity}
	if !ends.IsZero() {
		attributes["expires"] = ends.UTC().Format(time.RFC3339)
	}
	return upstream.Issued{
		Material:     material.Material{Token: material.New(answer.AccessToken), Attributes: attributes},
		SecretHandle: answer.handle(),
		ExpiresAt:    ends,
		Replaced:     replaced,
	}
}

// Verify implements upstream.Verifier: the platform itself says whose the token is and
// what it may do.
func (a *tokens) Verify(ctx context.Context, h upstream.Handle) (upstream.Verdict, error) {
	parameters, err := parse(h.Parameters, useTokens)
	if err != nil {
		return upstream.Verdict{}, err
	}
	if h.Material.Token.Empty() {
		return upstream.Verdict{Detail: "the material holds no token"}, nil
	}
	answer, valid, err := a.identify(ctx, h.Material.Token)
	switch {
	case err != nil:
		return upstream.Verdict{}, err
	case !valid:
		return upstream.Verdict{Detail: "authorize/verify: the token is not valid"}, nil
	case !strings.EqualFold(answer.Application, parameters.Token.ClientID):
		return upstream.Verdict{Detail: "authorize/verify: the token is for application " + upstream.Excerpt(answer.Application)}, nil
	case !covers(answer.Scope, parameters.Token.Scope):
		return upstream.Verdict{Detail: "authorize/verify: the token has scope " + upstream.Excerpt(answer.Scope) + ", wanted " + upstream.Excerpt(parameters.Token.Scope)}, nil
	case h.Material.Attributes["identity"] != "" && h.Material.Attributes["identity"] != answer.Identity:
		return upstream.Verdict{Detail: "authorize/verify: the token belongs to " + upstream.Excerpt(answer.Identity)}, nil
	}
	return upstream.Verdict{Accepted: true, Detail: "authorize/verify accepts it"}, nil
}

// identify asks the platform about a token; not valid is an answer and no error.
func (a *tokens) identify(ctx context.Context, token material.Secret) (answer identified, valid bool, err error) {
	c := verifyCall(token)
	r, err := a.platform.exchange(ctx, c, token)
	if err != nil {
		return answer, false, err
	}
	switch {
	case r.status == http.StatusOK && r.decode(&answer) && answer.Identity != "":
		return answer, true, nil
	case r.status == http.StatusUnauthorized && r.saysInvalid():
		return answer, false, nil
	}
	refused := refusal(c, r)
	if refused.Class == upstream.LoginFailed {
		refused.Class = upstream.Retryable // the operator's login is not what was asked about
	}
	return answer, false, refused
}

// saysInvalid tells the platform's own 401 from that of a proxy in front of it, which
// would otherwise end a token that works.
func (r reply) saysInvalid() bool {
	var document struct {
		Error string `json:"error"`
	}
	return r.decode(&document) && (document.Error == "invalid_token" || document.Error == "session_error")
}

// Revoke implements upstream.Upstream. The platform's 202 says only that it found no such
// token: while a refresh token is alive so is the grant (hazard C4, scenario c). Then the
// refresh token is spent, once, for an access token that can be revoked.
func (a *tokens) Revoke(ctx context.Context, h upstream.Handle) error {
	if !isMark(h.Mark) {
		return upstream.Errorf(upstream.InvalidSpec, "mark %q is not 32 lower-case hex digits", upstream.Excerpt(string(h.Mark)))
	}
	if h.Material.Token.Empty() {
		return upstream.Errorf(upstream.InvalidSpec, "a grant whose token was never told cannot be revoked by itself; an administrator can end all grants of the integration, and it ends by itself")
	}
	if done, err := a.end(ctx, h.Material.Token); done || err != nil {
		return err
	}
	if h.SecretHandle.Empty() {
		return upstream.Errorf(upstream.NotFound, "the platform knows the token no more, and it could not be refreshed")
	}
	token, err := a.refresh(ctx, h)
	if err != nil {
		return err
	}
	if done, err := a.end(ctx, token); !done || err != nil {
		if err == nil {
			err = upstream.Errorf(upstream.NotFound, "the grant has ended")
		}
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.refreshed, h.Mark)
	return nil
}

// end revokes a token. Neither done nor an error means that the platform knows no such
// token, and says so twice.
func (a *tokens) end(ctx context.Context, token material.Secret) (done bool, err error) {
	c := revokeCall(token)
	r, err := a.platform.exchange(ctx, c, token)
	if err != nil {
		return false, err
	}
	var document struct{}
	plain := len(r.body) == 0 || r.decode(&document)
	switch {
	case r.status == http.StatusOK && plain:
		return true, nil
	case r.status == http.StatusAccepted && plain, r.status == http.StatusUnauthorized && r.saysInvalid():
	default:
		refused := refusal(c, r)
		if refused.Class == upstream.LoginFailed {
			refused.Class = upstream.Retryable // the token's own, not the operator's
		}
		return false, refused
	}
	_, valid, err := a.identify(ctx, token)
	if err == nil && valid {
		err = upstream.Errorf(upstream.Retryable, "token.revoke: Venafi has not revoked the token")
	}
	return false, err
}

// refresh spends the refresh token of a grant whose access token is over.
func (a *tokens) refresh(ctx context.Context, h upstream.Handle) (material.Secret, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.refreshed[h.Mark]
	if known != nil && !known.token.Empty() {
		return known.token, nil
	}
	parameters, err := parse(h.Parameters, useTokens)
	if err != nil {
		return material.Secret{}, err
	}
	c := refreshCall("token.refresh", parameters.Token.ClientID, h)
	r, err := a.platform.exchange(ctx, c, material.Secret{})
	var answer grantAnswer
	switch {
	case err != nil && upstream.ClassOf(err) != upstream.OutcomeUnknown:
		return material.Secret{}, err
	case err != nil, r.status/100 == 2 && (!r.decode(&answer) || answer.AccessToken == ""):
		a.refreshed[h.Mark] = &refreshed{lost: true}
		return material.Secret{}, upstream.Errorf(upstream.OutcomeUnknown, "token.refresh: no whole answer came")
	case r.status == http.StatusOK:
		token := material.New(answer.AccessToken)
		a.refreshed[h.Mark] = &refreshed{token: token}
		return token, nil
	case r.status == http.StatusBadRequest && strings.Contains(r.reason, grantIsOver):
		if known != nil {
			return material.Secret{}, upstream.Errorf(upstream.Forbidden, "the answer to a refresh was lost, so the grant may live on until it ends and cannot be revoked by itself; an administrator can end all grants of the integration")
		}
		return material.Secret{}, upstream.Errorf(upstream.NotFound, "neither the token nor its refresh token is known any more: the grant has ended")
	}
	return material.Secret{}, refusal(c, r)
}
