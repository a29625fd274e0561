package rotation

import (
	"testing"
	"time"
)

// heldAsMass is what a deletion comes to of which there are more than a limit.
func heldAsMass(limit string) Step {
	return Step{Action: Wait, Problem: stalled("MassDeletion", "more than "+limit+" credentials of the issuer are being deleted at once, so none of them is revoked. "+
		"If that is meant, set the annotation credentials.claviger.dev/deletions-confirmed-at of the issuer to the time of now; if it is not, set spec.deletionPolicy of the "+
		"credentials to Retain: they are let go alive, and credentials of the same names take them over")}
}

func massDecisions() []decision {
	leaving := func(changes ...func(*facts)) func(*facts) {
		return both(append([]func(*facts){func(f *facts) {
			f.Credential.Deleting, f.Credential.DeletedAt = true, ago(massPause)
			f.Account.Total, f.Account.Leaving = 60, 7
		}}, changes...)...)
	}
	goes := Step{Action: Retire, Version: 1, Cause: "the credential is deleted"}
	return []decision{
		{"more than a tenth of an issuer's credentials is not revoked at once (H8)", leaving(), heldAsMass("6")},
		{"nor are more than five of a few", leaving(func(f *facts) { f.Account.Total, f.Account.Leaving = 8, 6 }), heldAsMass("5")},
		{"a tenth is", leaving(func(f *facts) { f.Account.Leaving = 6 }), goes},
		{"so are five that are all", leaving(func(f *facts) { f.Account.Total, f.Account.Leaving = 5, 5 }), goes},
		{"whoever is first waits for the others to be seen", leaving(func(f *facts) {
			f.Credential.DeletedAt, f.Account.Leaving = ago(massPause-time.Second), 1
		}), Step{Action: Wait, Until: in(time.Second)}},
		{"and goes on if there are none", leaving(func(f *facts) { f.Account.Leaving = 1 }), goes},
		{"what was held stays so until somebody decides, though only one is left", leaving(func(f *facts) {
			f.Credential.HeldAsMass, f.Account.Total, f.Account.Leaving = true, 1, 1
		}), heldAsMass("5")},
		{"an administrator may agree", leaving(func(f *facts) { f.Account.DeletionsConfirmedAt = ago(massPause) }), goes},
		{"what is deleted after that is asked about anew", leaving(func(f *facts) { f.Account.DeletionsConfirmedAt = ago(massPause + time.Second) }), heldAsMass("6")},
		{"nobody agrees to what is deleted next year", leaving(func(f *facts) { f.Account.DeletionsConfirmedAt = in(365 * days) }), heldAsMass("6")},
		{"a namespace that is deleted was meant", leaving(func(f *facts) { f.Credential.NamespaceEnding = true }), goes},
		{"what is retained is not revoked", leaving(func(f *facts) { f.Credential.Retain = true }), Step{Action: Retain, Version: 1}},
		{"what was retired before is revoked", leaving(func(f *facts) {
			overlapping(f)
			f.Versions[0].Terminating = true
		}), Step{Action: Revoke, Version: 1, Needs: FactGuard}},
	}
}

func TestMassDeletionIsHeld(t *testing.T) { decide(t, massDecisions()) }
