package rotationtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/interval"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// Year is a long time in a short one: a fleet of credentials on a virtual clock, renewed
// by age, under random faults. The same seed is the same year.
type Year struct {
	Seed        uint64
	Credentials int
	Days        int
}

// YearReport is what happened.
type YearReport struct {
	Rotations, Faults, Steps int
}

// faultsPerMonth is how many events befall a credential in 30 days.
const faultsPerMonth = 12

// outages begin for all credentials at the same time, once a month.
var outages = []Trouble{AccountDown, GuardOff, ClockJumps}

// Run lets the year go by. Its error has the story of the credential that broke a rule.
func (y Year) Run() (YearReport, error) {
	report := YearReport{}
	for i := range y.Credentials {
		l := &lifetime{
			year: y, rand: rand.New(rand.NewPCG(y.Seed, uint64(i))), common: rand.New(rand.NewPCG(y.Seed, 1<<40)), report: &report,
		}
		if err := l.live(i); err != nil {
			return report, fmt.Errorf("seed %d, credential %d: %w", y.Seed, i, err)
		}
	}
	return report, nil
}

// lifetime is a year of one credential. Its own faults and the outages of all are drawn
// apart, so that every credential sees the same outages.
type lifetime struct {
	year         Year
	rand, common *rand.Rand
	report       *YearReport
	w            *World
	ps           []*Process
	next         time.Time // the next fault
	outage       time.Time
	mends        time.Time // when everything that is wrong has been mended
}

func (l *lifetime) live(i int) error {
	classes := []Class{WriteAhead, WriteAhead, ReadableUnique, Readable, ShownOnce, GrantOnly}
	class := classes[i%len(classes)]
	v := &Variant{Name: "a year", Class: class, Capabilities: of(class), Policy: rotation.Policy{
		RotateAfter: interval.FromDuration(30 * 24 * time.Hour), Overlap: interval.FromDuration(48 * time.Hour), VerifyTimeout: 10 * time.Minute,
	}}
	l.w, l.ps = NewWorld(v), []*Process{NewProcess(1)}
	if i%4 == 3 {
		l.ps = append(l.ps, NewProcess(2))
	}
	l.next, l.outage = l.after(l.rand, 30*24/faultsPerMonth), l.after(l.common, 30*24)
	end := Began.AddDate(0, 0, l.year.Days)
	for l.w.Now.Before(end) {
		if err := l.step(); err != nil {
			return err
		}
	}
	return l.rest()
}

// after is a moment that is hours away on average.
func (l *lifetime) after(r *rand.Rand, hours int) time.Time {
	return l.w.Now.Add(time.Duration(r.Int64N(int64(2 * time.Duration(hours) * time.Hour))))
}

// step lets one thing happen: what is next of a fault, a repair and a process.
func (l *lifetime) step() error {
	w := l.w
	switch {
	case !w.Now.Before(l.outage):
		w.begin(outages[l.common.IntN(len(outages))])
		l.outage, l.mends = l.after(l.common, 30*24), w.Now.Add(time.Duration(l.common.IntN(300))*time.Minute)
		l.report.Faults++
		w.tell(0, "an outage", 0, "")
	case !w.Now.Before(l.next):
		l.strike()
		l.next, l.mends = l.after(l.rand, 30*24/faultsPerMonth), w.Now.Add(time.Duration(l.rand.IntN(120))*time.Minute)
	case !l.mends.IsZero() && !w.Now.Before(l.mends):
		l.mend()
	default:
		return l.move()
	}
	return broken(w)
}

// strike lets some event happen to some process.
func (l *lifetime) strike() {
	events := slices.Concat(accidents(), people(), troubles())
	if l.rand.IntN(40) == 0 {
		events = endings()
	}
	for range 20 {
		e, p := events[l.rand.IntN(len(events))], l.ps[l.rand.IntN(len(l.ps))]
		if e.Free || e.Alone != "" && len(l.ps) > 1 || !e.Happens(l.w, p) {
			continue
		}
		l.w.tell(0, e.Name, 0, "")
		l.report.Faults++
		return
	}
}

func (l *lifetime) mend() {
	for _, e := range Events() {
		for _, p := range l.ps {
			if e.Free && e.Happens(l.w, p) {
				l.w.tell(0, e.Name, 0, "")
			}
		}
	}
	l.mends = time.Time{}
}

func (l *lifetime) move() error {
	w := l.w
	awake := slices.DeleteFunc(slices.Clone(l.ps), func(p *Process) bool { return p.idle(w) })
	if len(awake) == 0 {
		next := w.wake(l.ps)
		for _, t := range []time.Time{l.next, l.outage, l.mends} {
			if t.After(w.Now) && (!next.After(w.Now) || t.Before(next)) {
				next = t
			}
		}
		if l.w.Ending() && !w.Exists && next.Sub(w.Now) > time.Hour {
			w.story = nil // whoever is gone has no story that anybody needs
		}
		w.Now = next
		return nil
	}
	step, _ := awake[l.rand.IntN(len(awake))].Move(w)
	l.report.Steps++
	if step.Action == rotation.Publish && step.Cause == "" {
		l.report.Rotations++
	}
	return broken(w)
}

// rest mends everything, and lets one process end what was begun.
func (l *lifetime) rest() error {
	w := l.w
	w.loseAnswer, w.dropCall, w.lateCall, w.sameAnswer = false, false, false, false
	v := *w.variant
	v.Policy.RotateAfter = never
	w.variant = &v
	l.mend()
	last := NewProcess(1 << 20)
	if err := Live(w, last); err != nil {
		return err
	}
	if err := w.Settled(last.last); err != nil {
		return fmt.Errorf("at rest: %w\n%s", err, w.Story())
	}
	return nil
}
