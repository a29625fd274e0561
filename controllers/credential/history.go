package credential

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// maxHistory bounds status.history; the newest are kept.
const maxHistory = 16

// describeHistory goes on with the history of the versions that were published. An entry
// begins and ends together with what the status says anyway, so it costs no write of its own.
func (s *scope) describeHistory(before []v1alpha1.HistoryEntry, o rotation.Observed, now time.Time) []v1alpha1.HistoryEntry {
	history := slices.Clone(before)
	for i := range history {
		entry := &history[i]
		if entry.RevokedAt != nil || entry.Version == o.Target.Published {
			continue
		}
		switch v := s.version(entry.Version); {
		case v != nil && !v.RevokedAt.IsZero():
			entry.RevokedAt = &metav1.Time{Time: v.RevokedAt.Truncate(time.Second)}
		case v == nil && !o.Credential.AbandonAll && o.Credential.Abandon != entry.Version:
			// Its Secret goes when it has ended upstream, and not before.
			entry.RevokedAt = &metav1.Time{Time: now.Truncate(time.Second)}
		}
	}
	v := s.version(o.Target.Published)
	known := slices.ContainsFunc(history, func(e v1alpha1.HistoryEntry) bool { return e.Version == o.Target.Published })
	if v != nil && !known {
		history = append(history, v1alpha1.HistoryEntry{
			Replaced: s.replacement(v),
			Version:  v.Number, Cause: clip(v.Cause), RequestedBy: v.RequestedBy, Approvals: v.Approvals, Verification: s.verification(),
			IssuedAt: metav1.NewTime(v.IntentAt.Truncate(time.Second)), PublishedAt: metav1.NewTime(now.Truncate(time.Second)),
		})
		slices.SortFunc(history, func(a, b v1alpha1.HistoryEntry) int { return int(a.Version - b.Version) })
	}
	return history[max(0, len(history)-maxHistory):]
}

// verification is what is known of a version that is published: nothing is, where the upstream
// can be asked, before it was taken.
func (s *scope) verification() string {
	switch {
	case s.account.Upstream == nil:
		return ""
	case s.capabilities.Verifies:
		return "Accepted"
	}
	return "None"
}

// record writes down what was done to a version, for who collects the operator's log: the log
// outlives the namespace.
func (s *scope) record(ctx context.Context, done string, v *journal.Version) {
	log.FromContext(ctx).Info("record", "done", done, "credentialUID", s.uid, "version", v.Number, "upstreamName", v.UpstreamName, "container", v.Container,
		"cause", v.Cause, "requestedBy", v.RequestedBy, "approvals", v.Approvals, "verification", s.verification())
}
