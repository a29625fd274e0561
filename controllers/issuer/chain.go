package issuer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// keeper is the credential that writes the login Secret, so that Claviger renews its own
// access; nil if a person does. cannot says why it may not be the login.
func (r *Reconciler) keeper(ctx context.Context, issuer v1alpha1.Issuer) (keeper *v1alpha1.APIClientCredential, cannot *finding, err error) {
	name := issuer.IssuerSpec().LoginCredential()
	if name == "" {
		return nil, nil, nil
	}
	keeper = &v1alpha1.APIClientCredential{}
	switch err := r.Client.Get(ctx, types.NamespacedName{Namespace: r.Accounts.loginNamespace(issuer), Name: name}, keeper); {
	case apierrors.IsNotFound(err):
		return nil, &finding{
			reason:  v1alpha1.ReasonLoginSecretNotFound,
			message: fmt.Sprintf("APIClientCredential %s, which writes the login, does not exist in %s; the issuer is used as soon as it does.", name, r.placeOf(issuer)),
		}, nil
	case err != nil:
		return nil, nil, fmt.Errorf("read the credential that writes the login: %w", err)
	}
	if wanted := issuer.IssuerSpec().LoginSecret(); keeper.Spec.Secret.Name != wanted {
		return nil, &finding{
			reason: v1alpha1.ReasonInvalidSettings, stalled: true,
			message: fmt.Sprintf("APIClientCredential %s writes Secret %s, and login.secretRef names %s: both must name the same.", name, keeper.Spec.Secret.Name, wanted),
		}, nil
	}
	around, err := cycle(issuerNode(issuer), r.follow(ctx))
	if err != nil {
		return nil, nil, err
	}
	if len(around) > 0 {
		return nil, &finding{
			reason: v1alpha1.ReasonLoginCycle, stalled: true,
			message: "The issuer would log in with what is made by means of itself: " + strings.Join(around, ", which needs ") + ".",
		}, nil
	}
	return keeper, nil, nil
}

// kept says why a Secret cannot be the login although it exists; nil if it can.
func kept(keeper *v1alpha1.APIClientCredential, secret *corev1.Secret) *finding {
	target := journal.ReadTarget(secret)
	switch {
	case keeper == nil && secret.Labels[journal.LabelRole] == journal.RoleTarget && target.CredentialUID != "":
		_, name, _ := strings.Cut(target.Credential, "/")
		return &finding{
			reason: v1alpha1.ReasonInvalidSettings, stalled: true,
			message: fmt.Sprintf("Secret %s is written by APIClientCredential %s: name that in login.credentialRef, so that the issuer is waited for when it is renewed.", secret.Name, name),
		}
	case keeper != nil && target.CredentialUID != keeper.UID:
		return &finding{
			reason: v1alpha1.ReasonInvalidSettings, stalled: true,
			message: fmt.Sprintf("Secret %s is not that of APIClientCredential %s.", secret.Name, keeper.Name),
		}
	}
	return nil
}

// node is an issuer or a credential of a chain of logins.
type node struct {
	kind string
	key  types.NamespacedName
}

func (n node) String() string { return n.kind + " " + n.key.Name }

func issuerNode(issuer v1alpha1.Issuer) node {
	return node{issuer.IssuerKind(), types.NamespacedName{Namespace: issuer.GetNamespace(), Name: issuer.GetName()}}
}

// cycle follows what each thing needs, and returns the way from a thing back to itself;
// nothing if the way ends, or leads into a circle that the thing is no part of, which its
// members will tell.
func cycle(from node, follow func(node) (next node, more bool, err error)) ([]string, error) {
	seen, way := []node{from}, []string{from.String()}
	for at := from; ; {
		next, more, err := follow(at)
		if err != nil || !more {
			return nil, err
		}
		way = append(way, next.String())
		if next == from {
			return way, nil
		}
		if slices.Contains(seen, next) {
			return nil, nil
		}
		seen, at = append(seen, next), next
	}
}

// follow tells what an issuer or a credential needs, as the cache has it: an issuer the
// credential of its login, a credential its issuer. What does not exist needs nothing.
func (r *Reconciler) follow(ctx context.Context) func(node) (node, bool, error) {
	return func(n node) (node, bool, error) {
		if n.kind == v1alpha1.KindAPIClientCredential {
			credential := &v1alpha1.APIClientCredential{}
			if err := r.Client.Get(ctx, n.key, credential); err != nil {
				return node{}, false, client.IgnoreNotFound(err)
			}
			issuer := v1alpha1.NewIssuer(credential.Spec.IssuerRef.Kind)
			issuer.SetName(credential.Spec.IssuerRef.Name)
			if !credential.Spec.IssuerRef.Cluster() {
				issuer.SetNamespace(n.key.Namespace)
			} else if !r.Options.ClusterKinds {
				return node{}, false, nil // to read it would start a watch that the operator has no right to
			}
			return issuerNode(issuer), true, nil
		}
		issuer := issuerAt(n.key)
		if err := r.Client.Get(ctx, n.key, issuer); err != nil {
			return node{}, false, client.IgnoreNotFound(err)
		}
		name := issuer.IssuerSpec().LoginCredential()
		return node{v1alpha1.KindAPIClientCredential, types.NamespacedName{Namespace: r.Accounts.loginNamespace(issuer), Name: name}}, name != "", nil
	}
}
