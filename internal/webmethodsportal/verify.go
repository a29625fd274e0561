package webmethodsportal

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Verify implements upstream.Verifier. An OAuth2 client is proven by a token, and an API
// key by a call of an API. Without a probe the portal alone is asked about a key: that it
// holds this one for a live application, which is less than that the gateway takes it.
func (a *account) Verify(ctx context.Context, h upstream.Handle) (upstream.Verdict, error) {
	p, err := parse(h.Parameters)
	if err != nil {
		return upstream.Verdict{}, err
	}
	if p.Type == typeAPIKey {
		switch {
		case h.Material.APIKey.Empty():
			return upstream.Verdict{Detail: "it has no API key"}, nil
		case p.Probe == nil:
			return a.compare(ctx, h)
		}
		return a.probe(ctx, p.Probe.Path, http.Header{a.keyHeader: {h.Material.APIKey.Reveal()}}, h.Material.APIKey)
	}
	token, refusal, err := a.token(ctx, h, p.Scope)
	if err != nil || refusal != "" {
		return upstream.Verdict{Detail: refusal}, err
	}
	if p.Probe == nil {
		return upstream.Verdict{Accepted: true, Detail: "the token service gave a token"}, nil
	}
	return a.probe(ctx, p.Probe.Path, http.Header{"Authorization": {"Bearer " + token.Reveal()}}, token)
}

// compare asks the portal for the key.
func (a *account) compare(ctx context.Context, h upstream.Handle) (upstream.Verdict, error) {
	ref := parseReference(h.ID)
	var app *application
	if ref.application != "" {
		var err error
		if app, err = a.readApplication(ctx, ref.application); err != nil {
			return upstream.Verdict{}, err
		}
	}
	var found traces
	if app == nil {
		var err error
		if found, err = a.look(ctx, h.Mark, ref); err != nil {
			return upstream.Verdict{}, err
		}
		if len(found.applications) > 0 {
			app = &found.applications[0]
		}
	}
	switch {
	case app == nil && !ref.empty() && !found.knows(ref):
		return upstream.Verdict{}, upstream.Errorf(upstream.Forbidden, "the portal shows neither the application of this version nor its request")
	case app == nil:
		return upstream.Verdict{Detail: "the portal has no application of this version any more"}, nil
	case !app.live():
		return upstream.Verdict{Detail: "its application is " + upstream.Excerpt(app.Status) + " in the portal"}, nil
	}
	if c := app.of(typeAPIKey); c == nil || !material.New(c.APIKey).Equal(h.Material.APIKey) {
		return upstream.Verdict{Detail: "the portal holds another API key for its application"}, nil
	}
	return upstream.Verdict{Accepted: true, Detail: "the portal holds this key for a live application; no probe was made"}, nil
}

// tokenURL picks one of the token services that the portal names: one of the issuer's own
// gateway if there is one, else the first.
func (a *account) tokenURL(addresses []string) string {
	for _, address := range addresses {
		if target, err := url.Parse(address); err == nil && a.gateway.base != nil && strings.EqualFold(target.Hostname(), a.gateway.base.Hostname()) {
			return address
		}
	}
	return addresses[0]
}

