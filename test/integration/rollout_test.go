package integration

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/operatortest"
)

// restarting is a policy under which restarts of workloads alone keep a predecessor alive:
// the overlap is shorter than any of them takes, and nobody looks at pods.
func (x *tenant) restarting(changes ...func(*v1alpha1.RolloutPolicy)) *v1alpha1.RotationPolicy {
	return x.policy("Unlimited", "1s", func(p *v1alpha1.RotationPolicy) {
		p.Spec.Uptake = &v1alpha1.UptakePolicy{Margin: &metav1.Duration{}}
		p.Spec.Rollout = &v1alpha1.RolloutPolicy{}
		for _, change := range changes {
			change(p.Spec.Rollout)
		}
	})
}

// restarts has a credential restart workloads.
func restarts(targets ...v1alpha1.RolloutTarget) func(*v1alpha1.APIClientCredential) {
	return func(c *v1alpha1.APIClientCredential) { c.Spec.Rollout = targets }
}

func named(name string) v1alpha1.RolloutTarget {
	return v1alpha1.RolloutTarget{Kind: "Deployment", Name: name}
}

// called is a Deployment of another name.
func called(d *appsv1.Deployment, name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	d.Name, d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = name, labels, labels
	return d
}

func (x *tenant) getDeployment(name string) *appsv1.Deployment {
	x.t.Helper()
	d := &appsv1.Deployment{}
	if err := x.world.Client.Get(x.ctx, x.key(name), d); err != nil {
		x.t.Fatal(err)
	}
	return d
}

// marked says for which version of which credentials a Deployment was restarted.
func (x *tenant) marked(name string) []string {
	x.t.Helper()
	var all []string
	mark := x.getDeployment(name).Spec.Template.Annotations[journal.AnnotationRollout]
	for part := range strings.SplitSeq(mark, ",") {
		version, _, _ := strings.Cut(part, ".") // what follows is random
		all = append(all, version)
	}
	return all
}

// wantGeneration: a Deployment was changed so often, and every change but the first was a
// restart.
func (x *tenant) wantGeneration(name string, want int64) {
	x.t.Helper()
	if got := x.getDeployment(name).Generation; got != want {
		x.t.Errorf("Deployment %s has generation %d, want %d: it bears %v", name, got, want, x.marked(name))
	}
}

func (x *tenant) awaitRolledOut(version, total int64) {
	x.t.Helper()
	x.eventually(soon, func() string {
		s := x.get("billing").Status.Rollout
		if s == nil || s.Version != version || s.Total != total || s.Done != total {
			return fmt.Sprintf("status.rollout: %+v; %s", s, x.told("billing"))
		}
		return ""
	})
}

// stick has what is started from now on never become ready; mend ends that.
func (n *node) stick() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stuck = true
}

func (n *node) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stuck = false
	for p := range maps.Values(n.processes) {
		p.stuck = false
	}
}

// The promise of spec.rollout: a workload that reads its environment once survives, with an
// overlap that is shorter than its restart takes and nobody who restarts it by hand.
func TestARestartedDeploymentSurvivesFiveRotations(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.restarting(), restarts(named("billing")))
	n := x.node()
	x.create(x.deployment())
	x.awaitRollout(1)
	for number := int64(2); number <= 6; number++ {
		x.request(time.Now())
		x.awaitVersion(soon, number)
		x.awaitRolledOut(number, 1)
		x.awaitIdle(1)
	}
	n.wantNoFailure()
	x.wantGeneration("billing", 6)
	if diff := cmp.Diff([]string{"billing=6"}, x.marked("billing")); diff != "" {
		t.Errorf("the mark (-want +got):\n%s", diff)
	}
	want := &v1alpha1.RolloutStatus{Version: 6, Total: 1, Done: 1, Workloads: []v1alpha1.WorkloadStatus{{Kind: "Deployment", Name: "billing", State: "Done"}}}
	if diff := cmp.Diff(want, x.get("billing").Status.Rollout); diff != "" {
		t.Errorf("status.rollout (-want +got):\n%s", diff)
	}
	for _, reason := range []string{"WorkloadRestarted", "RolledOut"} {
		if !slices.Contains(x.reasons("APIClientCredential", "billing"), reason) {
			t.Errorf("no event %s was written", reason)
		}
	}
}

