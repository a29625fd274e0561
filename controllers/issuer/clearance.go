package issuer

import (
	"bytes"
	"strings"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// clearance is what was read live, after the listing, about the credential that a
// late arrival belongs to.
type clearance struct {
	clusterID  string
	credential *v1alpha1.APIClientCredential // nil if it does not exist
	owner      owner
	// versions of the credential; unreadable if any could not be read in full.
	versions   []journal.Version
	unreadable bool
	target     journal.Target
	// copies are the Secrets of single versions that stand.
	copies []journal.Copy
}

// objection says why an arrival must not be revoked, in a sentence for people; empty
// means that it may be. The journal is looked at again because the listing is old by
// now, and the target because the journal may have lost the very version that is
// published (hazard C4).
func (c clearance) objection(a arrival) string {
	switch {
	case c.credential == nil || c.credential.UID != c.owner.UID || c.credential.DeletionTimestamp != nil:
		return "Its credential is being deleted or is gone; nobody revokes it by itself."
	case c.credential.Spec.Suspend:
		return "Its credential is suspended."
	case c.credential.Annotations[v1alpha1.AnnotationAbandonUpstream] != "":
		return "Versions of its credential were let go on purpose."
	case c.unreadable:
		return "The journal of its credential cannot be read in full."
	}
	published := false
	for _, v := range c.versions {
		switch {
		case v.Mark == a.Mark:
			return "A version has its mark."
		case v.ClusterID != c.clusterID:
			return "The journal of its credential was written by another cluster."
		}
		published = published || v.Nonce == c.target.Hint.Nonce && !v.Terminating
	}
	for _, own := range c.copies {
		if strings.HasPrefix(own.Nonce, string(a.Mark[16:])) {
			return "The Secret " + own.Name + " holds it."
		}
	}
	if !c.target.Exists {
		return ""
	}
	for _, value := range c.target.Data {
		for _, name := range []string{string(a.Mark), a.Name, a.ID} {
			if name != "" && bytes.Contains(value, []byte(name)) {
				return "The published Secret seems to hold it."
			}
		}
	}
	// A template may hide the client id, so that the bytes differ is not enough: the
	// target must be known to hold another version.
	if !published || strings.HasPrefix(c.target.Hint.Nonce, string(a.Mark[16:])) {
		return "Which version the published Secret holds is not known."
	}
	return ""
}
