package consumers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/internal/uptake"
)

// +kubebuilder:rbac:groups=apps,resources=deployments;statefulsets;daemonsets;replicasets;controllerrevisions,verbs=list
// +kubebuilder:rbac:groups=batch,resources=cronjobs;jobs,verbs=list
// +kubebuilder:rbac:groups="",resources=replicationcontrollers,verbs=list

// Templates returns what may make pods that use any Secret, as lists showed it that began at or
// after notBefore, and when the first of them began. Who asks at the same time gets the same. The
// slice is shared and must not be written to.
//
// Only Secrets of single versions need them: a template that names another Secret says nothing
// about versions.
func (f *Finder) Templates(ctx context.Context, name string, notBefore time.Time) ([]uptake.Template, time.Time, error) {
	templates, began, err := f.namespace(name).templates.since(notBefore, f.clock, func() ([]uptake.Template, error) { return f.listTemplates(ctx, name) })
	if err != nil {
		return nil, began, fmt.Errorf("list the templates of namespace %s: %w", name, err)
	}
	return templates, began, nil
}

func (f *Finder) listTemplates(ctx context.Context, namespace string) ([]uptake.Template, error) {
	var found []uptake.Template
	add := func(kind, name string, spec *corev1.PodSpec) {
		if secrets := secretsNamed(spec); len(secrets) > 0 {
			found = append(found, uptake.Template{Name: kind + "/" + name, Secrets: secrets})
		}
	}
	revisions := map[string]string{} // names of StatefulSets by the revision that their pods are still made of
	for _, list := range []client.ObjectList{
		&appsv1.DeploymentList{}, &appsv1.StatefulSetList{}, &appsv1.DaemonSetList{}, &appsv1.ReplicaSetList{},
		&corev1.ReplicationControllerList{}, &batchv1.CronJobList{}, &batchv1.JobList{},
	} {
		if err := pages(ctx, f, namespace, list, func(page client.ObjectList) { templatesOf(page, add, revisions) }); err != nil {
			return nil, err
		}
	}
	if len(revisions) == 0 {
		return found, nil
	}
	err := pages(ctx, f, namespace, &appsv1.ControllerRevisionList{}, func(list *appsv1.ControllerRevisionList) {
		for i := range list.Items {
			if name, wanted := revisions[list.Items[i].Name]; wanted {
				add("StatefulSet", name, revisedSpec(&list.Items[i]))
			}
		}
	})
	return found, err
}

// pages reads a list page by page: all pages show one moment, and only one is held at a time.
// Each is read into a list of its own, because what is decoded into one that was used keeps
// whatever the answer leaves out, the token of the last page included.
func pages[L client.ObjectList](ctx context.Context, f *Finder, namespace string, empty L, read func(L)) error {
	for next := ""; ; {
		list, ok := empty.DeepCopyObject().(L)
		if !ok {
			return fmt.Errorf("a copy of %T is no list", empty)
		}
		if err := f.live.List(ctx, list, client.InNamespace(namespace), client.Limit(page), client.Continue(next)); err != nil {
			return err
		}
		read(list)
		if next = list.GetContinue(); next == "" {
			return nil
		}
	}
}

// templatesOf reads one page. What makes no pods any more does not count: a finished Job, and a
// ReplicaSet that is scaled to nothing, of which a Deployment keeps ten. A suspended CronJob and a
// Deployment that is scaled to nothing do: somebody wakes them again.
func templatesOf(list client.ObjectList, add func(kind, name string, spec *corev1.PodSpec), revisions map[string]string) {
	switch l := list.(type) {
	case *appsv1.DeploymentList:
		for i := range l.Items {
			add("Deployment", l.Items[i].Name, &l.Items[i].Spec.Template.Spec)
		}
	case *appsv1.StatefulSetList:
		for i := range l.Items {
			s := &l.Items[i]
			add("StatefulSet", s.Name, &s.Spec.Template.Spec)
			if current := s.Status.CurrentRevision; current != "" && current != s.Status.UpdateRevision {
				revisions[current] = s.Name // a pod that is lost during a rollout comes back as it was
			}
		}
	case *appsv1.DaemonSetList:
		for i := range l.Items {
			add("DaemonSet", l.Items[i].Name, &l.Items[i].Spec.Template.Spec)
		}
	case *appsv1.ReplicaSetList:
		for i := range l.Items {
			if n := l.Items[i].Spec.Replicas; n == nil || *n > 0 {
				add("ReplicaSet", l.Items[i].Name, &l.Items[i].Spec.Template.Spec)
			}
		}
	case *corev1.ReplicationControllerList:
		for i := range l.Items {
			if n := l.Items[i].Spec.Replicas; l.Items[i].Spec.Template != nil && (n == nil || *n > 0) {
				add("ReplicationController", l.Items[i].Name, &l.Items[i].Spec.Template.Spec)
			}
		}
	case *batchv1.CronJobList:
		for i := range l.Items {
			add("CronJob", l.Items[i].Name, &l.Items[i].Spec.JobTemplate.Spec.Template.Spec)
		}
	case *batchv1.JobList:
		for i := range l.Items {
			if l.Items[i].Status.CompletionTime == nil && !failed(&l.Items[i]) {
				add("Job", l.Items[i].Name, &l.Items[i].Spec.Template.Spec)
			}
		}
	}
}

func failed(j *batchv1.Job) bool {
	return slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobFailed && c.Status == corev1.ConditionTrue
	})
}

// revisedSpec is the pod of a StatefulSet's revision, which is stored as a patch of it.
func revisedSpec(r *appsv1.ControllerRevision) *corev1.PodSpec {
	var patch struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	// What cannot be read names nothing: the StatefulSet's own pods are still looked at.
	_ = json.Unmarshal(r.Data.Raw, &patch)
	return &patch.Spec.Template.Spec
}

// secretsNamed are the Secrets that pods of a template would use, each once.
func secretsNamed(spec *corev1.PodSpec) []string {
	var names []string
	for _, r := range references(spec) {
		names = append(names, r.Secret)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
