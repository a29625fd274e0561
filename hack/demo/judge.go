package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// entry is one version as the operator's journal has it.
type entry struct {
	credential types.NamespacedName
	number     int64
	mark       string
	// cause is why it was made, in the operator's words.
	cause string
	// revoked: the journal says that nothing of it is left upstream.
	revoked bool
	// terminating: it is on its way there.
	terminating bool
}

func (e entry) String() string { return fmt.Sprintf("%s version %d", e.credential, e.number) }

// difference is what keeps ledger and journal from being the same. All of it is in
// words for people.
type difference struct {
	// orphans live upstream, and the journal does not know them.
	orphans []string
	// lost are in the journal as alive, and upstream they are not.
	lost []string
	// dead are targets that hold something that does not live upstream.
	dead []string
	// twice are credentials of which more was issued than the journal ever counted.
	twice []string
}

func (d difference) none() bool {
	return len(d.orphans)+len(d.lost)+len(d.dead)+len(d.twice) == 0
}

func (d difference) list() []string {
	return slices.Concat(d.orphans, d.lost, d.dead, d.twice)
}

// compare holds the upstreams' ledgers against the journal and against what the target
// Secrets hold, by credential. It knows the credentials by what the operator cannot
// forge: the place that the upstream issued for. Of a credential whose versions nobody can
// find upstream, as many orphans are none as the operator has admitted to people: that is
// all that anybody can do about them.
func compare(ledger []version, journal []entry, targets map[types.NamespacedName]string, places map[string]types.NamespacedName, admitted map[types.NamespacedName]int64) difference {
	var d difference
	excused := map[types.NamespacedName]int64{}
	live, works, known := map[string]bool{}, map[string]bool{}, map[string]bool{}
	issued, counted := map[types.NamespacedName]int64{}, map[types.NamespacedName]int64{}
	for _, e := range journal {
		known[e.mark] = known[e.mark] || !e.revoked
		counted[e.credential] = max(counted[e.credential], e.number)
	}
	for _, v := range ledger {
		if credential, ours := places[v.place]; ours {
			issued[credential]++
		}
		if !v.live {
			continue
		}
		live[v.mark], works[v.held] = true, true
		if credential := places[v.place]; !known[v.mark] && excused[credential] < admitted[credential] {
			excused[credential]++
			continue
		}
		if !known[v.mark] {
			d.orphans = append(d.orphans, fmt.Sprintf("orphan: %s (mark %s) of %s lives upstream and is in no journal", v.held, v.mark, v.place))
		}
	}
	for _, e := range journal {
		if !e.revoked && !live[e.mark] {
			d.lost = append(d.lost, fmt.Sprintf("lost: %s should live upstream and does not (mark %s)", e, e.mark))
		}
	}
	for _, credential := range sorted(places) {
		if !works[targets[credential]] {
			d.dead = append(d.dead, fmt.Sprintf("dead: the Secret of %s holds %q, which does not live upstream", credential, targets[credential]))
		}
		if issued[credential] > counted[credential] {
			d.twice = append(d.twice, fmt.Sprintf("twice: %d were issued for %s, and it counts %d versions", issued[credential], credential, counted[credential]))
		}
	}
	return d
}

func sorted(places map[string]types.NamespacedName) []types.NamespacedName {
	return slices.SortedFunc(maps.Values(places), func(a, b types.NamespacedName) int {
		return strings.Compare(a.String(), b.String())
	})
}

// atRest reports whether nothing is on its way: of each credential one version is not
// revoked, and none is terminating before it is. If not, it says what is.
func atRest(journal []entry, credentials []types.NamespacedName) (bool, string) {
	alive := map[types.NamespacedName]int{}
	for _, e := range journal {
		if e.terminating && !e.revoked {
			return false, e.String() + " is being revoked"
		}
		if !e.revoked {
			alive[e.credential]++
		}
	}
	for _, credential := range credentials {
		if alive[credential] != 1 {
			return false, fmt.Sprintf("%d versions of %s are not revoked", alive[credential], credential)
		}
	}
	return true, ""
}

// summary is what the demo comes to.
type summary struct {
	credentials int
	// rotations of all credentials together; least is that of the one with fewest, and
	// wanted how many each had to have.
	rotations, least, wanted int
	calls, failed            int
	restarts                 int
	kills                    map[moment]int
	difference               difference
	failures                 []string
	// early are versions that were revoked before their overlap had passed.
	early []string
}

// String is the last line.
func (s *summary) String() string {
	kills := 0
	for _, n := range s.kills {
		kills += n
	}
	return fmt.Sprintf("demo: credentials=%d rotations=%d calls=%d kills=%d failed=%d orphans=%d",
		s.credentials, s.rotations, s.calls, kills, s.failed, len(s.difference.orphans))
}

// objections are the reasons for which the demo fails; none if everything held.
func (s *summary) objections() []string {
	var out []string
	if s.least < s.wanted {
		out = append(out, fmt.Sprintf("a credential was rotated %d times; at least %d were asked for", s.least, s.wanted))
	}
	if s.calls == 0 {
		out = append(out, "no workload made a call, so nothing is known")
	}
	if s.failed > 0 {
		out = append(out, fmt.Sprintf("%d of %d calls failed", s.failed, s.calls))
		out = append(out, s.failures...)
	}
	for _, m := range moments {
		if s.kills[m] < leastKills {
			out = append(out, fmt.Sprintf("the operator was killed %d times when %s; at least %d times are wanted", s.kills[m], m.words(), leastKills))
		}
	}
	return slices.Concat(out, s.difference.list(), s.early)
}

// tooEarly says that a version was revoked before its overlap had passed; empty if it
// was not. The demo sees publications a moment late, which must not count.
func tooEarly(e entry, publishedNext, revoked time.Time) string {
	const seenLate = 250 * time.Millisecond
	lived := revoked.Sub(publishedNext)
	if lived >= overlap-seenLate {
		return ""
	}
	return fmt.Sprintf("early: %s was revoked %.1f s after its successor was published; the overlap is %s", e, lived.Seconds(), overlap)
}
