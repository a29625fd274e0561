package admission

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/internal/journal"
)

// The policy that answers the probe, and its sentence. They stand in
// config/admission/journal.yaml too; a test keeps both the same.
const (
	journalPolicy = "claviger-journal"
	probeRefusal  = "the probe is refused to everybody: the journal is guarded"
)

// probe tries, in a dry run, what the policy refuses to everybody. It returns why the
// answer is no proof, or nothing.
func (g *Guard) probe(ctx context.Context, namespace string) string {
	forged := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:    namespace,
			GenerateName: "claviger-probe-",
			Annotations:  map[string]string{journal.AnnotationProbe: "true"},
		},
		Type: journal.SecretType,
	}
	err := g.writer.Create(ctx, forged, client.DryRunAll)
	switch {
	case err == nil:
		return fmt.Sprintf("the journal is not guarded in namespace %s: a forged version Secret was accepted (in a dry run)", namespace)
	case refusedBy(err, journalPolicy, probeRefusal):
		return ""
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		// Nothing can be created here any more, not even in a dry run; the guard of
		// what is there already is the content of the policies, and that was compared.
		// To doubt would keep the namespace until somebody takes finalizers off by hand.
		return ""
	default:
		return fmt.Sprintf("whether the journal is guarded in namespace %s is not proven: the probe met something else than policy %s: %s", namespace, journalPolicy, cause(err))
	}
}

// refusedBy recognises a policy's own answer to a probe: by its code, since 403 is RBAC's, by
// its name, and by its sentence. The API server has no field for the name of the policy.
func refusedBy(err error, policy, sentence string) bool {
	return apierrors.IsInvalid(err) &&
		strings.Contains(err.Error(), fmt.Sprintf("ValidatingAdmissionPolicy '%s' ", policy)) &&
		strings.HasSuffix(err.Error(), sentence)
}

// cause is an error without the name that the API server made up for the probe: a text
// that is another one each time would be written to a status each time.
func cause(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return err.Error()
	}
	details := status.Status().Details
	if details == nil || details.Name == "" {
		return status.Status().Message
	}
	return strings.ReplaceAll(status.Status().Message, details.Name, "claviger-probe")
}
