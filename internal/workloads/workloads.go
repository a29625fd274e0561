package workloads

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rollout"
)

// AnnotationMark stands on a pod template and says for which versions it was restarted.
const AnnotationMark = journal.AnnotationRollout

// page is how many workloads one call asks for.
const page = 200

// Target names a workload, or chooses all of a kind that bear certain labels.
type Target struct {
	Kind, Name string
	// Selector counts if Name is empty.
	Selector labels.Selector
}

// Covers reports whether a workload is one of the target's.
func (t Target) Covers(f *Found) bool {
	if t.Kind != f.Kind {
		return false
	}
	if t.Name != "" {
		return t.Name == f.Name
	}
	return t.Selector != nil && t.Selector.Matches(labels.Set(f.Labels))
}

func empty(kind string) (client.Object, error) {
	switch kind {
	case Deployment:
		return &appsv1.Deployment{}, nil
	case StatefulSet:
		return &appsv1.StatefulSet{}, nil
	case DaemonSet:
		return &appsv1.DaemonSet{}, nil
	}
	return nil, fmt.Errorf("no workload of kind %q can be restarted", kind)
}

// +kubebuilder:rbac:groups=apps,resources=deployments;statefulsets;daemonsets,verbs=get;list;patch

// Find reads the workloads of a namespace that targets name, in their order and each once. A
// named one that does not exist is missing; a selector may choose none.
func Find(ctx context.Context, live client.Reader, namespace string, targets []Target) ([]Found, error) {
	var all []Found
	for _, t := range targets {
		found, err := t.find(ctx, live, namespace)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if !slices.ContainsFunc(all, func(known Found) bool { return known.String() == f.String() }) {
				all = append(all, f)
			}
		}
	}
	return all, nil
}

// Stuck names the workloads of a namespace that never replace their pods by themselves, with why,
// in order, of those whose pods are of interest.
func Stuck(ctx context.Context, live client.Reader, namespace string, of func(*corev1.PodSpec) bool) ([]string, error) {
	var stuck []string
	for _, kind := range []string{DaemonSet, Deployment, StatefulSet} {
		found, err := Target{Kind: kind, Selector: labels.Everything()}.list(ctx, live, namespace)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if f.Never != "" && of(&f.template.Spec) {
				stuck = append(stuck, fmt.Sprintf("%s (%s)", f.String(), f.Never))
			}
		}
	}
	slices.Sort(stuck)
	return stuck, nil
}

func (t Target) find(ctx context.Context, live client.Reader, namespace string) ([]Found, error) {
	if t.Name == "" {
		return t.list(ctx, live, namespace)
	}
	object, err := empty(t.Kind)
	if err != nil {
		return nil, err
	}
	switch err := live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: t.Name}, object); {
	case apierrors.IsNotFound(err):
		return []Found{{Workload: rollout.Workload{Kind: t.Kind, Name: t.Name, Missing: true}}}, nil
	case err != nil:
		return nil, fmt.Errorf("read %s/%s: %w", t.Kind, t.Name, err)
	}
	return []Found{read(object)}, nil
}

// list reads all of a kind that the selector chooses, by name.
func (t Target) list(ctx context.Context, live client.Reader, namespace string) ([]Found, error) {
	var found []Found
	for next := ""; ; {
		items, more, err := t.page(ctx, live, namespace, next)
		if err != nil {
			return nil, fmt.Errorf("list each %s of namespace %s: %w", t.Kind, namespace, err)
		}
		for _, item := range items {
			found = append(found, read(item))
		}
		if next = more; next == "" {
			break
		}
	}
	slices.SortFunc(found, func(a, b Found) int { return cmp.Compare(a.Name, b.Name) })
	return found, nil
}

func (t Target) page(ctx context.Context, live client.Reader, namespace, next string) (items []client.Object, more string, err error) {
	options := []client.ListOption{
		client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: t.Selector}, client.Limit(page), client.Continue(next),
	}
	switch t.Kind {
	case Deployment:
		list := &appsv1.DeploymentList{}
		if err := live.List(ctx, list, options...); err != nil {
			return nil, "", err
		}
		return pointers(list.Items), list.Continue, nil
	case StatefulSet:
		list := &appsv1.StatefulSetList{}
		if err := live.List(ctx, list, options...); err != nil {
			return nil, "", err
		}
		return pointers(list.Items), list.Continue, nil
	case DaemonSet:
		list := &appsv1.DaemonSetList{}
		if err := live.List(ctx, list, options...); err != nil {
			return nil, "", err
		}
		return pointers(list.Items), list.Continue, nil
	}
	_, err = empty(t.Kind)
	return nil, "", err
}

// pointers makes objects of the items of a typed list.
func pointers[T any, P interface {
	*T
	client.Object
}](items []T) []client.Object {
	all := make([]client.Object, len(items))
	for i := range items {
		all[i] = P(&items[i])
	}
	return all
}

// Restart puts a mark on the pod template of a workload that is still as it was read, and
// returns it as it is then. Its controller replaces the pods.
func Restart(ctx context.Context, c client.Client, f Found, mark rollout.Mark) (Found, error) {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": f.object.GetUID(), "resourceVersion": f.object.GetResourceVersion()},
		"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
			"annotations": map[string]string{AnnotationMark: mark.String()},
		}}},
	})
	if err != nil {
		return f, fmt.Errorf("restart %s: %w", &f.Workload, err)
	}
	after, err := empty(f.Kind)
	if err != nil {
		return f, err
	}
	after.SetNamespace(f.object.GetNamespace())
	after.SetName(f.Name)
	if err := c.Patch(ctx, after, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(journal.FieldManager)); err != nil {
		return f, fmt.Errorf("restart %s: %w", &f.Workload, err)
	}
	return read(after), nil
}
