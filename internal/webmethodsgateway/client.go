package webmethodsgateway

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// tokenSeconds is how long tokens of a client live.
const tokenSeconds = "3600"

// issueClient makes a strategy, adds it to those of the application and reads its secret.
func (a *account) issueClient(ctx context.Context, at place, p credentialParameters, r upstream.Request) (upstream.Issued, error) {
	user, _, err := a.application(ctx, at.application)
	if err != nil {
		return upstream.Issued{}, err
	}
	if user == nil {
		return upstream.Issued{}, upstream.Errorf(upstream.Forbidden, "the gateway shows no application %s, or not to the login; the credential was bound to it as %q", at.application, upstream.Excerpt(p.Application))
	}
	one, ours, err := a.findClient(ctx, at, user, r)
	if err != nil {
		return upstream.Issued{}, err
	}
	if one == nil {
		if one, err = a.createClient(ctx, at, p, r); err != nil {
			return upstream.Issued{}, err
		}
		ours = append(ours, one.ID)
	}
	if !slices.Contains(user.strategies, one.ID) {
		// What other processes have just made of ours is taken along: their edit and this one
		// may cross, and the later would undo the earlier.
		if partial, err := a.attach(ctx, at, one.ID, ours, r); err != nil {
			return partial, err
		}
	}
	partial := upstream.Issued{ID: one.ID}
	secret := one.Client.Secret
	switch {
	case masked(secret):
		return partial, upstream.Errorf(upstream.Forbidden, "the gateway shows the secret of strategy %s to its owner only: the login's user must own it, or be in the team that does", one.Name)
	case secret == "" || one.ClientID == "":
		return partial, upstream.Errorf(upstream.Forbidden, "the gateway shows no client id or secret of strategy %s; does the authorization server %q register clients by itself?", one.Name, upstream.Excerpt(a.parameters.AuthServerAlias))
	}
	m := material.Material{
		ClientID: one.ClientID, ClientSecret: material.New(secret),
		Attributes: map[string]string{material.AttributeTokenURL: a.tokens.base.String(), material.AttributeURL: a.runtime.base.String()},
	}
	if len(p.Scopes) > 0 {
		m.Attributes[material.AttributeScope] = strings.Join(p.Scopes, " ")
	}
	return upstream.Issued{ID: one.ID, Material: m}, nil
}

// findClient looks for the strategy of a request, by its id or its mark. ours are all
// strategies that Claviger made for the application. Twins are treated as those of find.
func (a *account) findClient(ctx context.Context, at place, user *application, r upstream.Request) (one *strategy, ours []string, err error) {
	all, err := a.wholeStrategies(ctx, []application{*user})
	if err != nil {
		return nil, nil, err
	}
	var fitting []strategy
	for _, s := range all {
		if placeOf(s.Description) == at.application && markOf(s.Description) != "" {
			ours = append(ours, s.ID)
		}
		if s.ID == r.ID || markOf(s.Description) == r.Mark {
			fitting = append(fitting, s)
		}
	}
	if len(fitting) == 0 {
		return nil, ours, nil
	}
	// The one that was noted down, then the one that is in use, then the first.
	rank := func(s strategy) int {
		switch {
		case s.ID == r.ID:
			return 0
		case slices.Contains(user.strategies, s.ID):
			return 1
		}
		return 2
	}
	slices.SortFunc(fitting, func(x, y strategy) int { return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(x.ID, y.ID)) })
	for _, twin := range fitting[1:] {
		if err := a.removeClient(ctx, at, twin.ID); err != nil {
			return nil, nil, err
		}
		ours = slices.DeleteFunc(ours, func(id string) bool { return id == twin.ID })
	}
	// A list may show no secrets.
	if one, err = a.strategy(ctx, fitting[0].ID); err == nil && one == nil {
		err = upstream.Errorf(upstream.Retryable, "the gateway lists a strategy that it does not show")
	}
	return one, ours, err
}

// createClient asks for the strategy.
func (a *account) createClient(ctx context.Context, at place, p credentialParameters, r upstream.Request) (*strategy, error) {
	scopes := p.Scopes
	if scopes == nil {
		scopes = []string{}
	}
	answer, err := a.change(ctx, "strategy.create", http.MethodPost, "/strategies", map[string]any{
		"name": r.Name, "description": describe(r, at.application), "type": "OAUTH2", "authServerAlias": a.parameters.AuthServerAlias,
		"dcrConfig": map[string]any{
			"allowedGrantTypes": []string{"client_credentials"}, "applicationType": "WEB", "clientType": "CONFIDENTIAL",
			"expirationInterval": tokenSeconds, "refreshCount": "0", "redirectUris": []string{}, "scopes": scopes,
		},
	})
	if err != nil {
		return nil, err
	}
	made, err := strategyOf(answer.body)
	if err != nil {
		return nil, answer.refusal()
	}
	one, err := a.strategy(ctx, made.ID)
	switch {
	case err != nil:
		return nil, afterSending(err)
	case one == nil:
		return nil, upstream.Errorf(upstream.OutcomeUnknown, "the gateway has made a strategy and does not show it")
	}
	return one, nil
}

