package credential

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// delivery is an entry of spec.deliver and what is known of it.
type delivery struct {
	spec  v1alpha1.Delivery
	told  Delivered
	known bool
}

// gatherDeliveries finds out what is known of where the credential is delivered. Where its
// tenant does not exist, nothing ever will be.
func (r *Reconciler) gatherDeliveries(ctx context.Context, s *scope) error {
	if s.credential == nil {
		return nil
	}
	for _, spec := range s.credential.Spec.Deliver {
		d := delivery{spec: spec}
		key := types.NamespacedName{Namespace: s.key.Namespace, Name: spec.TenantRef.Name}
		switch err := r.Client.Get(ctx, key, &v1alpha1.CloudIntegrationTenant{}); {
		case apierrors.IsNotFound(err):
			d.told, d.known = Delivered{Gone: true, Trouble: fmt.Sprintf("CloudIntegrationTenant %s does not exist in this namespace", spec.TenantRef.Name)}, true
		case err != nil:
			return fmt.Errorf("read the tenant that the credential is delivered to: %w", err)
		default:
			d.told, d.known = r.Deliveries.Delivered(key, s.uid, spec.As, spec.Alias)
		}
		s.deliveries = append(s.deliveries, d)
	}
	return nil
}

// deliveredTo are the credentials that are delivered to a tenant that comes or goes.
func (r *Reconciler) deliveredTo(ctx context.Context, tenant client.Object) []reconcile.Request {
	list := &v1alpha1.APIClientCredentialList{}
	if err := r.Client.List(ctx, list, client.InNamespace(tenant.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		return nil // only a cache that has not started fails, and it replays everything
	}
	var requests []reconcile.Request
	for i := range list.Items {
		for _, d := range list.Items[i].Spec.Deliver {
			if d.TenantRef.Name == tenant.GetName() {
				requests = append(requests, reconcile.Request{NamespacedName: key(&list.Items[i])})
				break
			}
		}
	}
	return requests
}

// observeDeliveries compares what was seen there with what the target holds.
func (s *scope) observeDeliveries(published int64) []rotation.Delivery {
	v := s.version(published)
	var all []rotation.Delivery
	for _, d := range s.deliveries {
		all = append(all, rotation.Delivery{
			To:      fmt.Sprintf("%s %s in %s", d.spec.As, d.spec.Alias, d.spec.TenantRef.Name),
			Current: d.told.Mark != "" && v != nil && d.told.Mark == v.Mark, Since: d.told.Since, SeenAt: d.told.SeenAt, KeptFor: d.spec.Kept(),
			Trouble: d.told.Trouble, Users: d.told.Users, Gone: d.told.Gone, Unseen: !d.known || d.told.Unseen, Withdraw: d.spec.Withdraw == v1alpha1.WithdrawDelete,
		})
	}
	return all
}

// deliverable refuses what the credential will never have, before anything is made.
func deliverable(deliveries []v1alpha1.Delivery, shape material.Shape) error {
	if !shape.Known() {
		return nil
	}
	for _, d := range deliveries {
		needs := []string{material.FieldClientID, material.FieldClientSecret}
		if d.As == v1alpha1.DeliverKeyPair {
			needs = []string{material.FieldCertificate, material.FieldPrivateKey}
		}
		if d.As == v1alpha1.DeliverOAuth2 && (d.OAuth2 == nil || d.OAuth2.TokenServiceURL == "") && !shape.May(material.AttributeTokenURL) {
			return fmt.Errorf("this upstream tells no token endpoint: set oauth2.tokenServiceURL of alias %s", d.Alias)
		}
		for _, field := range needs {
			if !shape.May(field) {
				return fmt.Errorf("this credential will have no %s, which %s of alias %s needs", field, d.As, d.Alias)
			}
		}
	}
	return nil
}
