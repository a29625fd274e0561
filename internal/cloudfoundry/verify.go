package cloudfoundry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Verify implements upstream.Verifier: a token as a workload gets it, and then the call
// that the credential names.
func (k *keys) Verify(ctx context.Context, h upstream.Handle) (upstream.Verdict, error) {
	var p credentialParameters
	if json.Unmarshal(h.Parameters, &p) != nil {
		return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "the credential's %s cannot be read as JSON", Member)
	}
	m := h.Material
	address := m.Attributes["tokenURL"]
	if address == "" || m.ClientSecret.Empty() && m.PrivateKey.Empty() {
		return upstream.Verdict{Detail: "the material has no token endpoint, or neither a secret nor a certificate"}, nil
	}
	token, refused, err := k.clientToken(ctx, address, m)
	if err != nil || refused != "" {
		return upstream.Verdict{Detail: refused}, err
	}
	if p.Probe == nil {
		return upstream.Verdict{Accepted: true, Detail: "the token endpoint takes it"}, nil
	}
	return k.probe(ctx, m, p.Probe.Path, token)
}

// clientToken asks for a token. A secret goes in the form: in Basic, XSUAA does not undo
// the encoding that standard clients apply. refused says that the key is not taken.
func (k *keys) clientToken(ctx context.Context, address string, m material.Material) (token material.Secret, refused string, err error) {
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.User != nil {
		return token, "", upstream.Errorf(upstream.Rejected, "the key's token endpoint is no address")
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {m.ClientID}}
	client := k.workloads
	if !m.ClientSecret.Empty() {
		form.Set("client_secret", m.ClientSecret.Reveal())
	} else {
		pair, err := tls.X509KeyPair([]byte(m.Certificate+m.Chain), []byte(m.PrivateKey.Reveal()))
		if err != nil {
			return token, "its certificate and its private key do not belong together", nil
		}
		options := k.transport
		options.ClientCertificate = &pair
		if client, err = upstream.NewClient(options); err != nil {
			return token, "", err
		}
		defer client.CloseIdleConnections()
	}
	at := &endpoint{name: "the token endpoint", base: base, http: client, secrets: append(slices.Clone(k.own), m.ClientSecret, m.PrivateKey)}
	r, err := at.exchange(ctx, call{operation: "client.token", method: http.MethodPost, form: form})
	switch {
	case err != nil:
		return token, "", notThrottled(err)
	case r.throttled:
		return token, "", notThrottled(r.refusal(""))
	case r.status == http.StatusUnauthorized, r.status == http.StatusBadRequest && !r.page():
		return token, r.words(), nil
	case r.status != http.StatusOK:
		return token, "", notThrottled(r.refusal(""))
	}
	answer, ok := decodeToken(r.body)
	if !ok {
		return token, "", upstream.Errorf(upstream.Retryable, "%s without a token", r.words())
	}
	return material.New(answer.AccessToken), "", nil
}

// probe makes the call that the credential names.
func (k *keys) probe(ctx context.Context, m material.Material, path string, token material.Secret) (upstream.Verdict, error) {
	base, err := url.Parse(m.Attributes["url"])
	ask, parsed := url.Parse(path)
	if err != nil || base.Host == "" || base.User != nil || parsed != nil || ask.Host != "" || !strings.HasPrefix(path, "/") {
		return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "probe.path must begin with / and needs a key that tells a url")
	}
	at := &endpoint{name: "the API", base: base, http: k.workloads, secrets: append(slices.Clone(k.own), m.ClientSecret, m.PrivateKey, token)}
	r, err := at.exchange(ctx, call{
		operation: "api.call", method: http.MethodGet, path: ask.Path, query: ask.Query(),
		authorize: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token.Reveal()) },
	})
	switch {
	case err != nil:
		return upstream.Verdict{}, notThrottled(err)
	case r.throttled:
		return upstream.Verdict{}, notThrottled(r.refusal(""))
	case r.status/100 == 2:
		return upstream.Verdict{Accepted: true, Detail: "the token endpoint and the API take it"}, nil
	case r.status == http.StatusForbidden:
		return upstream.Verdict{
			Detail:   r.words() + "; the service instance lacks the role that " + ask.Path + " needs; a role given to it may take an hour to be known",
			Patience: rolePatience,
		}, nil
	case r.status == http.StatusUnauthorized:
		return upstream.Verdict{Detail: r.words()}, nil
	}
	return upstream.Verdict{}, notThrottled(r.refusal(""))
}

// notThrottled keeps the limits of others from holding back the platform's own budget,
// and what was not found out from being more than that.
func notThrottled(err error) error {
	switch upstream.ClassOf(err) {
	case upstream.Throttled, upstream.LoginFailed, upstream.OutcomeUnknown, upstream.Conflict:
		own, ok := err.(*upstream.Error) //nolint:errorlint // made by the endpoint, never wrapped
		if !ok {
			return err
		}
		return &upstream.Error{Class: upstream.Retryable, After: own.After, Message: own.Message, Err: own.Err}
	}
	return err
}
