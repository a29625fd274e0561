package neo

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// secretBytes is the length of a client secret before it is encoded: 256 bits.
const secretBytes = 32

// Draft implements upstream.Drafter: the client id is the mark, which is unique in the
// whole platform, and the secret is random.
func (a *account) Draft(r upstream.Request, random io.Reader) (material.Material, error) {
	_, at, err := a.read(r.Parameters)
	if err != nil {
		return material.Material{}, err
	}
	secret := make([]byte, secretBytes)
	if _, err := io.ReadFull(random, secret); err != nil {
		return material.Material{}, upstream.Errorf(upstream.InvalidSpec, "no randomness is to be had")
	}
	m := material.Material{
		ClientID:     string(r.Mark),
		ClientSecret: material.New(base64.RawURLEncoding.EncodeToString(secret)),
		Attributes:   map[string]string{"tokenURL": a.tokens.base.String()},
	}
	if at.URL != "" {
		m.Attributes["url"] = strings.TrimRight(at.URL, "/")
	}
	return m, nil
}

// Issue implements upstream.Upstream: the client first, then its roles, so that nothing
// that waits for a person has power already.
func (a *account) Issue(ctx context.Context, r upstream.Request) (upstream.Issued, error) {
	p, at, err := a.read(r.Parameters)
	if err != nil {
		return upstream.Issued{}, err
	}
	id := r.Material.ClientID
	if r.Container != a.container(at) || !isMark(id) || id != string(r.Mark) || r.Material.ClientSecret.Empty() || !segment.MatchString(r.Name) {
		return upstream.Issued{}, upstream.Errorf(upstream.InvalidSpec, "the request is not one for %s: its container, name, client id or secret does not fit", at.Name)
	}
	wanted := registration{id: id, name: r.Name, title: r.Title, secret: r.Material.ClientSecret, at: at}
	if err := a.registrar.register(ctx, wanted); err != nil {
		return upstream.Issued{}, err
	}
	for _, role := range p.Roles {
		if err := a.assign(ctx, at, role, userPrefix+id); err != nil {
			return upstream.Issued{}, err
		}
	}
	return upstream.Issued{Material: r.Material}, nil
}

// Revoke implements upstream.Upstream: power first, then the client.
func (a *account) Revoke(ctx context.Context, h upstream.Handle) error {
	at, err := a.parseContainer(h.Container)
	if err != nil {
		return err
	}
	id := string(h.Mark)
	if !isMark(id) {
		return upstream.Errorf(upstream.InvalidSpec, "%q is no mark", upstream.Excerpt(id))
	}
	if err := a.unassign(ctx, at, a.givenRoles(at, h.Parameters), userPrefix+id); err != nil {
		return err
	}
	return a.registrar.end(ctx, id, h.Material.ClientSecret)
}

// givenRoles are all that the user may have got from us: what the issuer offers now, and
// what the credential names, which may differ since.
func (a *account) givenRoles(at application, parameters json.RawMessage) []string {
	roles := slices.Clone(at.Roles)
	var p credentialParameters
	if json.Unmarshal(parameters, &p) == nil {
		for _, role := range p.Roles {
			if !slices.Contains(roles, role) {
				roles = append(roles, role)
			}
		}
	}
	return roles
}

// ourNamePrefix begins the names that Claviger gives.
const ourNamePrefix = "cl-"

// List implements upstream.Upstream: the users that have roles of the offered
// applications, and what the registrar knows, if it can tell. Each sees what the other
// lacks: a client whose roles were never given, and roles whose client is gone.
func (a *account) List(ctx context.Context, owner upstream.Owner) (upstream.Listing, error) {
	applications := a.parameters.Applications
	if owner.Container != "" {
		at, err := a.parseContainer(owner.Container)
		if err != nil {
			return upstream.Listing{}, err
		}
		applications = []application{at}
	}
	found := map[string]upstream.Found{}
	all := map[string]bool{}
	clients, err := a.registrar.list(ctx, "")
	if err != nil {
		return upstream.Listing{}, err
	}
	for _, c := range clients {
		at := application{Name: c.application, ProviderAccount: c.provider}
		if owner.Container != "" && a.container(at) != owner.Container {
			continue
		}
		all[c.id] = true
		// Without an owner the name must fit as well: other systems choose ids of this
		// shape too.
		if isMark(c.id) && (owner.Mark != "" || strings.HasPrefix(c.name, ourNamePrefix)) {
			found[c.id] = upstream.Found{ID: c.id, Name: c.name, Mark: upstream.Mark(c.id), Container: a.container(at)}
		}
	}
	for _, at := range applications {
		users, err := a.usersOf(ctx, at)
		if err != nil {
			return upstream.Listing{}, err
		}
		for _, id := range users {
			all[id] = true
			if _, known := found[id]; !known && isMark(id) {
				found[id] = upstream.Found{ID: id, Name: userPrefix + id, Mark: upstream.Mark(id), Container: a.container(at)}
			}
		}
	}
	listing := upstream.Listing{Total: len(all)}
	for _, f := range found {
		if owner.Mark == "" || f.Mark.Owner() == owner.Mark {
			listing.Found = append(listing.Found, f)
		}
	}
	slices.SortFunc(listing.Found, func(x, y upstream.Found) int { return strings.Compare(x.ID, y.ID) })
	return listing, nil
}

