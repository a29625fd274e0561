package credential

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// login is an issuer that logs in with the credential, and the resourceVersion of the target
// with which that worked last.
type login struct {
	issuer  string
	with    string
	resting bool
}

// gatherLogins finds the issuers that log in with the credential. They are read from the
// cache: one that names it a moment later reads the target as it is then.
func (r *Reconciler) gatherLogins(ctx context.Context, s *scope) error {
	if s.credential == nil {
		return nil
	}
	add := func(issuer v1alpha1.Issuer) {
		spec := issuer.IssuerSpec()
		if spec.LoginCredential() != s.key.Name || spec.LoginSecret() != s.credential.Spec.Secret.Name {
			return
		}
		s.logins = append(s.logins, login{
			issuer: issuer.IssuerKind() + " " + issuer.GetName(), with: r.Issuers.LoggedInWith(issuer.GetUID()), resting: spec.Suspend,
		})
	}
	var list v1alpha1.CredentialIssuerList
	if err := r.Client.List(ctx, &list, client.InNamespace(s.key.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list the issuers that log in with the credential: %w", err)
	}
	for i := range list.Items {
		add(&list.Items[i])
	}
	if !r.Options.ClusterKinds || s.key.Namespace != r.Options.OperatorNamespace {
		return nil
	}
	var shared v1alpha1.ClusterCredentialIssuerList
	if err := r.Client.List(ctx, &shared, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list the cluster's issuers that log in with the credential: %w", err)
	}
	for i := range shared.Items {
		add(&shared.Items[i])
	}
	return nil
}

// observeLogins compares what issuers have logged in with with what the target is, as it was
// read: one that has changed since has to be logged in with again.
func (s *scope) observeLogins() []rotation.Login {
	var all []rotation.Login
	for _, l := range s.logins {
		all = append(all, rotation.Login{Issuer: l.issuer, Current: l.with != "" && l.with == s.target.ResourceVersion, Resting: l.resting})
	}
	return all
}

// loginOf is the credential that an issuer logs in with, if there is one. What tells of an
// issuer may know its name alone.
func (r *Reconciler) loginOf(ctx context.Context, o client.Object) []reconcile.Request {
	issuer, ok := o.(v1alpha1.Issuer)
	if !ok {
		return nil
	}
	if name, _ := issuer.IssuerSpec().Upstream(); name == "" {
		issuer = v1alpha1.NewIssuer(v1alpha1.KindCredentialIssuer)
		if o.GetNamespace() == "" {
			issuer = v1alpha1.NewIssuer(v1alpha1.KindClusterCredentialIssuer)
		}
		if err := r.Client.Get(ctx, client.ObjectKeyFromObject(o), issuer); err != nil {
			return nil // it is gone, and its own event tells that
		}
	}
	namespace := issuer.GetNamespace()
	if namespace == "" {
		namespace = r.Options.OperatorNamespace
	}
	if name := issuer.IssuerSpec().LoginCredential(); name != "" {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}}
	}
	return nil
}
