package credential

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
)

func TestTheHistoryOfVersions(t *testing.T) {
	at := func(minutes int) metav1.Time { return metav1.NewTime(noon.Add(time.Duration(minutes) * time.Minute)) }
	ended := at(5)
	one := v1alpha1.HistoryEntry{Version: 1, Cause: "first issue", IssuedAt: at(0), PublishedAt: at(1)}
	ended1 := one
	ended1.RevokedAt = &ended
	gone := one
	now := at(9)
	gone.RevokedAt = &now
	two := journal.Version{Number: 2, Cause: "requested", RequestedBy: "bob", Approvals: []string{"billing.renew.1"}, IntentAt: noon.Add(2 * time.Minute)}
	entry2 := v1alpha1.HistoryEntry{Version: 2, Cause: "requested", RequestedBy: "bob", Approvals: []string{"billing.renew.1"}, IssuedAt: at(2), PublishedAt: at(9)}
	many := func(from, to int64) (all []v1alpha1.HistoryEntry) {
		for n := from; n <= to; n++ {
			all = append(all, v1alpha1.HistoryEntry{Version: n, RevokedAt: &ended})
		}
		return all
	}
	for name, test := range map[string]struct {
		before    []v1alpha1.HistoryEntry
		versions  []journal.Version
		published int64
		change    func(*rotation.Credential)
		want      []v1alpha1.HistoryEntry
	}{
		"a version that is published begins": {
			[]v1alpha1.HistoryEntry{one}, []journal.Version{{Number: 1}, two}, 2, nil, []v1alpha1.HistoryEntry{one, entry2},
		},
		"one that is being made does not":   {[]v1alpha1.HistoryEntry{one}, []journal.Version{{Number: 1}, two}, 1, nil, []v1alpha1.HistoryEntry{one}},
		"what is noted as revoked was then": {[]v1alpha1.HistoryEntry{one, entry2}, []journal.Version{{Number: 1, RevokedAt: ended.Time}, two}, 2, nil, []v1alpha1.HistoryEntry{ended1, entry2}},
		"what is gone was revoked":          {[]v1alpha1.HistoryEntry{one, entry2}, []journal.Version{two}, 2, nil, []v1alpha1.HistoryEntry{gone, entry2}},
		"that is said once":                 {[]v1alpha1.HistoryEntry{ended1, entry2}, []journal.Version{two}, 2, nil, []v1alpha1.HistoryEntry{ended1, entry2}},
		"what was let go was not revoked": {
			[]v1alpha1.HistoryEntry{one, entry2}, []journal.Version{two}, 2, func(c *rotation.Credential) { c.Abandon = 1 }, []v1alpha1.HistoryEntry{one, entry2},
		},
		"nor was any if all were": {
			[]v1alpha1.HistoryEntry{one}, nil, 0, func(c *rotation.Credential) { c.AbandonAll = true }, []v1alpha1.HistoryEntry{one},
		},
		"the published one does not end because its journal is missing": {[]v1alpha1.HistoryEntry{one}, nil, 1, nil, []v1alpha1.HistoryEntry{one}},
		"a status that was wiped begins with the published one":         {nil, []journal.Version{{Number: 1}, two}, 2, nil, []v1alpha1.HistoryEntry{entry2}},
		"the newest sixteen are kept":                                   {many(1, 16), []journal.Version{{Number: 17, IntentAt: noon}}, 17, nil, append(many(2, 16), v1alpha1.HistoryEntry{Version: 17, IssuedAt: at(0), PublishedAt: at(9)})},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scope{versions: test.versions}
			o := rotation.Observed{Target: rotation.Target{Published: test.published}}
			if test.change != nil {
				test.change(&o.Credential)
			}
			before := append([]v1alpha1.HistoryEntry(nil), test.before...)
			got := s.describeHistory(before, o, now.Time)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("the history (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.before, before); diff != "" {
				t.Errorf("the earlier status was changed:\n%s", diff)
			}
		})
	}
}
