package credential

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rollout"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/uptake"
	"github.com/claviger-dev/claviger/internal/workloads"
)

// march is what was seen of a wave of restarts, and what was told of it. Losing it costs a
// pause that begins anew and a status that is written once more.
type march struct {
	wave string
	// seen is what the last look showed.
	seen rotation.Workloads
	// done is since when a workload is seen to have replaced its pods.
	done map[string]time.Time
	// refused holds what the API server said to a restart, and until when that is believed.
	refused map[string]refusal
	told    *v1alpha1.RolloutStatus
	toldAt  time.Time
}

type refusal struct {
	words string
	until time.Time
}

// march returns what is remembered of a wave.
func (m *memory) march(uid types.UID, wave string) march {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.marches[uid]; known.wave == wave {
		return known
	}
	return march{wave: wave, done: map[string]time.Time{}, refused: map[string]refusal{}}
}

func (m *memory) marched(uid types.UID, what march) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.marches[uid] = what
}

// targets are the workloads that a credential names or chooses.
func targets(list []v1alpha1.RolloutTarget) ([]workloads.Target, error) {
	var all []workloads.Target
	for i := range list {
		t := workloads.Target{Kind: list[i].Kind, Name: list[i].Name}
		if list[i].Selector != nil {
			selector, err := metav1.LabelSelectorAsSelector(list[i].Selector)
			if err != nil {
				return nil, fmt.Errorf("[%d].selector: %w", i, err)
			}
			t.Selector = selector
		}
		all = append(all, t)
	}
	return all, nil
}

// lookAtWorkloads reads the workloads of the credential live.
func (r *Reconciler) lookAtWorkloads(ctx context.Context, s *scope, step rotation.Step) error {
	v := s.version(step.Version)
	wanted, err := targets(s.credential.Spec.Rollout)
	if err != nil {
		return err
	}
	now := r.Clock.Now()
	found, err := workloads.Find(ctx, r.Live, s.key.Namespace, wanted)
	if apierrors.IsForbidden(err) {
		// Nobody would read it in the log.
		found, err = []workloads.Found{{Workload: rollout.Workload{
			Kind: wanted[0].Kind, Name: cmp.Or(wanted[0].Name, "*"), Refusal: err.Error(), Retry: now.Add(longRetry),
		}}}, nil
	}
	if err != nil {
		return err
	}
	others, err := r.parties(ctx, s)
	if err != nil {
		return err
	}
	wave := rotation.Wave(s.observeTarget(), s.policy)
	known := s.memory.march(s.uid, v.Wave)
	self := rollout.Party{Name: s.key.Name, Wave: v.Wave, PublishedAt: s.target.PublishedAt, Begins: wave.Begins, Pending: true}
	seen, latest := rotation.Workloads{Known: true}, wave.Begins
	for i := range found {
		w := &found[i].Workload
		w.Marked, w.NotedAt = found[i].Mark[s.key.Name] == v.Wave, v.Restarted[w.String()]
		if w.NotedAt.After(latest) {
			latest = w.NotedAt
		}
		if !w.NotedAt.IsZero() && !w.Marked {
			if w.PodsMoved, err = r.podsMoved(ctx, s, wave); err != nil {
				return err
			}
		}
		w.Together = rollout.Together(self, partiesOf(others, &found[i]), s.policy.Rollout.Coalesce)
		known.apply(w, wave, now)
		r.restarts.report(s.key.Namespace, w.String(), w.Marked && w.In(wave, now) == rollout.Rolling, now)
		seen.All = append(seen.All, *w)
	}
	seen.Free = r.restarts.free(s.key.Namespace, r.Options.Restarts, now)
	seen.Again = now.Add(uptake.Pause(now.Sub(latest), r.Options.UptakePause))
	s.found, s.others, s.workloads, known.seen = found, others, seen, seen
	s.memory.marched(s.uid, known)
	return nil
}

// apply adds what only this process knows.
func (m *march) apply(w *rollout.Workload, wave rollout.Wave, now time.Time) {
	name := w.String()
	if refused, ok := m.refused[name]; ok {
		w.Refusal, w.Retry = refused.words, refused.until
	}
	since, done := m.done[name]
	switch {
	case done:
		w.DoneSince = since
	case w.In(wave, now) == rollout.Done && !w.Fresh(wave):
		m.done[name], w.DoneSince = now, now
	}
}

