package venafisim

import (
	"fmt"
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Behaviour is how this platform behaves where sources differ, and what a test wants of
// it.
type Behaviour struct {
	// AuthServerStatus of IsAuthServer is 202 or 200.
	AuthServerStatus int `json:"authServerStatus"`
	// RefusedLoginStatus is 400 or 401: a certificate, password or JWT that maps to
	// nobody.
	RefusedLoginStatus int `json:"refusedLoginStatus"`
	// ScopeWithSpaces echoes scopes with a blank after each comma.
	ScopeWithSpaces bool `json:"scopeWithSpaces"`
	// SessionCache is how long vedsdk still takes a token that was revoked.
	SessionCache simkit.Duration `json:"sessionCache"`

	// StagePolls is how many retrievals of a certificate answer 202 before it is there;
	// StageTime is how long it takes at least.
	StagePolls int             `json:"stagePolls"`
	StageTime  simkit.Duration `json:"stageTime"`
	// NeedApproval makes every request wait for a person.
	NeedApproval bool `json:"needApproval"`
	// FailIssuing makes the CA refuse requests with these words: the object is in error
	// until it is reset.
	FailIssuing string `json:"failIssuing"`
	// CertificateLife is how long certificates are valid.
	CertificateLife simkit.Duration `json:"certificateLife"`
	// RevokeStatus is 200, or 202 for a revocation that is done later.
	RevokeStatus int `json:"revokeStatus"`
	// WrongKey makes the CA sign another key than the request's.
	WrongKey bool `json:"wrongKey"`

	// ShortLists makes pages of searches lack what comes after this many entries; the
	// total stays true. null tells the truth.
	ShortLists *int `json:"shortLists"`
	// RevokePredecessor makes the simulator the villain: when a token is verified or used
	// for the first time, all older grants of the same application are revoked.
	RevokePredecessor bool `json:"revokePredecessor"`
}

// Usual is the behaviour as far as it is known.
func Usual() Behaviour {
	return Behaviour{
		AuthServerStatus:   202,
		RefusedLoginStatus: 400,
		SessionCache:       0,
		StagePolls:         1,
		CertificateLife:    simkit.Duration(90 * 24 * time.Hour),
		RevokeStatus:       200,
	}
}

// clone shares nothing with the original: JSON is decoded into the clone, and the
// decoder writes through pointers.
func (b Behaviour) clone() Behaviour {
	if b.ShortLists != nil {
		most := *b.ShortLists
		b.ShortLists = &most
	}
	return b
}

// check refuses behaviour that the simulator does not know how to play.
func (b Behaviour) check() error {
	for _, c := range []struct {
		name    string
		value   int
		allowed []int
	}{
		{"authServerStatus", b.AuthServerStatus, []int{200, 202}},
		{"refusedLoginStatus", b.RefusedLoginStatus, []int{400, 401}},
		{"revokeStatus", b.RevokeStatus, []int{200, 202}},
	} {
		if !slices.Contains(c.allowed, c.value) {
			return fmt.Errorf("%s is one of %v, not %d", c.name, c.allowed, c.value)
		}
	}
	if b.StagePolls < 0 || b.StageTime < 0 || b.SessionCache < 0 || b.ShortLists != nil && *b.ShortLists < 0 {
		return fmt.Errorf("stagePolls, stageTime, sessionCache and shortLists are at least 0")
	}
	if b.CertificateLife <= 0 {
		return fmt.Errorf("certificates must live for some time")
	}
	return nil
}
