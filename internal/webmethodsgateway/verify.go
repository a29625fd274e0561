package webmethodsgateway

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Verify implements upstream.Verifier: the call that the credential names, with the key or with
// a token, as a workload makes it. Without one, what the gateway holds must do.
func (a *account) Verify(ctx context.Context, h upstream.Handle) (upstream.Verdict, error) {
	p, err := parse(h.Parameters)
	if err != nil {
		return upstream.Verdict{}, err
	}
	at, err := a.parseContainer(h.Container)
	if err != nil {
		return upstream.Verdict{}, err
	}
	if p.Type == typeKey {
		return a.verifyKey(ctx, p, h)
	}
	return a.verifyClient(ctx, at, p, h)
}

func (a *account) verifyKey(ctx context.Context, p credentialParameters, h upstream.Handle) (upstream.Verdict, error) {
	key := h.Material.APIKey
	if key.Empty() {
		return upstream.Verdict{Detail: "the material holds no API key"}, nil
	}
	if p.Probe != nil {
		return a.probe(ctx, p.Probe.Path, func(r *http.Request) { r.Header.Set(keyHeader, key.Reveal()) }, key)
	}
	one, err := a.handled(ctx, h)
	switch {
	case err != nil:
		return upstream.Verdict{}, err
	case one == nil:
		return upstream.Verdict{Detail: "the gateway has no application of this version"}, nil
	case one.suspended == suspendedYes:
		return upstream.Verdict{Detail: "the application of this version is suspended"}, nil
	case one.key.Empty(), masked(one.key.Reveal()):
		fresh, _, err := a.application(ctx, one.id) // a list may mask what a reading shows
		if err != nil {
			return upstream.Verdict{}, err
		}
		if fresh == nil || !fresh.key.Equal(key) {
			return upstream.Verdict{Detail: "the gateway shows another API key than this one, or none"}, nil
		}
	case !one.key.Equal(key):
		return upstream.Verdict{Detail: "the gateway holds another API key than this one"}, nil
	}
	return upstream.Verdict{Accepted: true, Detail: "the gateway holds this API key; no call was made with it, since spec.webMethodsGateway.probe names none"}, nil
}

func (a *account) verifyClient(ctx context.Context, at place, p credentialParameters, h upstream.Handle) (upstream.Verdict, error) {
	token, refused, err := a.clientToken(ctx, p, h.Material)
	if err != nil || refused != "" {
		return upstream.Verdict{Detail: refused}, err
	}
	user, _, err := a.application(ctx, at.application)
	if err != nil {
		return upstream.Verdict{}, err
	}
	if user == nil {
		return upstream.Verdict{}, upstream.Errorf(upstream.Retryable, "the gateway shows no application %s", at.application)
	}
	if h.ID != "" && !slices.Contains(user.strategies, h.ID) {
		return upstream.Verdict{Detail: "the application does not have this strategy: somebody's edit of the application has undone it"}, nil
	}
	if p.Probe == nil {
		return upstream.Verdict{Accepted: true, Detail: "the token service gave a token, and the application has the strategy"}, nil
	}
	return a.probe(ctx, p.Probe.Path, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token.Reveal()) }, token)
}

// clientToken asks for a token as a workload does. refused says in words that the client is
// not taken; it is not empty then.
func (a *account) clientToken(ctx context.Context, p credentialParameters, m material.Material) (token material.Secret, refused string, err error) {
	if m.ClientID == "" || m.ClientSecret.Empty() {
		return token, "the material holds no client id or no secret", nil
	}
	ask := map[string]string{"grant_type": "client_credentials"}
	if len(p.Scopes) > 0 {
		ask["scope"] = strings.Join(p.Scopes, " ")
	}
	r, err := a.tokens.exchange(ctx, call{
		operation: "client.token", method: http.MethodPost, body: ask, secrets: []material.Secret{m.ClientSecret},
		authorize: func(r *http.Request) { r.SetBasicAuth(m.ClientID, m.ClientSecret.Reveal()) },
	})
	if err != nil {
		return token, "", notThrottled(err)
	}
	switch {
	case r.throttled:
		return token, "", notThrottled(r.refusal())
	case r.status == http.StatusUnauthorized && !r.page(), r.status/100 != 2 && !r.page() && refuses(r.body):
		return token, r.words(), nil
	case r.status == http.StatusNotFound:
		return token, "", upstream.Errorf(upstream.InvalidSpec, "%s; tokenURL of the issuer must be that of the token service", r.words())
	case !r.done():
		return token, "", notThrottled(r.refusal())
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	if json.Unmarshal(r.body, &answer) != nil || answer.Token == "" {
		return token, "", upstream.Errorf(upstream.Retryable, "%s without a token", r.words())
	}
	return material.New(answer.Token), "", nil
}

// probe makes one call of an API. Its text counts as well as its status: a refusal may come as
// a 500, which without the words is a failure of the API.
func (a *account) probe(ctx context.Context, path string, authorize func(*http.Request), secret material.Secret) (upstream.Verdict, error) {
	ask, err := url.Parse(path)
	if err != nil || ask.Host != "" || ask.Scheme != "" || !strings.HasPrefix(path, "/") {
		return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "probe.path %q is no path: it must begin with a slash", upstream.Excerpt(path))
	}
	r, err := a.runtime.exchange(ctx, call{
		operation: "api.call", method: http.MethodGet, path: ask.Path, query: ask.Query(), authorize: authorize, secrets: []material.Secret{secret},
	})
	said := "GET " + upstream.Excerpt(ask.Path)
	switch {
	case err != nil:
		return upstream.Verdict{}, notThrottled(err)
	case r.throttled:
		return upstream.Verdict{}, notThrottled(r.refusal())
	case r.status/100 == 2:
		return upstream.Verdict{Accepted: true, Detail: said + " was served"}, nil
	case r.status == http.StatusUnauthorized, r.status == http.StatusForbidden, refuses(r.body):
		return upstream.Verdict{Detail: r.words()}, nil
	case r.status == http.StatusRequestTimeout, r.status >= 500:
		return upstream.Verdict{}, notThrottled(r.refusal())
	}
	return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "%s; probe.path must name something that answers 2xx to GET with a good credential", r.words())
}