// usersOf are the ids of the clients whose users have an offered role of an application.
func (a *account) usersOf(ctx context.Context, at application) ([]string, error) {
	var ids []string
	for _, role := range at.Roles {
		users, err := a.members(ctx, at, role)
		if err != nil {
			return nil, err
		}
		for _, user := range users {
			if id, ok := strings.CutPrefix(user, userPrefix); ok && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// clientToken asks for a token as a workload does. refused says in words that the client
// is not taken; it is not empty then.
func (a *account) clientToken(ctx context.Context, id string, secret material.Secret) (token material.Secret, refused string, err error) {
	r, err := a.tokens.exchange(ctx, call{
		operation: "client.token", method: http.MethodPost, query: url.Values{"grant_type": {"client_credentials"}},
		authorize: basic(id, secret), secrets: []material.Secret{secret},
	})
	if err != nil {
		return material.Secret{}, "", notThrottled(err)
	}
	switch {
	case r.status == http.StatusUnauthorized:
		return material.Secret{}, r.words(), nil
	case r.status == http.StatusBadRequest && refusesClient(r.body):
		return material.Secret{}, r.words(), nil
	case r.throttled:
		return material.Secret{}, "", notThrottled(r.refusal(""))
	case r.status != http.StatusOK && r.status != http.StatusCreated:
		out := r.refusal("")
		if r.status == http.StatusNotFound {
			out = upstream.Errorf(upstream.InvalidSpec, "%s; tokenURL must be what the cockpit shows under Security > OAuth > Branding", r.words())
		}
		return material.Secret{}, "", out
	}
	answer, ok := decodeToken(r.body)
	if !ok {
		return material.Secret{}, "", upstream.Errorf(upstream.Retryable, "%s without a token", r.words())
	}
	return material.New(answer.AccessToken), "", nil
}

// notThrottled keeps a limit of the token endpoint or of an application from counting as
// the issuer's: it says nothing about the Authorization API.
func notThrottled(err error) error {
	own, ok := errors.AsType[*upstream.Error](err)
	if !ok || own.Class != upstream.Throttled {
		return err
	}
	return &upstream.Error{Class: upstream.Retryable, After: own.After, Message: own.Message, Err: own.Err}
}

// decodeToken reads a token.
func decodeToken(body []byte) (tokenAnswer, bool) {
	var answer tokenAnswer
	err := json.Unmarshal(body, &answer)
	return answer, err == nil && answer.AccessToken != ""
}

// refusesClient reads the error codes of RFC 6749, section 5.2, that are about the client.
func refusesClient(body []byte) bool {
	var p problem
	return json.Unmarshal(body, &p) == nil && slices.Contains([]string{"invalid_client", "unauthorized_client", "invalid_grant"}, p.Error)
}

// maxProbeAnswer is how much of a probe's answer is read and thrown away.
const maxProbeAnswer = 64 << 10

// Verify implements upstream.Verifier: a token, which says that the client is known, and
// then the probe, which says that its roles are.
func (a *account) Verify(ctx context.Context, h upstream.Handle) (upstream.Verdict, error) {
	var p credentialParameters
	if json.Unmarshal(h.Parameters, &p) != nil {
		return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "the credential's %s cannot be read as JSON", Member)
	}
	token, refused, err := a.clientToken(ctx, h.Material.ClientID, h.Material.ClientSecret)
	if err != nil {
		return upstream.Verdict{}, err
	}
	if refused != "" {
		return upstream.Verdict{Detail: refused}, nil
	}
	if p.Probe == nil {
		return upstream.Verdict{Accepted: true, Detail: "the token endpoint gave a token"}, nil
	}
	at, err := a.parseContainer(h.Container)
	if err != nil {
		return upstream.Verdict{}, err
	}
	return a.probe(ctx, at, p.Probe.Path, token)
}

// probe makes one call of the application as a workload would.
func (a *account) probe(ctx context.Context, at application, path string, token material.Secret) (upstream.Verdict, error) {
	if at.URL == "" {
		return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "the credential has a probe, and its issuer names no url of %s", at.Name)
	}
	base, err := parseBase("applications: url", at.URL)
	if err != nil {
		return upstream.Verdict{}, err
	}
	target, err := url.Parse(base.String() + path)
	if err != nil || !strings.HasPrefix(path, "/") || target.Host != base.Host {
		return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "probe.path %q is no path: it must begin with a slash", upstream.Excerpt(path))
	}
	request, err := http.NewRequestWithContext(upstream.WithOperation(ctx, "application.probe"), http.MethodGet, target.String(), nil)
	if err != nil {
		return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "probe.path %q makes no address", upstream.Excerpt(path))
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Authorization", "Bearer "+token.Reveal())
	r := reply{call: call{operation: "application.probe"}, secrets: []material.Secret{token}}
	response, err := a.tokens.http.Do(request)
	if err != nil {
		return upstream.Verdict{}, notThrottled(upstream.NoAnswer(r.call.operation, err, r.call.effect, r.secrets))
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxProbeAnswer) // the status has said it all
	said := "GET " + upstream.Excerpt(path) + " of " + at.Name
	status := response.StatusCode
	switch {
	case status/100 == 2:
		return upstream.Verdict{Accepted: true, Detail: said + " was served"}, nil
	case status == http.StatusUnauthorized:
		return upstream.Verdict{Detail: said + " answered 401: the application does not take the client's token, or not yet"}, nil
	case status == http.StatusForbidden:
		return upstream.Verdict{Detail: said + " answered 403: a role that it needs is missing in spec.sapNeo.roles, or not known there yet"}, nil
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		after, _ := upstream.ThrottledAfter(response, time.Now())
		return upstream.Verdict{}, &upstream.Error{Class: upstream.Retryable, After: after, Message: said + " answered " + strconv.Itoa(status)}
	}
	return upstream.Verdict{}, upstream.Errorf(upstream.InvalidSpec, "%s answered %d: probe.path must name something that answers 2xx to GET with a good credential", said, status)
}
