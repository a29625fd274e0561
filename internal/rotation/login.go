package rotation

import (
	"fmt"
	"strings"
	"time"
)

// loginPatience is how long after the overlap issuers may be behind before it is told as a
// trouble: one that works looks within seconds of a publication.
const loginPatience = 30 * time.Second

// Login is an issuer that logs in with the credential, so that Claviger renews its own
// access.
type Login struct {
	// Issuer is its kind and name.
	Issuer string
	// Current: it has logged in with what the target holds now, and it worked.
	Current bool
	// Resting: it is suspended. It sends nothing to its upstream, and reads the target when it
	// begins again.
	Resting bool
}

// behind are the issuers that may still log in with an earlier version.
func behind(logins []Login) []string {
	var names []string
	for _, l := range logins {
		if !l.Current && !l.Resting {
			names = append(names, l.Issuer)
		}
	}
	return names
}

func users(logins []Login) string {
	names := make([]string, 0, len(logins))
	for _, l := range logins {
		names = append(names, l.Issuer)
	}
	return strings.Join(names, ", ")
}

// awaitLogins reports whether a predecessor has to wait for issuers that log in with the
// credential: until each has logged in with its successor, nobody knows that it can, and
// an issuer without a login can neither renew nor revoke anything. There is no deadline,
// but what is compromised does not wait, and what the target never held is no login.
func (s *situation) awaitLogins(v *Version) bool {
	return v.OncePublished && !s.compromised(v) && len(behind(s.Logins)) > 0
}

func (s *situation) noteLogins(v *Version) {
	if s.loginsLate(v) {
		s.note(nil, s.loginPending(v), time.Time{})
		return
	}
	s.note(nil, &Problem{Reason: "WaitingForLogin", Message: fmt.Sprintf(
		"version %d stays valid until these have logged in with version %d: %s", v.Number, s.Target.Published, strings.Join(behind(s.Logins), ", "))},
		s.retiresAt(v).Add(loginPatience))
}

// loginsLate: nobody would have to be waited for any more. Where it is not known when the
// overlap began, it has not ended.
func (s *situation) loginsLate(v *Version) bool {
	return !s.Target.PublishedAt.IsZero() && !s.now.Before(s.retiresAt(v).Add(loginPatience))
}

func (s *situation) loginPending(v *Version) *Problem {
	return &Problem{Reason: "LoginPending", Message: fmt.Sprintf(
		"version %d is not retired, because these log in with this credential and have not logged in with version %d: %s; see why they are not Ready",
		v.Number, s.Target.Published, strings.Join(behind(s.Logins), ", "))}
}

// LoginStalled tells which issuers do not get on to the published version although the
// overlap of an earlier one has passed; nil if none.
func LoginStalled(o Observed, p Policy, now time.Time) *Problem {
	s := &situation{Observed: o, policy: p, now: now}
	for i := range o.Versions {
		if v := &o.Versions[i]; v.live() && v.Number < o.Target.Published && s.awaitLogins(v) && s.loginsLate(v) {
			return s.loginPending(v)
		}
	}
	return nil
}

// serves: issuers log in with a version of a credential that is being deleted, and would
// be left without a login.
func (s *situation) serves(v *Version) bool {
	c := s.Credential
	if !c.Exists || !c.Protected || c.AbandonAll || len(s.Logins) == 0 || s.compromised(v) {
		return false
	}
	return v.Number == s.Target.Published || v.OncePublished && (v.Number > s.Target.Published || len(behind(s.Logins)) > 0)
}

// holdForIssuers keeps a deleted credential alive for the issuers that log in with it: they
// would be able to revoke nothing any more.
func holdForIssuers(s *situation) *Step {
	c := s.Credential
	if !c.Exists || !c.Protected || c.Retain || len(s.Logins) == 0 {
		return nil
	}
	if step := finishRetirements(s); step != nil {
		return step
	}
	return s.stop(&Problem{Reason: "InUse", Message: fmt.Sprintf(
		"it is the login of %s, so nothing is revoked; give them another login or delete them, or set spec.protection to None", users(s.Logins))})
}
