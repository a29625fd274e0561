package notify

import (
	"fmt"
	"strings"
	"time"
)

// Event is something that is told.
type Event string

// The events. Their words are those of the API.
const (
	ApprovalRequested Event = "ApprovalRequested"
	Approved          Event = "Approved"
	Rejected          Event = "Rejected"
	Issued            Event = "Issued"
	Renewed           Event = "Renewed"
	Revoked           Event = "Revoked"
	Failing           Event = "Failing"
	Expiring          Event = "Expiring"
	UptakeStalled     Event = "UptakeStalled"
	OrphanSuspected   Event = "OrphanSuspected"
)

// Events are all of them.
func Events() []Event {
	return []Event{ApprovalRequested, Approved, Rejected, Issued, Renewed, Revoked, Failing, Expiring, UptakeStalled, OrphanSuspected}
}

// Subject is what a message is about, as it was when it was last seen.
type Subject struct {
	Namespace  string `json:"namespace"`
	Credential string `json:"credential"`
	UID        string `json:"uid"`
	Upstream   string `json:"upstream,omitempty"`
	Issuer     string `json:"issuer,omitempty"`
	Policy     string `json:"policy,omitempty"`
	Secret     string `json:"secret,omitempty"`
}

// Message is all that a template, a webhook or a chat gets to see.
type Message struct {
	// Key is the same however often the message is sent.
	Key   string `json:"key"`
	Event Event  `json:"event"`
	Subject
	// Version that the event is about; zero if it is about none.
	Version int64     `json:"version,omitempty"`
	At      time.Time `json:"at"`
	// Reason and Detail are a condition's.
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Expires and Rotates are as the credential's status says them.
	Expires string `json:"expires,omitempty"`
	Rotates string `json:"rotates,omitempty"`
	// Deleted: the credential itself is gone.
	Deleted  bool      `json:"deleted,omitempty"`
	Approval *Approval `json:"approval,omitempty"`
}

// Approval is what people are asked, and what they have said.
type Approval struct {
	Name        string     `json:"name"`
	Operation   string     `json:"operation"`
	RequestedBy string     `json:"requestedBy,omitempty"`
	Cause       string     `json:"cause,omitempty"`
	Consequence string     `json:"consequence,omitempty"`
	ExpiresAt   time.Time  `json:"expiresAt,omitzero"`
	Approvers   []string   `json:"approvers,omitempty"`
	Groups      []string   `json:"groups,omitempty"`
	Decisions   []Decision `json:"decisions,omitempty"`
}

// Decision is one person's answer.
type Decision struct {
	Approver string    `json:"approver"`
	Decision string    `json:"decision"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at,omitzero"`
}

// Name is the credential with its namespace.
func (m Message) Name() string { return m.Namespace + "/" + m.Credential }

// Title says in one line what happened.
func (m Message) Title() string {
	operation := ""
	if m.Approval != nil {
		operation = map[string]string{"Issue": "a first version", "Renew": "the renewal", "Delete": "the revocation"}[m.Approval.Operation]
	}
	if operation == "" {
		operation = "an operation"
	}
	switch m.Event {
	case ApprovalRequested:
		return fmt.Sprintf("Approval is needed for %s of credential %s", operation, m.Name())
	case Approved:
		return fmt.Sprintf("Approved: %s of credential %s", operation, m.Name())
	case Rejected:
		return fmt.Sprintf("Rejected: %s of credential %s", operation, m.Name())
	case Issued:
		return fmt.Sprintf("Credential %s was issued as version %d", m.Name(), m.Version)
	case Renewed:
		return fmt.Sprintf("Credential %s was renewed: version %d", m.Name(), m.Version)
	case Revoked:
		if m.Deleted {
			return fmt.Sprintf("Credential %s was deleted and its version %d revoked", m.Name(), m.Version)
		}
		return fmt.Sprintf("Version %d of credential %s was revoked", m.Version, m.Name())
	case Failing:
		return fmt.Sprintf("Credential %s needs attention: %s", m.Name(), m.Reason)
	case Expiring:
		return fmt.Sprintf("Credential %s expires soon and is not renewed", m.Name())
	case UptakeStalled:
		return fmt.Sprintf("Pods still use an earlier version of credential %s", m.Name())
	case OrphanSuspected:
		return fmt.Sprintf("A version of credential %s may live upstream and cannot be found there", m.Name())
	}
	return fmt.Sprintf("%s: credential %s", m.Event, m.Name())
}

// Oneline makes any text fit for a header: one line of printable characters, bounded.
func Oneline(text string, limit int) string {
	fields := strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\u0085' || r == '\u2028' || r == '\u2029' })
	line := []rune(strings.ToValidUTF8(strings.Join(fields, " "), ""))
	if len(line) > limit {
		line = append(line[:limit-1], '…')
	}
	return string(line)
}
