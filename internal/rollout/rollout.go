// Package rollout decides which workload is restarted next so that it takes up a new version
// of a Secret, and does nothing. The one idea: a restart leaves a mark on the pod template
// whose value is that of the version, and a note of it in the journal. So a workload is
// restarted once for a version, whoever forgets what: an operator that restarts, a lost
// status, a tool that takes the mark away.
//
// Must not: read a clock, know Kubernetes.
package rollout

import (
	"fmt"
	"time"
)

// Workload is what the rules need to know of a thing that runs pods.
type Workload struct {
	Kind, Name string
	// Missing: it is named and does not exist.
	Missing bool
	// CreatedAt is the API server's time.
	CreatedAt time.Time
	// Marked: its pod template bears the mark of this wave.
	Marked bool
	// NotedAt is when the journal says that it was restarted for this wave; zero if it does not.
	NotedAt time.Time
	// Seen: its controller has acted upon the last change of it.
	Seen bool
	// Wanted pods, and how many there are in all, are of the newest template, and are available.
	Wanted, Total, Updated, Available int
	// Leaving pods are being ended.
	Leaving int
	// GaveUp is its controller's word that the rollout does not get on; empty if it has none.
	GaveUp string
	// Watched: its controller says by itself when a rollout does not get on.
	Watched bool
	// Never says why it does not replace its pods by itself; empty if it does.
	Never string
	// PodsMoved: no pod that uses the Secret is older than the publication.
	PodsMoved bool
	// DoneSince is when it was first seen to have replaced all pods; zero if it was not.
	DoneSince time.Time
	// Together is when it may be restarted at the earliest, so that several credentials of one
	// workload restart it once.
	Together time.Time
	// Refusal is why the API server has refused the last restart, and Retry when to try again.
	Refusal string
	Retry   time.Time
}

// String names it as people do.
func (w *Workload) String() string { return w.Kind + "/" + w.Name }

// Wave is the move of all workloads of a credential to one publication.
type Wave struct {
	// Begins is when a new pod is certain to read what was published.
	Begins time.Time
	// Pause is the time between the end of one restart and the next one.
	Pause time.Duration
	// Timeout is how long a restart may take where no controller says that it fails.
	Timeout time.Duration
	// AtOnce: what pods hold is dead already, so no workload waits for another one.
	AtOnce bool
}

// State is where a workload is in a wave.
type State string

// The states.
const (
	// Waiting is for its turn.
	Waiting State = "Waiting"
	// Rolling was restarted and replaces its pods.
	Rolling State = "Rolling"
	// Done has replaced all pods.
	Done State = "Done"
	// Failed does not get on.
	Failed State = "Failed"
	// NeverRolls does not replace its pods by itself.
	NeverRolls State = "NeverRolls"
	// Reverted was restarted, and somebody took the mark off before it was done.
	Reverted State = "Reverted"
	// Refused could not be restarted.
	Refused State = "Refused"
	// NotFound does not exist.
	NotFound State = "NotFound"
)

// Fresh tells that it was created when the new version was certain to be read, so it has no older pods.
func (w *Workload) Fresh(wave Wave) bool { return !w.Missing && !w.CreatedAt.Before(wave.Begins) }

// replaced: no pod of an older template is left.
func (w *Workload) replaced() bool {
	return w.Seen && w.Updated >= w.Wanted && w.Total <= w.Updated && w.Available >= w.Wanted && w.Leaving == 0
}

// In tells where a workload is.
func (w *Workload) In(wave Wave, now time.Time) State {
	noted := !w.NotedAt.IsZero()
	switch {
	case w.Missing:
		return NotFound
	case w.Fresh(wave), !w.DoneSince.IsZero():
		return Done
	case !w.Marked && !noted && w.Refusal != "":
		return Refused
	case !w.Marked && !noted:
		return Waiting
	case w.replaced() && (w.Marked || w.PodsMoved):
		return Done
	case !w.Marked:
		// Whether its pods are new nobody can tell from it: what took the mark away may have
		// brought the old pods back. It is not restarted again, or two would fight for ever.
		return Reverted
	case w.Never != "":
		return NeverRolls
	case w.GaveUp != "", !w.Watched && noted && !now.Before(w.NotedAt.Add(wave.Timeout)):
		return Failed
	}
	return Rolling
}

