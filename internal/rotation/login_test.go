package rotation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatWaitsForIssuers(t *testing.T) { decide(t, loginDecisions()) }

// loggingIn is overlapping, and issuers log in with the credential.
func loggingIn(logins ...Login) func(*facts) {
	return both(overlapping, func(f *facts) { f.Logins = logins })
}

func loginDecisions() []decision {
	moved, late := Login{Issuer: "CredentialIssuer moved", Current: true}, Login{Issuer: "CredentialIssuer late"}
	resting := Login{Issuer: "CredentialIssuer resting", Resting: true}
	retire := Step{Action: Retire, Version: 1, Routine: true, Cause: "its overlap has passed"}
	young := func(f *facts) { f.Target.PublishedAt = ago(time.Minute) }
	ends := ago(time.Minute).Add(2*days + time.Second)
	justOver := func(f *facts) { f.Target.PublishedAt = ago(2*days + time.Second) }
	const pending = "version 1 is not retired, because these log in with this credential and have not logged in with version 2: CredentialIssuer late; see why they are not Ready"
	byHand := func(f *facts) { f.Versions[0].Terminating = true }
	deleted := func(f *facts) { f.Credential.Deleting, f.Credential.Protected = true, true }
	newestDeleted := both(deleted, func(f *facts) { f.Versions = f.Versions[1:]; f.Versions[0].Terminating = true })
	const inUse = "it is the login of CredentialIssuer moved, so nothing is revoked; give them another login or delete them, or set spec.protection to None"
	return []decision{
		{"a predecessor is retired when every issuer has logged in with its successor", loggingIn(moved), retire},
		{"one that has not keeps it, for as long as it takes", loggingIn(moved, late), Step{Action: Wait, Until: renewalOf2(), Notice: stuck("LoginPending", pending)}},
		{"while the overlap runs nobody is waited for", both(loggingIn(moved, late), young), Step{
			Action: Wait, Until: ends, Notice: stuck("Overlap", "version 1 stays valid until "+text(ends)+" at least"),
		}},
		{"a moment after it that is no trouble yet", both(loggingIn(moved, late), justOver), Step{
			Action: Wait, Until: noon.Add(loginPatience),
			Notice: stuck("WaitingForLogin", "version 1 stays valid until these have logged in with version 2: CredentialIssuer late"),
		}},
		{"a suspended issuer reads the Secret when it begins again, so nobody waits for it", loggingIn(resting), retire},
		{"a version whose Secret was deleted by hand waits as well", both(loggingIn(late), byHand), Step{Action: Wait, Until: renewalOf2(), Notice: stuck("LoginPending", pending)}},
		{"what is compromised does not wait for issuers", both(loggingIn(late), func(f *facts) { f.Credential.CompromisedAt = ago(4 * days) }), Step{
			Action: Retire, Version: 1, Cause: "declared compromised, and its successor is published",
		}},
		{"a login that is deleted is held for its issuers", both(loggingIn(moved), deleted, func(f *facts) { f.Versions = f.Versions[1:] }), Step{Action: Wait, Problem: stuck("InUse", inUse)}},
		{"also where its namespace ends and takes the version Secrets first", both(loggingIn(moved), newestDeleted), Step{Action: Wait, Problem: stuck("InUse", inUse)}},
		{"what its issuers have left goes on being revoked", both(loggingIn(moved), deleted, byHand), Step{Action: Revoke, Version: 1, Needs: FactGuard}},
		{"what they have not left does not", both(loggingIn(moved, late), deleted, byHand), Step{
			Action: Wait, Problem: stuck("InUse", "it is the login of CredentialIssuer moved, CredentialIssuer late, so nothing is revoked; give them another login or delete them, or set spec.protection to None"),
		}},
		{"one that is let live on upstream goes: no issuer loses its login by that", both(loggingIn(moved), deleted, func(f *facts) { f.Credential.Retain = true }), Step{Action: Retain, Version: 1}},
		{"without protection it goes from the beginning", both(loggingIn(moved), deleted, func(f *facts) { f.Credential.Protected = false }), Step{Action: Retire, Version: 1, Cause: "the credential is deleted"}},
		{"without protection it goes all the same", both(loggingIn(moved), newestDeleted, func(f *facts) { f.Credential.Protected = false }), Step{Action: Revoke, Version: 2, Needs: FactGuard}},
	}
}

func TestLoginStalledNamesTheIssuer(t *testing.T) {
	late := Login{Issuer: "CredentialIssuer late"}
	said := stuck("LoginPending", "version 1 is not retired, because these log in with this credential and have not logged in with version 2: CredentialIssuer late; see why they are not Ready")
	for _, c := range []struct {
		when  string
		given func(*facts)
		want  *Problem
	}{
		{"the overlap has passed", loggingIn(late), said},
		{"the overlap runs", both(loggingIn(late), func(f *facts) { f.Target.PublishedAt = ago(days) }), nil},
		{"it has passed a moment ago", both(loggingIn(late), func(f *facts) { f.Target.PublishedAt = ago(2*days + 2*time.Second) }), nil},
		{"all have moved", loggingIn(Login{Issuer: "CredentialIssuer moved", Current: true}), nil},
		{"it is suspended", loggingIn(Login{Issuer: "CredentialIssuer resting", Resting: true}), nil},
		{"nobody logs in with it", overlapping, nil},
		{"there is no earlier version", both(loggingIn(late), func(f *facts) { f.Versions = f.Versions[1:] }), nil},
		{"the earlier one is retired already", both(loggingIn(late), func(f *facts) { f.Versions[0].Terminating, f.Versions[0].Revoked = true, true }), nil},
		{"when it was published is not known", both(loggingIn(late), func(f *facts) { f.Target.PublishedAt = time.Time{} }), nil},
	} {
		t.Run(c.when, func(t *testing.T) {
			f := working()
			c.given(f)
			if diff := cmp.Diff(c.want, LoginStalled(f.Observed, f.policy, noon)); diff != "" {
				t.Errorf("condition (-want +got):\n%s", diff)
			}
		})
	}
}
