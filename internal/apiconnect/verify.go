package apiconnect

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// maxProbeAnswer is how much of a probe's answer is read, so that the connection can
// serve again. What it says does not matter.
const maxProbeAnswer = 64 << 10

// Verify implements upstream.Verifier: the platform compares the secret, and if the
// credential has a probe, the gateway must serve a call with it. Only the second proves
// that the gateways have heard of it.
func (a *account) Verify(ctx context.Context, h upstream.Handle) (upstream.Verdict, error) {
	at, err := a.parseOwn(h.Container)
	if err != nil {
		return upstream.Verdict{}, err
	}
	if err := checkHandle(h); err != nil {
		return upstream.Verdict{}, err
	}
	parameters, err := parseParameters(h.Parameters)
	if err != nil {
		return upstream.Verdict{}, err
	}
	if parameters.Probe != nil && a.gateway == nil {
		return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "the credential has a probe, and its issuer names no gatewayURL")
	}
	hash := hashOf(h.Material.ClientSecret)
	if parameters.Probe == nil || a.memory.get(identity(h)).proven != hash {
		verdict, err := a.verifyOnPlatform(ctx, at, h)
		if err != nil || !verdict.Accepted || parameters.Probe == nil {
			return verdict, err
		}
	}
	verdict, err := a.verifyByProbe(ctx, parameters.Probe.Path, h.Material)
	k := a.memory.get(identity(h))
	k.proven = hash
	if verdict.Accepted {
		k.proven = "" // the next verification asks the platform again
	}
	a.memory.put(identity(h), k)
	return verdict, err
}

// verifyOnPlatform finds the credential's id and has its secret compared.
func (a *account) verifyOnPlatform(ctx context.Context, at place, h upstream.Handle) (upstream.Verdict, error) {
	if id := a.memory.get(identity(h)).id; id != "" {
		verdict, err := a.proveSecret(ctx, at, id, h.Material)
		if !errors.Is(err, errMissing) {
			return verdict, err
		}
		a.memory.forget(identity(h))
	}
	found, err := a.search(ctx, at, h.Name, identity(h))
	if err != nil {
		return upstream.Verdict{}, err
	}
	if found == nil {
		return upstream.Verdict{Detail: "API Connect has no credential with this client id any more"}, nil
	}
	a.memory.put(identity(h), known{id: found.ID})
	return a.proveSecret(ctx, at, found.ID, h.Material)
}

// proveSecret asks the platform whether a secret is right.
func (a *account) proveSecret(ctx context.Context, at place, id string, m material.Material) (upstream.Verdict, error) {
	c := call{
		operation: "credential.verify", method: http.MethodPost, path: at.credentialPath(id) + "/verify-client-secret",
		body:    clientPair{ClientID: m.ClientID, ClientSecret: m.ClientSecret.Reveal()},
		secrets: []material.Secret{m.ClientSecret}, unauthorizedMeansMore: true,
	}
	answer, err := a.platform.send(ctx, c)
	if err != nil {
		return upstream.Verdict{}, err
	}
	var ignored any
	switch answer.status {
	case http.StatusOK, http.StatusCreated, http.StatusNoContent:
		if len(answer.body) > 0 && decode(answer.body, &ignored) != nil {
			return upstream.Verdict{}, refusal(c, answer)
		}
		return upstream.Verdict{Accepted: true, Detail: "API Connect confirmed the secret"}, nil
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusConflict:
	case http.StatusUnauthorized:
		// Either the secret is wrong or our login is; a call that needs only the login
		// tells which.
		var same credential
		found, err := a.platform.get(ctx, "credential.read", at.credentialPath(id), &same)
		if err != nil {
			return upstream.Verdict{}, err
		}
		if !found || same.ID != id {
			return upstream.Verdict{}, refusal(c, answer)
		}
	default:
		return upstream.Verdict{}, refusal(c, answer)
	}
	if len(answer.body) > 0 && decode(answer.body, &ignored) != nil {
		// A page of a proxy has no opinion on secrets.
		return upstream.Verdict{}, upstream.Errorf(upstream.Retryable, "%s, and %v", words(c, answer), errNoJSON)
	}
	return upstream.Verdict{Detail: words(c, answer)}, nil
}

// verifyByProbe makes one call through the gateway as a workload would.
func (a *account) verifyByProbe(ctx context.Context, probePath string, m material.Material) (upstream.Verdict, error) {
	target, err := url.Parse(strings.TrimRight(a.gateway.String(), "/") + probePath)
	if err != nil || !strings.HasPrefix(probePath, "/") || target.Host != a.gateway.Host {
		return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "probe.path %q is no path: it must begin with a slash", upstream.Excerpt(probePath))
	}
	request, err := http.NewRequestWithContext(upstream.WithOperation(ctx, "gateway.probe"), http.MethodGet, target.String(), nil)
	if err != nil {
		return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "probe.path %q makes no address", upstream.Excerpt(probePath))
	}
	request.Header.Set("X-IBM-Client-Id", m.ClientID)
	request.Header.Set("X-IBM-Client-Secret", m.ClientSecret.Reveal())
	c := call{operation: "gateway.probe"}
	r := reply{secrets: []material.Secret{m.ClientSecret}}
	response, err := a.probe.Do(request)
	if err != nil {
		out := upstream.NoAnswer(c.operation, err, c.effect, r.secrets)
		if out.Class == upstream.Throttled { // by the probes' own budget, which is no concern of the issuer
			out.Class = upstream.Retryable
		}
		return upstream.Verdict{}, out
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxProbeAnswer) // the status has said it all
	r.status = response.StatusCode
	said := "GET " + upstream.Excerpt(probePath) + " through the gateway"
	switch {
	case r.status/100 == 2:
		return upstream.Verdict{Accepted: true, Detail: said + " was served"}, nil
	case r.status == http.StatusUnauthorized:
		return upstream.Verdict{Detail: said + " answered 401: the gateway does not know the credential, or not yet"}, nil
	case r.status == http.StatusForbidden:
		return upstream.Verdict{Detail: said + " answered 403: the app has no subscription to a plan with this API"}, nil
	case r.status == http.StatusTooManyRequests, r.status == http.StatusRequestTimeout, r.status >= 500:
		// A plan's limit is the app's, not the issuer's: no reason to hold back others.
		after, _ := upstream.ThrottledAfter(response, time.Now())
		return upstream.Verdict{}, &upstream.Error{Class: upstream.Retryable, After: after, Message: said + " answered " + strconv.Itoa(r.status)}
	}
	return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "%s answered %d: probe.path must name something that answers 2xx to GET with a good credential", said, r.status)
}
