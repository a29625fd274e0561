package issuer

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// quiet is how old an intent must have been when the listing began. The upstream
	// may not have been called before, or not show the object yet.
	quiet = 2 * time.Minute
	// suspectShare is the percentage of an issuer's versions that may be missing from one listing
	// before nothing is concluded from it; one may be missing in any case.
	suspectShare = 5
	// notListed is the doubt about a version that is missing.
	notListed = "the upstream's listing does not show it"
	// namedOrphans is how many suspected orphans status names.
	namedOrphans = 10
)

// owner is a credential that objects upstream may belong to.
type owner struct {
	Key types.NamespacedName
	UID types.UID
	// Gone: it was deleted while this process ran.
	Gone bool
}

// evidence is what one pass over an issuer gathered. The listing was read before the
// journal: an object that appears in between then has its version Secret here, while
// in the other order every credential made during the listing would look like an
// orphan.
type evidence struct {
	issuer types.UID
	// asked is the API server's time when the listing began.
	asked time.Time
	found []upstream.Found
	// versions are all of the namespace, other issuers' and terminating ones included.
	versions []journal.Version
	// owners by their half of the mark.
	owners map[string]owner
	// unlisted: the upstream's listing shows no single versions.
	unlisted bool
	// confirmed is the number of missing versions that an administrator has confirmed; -1 if
	// none has.
	confirmed int
	// secrets are the hashes of the material that this process has read, by the UID
	// of the version Secret.
	secrets map[types.UID]string
	// dismissed are hashes that were found to mean nothing.
	dismissed map[upstream.Mark]string
}

// findings are what the evidence says.
type findings struct {
	// doubts are versions that must be verified, and why.
	doubts map[upstream.Mark]string
	// expected and missing count the versions that the listing should show, and does not.
	// suspect: so many are missing that nothing is concluded for any (hazard C4).
	expected, missing int
	suspect           bool
	// unread are versions whose hash is listed and whose material this process has
	// not read yet, newest first.
	unread []journal.Version
	// strangers bear the mark of a credential here and belong to no version.
	strangers []upstream.Found
	// hashes are those that the upstream lists, by mark.
	hashes map[upstream.Mark]string
}

// judge compares the upstream's listing with the journal. That something is missing
// from a listing proves nothing (hazard C4), so it only casts doubt.
func judge(e evidence) findings {
	f := findings{doubts: map[upstream.Mark]string{}, hashes: map[upstream.Mark]string{}}
	listed := map[upstream.Mark]bool{}
	for _, found := range e.found {
		listed[found.Mark] = true
		f.hashes[found.Mark] = found.SecretHash
	}
	known := map[upstream.Mark]bool{}
	for _, v := range e.versions {
		known[v.Mark] = true
		if !expected(v, e.issuer, e.asked) {
			continue
		}
		secret, read := e.secrets[v.UID]
		hash := f.hashes[v.Mark]
		f.expected++
		switch {
		case !listed[v.Mark] && e.unlisted:
		case !listed[v.Mark]:
			f.missing++
			f.doubts[v.Mark] = notListed
		case hash == "" || hash == e.dismissed[v.Mark]:
		case !read:
			f.unread = append(f.unread, v)
		case hash != secret:
			f.doubts[v.Mark] = otherSecret
		}
	}
	f.suspect = f.missing > max(1, f.expected*suspectShare/100) && f.missing != e.confirmed
	if f.suspect {
		maps.DeleteFunc(f.doubts, func(_ upstream.Mark, why string) bool { return why == notListed })
	}
	for _, found := range e.found {
		if _, ours := e.owners[found.Mark.Owner()]; ours && !known[found.Mark] {
			f.strangers = append(f.strangers, found)
		}
	}
	slices.SortFunc(f.unread, func(a, b journal.Version) int { return b.IntentAt.Compare(a.IntentAt) })
	return f
}

// expected reports whether a version must have been in a listing that began at asked.
func expected(v journal.Version, issuer types.UID, asked time.Time) bool {
	switch {
	case v.Issuer.UID != issuer, v.Mark == "", v.Adopted:
		return false
	case v.Terminating, !v.RevokedAt.IsZero(), !v.FailedAt.IsZero():
		return false
	case v.IntentAt.Add(quiet).After(asked), v.CallDeadline.After(asked):
		return false
	}
	return true
}

// arrival is an object that bears the full mark of a credential and belongs to no
// version: the upstream committed it after its journal entry was given up.
type arrival struct {
	upstream.Found
	Owner owner
}

// arrivals sorts strangers into those that are due for revocation and those that are
// only reported. firstSeen is by this process: an upstream's own creation time may be
// that of a backup that was restored.
func arrivals(strangers []upstream.Found, owners map[string]owner, firstSeen map[upstream.Mark]time.Time, now time.Time, age time.Duration) (due, early []arrival) {
	for _, found := range strangers {
		a := arrival{Found: found, Owner: owners[found.Mark.Owner()]}
		seen, known := firstSeen[found.Mark]
		if known && !a.Owner.Gone && now.Sub(seen) > age {
			due = append(due, a)
		} else {
			early = append(early, a)
		}
	}
	return due, early
}

// suspicion is an arrival that is reported, and why it is not revoked.
type suspicion struct {
	arrival
	reason string
}

// reported makes the status of suspicions: a count, and the newest by name. The order
// depends on the objects alone, so that status is not written anew with every pass.
func reported(suspicions []suspicion) v1alpha1.SuspectedOrphans {
	slices.SortFunc(suspicions, func(a, b suspicion) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	status := v1alpha1.SuspectedOrphans{Count: int64(len(suspicions))}
	for _, s := range suspicions[:min(len(suspicions), namedOrphans)] {
		status.Newest = append(status.Newest, v1alpha1.SuspectedOrphan{Name: s.Name, Container: s.Container, Reason: s.reason})
	}
	return status
}
