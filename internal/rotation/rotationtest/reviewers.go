package rotationtest

import (
	"slices"
	"strconv"
	"time"

	"github.com/claviger-dev/claviger/internal/approval"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// answerTime is how long people may answer the first time. Whoever is asked again answers, or
// a life would have no end.
const answerTime = 10 * time.Minute

// reviewers are the people who have to agree to an operation. They answer when everybody else
// sleeps, or never.
type reviewers struct {
	operation  approval.Operation
	unwanted   bool // the demand was taken back
	unguarded  bool // what they say cannot be believed
	generation int64
	announced  time.Time // when somebody asked for the deletion
	requests   []request
	agreed     [][2]int64 // nonces of versions, and the generation that people agreed to
}

// request is what they were asked, and what they said.
type request struct {
	subject   approval.Subject
	until     time.Time
	yes, no   bool
	withdrawn bool // somebody said no after yes
}

// asking makes reviewers who are asked about an operation.
func asking(o approval.Operation) func() Dimension {
	return func() Dimension { return &reviewers{operation: o, generation: 1} }
}

// Clone copies them.
func (d *reviewers) Clone() Dimension {
	c := *d
	c.requests, c.agreed = slices.Clone(d.requests), slices.Clone(d.agreed)
	return &c
}

// AddTo tells them apart.
func (d *reviewers) AddTo(k *Key) {
	k.Flags(d.unwanted, d.unguarded)
	k.Numbers(d.generation, int64(len(d.requests)), int64(len(d.agreed)))
	k.Times(d.announced)
	for i := range d.requests {
		r := &d.requests[i]
		k.Flags(r.yes, r.no, r.subject.Operation == approval.Issue, r.subject.Operation == approval.Delete, r.withdrawn)
		k.Numbers(r.subject.Generation, int64(r.subject.Round), int64(len(r.subject.Nonce)))
		k.bytes = append(append(k.bytes, r.subject.Nonce...), r.subject.CredentialUID...)
		k.Times(r.subject.Request, r.until)
	}
	for _, a := range d.agreed {
		k.Numbers(a[0], a[1])
	}
}

func (d *reviewers) agreedTo(nonce int) int64 {
	for _, a := range d.agreed {
		if a[0] == int64(nonce) {
			return a[1]
		}
	}
	return 0
}

var byReviewers = approval.Reference{Kind: "RotationPolicy", Name: "strict"}

// Observe shows what people were asked and have said.
func (d *reviewers) Observe(w *World, o *rotation.Observed) {
	o.Credential.UID, o.Credential.Generation = "uid-"+strconv.Itoa(w.uid), d.generation
	o.Credential.DeletionRequestedAt = d.announced
	for i := range o.Versions {
		if r := w.find(o.Versions[i].Number); r != nil {
			o.Versions[i].Nonce, o.Versions[i].Agreed = strconv.Itoa(r.Nonce), d.agreedTo(r.Nonce)
		}
	}
	if !d.unwanted {
		o.Consent.Demands = []rotation.Demand{{Reference: byReviewers, Operations: []approval.Operation{d.operation}}}
	}
	if d.unguarded {
		o.Consent.Doubt = "the policies are not in force"
	}
	for i := range d.requests {
		r := &d.requests[i]
		a := rotation.Asked{
			Name: "request", Reference: byReviewers, Digest: r.subject.Digest(), Round: r.subject.Round, State: approval.Pending, Until: r.until,
		}
		switch {
		case r.no:
			a.State = approval.Rejected
		case r.yes:
			a.State = approval.Approved
		}
		o.Consent.Asked = append(o.Consent.Asked, a)
	}
}

// Look sees what they said, and the spec.
func (d *reviewers) Look(_, live *World, facts rotation.Facts) bool {
	if facts.Has(rotation.FactCredential) {
		d.generation, d.announced = live.reviewers().generation, live.reviewers().announced
	}
	if facts.Has(rotation.FactConsent) {
		d.requests, d.unguarded = slices.Clone(live.reviewers().requests), live.reviewers().unguarded
	}
	return true
}

// Act asks them, and judges what is begun by what they said when it was looked at.
func (d *reviewers) Act(seen, live *World, step rotation.Step) (known, done bool) {
	was := seen.reviewers()
	switch step.Action {
	case rotation.AskApproval:
		for i := range d.requests {
			if d.requests[i].subject.Digest() == step.Ask.Subject.Digest() {
				return true, false
			}
		}
		r := request{subject: step.Ask.Subject}
		if r.subject.Round == 0 {
			r.until = live.Now.Add(answerTime)
		}
		d.requests = append(d.requests, r)
		was.requests = append(was.requests, r)
		live.Touch()
		return true, true
	case rotation.CreateIntent:
		was.judge(seen, live, step)
		for _, side := range []*reviewers{d, was} {
			side.agreed = slices.DeleteFunc(slices.Clone(side.agreed), func(a [2]int64) bool { return a[0] == int64(live.nonces+1) })
			side.agreed = append(side.agreed, [2]int64{int64(live.nonces + 1), step.Agreed})
		}
	case rotation.Provision:
		was.judgePlace(seen, live)
	case rotation.Retire, rotation.Retain:
		was.judgeDeletion(seen, live, step)
	case rotation.Issue:
		if r := seen.find(step.Version); r != nil {
			if agreed := d.agreedTo(r.Nonce); agreed != 0 && agreed != was.generation {
				live.Fault("version %d is made by generation %d of the spec, and people agreed to %d", r.Number, was.generation, agreed)
			}
		}
	}
	return false, false
}

// judge tells of a version that is begun without the word of people.
func (d *reviewers) judge(seen, live *World, step rotation.Step) {
	operation := approval.Renew
	if step.Replaces == 0 {
		operation = approval.Issue
	}
	if d.unwanted || operation != d.operation || !seen.CompromisedAt.IsZero() {
		return
	}
	if d.unguarded {
		live.Fault("version %d is begun on words that nobody guards", step.Version)
	}
	follows := ""
	if r := seen.find(step.Replaces); r != nil {
		follows = strconv.Itoa(r.Nonce)
	}
	for i := range d.requests {
		r := &d.requests[i]
		if r.yes && !r.no && r.subject.Generation == d.generation && r.subject.Operation == operation && (operation == approval.Issue || r.subject.Nonce == follows) {
			return
		}
	}
	live.Fault("version %d is begun and nobody has agreed to it", step.Version)
}

// judgePlace tells of roles that are changed, or an instance that is made anew, without the word of
// people.
func (d *reviewers) judgePlace(seen, live *World) {
	if d.unwanted || d.operation != approval.Renew || !seen.CompromisedAt.IsZero() || seen.heldRecord() == nil {
		return
	}
	follows := strconv.Itoa(seen.heldRecord().Nonce)
	for i := range d.requests {
		r := &d.requests[i]
		if r.yes && !r.no && r.subject.Generation == d.generation && r.subject.Operation == approval.Renew && r.subject.Nonce == follows {
			return
		}
	}
	live.Fault("what the instance may do is changed and nobody has agreed to it")
}

// heldRecord is the version that the target holds; nil if none is known.
func (w *World) heldRecord() *Record {
	for i := range w.Journal {
		if r := &w.Journal[i]; w.mine(r) && r.Material == w.Target.Holds && w.Target.Holds != 0 && w.Target.uid == w.uid && !w.Target.foreign {
			return r
		}
	}
	return nil
}

// judgeDeletion tells of a deletion that is begun without the word of people.
func (d *reviewers) judgeDeletion(seen, live *World, step rotation.Step) {
	if d.unwanted || d.operation != approval.Delete || !seen.Deleting || !seen.Exists || seen.abandonAll || !seen.CompromisedAt.IsZero() {
		return
	}
	if r := seen.find(step.Version); r != nil && r.Terminating {
		return // it was deleted by hand, and is kept now
	}
	if d.unguarded {
		live.Fault("version %d is ended on words that nobody guards", step.Version)
	}
	for i := range d.requests {
		r := &d.requests[i]
		if r.yes && !r.no && r.subject.Operation == approval.Delete && r.subject.CredentialUID == "uid-"+strconv.Itoa(seen.uid) {
			return
		}
	}
	live.Fault("version %d is ended and nobody has agreed to the deletion", step.Version)
}

// Events are what people do.
func (d *reviewers) Events() []Event {
	when := func(happens func(*World, *reviewers) bool) func(*World, *Process) bool {
		return func(w *World, _ *Process) bool {
			d := w.reviewers()
			ended := !w.Exists || w.Deleting && d.operation != approval.Delete
			did := d.operation != "" && !ended && happens(w, d)
			if did {
				w.Touch()
			}
			return did
		}
	}
	return []Event{
		{Name: "people agree", Free: true, Happens: when(func(w *World, d *reviewers) bool {
			r := d.last(w)
			if r == nil || r.yes || r.no {
				return false
			}
			r.yes = true
			return true
		})},
		{Name: "somebody says no", Happens: when(func(w *World, d *reviewers) bool {
			r := d.last(w)
			if r == nil || r.no {
				return false
			}
			r.no, r.withdrawn = true, r.yes
			return true
		})},
		{Name: "the spec is edited", Happens: when(func(_ *World, d *reviewers) bool { d.generation++; return true })},
		{Name: "its deletion is requested", Happens: when(func(w *World, d *reviewers) bool {
			if d.operation != approval.Delete || d.announced.Equal(w.Now) {
				return false
			}
			d.announced = w.Now
			return true
		})},
		{Name: "nobody wants to be asked any more", Happens: when(func(_ *World, d *reviewers) bool { d.unwanted = !d.unwanted; return d.unwanted })},
		{Name: "people want to be asked again", Happens: when(func(_ *World, d *reviewers) bool { d.unwanted = !d.unwanted; return !d.unwanted })},
		{Name: "decisions are not guarded", Happens: when(func(_ *World, d *reviewers) bool { d.unguarded = !d.unguarded; return d.unguarded })},
		{Name: "decisions are guarded again", Free: true, Happens: when(func(_ *World, d *reviewers) bool { d.unguarded = !d.unguarded; return !d.unguarded })},
	}
}

// last is the newest request while it may be answered.
func (d *reviewers) last(w *World) *request {
	if len(d.requests) == 0 {
		return nil
	}
	r := &d.requests[len(d.requests)-1]
	if !r.until.IsZero() && !w.Now.Before(r.until) {
		return nil
	}
	return r
}

// Broken: what they say is judged when something is begun on it.
func (d *reviewers) Broken(*World) []string { return nil }

// Settled asks nothing more.
func (d *reviewers) Settled(*World) error { return nil }

// Troubled: somebody is waited for, or has said no.
func (d *reviewers) Troubled() bool {
	return d.unguarded || slices.ContainsFunc(d.requests, func(r request) bool { return !r.yes || r.no })
}

// reviewers are the world's own, where it has some.
func (w *World) reviewers() *reviewers {
	for _, d := range w.Dimensions {
		if r, ok := d.(*reviewers); ok {
			return r
		}
	}
	return &reviewers{}
}
