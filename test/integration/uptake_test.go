package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

const (
	// startTime and stopTime are how long a process of the node takes to become ready and
	// to end: together longer than the overlap of these tests.
	startTime = 1500 * time.Millisecond
	stopTime  = 500 * time.Millisecond
)

// node runs the pods of one namespace as a kubelet does: it reads their environment once,
// when they start, says that they are ready a while later, and ends them when they are
// deleted. Each process calls the gateway without end with what it has read.
type node struct {
	x       *tenant
	gateway *http.Client
	cancel  context.CancelFunc
	done    sync.WaitGroup

	mu        sync.Mutex
	processes map[types.UID]*process
	// stuck: what is started from now on never becomes ready.
	stuck   bool
	calls   int
	refused []string
}

type process struct {
	env     pair
	started time.Time
	ending  time.Time
	stuck   bool
	ready   bool
}

func (x *tenant) node() *node {
	x.t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(x.sim.CA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	ctx, cancel := context.WithCancel(x.ctx)
	n := &node{x: x, gateway: &http.Client{Transport: transport, Timeout: 10 * time.Second}, cancel: cancel, processes: map[types.UID]*process{}}
	// Without a kubelet no pod ends, and so no namespace: it goes on after the test.
	closeLater(n)
	n.done.Go(func() {
		again := time.NewTicker(100 * time.Millisecond)
		defer again.Stop()
		for {
			n.turn(ctx)
			select {
			case <-again.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return n
}

// Close ends the node and all that runs on it.
func (n *node) Close() error {
	n.cancel()
	n.done.Wait()
	n.gateway.CloseIdleConnections()
	return nil
}

// turn looks at every pod once. What fails is tried again in the next turn.
func (n *node) turn(ctx context.Context) {
	pods := &corev1.PodList{}
	if err := n.x.world.Client.List(ctx, pods, client.InNamespace(n.x.ns)); err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range pods.Items {
		pod := &pods.Items[i]
		p := n.processes[pod.UID]
		switch now := time.Now(); {
		case p == nil && pod.DeletionTimestamp == nil:
			n.start(ctx, pod)
			continue
		case pod.DeletionTimestamp != nil && (p == nil || !p.ending.IsZero() && now.Sub(p.ending) >= stopTime):
			delete(n.processes, pod.UID)
			_ = n.x.world.Client.Delete(ctx, pod, client.GracePeriodSeconds(0)) // again in the next turn
			continue
		case pod.DeletionTimestamp != nil && p.ending.IsZero():
			p.ending = now
		case !p.ready && !p.stuck && now.Sub(p.started) >= startTime:
			p.ready = n.say(ctx, pod) == nil
		}
		if err := ask(ctx, n.gateway, n.x.sim.GatewayURL(), p.env); ctx.Err() == nil {
			n.calls++
			if err != nil {
				n.refused = append(n.refused, fmt.Sprintf("%s at %s: %v", pod.Name, time.Now(), err))
			}
		}
	}
}

// start reads the environment.
func (n *node) start(ctx context.Context, pod *corev1.Pod) {
	s := &corev1.Secret{}
	if err := n.x.world.Client.Get(ctx, n.x.key(pod.Spec.Containers[0].EnvFrom[0].SecretRef.Name), s); err != nil {
		return
	}
	canaries.Add("client secret", string(s.Data["client_secret"]))
	n.processes[pod.UID] = &process{
		env: pair{id: string(s.Data["client_id"]), secret: string(s.Data["client_secret"])}, started: time.Now(), stuck: n.stuck,
	}
}

func (n *node) say(ctx context.Context, pod *corev1.Pod) error {
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()},
	}
	return n.x.world.Client.Status().Update(ctx, pod)
}

func (n *node) wantNoFailure() {
	n.x.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.calls < 20 || len(n.refused) > 0 {
		n.x.t.Errorf("%d of %d calls failed, the first: %v", len(n.refused), n.calls, n.refused[:min(1, len(n.refused))])
	}
}

// deployment reads the Secret by environment and never has fewer pods ready than wanted.
func (x *tenant) deployment() *appsv1.Deployment {
	labels := map[string]string{"app": "billing"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "billing"},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](2), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
				MaxUnavailable: ptr.To(intstr.FromInt32(0)), MaxSurge: ptr.To(intstr.FromInt32(1)),
			}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					NodeName: "node-1", // no scheduler runs here
					Containers: []corev1.Container{{
						Name: "billing", Image: "billing",
						EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "billing-api"}}}},
					}},
				},
			},
		},
	}
}

// rollOut restarts the Deployment, as `kubectl rollout restart` does.
func (x *tenant) rollOut(number int64) {
	x.t.Helper()
	update(x, "billing", &appsv1.Deployment{}, func(d *appsv1.Deployment) {
		d.Spec.Template.Annotations = map[string]string{"restarted-for": fmt.Sprint(number)}
	})
}

