package notification

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	record "github.com/claviger-dev/claviger/controllers/approval"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/notify"
)

// gather reads what is with a credential: from the cache to see whether anything has to be
// told, and live before it is.
func (t *Teller) gather(ctx context.Context, reader client.Reader, key types.NamespacedName, uid types.UID) (notify.Facts, error) {
	credential := &v1alpha1.APIClientCredential{}
	err := reader.Get(ctx, key, credential)
	if err != nil && !apierrors.IsNotFound(err) {
		return notify.Facts{}, fmt.Errorf("read the credential: %w", err)
	}
	f := notify.Facts{Subject: notify.Subject{Namespace: key.Namespace, Credential: key.Name, UID: string(uid)}}
	if err == nil && credential.UID == uid {
		describe(&f, credential)
	}
	if f.Held, err = held(ctx, reader, key.Namespace, uid); err != nil {
		return f, err
	}
	if f.Approvals, err = approvals(ctx, reader, key.Namespace, string(uid)); err != nil {
		return f, err
	}
	// From the cache even before it is told: the list only grows until a person has looked, so an
	// old one says nothing that was not true, and a live list of all issuers would cost each message.
	issuers, err := suspecting(ctx, t.Client, key.Namespace)
	if err != nil {
		return f, err
	}
	f.Orphans = orphans(issuers, journal.UpstreamPrefix(t.ClusterID, string(uid)))
	return f, nil
}

// suspecting are the issuers that versions of a namespace may have been made with. The
// credential does not say which: it may be gone, or have moved to another.
func suspecting(ctx context.Context, reader client.Reader, namespace string) ([]v1alpha1.Issuer, error) {
	var found []v1alpha1.Issuer
	var list v1alpha1.CredentialIssuerList
	if err := reader.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the issuers: %w", err)
	}
	for i := range list.Items {
		found = append(found, &list.Items[i])
	}
	var shared v1alpha1.ClusterCredentialIssuerList
	if err := reader.List(ctx, &shared, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the issuers of the cluster: %w", err)
	}
	for i := range shared.Items {
		found = append(found, &shared.Items[i])
	}
	return found, nil
}

// orphans are the versions of one credential that issuers list as living upstream, perhaps. They
// are known by the beginning of their names, which no other credential shares, not even one that
// gets the same name later.
func orphans(issuers []v1alpha1.Issuer, prefix string) []notify.Orphan {
	var found []notify.Orphan
	for _, issuer := range issuers {
		newest := issuer.IssuerStatus().Unresolved.Newest
		for _, o := range slices.Backward(newest) { // oldest first, as it happened
			if !strings.HasPrefix(o.Name, prefix) {
				continue
			}
			detail := o.Reason + " Upstream it is called " + o.Name
			if o.Container != "" {
				detail += ", in " + o.Container
			}
			found = append(found, notify.Orphan{Name: o.Name, Detail: detail + "."})
		}
	}
	return found
}

// describe puts a credential into the words of notify.
func describe(f *notify.Facts, c *v1alpha1.APIClientCredential) {
	f.Exists, f.LetGo = true, c.Annotations[v1alpha1.AnnotationAbandonUpstream] != ""
	f.Owner = cmp.Or(c.Annotations[v1alpha1.AnnotationOwner], c.Status.Owner)
	f.Upstream, _ = c.Spec.Upstream()
	f.Issuer, f.Secret, f.Policy = c.Spec.IssuerRef.Name, c.Spec.Secret.Name, c.Status.Policy
	if c.Status.Binding != nil {
		f.Secret = c.Status.Binding.Name // each version may have a Secret of its own
	}
	f.Published, f.Expires, f.Rotates = c.Status.Version, c.Status.Expires, c.Status.Rotates
	for _, v := range c.Status.Versions {
		switch v.State {
		case v1alpha1.VersionPublished, v1alpha1.VersionOverlapping, v1alpha1.VersionRetiring:
			// One that was never published is retired like the others, and nobody misses it.
			if v.Number <= f.Published || v.State != v1alpha1.VersionRetiring {
				f.Serving = append(f.Serving, v.Number)
			}
		}
		if v.Number == f.Published {
			f.IssuedAt = v.IssuedAt.Time
		}
	}
	add := func(condition string, event notify.Event) bool {
		is := meta.FindStatusCondition(c.Status.Conditions, condition)
		if is == nil || is.Status != metav1.ConditionTrue || intended(is.Reason) {
			return false
		}
		f.Troubles = append(f.Troubles, notify.Trouble{Event: event, Reason: is.Reason, Detail: is.Message, Since: is.LastTransitionTime.Time})
		return true
	}
	if !add(v1alpha1.ConditionStalled, notify.Failing) {
		add(v1alpha1.ConditionAttention, notify.Failing)
	}
	add(v1alpha1.ConditionExpiringSoon, notify.Expiring)
	add(v1alpha1.ConditionUptakeStalled, notify.UptakeStalled)
}

// intended reports whether a person has brought a state about, or is asked by a message of its
// own.
func intended(reason string) bool {
	switch reason {
	case v1alpha1.ReasonSuspended, v1alpha1.ReasonObserving, v1alpha1.ReasonDeleting, v1alpha1.ReasonApprovalPending, v1alpha1.ReasonApprovalRejected:
		return true
	}
	return false
}

// held are the versions of a credential whose version Secret exists.
func held(ctx context.Context, reader client.Reader, namespace string, uid types.UID) ([]int64, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	err := reader.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels{journal.LabelRole: journal.RoleVersion, journal.LabelCredentialUID: string(uid)})
	if err != nil {
		return nil, fmt.Errorf("list the version Secrets: %w", err)
	}
	var found []int64
	for i := range list.Items {
		if number, err := strconv.ParseInt(list.Items[i].Annotations[journal.AnnotationNumber], 10, 64); err == nil {
			found = append(found, number)
		}
	}
	return found, nil
}

// approvals are the requests about a credential.
func approvals(ctx context.Context, reader client.Reader, namespace, uid string) ([]notify.Request, error) {
	var list v1alpha1.ApprovalRequestList
	if err := reader.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{record.IndexCredential: uid}); err != nil {
		return nil, fmt.Errorf("list the approval requests: %w", err)
	}
	var found []notify.Request
	for i := range list.Items {
		r := &list.Items[i]
		if r.Status.State == "" {
			continue
		}
		request := notify.Request{UID: string(r.UID), State: string(r.Status.State), Since: r.CreationTimestamp.Time, Approval: notify.Approval{
			Name: r.Name, Operation: string(r.Spec.Operation), RequestedBy: r.Spec.RequestedBy, Cause: r.Spec.Cause, Consequence: r.Spec.Consequence,
			ExpiresAt: r.Spec.ExpiresAt.Time, Approvers: r.Spec.Approvers, Groups: r.Spec.Groups,
		}}
		for _, d := range r.Status.Decisions {
			request.Decisions = append(request.Decisions, notify.Decision{Approver: d.Approver, Decision: string(d.Decision), Reason: d.Reason, At: d.At.Time})
			if d.At.After(request.Since) {
				request.Since = d.At.Time
			}
		}
		found = append(found, request)
	}
	return found, nil
}
