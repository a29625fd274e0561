package rotationtest

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/internal/rotation"
)

// Search visits every state of a world that a number of events can lead to, in the order
// of the number of steps to it.
type Search struct {
	Variant *Variant
	// Events is how many may happen in one life. Those that end a trouble are not counted.
	Events int
	// Processes act at the same time, without leader election: 1 or 2.
	Processes int
	// Rotated: lives begin with a version in use and a request for the next one.
	Rotated bool
	// Limit is how many states are visited at most; what is beyond is reported as
	// Report.Cut. 0 is without limit.
	Limit int
}

// Report is what a search has seen.
type Report struct {
	States, Rests, Longest int
	// Cut: the limit was reached before everything was seen.
	Cut bool
	// Actions and Reasons count in how many states each was decided.
	Actions map[rotation.Action]int
	Reasons map[string]int
	// Happened counts the events.
	Happened map[string]int
	// Follows counts which action of a process came after which.
	Follows map[[2]rotation.Action]int
}

// state is a node of the search.
type state struct {
	w      *World
	ps     []*Process
	budget int
	id     int32
	steps  int
	last   rotation.Action
}

// edge is what a process does next where nothing happens.
type edge struct {
	to                int32
	wrote, said, calm bool
	words             *rotation.Problem
}

type searcher struct {
	Search
	events []Event
	seen   map[[2]uint64]int32
	seeds  [2]maphash.Seed
	key    Key
	queue  []state
	next   [][]edge // by process and state
	story  []*line  // by state
	report Report
}

// Run searches. Its error is the first broken rule, with the shortest story of it.
func (s Search) Run() (Report, error) {
	r := &searcher{
		Search: s, seen: map[[2]uint64]int32{}, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, next: make([][]edge, s.Processes),
		report: Report{Actions: map[rotation.Action]int{}, Reasons: map[string]int{}, Happened: map[string]int{}, Follows: map[[2]rotation.Action]int{}},
	}
	w := NewWorld(s.Variant)
	r.events = Events()
	for _, d := range w.Dimensions {
		r.events = append(r.events, d.Events()...)
	}
	if s.Rotated {
		if err := Live(w, NewProcess(1)); err != nil {
			return r.report, err
		}
		w.Now = w.Now.Add(hour)
		w.RequestedAt = w.Now
		w.Touch()
		w.tell(0, "a rotation is requested", 0, "")
	}
	ps := make([]*Process, s.Processes)
	for i := range ps {
		ps[i] = NewProcess(3 + i) // one is odd and one is even, and so are their successors
	}
	if _, err := r.visit(state{w: w, ps: ps, budget: s.Events}); err != nil {
		return r.report, err
	}
	for len(r.queue) > 0 {
		node := r.queue[0]
		r.queue[0] = state{}
		r.queue = r.queue[1:]
		if err := r.expand(node); err != nil {
			return r.report, err
		}
	}
	r.report.States = len(r.story)
	return r.report, r.circles()
}

func broken(w *World) error {
	if faults := w.Broken(); len(faults) > 0 {
		return fmt.Errorf("%s\n%s", strings.Join(faults, "\n"), w.Story())
	}
	return nil
}

// visit adds a state if it is new, and returns its number; -1 beyond the limit.
func (r *searcher) visit(n state) (int32, error) {
	if err := broken(n.w); err != nil {
		return 0, err
	}
	k := &r.key
	k.now, k.bytes = n.w.Now, k.bytes[:0]
	k.Numbers(int64(n.budget))
	n.w.addTo(k)
	n.w.addUpstream(k)
	for _, p := range n.ps {
		p.addTo(k, n.w)
	}
	sum := [2]uint64{maphash.Bytes(r.seeds[0], k.bytes), maphash.Bytes(r.seeds[1], k.bytes)}
	if id, ok := r.seen[sum]; ok {
		return id, nil
	}
	if r.Limit > 0 && len(r.story) >= r.Limit {
		r.report.Cut = true
		return -1, nil
	}
	n.id = int32(len(r.story))
	r.seen[sum] = n.id
	r.story = append(r.story, n.w.story)
	for i := range r.next {
		r.next[i] = append(r.next[i], edge{to: -1})
	}
	r.report.Longest = max(r.report.Longest, n.steps)
	r.queue = append(r.queue, n)
	return n.id, nil
}

// branch is a copy of a state, a step later.
func (n *state) branch() state {
	c := state{w: n.w.clone(), ps: make([]*Process, len(n.ps)), budget: n.budget, steps: n.steps + 1, last: n.last}
	for i, p := range n.ps {
		c.ps[i] = p.clone()
	}
	return c
}

