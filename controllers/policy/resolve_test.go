package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/interval"
)

var born = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func credential(labels map[string]string, policyRef string) *v1alpha1.APIClientCredential {
	c := &v1alpha1.APIClientCredential{}
	c.Labels = labels
	if policyRef != "" {
		c.Spec.PolicyRef = &v1alpha1.PolicyReference{Name: policyRef}
	}
	return c
}

func policyOf(name string, age time.Duration, selector *metav1.LabelSelector) v1alpha1.RotationPolicy {
	p := v1alpha1.RotationPolicy{}
	p.Name, p.Spec.Selector = name, selector
	p.CreationTimestamp = metav1.NewTime(born.Add(-age))
	return p
}

// resolved is a resolution in names.
type resolved struct {
	Policy    string
	Ambiguous []string
	Missing   string
}

func told(r Resolution) resolved {
	names := resolved{Ambiguous: r.Ambiguous, Missing: r.Missing}
	if r.Policy != nil {
		names.Policy = r.Policy.GetName()
	}
	return names
}

func clusterPolicyOf(name string, age time.Duration, selector *metav1.LabelSelector, namespaces metav1.LabelSelector) v1alpha1.ClusterRotationPolicy {
	p := policyOf(name, age, selector)
	return v1alpha1.ClusterRotationPolicy{ObjectMeta: p.ObjectMeta, Spec: v1alpha1.ClusterRotationPolicySpec{RotationPolicySpec: p.Spec, NamespaceSelector: namespaces}}
}

