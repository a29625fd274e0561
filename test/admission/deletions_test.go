package admission

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// TestADeletionThatPeopleMustAgreeToIsRefusedUntilTheyHave is about what kubectl delete says; what
// is revoked is decided by the operator, which looks at the answers themselves.
func TestADeletionThatPeopleMustAgreeToIsRefusedUntilTheyHave(t *testing.T) {
	ns := newNamespace(t, "deletions")
	bob := newPerson(t, ns, "bob@example.com", nil, writesCredentials, "deletecollection apiclientcredentials")
	api := admin(t).Resource(credentials).Namespace(ns)
	for _, test := range []struct {
		name  string
		state v1alpha1.DeletionApproval
		want  string
	}{
		{"people must be asked", v1alpha1.DeletionNeeded, "people must agree before this credential is deleted: ask for it with the annotation credentials.claviger.dev/deletion-requested-at"},
		{"they were asked", v1alpha1.DeletionPending, "they were asked and have not answered"},
		{"somebody said no", v1alpha1.DeletionRejected, "somebody said no; ask anew"},
		{"they have agreed", v1alpha1.DeletionApproved, ""},
		{"nobody must be asked", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			made := object(t, credential)
			made.SetName("billing")
			if _, err := api.Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				ctx := context.WithoutCancel(t.Context())
				if test.want != "" {
					_, err := api.Patch(ctx, "billing", types.MergePatchType, []byte(`{"status":{"deletionApproval":null}}`), metav1.PatchOptions{}, "status")
					if err != nil {
						t.Error(err)
					}
					if err := api.Delete(ctx, "billing", metav1.DeleteOptions{}); err != nil {
						t.Error(err)
					}
				}
			})
			if test.state != "" {
				if _, err := api.Patch(t.Context(), "billing", types.MergePatchType, []byte(`{"status":{"deletionApproval":"`+string(test.state)+`"}}`), metav1.PatchOptions{}, "status"); err != nil {
					t.Fatal(err)
				}
			}
			if test.want != "" {
				err := bob.Resource(credentials).Namespace(ns).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})
				requireAllowed(t, err, test.want)
			}
			requireAllowed(t, bob.Resource(credentials).Namespace(ns).Delete(t.Context(), "billing", metav1.DeleteOptions{}), test.want)
		})
	}
}
