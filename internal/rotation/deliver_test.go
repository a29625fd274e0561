package rotation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatWaitsForDeliveries(t *testing.T) { decide(t, deliveryDecisions()) }

// delivering is overlapping, and the published version is delivered elsewhere, too.
func delivering(deliveries ...Delivery) func(*facts) {
	return both(overlapping, func(f *facts) { f.Deliveries = deliveries })
}

// delivered is one that was made an hour before the overlap had passed, and was kept for a day.
func delivered(change func(*Delivery)) Delivery {
	d := Delivery{To: "alias A", Current: true, Since: ago(2 * days), KeptFor: days, SeenAt: ago(days)}
	if change != nil {
		change(&d)
	}
	return d
}

func deliveryDecisions() []decision {
	over := delivered(nil)
	missing := delivered(func(d *Delivery) { *d = Delivery{To: "alias B", KeptFor: days} })
	refused := delivered(func(d *Delivery) { *d = Delivery{To: "alias B", KeptFor: days, Trouble: "it is somebody else's"} })
	kept := delivered(func(d *Delivery) { d.Since, d.SeenAt = ago(time.Hour), noon })
	unseen := delivered(func(d *Delivery) { d.SeenAt = ago(days + time.Second) })
	used := delivered(func(d *Delivery) { d.Users = []string{"Mails", "Orders"} })
	withdrawn := delivered(func(d *Delivery) { d.Withdraw = true })
	gone := delivered(func(d *Delivery) { d.Withdraw, d.Gone, d.Users = true, true, []string{"Orders"} })
	retire := Step{Action: Retire, Version: 1, Routine: true, Cause: "its overlap has passed"}
	revoke := Step{Action: Revoke, Version: 1, Needs: FactGuard}
	young := func(f *facts) { f.Target.PublishedAt = ago(time.Minute) }
	ends := ago(time.Minute).Add(2*days + time.Second)
	justOver := func(f *facts) { f.Target.PublishedAt = ago(2*days + time.Second) }
	late := func(f *facts) { f.Target.PublishedAt = ago(2*days + time.Second + deliveryPatience) }
	byHand := func(f *facts) { f.Versions[0].Terminating = true }
	deleted := func(f *facts) { f.Credential.Deleting, f.Credential.Protected = true, true }
	alone := func(f *facts) { f.Versions = f.Versions[1:] }
	ending := both(deleted, alone, byHand)
	unprotected := func(f *facts) { f.Credential.Protected = false }
	waits := func(until time.Time, reason, message string) Step {
		return Step{Action: Wait, Until: until, Notice: stuck(reason, message)}
	}
	holds := func(message string) Step { return Step{Action: Wait, Problem: stuck("InUse", message)} }
	const inUse = "it is delivered and used, so nothing is revoked; give the users something else, or set spec.protection to None: alias A by Mails, Orders"
	const pending = "version 1 is not retired, because version 2 is not delivered: "
	return []decision{
		{"a predecessor is retired when its successor is delivered and nobody goes on with it", delivering(over), retire},
		{"one that is not delivered yet keeps it", both(delivering(over, missing), justOver), waits(in(deliveryPatience), "WaitingForDelivery", "version 1 stays valid while these need it: alias B")},
		{"for as long as it takes, and then it is a trouble", both(delivering(missing, over), late), waits(renewalOf2(), "DeliveryPending", pending+"alias B: it was not seen to hold it since")},
		{"a process that has just started looks first", both(delivering(over, delivered(func(d *Delivery) { *d = Delivery{To: "alias B", KeptFor: days, Unseen: true} })), late), waits(renewalOf2(), "WaitingForDelivery", "version 1 stays valid while these need it: alias B")},
		{"the trouble says why", both(delivering(over, refused), late), waits(renewalOf2(), "DeliveryPending", pending+"alias B: it is somebody else's")},
		{"while the overlap runs nobody is waited for", both(delivering(missing), young), waits(ends, "Overlap", "version 1 stays valid until "+text(ends)+" at least")},
		{"those who have read it before go on with it", delivering(kept), waits(in(23*time.Hour+deliveryPatience), "WaitingForDelivery",
			"version 1 stays valid while these need it: alias A (until "+text(in(23*time.Hour))+")")},
		{"what was seen only while they did proves nothing", delivering(unseen), waits(renewalOf2(), "DeliveryPending", pending+"alias A: it was not seen to hold it since")},
		{"a moment after that is no trouble yet", delivering(delivered(func(d *Delivery) { d.Since, d.SeenAt = ago(days), ago(time.Hour) })), waits(in(deliveryPatience), "WaitingForDelivery",
			"version 1 stays valid while these need it: alias A (until "+text(noon)+")")},
		{"the overlap counts where it is longer", both(delivering(delivered(func(d *Delivery) { d.SeenAt = ago(2 * days) })), justOver), waits(in(deliveryPatience), "WaitingForDelivery",
			"version 1 stays valid while these need it: alias A (until "+text(ago(days))+")")},
		{"a version whose Secret was deleted by hand waits as well", both(delivering(missing), byHand, late), waits(renewalOf2(), "DeliveryPending", pending+"alias B: it was not seen to hold it since")},
		{"a refused one waits as well, and when its overlap began need not be known", both(delivering(missing), byHand, func(f *facts) {
			f.Versions[0].Refused, f.Target.PublishedAt = true, time.Time{}
		}), waits(renewalOf2(), "WaitingForDelivery", "version 1 stays valid while these need it: alias B")},
		{"what is compromised does not wait", both(delivering(missing), func(f *facts) { f.Credential.CompromisedAt = ago(4 * days) }), Step{
			Action: Retire, Version: 1, Cause: "declared compromised, and its successor is published",
		}},
		{"what the target never held was not delivered", both(delivering(missing), byHand, func(f *facts) { f.Versions[0].OncePublished = false }), Step{Action: Revoke, Version: 1, Needs: FactGuard | FactTarget}},

		{"a deleted credential is held for flows that use it", both(delivering(used), deleted, alone), holds(inUse)},
		{"also where its version Secret was deleted before", both(delivering(used), ending), holds(inUse)},
		{"what flows have left goes on being revoked", both(delivering(used), deleted, byHand), revoke},
		{"what they have not left does not", both(delivering(used, missing), deleted, byHand), holds(inUse)},
		{"a newer one that was given up for the published one does not go either", both(delivering(used), deleted, func(f *facts) {
			f.Target.Published, f.Versions[1].Terminating = 1, true
		}), holds(inUse)},
		{"what was never published goes", both(delivering(used), deleted, func(f *facts) {
			f.Versions = append(f.Versions, Version{Number: 3, IntentAt: ago(days), Held: true, Terminating: true})
		}), Step{Action: Revoke, Version: 3, Needs: FactGuard}},
		{"without protection it goes", both(delivering(used), deleted, alone, unprotected), Step{Action: Retire, Version: 2, Cause: "the credential is deleted"}},
		{"and what is retired is revoked", both(delivering(used), ending, unprotected), Step{Action: Revoke, Version: 2, Needs: FactGuard}},
		{"one that is let live on upstream goes: nobody loses anything by that", both(delivering(used), deleted, alone, func(f *facts) { f.Credential.Retain = true }), Step{Action: Retain, Version: 2}},
		{"a journal without its credential knows of no deliveries", both(delivering(used), ending, func(f *facts) { f.Credential.Exists = false }), Step{Action: Revoke, Version: 2, Needs: FactGuard}},
		{"of one that is compromised nothing is held back", both(delivering(used), ending, func(f *facts) { f.Credential.CompromisedAt = noon }), Step{Action: Revoke, Version: 2, Needs: FactGuard}},
		{"what is to be withdrawn is, before it is revoked", both(delivering(withdrawn), ending), Step{Action: Wait, Problem: stuck("Withdrawing",
			"version 2 is revoked when it was taken out of these: alias A: it is on its way"+wayOut)}},
		{"and is revoked then", both(delivering(gone), ending), Step{Action: Revoke, Version: 2, Needs: FactGuard}},
		{"an older one that is nowhere any more does not wait for that", both(delivering(withdrawn), deleted, byHand, func(f *facts) { f.Versions[1].Terminating = true }), revoke},
		{"one that is let live on is not withdrawn", both(delivering(withdrawn, missing), deleted, byHand, func(f *facts) { f.Credential.Retain = true }), revoke},
		{"an administrator lets it go", both(delivering(withdrawn, used), ending, func(f *facts) { f.Credential.AbandonAll = true }), Step{Action: Abandon, Version: 2}},
	}
}

