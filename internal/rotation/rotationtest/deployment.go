package rotationtest

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/claviger-dev/claviger/internal/rollout"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// deployment is a workload of one pod that reads the target when it starts, and that only a
// restart makes read it again. It is the dimension of rollouts: nothing but their rules keeps
// a version alive that its pod holds.
type deployment struct {
	mark    int  // the wave on its template; 0: none
	changes int  // of its template: what a write must have read
	rolling bool // its template has changed and the pod is of the old one
	stuck   bool // a new pod never becomes ready
	runs    bool
	created time.Time
	holds   int // material

	// What the journal says of it: waves for which it was restarted, that are done, and
	// which versions were put back in the place of which.
	noted, done []int
	instead     [][2]int

	restarted []int // all waves, to count them
	excused   []int // whose mark was taken away before anybody could note it
	looked    time.Time
}

func newDeployment() Dimension { return &deployment{} }

// Clone copies it.
func (d *deployment) Clone() Dimension {
	c := *d
	c.noted, c.done, c.instead = slices.Clip(d.noted), slices.Clip(d.done), slices.Clip(d.instead)
	c.restarted, c.excused = slices.Clip(d.restarted), slices.Clip(d.excused)
	return &c
}

// AddTo tells it apart.
func (d *deployment) AddTo(k *Key) {
	k.Flags(d.rolling, d.stuck, d.runs)
	k.Numbers(int64(d.mark), int64(d.changes), int64(d.holds))
	k.Times(d.created, d.looked)
	for _, waves := range [][]int{d.noted, d.done, d.restarted, d.excused} {
		k.Numbers(int64(len(waves)))
		for _, wave := range waves {
			k.Numbers(int64(wave))
		}
	}
	for _, i := range d.instead {
		k.Numbers(int64(i[0]), int64(i[1]))
	}
}

// wave is the number of a version's; 0 if it has none.
func (d *deployment) wave(r *Record) int {
	for _, i := range d.instead {
		if i[0] == r.Nonce {
			return r.Nonce*100 + i[1]
		}
	}
	if r.Replaces == 0 {
		return 0
	}
	return r.Nonce * 100
}

// Observe shows the workload as the last look saw it.
func (d *deployment) Observe(w *World, o *rotation.Observed) {
	o.Credential.Rolls = true
	current := 0
	for i := range o.Versions {
		v := &o.Versions[i]
		wave := d.wave(w.find(v.Number))
		if wave == 0 {
			continue
		}
		v.Wave, v.RolledOut = strconv.Itoa(wave), slices.Contains(d.done, wave)
		if v.Number == o.Target.Published {
			current = wave
		}
	}
	if current == 0 || !o.Fresh.Has(rotation.FactWorkloads) {
		return
	}
	l := rollout.Workload{
		Kind: "Deployment", Name: "billing", CreatedAt: Began.Add(-hour), Marked: d.mark == current,
		Seen: true, Wanted: 1, Total: 1, Updated: 1, Watched: true,
	}
	if slices.Contains(d.noted, current) {
		l.NotedAt = Began
	}
	if d.rolling {
		l.Updated = 0
	}
	if d.runs {
		l.Available = 1
		l.PodsMoved = !d.created.Before(rotation.Wave(o.Target, w.policy()).Begins)
	}
	if d.stuck {
		l.GaveUp = "the deadline has passed"
	}
	o.Workloads = rotation.Workloads{Known: true, All: []rollout.Workload{l}, Free: true, Again: d.looked.Add(podsAgain)}
}

// Look sees the workload as it is.
func (d *deployment) Look(_, live *World, facts rotation.Facts) bool {
	if facts.Has(rotation.FactWorkloads) {
		noted, done, instead := d.noted, d.done, d.instead // the journal is not what was looked at
		if c, ok := live.deployment().Clone().(*deployment); ok {
			*d = *c
		}
		d.noted, d.done, d.instead = noted, done, instead
		d.looked = live.Now
	}
	return true
}

// Act restarts it, and writes down that it was.
func (d *deployment) Act(seen, live *World, step rotation.Step) (known, done bool) {
	was := seen.deployment()
	r := seen.find(step.Version)
	switch step.Action {
	case rotation.Restart:
		if was.changes != d.changes {
			return true, false
		}
		wave := d.wave(r)
		if slices.Contains(d.restarted, wave) && !slices.Contains(d.excused, wave) {
			live.Fault("the workload is restarted twice for version %d", r.Number)
		}
		d.mark, d.rolling, d.restarted = wave, true, append(d.restarted, wave)
		d.changes++
		was.mark, was.rolling, was.changes = d.mark, d.rolling, d.changes
		live.effects++
		return true, true
	case rotation.NoteRollout:
		now := live.byNonce(r.Nonce)
		if now == nil || now.revision != r.revision {
			return true, false
		}
		if wave := d.wave(r); step.Workload != "" {
			d.noted = append(d.noted, wave)
		} else {
			d.done = append(d.done, wave)
		}
		was.noted, was.done = slices.Clip(d.noted), slices.Clip(d.done)
		live.touch(now)
		*r = *now
		return true, true
	case rotation.MarkRepublish:
		if now := live.byNonce(r.Nonce); step.Rolls && now != nil && now.revision == r.revision {
			d.instead = slices.DeleteFunc(slices.Clone(d.instead), func(i [2]int) bool { return i[0] == r.Nonce })
			d.instead = append(d.instead, [2]int{r.Nonce, seen.find(step.Replaces).Nonce})
			was.instead = slices.Clip(d.instead)
		}
	}
	return false, false
}