func TestPoliciesOfTheCluster(t *testing.T) {
	type many = []v1alpha1.ClusterRotationPolicy
	all, everywhere := &metav1.LabelSelector{}, metav1.LabelSelector{}
	elsewhere := metav1.LabelSelector{MatchLabels: map[string]string{"tier": "test"}}
	byKind := &v1alpha1.PolicyReference{Kind: "ClusterRotationPolicy", Name: "a"}
	for name, tc := range map[string]struct {
		ref      *v1alpha1.PolicyReference
		policies []v1alpha1.RotationPolicy
		cluster  many
		want     resolved
	}{
		"where the namespace has none the cluster's applies": {
			cluster: many{clusterPolicyOf("a", 0, all, everywhere)}, want: resolved{Policy: "a"},
		},
		"the namespace's own goes before an older one of the cluster": {
			policies: []v1alpha1.RotationPolicy{policyOf("b", 0, all)}, cluster: many{clusterPolicyOf("a", time.Hour, all, everywhere)}, want: resolved{Policy: "b"},
		},
		"one that does not choose the namespace does not apply": {cluster: many{clusterPolicyOf("a", 0, all, elsewhere)}},
		"one that selects no credentials does not apply":        {cluster: many{clusterPolicyOf("a", 0, nil, everywhere)}},
		"of two of the cluster the older applies": {
			cluster: many{clusterPolicyOf("a", 0, all, everywhere), clusterPolicyOf("b", time.Hour, all, everywhere)},
			want:    resolved{Policy: "b", Ambiguous: []string{"a"}},
		},
		"one of the cluster is named by kind": {
			ref: byKind, policies: []v1alpha1.RotationPolicy{policyOf("b", time.Hour, all)}, cluster: many{clusterPolicyOf("a", 0, nil, everywhere)}, want: resolved{Policy: "a"},
		},
		"a name without a kind is one of the namespace": {
			ref: &v1alpha1.PolicyReference{Name: "a"}, cluster: many{clusterPolicyOf("a", 0, all, everywhere)}, want: resolved{Missing: "a"},
		},
		"a named one that does not choose the namespace is missing": {
			ref: byKind, cluster: many{clusterPolicyOf("a", 0, all, elsewhere)}, want: resolved{Missing: "a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := credential(nil, "")
			c.Spec.PolicyRef = tc.ref
			place := Place{Name: "payments", Labels: map[string]string{"tier": "production"}}
			if diff := cmp.Diff(tc.want, told(Resolve(c, Candidates{Place: place, Namespaced: tc.policies, Cluster: tc.cluster}))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAllowedNamespaces(t *testing.T) {
	place := Place{Name: "payments", Labels: map[string]string{"tier": "production"}}
	for name, tc := range map[string]struct {
		choice v1alpha1.NamespaceChoice
		want   bool
	}{
		"nothing chosen":             {},
		"by name":                    {choice: v1alpha1.NamespaceChoice{Names: []string{"shipping", "payments"}}, want: true},
		"another name":               {choice: v1alpha1.NamespaceChoice{Names: []string{"shipping"}}},
		"by label":                   {choice: v1alpha1.NamespaceChoice{Selector: &metav1.LabelSelector{MatchLabels: place.Labels}}, want: true},
		"all":                        {choice: v1alpha1.NamespaceChoice{Selector: &metav1.LabelSelector{}}, want: true},
		"either is enough":           {choice: v1alpha1.NamespaceChoice{Names: []string{"payments"}, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "test"}}}, want: true},
		"a selector nobody can read": {choice: v1alpha1.NamespaceChoice{Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: "Like"}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Allows(&tc.choice, place); got != tc.want {
				t.Errorf("allowed: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	production := map[string]string{"tier": "production"}
	matching := &metav1.LabelSelector{MatchLabels: production}
	all := &metav1.LabelSelector{}
	broken := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: "Like", Values: []string{"p"}}}}
	cases := map[string]struct {
		credential *v1alpha1.APIClientCredential
		policies   []v1alpha1.RotationPolicy
		policy     string
		ambiguous  []string
		missing    string
	}{
		"without policies none applies": {
			credential: credential(production, ""),
		},
		"an absent selector selects nothing": {
			credential: credential(production, ""),
			policies:   []v1alpha1.RotationPolicy{policyOf("a", 0, nil)},
		},
		"an empty selector selects all": {
			credential: credential(nil, ""),
			policies:   []v1alpha1.RotationPolicy{policyOf("a", 0, all)},
			policy:     "a",
		},
		"labels must match": {
			credential: credential(map[string]string{"tier": "test"}, ""),
			policies:   []v1alpha1.RotationPolicy{policyOf("a", 0, matching)},
		},
		"the named one applies without a selector": {
			credential: credential(nil, "b"),
			policies:   []v1alpha1.RotationPolicy{policyOf("a", time.Hour, all), policyOf("b", 0, nil)},
			policy:     "b",
		},
		"nothing stands in for a named one that is missing": {
			credential: credential(production, "b"),
			policies:   []v1alpha1.RotationPolicy{policyOf("a", time.Hour, all)},
			missing:    "b",
		},
		"of two that match the oldest applies, whatever it is called (hazard M9)": {
			credential: credential(production, ""),
			policies:   []v1alpha1.RotationPolicy{policyOf("a", time.Minute, all), policyOf("z", time.Hour, matching), policyOf("m", time.Second, all)},
			policy:     "z",
			ambiguous:  []string{"a", "m"},
		},
		"of two of one age the first by name applies": {
			credential: credential(production, ""),
			policies:   []v1alpha1.RotationPolicy{policyOf("b", 0, all), policyOf("a", 0, all)},
			policy:     "a",
			ambiguous:  []string{"b"},
		},
		"a selector that cannot be read selects nothing": {
			credential: credential(production, ""),
			policies:   []v1alpha1.RotationPolicy{policyOf("a", time.Hour, broken), policyOf("b", 0, all)},
			policy:     "b",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Resolve(tc.credential, Candidates{Namespaced: tc.policies})
			if diff := cmp.Diff(resolved{tc.policy, tc.ambiguous, tc.missing}, told(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func parse(t *testing.T, text string) interval.Interval {
	t.Helper()
	i, err := interval.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestCompile(t *testing.T) {
	window := func(schedule string, length time.Duration, zone string) v1alpha1.Window {
		return v1alpha1.Window{Schedule: schedule, Duration: metav1.Duration{Duration: length}, TimeZone: zone}
	}
	saturday, err := interval.ParseWindow("0 2 * * SAT", "4h", "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*Preferences)) Preferences {
		p := Preferences{
			RotateAfter: interval.Unlimited(), Uptake: Uptake{Margin: time.Minute, Deadline: 24 * time.Hour, Hold: true},
			Rollout: Rollout{Timeout: 30 * time.Minute, Coalesce: 5 * time.Minute},
		}
		change(&p)
		return p
	}
	cases := map[string]struct {
		spec v1alpha1.RotationPolicySpec
		want Preferences
		// problems are what the error must name; none means that there is no error.
		problems []string
	}{
		"a whole policy": {
			spec: v1alpha1.RotationPolicySpec{
				RotateAfter: "90d", Overlap: "10d", Strategy: v1alpha1.StrategyReplace, Windows: []v1alpha1.Window{window("0 2 * * SAT", 4*time.Hour, "Europe/Berlin")},
				Verify: v1alpha1.VerifyPolicy{Timeout: &metav1.Duration{Duration: 15 * time.Minute}},
				Uptake: &v1alpha1.UptakePolicy{Mode: v1alpha1.UptakeConsumers, Margin: &metav1.Duration{}, AfterDeadline: v1alpha1.AfterDeadlineRetire},
				Rollout: &v1alpha1.RolloutPolicy{
					Pause: &metav1.Duration{Duration: time.Minute}, Timeout: &metav1.Duration{Duration: time.Hour}, Coalesce: &metav1.Duration{},
				},
			},
			want: Preferences{
				Replace:     true,
				RotateAfter: parse(t, "90d"), Overlap: parse(t, "10d"),
				Windows: interval.Windows{saturday}, VerifyTimeout: 15 * time.Minute,
				Uptake:  Uptake{Consumers: true, Deadline: 24 * time.Hour},
				Rollout: Rollout{Pause: time.Minute, Timeout: time.Hour},
			},
		},
		"never by age needs no overlap": {
			spec: v1alpha1.RotationPolicySpec{RotateAfter: "Unlimited"},
			want: with(func(p *Preferences) { p.Overlap = interval.FromDuration(24 * time.Hour) }),
		},
		"never by age may have one": {
			spec: v1alpha1.RotationPolicySpec{RotateAfter: "Unlimited", Overlap: "2h"},
			want: with(func(p *Preferences) { p.Overlap = parse(t, "2h") }),
		},
		"by age without overlap is refused":   {spec: v1alpha1.RotationPolicySpec{RotateAfter: "90d"}, problems: []string{"overlap"}},
		"zero is refused":                     {spec: v1alpha1.RotationPolicySpec{RotateAfter: "0d", Overlap: "0s"}, problems: []string{"rotateAfter", "overlap"}},
		"an ambiguous unit is refused":        {spec: v1alpha1.RotationPolicySpec{RotateAfter: "6m", Overlap: "1d"}, problems: []string{"rotateAfter"}},
		"an unknown unit is refused":          {spec: v1alpha1.RotationPolicySpec{RotateAfter: "90days", Overlap: "1d"}, problems: []string{"rotateAfter"}},
		"an overlap for ever is refused":      {spec: v1alpha1.RotationPolicySpec{RotateAfter: "Unlimited", Overlap: "Unlimited"}, problems: []string{"overlap"}},
		"an overlap of equal length is":       {spec: v1alpha1.RotationPolicySpec{RotateAfter: "10d", Overlap: "10d"}, problems: []string{"overlap"}},
		"a month is not smaller than 30 d":    {spec: v1alpha1.RotationPolicySpec{RotateAfter: "30d", Overlap: "1mo"}, problems: []string{"overlap"}},
		"an unknown time zone is refused":     {spec: v1alpha1.RotationPolicySpec{RotateAfter: "Unlimited", Windows: []v1alpha1.Window{window("0 2 * * *", time.Hour, "Europe/Nowhere")}}, problems: []string{"windows[0]"}},
		"a window that never opens is":        {spec: v1alpha1.RotationPolicySpec{RotateAfter: "Unlimited", Windows: []v1alpha1.Window{window("0 2 * * *", time.Hour, ""), window("0 0 30 2 *", time.Hour, "")}}, problems: []string{"windows[1]"}},
		"a selector that cannot be read is":   {spec: v1alpha1.RotationPolicySpec{RotateAfter: "Unlimited", Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}}}, problems: []string{"selector"}},
		"a timeout that is over before it is": {spec: v1alpha1.RotationPolicySpec{RotateAfter: "Unlimited", Verify: v1alpha1.VerifyPolicy{Timeout: &metav1.Duration{Duration: -time.Second}}}, problems: []string{"verify.timeout"}},
		"times of restarts below zero are": {
			spec: v1alpha1.RotationPolicySpec{RotateAfter: "Unlimited", Rollout: &v1alpha1.RolloutPolicy{
				Pause: &metav1.Duration{Duration: -1}, Timeout: &metav1.Duration{}, Coalesce: &metav1.Duration{Duration: -1},
			}},
			problems: []string{"rollout.pause", "rollout.timeout", "rollout.coalesce"},
		},
		"every problem is named at once": {
			spec:     v1alpha1.RotationPolicySpec{RotateAfter: "x", Overlap: "y", Windows: []v1alpha1.Window{window("now", time.Hour, "")}},
			problems: []string{"rotateAfter", "overlap", "windows[0]"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Compile(tc.spec)
			if len(tc.problems) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("preferences (-want +got):\n%s", diff)
				}
				return
			}
			if err == nil {
				t.Fatalf("accepted as %+v", got)
			}
			for _, field := range tc.problems {
				if !strings.Contains(err.Error(), field+":") {
					t.Errorf("%q does not name %s", err, field)
				}
			}
			if lines := strings.Count(err.Error(), "\n") + 1; lines != len(tc.problems) {
				t.Errorf("%d problems, want %d: %s", lines, len(tc.problems), err)
			}
		})
	}
}

func TestDefaultIsNeverDueByAge(t *testing.T) {
	p := Default()
	if !p.RotateAfter.IsUnlimited() || p.Overlap.AddTo(born) != born.Add(24*time.Hour) || p.Windows != nil || p.VerifyTimeout != 0 {
		t.Errorf("%+v", p)
	}
}
