package centrasite

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// refusals are what Mediator says of a credential that it does not take, with the status
// 500 that it has for everything.
var refusals = []string{
	"The request is authenticated as invalid.",
	"A required header is missing in the request.",
	"The API key has expired.",
}

// keyHeader carries an API key.
const keyHeader = "X-Centrasite-Apikey"

// Verify implements upstream.Verifier. Approved is not usable: a credential is good once
// Mediator takes it.
func (a *account) Verify(ctx context.Context, h upstream.Handle) (upstream.Verdict, error) {
	w, err := parse(h.Parameters)
	if err != nil {
		return upstream.Verdict{}, err
	}
	if w.Type == typeAPIKey {
		return a.probe(ctx, w.Probe.Path, http.Header{keyHeader: {h.Material.APIKey.Reveal()}}, h.Material.APIKey)
	}
	token, verdict, err := a.accessToken(ctx, w.Service, h.Material)
	if err != nil || token.Empty() || w.Probe == nil {
		return verdict, err
	}
	return a.probe(ctx, w.Probe.Path, http.Header{"Authorization": {"Bearer " + token.Reveal()}}, token)
}

// accessToken asks for a token as a workload does.
func (a *account) accessToken(ctx context.Context, service string, m material.Material) (material.Secret, upstream.Verdict, error) {
	r, err := a.mediator.exchange(ctx, call{
		operation: "mediator.token", method: http.MethodPost, path: a.parameters.Mediator.TokenPath, secrets: []material.Secret{m.ClientSecret},
		authorize: func(r *http.Request) { r.SetBasicAuth(m.ClientID, m.ClientSecret.Reveal()) },
	}.asJSON(map[string]string{"scope": service}))
	if err != nil {
		return material.Secret{}, upstream.Verdict{}, unhurried(err)
	}
	var answer struct {
		Token string `json:"access_token"`
		Error string `json:"error"`
	}
	_ = json.Unmarshal(r.body, &answer) // what it is not, it does not say
	switch refused := r.refuses(); {
	case r.status == http.StatusOK && answer.Token != "":
		return material.New(answer.Token), upstream.Verdict{Accepted: true, Detail: "the token service of Mediator gave a token"}, nil
	case refused != "":
		return material.Secret{}, upstream.Verdict{Detail: "the token service of Mediator does not take the client: " + refused}, nil
	case r.status == http.StatusBadRequest && (answer.Error == "invalid_client" || answer.Error == "unauthorized_client"):
		return material.Secret{}, upstream.Verdict{Detail: "the token service of Mediator does not take the client: " + answer.Error}, nil
	case r.status == http.StatusNotFound:
		return material.Secret{}, upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "%s; mediator.tokenPath must be that of this release", r.words())
	}
	return material.Secret{}, upstream.Verdict{}, unhurried(r.refusal())
}

// probe makes one call as a workload would.
func (a *account) probe(ctx context.Context, path string, header http.Header, secret material.Secret) (upstream.Verdict, error) {
	r, err := a.mediator.exchange(ctx, call{operation: "mediator.probe", method: http.MethodGet, path: path, header: header, secrets: []material.Secret{secret}})
	if err != nil {
		return upstream.Verdict{}, unhurried(err)
	}
	said := "GET " + upstream.Excerpt(path) + " at Mediator"
	refused := r.refuses()
	switch {
	case r.status/100 == 2:
		return upstream.Verdict{Accepted: true, Detail: said + " was served"}, nil
	case refused != "":
		return upstream.Verdict{Detail: said + " was refused: " + refused}, nil
	case r.throttled, r.status == http.StatusTooManyRequests, r.status == http.StatusRequestTimeout, r.status == http.StatusConflict, r.status >= 500:
		return upstream.Verdict{}, &upstream.Error{Class: upstream.Retryable, After: r.after, Message: said + " answered " + decimal(r.status)}
	}
	return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "%s answered %d: probe.path must name something that answers 2xx to GET with a good credential", said, r.status)
}

// refuses says in which words a credential is refused: the text counts, since the same
// status stands for an outage. Only our own copy of the text is quoted.
func (r reply) refuses() string {
	for _, text := range refusals {
		if strings.Contains(string(r.body), text) {
			return text
		}
	}
	if r.status == http.StatusUnauthorized || r.status == http.StatusForbidden {
		return decimal(r.status)
	}
	return ""
}

// unhurried keeps a limit of Mediator from counting as CentraSite's, and a refusal by it
// from counting as a refusal of the operator's own login.
func unhurried(err error) error {
	own, ok := errors.AsType[*upstream.Error](err)
	if !ok || own.Class != upstream.Throttled {
		return err
	}
	return &upstream.Error{Class: upstream.Retryable, After: own.After, Message: own.Message, Err: own.Err}
}