// Held says what keeps a workload from getting on and what to do; empty if nothing does.
func (w *Workload) Held(wave Wave, now time.Time) string {
	switch w.In(wave, now) {
	case Failed:
		why := w.GaveUp
		if why == "" {
			why = "it is not rolled out after " + wave.Timeout.String()
		}
		return fmt.Sprintf("%s does not get on (%s): mend it, and it goes on by itself", w, why)
	case NeverRolls:
		return fmt.Sprintf("%s does not replace its pods by itself (%s)", w, w.Never)
	case Reverted:
		return fmt.Sprintf("%s was restarted and somebody took the annotation off its pod template: have it ignored by what manages the workload, "+
			"and restart the workload by hand or request a rotation", w)
	case Refused:
		return fmt.Sprintf("%s cannot be restarted: %s", w, w.Refusal)
	case NotFound:
		return fmt.Sprintf("%s does not exist: correct or remove the name in spec.rollout", w)
	case Waiting, Rolling, Done:
	}
	return ""
}

// Do is what comes next.
type Do string

// What may come next.
const (
	// Nothing: something is waited for.
	Nothing Do = "Nothing"
	// Note writes down that a workload was restarted.
	Note Do = "Note"
	// Restart puts the mark on a workload.
	Restart Do = "Restart"
	// Finish: all are done.
	Finish Do = "Finish"
)

// Decision is what comes next and why.
type Decision struct {
	Do Do
	// Workload is the index of the one that it is about; -1 if it is about none.
	Workload int
	// Until is when something changes by itself; zero if a look may tell.
	Until time.Time
	// Held: it goes on only when somebody does something.
	Held bool
	// Why says what is waited for.
	Why string
}

// Next decides what comes next. The workloads are restarted in their order, each when the
// one before is done and has been for a while, or all at once. Free says whether the
// namespace's limit leaves room for a restart.
func Next(all []Workload, wave Wave, free bool, now time.Time) Decision {
	for i := range all {
		if w := &all[i]; w.Marked && w.NotedAt.IsZero() && !w.Fresh(wave) {
			return Decision{Do: Note, Workload: i}
		}
	}
	var before time.Time
	var waits *Decision
	missing := -1
	for i := range all {
		w := &all[i]
		d := Decision{Do: Nothing, Workload: i, Held: true, Why: w.Held(wave, now)}
		switch w.In(wave, now) {
		case Done:
			if w.DoneSince.After(before) {
				before = w.DoneSince
			}
			continue
		case NotFound:
			if missing < 0 {
				missing = i
			}
			continue
		case Waiting:
			d = turn(i, w, before.Add(wave.Pause), free, now)
		case Rolling:
			d.Held, d.Why = false, w.String()+" is being restarted"
		case Refused:
			if d.Until = w.Retry; !now.Before(w.Retry) {
				d = Decision{Do: Restart, Workload: i}
			}
		case Failed, NeverRolls, Reverted:
		}
		if d.Do == Restart || !wave.AtOnce {
			return d
		}
		if waits == nil || d.Held && !waits.Held {
			waits = &d
		}
	}
	switch {
	case waits != nil:
		return *waits
	case missing >= 0:
		return Decision{Do: Nothing, Workload: missing, Held: true, Why: all[missing].Held(wave, now)}
	}
	return Decision{Do: Finish, Workload: -1}
}

// turn decides about the workload whose turn it is from a time on.
func turn(i int, w *Workload, from time.Time, free bool, now time.Time) Decision {
	switch {
	case now.Before(from):
		return Decision{Do: Nothing, Workload: i, Until: from, Why: fmt.Sprintf("%s is restarted at %s, after the pause", w, text(from))}
	case now.Before(w.Together):
		return Decision{
			Do: Nothing, Workload: i, Until: w.Together,
			Why: fmt.Sprintf("%s is restarted by %s, once for all its credentials", w, text(w.Together)),
		}
	case !free:
		return Decision{Do: Nothing, Workload: i, Why: w.String() + " waits for restarts of other workloads of the namespace"}
	}
	return Decision{Do: Restart, Workload: i}
}

func text(t time.Time) string { return t.UTC().Format(time.RFC3339) }
