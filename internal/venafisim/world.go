package venafisim

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Kinds of things in the ledger. Grants and certificates are what a leak would leave
// behind; an object is the place in the policy tree that certificates are kept in.
const (
	kindGrant       = "grant"
	kindCertificate = "certificate"
	kindObject      = "object"
)

// Stages of a certificate object.
const (
	stageDone      = 0
	stageApproval  = 400
	stagePosted    = 500
	stageRetrieved = 800
)

type (
	world struct {
		integrations map[string]*Integration // by client id, lower case
		identities   []*Identity
		issuers      []JWTIssuer
		grants       []*grant
		policies     map[string]*policy // by DN, lower case
		objects      []*object
		serial       int
	}
	// grant is what a login yields. It has an id in the ledger and nowhere on the wire.
	grant struct {
		ledgerID        string
		clientID        string // lower case, as the platform stores it
		identity        *Identity
		scope           scope
		scopeText       string
		access, refresh string
		spent           []string // refresh tokens that were used
		granted         time.Time
		accessIssued    time.Time
		accessEnds      time.Time
		ends            time.Time // zero: never
		revoked         time.Time // zero while it lives
		used            bool
		// dead are access tokens that a refresh has replaced.
		dead []string
	}
	policy struct {
		SeedPolicy
		guid string
	}
	// object is a certificate object: a place with one current certificate and a history.
	object struct {
		guid, parent, name string
		created            time.Time
		origin             string
		customFields       []customField
		disabled           bool
		deleted            bool

		stage   int
		status  string
		inError bool
		ticket  string
		polls   int
		ready   time.Time
		request *x509.CertificateRequest

		current *issued
		history []*issued
	}
	// issued is one certificate.
	issued struct {
		certificate *x509.Certificate
		vaultID     int
		thumbprint  string
		revoked     bool
	}
)

func newWorld() world {
	return world{integrations: map[string]*Integration{}, policies: map[string]*policy{}}
}

// attrs name a grant in the ledger. The fingerprint is a hash of the access token: a judge
// who knows a token finds its grant by it, which nobody can on the wire.
func (g *grant) attrs() map[string]string {
	sum := sha256.Sum256([]byte(g.access))
	return map[string]string{
		"clientId": g.clientID, "identity": g.identity.PrefixedUniversal(), "scope": g.scopeText, "fingerprint": hex.EncodeToString(sum[:8]),
	}
}

// live reports whether the grant can still be used or renewed at that moment.
func (g *grant) live(now time.Time) bool {
	return g.revoked.IsZero() && (g.ends.IsZero() || now.Before(g.ends)) && (g.refresh != "" || now.Before(g.accessEnds))
}

// serves reports whether the access token works.
func (g *grant) serves(now time.Time) bool {
	return g.revoked.IsZero() && now.Before(g.accessEnds)
}

func (o *object) dn() string { return o.parent + `\` + o.name }

func (o *object) attrs() map[string]string {
	return map[string]string{"dn": o.dn(), "guid": o.guid, "name": o.name, "origin": o.origin}
}

func (o *object) certificateAttrs(i *issued) map[string]string {
	attrs := o.attrs()
	attrs["cn"], attrs["thumbprint"], attrs["serial"] = i.certificate.Subject.CommonName, i.thumbprint, i.certificate.SerialNumber.Text(16)
	return attrs
}

// all are the certificates of the object, the current one first.
func (o *object) all() []*issued {
	if o.current == nil {
		return o.history
	}
	return append([]*issued{o.current}, o.history...)
}

// grantOf finds a grant by its access token. The lock is held.
func (s *Sim) grantOf(access string) *grant {
	for _, g := range s.world.grants {
		if access != "" && g.access == access {
			return g
		}
	}
	return nil
}

// object finds one by its DN; DNs are compared without case. The lock is held.
func (s *Sim) object(dn string) *object {
	return s.find(func(o *object) bool { return strings.EqualFold(o.dn(), dn) })
}

func (s *Sim) objectByGUID(guid string) *object {
	return s.find(func(o *object) bool { return strings.EqualFold(strings.Trim(o.guid, "{}"), strings.Trim(guid, "{}")) })
}

func (s *Sim) find(is func(*object) bool) *object {
	i := slices.IndexFunc(s.world.objects, func(o *object) bool { return !o.deleted && is(o) })
	if i < 0 {
		return nil
	}
	return s.world.objects[i]
}

// byThumbprint finds a certificate, archived ones included.
func (s *Sim) byThumbprint(thumbprint string) (*object, *issued) {
	for _, o := range s.world.objects {
		for _, i := range o.all() {
			if !o.deleted && strings.EqualFold(i.thumbprint, thumbprint) {
				return o, i
			}
		}
	}
	return nil, nil
}

// endGrant revokes a grant. The lock is held.
func (s *Sim) endGrant(g *grant, by simkit.Actor, how string) {
	if !g.revoked.IsZero() {
		return
	}
	g.revoked = s.clock.Now()
	s.stage.Ledger.Revoke(simkit.Entry{Kind: kindGrant, ID: g.ledgerID, Attrs: g.attrs(), By: by, How: how})
}

// endCertificate revokes a certificate. The lock is held.
func (s *Sim) endCertificate(o *object, i *issued, by simkit.Actor, how string) {
	i.revoked = true
	s.stage.Ledger.Revoke(simkit.Entry{Kind: kindCertificate, ID: i.thumbprint, Attrs: o.certificateAttrs(i), By: by, How: how})
}

// newToken is base64 in 24 characters, as the platform's tokens are.
func newToken() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails, see its documentation
	return simkit.Marker + base64.StdEncoding.EncodeToString(random[:])
}

// newGUID is a random one in braces.
func newGUID() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails, see its documentation
	h := hex.EncodeToString(random[:])
	return fmt.Sprintf("{%s-%s-%s-%s-%s}", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}
