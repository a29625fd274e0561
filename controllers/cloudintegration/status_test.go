package cloudintegration

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	scanning "github.com/claviger-dev/claviger/internal/cloudintegration"
	"github.com/claviger-dev/claviger/internal/cloudintegration/whereused"
	"github.com/claviger-dev/claviger/internal/upstream"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func in(d time.Duration) time.Time { return noon.Add(d) }

// scanned is a tenant that was read an hour ago.
func scanned() *v1alpha1.CloudIntegrationTenant {
	at := metav1.NewTime(in(-time.Hour))
	return &v1alpha1.CloudIntegrationTenant{
		ObjectMeta: metav1.ObjectMeta{Generation: 2},
		Spec:       v1alpha1.CloudIntegrationTenantSpec{RescanAfter: metav1.Duration{Duration: 6 * time.Hour}},
		Status: v1alpha1.CloudIntegrationTenantStatus{
			ObservedGeneration: 2, ScannedAt: &at, Counts: &v1alpha1.AliasCounts{Flows: 2, Used: 1},
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonScanned}},
		},
	}
}

func TestWhenTheNextStepIsDue(t *testing.T) {
	for _, c := range []struct {
		when  string
		given func(*v1alpha1.CloudIntegrationTenant, *record)
		want  time.Duration
	}{
		{"an operator that has just started goes by the status", nil, 5 * time.Hour},
		{"unless the spec has changed since", func(o *v1alpha1.CloudIntegrationTenant, _ *record) { o.Generation = 3 }, 0},
		{"or the tenant could not be read", func(o *v1alpha1.CloudIntegrationTenant, _ *record) {
			o.Status.Conditions[0].Status = metav1.ConditionFalse
		}, 0},
		{"a tenant that was never read is read at once", func(o *v1alpha1.CloudIntegrationTenant, _ *record) {
			o.Status = v1alpha1.CloudIntegrationTenantStatus{}
		}, 0},
		{"a status that was restored in part says nothing", func(o *v1alpha1.CloudIntegrationTenant, _ *record) { o.Status.ScannedAt = nil }, 0},
		{"a scan that is under way goes on", func(_ *v1alpha1.CloudIntegrationTenant, r *record) { r.tried, r.busy = 2, true }, 0},
		{"a cache that does not show the last scan yet begins no other", func(o *v1alpha1.CloudIntegrationTenant, r *record) {
			r.tried, r.scannedAt, o.Status.ScannedAt = 2, noon, nil
		}, 6 * time.Hour},
		{"a change of the spec makes a scan", func(o *v1alpha1.CloudIntegrationTenant, r *record) {
			o.Generation, r.tried, r.scannedAt = 3, 2, noon
		}, 0},
		{"after a failure the pause is kept", func(_ *v1alpha1.CloudIntegrationTenant, r *record) {
			r.tried, r.busy, r.trouble, r.retryAt = 2, true, &finding{}, in(time.Minute)
		}, time.Minute},
		{"unless the spec was mended", func(o *v1alpha1.CloudIntegrationTenant, r *record) {
			o.Generation, r.tried, r.trouble, r.retryAt = 3, 2, &finding{}, in(time.Minute)
		}, 0},
		{"what was never read and fails is not tried without pause", func(o *v1alpha1.CloudIntegrationTenant, r *record) {
			o.Status = v1alpha1.CloudIntegrationTenantStatus{}
			r.tried = 2
			r.fail(noon, finding{})
		}, firstPause},
	} {
		tenant, rec := scanned(), &record{}
		if c.given != nil {
			c.given(tenant, rec)
		}
		if got := due(tenant, rec, noon); got != c.want {
			t.Errorf("%s: in %v, want %v", c.when, got, c.want)
		}
	}
}

func TestPausesGrowToTenMinutes(t *testing.T) {
	rec := &record{}
	var got []time.Duration
	for range 8 {
		rec.failed(errors.New("no route"), "login", noon)
		got = append(got, rec.retryAt.Sub(noon))
	}
	want := []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute, 10 * time.Minute}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	throttled := &upstream.Error{Class: upstream.Throttled, After: time.Hour, Message: "later"}
	if rec.failed(throttled, "login", noon); rec.retryAt != in(time.Hour) {
		t.Errorf("the tenant asked for an hour, and is called in %v", rec.retryAt.Sub(noon))
	}
}

// uses are what flows F1 and F2 and G name.
func found() scanning.Result {
	of := func(flow, alias string, class whereused.Class) whereused.Reference {
		return whereused.Reference{Flow: flow, Alias: alias, Class: class, Field: "credentialName"}
	}
	return scanning.Result{
		Flows: 3,
		References: []whereused.Reference{
			of("F1", "OURS", whereused.Exact), of("F2", "OURS", whereused.ViaParameter), of("F2", "OURS", whereused.Script),
			of("F1", "FOREIGN", whereused.Exact), of("G", "GONE", whereused.Exact), of("G", "${header.alias}", whereused.Dynamic),
			of("G", "pd:P1:ORDERS:UserCredential", whereused.PartnerDirectory),
		},
		Unreadable: []scanning.Unreadable{{Flow: "G", Why: strings.Repeat("w", 300)}, {Flow: "F2", Why: "hidden"}},
		Differs:    []string{"F1"},
		Existing:   []string{"OURS", "FOREIGN", "IDLE"},
	}
}

