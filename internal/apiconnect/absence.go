package apiconnect

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	gopath "path"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// What is gone and what only cannot be seen (hazard C4). Nothing in this file takes a
// 404, a 403 or an empty list for absence by itself: a login that lost its rights, a
// list that lacks entries and a broken proxy all look like it. Absence is what is left
// after the container answered by its ids, and agrees with its list.

// search looks for the credential with this client id: by the name that it was given,
// which costs one call, and if it is not there, in the app's whole list, because people
// rename things. nil without an error is proven absence.
func (a *account) search(ctx context.Context, at place, name string, mark upstream.Mark) (*credential, error) {
	var byName credential
	found, err := a.platform.get(ctx, "credential.read", at.credentialPath(name), &byName)
	if err != nil {
		return nil, err
	}
	if found && byName.ClientID == string(mark) {
		if err := checkSegment("id", byName.ID); err != nil {
			return nil, upstream.Errorf(upstream.Retryable, "credential.read: the answer holds no usable id")
		}
		return &byName, nil
	}
	entries, err := a.appCredentials(ctx, at)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if entry.ClientID == string(mark) {
			return &entry, nil
		}
	}
	return nil, nil
}

// appCredentials lists the credentials of an app, none if the app is proven gone. The
// app itself names its credentials too: a list that lacks one of them is short, or
// somebody made one in between, so it is read again a few times.
func (a *account) appCredentials(ctx context.Context, at place) ([]credential, error) {
	for range listAttempts {
		entries, err := a.credentials(ctx, at.appPath())
		if errors.Is(err, errMissing) {
			return nil, a.proveAppGone(ctx, at)
		}
		if err != nil {
			return nil, err
		}
		var application app
		found, err := a.platform.get(ctx, "app.read", at.appPath(), &application)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, a.proveAppGone(ctx, at)
		}
		if holdsAll(entries, application.CredentialURLs) {
			return entries, nil
		}
	}
	return nil, upstream.Errorf(upstream.Retryable, "credential.list: the list is not whole: the app names a credential that is not in it")
}

// holdsAll compares by the id at the end of the address: addresses repeat, and their
// host names differ.
func holdsAll(entries []credential, addresses []string) bool {
	listed := map[string]bool{}
	for _, entry := range entries {
		listed[entry.ID] = true
	}
	for _, address := range addresses {
		parsed, err := url.Parse(address)
		if err != nil || !listed[gopath.Base(parsed.Path)] {
			return false
		}
	}
	return true
}

// proveAppGone succeeds if the app is gone, and with it every credential of it: the
// catalog and the consumer organisation are there, can be read by this login, and the
// organisation's whole list of apps is without it.
func (a *account) proveAppGone(ctx context.Context, at place) error {
	if err := a.proveReadable(ctx, "catalog.read", at.catalogPath()); err != nil {
		return err
	}
	if err := a.proveReadable(ctx, "consumerorg.read", at.consumerOrgPath()); err != nil {
		return err
	}
	apps, err := list[named](ctx, a.platform, "app.list", at.consumerOrgPath()+"/apps", "id,name")
	if err != nil {
		return err
	}
	for _, entry := range apps {
		if entry.ID == at.app {
			return upstream.Errorf(upstream.Forbidden, "app %s is listed and cannot be read; the login needs the right app:view:all in the catalog", at.app)
		}
	}
	return nil
}

// proveReadable succeeds if an object answers by its id.
func (a *account) proveReadable(ctx context.Context, operation, path string) error {
	var object named
	c := call{operation: operation, method: http.MethodGet, path: path}
	found, err := a.platform.get(ctx, operation, path, &object)
	if err != nil {
		return err
	}
	if !found {
		return refusal(c, reply{status: http.StatusNotFound})
	}
	return nil
}