func (x *tenant) awaitRollout(number int64) {
	x.t.Helper()
	x.eventually(soon, func() string {
		d := &appsv1.Deployment{}
		if err := x.world.Client.Get(x.ctx, x.key("billing"), d); err != nil {
			return err.Error()
		}
		if s := d.Status; s.ObservedGeneration < d.Generation || s.UpdatedReplicas != 2 || s.Replicas != 2 || s.AvailableReplicas != 2 {
			return fmt.Sprintf("the rollout for version %d: %+v", number, s)
		}
		return ""
	})
}

// watchedBy is a policy with an overlap that is shorter than a rollout takes.
func (x *tenant) watchedBy(deadline time.Duration) *v1alpha1.RotationPolicy {
	return x.policy("Unlimited", "1s", func(p *v1alpha1.RotationPolicy) {
		p.Spec.Uptake = &v1alpha1.UptakePolicy{
			Mode: v1alpha1.UptakeConsumers, Margin: &metav1.Duration{}, Deadline: &metav1.Duration{Duration: deadline},
		}
	})
}

// settled waits until new pods count: the times of publication and creation have a grain of
// a second. Until then nothing may fail either.
func (x *tenant) settled() {
	x.t.Helper()
	x.throughout(1100*time.Millisecond, func() string { return "" })
}

// The main promise for a workload that reads its environment once: retirement waits for its
// rollout, though the overlap has long passed.
func TestADeploymentSurvivesTenRotations(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.watchedBy(time.Hour))
	n := x.node()
	x.create(x.deployment())
	x.awaitRollout(1)
	for number := int64(2); number <= 11; number++ {
		x.request(time.Now())
		x.awaitVersion(soon, number)
		x.settled()
		if live := len(x.sim.Ledger().Live()); live != 2 {
			t.Fatalf("%d credentials live after the overlap and before the rollout for version %d", live, number)
		}
		x.rollOut(number)
		x.awaitRollout(number)
		x.awaitIdle(1)
	}
	n.wantNoFailure()
	x.eventually(soon, func() string {
		want := &v1alpha1.ConsumersStatus{Version: 11, Current: 2}
		if diff := cmp.Diff(want, x.get("billing").Status.Consumers); diff != "" {
			return "status.consumers (-want +got):\n" + diff
		}
		return ""
	})
	if got := len(x.sim.Ledger().Issued()); got != 11 {
		t.Errorf("%d credentials were issued for eleven versions", got)
	}
}

// A rollout that never ends keeps the old version alive, and a deletion waits for the pods,
// too.
func TestAStuckRolloutKeepsTheOldVersionAlive(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.watchedBy(3 * time.Second))
	n := x.node()
	d := x.create(x.deployment())
	x.awaitRollout(1)
	n.mu.Lock()
	n.stuck = true
	n.mu.Unlock()
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.settled()
	x.rollOut(2)
	x.await(soon, v1alpha1.ConditionUptakeStalled, state{"True", v1alpha1.ReasonUptakeDeadlinePassed}, "version 2", "billing-", "stays valid")
	x.await(soon, v1alpha1.ConditionRotating, state{"True", v1alpha1.ReasonUptakeDeadlinePassed})
	x.await(soon, v1alpha1.ConditionReady, published)
	update(x, "billing", &appsv1.Deployment{}, func(d *appsv1.Deployment) { d.Spec.Paused = true })
	// What is told of pods is told anew after a minute.
	x.await(2*soon, v1alpha1.ConditionUptakeStalled, state{"True", v1alpha1.ReasonUptakeDeadlinePassed}, "Deployment/billing (it is paused: resume it)")
	x.throughout(3*time.Second, func() string {
		if live := len(x.sim.Ledger().Live()); live != 2 {
			return fmt.Sprintf("%d credentials live while a rollout is stuck", live)
		}
		return ""
	})

	c := x.get("billing")
	x.delete(c)
	x.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonInUse}, "billing-", "spec.protection")
	x.throughout(2*time.Second, func() string {
		if live := len(x.sim.Ledger().Live()); live != 2 {
			return fmt.Sprintf("%d credentials live while pods use a deleted one", live)
		}
		return ""
	})
	n.wantNoFailure()
	x.delete(d, client.PropagationPolicy(metav1.DeletePropagationBackground))
	x.awaitGone(soon, c)
	n.wantNoFailure()
	if live := len(x.sim.Ledger().Live()); live != 0 {
		t.Errorf("%d credentials live after the deletion", live)
	}
}

// Who cannot wait for pods says so, also when the deletion waits already.
func TestADeletionWithoutProtectionDoesNotWait(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(nil)
	x.node()
	x.create(x.deployment())
	x.awaitRollout(1)
	c := x.get("billing")
	x.delete(c)
	x.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonInUse})
	x.change(func(c *v1alpha1.APIClientCredential) { c.Spec.Protection = v1alpha1.ProtectionNone })
	x.awaitGone(soon, c)
}