func TestWhatAScanFoundIsSetAgainstWhatIsManaged(t *testing.T) {
	managed := []v1alpha1.ManagedAlias{{Name: "OURS", Credential: "orders"}, {Name: "IDLE"}, {Name: "FOREIGN", Credential: "vanished"}}
	counts, aliases, incomplete := summary(managed, map[string]bool{"orders": true, "vanished": false}, found())
	if diff := cmp.Diff(&v1alpha1.AliasCounts{Flows: 3, Used: 3, Unmanaged: 1, Missing: 1, Unused: 1, Incomplete: 2, Dynamic: 1, Differing: 1}, counts); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]v1alpha1.AliasUse{
		{Name: "FOREIGN", State: v1alpha1.AliasUnmanaged, FlowCount: 1, Flows: []string{"F1"}},
		{Name: "GONE", State: v1alpha1.AliasMissing, FlowCount: 1, Flows: []string{"G"}},
		{Name: "IDLE", State: v1alpha1.AliasUnused},
		{Name: "OURS", State: v1alpha1.AliasManaged, Credential: "orders", FlowCount: 2, Flows: []string{"F1", "F2"}},
	}, aliases); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]v1alpha1.IncompleteFlow{{Flow: "F2", Why: "hidden"}, {Flow: "G", Why: strings.Repeat("w", 255) + "…"}}, incomplete); diff != "" {
		t.Error(diff)
	}
}

func TestALargeTenantFitsAStatus(t *testing.T) {
	many := scanning.Result{}
	var managed []v1alpha1.ManagedAlias
	for i := range 1000 {
		many.References = append(many.References, whereused.Reference{Flow: fmt.Sprintf("flow-%04d", i), Alias: "POPULAR", Class: whereused.Exact},
			whereused.Reference{Flow: "one", Alias: fmt.Sprintf("FOREIGN-%04d", i), Class: whereused.Exact})
		many.Existing = append(many.Existing, fmt.Sprintf("FOREIGN-%04d", i))
		many.Unreadable = append(many.Unreadable, scanning.Unreadable{Flow: fmt.Sprint(i)})
	}
	for i := range 100 {
		managed = append(managed, v1alpha1.ManagedAlias{Name: fmt.Sprintf("IDLE-%04d", i)})
	}
	counts, aliases, incomplete := summary(managed, nil, many)
	if diff := cmp.Diff(&v1alpha1.AliasCounts{Used: 1001, Unmanaged: 1000, Missing: 1, Unused: 100, Incomplete: 1000}, counts); diff != "" {
		t.Error(diff)
	}
	states := map[v1alpha1.AliasState]int{}
	for _, alias := range aliases {
		states[alias.State]++
		if alias.Name == "POPULAR" && (alias.FlowCount != 1000 || len(alias.Flows) != maxFlows) {
			t.Errorf("%d flows are counted and %d named", alias.FlowCount, len(alias.Flows))
		}
	}
	if diff := cmp.Diff(map[v1alpha1.AliasState]int{v1alpha1.AliasMissing: 1, v1alpha1.AliasUnused: 100, v1alpha1.AliasUnmanaged: 155}, states); diff != "" {
		t.Error("what is to be looked at must not be cut off:", diff)
	}
	if len(incomplete) != maxIncomplete {
		t.Errorf("%d incomplete flows are named", len(incomplete))
	}
}

