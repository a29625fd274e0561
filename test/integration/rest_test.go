package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/operatortest"
)

// Invariant 9: nothing to do means no write, and no call but the sweep's.
func TestAtRestNothingIsWritten(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("90d", "10d"))
	x.awaitRest()
	since, calls := x.mark(), x.callsByOperation()
	x.throughout(20*time.Second, func() string { return x.unrest(since) })
	x.wantOnlySweeps(calls)
}

// awaitRest waits until everything is done that follows the issue of a credential: the
// counts on the issuer and the policy are written last.
func (x *tenant) awaitRest() {
	x.t.Helper()
	x.awaitIdle(1)
	x.eventually(2*soon, func() string {
		p := &v1alpha1.RotationPolicy{}
		if err := x.world.Client.Get(x.ctx, x.key("policy"), p); err != nil {
			return err.Error()
		}
		if p.Status.Credentials != 1 || p.Status.NotReady != 0 || x.getIssuer().Status.Credentials != 1 {
			return fmt.Sprintf("the counts are not written yet: %+v", p.Status)
		}
		return ""
	})
}

// unrest names the first write of the operator in this namespace since a mark, counts
// and events included.
func (x *tenant) unrest(since operatortest.Mark) string {
	x.t.Helper()
	requests, err := x.world.Requests(since, x.ns)
	if err != nil {
		x.t.Fatal(err)
	}
	for _, r := range requests {
		if r.Write() {
			return "at rest the operator did: " + r.String()
		}
	}
	return ""
}

func (x *tenant) callsByOperation() map[string]int {
	calls := map[string]int{}
	for _, n := range x.sim.Calls().List() {
		calls[n.Operation] += n.Calls
	}
	return calls
}

// wantOnlySweeps fails if anything but listing, looking and logging in was called.
func (x *tenant) wantOnlySweeps(before map[string]int) {
	x.t.Helper()
	after := x.callsByOperation()
	for _, operation := range []string{"credential.list-catalog", "consumer-org.list", "org.get", "catalog.get", "token.password", "token.refresh_token"} {
		delete(before, operation)
		delete(after, operation)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		x.t.Errorf("calls to the upstream at rest, the sweep apart (-before +after):\n%s", diff)
	}
}

// A namespace whose quota is full is told so in the words of the API server; nothing is
// made upstream that could not be kept here, and nothing twice.
func TestAFullQuotaIsNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		room   int64
		issued int
	}{
		{"no room for the journal", 1, 0},
		{"no room for the Secret itself", 2, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, shared)
			limit := func(n int64) corev1.ResourceList {
				return corev1.ResourceList{"count/secrets": *resource.NewQuantity(n, resource.DecimalSI)}
			}
			quota := &corev1.ResourceQuota{
				ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "secrets"}, Spec: corev1.ResourceQuotaSpec{Hard: limit(test.room)},
			}
			x.create(quota)
			x.eventually(soon, func() string {
				if err := x.world.Client.Get(x.ctx, x.key("secrets"), quota); err != nil {
					return err.Error()
				}
				if used := quota.Status.Used["count/secrets"]; used.Value() != 1 {
					return "the quota does not count yet"
				}
				return ""
			})
			x.create(x.issuer())
			x.create(x.credential())
			x.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonSecretRefused}, "exceeded quota", "room for its own Secret and two versions")
			kstatus(x)
			x.throughout(3*time.Second, func() string {
				if got := len(x.sim.Ledger().Issued()); got != test.issued {
					return fmt.Sprintf("%d credentials were issued, want %d", got, test.issued)
				}
				return ""
			})
			update(x, "secrets", &corev1.ResourceQuota{}, func(q *corev1.ResourceQuota) { q.Spec.Hard = limit(10) })
			x.await(75*time.Second, v1alpha1.ConditionReady, published)
			x.awaitIdle(1)
			if got := len(x.sim.Ledger().Issued()); got != 1 {
				t.Errorf("%d credentials were issued for one", got)
			}
		})
	}
}