// podsMoved reports whether no pod uses what came before. Only pods can tell where somebody
// has taken a mark away.
func (r *Reconciler) podsMoved(ctx context.Context, s *scope, wave rollout.Wave) (bool, error) {
	now := r.Clock.Now()
	notBefore := now.Add(-r.Options.UptakePause)
	if notBefore.Before(wave.Begins) {
		notBefore = wave.Begins
	}
	pods, _, err := r.Pods.List(ctx, s.key.Namespace, notBefore)
	if err != nil {
		return false, unreadable{err}
	}
	return len(uptake.Judge(pods, rotation.Publication(s.credential.Spec.Secret.Name, s.observeTarget(), s.policy), now).Behind) == 0, nil
}

// other is another credential of the namespace that restarts workloads.
type other struct {
	rollout.Party
	targets   []workloads.Target
	restarted map[string]time.Time
	over      bool
}

// parties reads from the cache what other credentials have published. What it does not show
// yet costs a restart more, never one too few.
func (r *Reconciler) parties(ctx context.Context, s *scope) ([]other, error) {
	list := &v1alpha1.APIClientCredentialList{}
	if err := r.Client.List(ctx, list, client.InNamespace(s.key.Namespace)); err != nil {
		return nil, err
	}
	var all []other
	for i := range list.Items {
		c := &list.Items[i]
		wanted, err := targets(c.Spec.Rollout)
		if c.Name == s.key.Name || err != nil || len(wanted) == 0 {
			continue
		}
		secrets, err := r.cachedSecrets(ctx, key(c))
		if err != nil {
			return nil, err
		}
		them := &scope{key: key(c), uid: c.UID, credential: c, candidates: s.candidates, memory: r.memory, clusterID: s.clusterID, strange: map[types.UID]*rotation.Problem{}}
		them.sortJournal(secrets)
		them.policy = defaultPolicy(0)
		them.resolvePolicy()
		all = append(all, them.party(wanted))
	}
	return all, nil
}

// party is a credential as others see it.
func (s *scope) party(wanted []workloads.Target) other {
	o := other{Party: rollout.Party{Name: s.key.Name}, targets: wanted, over: true}
	for i := range s.versions {
		v := &s.versions[i]
		if v.Nonce != s.target.Hint.Nonce || v.Wave == "" || s.target.PublishedAt.IsZero() {
			continue
		}
		o.Wave, o.restarted, o.over = v.Wave, v.Restarted, !v.RolledOut.IsZero()
		o.PublishedAt = s.target.PublishedAt
		o.Begins = rotation.Wave(rotation.Target{PublishedAt: o.PublishedAt, Hasty: !v.ReplacedAt.IsZero()}, s.policy).Begins
	}
	return o
}

// partiesOf are those credentials that restart a workload.
func partiesOf(others []other, f *workloads.Found) []rollout.Party {
	var all []rollout.Party
	for i := range others {
		o := &others[i]
		if !slices.ContainsFunc(o.targets, func(t workloads.Target) bool { return t.Covers(f) }) {
			continue
		}
		p := o.Party
		p.Pending = !o.over && f.Mark[p.Name] != p.Wave && o.restarted[f.String()].IsZero()
		all = append(all, p)
	}
	return all
}