// token asks for one. The address is the portal's word and not the issuer's, so it is held
// to the same rules as any other: https, and no address of the operator's own machine or of
// its cloud.
func (a *account) token(ctx context.Context, h upstream.Handle, scope string) (token material.Secret, refusal string, err error) {
	id, secret := h.Material.ClientID, h.Material.ClientSecret
	if id == "" || secret.Empty() {
		return material.Secret{}, "it has no client id and secret", nil
	}
	address := h.Material.Attributes[material.AttributeTokenURL]
	if address == "" {
		if address, err = a.tokenURLOf(ctx, h); err != nil {
			return material.Secret{}, "", err
		}
	}
	target, err := parseBase("the address of the token service", address)
	if err != nil {
		return material.Secret{}, "", err
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if scope != "" {
		form.Set("scope", scope)
	}
	basic := base64.StdEncoding.EncodeToString([]byte(id + ":" + secret.Reveal()))
	r, err := a.gateway.exchange(ctx, call{
		operation: "gateway.token", method: http.MethodPost, target: target, form: form,
		header: http.Header{"Authorization": {"Basic " + basic}}, secrets: []material.Secret{secret, material.New(basic)},
	})
	if err != nil {
		return material.Secret{}, "", notThrottled(err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if r.status == http.StatusOK && r.decode(&answer) && answer.AccessToken != "" {
		return material.New(answer.AccessToken), "", nil
	}
	var p problem
	refuses := json.Unmarshal(r.body, &p) == nil && slices.Contains([]string{"invalid_client", "unauthorized_client", "invalid_grant"}, p.Error)
	if r.status == http.StatusUnauthorized || r.status == http.StatusBadRequest && refuses {
		return material.Secret{}, "the token service answered " + strconv.Itoa(r.status) + ": it does not take the client, or not yet", nil
	}
	return material.Secret{}, "", notThrottled(ofWorkload(r))
}

// tokenURLOf reads the address again where the material does not tell it.
func (a *account) tokenURLOf(ctx context.Context, h upstream.Handle) (string, error) {
	if ref := parseReference(h.ID); ref.application != "" {
		app, err := a.readApplication(ctx, ref.application)
		if err != nil {
			return "", err
		}
		if app != nil {
			if c := app.of(typeOAuth2); c != nil && len(c.AccessTokenURIs) > 0 {
				return a.tokenURL(c.AccessTokenURIs), nil
			}
		}
	}
	return "", upstream.Errorf(upstream.Retryable, "the portal names no token service for this client, so it cannot be verified")
}

// probe makes one call of an API as a workload would.
func (a *account) probe(ctx context.Context, path string, header http.Header, secret material.Secret) (upstream.Verdict, error) {
	if a.gateway.base == nil {
		return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "the credential has a probe, and its issuer names no gateway.url")
	}
	target, err := url.Parse(a.gateway.base.String() + path)
	if err != nil || !strings.HasPrefix(path, "/") || target.Host != a.gateway.base.Host {
		return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "probe.path %q makes no address", upstream.Excerpt(path))
	}
	r, err := a.gateway.exchange(ctx, call{operation: "gateway.call", method: http.MethodGet, target: target, header: header, secrets: []material.Secret{secret}})
	if err != nil {
		return upstream.Verdict{}, notThrottled(err)
	}
	said := "GET " + upstream.Excerpt(path) + " of the gateway"
	switch {
	case r.status/100 == 2:
		return upstream.Verdict{Accepted: true, Detail: said + " was served"}, nil
	case r.status == http.StatusUnauthorized, r.status == http.StatusInternalServerError && refusesKey(string(r.body)):
		return upstream.Verdict{Detail: said + " answered " + strconv.Itoa(r.status) + ": the gateway does not take it, or not yet"}, nil
	case r.status == http.StatusForbidden:
		return upstream.Verdict{Detail: said + " answered 403: its application is not registered for this API, or not yet"}, nil
	case r.throttled, r.status == http.StatusRequestTimeout, r.status >= 500, r.status < 200:
		return upstream.Verdict{}, &upstream.Error{Class: upstream.Retryable, After: r.after, Message: said + " answered " + strconv.Itoa(r.status)}
	}
	return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "%s answered %d: probe.path must name something that answers 2xx to GET with a good credential", said, r.status)
}

// ofWorkload is the refusal of a call that was made with the credential and not with the
// operator's own login.
func ofWorkload(r reply) *upstream.Error {
	refusal := r.refusal()
	if refusal.Class == upstream.LoginFailed || refusal.Class == upstream.Forbidden {
		refusal.Class, refusal.Message = upstream.Retryable, r.words()
	}
	return refusal
}

// notThrottled keeps a limit of the gateway from counting as the portal's.
func notThrottled(err error) error {
	own, ok := errors.AsType[*upstream.Error](err)
	if !ok || own.Class != upstream.Throttled {
		return err
	}
	return &upstream.Error{Class: upstream.Retryable, After: own.After, Message: own.Message, Err: own.Err}
}