// A rollout that fails keeps the old version alive and the next workload from being
// restarted; when the cause is gone it goes on.
func TestAFailedRestartHoldsTheNext(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.restarting(), restarts(named("billing"), named("web")))
	n := x.node()
	first := x.deployment()
	first.Spec.ProgressDeadlineSeconds = ptr.To[int32](4)
	x.create(first)
	x.create(called(x.deployment(), "web"))
	x.awaitRollout(1)
	n.stick()
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.await(soon, v1alpha1.ConditionRolloutStalled, state{"True", v1alpha1.ReasonRolloutHeld}, "version 2", "Deployment/billing", "ProgressDeadlineExceeded", "mend it")
	x.await(soon, v1alpha1.ConditionRotating, state{"True", v1alpha1.ReasonRolloutHeld})
	x.await(soon, v1alpha1.ConditionReady, published)
	want := &v1alpha1.RolloutStatus{Version: 2, Total: 2, Workloads: []v1alpha1.WorkloadStatus{
		{Kind: "Deployment", Name: "billing", State: "Failed"}, {Kind: "Deployment", Name: "web", State: "Waiting"},
	}}
	if diff := cmp.Diff(want, x.get("billing").Status.Rollout); diff != "" {
		t.Errorf("status.rollout (-want +got):\n%s", diff)
	}
	x.throughout(3*time.Second, func() string {
		if live, web := len(x.sim.Ledger().Live()), x.getDeployment("web").Generation; live != 2 || web != 1 {
			return fmt.Sprintf("%d credentials live, and Deployment web has generation %d while a rollout is held", live, web)
		}
		return ""
	})
	if !slices.Contains(x.reasons("APIClientCredential", "billing"), "RolloutStalled") {
		t.Error("no event RolloutStalled was written")
	}
	n.mend()
	x.awaitRolledOut(2, 2)
	x.await(soon, v1alpha1.ConditionRolloutStalled, state{})
	x.awaitIdle(1)
	n.wantNoFailure()
	x.wantGeneration("billing", 2)
	x.wantGeneration("web", 2)
}

// A paused Deployment never replaces its pods (hazard M14).
func TestAPausedDeploymentIsNamed(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.restarting(), restarts(named("billing")))
	n := x.node()
	x.create(x.deployment())
	x.awaitRollout(1)
	pause := func(paused bool) {
		update(x, "billing", &appsv1.Deployment{}, func(d *appsv1.Deployment) { d.Spec.Paused = paused })
	}
	pause(true)
	x.request(time.Now())
	x.await(soon, v1alpha1.ConditionRolloutStalled, state{"True", v1alpha1.ReasonRolloutHeld}, "version 2", "Deployment/billing", "paused: resume it")
	pause(false)
	x.awaitRolledOut(2, 1)
	x.awaitIdle(1)
	n.wantNoFailure()
}

// A name that nothing bears holds the rollout, and is said.
func TestAWorkloadThatDoesNotExistIsNamed(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.restarting(), restarts(named("biling")))
	x.request(time.Now())
	x.await(soon, v1alpha1.ConditionRolloutStalled, state{"True", v1alpha1.ReasonRolloutHeld}, "Deployment/biling does not exist")
	x.change(restarts())
	x.awaitIdle(1)
	x.await(soon, v1alpha1.ConditionRolloutStalled, state{})
}

// Two credentials of one workload that are published one after the other restart it once
// (hazard H10).
func TestTwoCredentialsRestartAWorkloadOnce(t *testing.T) {
	t.Parallel()
	newTenant(t, shared).restartsOnce()
}

// It is no matter whether they have a policy or an issuer in common: each counts from what its own
// policy says, and the later one serves both.
func TestTwoCredentialsOfOtherPoliciesAndIssuersRestartAWorkloadOnce(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.clusterIssuer(v1alpha1.NamespaceChoice{Names: []string{x.ns}})
	patient := x.policy("Unlimited", "2s", func(p *v1alpha1.RotationPolicy) {
		p.Name, p.Spec.Selector = "patient", nil
		p.Spec.Uptake = &v1alpha1.UptakePolicy{Margin: &metav1.Duration{Duration: 3 * time.Second}}
		p.Spec.Rollout = &v1alpha1.RolloutPolicy{Coalesce: &metav1.Duration{Duration: 2 * time.Minute}}
	})
	x.create(patient)
	x.restartsOnce(byCluster(x), func(c *v1alpha1.APIClientCredential) {
		c.Spec.PolicyRef = &v1alpha1.PolicyReference{Name: patient.Name}
	})
}

// restartsOnce publishes two credentials of one workload one after the other. others changes
// the second of them.
func (x *tenant) restartsOnce(others ...func(*v1alpha1.APIClientCredential)) {
	t := x.t
	t.Helper()
	orders := billing
	orders.App = "orders"
	x.add(apiconnectsim.Path{Org: orders.Org, Catalog: orders.Catalog, ConsumerOrg: orders.ConsumerOrg, App: orders.App})
	x.ready(x.restarting(func(p *v1alpha1.RolloutPolicy) { p.Coalesce = &metav1.Duration{Duration: time.Minute} }), restarts(named("billing")))
	x.create(x.credential(restarts(v1alpha1.RolloutTarget{Kind: "Deployment", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"uses": "orders-api"}}}),
		func(c *v1alpha1.APIClientCredential) {
			c.Name, c.Spec.Secret.Name, c.Spec.IBMAPIConnect.App, c.Spec.IBMAPIConnect.Probe = "orders", "orders-api", orders.App, nil
			for _, change := range others {
				change(c)
			}
		}))
	x.awaitReady("orders")
	n := x.node()
	d := x.deployment()
	d.Labels = map[string]string{"uses": "orders-api"}
	x.create(d)
	x.awaitRollout(1)

	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.await(soon, v1alpha1.ConditionRotating, state{"True", v1alpha1.ReasonRollingOut}, "once for all its credentials")
	x.wantGeneration("billing", 1)
	update(x, "orders", &v1alpha1.APIClientCredential{}, func(c *v1alpha1.APIClientCredential) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationRotateRequestedAt, time.Now().UTC().Format(time.RFC3339Nano))
	})
	x.awaitRolledOut(2, 1)
	x.awaitIdle(2)
	n.wantNoFailure()
	x.wantGeneration("billing", 2)
	if diff := cmp.Diff([]string{"billing=2", "orders=2"}, x.marked("billing")); diff != "" {
		t.Errorf("the mark (-want +got):\n%s", diff)
	}
}

