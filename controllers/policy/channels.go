package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// maxNamed bounds how many channels or namespaces a message names.
const maxNamed = 8

// mute is what keeps a policy's notifications from being told. Its zero value is nothing.
type mute struct{ reason, message string }

// muteOf compares the channels that a policy names with those that exist, in the places that
// the policy applies in. A name that is mistyped would otherwise be noticed by the mail that
// never came.
func muteOf(notifications []v1alpha1.Notification, channels map[string]*v1alpha1.NotificationChannel, places []Place) mute {
	var missing, refused []string
	for _, n := range notifications {
		channel := channels[n.Channel]
		if channel == nil {
			missing = append(missing, n.Channel)
			continue
		}
		for _, place := range places {
			if !Allows(&channel.Spec.AllowedNamespaces, place) {
				refused = append(refused, fmt.Sprintf("%s does not allow namespace %s", n.Channel, place.Name))
			}
		}
	}
	switch {
	case len(missing) > 0:
		return mute{v1alpha1.ReasonChannelNotFound, "nothing is told over channels that do not exist: " + enumerated(missing)}
	case len(refused) > 0:
		return mute{v1alpha1.ReasonChannelNotAllowed, "nothing is told over channels that do not allow it: " + enumerated(refused)}
	}
	return mute{}
}

// enumerated is a list that stands still: sorted, each entry once, bounded.
func enumerated(list []string) string {
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	text := strings.Join(list[:min(len(list), maxNamed)], ", ")
	if more := len(list) - maxNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// channels reads those that a policy names, from the cache. Those that do not exist are left out.
func (r *Reconciler) channels(ctx context.Context, notifications []v1alpha1.Notification) (map[string]*v1alpha1.NotificationChannel, error) {
	found := map[string]*v1alpha1.NotificationChannel{}
	for _, n := range notifications {
		channel := &v1alpha1.NotificationChannel{}
		err := r.Client.Get(ctx, types.NamespacedName{Name: n.Channel}, channel)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("read the channel: %w", err)
		default:
			found[n.Channel] = channel
		}
	}
	return found, nil
}

// muted says what keeps a policy's notifications from being told. places are the namespaces of
// the credentials that it applies to; a policy of a namespace is about that one in any case.
func (r *Reconciler) muted(ctx context.Context, policy v1alpha1.Policy, places map[string]Place) (mute, error) {
	notifications := policy.PolicySpec().Notifications
	if len(notifications) == 0 || !r.ClusterKinds {
		return mute{}, nil // without kinds of the cluster there are no channels to be read
	}
	found, err := r.channels(ctx, notifications)
	if err != nil {
		return mute{}, err
	}
	var list []Place
	for _, place := range places {
		list = append(list, place)
	}
	if home := policy.GetNamespace(); home != "" && len(list) == 0 {
		candidates, err := Gather(ctx, r.Client, home, true)
		if err != nil {
			return mute{}, err
		}
		list = append(list, candidates.Place)
	}
	return muteOf(notifications, found, list), nil
}

// users are the policies that name a channel.
func (r *Reconciler) users(ctx context.Context, channel string) ([]client.ObjectKey, error) {
	var keys []client.ObjectKey
	names := func(p v1alpha1.Policy) {
		if slices.ContainsFunc(p.PolicySpec().Notifications, func(n v1alpha1.Notification) bool { return n.Channel == channel }) {
			keys = append(keys, client.ObjectKeyFromObject(p))
		}
	}
	var list v1alpha1.RotationPolicyList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the policies: %w", err)
	}
	for i := range list.Items {
		names(&list.Items[i])
	}
	var shared v1alpha1.ClusterRotationPolicyList
	if err := r.Client.List(ctx, &shared, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the policies of the cluster: %w", err)
	}
	for i := range shared.Items {
		names(&shared.Items[i])
	}
	return keys, nil
}
