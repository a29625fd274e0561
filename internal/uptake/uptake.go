// Package uptake judges which pods still use an earlier version of a Secret, and does
// nothing. The one idea: a pod never goes back. Once a list that is younger than
// publication and margin shows no pod that is behind, every pod that comes later has read
// the new version, so that one such list is proof for ever.
//
// What is no pod is not seen: an Ingress, another operator, a client of the API, a copy.
//
// Must not: read a clock, know Kubernetes.
package uptake

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// Refresh is how long a kubelet may take to show a changed Secret in a mounted volume:
	// its period of a minute, and the time that its cache lives.
	Refresh = 2 * time.Minute
	// LastPause is the longest time between two lists of a namespace's pods.
	LastPause = 5 * time.Minute
	// named is how many pods a message names.
	named = 5
)

// Way is how a pod reads a Secret.
type Way string

// The ways.
const (
	// Environment is read when a container starts, from the kubelet's cache.
	Environment Way = "environment"
	// Volume is refreshed by the kubelet while the pod runs.
	Volume Way = "volume"
	// SubPath is a file of a volume that is mounted alone: it is never refreshed.
	SubPath Way = "subPath"
	// ImagePull is read when an image is pulled.
	ImagePull Way = "image pull"
)

// Reference is one use of a Secret by a pod.
type Reference struct {
	// Secret is its name; it lives in the namespace of the pod.
	Secret string
	Way    Way
}

// Pod is what the rule needs to know of one.
type Pod struct {
	Name string
	// CreatedAt is the API server's time. A partitioned node starts a container anew with
	// the old value and reports a young start later, so nothing else counts (hazard H1).
	CreatedAt time.Time
	// Terminating pods run on until their processes end, and on a node that is out of
	// reach for longer: they count.
	Terminating bool
	// Finished: succeeded or failed. Nothing of it runs any more.
	Finished bool
	// Reloads: it declares that it reads mounted files anew when they change.
	Reloads    bool
	References []Reference
}

// Publication is what the pods should have taken up.
type Publication struct {
	// Secret is the name of the target.
	Secret string
	// At is when it was written, by the API server's clock; it errs only late.
	At time.Time
	// Margin is how much younger than the publication a pod must be: the kubelet of a new
	// pod may still give it what its cache held.
	Margin time.Duration
	// Copies are other Secrets that hold a version of the same credential.
	Copies []Copy
}

// Copy is a Secret that holds one version for good: the one that an adopted version came from.
// Nobody writes the next version into it, so the age of a pod that uses it says nothing.
type Copy struct {
	Secret string
	// Current: what it holds is what is published.
	Current bool
}

// settled is when a new pod is certain to read what was published.
func (p Publication) settled() time.Time { return p.At.Add(p.Margin) }

// Count says who uses a Secret.
type Count struct {
	// Current pods use what is published.
	Current int
	// Behind are the names, in order, of those that may use something earlier.
	Behind []string
	// Names are those of all of them, in order.
	Names []string
	// ClearsAt is when the next of them counts as current by itself; zero if none does.
	ClearsAt time.Time
}

// Total is how many pods use the Secret.
func (c Count) Total() int { return c.Current + len(c.Behind) }

// Judge counts the pods that use a Secret.
func Judge(pods []Pod, published Publication, now time.Time) Count {
	var c Count
	for i := range pods {
		pod := &pods[i]
		if pod.Finished || !pod.usesAny(published) {
			continue
		}
		c.Names = append(c.Names, pod.Name)
		moves, ever := pod.movesAt(published)
		if ever && !now.Before(moves) {
			c.Current++
			continue
		}
		c.Behind = append(c.Behind, pod.Name)
		if ever && (c.ClearsAt.IsZero() || moves.Before(c.ClearsAt)) {
			c.ClearsAt = moves
		}
	}
	slices.Sort(c.Behind)
	slices.Sort(c.Names)
	return c
}

func (p *Pod) uses(secret string) bool {
	return slices.ContainsFunc(p.References, func(r Reference) bool { return r.Secret == secret })
}

func (p *Pod) usesAny(published Publication) bool {
	return p.uses(published.Secret) || slices.ContainsFunc(published.Copies, func(c Copy) bool { return p.uses(c.Secret) })
}

// movesAt is from when on a pod uses what was published; never, if only its end helps.
func (p *Pod) movesAt(published Publication) (at time.Time, ever bool) {
	if slices.ContainsFunc(published.Copies, func(c Copy) bool { return !c.Current && p.uses(c.Secret) }) {
		return time.Time{}, false
	}
	if !p.uses(published.Secret) {
		return time.Time{}, true
	}
	if !p.CreatedAt.Before(published.settled()) {
		return published.settled(), true
	}
	// Nobody refreshes the files of a pod that is being ended, or whose node is lost.
	if !p.Reloads || p.Terminating {
		return time.Time{}, false
	}
	for _, r := range p.References {
		if r.Secret == published.Secret && r.Way != Volume {
			return time.Time{}, false
		}
	}
	return published.settled().Add(Refresh), true
}

// Proves reports whether a list of pods that was read at a time says anything lasting: one
// that is older than the time at which new pods are certain to read what was published
// could miss a pod that did not.
func (p Publication) Proves(listed time.Time) bool { return !listed.Before(p.settled()) }

// Pause is the time between two looks at the pods, for somebody who has waited so long: a
// quarter of it, first at least and LastPause at most.
func Pause(waited, first time.Duration) time.Duration {
	return min(max(waited/4, first), max(first, LastPause))
}

// Template makes pods, now or later.
type Template struct {
	// Name is kind/name.
	Name    string
	Secrets []string
}

// References are those who use a Secret that holds one version for good. A name is proof, so
// neither ages nor declarations count.
type References struct {
	// Pods are unfinished ones, in order.
	Pods []string
	// Templates, in order, may make more.
	Templates []string
}

// ByName tells for each of some Secrets who uses it.
func ByName(pods []Pod, templates []Template, secrets []string) map[string]References {
	found := map[string]References{}
	for _, secret := range secrets {
		var r References
		for i := range pods {
			if p := &pods[i]; !p.Finished && p.uses(secret) {
				r.Pods = append(r.Pods, p.Name)
			}
		}
		for _, t := range templates {
			if slices.Contains(t.Secrets, secret) {
				r.Templates = append(r.Templates, t.Name)
			}
		}
		slices.Sort(r.Pods)
		slices.Sort(r.Templates)
		r.Templates = slices.Compact(r.Templates) // a StatefulSet may be found by two revisions
		found[secret] = r
	}
	return found
}

// Names lists pods for people, the first few by name.
func Names(pods []string) string {
	if len(pods) <= named {
		return strings.Join(pods, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(pods[:named], ", "), len(pods)-named)
}
