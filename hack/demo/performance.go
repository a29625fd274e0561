package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// quiet is how long the ledger must not change before it counts as being at rest.
const quiet = 3 * time.Second

// cast is who plays: the credentials with their workloads.
type cast struct {
	teams       []*team
	credentials []*v1alpha1.APIClientCredential
	// places tell whose a version of a ledger is.
	places map[string]types.NamespacedName
	fleet  *fleet
	killer *killer
}

// perform is the demo proper: credentials rotate, workloads call, the operator dies
// again and again; then everything comes to rest, and the judge speaks.
func (s *stage) perform(ctx context.Context) (*summary, error) {
	c, err := s.engage(ctx)
	if err != nil {
		return nil, err
	}
	s.story.tell("judge", "performance: %d credentials, renewed every %s; workloads pick up a new version after %s at most",
		len(c.credentials), rotateAfter, slowest)
	err = s.rotate(ctx, c)
	if err == nil {
		err = s.settle(ctx, c)
	}
	if err == nil {
		err = s.inUse(ctx, c.fleet, s.settings.rotations, c.credentials...)
	}
	if err == nil {
		err = s.leaks(ctx)
	}
	// Counted in any case: who sees the demo fail wants to know how far it came.
	result, gathered := s.judge(context.WithoutCancel(ctx), c)
	if err := errors.Join(err, gathered); err != nil {
		return result, err
	}
	if objections := result.objections(); len(objections) > 0 {
		return result, fmt.Errorf("the judge objects:\n  %s", strings.Join(objections, "\n  "))
	}
	s.story.tell("judge", "every call was served, and the upstream's ledger holds what the journal holds")
	return result, nil
}

// engage makes the credentials and those who live on them.
func (s *stage) engage(ctx context.Context) (*cast, error) {
	c := &cast{fleet: newFleet(s.scene.board, slowest), places: map[string]types.NamespacedName{}}
	c.fleet.tell = func(failure string) { s.story.tell("judge", "a call FAILED: %s", failure) }
	for _, upstream := range s.residents {
		teams, err := upstream.teams(ctx, s.settings)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", upstream.title(), err)
		}
		for _, team := range teams {
			c.teams = append(c.teams, team)
			c.credentials = append(c.credentials, team.credentials...)
			s.scene.enter(upstream, overlap.String(), team.credentials...)
			for _, credential := range team.credentials {
				c.places[upstream.place(credential)] = nameOf(credential)
			}
		}
	}
	c.killer = &killer{
		remote: s.upstream.remote, operator: s.operator, story: s.story, inspect: s.inspect,
		held: s.scene.held, wanted: max(leastKills, s.settings.rotations), credentials: s.settings.credentials,
	}
	// Those whose workloads are Deployments live in pods.
	s.scene.employ(c.fleet, slices.DeleteFunc(slices.Clone(c.credentials), restartsWorkloads)...)
	s.scene.deploy(&kubelet{client: s.admin, scene: s.scene, fleet: c.fleet})
	return c, nil
}

func restartsWorkloads(credential *v1alpha1.APIClientCredential) bool {
	return len(credential.Spec.Rollout) > 0
}

// rotate applies the manifests and kills the operator until every credential was
// rotated often enough.
func (s *stage) rotate(ctx context.Context, c *cast) error {
	killing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := c.killer.run(killing); err != nil {
			stop(err)
		}
	}()
	err := s.applyTeams(ctx, c)
	if err == nil {
		err = await(killing, "each credential was rotated often enough, and the operator killed often enough", func() (bool, string) {
			for _, credential := range c.credentials {
				if n := s.scene.board.rotations(secretOf(credential)); n < s.settings.rotations {
					return false, fmt.Sprintf("%s was rotated %d of %d times", nameOf(credential), n, s.settings.rotations)
				}
			}
			for _, m := range moments {
				if n := c.killer.counts()[m]; n < leastKills {
					return false, fmt.Sprintf("the operator was killed %d of %d times when %s", n, leastKills, m.words())
				}
			}
			return true, ""
		})
	}
	stop(nil)
	<-ended
	// The last strike may have been cut short between the kill and the start.
	return errors.Join(err, c.killer.disarm(context.WithoutCancel(ctx)), s.operator.start())
}

func (s *stage) applyTeams(ctx context.Context, c *cast) error {
	for _, team := range c.teams {
		if err := s.apply(ctx, "team-"+team.namespace, team.objects...); err != nil {
			return err
		}
	}
	return nil
}

