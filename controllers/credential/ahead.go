package credential

import (
	"context"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// ahead puts the credentials of an object before others that wait, if somebody has just asked for
// something. It only ranks: every event that counts is told by another watch as well, and the
// queue keeps the higher rank of the two.
func ahead(credentials handler.MapFunc) handler.EventHandler {
	rank := func(ctx context.Context, o client.Object, u rotation.Urgency, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if q, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok && u > rotation.ByRoutine {
			q.AddWithOpts(priorityqueue.AddOpts{Priority: ptr.To(int(u))}, credentials(ctx, o)...)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			rank(ctx, e.Object, created(e.Object, e.IsInInitialList), q)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			rank(ctx, e.ObjectNew, updated(e.ObjectOld, e.ObjectNew), q)
		},
	}
}

// itself is a credential's own request.
func itself(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: key(o)}}
}

// created ranks an object that is new, or new to this process. After a start what was declared
// compromised comes first: whether that was answered is known only after a look.
func created(o client.Object, known bool) rotation.Urgency {
	_, credential := o.(*v1alpha1.APIClientCredential)
	switch {
	case o.GetAnnotations()[v1alpha1.AnnotationCompromisedAt] != "":
		return rotation.Emergency
	case credential && (!known || o.GetDeletionTimestamp() != nil):
		return rotation.OnRequest
	}
	return rotation.ByRoutine
}

// updated ranks a change.
func updated(before, after client.Object) rotation.Urgency {
	news := func(annotation string) bool {
		text := after.GetAnnotations()[annotation]
		return text != "" && text != before.GetAnnotations()[annotation]
	}
	switch {
	case news(v1alpha1.AnnotationCompromisedAt):
		return rotation.Emergency
	case news(v1alpha1.AnnotationRotateRequestedAt), news(v1alpha1.AnnotationRollbackRequestedAt),
		before.GetDeletionTimestamp() == nil && after.GetDeletionTimestamp() != nil:
		return rotation.OnRequest
	}
	return rotation.ByRoutine
}
