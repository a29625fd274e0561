package rotation

import (
	"fmt"
	"time"
)

const (
	// massFloor and massShare are how many credentials of an issuer may be deleted at once
	// without a word: five, or a tenth of them if that is more (hazard H8).
	massFloor = 5
	massShare = 10
	// massPause is how long a deletion waits for others to be seen. It leaves time to learn
	// that the whole namespace is being deleted as well.
	massPause = 3 * time.Second
)

// holdMassDeletion keeps credentials alive of which many are deleted at once: a definition
// that was removed, or a tool that pruned what it should not have, revokes everything else.
// A namespace that is deleted was meant, and what is retained is not revoked.
func holdMassDeletion(s *situation) *Step {
	c, limit := s.Credential, max(massFloor, s.Account.Total/massShare)
	confirmed := s.open(s.Account.DeletionsConfirmedAt) && !c.DeletedAt.After(s.Account.DeletionsConfirmedAt)
	if !c.Exists || c.Retain || c.NamespaceEnding || s.Account.Total <= limit && !c.HeldAsMass || confirmed {
		return nil
	}
	certain := c.DeletedAt.Add(massPause)
	pending := s.now.Before(certain)
	if !pending && s.Account.Leaving <= limit && !c.HeldAsMass {
		return nil
	}
	// What was retired before goes on being revoked.
	if step := finishRetirements(s); step != nil {
		return step
	}
	if pending {
		s.wake(certain)
		return s.stop(nil)
	}
	return s.stop(&Problem{Reason: "MassDeletion", Stalled: true, Message: fmt.Sprintf(
		"more than %d credentials of the issuer are being deleted at once, so none of them is revoked. If that is meant, set the annotation "+
			"credentials.claviger.dev/deletions-confirmed-at of the issuer to the time of now; if it is not, set spec.deletionPolicy of the credentials to Retain: "+
			"they are let go alive, and credentials of the same names take them over", limit)})
}