// settle stops the rotations and waits until ledger and journal say the same and go on
// saying it.
func (s *stage) settle(ctx context.Context, c *cast) error {
	s.story.tell("judge", "no more rotations: everything has to come to rest")
	for _, team := range c.teams {
		policies := &v1alpha1.RotationPolicyList{}
		if err := s.admin.List(ctx, policies, client.InNamespace(team.namespace)); err != nil {
			return err
		}
		for i := range policies.Items {
			patch := client.MergeFrom(policies.Items[i].DeepCopy())
			policies.Items[i].Spec.RotateAfter = "Unlimited"
			if err := s.admin.Patch(ctx, &policies.Items[i], patch); err != nil {
				return err
			}
		}
	}
	var since time.Time
	events := -1
	return await(ctx, "ledger and journal are the same, at rest", func() (bool, string) {
		now, err := s.gather(ctx, c)
		if err != nil {
			return false, err.Error()
		}
		if resting, still := atRest(now.journal, names(c.credentials)); !resting {
			since = time.Time{}
			return false, still
		}
		if d := now.difference(); !d.none() {
			since = time.Time{}
			return false, strings.Join(d.list(), "; ")
		}
		if since.IsZero() || now.entries != events {
			since, events = time.Now(), now.entries
		}
		return time.Since(since) >= quiet, "it has only just come to rest"
	})
}

// evidence is what ledger, journal and Secrets say at one moment.
type evidence struct {
	ledger  []version
	entries int
	journal []entry
	targets map[types.NamespacedName]string
	places  map[string]types.NamespacedName
	// admitted is how many lost grants the issuers' status names, by credential.
	admitted map[types.NamespacedName]int64
}

func (e *evidence) difference() difference {
	return compare(e.ledger, e.journal, e.targets, e.places, e.admitted)
}

// gather reads all three live, past every cache and past the operator.
func (s *stage) gather(ctx context.Context, c *cast) (*evidence, error) {
	e := &evidence{targets: map[types.NamespacedName]string{}, places: c.places, admitted: map[types.NamespacedName]int64{}}
	for _, upstream := range s.residents {
		versions, entries, err := upstream.versions(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the ledger of %s: %w", upstream.title(), err)
		}
		e.ledger, e.entries = append(e.ledger, versions...), e.entries+entries
	}
	var err error
	if e.journal, err = s.journal(ctx); err != nil {
		return nil, err
	}
	for _, credential := range c.credentials {
		secret := &corev1.Secret{}
		err := s.admin.Get(ctx, secretOf(credential), secret)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("read Secret %s: %w", secretOf(credential), err)
		}
		e.targets[nameOf(credential)] = s.scene.show(secret, credential).held
		if credential.Spec.Venafi == nil || credential.Spec.Venafi.Token == nil {
			continue
		}
		issuer := &v1alpha1.CredentialIssuer{}
		key := types.NamespacedName{Namespace: credential.Namespace, Name: credential.Spec.IssuerRef.Name}
		if err := s.admin.Get(ctx, key, issuer); err != nil {
			return nil, fmt.Errorf("read CredentialIssuer %s: %w", key, err)
		}
		e.admitted[nameOf(credential)] = issuer.Status.Unresolved.Count
	}
	return e, nil
}

// journal reads every version Secret of the cluster.
func (s *stage) journal(ctx context.Context) ([]entry, error) {
	secrets := &corev1.SecretList{}
	if err := s.admin.List(ctx, secrets, client.MatchingLabels{journal.LabelRole: journal.RoleVersion}); err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	var entries []entry
	for i := range secrets.Items {
		e, err := readEntry(&secrets.Items[i])
		if err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// inspect looks at what a killed operator left: the intent must be there before
// anything exists upstream, and the Secret must be deleted before the upstream is told.
func (s *stage) inspect(ctx context.Context, m moment, mark string) (entry, error) {
	entries, err := s.journal(ctx)
	if err != nil {
		return entry{}, err
	}
	for _, e := range entries {
		if e.mark != mark {
			continue
		}
		if m == revokeUnsent && !e.terminating {
			return e, fmt.Errorf("the upstream was asked to revoke %s, and its Secret is not deleted", e)
		}
		return e, nil
	}
	return entry{}, fmt.Errorf("mark %s is in no journal", mark)
}

// judge adds everything up.
func (s *stage) judge(ctx context.Context, c *cast) (*summary, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r := &summary{credentials: len(c.credentials), wanted: s.settings.rotations, kills: c.killer.counts(), early: s.scene.objections()}
	r.calls, r.failed, r.restarts, r.failures = c.fleet.tally.sum()
	for i, credential := range c.credentials {
		n := s.scene.board.rotations(secretOf(credential))
		r.rotations += n
		if i == 0 || n < r.least {
			r.least = n
		}
	}
	e, err := s.gather(ctx, c)
	if err != nil {
		return r, err
	}
	r.difference = e.difference()
	return r, nil
}

func names(credentials []*v1alpha1.APIClientCredential) []types.NamespacedName {
	out := make([]types.NamespacedName, 0, len(credentials))
	for _, c := range credentials {
		out = append(out, nameOf(c))
	}
	return out
}
