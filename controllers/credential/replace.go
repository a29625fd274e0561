package credential

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// toReplace is what the upstream is given to end with a new version; nil if that is an object of
// its own.
func (r *Reconciler) toReplace(ctx context.Context, s *scope, number int64) (*upstream.Handle, error) {
	before := s.version(number)
	if before == nil {
		return nil, nil
	}
	if before.Material == nil {
		if err := r.readVersion(ctx, before); err != nil {
			return nil, err
		}
	}
	// Without a handle that can be read the adapter makes an object of its own.
	handle := before.Handle(s.parameters)
	return &handle, nil
}

// observeReplacement tells what a version has replaced in place, or was to, and by what it was.
func (s *scope) observeReplacement(v *journal.Version, observed *rotation.Version) {
	observed.ReplacedAt = v.ReplacedAt
	for i := range s.versions {
		other := &s.versions[i]
		if other.InPlace && other.Replaces == v.Nonce && !other.ReplacedAt.IsZero() {
			observed.EndedAt, observed.EndedBy = other.ReplacedAt, other.Number
		}
		alone := !v.AnsweredAt.IsZero() && v.ReplacedAt.IsZero() // it became an object of its own
		if v.InPlace && v.Replaces == other.Nonce && !alone {
			observed.InPlaceOf = other.Number
		}
	}
}

// replacedSince is since when the Secret has held what a version has ended in place, or may have;
// zero if it has not.
func (s *scope) replacedSince(before int64) time.Time {
	held := s.version(before)
	if held == nil {
		return time.Time{}
	}
	var since time.Time
	for i := range s.versions {
		v := &s.versions[i]
		at := v.ReplacedAt
		if at.IsZero() && v.AnsweredAt.IsZero() {
			at = v.IntentAt // nobody knows when
		}
		if v.InPlace && v.Replaces == held.Nonce && !at.IsZero() && (since.IsZero() || at.Before(since)) {
			since = at
		}
	}
	return since
}

// announceReplacement says for how long the Secret has held what was ended in place.
func (r *Reconciler) announceReplacement(s *scope, v *journal.Version, before int64) {
	since := s.replacedSince(before)
	if since.IsZero() {
		return
	}
	took := max(r.Clock.Now().Sub(since), 0)
	r.Metrics.Replaced(s.member, took)
	ended := "had ended"
	if v.ReplacedAt.IsZero() {
		ended = "may have ended"
	}
	r.event(s, corev1.EventTypeWarning, v1alpha1.ReasonReplaced, "Publish", "the Secret held version %d for %s after it %s; workloads that hold it are refused until they have version %d",
		before, took.Round(time.Millisecond), ended, v.Number)
}

// replacement is the entry of a version's history about what it has replaced; nil if nothing. The
// time of publication is cut down to the second, so what is told errs towards longer.
func (s *scope) replacement(v *journal.Version) *v1alpha1.Replacement {
	if v.ReplacedAt.IsZero() {
		return nil
	}
	took := max(s.target.PublishedAt.Add(2*time.Second-1).Sub(v.ReplacedAt).Truncate(time.Second), 0)
	return &v1alpha1.Replacement{At: metav1.NewTime(v.ReplacedAt.Truncate(time.Second)), SecretAfter: metav1.Duration{Duration: took}}
}
