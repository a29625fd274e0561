package apiconnect

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Issue implements upstream.Upstream. It sends the same bytes each time; whatever is
// there already is compared and never changed.
func (a *account) Issue(ctx context.Context, r upstream.Request) (upstream.Issued, error) {
	at, err := a.parseOwn(r.Container)
	if err != nil {
		return upstream.Issued{}, err
	}
	parameters, err := parseParameters(r.Parameters)
	if err != nil {
		return upstream.Issued{}, err
	}
	if err := checkRequest(r); err != nil {
		return upstream.Issued{}, err
	}
	swap := parameters.Naming == namingSwap
	if swap {
		entries, err := a.appCredentials(ctx, at)
		if err != nil {
			return upstream.Issued{}, err
		}
		r.Name = nameFor(parameters, r, entries)
		r.Title = r.Name
	}
	secret := r.Material.ClientSecret
	c := call{
		operation: "credential.create", method: http.MethodPost, path: at.appPath() + "/credentials", effect: true,
		secrets: []material.Secret{secret},
		body: newCredential{
			Name: r.Name, Title: cmp.Or(r.Title, r.Name), ClientID: string(r.Mark), ClientSecret: secret.Reveal(),
			Summary: strings.TrimSpace("Managed by Claviger, which renews and deletes it. " + r.Title),
		},
	}
	answer, err := a.platform.send(ctx, c)
	if err != nil {
		return upstream.Issued{}, err
	}
	switch {
	case answer.status/100 == 2:
		err = a.accepted(ctx, at, r, c, answer)
	case answer.status/100 == 3, alreadyExists(answer):
		err = a.resolve(ctx, at, r, c, answer)
	case answer.status == http.StatusNotFound:
		err = a.noApp(ctx, at, c, answer)
	default:
		err = refusal(c, answer)
	}
	if swap && upstream.ClassOf(err) == upstream.Conflict {
		err = a.renamedMeanwhile(ctx, at, r, err)
	}
	if err != nil {
		return upstream.Issued{}, err
	}
	return upstream.Issued{Material: r.Material}, nil
}

// renamedMeanwhile: a name that somebody took between the list and the call is no reason to
// give a version up, since another name will do.
func (a *account) renamedMeanwhile(ctx context.Context, at place, r upstream.Request, conflict error) error {
	entries, err := a.appCredentials(ctx, at)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name == r.Name && entry.ClientID != string(r.Mark) {
			return upstream.Errorf(upstream.Retryable, "the name %s was taken a moment ago", r.Name)
		}
	}
	return conflict
}

// secretBytes is the length of a client secret before it is encoded: 256 bits.
const secretBytes = 32

// Draft implements upstream.Drafter: the client id is the mark, which is unique in the
// catalog, and the secret is random, so the same bytes can be sent again after a lost
// answer.
func (a *account) Draft(r upstream.Request, random io.Reader) (material.Material, error) {
	secret := make([]byte, secretBytes)
	if _, err := io.ReadFull(random, secret); err != nil {
		return material.Material{}, upstream.Errorf(upstream.Retryable, "no randomness is to be had")
	}
	return material.Material{ClientID: string(r.Mark), ClientSecret: material.New(base64.RawURLEncoding.EncodeToString(secret))}, nil
}

// checkRequest refuses what could not be found again or would not be ours.
func checkRequest(r upstream.Request) error {
	if err := checkSegment("name", r.Name); err != nil {
		return err
	}
	switch {
	case !isMark(r.Mark):
		return upstream.Errorf(upstream.InvalidSpec, "mark %q is not 32 lower-case hex digits", upstream.Excerpt(string(r.Mark)))
	case r.Material.ClientID != string(r.Mark) || r.Material.ClientSecret.Empty():
		return upstream.Errorf(upstream.InvalidSpec, "the material must be complete before the call, with the mark as its client id")
	}
	return nil
}

// alreadyExists covers the statuses that versions of the platform use.
func alreadyExists(r reply) bool {
	switch r.status {
	case http.StatusConflict:
		return true
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return strings.Contains(strings.ToLower(messageOf(r.body)), "already exists")
	}
	return false
}

