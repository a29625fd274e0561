// Package cli holds the subcommands that people run by hand.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// Release takes Claviger's finalizers off everything, so that its kinds and
// namespaces can be deleted when no operator is left to serve them. It deletes
// nothing and revokes nothing: it prints what stays valid upstream. The operator
// must have been stopped before.
func Release(ctx context.Context, arguments []string, out io.Writer) error {
	flags := flag.NewFlagSet("claviger release", flag.ContinueOnError)
	namespace := flags.String("namespace", "", "release one namespace only; default: all")
	dryRun := flags.Bool("dry-run", false, "print what would be released and change nothing")
	ctrl.RegisterFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	return releaseAll(ctx, c, *namespace, *dryRun, out)
}

func releaseAll(ctx context.Context, c client.Client, namespace string, dryRun bool, out io.Writer) error {
	objects, err := held(ctx, c, namespace)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	alive := 0
	fmt.Fprintln(table, "NAMESPACE\tCREDENTIAL\tVERSION\tNAME UPSTREAM\tPLACE UPSTREAM\tSECRET STAYS")
	for _, object := range objects {
		if v, err := journal.Parse(object); object.GetLabels()[journal.LabelRole] == journal.RoleVersion && v.RevokedAt.IsZero() {
			alive++
			fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\n", object.GetNamespace(), v.Credential.Name, v.Number, v.UpstreamName, v.Container, stays(object, err))
		}
		if dryRun {
			continue
		}
		if err := release(ctx, c, object); err != nil {
			return err
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	verb := "released"
	if dryRun {
		verb = "would be released"
	}
	fmt.Fprintf(out, "%d objects %s; %d versions stay valid upstream until somebody revokes them there\n", len(objects), verb, alive)
	return nil
}

func stays(object client.Object, err error) string {
	switch {
	case err != nil:
		return "yes (annotations unreadable)"
	case object.GetDeletionTimestamp() != nil:
		return "no (it was deleted)"
	}
	return "yes"
}

// held lists everything that bears a finalizer of ours.
func held(ctx context.Context, c client.Client, namespace string) ([]client.Object, error) {
	var objects []client.Object
	keep := func(o client.Object) {
		if slices.ContainsFunc(o.GetFinalizers(), ours) {
			objects = append(objects, o)
		}
	}
	secrets := &metav1.PartialObjectMetadataList{}
	secrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	if err := c.List(ctx, secrets, client.InNamespace(namespace), client.HasLabels{journal.LabelRole}); err != nil {
		return nil, err
	}
	for i := range secrets.Items {
		keep(&secrets.Items[i])
	}
	credentials := &v1alpha1.APIClientCredentialList{}
	if err := c.List(ctx, credentials, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	for i := range credentials.Items {
		keep(&credentials.Items[i])
	}
	issuers := &v1alpha1.CredentialIssuerList{}
	if err := c.List(ctx, issuers, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	for i := range issuers.Items {
		keep(&issuers.Items[i])
	}
	if namespace != "" {
		return objects, nil // issuers of the cluster serve other namespaces too
	}
	shared := &v1alpha1.ClusterCredentialIssuerList{}
	if err := c.List(ctx, shared); err != nil {
		return nil, err
	}
	for i := range shared.Items {
		keep(&shared.Items[i])
	}
	return objects, nil
}

func ours(finalizer string) bool {
	return finalizer == journal.FinalizerUpstream || finalizer == journal.FinalizerCredential || finalizer == journal.FinalizerInUse
}

func release(ctx context.Context, c client.Client, object client.Object) error {
	before, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("%T is no object", object)
	}
	object.SetFinalizers(slices.DeleteFunc(slices.Clone(object.GetFinalizers()), ours))
	err := c.Patch(ctx, object, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner(journal.FieldManager))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("release %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	return nil
}
