package venafisim

import (
	"crypto/x509"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// login is the body of every authorize call; each reads the fields it needs.
type login struct {
	ClientID     string `json:"client_id"`
	Scope        string `json:"scope"`
	Username     string `json:"username"`
	Password     string `json:"password"`
	JWT          string `json:"jwt"`
	RefreshToken string `json:"refresh_token"`
}

func invalidRequest(description string) simkit.Answer {
	return simkit.JSON(http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": description})
}

func isAuthServer(t *turn) simkit.Answer {
	return simkit.Answer{Status: t.behaviour.AuthServerStatus, Reason: "Venafi Authentication Server"}
}

func authorizeByCertificate(t *turn) simkit.Answer {
	if t.request.TLS == nil || len(t.request.TLS.PeerCertificates) == 0 {
		return t.nobody("certificate", "A client certificate is required")
	}
	chain := t.request.TLS.PeerCertificates
	if !t.sim.trusts(chain, t.now) {
		return t.nobody("certificate", "The client certificate was not issued by an approved issuer")
	}
	names := append([]string{chain[0].Subject.CommonName}, chain[0].EmailAddresses...)
	return t.authorize(func(i *Identity) bool {
		return slices.ContainsFunc(i.CommonNames, func(n string) bool { return slices.Contains(names, n) })
	}, "The client certificate maps to no identity")
}

// trusts reports whether the certificate comes from outside's authority or from the
// platform's own, and was not revoked there. The lock is held.
func (s *Sim) trusts(chain []*x509.Certificate, now time.Time) bool {
	roots, intermediates := s.authority.Pool(), x509.NewCertPool()
	roots.AddCert(s.issuing.root)
	intermediates.AddCert(s.issuing.intermediate)
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	// Those of the simulated authority are dated by the machine's clock, those of the
	// platform by the simulator's.
	for _, at := range []time.Time{now, time.Now()} {
		_, err := chain[0].Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: intermediates, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		if err == nil {
			_, known := s.byThumbprint(thumbprintOf(chain[0]))
			return known == nil || !known.revoked
		}
	}
	return false
}

func authorizeByPassword(t *turn) simkit.Answer {
	var l login
	if !t.read(&l) || l.Username == "" || l.Password == "" {
		return invalidRequest("The username or password is missing")
	}
	return t.authorize(func(i *Identity) bool {
		return strings.EqualFold(i.Name, l.Username) && i.Password != "" && i.Password == l.Password
	}, "The username or password is wrong")
}

func authorizeByJWT(t *turn) simkit.Answer {
	var l login
	if !t.read(&l) || l.JWT == "" {
		return invalidRequest("The jwt is missing")
	}
	subject, problem := t.sim.subjectOf(l.JWT, t.now)
	if problem != "" {
		return t.nobody("jwt", problem)
	}
	return t.authorize(func(i *Identity) bool { return slices.Contains(i.Subjects, subject) }, "The JWT maps to no identity")
}

// nobody refuses a login that proves nobody.
func (t *turn) nobody(how, why string) simkit.Answer {
	t.sim.stage.Events.Append(EventRefused, t.operation, map[string]string{"reason": why, "how": how, "agent": t.by.Agent})
	return simkit.JSON(t.behaviour.RefusedLoginStatus, map[string]string{"error": "invalid_grant", "error_description": why})
}

// authorize makes a grant for the identity that is meant.
func (t *turn) authorize(is func(*Identity) bool, why string) simkit.Answer {
	var l login
	if !t.read(&l) || l.ClientID == "" {
		return invalidRequest("The client_id is missing")
	}
	if l.Scope == "" {
		return refusal(http.StatusBadRequest, "Scope is missing or empty")
	}
	at := slices.IndexFunc(t.sim.world.identities, is)
	if at < 0 {
		return t.nobody("", why)
	}
	identity := t.sim.world.identities[at]
	integration := t.sim.world.integrations[strings.ToLower(l.ClientID)]
	if integration == nil {
		return simkit.JSON(http.StatusBadRequest, map[string]string{"error": "invalid_client", "error_description": "Application '" + l.ClientID + "' is not known"})
	}
	wanted, ok := parseScope(l.Scope)
	if !ok {
		return refusal(http.StatusBadRequest, "The requested scope is invalid")
	}
	if !integration.mayUse(identity) || !wanted.within(integration.allowed) {
		return refusal(http.StatusForbidden, "Failed to issue grant: User is not authorized for the requested scope")
	}
	return t.tokens(t.sim.grant(integration, identity, wanted, l.Scope, t.by, t.operation))
}

// grant makes one. The lock is held.
func (s *Sim) grant(integration *Integration, identity *Identity, wanted scope, text string, by simkit.Actor, how string) *grant {
	now := s.clock.Now()
	s.world.serial++
	g := &grant{
		ledgerID: "grant-" + strconv.Itoa(s.world.serial), clientID: strings.ToLower(integration.ClientID), identity: identity,
		scope: wanted, scopeText: text, access: newToken(), granted: now, accessIssued: now,
		accessEnds: now.Add(time.Duration(integration.AccessValidity)), ends: now.Add(time.Duration(integration.GrantValidity)),
	}
	if g.accessEnds.After(g.ends) {
		g.accessEnds = g.ends
	}
	if !integration.NotRefreshable {
		g.refresh = newToken()
	}
	s.world.grants = append(s.world.grants, g)
	by.Login = identity.Name + "/" + g.clientID
	s.stage.Ledger.Issue(simkit.Entry{Kind: kindGrant, ID: g.ledgerID, Attrs: g.attrs(), By: by, How: how})
	return g
}

// tokens answers with a grant's pair.
func (t *turn) tokens(g *grant) simkit.Answer {
	body := map[string]any{
		"access_token": g.access, "token_type": "Bearer", "identity": g.identity.PrefixedUniversal(), "scope": t.echo(g),
		"expires": g.accessEnds.Unix(), "expires_in": int64(g.accessEnds.Sub(t.now).Seconds()),
	}
	if g.refresh != "" {
		body["refresh_token"], body["refresh_until"] = g.refresh, g.ends.Unix()
	}
	return simkit.JSON(http.StatusOK, body)
}

func (t *turn) echo(g *grant) string {
	if t.behaviour.ScopeWithSpaces {
		return strings.ReplaceAll(g.scopeText, ",", ", ")
	}
	return g.scopeText
}

// refreshGrant replaces both tokens in one step: the previous access token is dead at
// once.
func refreshGrant(t *turn) simkit.Answer {
	var l login
	if !t.read(&l) || l.ClientID == "" || l.RefreshToken == "" {
		return invalidRequest("The client_id or refresh_token is missing")
	}
	for _, g := range t.sim.world.grants {
		if g.refresh != l.RefreshToken || !g.live(t.now) {
			continue
		}
		if g.clientID != strings.ToLower(l.ClientID) {
			return refusal(http.StatusBadRequest, "The client_id value being requested with the refresh token does not match the client_id of the access token making the call")
		}
		life := g.accessEnds.Sub(g.accessIssued)
		if integration := t.sim.world.integrations[g.clientID]; integration != nil {
			life = time.Duration(integration.AccessValidity)
		}
		g.spent, g.dead = append(g.spent, g.refresh), append(g.dead, g.access)
		g.access, g.refresh, g.accessIssued, g.accessEnds = newToken(), newToken(), t.now, t.now.Add(life)
		if g.accessEnds.After(g.ends) {
			g.accessEnds = g.ends
		}
		t.sim.stage.Ledger.Change(simkit.Entry{Kind: kindGrant, ID: g.ledgerID, Attrs: g.attrs(), By: t.by, How: t.operation})
		return t.tokens(g)
	}
	t.sim.stage.Events.Append(EventRefused, t.operation, map[string]string{"reason": "refresh", "clientId": l.ClientID})
	return refusal(http.StatusBadRequest, "Grant has been revoked, has expired, or the refresh token is invalid")
}

func verifyToken(t *turn) simkit.Answer {
	g := t.sim.grantOf(bearer(t.request))
	if g == nil || !g.serves(t.now) {
		t.sim.stage.Events.Append(EventRefused, t.operation, map[string]string{"reason": "verify", "agent": t.by.Agent})
		return simkit.JSON(http.StatusUnauthorized, map[string]string{"error": "invalid_token", "error_description": "Invalid or expired token"})
	}
	t.sim.firstUse(g)
	return simkit.JSON(http.StatusOK, map[string]any{
		"identity": g.identity.PrefixedUniversal(), "application": g.clientID, "scope": t.echo(g),
		"valid_for":                  int64(g.accessEnds.Sub(g.accessIssued).Seconds()),
		"access_issued_on":           g.accessIssued.UTC().Format(time.RFC3339),
		"access_issued_on_unix_time": g.accessIssued.Unix(),
		"grant_issued_on":            g.granted.UTC().Format(time.RFC3339),
		"grant_issued_on_unix_time":  g.granted.Unix(),
		"expires":                    g.ends.UTC().Format(time.RFC3339),
		"expires_unix_time":          g.ends.Unix(),
	})
}

// revokeToken ends the grant of the bearer. 202 says that there was none.
func revokeToken(t *turn) simkit.Answer {
	g := t.sim.grantOf(bearer(t.request))
	if bearer(t.request) == "" {
		return simkit.JSON(http.StatusUnauthorized, map[string]string{"error": "invalid_token", "error_description": "Invalid token format"})
	}
	if g == nil || !g.serves(t.now) {
		return simkit.Answer{Status: http.StatusAccepted, Reason: "Token was not found", Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte("{}")}
	}
	by := t.by
	by.Login = g.identity.Name + "/" + g.clientID
	t.sim.endGrant(g, by, t.operation)
	return simkit.Answer{Status: http.StatusOK, Reason: "Token revoked", Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte("{}")}
}

// ownIdentity tells a bearer who he is.
func ownIdentity(t *turn) simkit.Answer {
	i := t.grant.identity
	return simkit.JSON(http.StatusOK, map[string]any{"Identities": []map[string]any{{
		"FullName": i.Name, "Name": i.Name, "Prefix": "local", "PrefixedName": "local:" + i.Name,
		"PrefixedUniversal": i.PrefixedUniversal(), "Universal": i.GUID, "Type": 1,
	}}})
}
