package notify

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Rule is one entry of a policy's notifications, together with what is known of its channel.
type Rule struct {
	Channel string
	// Mail: the channel needs recipients.
	Mail             bool
	On               []Event
	Owner, Approvers bool
	Addresses        []string
	// OptOut are those who want nothing over the channel.
	OptOut []string
}

const (
	// maxAddress is the longest address that SMTP can carry (RFC 5321, 4.5.3.1.3).
	maxAddress = 254
	// maxOwners bounds what one annotation can send.
	maxOwners = 8
)

// address is stricter than the mail standards: nothing in it can end a command or a header.
var address = regexp.MustCompile(`^[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)

// IsAddress reports whether mail can be sent to a text.
func IsAddress(text string) bool { return len(text) <= maxAddress && address.MatchString(text) }

// Owners reads the annotation that names a credential's owners. What is no address is left out.
func Owners(annotation string) []string {
	var found []string
	for part := range strings.SplitSeq(annotation, ",") {
		if part = strings.TrimSpace(part); IsAddress(part) && len(found) < maxOwners {
			found = append(found, part)
		}
	}
	return found
}

// Route says who gets which message. Nobody gets one twice over a channel.
func Route(messages []Message, rules []Rule, owner string) []Delivery {
	var found []Delivery
	seen := map[string]bool{}
	add := func(d Delivery) {
		if id := strings.ToLower(d.ID()); !seen[id] {
			seen[id] = true
			found = append(found, d)
		}
	}
	for _, m := range messages {
		for _, rule := range rules {
			if !slices.Contains(rule.On, m.Event) {
				continue
			}
			if !rule.Mail {
				add(Delivery{Channel: rule.Channel, Message: m})
				continue
			}
			for _, to := range rule.recipients(m, owner) {
				if !OptedOut(rule.OptOut, to) {
					add(Delivery{Channel: rule.Channel, To: to, Message: m})
				}
			}
		}
	}
	return found
}

func (r Rule) recipients(m Message, owner string) []string {
	var to []string
	if r.Owner {
		to = append(to, Owners(owner)...)
	}
	if r.Approvers && m.Approval != nil {
		to = append(to, m.Approval.Approvers...)
	}
	return slices.DeleteFunc(append(to, r.Addresses...), func(a string) bool { return !IsAddress(a) })
}

// OptedOut reports whether an address is in a list; case does not matter.
func OptedOut(list []string, to string) bool {
	return to != "" && slices.ContainsFunc(list, func(a string) bool { return strings.EqualFold(strings.TrimSpace(a), to) })
}

// minute is the time in which messages are counted.
const minute = time.Minute

// Sent is what a receiver got in the last minute.
type Sent struct {
	// Single messages, by when.
	Single []time.Time
	// Digest is when the last one was sent.
	Digest time.Time
}

// Batch says what a receiver is sent now: each of some deliveries by itself, or all of them as
// one digest. wait is when to ask again, if something has to wait.
func Batch(pending []Delivery, sent Sent, limit int, now time.Time) (singles, digest []Delivery, wait time.Duration) {
	if len(pending) == 0 {
		return nil, nil, 0
	}
	pending = slices.Clone(pending)
	slices.SortStableFunc(pending, func(a, b Delivery) int {
		return cmp.Or(a.Message.At.Compare(b.Message.At), cmp.Compare(a.ID(), b.ID()))
	})
	recent := 0
	for _, at := range sent.Single {
		if now.Sub(at) < minute {
			recent++
		}
	}
	if recent+len(pending) <= limit {
		return pending, nil, 0
	}
	if age := now.Sub(sent.Digest); age < minute {
		return nil, nil, minute - age
	}
	if len(pending) == 1 { // a list of one is no shorter than the one
		return pending, nil, 0
	}
	return nil, pending, 0
}
