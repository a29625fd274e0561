package credential

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/consumers"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/uptake"
	"github.com/claviger-dev/claviger/internal/workloads"
)

const (
	// toldEvery is the shortest time between two status writes about pods.
	toldEvery = time.Minute
	// maxBehind is how many pods the status names.
	maxBehind = 5
	// inUseFresh is how old a list may be that says that no pod uses a credential which is
	// being deleted, or a Secret that goes on holding an earlier version: a younger pod may.
	inUseFresh = 2 * time.Second
)

// sighting is what was seen of the pods since a publication, and what was told of it.
type sighting struct {
	publishedAt time.Time
	consumers   rotation.Consumers
	told        rotation.Consumers
	toldAt      time.Time
}

// settled: no pod can use anything earlier any more, since a pod never goes back.
func (s sighting) settled() bool { return s.consumers.Known && len(s.consumers.Behind) == 0 }

// seen returns what was seen since a publication.
func (m *memory) seen(uid types.UID, publishedAt time.Time) rotation.Consumers {
	return m.sighting(uid, publishedAt).consumers
}

func (m *memory) sighting(uid types.UID, publishedAt time.Time) sighting {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.sightings[uid]; s.publishedAt.Equal(publishedAt) {
		return s
	}
	return sighting{publishedAt: publishedAt}
}

func (m *memory) saw(uid types.UID, s sighting) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sightings[uid] = s
}

// lookAtConsumers lists the pods, unless a list that proves enough exists: others of the
// namespace wait, too.
func (r *Reconciler) lookAtConsumers(ctx context.Context, s *scope, _ rotation.Step) error {
	target := s.observeTarget()
	seen := s.memory.sighting(s.uid, target.PublishedAt)
	ending := s.credential.DeletionTimestamp != nil
	published := rotation.Publication(s.credential.Spec.Secret.Name, target, s.policy)
	published.Copies = s.adoptedFrom(target.Published)
	names := s.ownNames()
	if seen.settled() && len(published.Copies)+len(names) == 0 && !ending {
		s.consumers = seen.consumers
		return nil
	}
	now := r.Clock.Now()
	pause := uptake.Pause(now.Sub(published.At), r.Options.UptakePause)
	notBefore := now.Add(-pause)
	if len(published.Copies)+len(names) > 0 {
		notBefore = now.Add(-min(pause, inUseFresh))
	}
	if settled := published.At.Add(published.Margin); !ending && settled.After(notBefore) {
		notBefore = settled // an older list could miss a pod
	}
	if ending {
		pause = uptake.Pause(now.Sub(s.credential.DeletionTimestamp.Time), r.Options.UptakePause)
		notBefore = now.Add(-min(pause, inUseFresh))
	}
	pods, began, err := r.Pods.List(ctx, s.key.Namespace, notBefore)
	if err != nil {
		return unreadable{err}
	}
	count := uptake.Judge(pods, published, now)
	again := now.Add(max(began.Add(pause).Sub(now), time.Second/10))
	if !count.ClearsAt.IsZero() && count.ClearsAt.Before(again) {
		again = count.ClearsAt
	}
	seen.consumers = rotation.Consumers{
		Known: true, Current: count.Current, Behind: count.Behind, Names: count.Names, Again: again, Began: began,
	}
	if len(count.Behind) > 0 && !ending && rotation.UptakeOverdue(target, s.policy, now) {
		if seen.consumers.Stuck, err = r.stuck(ctx, s.key.Namespace, published); err != nil {
			return unreadable{err}
		}
	}
	if len(names) > 0 {
		if err := r.lookAtReferences(ctx, s, &seen.consumers, pods, names, notBefore); err != nil {
			return err
		}
	}
	s.consumers = seen.consumers
	s.memory.saw(s.uid, seen)
	s.memory.sees(s.uid)
	return nil
}

