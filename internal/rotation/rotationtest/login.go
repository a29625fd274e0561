package rotationtest

import (
	"fmt"

	"github.com/claviger-dev/claviger/internal/rotation"
)

// login is an issuer that logs in with the credential. It goes on with the version that it
// has logged in with last, until it reads the target again.
type login struct {
	gone  bool // it has another login
	holds int  // material that it has logged in with last; 0: none
}

func newLogin() Dimension { return &login{} }

// Clone copies it.
func (l *login) Clone() Dimension { c := *l; return &c }

// AddTo tells it apart.
func (l *login) AddTo(k *Key) {
	k.Flags(l.gone)
	k.Numbers(int64(l.holds))
}

// Observe shows whether it has logged in with the target as the cache has it.
func (l *login) Observe(w *World, o *rotation.Observed) {
	o.Credential.Protected = true
	if !l.gone {
		o.Logins = []rotation.Login{{Issuer: "CredentialIssuer tokens", Current: l.holds != 0 && l.holds == w.Target.Holds}}
	}
}

// Look has nothing to read: what the process knows of its own logins is never old.
func (l *login) Look(*World, *World, rotation.Facts) bool { return true }

// Act does nothing: the planner makes nobody log in.
func (l *login) Act(*World, *World, rotation.Step) (known, done bool) { return false, false }

// Events are what the issuer does.
func (l *login) Events() []Event {
	return []Event{
		{Name: "the issuer logs in with the credential", Free: true, Happens: func(w *World, _ *Process) bool {
			l, t := w.login(), w.Target
			if l.gone || !l.waits(w) || t.terminating || !w.accepts(t.Holds) {
				return false
			}
			l.holds = t.Holds
			w.Touch() // it wakes the credential
			return true
		}},
		{Name: "the issuer is given another login", Free: true, Happens: func(w *World, _ *Process) bool {
			l := w.login()
			if l.gone || !w.Ending() {
				return false
			}
			*l = login{gone: true}
			w.Touch()
			return true
		}},
	}
}

// waits: what it has logged in with is not what the target holds.
func (l *login) waits(w *World) bool {
	t := w.Target
	return t.Exists && t.Holds != 0 && t.uid == w.uid && !t.foreign && l.holds != t.Holds
}

// Broken: what it logs in with was revoked before it moved.
func (l *login) Broken(w *World) []string {
	if l.gone || l.holds == 0 || !w.Exists || w.uid != 1 {
		return nil
	}
	o := w.Upstream[l.holds]
	condemned := !w.CompromisedAt.IsZero() || !w.RollbackAt.IsZero() || w.abandonAll || w.Retain
	if o.Revoked && !o.Killed && !o.Bad && !condemned {
		return []string{fmt.Sprintf("material %d was revoked, and the issuer logs in with it (3)", l.holds)}
	}
	return nil
}

// Settled asks nothing of it.
func (l *login) Settled(*World) error { return nil }

// TroubledIn: it has to log in first, or holds a deletion.
func (l *login) TroubledIn(w *World) bool {
	return !l.gone && (w.Ending() || l.holds != w.Target.Holds)
}

// login is the world's own, where it has one.
func (w *World) login() *login {
	for _, d := range w.Dimensions {
		if l, ok := d.(*login); ok {
			return l
		}
	}
	return &login{}
}
