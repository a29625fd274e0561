package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/approval"
)

// TestDemandsAddUp: nobody gets rid of a demand by choosing another policy (hazard C8.2).
func TestDemandsAddUp(t *testing.T) {
	asks := &v1alpha1.ApprovalDemand{}
	namespaced := func(name string, selector *metav1.LabelSelector, approval *v1alpha1.ApprovalDemand) v1alpha1.RotationPolicy {
		return v1alpha1.RotationPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.RotationPolicySpec{Selector: selector, Approval: approval}}
	}
	shared := func(name string, stage string, approval *v1alpha1.ApprovalDemand) v1alpha1.ClusterRotationPolicy {
		return v1alpha1.ClusterRotationPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ClusterRotationPolicySpec{
			NamespaceSelector:  metav1.LabelSelector{MatchLabels: map[string]string{"stage": stage}},
			RotationPolicySpec: v1alpha1.RotationPolicySpec{Selector: &metav1.LabelSelector{}, Approval: approval},
		}}
	}
	all, production := &metav1.LabelSelector{}, &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "production"}}
	broken := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: "Likes"}}}
	candidates := Candidates{
		Place: Place{Name: "payments", Labels: map[string]string{"stage": "live"}},
		Namespaced: []v1alpha1.RotationPolicy{
			namespaced("everything", all, asks), namespaced("silent", all, nil), namespaced("production", production, asks),
			namespaced("by-name", nil, asks), namespaced("broken", broken, asks),
		},
		Cluster: []v1alpha1.ClusterRotationPolicy{shared("strict", "live", asks), shared("elsewhere", "test", asks), shared("by-name", "live", asks)},
	}
	for _, c := range []struct {
		when   string
		labels map[string]string
		ref    *v1alpha1.PolicyReference
		want   []string
	}{
		{"neither labels nor a name", nil, nil, []string{"everything", "broken", "Cluster strict", "Cluster by-name"}},
		{"a label", map[string]string{"tier": "production"}, nil, []string{"everything", "production", "broken", "Cluster strict", "Cluster by-name"}},
		{"another policy by name", nil, &v1alpha1.PolicyReference{Name: "silent"}, []string{"everything", "broken", "Cluster strict", "Cluster by-name"}},
		{"one that asks, by name", nil, &v1alpha1.PolicyReference{Name: "by-name"}, []string{"everything", "by-name", "broken", "Cluster strict", "Cluster by-name"}},
	} {
		t.Run(c.when, func(t *testing.T) {
			credential := &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Labels: c.labels}, Spec: v1alpha1.APIClientCredentialSpec{PolicyRef: c.ref}}
			var got []string
			for _, p := range Demanding(credential, candidates) {
				got = append(got, strings.TrimSuffix(p.PolicyKind(), "RotationPolicy")+" "+p.GetName())
				got[len(got)-1] = strings.TrimSpace(got[len(got)-1])
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("those who ask (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatADemandMeans(t *testing.T) {
	for _, c := range []struct {
		when string
		spec v1alpha1.ApprovalDemand
		want string // what the error says; empty if there is none
	}{
		{"nothing said", v1alpha1.ApprovalDemand{}, ""},
		{"a time to answer that nobody can read", v1alpha1.ApprovalDemand{Expiry: "soon"}, "expiry:"},
		{"no end of it", v1alpha1.ApprovalDemand{Expiry: "Unlimited"}, "cannot be Unlimited"},
		{"more than a year of it", v1alpha1.ApprovalDemand{Expiry: "2y"}, "longer than a year"},
		{"all of nobody", v1alpha1.ApprovalDemand{Quorum: v1alpha1.QuorumAll}, "quorum All needs approvers"},
	} {
		t.Run(c.when, func(t *testing.T) {
			d, err := CompileDemand(approval.Reference{Kind: "RotationPolicy", Name: "strict"}, &c.spec)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("it says %v, want %q", err, c.want)
			}
			// Whatever is wrong with it, it is still a demand.
			if !d.Covers(approval.Issue) || !d.Covers(approval.Renew) || d.Covers(approval.Delete) {
				t.Errorf("it is about %v", d.Operations)
			}
		})
	}
}
