package centrasite

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// secretBytes is the length of a key or a client secret before it is encoded: 256 bits.
const secretBytes = 32

// Draft implements upstream.Drafter: the key, or the client and its secret, that the request
// proposes.
func (a *account) Draft(r upstream.Request, random io.Reader) (material.Material, error) {
	w, err := parse(r.Parameters)
	if err != nil {
		return material.Material{}, err
	}
	value := make([]byte, secretBytes)
	if _, err := io.ReadFull(random, value); err != nil {
		return material.Material{}, upstream.Errorf(upstream.InvalidSpec, "no randomness is to be had")
	}
	secret := material.New(base64.RawURLEncoding.EncodeToString(value))
	if w.Type == typeAPIKey {
		return material.Material{APIKey: secret}, nil
	}
	return material.Material{ClientID: string(r.Mark), ClientSecret: secret}, nil
}

// Issue implements upstream.Upstream. Nothing makes a second request harmless, so what is
// there, and what is worked on, is looked up first, each time.
func (a *account) Issue(ctx context.Context, r upstream.Request) (upstream.Issued, error) {
	w, err := parse(r.Parameters)
	if err != nil {
		return upstream.Issued{}, err
	}
	if err := a.own(r.Container); err != nil {
		return upstream.Issued{}, err
	}
	if !isMark(r.Mark) || !ourName.MatchString(tokenName(r.Name, r.Mark)) {
		return upstream.Issued{}, upstream.Errorf(upstream.InvalidSpec, "the request's name or mark does not fit")
	}
	if issued, known, err := a.look(ctx, r, w, false); known || err != nil {
		return issued, err
	}
	return a.create(ctx, r, w)
}

// look finds out what became of a request; known is false if it was never made. A list may be
// behind the answer to a request that was made just now.
func (a *account) look(ctx context.Context, r upstream.Request, w wanted, justNow bool) (issued upstream.Issued, known bool, err error) {
	partial := upstream.Issued{ID: r.ID, Material: r.Material}
	all, whole, err := a.tokens(ctx)
	if err != nil {
		return partial, false, err
	}
	found := find(all, r)
	if found != nil {
		partial.ID = found.UUID
		// What is shown was made, whatever else is said about it.
		if shown, expires := shown(found.Details, w.Type); shown != nil {
			return a.issued(found.UUID, w, *shown, found.created(), expires), true, nil
		}
	}
	working, err := a.inProgress(ctx, r.Mark)
	if err != nil {
		return partial, false, err
	}
	if working != nil && partial.ID == "" {
		partial.ID = working.UUID
	}
	if partial.ID == "" {
		if len(all) == 0 && !whole && r.Repeat {
			return partial, false, upstream.Errorf(upstream.Retryable, "token.list: CentraSite lists nothing and does not say that there is nothing, and an earlier request may be there")
		}
		if working != nil {
			return partial, true, upstream.Errorf(upstream.Pending, "CentraSite works on it")
		}
		return partial, false, nil
	}
	decision, err := a.decision(ctx, partial.ID)
	if err != nil {
		return partial, true, err
	}
	busy := working != nil || justNow
	if found != nil && working == nil && (decision == nil || !decision.open()) {
		// It is there and not shown: what was sent was taken, or verification says so.
		return a.issued(found.UUID, w, r.Material, found.created(), time.Time{}), true, nil
	}
	return partial, true, unready(decision, busy, partial.ID)
}

// find is the access token of a request; where there are two, the one that it was told of.
func find(all []token, r upstream.Request) *token {
	var found *token
	for i := range all {
		if all[i].mark() == r.Mark && (found == nil || all[i].UUID == r.ID) {
			found = &all[i]
		}
	}
	return found
}

// open: people have not said yes.
func (d *approvalRequest) open() bool {
	return d.status == statusInProgress || d.status == statusRejected
}

// unready says why a requested access token is not there.
func unready(decision *approvalRequest, busy bool, uuid string) error {
	switch {
	case decision != nil && (busy || decision.open()):
		return decision.verdict()
	case busy:
		return upstream.Errorf(upstream.Pending, "CentraSite works on it")
	case decision != nil && decision.status != statusNoAction:
		// People have said yes, and are not asked again for what somebody took away.
		return upstream.Errorf(upstream.Declined,
			"approval request %s has the status %s, and CentraSite neither has the access token nor works on it: somebody has removed it, or the list is late",
			upstream.Excerpt(decision.key), upstream.Excerpt(decision.status))
	}
	return upstream.Errorf(upstream.Conflict, "CentraSite has neither access token %s nor a request for it any more", upstream.Excerpt(uuid))
}

// create makes the request.
func (a *account) create(ctx context.Context, r upstream.Request, w wanted) (upstream.Issued, error) {
	c := call{
		operation: "token.create", method: http.MethodPost, path: a.parameters.TokensPath, authorize: a.login.authorize, effect: true,
		secrets: []material.Secret{r.Material.APIKey, r.Material.ClientSecret},
	}.asJSON(createBody(r.Name, r.Mark, r.Title, a.parameters.UserID, w, r.Material))
	answer, err := a.centraSite.exchange(ctx, c)
	if err != nil {
		return upstream.Issued{}, err
	}
	if answer.status == http.StatusConflict {
		// Somebody was faster, with this very request.
		if issued, known, err := a.look(ctx, r, w, false); known || err != nil {
			return issued, err
		}
		return upstream.Issued{}, answer.refusal()
	}
	var m made
	if answer.status/100 != 2 || json.Unmarshal(answer.body, &m) != nil || m.Status == "" {
		return upstream.Issued{}, answer.refusal()
	}
	if !strings.EqualFold(m.Status, "SUCCESS") {
		return upstream.Issued{}, upstream.Errorf(upstream.InvalidSpec, "%s (status %s)", answer.words(), upstream.Excerpt(m.Status))
	}
	if m.UUID == "" {
		return upstream.Issued{}, answer.refusal()
	}
	if shown, expires := shown(m.Details, w.Type); shown != nil {
		return a.issued(m.UUID, w, *shown, time.Time{}, expires), nil
	}
	r.ID = m.UUID
	issued, _, err := a.look(ctx, r, w, true)
	return issued, err
}

// issued completes what CentraSite has made. The usage contract runs from the day on which
// it was made; what CentraSite itself says of the end counts more.
func (a *account) issued(uuid string, w wanted, m material.Material, made, expires time.Time) upstream.Issued {
	if expires.IsZero() && !w.contract.IsUnlimited() {
		if made.IsZero() {
			made = a.now()
		}
		expires = w.contract.AddTo(made.UTC())
	}
	m.Attributes = map[string]string{material.AttributeURL: a.mediator.base.String()}
	if w.Type == typeOAuth2 {
		m.Attributes[material.AttributeTokenURL] = a.mediator.base.String() + a.parameters.Mediator.TokenPath
		m.Attributes[material.AttributeScope] = w.Service
	}
	if !expires.IsZero() {
		m.Attributes[material.AttributeExpires] = expires.UTC().Format(time.RFC3339)
	}
	return upstream.Issued{ID: uuid, Material: m, ExpiresAt: expires}
}
