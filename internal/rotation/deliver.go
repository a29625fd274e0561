package rotation

import (
	"fmt"
	"strings"
	"time"
)

// deliveryPatience is how long after the overlap a delivery may be on its way before it is told
// as a trouble: a tenant that works takes what it is given within a minute.
const deliveryPatience = 2 * time.Minute

// Delivery is a place outside of the cluster that the published version is written into as
// well.
type Delivery struct {
	// To names it for people.
	To string
	// Current: it holds what the target holds now, Since that time.
	Current bool
	Since   time.Time
	// KeptFor is how long after that those who have read it before may go on with what they
	// have read.
	KeptFor time.Duration
	// SeenAt is when it was last found to hold that. Only what was seen after KeptFor has passed
	// counts: an earlier call that was given up may be carried out after a later one, and puts
	// back what was there (hazard C2).
	SeenAt time.Time
	// Unseen: this process has not looked yet, which takes a moment after its start.
	Unseen bool
	// Trouble is why it does not get on, in words for people; empty if nothing is wrong.
	Trouble string
	// Users are those that are known to read it.
	Users []string
	// Withdraw: it is emptied before what it holds is revoked with its credential. Gone: it holds
	// nothing of the credential any more.
	Withdraw, Gone bool
}

func (d *Delivery) keptUntil() time.Time { return d.Since.Add(d.KeptFor) }

// over: it holds the published version, and nobody goes on with what was there before.
func (d *Delivery) over() bool { return d.Current && !d.SeenAt.Before(d.keptUntil()) }

// undelivered are the deliveries that an earlier version is still needed for.
func (s *situation) undelivered() []Delivery {
	var all []Delivery
	for _, d := range s.Deliveries {
		if !d.over() {
			all = append(all, d)
		}
	}
	return all
}

// awaitDeliveries reports whether a predecessor has to wait for its successor to be delivered,
// and for those who read what was there before. There is no deadline: nobody here can see who
// does. But what is compromised does not wait, and what the target never held was not
// delivered.
func (s *situation) awaitDeliveries(v *Version) bool {
	return v.OncePublished && !s.compromised(v) && len(s.undelivered()) > 0
}

// overdueAt is when a delivery that v waits for becomes a trouble; zero if nobody has looked yet,
// and if when the overlap began is not known, because then it has not ended.
func (s *situation) overdueAt(v *Version, d *Delivery) time.Time {
	if s.Target.PublishedAt.IsZero() || d.Unseen {
		return time.Time{}
	}
	at := s.retiresAt(v)
	if kept := d.keptUntil(); d.Current && kept.After(at) {
		at = kept
	}
	return at.Add(deliveryPatience)
}

func (s *situation) noteDeliveries(v *Version) {
	if p := s.deliveryPending(v); p != nil {
		s.note(nil, p, time.Time{})
		return
	}
	var waits []string
	for _, d := range s.undelivered() {
		words := d.To
		if d.Current {
			words += " (until " + text(d.keptUntil()) + ")"
		}
		waits = append(waits, words)
		s.wake(s.overdueAt(v, &d))
	}
	s.note(nil, &Problem{Reason: "WaitingForDelivery", Message: fmt.Sprintf(
		"version %d stays valid while these need it: %s", v.Number, strings.Join(waits, ", "))}, time.Time{})
}

// deliveryPending tells which deliveries should be over by now; nil if none.
func (s *situation) deliveryPending(v *Version) *Problem {
	var late []string
	for _, d := range s.undelivered() {
		if at := s.overdueAt(v, &d); !at.IsZero() && !s.now.Before(at) {
			late = append(late, d.because("it was not seen to hold it since"))
		}
	}
	if len(late) == 0 {
		return nil
	}
	return &Problem{Reason: "DeliveryPending", Message: fmt.Sprintf(
		"version %d is not retired, because version %d is not delivered: %s", v.Number, s.Target.Published, strings.Join(late, "; "))}
}

// because is the delivery and what is the matter with it.
func (d *Delivery) because(otherwise string) string {
	if d.Trouble != "" {
		return d.To + ": " + d.Trouble
	}
	return d.To + ": " + otherwise
}

// DeliveryStalled tells which deliveries do not get on to the published version; nil if none.
// One that cannot be made is told at once: the first version has no predecessor that waits.
func DeliveryStalled(o Observed, p Policy, now time.Time) *Problem {
	s := &situation{Observed: o, policy: p, now: now}
	for i := range o.Versions {
		if v := &o.Versions[i]; v.live() && v.Number < o.Target.Published && s.awaitDeliveries(v) {
			if pending := s.deliveryPending(v); pending != nil {
				return pending
			}
		}
	}
	var failing []string
	for _, d := range o.Deliveries {
		if d.Trouble != "" {
			failing = append(failing, d.because(""))
		}
	}
	if len(failing) == 0 {
		return nil
	}
	return &Problem{Reason: "DeliveryPending", Message: fmt.Sprintf("version %d cannot be delivered: %s", o.Target.Published, strings.Join(failing, "; "))}
}

// inUse are the deliveries that somebody is known to read.
func inUse(deliveries []Delivery) []string {
	var all []string
	for _, d := range deliveries {
		if !d.Gone && len(d.Users) > 0 {
			all = append(all, d.To+" by "+strings.Join(d.Users, ", "))
		}
	}
	return all
}

// withdrawing are the deliveries that are still to be emptied.
func withdrawing(deliveries []Delivery) []string {
	var all []string
	for _, d := range deliveries {
		if d.Withdraw && !d.Gone {
			all = append(all, d.because("it is on its way"))
		}
	}
	return all
}

// feeds: a delivery may hold a version of a credential that is being deleted, and is not to be
// left with what is revoked.
func (s *situation) feeds(v *Version) bool {
	c := s.Credential
	reaches := v.Number == s.Target.Published || v.OncePublished && (v.Number > s.Target.Published || len(s.undelivered()) > 0)
	if !c.Exists || !reaches || c.AbandonAll || s.compromised(v) {
		return false
	}
	if c.Protected && len(inUse(s.Deliveries)) > 0 {
		return true
	}
	waits := withdrawing(s.Deliveries)
	if c.Retain || len(waits) == 0 {
		return false
	}
	s.note(&Problem{Reason: "Withdrawing", Message: fmt.Sprintf(
		"version %d is revoked when it was taken out of these: %s", v.Number, strings.Join(waits, "; ")) + wayOut}, nil, time.Time{})
	return true
}

// holdForDeliveries keeps a deleted credential alive for those who read where it was delivered.
func holdForDeliveries(s *situation) *Step {
	c, users := s.Credential, inUse(s.Deliveries)
	if !c.Exists || !c.Protected || c.Retain || len(users) == 0 {
		return nil
	}
	if step := finishRetirements(s); step != nil {
		return step
	}
	return s.stop(&Problem{Reason: "InUse", Message: fmt.Sprintf(
		"it is delivered and used, so nothing is revoked; give the users something else, or set spec.protection to None: %s", strings.Join(users, "; "))})
}