func TestWhatPeopleShouldLookAt(t *testing.T) {
	alias := func(state v1alpha1.AliasState, names ...string) (list []v1alpha1.AliasUse) {
		for _, name := range names {
			list = append(list, v1alpha1.AliasUse{Name: name, State: state})
		}
		return list
	}
	some := []v1alpha1.ManagedAlias{{Name: "OURS"}}
	for _, c := range []struct {
		when            string
		managed         []v1alpha1.ManagedAlias
		counts          v1alpha1.AliasCounts
		aliases         []v1alpha1.AliasUse
		reason, message string
	}{
		{"nothing, where all is in order", some, v1alpha1.AliasCounts{Used: 4}, nil, "", ""},
		{
			"what is missing, first", some,
			v1alpha1.AliasCounts{Missing: 1, Unused: 1},
			append(alias(v1alpha1.AliasMissing, "GONE"), alias(v1alpha1.AliasUnused, "IDLE")...),
			v1alpha1.ReasonAliasesMissing, "used and not in the tenant: GONE; managed and no use was found: IDLE",
		},
		{
			"what nobody manages, by the first names", some,
			v1alpha1.AliasCounts{Unmanaged: 7},
			alias(v1alpha1.AliasUnmanaged, "A", "B", "C", "D", "E", "F", "G"),
			v1alpha1.ReasonAliasesUnmanaged, "used and managed by nobody: A, B, C, D, E and 2 more",
		},
		{"not so where nobody said what is managed", nil, v1alpha1.AliasCounts{Unmanaged: 1}, alias(v1alpha1.AliasUnmanaged, "A"), "", ""},
		{
			"an unused alias, with a doubt where flows are hidden", some,
			v1alpha1.AliasCounts{Unused: 1, Incomplete: 2},
			alias(v1alpha1.AliasUnused, "IDLE"),
			v1alpha1.ReasonAliasesUnused, "managed and no use was found: IDLE; not everything could be read of 2 flows, so that no use was found proves nothing",
		},
		{
			"hidden flows alone", nil,
			v1alpha1.AliasCounts{Incomplete: 1},
			nil,
			v1alpha1.ReasonScanIncomplete, "not everything could be read of 1 flows, so that no use was found proves nothing",
		},
	} {
		reason, message := attention(c.managed, &v1alpha1.CloudIntegrationTenantStatus{Counts: &c.counts, Aliases: c.aliases})
		if reason != c.reason || message != c.message {
			t.Errorf("%s: %q, %q", c.when, reason, message)
		}
	}
}

func TestWhatATenantSaysOfItself(t *testing.T) {
	type said struct{ Ready, Progress string }
	for _, c := range []struct {
		when  string
		given func(*v1alpha1.CloudIntegrationTenant, *record)
		want  said
	}{
		{"a tenant that was read is ready", nil, said{"True Scanned 2 flows use 1 aliases.", ""}},
		{"before the first scan ends it is being read", func(o *v1alpha1.CloudIntegrationTenant, _ *record) {
			o.Status = v1alpha1.CloudIntegrationTenantStatus{}
		}, said{"False Scanning The tenant is being read.", "Reconciling"}},
		{
			"so it is with a new spec, where this process has not read it", func(o *v1alpha1.CloudIntegrationTenant, _ *record) { o.Generation = 3 },
			said{"False Scanning The tenant is being read.", "Reconciling"},
		},
		{"a new spec is set against what this process has read", func(o *v1alpha1.CloudIntegrationTenant, r *record) {
			o.Generation, r.found = 3, &scanning.Result{Flows: 9}
		}, said{"True Scanned 9 flows use 0 aliases.", ""}},
		{"a failure that may pass is not told at once", func(_ *v1alpha1.CloudIntegrationTenant, r *record) {
			r.failed(errors.New("no route"), "login", noon)
		}, said{"True Scanned 2 flows use 1 aliases.", ""}},
		{"nor before the first scan", func(o *v1alpha1.CloudIntegrationTenant, r *record) {
			o.Status = v1alpha1.CloudIntegrationTenantStatus{}
			r.failed(upstream.Errorf(upstream.Throttled, "slow down"), "login", noon)
		}, said{"False Scanning The tenant is being read.", "Reconciling"}},
		{"one that stays is", func(_ *v1alpha1.CloudIntegrationTenant, r *record) {
			for range tolerated + 1 {
				r.failed(upstream.Errorf(upstream.Retryable, "no route"), "login", noon)
			}
		}, said{"False Unreachable no route", "Reconciling"}},
		{"a refused login is told at once, with its Secret", func(_ *v1alpha1.CloudIntegrationTenant, r *record) {
			r.failed(upstream.Errorf(upstream.LoginFailed, "who are you"), "reader", noon)
		}, said{"False LoginFailed who are you (Secret reader; a corrected one is tried within ten minutes)", "Stalled"}},
		{"a missing role is told at once", func(_ *v1alpha1.CloudIntegrationTenant, r *record) {
			r.failed(upstream.Errorf(upstream.Forbidden, "it needs a role"), "reader", noon)
		}, said{"False UpstreamForbidden it needs a role", "Stalled"}},
		{"a missing Secret is told at once, and waited for", func(_ *v1alpha1.CloudIntegrationTenant, r *record) {
			r.fail(noon, finding{reason: v1alpha1.ReasonLoginSecretNotFound, message: "gone"})
		}, said{"False LoginSecretNotFound gone", "Reconciling"}},
	} {
		tenant, rec := scanned(), &record{}
		if c.given != nil {
			c.given(tenant, rec)
		}
		status := projected(tenant, rec, nil, metav1.NewTime(noon))
		var got said
		for _, condition := range status.Conditions {
			switch condition.Type {
			case v1alpha1.ConditionReady:
				got.Ready = fmt.Sprintf("%s %s %s", condition.Status, condition.Reason, condition.Message)
			case v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled:
				got.Progress += condition.Type
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" || status.ObservedGeneration != tenant.Generation {
			t.Errorf("%s: %s", c.when, diff)
		}
	}
}
