// Package workloads finds what runs pods and restarts it. The one idea: everything is read
// live, and only while somebody waits for a rollout. There is no cache of workloads: memory
// must not grow with those of a cluster that have nothing to do with us.
package workloads

import (
	"fmt"
	"math"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/internal/rollout"
)

// The kinds.
const (
	Deployment  = "Deployment"
	StatefulSet = "StatefulSet"
	DaemonSet   = "DaemonSet"
)

// Found is a workload as it was read.
type Found struct {
	rollout.Workload
	// Labels are its own.
	Labels map[string]string
	// Mark is what its pod template bears.
	Mark rollout.Mark

	object   client.Object
	template *corev1.PodTemplateSpec
}

// read tells what the rules need to know of an object.
func read(object client.Object) Found {
	f := Found{object: object, Labels: object.GetLabels()}
	f.Name, f.CreatedAt = object.GetName(), object.GetCreationTimestamp().Time
	var template *corev1.PodTemplateSpec
	switch o := object.(type) {
	case *appsv1.Deployment:
		f.Kind, template = Deployment, &o.Spec.Template
		f.readDeployment(o)
	case *appsv1.StatefulSet:
		f.Kind, template = StatefulSet, &o.Spec.Template
		f.readStatefulSet(o)
	case *appsv1.DaemonSet:
		f.Kind, template = DaemonSet, &o.Spec.Template
		f.readDaemonSet(o)
	}
	if f.template = template; template != nil {
		f.Mark = rollout.ParseMark(template.Annotations[AnnotationMark])
	}
	return f
}

func (f *Found) readDeployment(d *appsv1.Deployment) {
	s := &d.Status
	f.Seen = s.ObservedGeneration >= d.Generation
	f.Wanted, f.Total, f.Updated, f.Available = wanted(d.Spec.Replicas), int(s.Replicas), int(s.UpdatedReplicas), int(s.AvailableReplicas)
	if s.TerminatingReplicas != nil {
		f.Leaving = int(*s.TerminatingReplicas)
	}
	deadline := d.Spec.ProgressDeadlineSeconds
	f.Watched = deadline == nil || *deadline != math.MaxInt32
	if d.Spec.Paused {
		f.Never = "it is paused: resume it"
	}
	for _, c := range s.Conditions {
		// What it said before it has seen the mark is about something else.
		if f.Seen && c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse {
			f.GaveUp = c.Reason
		}
	}
}

func (f *Found) readStatefulSet(w *appsv1.StatefulSet) {
	s := &w.Status
	f.Seen = s.ObservedGeneration >= w.Generation
	f.Wanted, f.Total, f.Updated, f.Available = wanted(w.Spec.Replicas), int(s.Replicas), int(s.UpdatedReplicas), int(s.AvailableReplicas)
	rolling := w.Spec.UpdateStrategy.RollingUpdate
	switch {
	case w.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType:
		f.Never = "its updateStrategy is OnDelete: delete its pods"
	case rolling != nil && rolling.Partition != nil && *rolling.Partition > 0:
		f.Never = fmt.Sprintf("its updateStrategy has the partition %d: set it to 0, or delete the pods below", *rolling.Partition)
	}
}

func (f *Found) readDaemonSet(d *appsv1.DaemonSet) {
	s := &d.Status
	f.Seen = s.ObservedGeneration >= d.Generation
	f.Wanted, f.Total = int(s.DesiredNumberScheduled), int(s.CurrentNumberScheduled)
	f.Updated, f.Available = int(s.UpdatedNumberScheduled), int(s.NumberAvailable)
	if d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		f.Never = "its updateStrategy is OnDelete: delete its pods"
	}
}

// wanted is one if nothing else is said.
func wanted(replicas *int32) int {
	if replicas == nil {
		return 1
	}
	return int(*replicas)
}
