package neo

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// ASSUMED. This file is not about an interface of SAP: there is none. It is the contract
// that this project offers to whoever automates the cockpit behind an endpoint of his
// own, version 1, described for him in docs/upstreams/sap-neo.md:
//
//	PUT    /clients/{id}                register; the same again is a success
//	GET    /clients?prefix=&after=&limit=   page by page, with the total
//	DELETE /clients/{id}                end
//
// with "Authorization: Bearer <registrar_token>". 202 means that a person decides.

// listPage is how many clients one page may hold.
const listPage = 500

type httpRegistrar struct {
	*endpoint
	token material.Secret
}

// clientRequest is the body of PUT.
type clientRequest struct {
	Name            string `json:"name"`
	Description     string `json:"description"`
	Application     string `json:"application"`
	ProviderAccount string `json:"providerAccount"`
	Grant           string `json:"grant"`
	Confidential    bool   `json:"confidential"`
	Secret          string `json:"secret"`
}

// clientAnswer is a client as the registrar shows it.
type clientAnswer struct {
	ClientID        string `json:"clientId"`
	Name            string `json:"name"`
	Application     string `json:"application"`
	ProviderAccount string `json:"providerAccount"`
}

const registrarAdvice = "; check registrar_token in the login Secret and what it may do"

// waiting is the answer 202.
func waiting(class upstream.ErrorClass, r reply) *upstream.Error {
	return upstream.Errorf(class, "%s; a person has to act, and nothing is asked for twice", r.words())
}

func (h *httpRegistrar) send(ctx context.Context, c call) (reply, error) {
	c.authorize = func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+h.token.Reveal()) }
	return h.exchange(ctx, c)
}

func (h *httpRegistrar) register(ctx context.Context, r registration) error {
	c := call{
		operation: "client.register", method: http.MethodPut, path: "/clients/" + r.id, effect: true, secrets: []material.Secret{r.secret},
		body: clientRequest{
			Name: r.name, Description: r.title, Application: r.at.Name, ProviderAccount: r.at.ProviderAccount,
			Grant: "client_credentials", Confidential: true, Secret: r.secret.Reveal(),
		},
	}
	answer, err := h.send(ctx, c)
	if err != nil {
		return err
	}
	var made clientAnswer
	known := json.Unmarshal(answer.body, &made) == nil && made.ClientID == r.id
	switch {
	case known && (answer.status == http.StatusOK || answer.status == http.StatusCreated):
		return nil
	case known && answer.status == http.StatusAccepted:
		return waiting(upstream.AwaitingUpstreamApproval, answer)
	}
	return answer.refusal(registrarAdvice)
}

func (h *httpRegistrar) end(ctx context.Context, id string, _ material.Secret) error {
	r, err := h.send(ctx, call{operation: "client.end", method: http.MethodDelete, path: "/clients/" + id, effect: true})
	if err != nil {
		return err
	}
	switch r.status {
	case http.StatusNoContent:
		return nil
	case http.StatusAccepted:
		return waiting(upstream.AwaitingUpstreamApproval, r)
	case http.StatusNotFound:
		return h.proveAbsent(ctx, id, r)
	}
	return r.refusal(registrarAdvice)
}

// proveAbsent succeeds with NotFound if the whole list is without the client.
func (h *httpRegistrar) proveAbsent(ctx context.Context, id string, missing reply) error {
	clients, err := h.list(ctx, id)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(clients, func(c registered) bool { return c.id == id }) {
		return missing.refusal(registrarAdvice)
	}
	return upstream.Errorf(upstream.NotFound, "the registrar has no client %s", id)
}

// list reads the whole list, or fails: with fewer entries than there are, something would
// be taken for gone.
func (h *httpRegistrar) list(ctx context.Context, prefix string) ([]registered, error) {
	var clients []registered
	for after := ""; ; {
		query := url.Values{"prefix": {prefix}, "limit": {strconv.Itoa(listPage)}}
		if after != "" {
			query.Set("after", after)
		}
		r, err := h.send(ctx, call{operation: "client.list", method: http.MethodGet, path: "/clients", query: query})
		if err != nil {
			return nil, err
		}
		var page struct {
			Clients []clientAnswer `json:"clients"`
			Total   *int           `json:"total"`
		}
		if r.status != http.StatusOK || json.Unmarshal(r.body, &page) != nil || page.Total == nil || page.Clients == nil {
			return nil, r.refusal(registrarAdvice)
		}
		for _, c := range page.Clients {
			if c.ClientID == "" || slices.ContainsFunc(clients, func(other registered) bool { return other.id == c.ClientID }) {
				return nil, upstream.Errorf(upstream.Retryable, "client.list: the list is not whole: an entry has no id of its own")
			}
			clients = append(clients, registered{id: c.ClientID, name: c.Name, provider: c.ProviderAccount, application: c.Application})
			after = c.ClientID
		}
		switch {
		case len(clients) == *page.Total:
			return clients, nil
		case len(page.Clients) == 0 || len(clients) > *page.Total:
			return nil, upstream.Errorf(upstream.Retryable, "client.list: the list is not whole: it does not fit its total")
		}
	}
}
