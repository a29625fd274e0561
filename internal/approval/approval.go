// Package approval decides whether people have agreed to an operation, and does nothing.
// The one idea: admission proves who spoke and with what right; this package compares the
// rest, from objects that cannot be changed any more, so that the same question always has
// the same answer and can be asked again after every restart.
//
// Must not: read a clock, know Kubernetes, or believe a decision that names another request.
package approval

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Operation is what people are asked about.
type Operation string

// The operations. Retirement by routine is part of the renewal that it belongs to (hazard
// H16): otherwise each rotation would need two answers.
const (
	// Issue makes the first version, or one where none is left that works.
	Issue Operation = "Issue"
	// Renew makes a successor.
	Renew Operation = "Renew"
	// Delete revokes everything because the credential is deleted.
	Delete Operation = "Delete"
)

// Quorum is how many have to agree.
type Quorum string

// The quorums.
const (
	// Any: one of those who may.
	Any Quorum = "Any"
	// All: every listed user but the requester.
	All Quorum = "All"
	// EachGroup: somebody of every listed group.
	EachGroup Quorum = "EachGroup"
)

// Reference names the object whose demand is meant.
type Reference struct{ Kind, Name string }

// Demand is what one issuer or one policy asks for. Demands of several never merge: each is
// a request of its own, so that none can take away what another one wants.
type Demand struct {
	Reference  Reference
	Operations []Operation
	Quorum     Quorum
	Approvers  []string
	Groups     []string
	// Expiry is how long a request may be answered.
	Expiry time.Duration
}

// Covers reports whether the demand is about an operation.
func (d *Demand) Covers(o Operation) bool { return slices.Contains(d.Operations, o) }

// Check says why nobody could ever meet the demand; nil if somebody can.
func (d *Demand) Check() error {
	switch d.Quorum {
	case Any:
	case All:
		// Who belongs to a group is known to nobody but the login of each member.
		if len(d.Approvers) == 0 {
			return errors.New("quorum All needs approvers, a list of user names: who belongs to a group is not known; over groups the quorum is EachGroup")
		}
	case EachGroup:
		if len(d.Groups) == 0 {
			return errors.New("quorum EachGroup needs groups")
		}
	default:
		return fmt.Errorf("%q is no quorum: Any, All or EachGroup", d.Quorum)
	}
	if len(d.Operations) == 0 {
		return errors.New("an approval needs at least one operation: Issue, Renew or Delete")
	}
	if d.Expiry <= 0 {
		return errors.New("expiry must be more than zero")
	}
	return nil
}

// Subject is the very thing that people agree to. If any part of it changes it is another
// thing, to which nobody has agreed.
type Subject struct {
	// CredentialUID, so that agreement never passes to a credential that is made again.
	CredentialUID string
	// Generation of its spec: what was read is what is done.
	Generation int64
	Operation  Operation
	// Nonce of the version that a renewal follows; empty if there is none. It stays the same
	// while attempts fail, so that an agreement serves one operation with its retries.
	Nonce string
	// Request is when a person asked for the operation; zero if nobody did. Who asks again
	// after a refusal gets another answer.
	Request time.Time
	// Round counts the requests before that nobody answered in time.
	Round int
}

// Deletion is the end of a credential, requested at a time; zero if it was deleted and nobody
// requested it. It is about neither spec nor version: all of it ends, whatever it is by then, and
// the deletion itself counts up the generation.
func Deletion(credentialUID string, requested time.Time, round int) Subject {
	return Subject{CredentialUID: credentialUID, Operation: Delete, Request: requested, Round: round}
}

// Digest is a name of the subject that no other subject has: 64 hexadecimal digits.
func (s Subject) Digest() string {
	h := sha256.New()
	request := ""
	if !s.Request.IsZero() {
		request = s.Request.UTC().Format(time.RFC3339Nano)
	}
	for _, part := range []string{"v1", s.CredentialUID, fmt.Sprint(s.Generation), string(s.Operation), s.Nonce, request, fmt.Sprint(s.Round)} {
		// The length first: otherwise "ab" and "c" would be "a" and "bc".
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Request is what people were asked, as it was written then. Later changes of the demand do
// not change it.
type Request struct {
	UID       string
	Reference Reference
	Digest    string
	Quorum    Quorum
	Approvers []string
	Groups    []string
	// RequestedBy may not agree; empty if no person asked.
	RequestedBy string
	ExpiresAt   time.Time
	// Rejected: it was noted before that somebody said no.
	Rejected bool
}

// Decision is what one person said. Admission has proven Approver, Groups and the right to
// speak for Reference.
type Decision struct {
	Name       string
	RequestUID string
	Reference  Reference
	Approver   string
	Groups     []string
	Approves   bool
	// At is the API server's time.
	At time.Time
}