// restart marks a workload, for all credentials that are served by it at once.
func (r *Reconciler) restart(ctx context.Context, s *scope, step rotation.Step) error {
	now := r.Clock.Now()
	v := s.version(step.Version)
	i := slices.IndexFunc(s.found, func(f workloads.Found) bool { return f.String() == step.Workload })
	f := s.found[i]
	if !r.restarts.tryTake(s.key.Namespace, step.Workload, r.Options.Restarts, step.Routine, now) {
		return errBusy
	}
	self := rollout.Party{Name: s.key.Name, Wave: v.Wave}
	after, err := workloads.Restart(ctx, r.Client, f, f.Mark.Restarted(self, partiesOf(s.others, &f), now))
	if err != nil {
		r.restarts.report(s.key.Namespace, step.Workload, false, now)
	}
	known := s.memory.march(s.uid, v.Wave)
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
		known.refused[step.Workload] = refusal{words: err.Error(), until: now.Add(longRetry)}
		s.workloads.All[i].Refusal, s.workloads.All[i].Retry = err.Error(), now.Add(longRetry)
		return nil
	}
	if err != nil {
		return err
	}
	delete(known.refused, step.Workload)
	s.found[i] = after
	s.workloads.All[i].Marked, s.workloads.All[i].Seen, s.workloads.All[i].Refusal = true, false, ""
	r.event(s, corev1.EventTypeNormal, "WorkloadRestarted", "Restart", "%s is restarted for version %d", step.Workload, v.Number)
	return nil
}

// noteRollout writes down that a workload was restarted, or that all have replaced their
// pods.
func (r *Reconciler) noteRollout(ctx context.Context, s *scope, step rotation.Step) error {
	v, now := s.version(step.Version), r.Clock.Now()
	if step.Workload == "" {
		if err := r.edit(ctx, s, v, journal.RolledOut(now)); err != nil {
			return err
		}
		since := ""
		if !v.ReplacedAt.IsZero() {
			since = fmt.Sprintf(", %s after what they held before had ended", now.Sub(v.ReplacedAt).Round(time.Second))
		}
		r.event(s, corev1.EventTypeNormal, "RolledOut", "Restart", "all %d workload(s) of spec.rollout use version %d%s", len(s.workloads.All), v.Number, since)
		return nil
	}
	if err := r.edit(ctx, s, v, journal.Restarted(step.Workload, now)); err != nil {
		return err
	}
	for i := range s.workloads.All {
		if w := &s.workloads.All[i]; w.String() == step.Workload {
			w.NotedAt = now
		}
	}
	s.workloads.Again = now.Add(r.Options.UptakePause)
	known := s.memory.march(s.uid, v.Wave)
	known.seen = s.workloads
	s.memory.marched(s.uid, known)
	return nil
}

// describeRollout projects how far the workloads are. What an earlier process told stands
// until somebody looks again, so that a restart writes nothing.
func (s *scope) describeRollout(before *v1alpha1.RolloutStatus, o rotation.Observed, now time.Time) *v1alpha1.RolloutStatus {
	v := s.version(o.Target.Published)
	switch {
	case v == nil || v.Wave == "" || !o.Credential.Rolls:
		return nil
	case !v.RolledOut.IsZero():
		all := make([]v1alpha1.WorkloadStatus, 0, len(v.Restarted))
		for _, name := range slices.Sorted(maps.Keys(v.Restarted)) {
			all = append(all, workloadStatus(name, rollout.Done))
		}
		return rolloutStatus(v.Number, all)
	case !o.Workloads.Known:
		if before != nil && before.Version == v.Number {
			return before
		}
		return nil
	}
	wave := rotation.Wave(o.Target, s.policy)
	var all []v1alpha1.WorkloadStatus
	for i := range o.Workloads.All {
		w := &o.Workloads.All[i]
		all = append(all, workloadStatus(w.String(), w.In(wave, now)))
	}
	status := rolloutStatus(v.Number, all)
	known := s.memory.march(s.uid, v.Wave)
	if known.told != nil && now.Sub(known.toldAt) < toldEvery && !news(known.told, status) {
		return known.told
	}
	known.told, known.toldAt = status, now
	s.memory.marched(s.uid, known)
	return status
}

// news: something is held that was not before, or the other way round.
func news(before, after *v1alpha1.RolloutStatus) bool {
	return !maps.Equal(held(before), held(after))
}

func held(status *v1alpha1.RolloutStatus) map[string]v1alpha1.WorkloadState {
	all := map[string]v1alpha1.WorkloadState{}
	for _, w := range status.Workloads {
		switch rollout.State(w.State) {
		case rollout.Waiting, rollout.Rolling, rollout.Done:
		case rollout.Failed, rollout.NeverRolls, rollout.Reverted, rollout.Refused, rollout.NotFound:
			all[w.Kind+"/"+w.Name] = w.State
		}
	}
	return all
}