func TestDeliveryStalledNamesTheDelivery(t *testing.T) {
	missing := Delivery{To: "alias B"}
	failing := Delivery{To: "alias C", Trouble: "it is somebody else's"}
	over := delivered(nil)
	late := func(f *facts) { f.Target.PublishedAt = ago(2*days + time.Second + deliveryPatience) }
	const pending = "version 1 is not retired, because version 2 is not delivered: alias B: it was not seen to hold it since"
	for _, c := range []struct {
		when  string
		given func(*facts)
		want  *Problem
	}{
		{"the overlap has passed", both(delivering(over, missing), late), stuck("DeliveryPending", pending)},
		{"the overlap runs", both(delivering(missing), func(f *facts) { f.Target.PublishedAt = ago(days) }), nil},
		{"it has passed a moment ago", both(delivering(missing), func(f *facts) { f.Target.PublishedAt = ago(2*days + 2*time.Second) }), nil},
		{"when it began is not known", both(delivering(missing), func(f *facts) { f.Target.PublishedAt = time.Time{} }), nil},
		{"all are over", delivering(over), nil},
		{"there is no earlier version", both(delivering(missing), func(f *facts) { f.Versions = f.Versions[1:] }), nil},
		{"the earlier one is retired already", both(delivering(missing), func(f *facts) { f.Versions[0].Terminating = true }), nil},
		{
			"the first version cannot be delivered", func(f *facts) { f.Deliveries = []Delivery{over, failing, {To: "alias D", Trouble: "no role"}} },
			stuck("DeliveryPending", "version 1 cannot be delivered: alias C: it is somebody else's; alias D: no role"),
		},
		{
			"it is told at once, also while the overlap runs", both(delivering(failing), func(f *facts) { f.Target.PublishedAt = ago(days) }),
			stuck("DeliveryPending", "version 2 cannot be delivered: alias C: it is somebody else's"),
		},
		{"nothing is delivered", overlapping, nil},
	} {
		t.Run(c.when, func(t *testing.T) {
			f := working()
			c.given(f)
			if diff := cmp.Diff(c.want, DeliveryStalled(f.Observed, f.policy, noon)); diff != "" {
				t.Errorf("condition (-want +got):\n%s", diff)
			}
		})
	}
}