func (r *searcher) expand(n state) error {
	awake := false
	for i, p := range n.ps {
		if p.idle(n.w) {
			continue
		}
		awake = true
		if err := r.move(n, i); err != nil {
			return err
		}
	}
	if !awake {
		if err := r.pass(n); err != nil {
			return err
		}
	}
	for _, e := range r.events {
		if n.budget == 0 && !(e.Free && !awake) || e.Alone != "" && len(n.ps) > 1 {
			continue
		}
		for i := range n.ps {
			c := n.branch()
			if !e.Happens(c.w, c.ps[i]) {
				continue
			}
			c.w.tell(0, e.Name, 0, "")
			r.report.Happened[e.Name]++
			if awake || !e.Free {
				c.budget--
			}
			if _, err := r.visit(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// move lets a process make one step.
func (r *searcher) move(n state, i int) error {
	c := n.branch()
	step, wrote := c.ps[i].Move(c.w)
	r.report.Actions[step.Action]++
	for _, p := range []*rotation.Problem{step.Problem, step.Notice} {
		if p != nil {
			r.report.Reasons[p.Reason]++
		}
	}
	if step.Action != rotation.Wait && step.Action != rotation.Look {
		r.report.Follows[[2]rotation.Action{n.last, step.Action}]++
		c.last = step.Action
	}
	if step.Action == rotation.Wait && !step.Until.IsZero() && !step.Until.After(c.w.Now) {
		return fmt.Errorf("a wait until the past: %+v\n%s", step, c.w.Story())
	}
	id, err := r.visit(c)
	r.next[i][n.id] = edge{to: id, wrote: wrote, said: step.Problem != nil || step.Notice != nil, calm: quiet(c), words: step.Problem}
	return err
}

// quiet: nothing is wrong around, so whatever is said must have an end.
func quiet(n state) bool {
	for _, p := range n.ps {
		if p.unready || p.observer {
			return false
		}
	}
	for _, d := range n.w.Dimensions {
		if t, ok := d.(interface{ Troubled() bool }); ok && t.Troubled() {
			return false
		}
		if t, ok := d.(interface{ TroubledIn(*World) bool }); ok && t.TroubledIn(n.w) {
			return false
		}
	}
	strange := slices.ContainsFunc(n.w.Journal, func(r Record) bool { return r.strange })
	return n.w.Trouble == 0 && !strange && !n.w.workload().runs && n.w.variant.impossible(n.w) == ""
}

// pass lets time go by where everybody sleeps, or is the end of a life.
func (r *searcher) pass(n state) error {
	c := n.branch()
	c.w.Now = c.w.wake(c.ps)
	if c.w.Now.Equal(n.w.Now) {
		r.report.Rests++
		return r.rest(n)
	}
	id, err := r.visit(c)
	for i := range r.next {
		r.next[i][n.id] = edge{to: id, calm: quiet(c)}
	}
	return err
}

func (r *searcher) rest(n state) error {
	for i, p := range n.ps {
		err := n.w.Settled(p.last)
		if err != nil && !quiet(n) && (p.observer || n.w.Has(AccountDown) || p.last.Problem != nil || p.last.Notice != nil) {
			// It is said what is waited for. Who does not ask the upstream knows nothing, and
			// the issuer says for all its credentials that it cannot be called.
			err = nil
		}
		if err != nil {
			return fmt.Errorf("at rest: %w\n%s", err, n.w.Story())
		}
		// A process that starts where nothing is to be done writes nothing.
		c := n.branch()
		fresh := NewProcess(c.ps[i].id + 2)
		fresh.unready, fresh.observer = p.unready, p.observer
		for range maxPass {
			step, wrote := fresh.Move(c.w)
			if wrote && !n.w.Ending() {
				return fmt.Errorf("a restart at rest leads to %s %d (%s)\n%s", step.Action, step.Version, step.Cause, c.w.Story())
			}
			if fresh.asleep {
				break
			}
		}
		if err := broken(c.w); err != nil {
			return fmt.Errorf("after a restart at rest: %w", err)
		}
	}
	return nil
}

// circles finds lives without end. Round and round without a write is waiting, if it is
// said what for; anything that is written again and again is a fault.
func (r *searcher) circles() error {
	for i := range r.next {
		colour := make([]int32, len(r.story)) // 0: not seen; the walk that saw it
		for start := range r.story {
			at, walk := int32(start), int32(start+1)
			for at >= 0 && colour[at] == 0 {
				colour[at] = walk
				at = r.next[i][at].to
			}
			if at < 0 || colour[at] != walk {
				continue
			}
			if err := r.circle(i, at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *searcher) circle(i int, start int32) error {
	wrote, said, calm := false, false, true
	var words *rotation.Problem
	for at := start; ; {
		e := r.next[i][at]
		wrote, said, calm = wrote || e.wrote, said || e.said, calm && e.calm
		if e.words != nil {
			words = e.words
		}
		if at = e.to; at == start {
			break
		}
	}
	story := (&World{story: r.story[start]}).Story()
	switch {
	case wrote:
		return fmt.Errorf("this goes on for ever, and something is done each time\n%s", story)
	case !said:
		return fmt.Errorf("this goes on for ever, and nobody says why\n%s", story)
	case calm:
		return fmt.Errorf("nothing is wrong, and it is waited for ever: %+v\n%s", words, story)
	}
	return nil
}

// Add adds what another search has seen.
func (r *Report) Add(other *Report) {
	r.States, r.Rests, r.Longest, r.Cut = r.States+other.States, r.Rests+other.Rests, max(r.Longest, other.Longest), r.Cut || other.Cut
	r.Actions, r.Reasons = sum(r.Actions, other.Actions), sum(r.Reasons, other.Reasons)
	r.Happened, r.Follows = sum(r.Happened, other.Happened), sum(r.Follows, other.Follows)
}

func sum[K comparable](a, b map[K]int) map[K]int {
	all := map[K]int{}
	for _, m := range []map[K]int{a, b} {
		for k, n := range m {
			all[k] += n
		}
	}
	return all
}
