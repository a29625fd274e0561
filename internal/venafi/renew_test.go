package venafi_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// renew has a grant renewed in place, for another scope if one is named.
func (g grants) renew(clientID, scope string, replaces upstream.Handle) (upstream.Issued, error) {
	parameters := json.RawMessage(`{"token": {"clientID": "` + clientID + `", "scope": "` + scope + `"}}`)
	return g.Issue(g.t.Context(), upstream.Request{Parameters: parameters, Mark: "fedcba9876543210fedcba9876543210", Replaces: &replaces})
}

func TestAGrantIsRenewedInPlaceByItsRefreshToken(t *testing.T) {
	g := newGrants(t, nil)
	first, handle := g.issue("short-lived")
	g.clock.Advance(5 * time.Minute)
	second, err := g.renew("short-lived", "certificate:manage", handle)
	if err != nil {
		t.Fatal(err)
	}
	if !second.Replaced || g.AcceptsToken(first.Material.Token.Reveal()) || !g.AcceptsToken(second.Material.Token.Reveal()) || g.LiveGrants("short-lived") != 1 {
		t.Errorf("replaced: %v, the first is accepted: %v, the second: %v, %d grants", second.Replaced,
			g.AcceptsToken(first.Material.Token.Reveal()), g.AcceptsToken(second.Material.Token.Reveal()), g.LiveGrants("short-lived"))
	}
	want := map[string]string{"url": g.URL(), "scope": "certificate:manage", "expires": "2026-03-01T12:15:00Z", "identity": first.Material.Attributes["identity"]}
	if diff := cmp.Diff(want, second.Material.Attributes); diff != "" || second.SecretHandle.Empty() || second.SecretHandle.Equal(first.SecretHandle) {
		t.Errorf("a handle of its own: %v\n%s", !second.SecretHandle.Equal(first.SecretHandle), diff)
	}
	// Nobody is asked to revoke what was replaced. If somebody were, its successor would live on.
	if err := g.Revoke(t.Context(), handle); upstream.ClassOf(err) != upstream.NotFound || !g.AcceptsToken(second.Material.Token.Reveal()) {
		t.Errorf("revoking what was replaced: %v; its successor is accepted: %v", err, g.AcceptsToken(second.Material.Token.Reveal()))
	}
	handle.Material, handle.SecretHandle = second.Material, second.SecretHandle
	if err := g.Revoke(t.Context(), handle); err != nil || g.LiveGrants("short-lived") != 0 {
		t.Errorf("%v, %d grants live", err, g.LiveGrants("short-lived"))
	}
}

func TestAGrantThatCannotBeRenewedInPlaceIsFollowedByANewOne(t *testing.T) {
	for name, tc := range map[string]struct {
		scope   string
		change  func(grants, *upstream.Handle)
		outlive bool
	}{
		"it has no refresh token": {change: func(_ grants, h *upstream.Handle) { h.SecretHandle = material.Secret{} }, outlive: true},
		"its refresh token was spent by somebody": {change: func(g grants, h *upstream.Handle) {
			if _, err := g.renew("short-lived", "certificate:manage", *h); err != nil {
				g.t.Error(err)
			}
		}},
		"its grant was ended": {change: func(g grants, h *upstream.Handle) {
			if err := g.Revoke(g.t.Context(), *h); err != nil {
				g.t.Error(err)
			}
		}},
		"another scope is wanted": {scope: "certificate", outlive: true},
		"refreshing is forbidden": {change: func(g grants, _ *upstream.Handle) {
			if _, err := g.Faults().Add(simkit.Fault{Operation: "auth.refresh", Action: simkit.Refuse, Status: 403}); err != nil {
				g.t.Error(err)
			}
		}, outlive: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGrants(t, nil)
			first, handle := g.issue("short-lived")
			if tc.change != nil {
				tc.change(g, &handle)
			}
			scope := tc.scope
			if scope == "" {
				scope = "certificate:manage"
			}
			second, err := g.renew("short-lived", scope, handle)
			if err != nil {
				t.Fatal(err)
			}
			if second.Replaced || !g.AcceptsToken(second.Material.Token.Reveal()) || g.AcceptsToken(first.Material.Token.Reveal()) != tc.outlive {
				t.Errorf("replaced: %v, the first is accepted: %v, the second: %v", second.Replaced,
					g.AcceptsToken(first.Material.Token.Reveal()), g.AcceptsToken(second.Material.Token.Reveal()))
			}
		})
	}
}

// The grant of the integration ends after an hour, and a token after ten minutes.
func TestATokenThatEndsWithItsGrantIsNotRefreshed(t *testing.T) {
	g := newGrants(t, nil)
	_, handle := g.issue("short-lived")
	for minutes, want := range map[int]bool{52: true} {
		g.clock.Advance(time.Duration(minutes) * time.Minute)
		cut, err := g.renew("short-lived", "certificate:manage", handle)
		if err != nil || cut.Replaced != want {
			t.Fatalf("after %d minutes: %v, replaced %v", minutes, err, cut.Replaced)
		}
		if !cut.ExpiresAt.Equal(dawn.Add(time.Hour)) {
			t.Fatalf("it ends at %s", cut.ExpiresAt)
		}
		handle.Material, handle.SecretHandle, handle.ExpiresAt = cut.Material, cut.SecretHandle, cut.ExpiresAt
	}
	next, err := g.renew("short-lived", "certificate:manage", handle)
	if err != nil || next.Replaced || !g.AcceptsToken(handle.Material.Token.Reveal()) || g.Calls().Total("auth.refresh") != 1 {
		t.Errorf("%v, replaced %v after %d refreshes", err, next.Replaced, g.Calls().Total("auth.refresh"))
	}
	// Its handle still leads to its grant, when its access token has expired for the platform.
	if err := g.Revoke(t.Context(), handle); err != nil || g.LiveGrants("short-lived") != 1 {
		t.Errorf("%v, %d grants live", err, g.LiveGrants("short-lived"))
	}
}

func TestARefreshWithoutAnAnswerLeavesTheOutcomeUnknown(t *testing.T) {
	for name, fault := range map[string]simkit.Fault{
		"the line is cut":         {Operation: "auth.refresh", Point: simkit.AfterCommit, Action: simkit.Cut},
		"half of it comes":        {Operation: "auth.refresh", Point: simkit.AfterCommit, Action: simkit.Truncate},
		"the platform stumbles":   {Operation: "auth.refresh", Action: simkit.Refuse, Status: 503},
		"a proxy answers instead": {Operation: "auth.refresh", Point: simkit.AfterCommit, Action: simkit.HTML, Status: 200},
	} {
		g := newGrants(t, nil)
		_, handle := g.issue("short-lived")
		if _, err := g.Faults().Add(fault); err != nil {
			t.Fatal(err)
		}
		issued, err := g.renew("short-lived", "certificate:manage", handle)
		if upstream.ClassOf(err) != upstream.OutcomeUnknown || issued.Replaced || g.Calls().Total("auth.password") != 1 {
			t.Errorf("%s: %v, replaced %v, %d logins", name, err, issued.Replaced, g.Calls().Total("auth.password"))
		}
	}
}
