package crash

import (
	"context"
	"fmt"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// What is worse than the death of an operator.
func TestADisasterChangesNoOutcome(t *testing.T) {
	t.Parallel()
	for _, disaster := range []struct {
		name   string
		always bool
		strike func(*stage)
	}{
		{"two operators work at once (hazard C2)", true, twoOperators},
		{"a clone of the cluster wakes up (hazard C6)", true, clone},
		{"version Secrets are restored from an older backup (hazard C6)", true, olderBackup},
		{"the status is lost and old requests are still there (hazard C5)", false, statusLost},
		{"the API server goes away in the middle of rotations", false, apiServerAway},
		{"etcd is slow, and then very slow", false, etcdSlow},
	} {
		if !disaster.always && !everything {
			continue
		}
		t.Run(disaster.name, func(t *testing.T) {
			t.Parallel()
			disaster.strike(newStage(t, newWorld(t)))
		})
	}
}

// twoOperators have no leader election between them. Every claim, every precondition and
// every mark is there for this.
func twoOperators(s *stage) {
	ns := s.namespace("two", "4s", time.Minute)
	for i := range 3 {
		s.steady(ns, fmt.Sprintf("steady-%d", i), 1500*time.Millisecond, 3*time.Second)
	}
	s.mortal(ns, "mortal")
	s.retained(ns, "retained")
	first, second := s.operator(), s.operator()
	s.progress(8)
	s.kill(first)
	third := s.operator()
	s.progress(8)
	s.kill(second)
	s.kill(third)
	// One is left to bring it to rest: two may overwrite each other's last word on the
	// status, which is a projection and proves nothing.
	s.operator()
	s.end()
}

// apiServerAway takes it away at the two moments at which something has just become true
// upstream that is to be written here.
func apiServerAway(s *stage) {
	// Longer than the outage: a workload cannot see a new version meanwhile.
	ns := s.namespace("away", "12s", time.Minute)
	for i := range 3 {
		s.steady(ns, fmt.Sprintf("steady-%d", i), 1500*time.Millisecond, 3*time.Second)
	}
	s.mortal(ns, "mortal")
	s.retained(ns, "retained")
	o := s.operator()
	s.progress(3)
	for _, moment := range []string{simkit.EventIssued, simkit.EventRevoked} {
		s.next(moment)
		if err := s.world.Plane.StopAPIServer(); err != nil {
			s.t.Fatal(err)
		}
		outage := time.NewTimer(3 * time.Second)
		<-outage.C
		if err := s.world.Plane.StartAPIServer(); err != nil {
			s.t.Fatal(err)
		}
		s.progress(5)
	}
	select {
	case <-o.Gone():
		s.t.Fatal("the operator ended with the API server")
	default:
	}
	s.end()
}

// etcdSlow has every read and write of the API server wait, first for most of a second at
// a time and then for longer than some of its clients do.
func etcdSlow(s *stage) {
	// Longer than the stalls: a workload cannot see a new version meanwhile.
	ns := s.namespace("slow", "20s", time.Minute)
	for i := range 3 {
		s.steady(ns, fmt.Sprintf("steady-%d", i), 1500*time.Millisecond, 3*time.Second)
	}
	s.mortal(ns, "mortal")
	s.retained(ns, "retained")
	o := s.operator()
	s.progress(3)
	for _, pace := range []struct {
		stall, breath time.Duration
		scenes        int
	}{{700 * time.Millisecond, 100 * time.Millisecond, 5}, {6 * time.Second, time.Second, 4}} {
		ctx, heal := context.WithCancel(s.ctx)
		slow := make(chan error, 1)
		go func() { slow <- s.world.Plane.SlowEtcd(ctx, pace.stall, pace.breath) }()
		s.progress(pace.scenes)
		heal()
		if err := <-slow; err != nil {
			s.t.Fatal(err)
		}
	}
	select {
	case <-o.Gone():
		s.t.Fatal("the operator ended because etcd was slow")
	default:
	}
	s.end()
}

// statusLost is what a restore does, or an over-eager tool. Every credential was asked
// to rotate once, and the annotation is still there.
func statusLost(s *stage) {
	ns := s.namespace("lost", "4s", time.Minute)
	for i := range 4 {
		s.steady(ns, fmt.Sprintf("steady-%d", i), 1500*time.Millisecond, 3*time.Second)
	}
	o := s.operator()
	s.progress(6)
	s.next(simkit.EventIssued)
	s.kill(o)
	s.wipe(ns)
	o = s.operator()
	s.progress(4)
	s.rest()
	s.acting.Wait()
	s.eventually(toRest, "at rest", s.unrest)

	issued := len(s.sim.Ledger().Issued())
	s.kill(o)
	s.wipe(ns)
	s.operator()
	s.eventually(toRest, "at rest again", s.unrest)
	s.judgeQuiet()
	if got := len(s.sim.Ledger().Issued()) - issued; got != 0 {
		s.t.Errorf("%d credentials were issued for requests that had been answered", got)
	}
	s.end()
}

// wipe empties the status of every credential.
func (s *stage) wipe(ns string) {
	s.t.Helper()
	list := &v1alpha1.APIClientCredentialList{}
	if err := s.world.Client.List(s.ctx, list, client.InNamespace(ns)); err != nil {
		s.t.Fatal(err)
	}
	for i := range list.Items {
		c := &list.Items[i]
		if c.Annotations[v1alpha1.AnnotationRotateRequestedAt] == "" {
			s.t.Errorf("%s was never asked to rotate: the loss of its status proves little", c.Name)
		}
		empty := client.RawPatch(types.MergePatchType, []byte(`{"status": null}`))
		if err := s.world.Client.Status().Patch(s.ctx, c, empty); err != nil {
			s.t.Fatal(err)
		}
	}
}

// olderBackup brings back version Secrets as they once were: one that was revoked since,
// while the operator runs, and then the one in use, while it does not.
func olderBackup(s *stage) {
	ns := s.namespace("backup", "4s", time.Minute)
	a := s.actor(ns, "billing")
	a.issues = 1
	s.call(ns, a.secret)
	o := s.operator()
	s.step("version 1", func() bool { return a.create(v1alpha1.DeletionRevoke, "apic") && a.published() })
	s.eventually(toRest, "at rest", s.unrest)
	first := s.backup(a, 1)
	s.step("version 2", a.rotate)
	s.eventually(toRest, "at rest", s.unrest)
	second := s.backup(a, 2)

	s.restore(first)
	s.eventually(toRest, "the old version goes again", func() string {
		if versions, err := s.versions(s.ctx, ns); err != nil || len(versions) != 1 {
			return fmt.Sprintf("%d version Secrets, %v", len(versions), err)
		}
		return s.unrest()
	})
	s.onlyFirstIsRevoked(a, first)

	s.kill(o)
	s.erase(second)
	s.restore(second)
	s.operator()
	s.eventually(toRest, "at rest with a restored journal", s.unrest)
	s.onlyFirstIsRevoked(a, first)
	s.step("version 3", a.rotate)
	s.end()
}

// onlyFirstIsRevoked: a restore is no reason to end what is in use.
func (s *stage) onlyFirstIsRevoked(a *actor, first *corev1.Secret) {
	s.t.Helper()
	revoked := []string{}
	for _, record := range s.sim.Ledger().Revoked() {
		revoked = append(revoked, record.Attrs["clientId"])
	}
	if diff := gocmp.Diff([]string{first.Annotations[journal.AnnotationMark]}, revoked); diff != "" {
		s.t.Errorf("revoked of %s (-want +got):\n%s", a.name, diff)
	}
}

// backup reads a version Secret as a tool for backups would keep it.
func (s *stage) backup(a *actor, number int) *corev1.Secret {
	s.t.Helper()
	versions, err := s.versions(s.ctx, a.ns)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range versions {
		if v := &versions[i]; numberOf(*v) == number {
			v.UID, v.ResourceVersion, v.ManagedFields, v.CreationTimestamp = "", "", nil, metav1.Time{}
			return v
		}
	}
	s.t.Fatalf("there is no version %d", number)
	return nil
}

func (s *stage) restore(saved *corev1.Secret) {
	s.t.Helper()
	if err := s.world.Client.Create(s.ctx, saved.DeepCopy()); err != nil {
		s.t.Fatal(err)
	}
}

// erase takes a Secret away, finalizers or not.
func (s *stage) erase(saved *corev1.Secret) {
	s.t.Helper()
	secret := &corev1.Secret{}
	key := client.ObjectKeyFromObject(saved)
	if err := s.world.Client.Get(s.ctx, key, secret); err != nil {
		s.t.Fatal(err)
	}
	secret.Finalizers = nil
	if err := s.world.Client.Update(s.ctx, secret); err != nil {
		s.t.Fatal(err)
	}
	if err := s.world.Client.Delete(s.ctx, secret); err != nil {
		s.t.Fatal(err)
	}
	if err := s.world.Client.Get(s.ctx, key, secret); !apierrors.IsNotFound(err) {
		s.t.Fatalf("the Secret is still there: %v", err)
	}
}

// clone is what a disaster recovery test wakes up: the whole journal, another cluster,
// and the real upstream. It writes nothing there, whatever it is asked for and however
// old it thinks that everything is.
func clone(s *stage) {
	ns := s.namespace("clone", "4s", time.Minute)
	rotated, deleted := s.actor(ns, "rotated"), s.actor(ns, "deleted")
	o := s.operator()
	for _, a := range []*actor{rotated, deleted} {
		a.issues = 1
		s.step("version 1", func() bool { return a.create(v1alpha1.DeletionRevoke, "apic") && a.published() })
	}
	s.call(ns, rotated.secret)
	s.step("version 2", rotated.rotate)
	s.kill(o) // while version 1 is in its overlap
	entries, writes := len(s.sim.Ledger().Entries(0)), s.writes()

	o = s.operator("--cluster-id=another", "--sweep-interval=2s", "--orphan-age=1s")
	rotated.add(&rotated.requests, 1)
	s.step("a request", func() bool {
		return rotated.annotate(v1alpha1.AnnotationRotateRequestedAt, time.Now().UTC().Format(time.RFC3339Nano))
	})
	doomed := &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: deleted.name}}
	if err := s.world.Client.Delete(s.ctx, doomed); err != nil {
		s.t.Fatal(err)
	}
	for _, a := range []*actor{rotated, deleted} {
		s.eventually(hit, "the clone says what it is", func() string {
			c := &v1alpha1.APIClientCredential{}
			if err := s.world.Client.Get(s.ctx, a.key(), c); err != nil {
				return err.Error()
			}
			for _, condition := range c.Status.Conditions {
				if condition.Reason == v1alpha1.ReasonClusterMoved && condition.ObservedGeneration == c.Generation {
					return ""
				}
			}
			return conditions(c)
		})
	}
	s.throughout(6*time.Second, func() string {
		if s.writes() != writes || len(s.sim.Ledger().Entries(0)) != entries {
			return fmt.Sprintf("the clone wrote upstream: %v", s.sim.Ledger().Entries(int64(entries)))
		}
		return ""
	})
	s.kill(o)

	s.operator()
	s.step("version 3", rotated.published)
	s.step("the deletion", deleted.removeCredential)
	s.end()
}

// writes counts the calls of operators that change something upstream.
func (s *stage) writes() int {
	return s.operatorCalls("credential.create") + s.operatorCalls("credential.delete*") + s.operatorCalls("credential.update") + s.operatorCalls("credential.reset*")
}