// attach adds a strategy to those of the application.
func (a *account) attach(ctx context.Context, at place, id string, ours []string, r upstream.Request) (upstream.Issued, error) {
	what := "strategy " + r.Name + " of application " + at.application
	known := readNote(r.SecretHandle)
	waiting, err := a.request(ctx, known, eventUpdate, at.application, id)
	if err != nil {
		return upstream.Issued{}, err
	}
	if waiting != nil || known.event == eventUpdate {
		return waits(r, id, what, eventUpdate, waiting)
	}
	held, err := a.edit(ctx, at, func(have []string) []string {
		for _, each := range append(slices.Clone(ours), id) {
			if !slices.Contains(have, each) {
				have = append(have, each)
			}
		}
		return have
	})
	if err != nil {
		return upstream.Issued{}, err
	}
	if slices.Contains(held, id) {
		return upstream.Issued{}, nil
	}
	if waiting, err = a.request(ctx, known, eventUpdate, at.application, id); err != nil {
		return upstream.Issued{}, afterSending(err)
	}
	if waiting == nil {
		// Nobody waits: somebody else's edit has undone this one.
		return upstream.Issued{ID: id}, &upstream.Error{Class: upstream.Pending, After: pollAfter, Message: what + ": another edit of the application came between; it is made again"}
	}
	return waits(r, id, what, eventUpdate, waiting)
}

// edit changes the strategies of an application: it reads the application, writes it back with
// nothing else changed, and returns what the gateway holds then. The interface knows no
// conditions, so the time between reading and writing is kept as short as it can be.
func (a *account) edit(ctx context.Context, at place, change func([]string) []string) ([]string, error) {
	user, fields, err := a.application(ctx, at.application)
	if err != nil {
		return nil, err
	}
	if user == nil {
		return nil, upstream.Errorf(upstream.Forbidden, "the gateway shows no application %s, or not to the login", at.application)
	}
	wanted := change(slices.Clone(user.strategies))
	if slices.Equal(wanted, user.strategies) {
		return wanted, nil
	}
	if wanted == nil {
		wanted = []string{}
	}
	encoded, err := json.Marshal(wanted)
	if err != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "a list of strategies cannot be written as JSON")
	}
	fields["authStrategyIds"] = encoded
	// An edit cannot change them, and keys are sent to nobody who did not ask for them.
	delete(fields, "accessTokens")
	if _, err := a.change(ctx, "application.update", http.MethodPut, "/applications/"+at.application, fields); err != nil {
		return nil, err
	}
	after, _, err := a.application(ctx, at.application)
	if err != nil {
		return nil, afterSending(err)
	}
	if after == nil {
		return nil, upstream.Errorf(upstream.OutcomeUnknown, "the application was edited and is not shown any more")
	}
	return after.strategies, nil
}

// revokeClient takes a strategy from the application and deletes it.
func (a *account) revokeClient(ctx context.Context, at place, h upstream.Handle) error {
	user, _, err := a.application(ctx, at.application)
	if err != nil {
		return err
	}
	if user == nil {
		// Gone with what it had, if the list of all applications says so too.
		all, err := a.applications(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(one application) bool { return one.id == at.application }) {
			return upstream.Errorf(upstream.Retryable, "the gateway lists an application that it does not show")
		}
	}
	id, err := a.handledClient(ctx, user, h)
	if err != nil {
		return err
	}
	if id == "" {
		return upstream.Errorf(upstream.NotFound, "the gateway has no strategy of this version")
	}
	return a.removeClient(ctx, at, id)
}

// handledClient finds the id of a handle's strategy in a list that is whole: none is a proof.
func (a *account) handledClient(ctx context.Context, user *application, h upstream.Handle) (string, error) {
	known := segment.MatchString(h.ID)
	var users []application
	if user != nil {
		users = append(users, *user)
	}
	if known {
		if one, err := a.strategy(ctx, h.ID); one != nil || err != nil {
			return h.ID, err
		}
		if user != nil && slices.Contains(user.strategies, h.ID) {
			return h.ID, nil // deleted, and not taken from the application
		}
	}
	all, err := a.wholeStrategies(ctx, users)
	if err != nil {
		return "", err
	}
	for _, s := range all {
		if known && s.ID == h.ID || !known && markOf(s.Description) == h.Mark {
			return s.ID, nil
		}
	}
	return "", nil
}

// removeClient takes a strategy from the application, deletes it, and reads that it is gone
// from both. Its power ends with either.
func (a *account) removeClient(ctx context.Context, at place, id string) error {
	without := func(have []string) []string {
		return slices.DeleteFunc(have, func(each string) bool { return each == id })
	}
	user, _, err := a.application(ctx, at.application)
	if err != nil {
		return err
	}
	if user != nil {
		if _, err := a.edit(ctx, at, without); err != nil {
			return err
		}
	}
	if err := a.deleteStrategy(ctx, id); err != nil {
		return err
	}
	if user == nil {
		return nil
	}
	// Another process may have put it back before it was deleted.
	held, err := a.edit(ctx, at, without)
	switch {
	case err != nil:
		return afterSending(err)
	case slices.Contains(held, id):
		return &upstream.Error{Class: upstream.Pending, After: pollAfter, Message: "the strategy is deleted, and the application still names it: an edit of the application may wait for an approver"}
	}
	return nil
}

// deleteStrategy deletes a strategy that is there. That it is not is believed if neither its
// id nor the list knows it.
func (a *account) deleteStrategy(ctx context.Context, id string) error {
	one, err := a.strategy(ctx, id)
	if err != nil {
		return err
	}
	if one == nil {
		all, err := a.strategies(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(s strategy) bool { return s.ID == id }) {
			return upstream.Errorf(upstream.Retryable, "the gateway lists a strategy that it does not show")
		}
		return nil
	}
	if _, err := a.change(ctx, "strategy.delete", http.MethodDelete, "/strategies/"+id, nil); err != nil {
		return err
	}
	left, err := a.strategy(ctx, id)
	switch {
	case err != nil:
		return afterSending(err)
	case left != nil:
		return &upstream.Error{Class: upstream.Pending, After: pollAfter, Message: "the gateway has taken the deletion of the strategy and still shows it"}
	}
	return nil
}
