package integration

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

var hour = metav1.Duration{Duration: time.Hour}

// nudge makes the operator look at a credential without changing what is wanted.
func (x *tenant) nudge(value string) {
	x.t.Helper()
	x.annotate("example.com/nudge", value)
}

// Hazard C5: who answers requests from status answers them again when status is lost.
func TestARequestIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "3s"))
	at := x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitIdle(1)

	x.wipeStatus()
	x.nudge("once more")
	x.eventually(soon, func() string {
		if got := x.get("billing").Status.Version; got != 2 {
			return "status was not written again"
		}
		return ""
	})
	x.annotate(v1alpha1.AnnotationRotateRequestedAt, "2020-01-01T00:00:00Z") // older than version 2
	x.annotate(v1alpha1.AnnotationRotateRequestedAt, at)
	x.throughout(3*time.Second, func() string {
		if got := len(x.sim.Ledger().Issued()); got != 2 {
			return "the request was answered again"
		}
		return ""
	})

	x.request(time.Now())
	x.awaitVersion(soon, 3)
	x.awaitIdle(1)
}

func (x *tenant) wipeStatus() {
	x.t.Helper()
	c := x.get("billing")
	before := c.DeepCopy()
	c.Status = v1alpha1.APIClientCredentialStatus{}
	if err := x.world.Client.Status().Patch(x.ctx, c, client.MergeFrom(before)); err != nil {
		x.t.Fatal(err)
	}
}

func TestARequestThatCannotBeAnsweredSaysWhy(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(nil)
	for _, test := range []struct {
		name, value string
		reason      string
		says        []string
	}{
		{"a time in the future", time.Now().UTC().Add(time.Hour).Format(time.RFC3339), v1alpha1.ReasonRequestInFuture, []string{"more than five minutes ahead"}},
		{"no time at all", "now, please", v1alpha1.ReasonRequestInvalid, []string{"now, please", "2026-01-31T12:00:00Z"}},
	} {
		x.annotate(v1alpha1.AnnotationRotateRequestedAt, test.value)
		x.await(soon, v1alpha1.ConditionAttention, state{"True", test.reason}, test.says...)
		x.await(soon, v1alpha1.ConditionReady, published)
		if diff := cmp.Diff(1, len(x.sim.Ledger().Issued())); diff != "" {
			t.Errorf("%s: credentials issued (-want +got):\n%s", test.name, diff)
		}
	}
	x.change(func(c *v1alpha1.APIClientCredential) { delete(c.Annotations, v1alpha1.AnnotationRotateRequestedAt) })
	x.await(soon, v1alpha1.ConditionAttention, state{})
}
