package canary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// retry is the pause between two attempts to reach an API server that is away.
const retry = 100 * time.Millisecond

// publicKeys are what Secrets hold that is no secret.
var publicKeys = []string{
	"client_id", "username", "attributes", "certificate", "chain", "tls.crt", "ca.crt",
	"clientid", "url", "certurl", "sm_url", "xsappname", // as SAP calls them
}

// Learn remembers what a Secret holds. What a template made for a workload holds secrets
// among other things, and the version that it was made from is learned as well.
func (c *Canaries) Learn(s *corev1.Secret) {
	if role := s.Labels[journal.LabelRole]; role == journal.RoleTarget || role == journal.RoleCopy {
		return
	}
	for key, value := range s.Data {
		if slices.Contains(publicKeys, key) {
			c.Allow(string(value))
			continue
		}
		c.Add(fmt.Sprintf("%s of Secret %s/%s", key, s.Namespace, s.Name), string(value))
	}
}

// Follow learns every Secret of the cluster, those that live for a moment included, until
// ctx ends. It returns when it has learned those that there are.
func (c *Canaries) Follow(ctx context.Context, cluster client.WithWatch) error {
	events, err := c.follow(ctx, cluster)
	if err != nil {
		return err
	}
	go func() {
		for ctx.Err() == nil {
			for event := range events.ResultChan() {
				if s, ok := event.Object.(*corev1.Secret); ok {
					c.Learn(s)
				}
			}
			// The API server has ended the watch, as it does from time to time, or is away.
			events = c.resume(ctx, cluster)
		}
	}()
	return nil
}

// resume follows again as soon as the API server lets it; once ctx has ended it returns a
// watch that has ended.
func (c *Canaries) resume(ctx context.Context, cluster client.WithWatch) watch.Interface {
	var events watch.Interface
	// What fails is that ctx has ended.
	err := wait.PollUntilContextCancel(ctx, retry, true, func(ctx context.Context) (bool, error) {
		again, err := c.follow(ctx, cluster)
		if err == nil {
			events = again
		}
		return err == nil, nil
	})
	if err != nil {
		return watch.NewEmptyWatch()
	}
	return events
}

// follow learns what there is and watches from there.
func (c *Canaries) follow(ctx context.Context, cluster client.WithWatch) (watch.Interface, error) {
	list := &corev1.SecretList{}
	if err := cluster.List(ctx, list); err != nil {
		return nil, fmt.Errorf("list Secrets: %w", err)
	}
	for i := range list.Items {
		c.Learn(&list.Items[i])
	}
	events, err := cluster.Watch(ctx, &corev1.SecretList{}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	if err != nil {
		return nil, fmt.Errorf("watch Secrets: %w", err)
	}
	return events, nil
}

// FindInObjects searches what anybody may read in a cluster, or in one of its namespaces:
// our kinds with their status and conditions, events, and everything of Secrets but their data.
func (c *Canaries) FindInObjects(ctx context.Context, cluster client.Reader, options ...client.ListOption) error {
	secrets := &metav1.PartialObjectMetadataList{}
	secrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	var errs []error
	for _, list := range []client.ObjectList{
		secrets, &v1alpha1.APIClientCredentialList{}, &v1alpha1.CredentialIssuerList{}, &v1alpha1.RotationPolicyList{},
		&v1alpha1.ClusterCredentialIssuerList{}, &v1alpha1.ClusterRotationPolicyList{}, &v1alpha1.ApprovalRequestList{}, &v1alpha1.ApprovalDecisionList{}, &v1alpha1.CloudIntegrationTenantList{},
		&eventsv1.EventList{}, &corev1.ConfigMapList{}, &corev1.PodList{},
	} {
		if err := cluster.List(ctx, list, options...); err != nil {
			if !apierrors.IsNotFound(err) {
				errs = append(errs, err)
			}
			continue
		}
		text, err := json.Marshal(list)
		errs = append(errs, err, c.Find(fmt.Sprintf("%T", list), string(text)))
	}
	return errors.Join(errs...)
}
