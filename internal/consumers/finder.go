package consumers

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/internal/uptake"
)

const (
	// page is how many pods one call asks for.
	page = 500
	// kept is how long a list is kept for others that wait: nobody wants an older one.
	kept = uptake.LastPause
)

// Clock is the API server's time.
type Clock interface{ Now() time.Time }

// Finder lists the pods of namespaces. It is safe for use by many.
type Finder struct {
	live  client.Reader
	clock Clock

	mu         sync.Mutex
	namespaces map[string]*namespace
}

// namespace is what was listed last of one.
type namespace struct {
	pods      listing[uptake.Pod]
	templates listing[uptake.Template]
	// asked is guarded by Finder.mu.
	asked time.Time
}

// listing is one list and when it began. Who asks while it is read waits for it.
type listing[T any] struct {
	mu    sync.Mutex
	began time.Time
	found []T
}

// since returns the last list if it began at or after notBefore, or else a new one. One that
// fails changes nothing.
func (l *listing[T]) since(notBefore time.Time, clock Clock, read func() ([]T, error)) ([]T, time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.began.IsZero() && !l.began.Before(notBefore) {
		return l.found, l.began, nil
	}
	began := clock.Now()
	found, err := read()
	if err != nil {
		return nil, time.Time{}, err
	}
	l.found, l.began = found, began
	return found, began, nil
}

// NewFinder returns one that reads past every cache.
func NewFinder(live client.Reader, clock Clock) *Finder {
	return &Finder{live: live, clock: clock, namespaces: map[string]*namespace{}}
}

// +kubebuilder:rbac:groups="",resources=pods,verbs=list

// List returns the unfinished pods that use any Secret, as a list showed them that began at
// or after notBefore, and when it began. Who asks at the same time gets the same list. The
// slice is shared and must not be written to.
func (f *Finder) List(ctx context.Context, name string, notBefore time.Time) ([]uptake.Pod, time.Time, error) {
	pods, began, err := f.namespace(name).pods.since(notBefore, f.clock, func() ([]uptake.Pod, error) { return f.list(ctx, name) })
	if err != nil {
		return nil, began, fmt.Errorf("list the pods of namespace %s: %w", name, err)
	}
	return pods, began, nil
}

// namespace finds the entry of a namespace and forgets those that nobody has asked for.
func (f *Finder) namespace(name string) *namespace {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock.Now()
	for other, n := range f.namespaces {
		if now.Sub(n.asked) > kept {
			delete(f.namespaces, other)
		}
	}
	n := f.namespaces[name]
	if n == nil {
		n = &namespace{}
		f.namespaces[name] = n
	}
	n.asked = now
	return n
}

// list pages through the pods.
func (f *Finder) list(ctx context.Context, namespace string) ([]uptake.Pod, error) {
	var found []uptake.Pod
	err := pages(ctx, f, namespace, &corev1.PodList{}, func(pods *corev1.PodList) {
		for i := range pods.Items {
			if pod := Read(&pods.Items[i]); !pod.Finished && len(pod.References) > 0 {
				found = append(found, pod)
			}
		}
	})
	return found, err
}
