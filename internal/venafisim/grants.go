package venafisim

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// grantQuery is the body of the calls on the table of grants.
type grantQuery struct {
	ApplicationID string `json:"ApplicationId"`
	Grantee       string `json:"GranteePrefixedUniversal"`
	Start         int    `json:"Start"`
	Count         int    `json:"Count"`
}

// chosen are the live grants that a query means; refused is the answer to a caller who
// may not ask.
func (t *turn) chosen() (q grantQuery, chosen []*grant, refused *simkit.Answer) {
	if !t.grant.identity.GrantAdmin {
		answer := simkit.JSON(http.StatusForbidden, map[string]string{"error": "insufficient_rights", "error_description": "The caller is no Grant Admin"})
		return q, nil, &answer
	}
	if !t.read(&q) || q.ApplicationID == "" && q.Grantee == "" {
		answer := failure(http.StatusBadRequest, "ApplicationId or GranteePrefixedUniversal is required")
		return q, nil, &answer
	}
	for _, g := range t.sim.world.grants {
		if g.live(t.now) && (q.ApplicationID == "" || strings.EqualFold(g.clientID, q.ApplicationID)) &&
			(q.Grantee == "" || g.identity.PrefixedUniversal() == q.Grantee) {
			chosen = append(chosen, g)
		}
	}
	return q, chosen, nil
}

// row is a grant as the table shows it: without an id.
func (g *grant) row() map[string]any {
	return map[string]any{
		"Application": g.clientID, "Scope": g.scopeText, "GranteePrefixedUniversal": g.identity.PrefixedUniversal(),
		"AccessIssuedOn":         fmt.Sprintf("/Date(%d)/", g.accessIssued.UnixMilli()),
		"AccessIssuedOnUnixTime": g.accessIssued.Unix(),
		"AccessIssuedOnISO8601":  g.accessIssued.UTC().Format(time.RFC3339),
		"GrantIssuedOnUnixTime":  g.granted.Unix(),
		"ExpiresUnixTime":        g.ends.Unix(),
		"ValidFor":               int64(g.accessEnds.Sub(g.accessIssued).Seconds()),
	}
}

func enumerateGrants(t *turn) simkit.Answer {
	q, chosen, refused := t.chosen()
	if refused != nil {
		return *refused
	}
	if q.Count <= 0 {
		q.Count = 100
	}
	from := min(max(q.Start, 0), len(chosen))
	return rows(chosen[from:min(from+q.Count, len(chosen))])
}

func getGrants(t *turn) simkit.Answer {
	_, chosen, refused := t.chosen()
	if refused != nil {
		return *refused
	}
	return rows(chosen)
}

func rows(chosen []*grant) simkit.Answer {
	out := []map[string]any{}
	for _, g := range chosen {
		out = append(out, g.row())
	}
	return simkit.JSON(http.StatusOK, map[string]any{"Grants": out, "Result": 0, "Success": true})
}

func countGrants(t *turn) simkit.Answer {
	_, chosen, refused := t.chosen()
	if refused != nil {
		return *refused
	}
	return simkit.JSON(http.StatusOK, map[string]any{"Count": len(chosen), "Result": 0, "Success": true})
}

// revokeGrants ends all that a query means: a single one cannot be named.
func revokeGrants(t *turn) simkit.Answer {
	_, chosen, refused := t.chosen()
	if refused != nil {
		return *refused
	}
	for _, g := range chosen {
		t.sim.endGrant(g, t.by, t.operation)
	}
	return simkit.JSON(http.StatusOK, map[string]any{"Result": 0, "Success": true})
}
