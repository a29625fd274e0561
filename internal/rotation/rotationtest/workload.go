package rotationtest

import (
	"fmt"
	"time"

	"github.com/claviger-dev/claviger/internal/rotation"
)

const (
	uptakeMargin   = 5 * time.Second
	uptakeDeadline = 12 * time.Minute
	podsAgain      = 30 * time.Second
)

// workload is a pod that took what the target held when it was created, and keeps it. It
// is the dimension of uptake and of protection while in use.
type workload struct {
	runs    bool
	created time.Time
	holds   int // material
	looked  time.Time
}

func newWorkload() Dimension { return &workload{} }

// Clone copies it.
func (l *workload) Clone() Dimension { c := *l; return &c }

// AddTo tells it apart.
func (l *workload) AddTo(k *Key) {
	k.Flags(l.runs)
	k.Numbers(int64(l.holds))
	k.Times(l.created, l.looked)
}

// Observe shows the pod as the last look saw it.
func (l *workload) Observe(w *World, o *rotation.Observed) {
	o.Credential.Protected = true
	if !o.Fresh.Has(rotation.FactConsumers) {
		return
	}
	o.Consumers = rotation.Consumers{Known: true}
	if !l.runs {
		return
	}
	o.Consumers.Names, o.Consumers.Again = []string{"pod"}, l.looked.Add(podsAgain)
	if p := rotation.Publication("", o.Target, w.policy()); l.created.Before(p.At.Add(p.Margin)) {
		o.Consumers.Behind = []string{"pod"}
		return
	}
	o.Consumers.Current = 1
}

// Look sees the pod as it is.
func (l *workload) Look(_, live *World, facts rotation.Facts) bool {
	if facts.Has(rotation.FactConsumers) {
		*l = *live.workload()
		l.looked = live.Now
	}
	return true
}

// Act does nothing: the planner does nothing with pods but look at them.
func (l *workload) Act(*World, *World, rotation.Step) (known, done bool) { return false, false }

// Events are what happens to the pod. Nobody who waits for it is told.
func (l *workload) Events() []Event {
	return []Event{
		{Name: "a pod starts", Happens: func(w *World, _ *Process) bool { return !w.workload().runs && w.startPod() }},
		{Name: "the pod is replaced", Free: true, Happens: func(w *World, _ *Process) bool {
			l := w.workload()
			return l.runs && l.holds != w.Target.Holds && w.startPod()
		}},
		{Name: "the pod ends", Free: true, Happens: func(w *World, _ *Process) bool {
			l := w.workload()
			ran := l.runs
			*l = workload{}
			return ran
		}},
	}
}

// Broken: what a pod holds was revoked for no good reason. A deletion is held for the pods
// that the last look has seen, and a pod that starts after it was promised nothing.
func (l *workload) Broken(w *World) []string {
	if !l.runs || l.holds == 0 || w.Ending() {
		return nil
	}
	o := w.Upstream[l.holds]
	condemned := !w.CompromisedAt.IsZero() || !w.RollbackAt.IsZero() || w.abandonAll
	if o.Revoked && !o.Killed && !o.Bad && !condemned {
		return []string{fmt.Sprintf("material %d was revoked, and a pod uses it (3)", l.holds)}
	}
	return nil
}

// Settled asks nothing of a pod.
func (l *workload) Settled(*World) error { return nil }

// workload is the world's own, where it has one.
func (w *World) workload() *workload {
	for _, d := range w.Dimensions {
		if l, ok := d.(*workload); ok {
			return l
		}
	}
	return &workload{}
}

func (w *World) startPod() bool {
	if !w.Target.Exists || w.Target.Holds == 0 || w.Target.uid != w.uid || w.Target.foreign || !w.Upstream[w.Target.Holds].Live {
		return false
	}
	*w.workload() = workload{runs: true, created: w.Now, holds: w.Target.Holds}
	return true
}