// accepted checks that what was made is what was asked for.
func (a *account) accepted(ctx context.Context, at place, r upstream.Request, c call, answer reply) error {
	var made credential
	if decode(answer.body, &made) != nil || made.ID == "" {
		return refusal(c, answer)
	}
	if made.ClientID != string(r.Mark) {
		return upstream.Errorf(upstream.InvalidSpec, "this API Connect made a client id of its own instead of taking ours; credential %s of that app must be deleted by hand",
			upstream.Excerpt(made.ID))
	}
	return a.compare(ctx, at, r, made)
}

// resolve finds out what stands in the way of a create: our own earlier call, whose
// answer was lost, or somebody else's object.
func (a *account) resolve(ctx context.Context, at place, r upstream.Request, c call, answer reply) error {
	found, err := a.search(ctx, at, r.Name, r.Mark)
	if err != nil {
		return undecided(c, err)
	}
	if found != nil {
		return a.compare(ctx, at, r, *found)
	}
	if answer.status/100 == 3 {
		return refusal(c, answer)
	}
	var byName credential
	taken, err := a.platform.get(ctx, "credential.read", at.credentialPath(r.Name), &byName)
	if err != nil {
		return err
	}
	if taken {
		return upstream.Errorf(upstream.Conflict, "the name %s is taken by a credential of somebody else (client id %s)", r.Name, upstream.Excerpt(byName.ClientID))
	}
	everywhere, err := a.credentials(ctx, at.catalogPath())
	if err != nil {
		return err
	}
	for _, entry := range everywhere {
		if entry.ClientID == string(r.Mark) {
			return upstream.Errorf(upstream.Conflict, "client id %s belongs to credential %s elsewhere in the catalog", r.Mark, upstream.Excerpt(entry.ID))
		}
	}
	return upstream.Errorf(upstream.Retryable, "%s, and neither the name nor the client id is to be found", words(c, answer))
}

// undecided is a failed look-up after a create: it may have had its effect.
func undecided(c call, err error) error {
	own, ok := errors.AsType[*upstream.Error](err)
	if !ok || own.Class != upstream.Retryable {
		return err
	}
	return &upstream.Error{Class: upstream.OutcomeUnknown, After: own.After, Message: c.operation + ", looked up: " + own.Message}
}

// compare proves that an object with our client id has our secret, by the hash that
// the platform shows. A hash that differs is only a sign, since versions may hash
// otherwise; the platform itself then has the last word.
func (a *account) compare(ctx context.Context, at place, r upstream.Request, found credential) error {
	if checkSegment("id", found.ID) != nil {
		return upstream.Errorf(upstream.OutcomeUnknown, "credential.create: the answer holds no usable id")
	}
	a.memory.put(r.Mark, known{id: found.ID})
	if found.ClientSecretHash == "" || found.ClientSecretHash == hashOf(r.Material.ClientSecret) {
		return nil
	}
	verdict, err := a.proveSecret(ctx, at, found.ID, r.Material)
	if err != nil {
		return undecided(call{operation: "credential.create"}, err)
	}
	if !verdict.Accepted {
		return upstream.Errorf(upstream.Conflict, "credential %s has our client id and another secret: somebody reset it (%s)", r.Name, verdict.Detail)
	}
	return nil
}

// noApp explains a 404 to a create.
func (a *account) noApp(ctx context.Context, at place, c call, answer reply) error {
	a.forgetLocated(at)
	var application app
	found, err := a.platform.get(ctx, "app.read", at.appPath(), &application)
	if err != nil {
		return err
	}
	if found {
		return upstream.Errorf(upstream.Retryable, "%s, although the app exists", words(c, answer))
	}
	if err := a.proveAppGone(ctx, at); err != nil {
		return err
	}
	return upstream.Errorf(upstream.NotFound, "app %s does not exist in catalog %q any more; an app of the same name has another id", at.app, a.parameters.Catalog)
}