// Events are what happens around the workload. The operator is told of nothing.
func (d *deployment) Events() []Event {
	when := func(happens func(*World, *deployment) bool) func(*World, *Process) bool {
		return func(w *World, _ *Process) bool { return happens(w, w.deployment()) }
	}
	return []Event{
		{Name: "the workload's pod starts", Free: true, Happens: when(func(w *World, d *deployment) bool { return !d.runs && d.start(w) })},
		{Name: "the workload replaces its pod", Free: true, Happens: when(func(w *World, d *deployment) bool { return d.runs && d.rolling && !d.stuck && d.start(w) })},
		{Name: "the workload's new pods fail", Happens: when(func(_ *World, d *deployment) bool { d.stuck = !d.stuck; return d.stuck })},
		{Name: "the workload's pods are mended", Free: true, Happens: when(func(_ *World, d *deployment) bool { d.stuck = !d.stuck; return !d.stuck })},
		{Name: "the mark is taken off the workload", Happens: when(func(_ *World, d *deployment) bool {
			if d.mark == 0 {
				return false
			}
			if !slices.Contains(d.noted, d.mark) {
				d.excused = append(d.excused, d.mark)
			}
			// Back on the old template: a pod that was not replaced yet stays.
			d.mark, d.rolling, d.changes = 0, !d.rolling, d.changes+1
			return true
		})},
		{Name: "the workload is restarted by hand", Free: true, Happens: when(func(_ *World, d *deployment) bool {
			reverted := len(d.noted) > 0 && d.mark != d.noted[len(d.noted)-1] && !d.rolling
			if reverted {
				d.rolling, d.changes = true, d.changes+1
			}
			return reverted
		})},
	}
}

// start replaces the pod by one that reads what the target holds.
func (d *deployment) start(w *World) bool {
	o := w.Upstream[w.Target.Holds]
	if !w.Target.Exists || w.Target.Holds == 0 || w.Target.uid != w.uid || w.Target.foreign || !o.Live && !o.Killed {
		return false
	}
	holds := w.Target.Holds
	// What was made so lately was published later still, and the node gives the new pod what it
	// remembers of the old one. A template that is written anew leaves the version as it is.
	if d.runs && w.Now.Before(o.since.Add(propagation+uptakeMargin)) {
		holds = d.holds
	}
	d.rolling, d.runs, d.created, d.holds = false, true, w.Now, holds
	return true
}

// Broken: what the pod holds was revoked for no good reason.
func (d *deployment) Broken(w *World) []string {
	if !d.runs || d.holds == 0 || w.Ending() || w.uid != 1 {
		return nil // what was promised ends with the credential, and another one of its name promises anew
	}
	o := w.Upstream[d.holds]
	condemned := !w.CompromisedAt.IsZero() || !w.RollbackAt.IsZero() || w.abandonAll
	if o.Revoked && !o.Killed && !o.Bad && !condemned {
		return []string{fmt.Sprintf("material %d was revoked, and the workload was not restarted (3)", d.holds)}
	}
	return nil
}

// Settled: the workload was restarted for what is published.
func (d *deployment) Settled(w *World) error {
	for i := range w.Journal {
		r := &w.Journal[i]
		wave := d.wave(r)
		if !w.Ending() && w.mine(r) && !r.Terminating && r.Material == w.Target.Holds && wave != 0 && !slices.Contains(d.done, wave) {
			return fmt.Errorf("version %d is published and not rolled out", r.Number)
		}
	}
	return nil
}

// Troubled: it waits for Kubernetes or for somebody, and so may who waits for it.
func (d *deployment) Troubled() bool {
	reverted := len(d.noted) > 0 && d.mark != d.noted[len(d.noted)-1]
	return d.stuck || d.rolling || !d.runs || reverted
}

// deployment is the world's own, where it has one.
func (w *World) deployment() *deployment {
	for _, d := range w.Dimensions {
		if l, ok := d.(*deployment); ok {
			return l
		}
	}
	return &deployment{}
}