// stuck names what makes pods that use the Secret and never replaces them by itself: whoever
// waits for it waits for ever (hazard M14). It is read only when the deadline has passed.
func (r *Reconciler) stuck(ctx context.Context, namespace string, published uptake.Publication) ([]string, error) {
	secrets := []string{published.Secret}
	for _, c := range published.Copies {
		secrets = append(secrets, c.Secret)
	}
	return workloads.Stuck(ctx, r.Live, namespace, func(pod *corev1.PodSpec) bool { return consumers.Uses(pod, secrets) })
}

// adoptedFrom are the Secrets that versions were adopted from and that are not the target: pods
// that use one hold that version for as long as they live.
func (s *scope) adoptedFrom(published int64) []uptake.Copy {
	var all []uptake.Copy
	for i := range s.versions {
		v := &s.versions[i]
		if v.AdoptedFrom != "" && v.AdoptedFrom != s.credential.Spec.Secret.Name && v.RevokedAt.IsZero() {
			all = append(all, uptake.Copy{Secret: v.AdoptedFrom, Current: v.Number == published})
		}
	}
	return all
}

// tell returns what the status says of the pods: what was told last, for a minute. Pods come
// and go by the hundred, and the status is written at most once a minute for them.
func (s *scope) tell(o rotation.Observed, now time.Time) rotation.Consumers {
	seen := s.memory.sighting(s.uid, o.Target.PublishedAt)
	if !o.Consumers.Known {
		return seen.told
	}
	if !seen.told.Known || len(o.Consumers.Laggards(o.Target.Published)) == 0 || now.Sub(seen.toldAt) >= toldEvery {
		seen.told, seen.toldAt = o.Consumers, now
		s.memory.saw(s.uid, seen)
	}
	return seen.told
}

// describeConsumers projects the counts. Those of an earlier process stand until somebody
// looks again, so that a restart writes nothing.
func (s *scope) describeConsumers(before *v1alpha1.ConsumersStatus, o rotation.Observed, now time.Time) *v1alpha1.ConsumersStatus {
	if !s.policy.Uptake.Consumers && !o.Credential.Versioned || o.Target.Published == 0 {
		return nil
	}
	told := s.tell(o, now)
	if !told.Known {
		if before != nil && before.Version == o.Target.Published {
			return before
		}
		return nil
	}
	behind := told.Laggards(o.Target.Published)
	return &v1alpha1.ConsumersStatus{
		Version: o.Target.Published, Current: int64(told.Current), Earlier: int64(len(behind)), Behind: behind[:min(len(behind), maxBehind)],
	}
}

// describeUptake sets the conditions about pods and what runs them.
func (s *scope) describeUptake(status *v1alpha1.APIClientCredentialStatus, o rotation.Observed, now time.Time) {
	o.Consumers = s.tell(o, now)
	var unseen *rotation.Problem
	if c := status.Consumers; s.policy.Uptake.Consumers && c != nil && c.Current+c.Earlier == 0 {
		unseen = &rotation.Problem{Reason: v1alpha1.ReasonClockDecides, Message: "no pod uses the Secret; the overlap alone decides when an earlier version is revoked"}
	}
	for kind, p := range map[string]*rotation.Problem{
		v1alpha1.ConditionUptakeStalled:   rotation.UptakeStalled(o, s.policy, now),
		v1alpha1.ConditionLoginStalled:    rotation.LoginStalled(o, s.policy, now),
		v1alpha1.ConditionDeliveryStalled: rotation.DeliveryStalled(o, s.policy, now),
		v1alpha1.ConditionRolloutStalled:  rotation.RolloutStalled(o, s.policy, now),
		v1alpha1.ConditionNoConsumersSeen: unseen,
	} {
		if p == nil {
			meta.RemoveStatusCondition(&status.Conditions, kind)
			continue
		}
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: kind, Status: metav1.ConditionTrue, Reason: p.Reason, Message: clip(p.Message),
			ObservedGeneration: s.credential.Generation, LastTransitionTime: metav1.NewTime(now),
		})
	}
}
