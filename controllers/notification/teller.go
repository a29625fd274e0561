package notification

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/controllers/policy"
	"github.com/claviger-dev/claviger/internal/notify"
)

// conflictPause lets the cache see what the API server has.
const conflictPause = 200 * time.Millisecond

// ServerClock is the API server's clock; see internal/serverclock.
type ServerClock interface{ Now() time.Time }

// Teller writes down what has to be told about each credential.
type Teller struct {
	Client client.Client
	// Live reads past the cache.
	Live    client.Reader
	Server  ServerClock
	Metrics Counters
	// ClusterID is part of the names that versions have upstream.
	ClusterID string

	records records
}

// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=apiclientcredentials;rotationpolicies;clusterrotationpolicies;notificationchannels;approvalrequests;credentialissuers;clustercredentialissuers,verbs=get;list;watch
// +kubebuilder:rbac:groups=credentials.claviger.dev,resources=notificationchannels/status,verbs=update;patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch

// Reconcile looks at the credential of a name, and at those that had the name before.
func (t *Teller) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	known, err := t.records.list(ctx, indexCredential, request.String())
	if err != nil {
		return ctrl.Result{}, err
	}
	byUID := map[types.UID]*stored{}
	for _, s := range known {
		byUID[types.UID(s.UID)] = s
	}
	credential := &v1alpha1.APIClientCredential{}
	err = t.Client.Get(ctx, request.NamespacedName, credential)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	if err == nil && byUID[credential.UID] == nil {
		byUID[credential.UID] = nil
	}
	if err != nil {
		credential = nil
	}
	again := time.Duration(0)
	for uid, s := range byUID {
		current := credential
		if current != nil && current.UID != uid {
			current = nil
		}
		wake, err := t.tell(ctx, request.NamespacedName, uid, current, s)
		switch {
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
			wake = conflictPause
		case err != nil:
			return ctrl.Result{}, err
		}
		if wake > 0 && (again == 0 || wake < again) {
			again = wake
		}
	}
	return ctrl.Result{RequeueAfter: again}, nil
}

// tell brings the record of one credential up to date. One durable effect at most. credential is
// nil if it is gone, s if nothing was told yet.
func (t *Teller) tell(ctx context.Context, key types.NamespacedName, uid types.UID, credential *v1alpha1.APIClientCredential, s *stored) (time.Duration, error) {
	notifications, rules, err := t.rules(ctx, key.Namespace, credential, s)
	if err != nil {
		return 0, err
	}
	var recorded *notify.Record
	if s != nil {
		recorded = &s.Record
	}
	switch {
	case recorded == nil && (credential == nil || !notifications):
		return 0, nil
	case credential != nil && !notifications && len(recorded.Pending) == 0:
		return 0, t.records.remove(ctx, s.object)
	}
	facts, err := t.gather(ctx, t.Client, key, uid)
	if err != nil {
		return 0, err
	}
	after, messages, again := notify.Next(recorded, facts, t.Server.Now())
	if len(messages) > 0 || credential == nil {
		// The caches of credentials and Secrets know nothing of each other, and neither may be
		// as new as what was told already. What is told cannot be taken back: look live first.
		if facts, err = t.gather(ctx, t.Live, key, uid); err != nil {
			return 0, err
		}
		if facts.Exists != (credential != nil) {
			return conflictPause, nil // the cache will know in a moment
		}
		after, messages, again = notify.Next(recorded, facts, t.Server.Now())
	}
	dropped := after.Add(notify.Route(messages, rules, after.Owner))
	for _, d := range dropped {
		ctrl.LoggerFrom(ctx).Info("a message was let go: too many wait for a channel that does not take them", "channel", d.Channel, "event", d.Message.Event, "version", d.Message.Version)
	}
	switch {
	case credential == nil && len(after.Pending) == 0:
		return 0, t.records.remove(ctx, s.object)
	case recorded == nil:
		err = t.records.write(ctx, nil, after)
	default:
		err = t.records.write(ctx, s.object, after)
	}
	if err != nil {
		return again, err // and what was let go is decided, and counted, anew
	}
	for _, d := range dropped {
		t.Metrics.Notified(string(d.Message.Event), t.kindOf(ctx, d.Channel), resultDropped)
	}
	return again, nil
}

// kindOf is the kind of a channel by its name.
func (t *Teller) kindOf(ctx context.Context, name string) string {
	channel := &v1alpha1.NotificationChannel{}
	if err := t.Client.Get(ctx, types.NamespacedName{Name: name}, channel); err != nil {
		return kindGone
	}
	return kindOf(channel)
}

// rules are what the policy says that applies to a credential, or that applied when it was seen
// last; notifications reports whether it says anything, usable or not.
func (t *Teller) rules(ctx context.Context, namespace string, credential *v1alpha1.APIClientCredential, s *stored) (notifications bool, rules []notify.Rule, err error) {
	candidates, err := policy.Gather(ctx, t.Client, namespace, true)
	if err != nil {
		return false, nil, err
	}
	applies, err := t.policyOf(ctx, namespace, candidates, credential, s)
	if err != nil || applies == nil {
		return false, nil, err
	}
	for _, n := range applies.PolicySpec().Notifications {
		channel := &v1alpha1.NotificationChannel{}
		if err := t.Client.Get(ctx, types.NamespacedName{Name: n.Channel}, channel); err != nil {
			if apierrors.IsNotFound(err) {
				continue
			}
			return false, nil, fmt.Errorf("read the channel: %w", err)
		}
		if policy.Allows(&channel.Spec.AllowedNamespaces, candidates.Place) {
			rules = append(rules, ruleOf(n, channel))
		}
	}
	return len(applies.PolicySpec().Notifications) > 0, rules, nil
}

// policyOf is the policy of a credential, or of one that is gone the policy that it had.
func (t *Teller) policyOf(ctx context.Context, namespace string, candidates policy.Candidates, credential *v1alpha1.APIClientCredential, s *stored) (v1alpha1.Policy, error) {
	if credential != nil {
		return policy.Resolve(credential, candidates).Policy, nil
	}
	kind, name, _ := strings.Cut(s.Policy, "/")
	key := types.NamespacedName{Name: name}
	var had v1alpha1.Policy = &v1alpha1.ClusterRotationPolicy{}
	if kind == v1alpha1.KindRotationPolicy {
		key.Namespace, had = namespace, &v1alpha1.RotationPolicy{}
	}
	if err := t.Client.Get(ctx, key, had); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return had, nil
}

func ruleOf(n v1alpha1.Notification, channel *v1alpha1.NotificationChannel) notify.Rule {
	rule := notify.Rule{Channel: channel.Name, Mail: channel.Spec.SMTP != nil, OptOut: channel.Spec.OptOut}
	for _, event := range n.Events {
		rule.On = append(rule.On, notify.Event(event))
	}
	if to := n.To; to != nil {
		rule.Owner, rule.Approvers, rule.Addresses = to.Owner, to.Approvers, to.Addresses
	}
	return rule
}
