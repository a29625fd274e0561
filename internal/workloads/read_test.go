package workloads

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/internal/rollout"
)

func deployment(change func(*appsv1.Deployment)) client.Object {
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "billing", Generation: 7},
		Spec:       appsv1.DeploymentSpec{Replicas: ptr.To[int32](3)},
		Status:     appsv1.DeploymentStatus{ObservedGeneration: 7, Replicas: 4, UpdatedReplicas: 2, AvailableReplicas: 3, TerminatingReplicas: ptr.To[int32](1)},
	}
	change(d)
	return d
}

func statefulSet(change func(*appsv1.StatefulSet)) client.Object {
	w := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "ledger", Generation: 2},
		Status:     appsv1.StatefulSetStatus{ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1},
	}
	change(w)
	return w
}

func daemonSet(change func(*appsv1.DaemonSet)) client.Object {
	d := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "agent"},
		Status:     appsv1.DaemonSetStatus{DesiredNumberScheduled: 5, CurrentNumberScheduled: 4, UpdatedNumberScheduled: 3, NumberAvailable: 2},
	}
	change(d)
	return d
}

func TestWhatWorkloadsSay(t *testing.T) {
	progressing := func(status corev1.ConditionStatus, reason string) []appsv1.DeploymentCondition {
		return []appsv1.DeploymentCondition{
			{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionFalse, Reason: "MinimumReplicasUnavailable"},
			{Type: appsv1.DeploymentProgressing, Status: status, Reason: reason},
		}
	}
	billing := func(change func(*rollout.Workload)) rollout.Workload {
		w := rollout.Workload{Kind: "Deployment", Name: "billing", Seen: true, Wanted: 3, Total: 4, Updated: 2, Available: 3, Leaving: 1, Watched: true}
		change(&w)
		return w
	}
	ledger := rollout.Workload{Kind: "StatefulSet", Name: "ledger", Wanted: 1, Total: 1, Updated: 1, Available: 1}
	agent := rollout.Workload{Kind: "DaemonSet", Name: "agent", Seen: true, Wanted: 5, Total: 4, Updated: 3, Available: 2}
	never := func(w rollout.Workload, why string) rollout.Workload { w.Never = why; return w }
	for when, c := range map[string]struct {
		object client.Object
		want   rollout.Workload
	}{
		"a Deployment in the middle of a rollout": {deployment(func(*appsv1.Deployment) {}), billing(func(*rollout.Workload) {})},
		"one that does not say how many pods it wants": {
			deployment(func(d *appsv1.Deployment) { d.Spec.Replicas = nil }), billing(func(w *rollout.Workload) { w.Wanted = 1 }),
		},
		"one whose last change was not seen": {
			deployment(func(d *appsv1.Deployment) { d.Status.ObservedGeneration = 6 }), billing(func(w *rollout.Workload) { w.Seen = false }),
		},
		"one that is late": {
			deployment(func(d *appsv1.Deployment) {
				d.Status.Conditions = progressing(corev1.ConditionFalse, "ProgressDeadlineExceeded")
			}),
			billing(func(w *rollout.Workload) { w.GaveUp = "ProgressDeadlineExceeded" }),
		},
		"one that was late before its last change": {
			deployment(func(d *appsv1.Deployment) {
				d.Status.ObservedGeneration, d.Status.Conditions = 6, progressing(corev1.ConditionFalse, "ProgressDeadlineExceeded")
			}),
			billing(func(w *rollout.Workload) { w.Seen = false }),
		},
		"one that gets on": {
			deployment(func(d *appsv1.Deployment) {
				d.Status.Conditions = progressing(corev1.ConditionTrue, "ReplicaSetUpdated")
			}), billing(func(*rollout.Workload) {}),
		},
		"one without a deadline": {
			deployment(func(d *appsv1.Deployment) { d.Spec.ProgressDeadlineSeconds = ptr.To[int32](math.MaxInt32) }), billing(func(w *rollout.Workload) { w.Watched = false }),
		},
		"one that is paused": {
			deployment(func(d *appsv1.Deployment) { d.Spec.Paused = true }), billing(func(w *rollout.Workload) { w.Never = "it is paused: resume it" }),
		},
		"a StatefulSet": {statefulSet(func(*appsv1.StatefulSet) {}), ledger},
		"one that waits for people": {
			statefulSet(func(w *appsv1.StatefulSet) { w.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType }),
			never(ledger, "its updateStrategy is OnDelete: delete its pods"),
		},
		"one with a partition": {
			statefulSet(func(w *appsv1.StatefulSet) {
				w.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: ptr.To[int32](2)}
			}),
			never(ledger, "its updateStrategy has the partition 2: set it to 0, or delete the pods below"),
		},
		"one with a partition of nothing": {
			statefulSet(func(w *appsv1.StatefulSet) {
				w.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: ptr.To[int32](0)}
			}),
			ledger,
		},
		"a DaemonSet": {daemonSet(func(*appsv1.DaemonSet) {}), agent},
		"one whose pods are deleted by hand": {
			daemonSet(func(d *appsv1.DaemonSet) { d.Spec.UpdateStrategy.Type = appsv1.OnDeleteDaemonSetStrategyType }),
			never(agent, "its updateStrategy is OnDelete: delete its pods"),
		},
	} {
		t.Run(when, func(t *testing.T) {
			if diff := cmp.Diff(c.want, read(c.object).Workload); diff != "" {
				t.Errorf("workload (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheMarkIsReadFromThePodTemplate(t *testing.T) {
	marked := deployment(func(d *appsv1.Deployment) {
		d.Annotations = map[string]string{AnnotationMark: "billing=1.aa"}
		d.Spec.Template.Annotations = map[string]string{AnnotationMark: "billing=2.bb"}
	})
	if got := read(marked).Mark.String(); got != "billing=2.bb" {
		t.Errorf("the mark is %q", got)
	}
}

func TestWhatATargetCovers(t *testing.T) {
	billing := read(deployment(func(d *appsv1.Deployment) { d.Labels = map[string]string{"uses": "billing-api"} }))
	for when, c := range map[string]struct {
		target Target
		want   bool
	}{
		"its name":               {Target{Kind: Deployment, Name: "billing"}, true},
		"another name":           {Target{Kind: Deployment, Name: "web"}, false},
		"another kind":           {Target{Kind: DaemonSet, Name: "billing"}, false},
		"its labels":             {Target{Kind: Deployment, Selector: labels.SelectorFromSet(labels.Set{"uses": "billing-api"})}, true},
		"other labels":           {Target{Kind: Deployment, Selector: labels.SelectorFromSet(labels.Set{"uses": "ledger"})}, false},
		"everything":             {Target{Kind: Deployment, Selector: labels.Everything()}, true},
		"everything of a kind":   {Target{Kind: StatefulSet, Selector: labels.Everything()}, false},
		"neither name nor label": {Target{Kind: Deployment}, false},
	} {
		if got := c.target.Covers(&billing); got != c.want {
			t.Errorf("%s covers it: %t", when, got)
		}
	}
}