// A tool that puts back what Git holds takes the mark off before a pod was replaced. The
// operator does not fight it, and keeps the old version until the pods are new.
func TestAMarkThatIsTakenAwayIsNotPutBack(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.restarting(), restarts(named("billing")))
	n := x.node()
	x.create(x.deployment())
	x.awaitRollout(1)
	n.stick()
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.eventually(soon, func() string {
		if newest := x.versions(); newest[len(newest)-1].Annotations[journal.AnnotationRestarted] == "" {
			return "nobody has noted that the Deployment was restarted"
		}
		return ""
	})
	update(x, "billing", &appsv1.Deployment{}, func(d *appsv1.Deployment) { d.Spec.Template.Annotations = nil })
	n.mend()
	x.await(soon, v1alpha1.ConditionRolloutStalled, state{"True", v1alpha1.ReasonRolloutHeld}, "took the annotation off")
	x.throughout(5*time.Second, func() string {
		if live, generation := len(x.sim.Ledger().Live()), x.getDeployment("billing").Generation; live != 2 || generation != 3 {
			return fmt.Sprintf("%d credentials live, and the Deployment has generation %d", live, generation)
		}
		return ""
	})
	x.rollOut(2)
	x.awaitRolledOut(2, 1)
	x.awaitIdle(1)
	n.wantNoFailure()
}

// A rollback restarts the workloads once more: their pods use what was given up.
func TestARollbackRestartsTheWorkloads(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	p := x.restarting()
	p.Spec.Overlap = "1h"
	x.ready(p, restarts(named("billing")))
	x.node()
	x.create(x.deployment())
	x.awaitRollout(1)
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitRolledOut(2, 1)
	x.annotate(v1alpha1.AnnotationRollbackRequestedAt, time.Now().UTC().Add(time.Second).Format(time.RFC3339Nano))
	x.awaitVersion(soon, 1)
	x.awaitRolledOut(1, 1)
	x.wantGeneration("billing", 3)
}

// Whether a workload was restarted is known by itself and the journal, so an operator that
// starts anew restarts nothing, in the middle of a rollout or after it.
func TestARestartOfTheOperatorRestartsNoWorkload(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	world, err := operatortest.Start(ctx, operatortest.Options{Binary: binary, Controllers: []string{"deployment-controller", "replicaset-controller", "statefulset-controller"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Stop(); err != nil {
			t.Error(err)
		}
	})
	run := func() *operatortest.Operator {
		t.Helper()
		o, err := world.Run(ctx, "--uptake-pause=1s")
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	first := run()
	x := newTenant(t, world)
	byLabels := v1alpha1.RolloutTarget{Kind: "StatefulSet", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "ledger"}}}
	x.ready(x.restarting(), restarts(named("billing"), byLabels))
	n := x.node()
	x.create(x.deployment())
	x.create(x.statefulSet("ledger"))
	x.awaitRollout(1)
	n.stick()
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.eventually(soon, func() string {
		if x.getDeployment("billing").Generation != 2 {
			return "the Deployment was not restarted"
		}
		return ""
	})
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	second := run()
	x.throughout(5*time.Second, func() string {
		if generation := x.getDeployment("billing").Generation; generation != 2 {
			return fmt.Sprintf("the Deployment was restarted again: generation %d", generation)
		}
		return ""
	})
	n.mend()
	x.awaitRolledOut(2, 2)
	x.awaitIdle(1)
	if err := second.Kill(); err != nil {
		t.Fatal(err)
	}
	since := x.mark()
	run()
	x.throughout(5*time.Second, func() string {
		if writes := x.writes(since); len(writes) > 0 {
			return fmt.Sprintf("an operator that has nothing to do wrote: %v", writes)
		}
		return ""
	})
	x.wantGeneration("billing", 2)
	ledger := &appsv1.StatefulSet{}
	if err := world.Client.Get(ctx, x.key("ledger"), ledger); err != nil || ledger.Generation != 2 {
		t.Errorf("the StatefulSet has generation %d (%v)", ledger.Generation, err)
	}
	n.wantNoFailure()
}

// statefulSet reads the Secret by environment.
func (x *tenant) statefulSet(name string) client.Object {
	d := called(x.deployment(), name)
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: name, Labels: d.Spec.Template.Labels},
		Spec:       appsv1.StatefulSetSpec{Replicas: ptr.To[int32](2), Selector: d.Spec.Selector, Template: d.Spec.Template},
	}
}
