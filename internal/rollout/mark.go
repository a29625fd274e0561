package rollout

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Mark is what a pod template bears: for each credential of the workload the wave that it
// was restarted for last.
type Mark map[string]string

// ParseMark reads a mark. What cannot be read was not written by us and is left out.
func ParseMark(text string) Mark {
	m := Mark{}
	for part := range strings.SplitSeq(text, ",") {
		if credential, wave, ok := strings.Cut(part, "="); ok && credential != "" && wave != "" {
			m[credential] = wave
		}
	}
	return m
}

// String writes a mark. It depends on its content alone, so that nobody restarts a workload
// by writing it again.
func (m Mark) String() string {
	var parts []string
	for _, credential := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, credential+"="+m[credential])
	}
	return strings.Join(parts, ",")
}

// Party is a credential that restarts a workload.
type Party struct {
	// Name of the credential, and the wave of what it has published; empty if it has none.
	Name, Wave  string
	PublishedAt time.Time
	// Begins is when a new pod is certain to read what it has published.
	Begins time.Time
	// Pending: the workload was not restarted for it yet.
	Pending bool
}

// Together is when a workload may be restarted for a credential at the earliest. Others that
// are about to publish are waited for, counted from the first publication that waits; who
// is alone, or sees that all of them have published, does not wait (hazard H10).
func Together(self Party, others []Party, coalesce time.Duration) time.Time {
	at, first, all := self.Begins, self.PublishedAt, true
	for _, p := range others {
		if !p.Pending {
			all = false
			continue
		}
		if p.PublishedAt.Before(first) {
			first = p.PublishedAt
		}
		if p.Begins.After(at) {
			at = p.Begins
		}
	}
	limit := first.Add(coalesce)
	if !all || at.After(limit) {
		at = limit
	}
	if at.Before(self.Begins) || len(others) == 0 {
		return self.Begins
	}
	return at
}

// Restarted is the mark after a restart: every credential whose publication new pods are
// certain to read is served by it. Credentials that are gone are left out.
func (m Mark) Restarted(self Party, others []Party, now time.Time) Mark {
	after := Mark{self.Name: self.Wave}
	for _, p := range others {
		switch before, known := m[p.Name]; {
		case p.Wave != "" && !now.Before(p.Begins):
			after[p.Name] = p.Wave
		case known:
			after[p.Name] = before
		}
	}
	return after
}
