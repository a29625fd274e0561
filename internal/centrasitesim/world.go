package centrasitesim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

type (
	world struct {
		users   map[string]*user
		apis    map[string]*api
		tokens  []*token
		bearers map[string]bearer
		serial  int
	}
	user struct {
		User
		denied bool
	}
	api struct{ API }
	// token is an access token from its request on.
	token struct {
		uuid, name, description, appID, userID, kind string
		api                                          *api
		// key, or id and secret.
		key, id, secret string
		requested       time.Time
		approval        *approval // nil if none was needed
		// made is when it came to life; zero while people decide, and of what they rejected.
		made    time.Time
		expires time.Time // zero for never
		revoked bool
	}
	// approval is a request for approval.
	approval struct {
		key, requestor string
		submitted      time.Time
		status         string
		agreed         []string
		by, remarks    string
	}
	bearer struct {
		token *token
		until time.Time
	}
)

// Statuses of approvals.
const (
	inProgress = "In Progress"
	approved   = "Approved"
	rejected   = "Rejected"
	noAction   = "No Action"
)

// Kinds of access tokens.
const (
	kindAPIKey = "APIKey"
	kindOAuth2 = "OAuth2"
)

// ledgerKind is the only kind of the ledger.
const ledgerKind = "token"

func newWorld() world {
	return world{users: map[string]*user{}, apis: map[string]*api{}, bearers: map[string]bearer{}}
}

// next makes a number that was never used.
func (w *world) next(prefix string) string {
	w.serial++
	return fmt.Sprintf("%s%08d", prefix, w.serial)
}

func (t *token) attrs() map[string]string {
	attrs := map[string]string{
		"uuid": t.uuid, "name": t.name, "description": t.description, "appId": t.appID, "user": t.userID, "api": t.api.Key, "type": t.kind,
		"fingerprint": Fingerprint(t.key + t.secret),
	}
	if t.id != "" {
		attrs["clientId"] = t.id
	}
	return attrs
}

// Fingerprint tells keys apart in the ledger without showing them.
func Fingerprint(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:8])
}

// live: it was made and not revoked.
func (t *token) live() bool { return !t.made.IsZero() && !t.revoked }

// working: CentraSite has not finished with it.
func (t *token) working(now time.Time, b Behaviour) bool {
	if t.revoked || t.approval != nil && t.approval.status == rejected {
		return false
	}
	return t.made.IsZero() || now.Before(t.made.Add(time.Duration(b.WorkLag)))
}

// known: Mediator takes it.
func (t *token) known(now time.Time, b Behaviour) bool {
	return t.live() && !now.Before(t.made.Add(time.Duration(b.WorkLag+b.DeployLag)))
}

// visible are those that a list shows. The lock is held.
func (s *Sim) visible() []*token {
	now, b := s.clock.Now(), s.behaves()
	return slices.DeleteFunc(slices.Clone(s.world.tokens), func(t *token) bool {
		done := t.live() && !t.working(now, b)
		return t.revoked || !done && !b.ListPending
	})
}

// of are the tokens of an application that are not over. The lock is held.
func (s *Sim) of(appID string) []*token {
	return slices.DeleteFunc(slices.Clone(s.world.tokens), func(t *token) bool {
		return t.appID != appID || t.revoked || t.approval != nil && t.approval.status == rejected
	})
}

// make brings a token to life. The lock is held.
func (s *Sim) make(t *token, by simkit.Actor, how string) {
	t.made = s.clock.Now()
	if t.api.Contract > 0 && t.kind == kindAPIKey {
		t.expires = t.made.Add(time.Duration(t.api.Contract))
	}
	s.stage.Ledger.Issue(simkit.Entry{Kind: ledgerKind, ID: t.uuid, Attrs: t.attrs(), By: by, How: how})
}

// revoke ends a token. The lock is held.
func (s *Sim) revoke(t *token, by simkit.Actor, how string) {
	t.revoked = true
	s.stage.Ledger.Revoke(simkit.Entry{Kind: ledgerKind, ID: t.uuid, Attrs: t.attrs(), By: by, How: how})
}

// decide lets a user answer a request for approval: one no is a no, and a yes is one if
// everybody has said it, or anybody, as the API demands. The lock is held.
func (s *Sim) decide(t *token, who string, yes bool, remarks string, by simkit.Actor, how string) error {
	switch {
	case t.approval == nil || t.approval.status != inProgress:
		return fmt.Errorf("nothing is to be decided about %s", t.uuid)
	case !slices.Contains(t.api.Approvers, who):
		return fmt.Errorf("%s may not decide about %s", who, t.uuid)
	}
	t.approval.by = who
	if !yes {
		t.approval.status, t.approval.remarks = rejected, remarks
		s.stage.Events.Append(EventDecided, "", map[string]string{"appId": t.appID, "status": rejected})
		return nil
	}
	if !slices.Contains(t.approval.agreed, who) {
		t.approval.agreed = append(t.approval.agreed, who)
	}
	if t.api.AllApprove && len(t.approval.agreed) < len(t.api.Approvers) {
		return nil
	}
	t.approval.status = approved
	s.stage.Events.Append(EventDecided, "", map[string]string{"appId": t.appID, "status": approved})
	s.make(t, by, how)
	return nil
}

// newKey makes a value that only a simulator takes.
func newKey() string { return simkit.NewSecret(40) }

// service finds the API whose path a call is below. The lock is held.
func (s *Sim) service(path string) *api {
	for _, a := range s.world.apis {
		if path == a.Path || strings.HasPrefix(path, a.Path+"/") {
			return a
		}
	}
	return nil
}
