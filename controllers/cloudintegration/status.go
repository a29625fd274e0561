package cloudintegration

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	scanning "github.com/claviger-dev/claviger/internal/cloudintegration"
	"github.com/claviger-dev/claviger/internal/cloudintegration/whereused"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// firstPause follows the first failure, longestPause many. A login that was mended is
	// noticed by then.
	firstPause   = 15 * time.Second
	longestPause = 10 * time.Minute
	// tolerated is how many failures in a row that prove nothing are kept to oneself.
	tolerated = 3
	// Bounds of the lists of a status.
	maxAliases    = 256
	maxFlows      = 10
	maxIncomplete = 32
	// maxNamed is how many names a message holds.
	maxNamed = 5
	// maxWhy bounds a reason, in characters.
	maxWhy = 256
)

// finding is what keeps a tenant from being read.
type finding struct {
	reason, message string
	// stalled: a person has to change something first. passes: it may be over in a moment.
	stalled, passes bool
}

// due is how long the next step has to wait; nothing or less if it is due.
func due(tenant *v1alpha1.CloudIntegrationTenant, rec *record, now time.Time) time.Duration {
	last := rec.scannedAt
	switch {
	case rec.trouble != nil && rec.tried == tenant.Generation:
		return rec.retryAt.Sub(now)
	case rec.busy:
		return 0
	case rec.tried == 0 && tenant.Status.ObservedGeneration == tenant.Generation && scannedBefore(&tenant.Status) && meta.IsStatusConditionTrue(tenant.Status.Conditions, v1alpha1.ConditionReady):
		// An operator that has just started does not read all tenants at once.
		last = tenant.Status.ScannedAt.Time
	case rec.tried != tenant.Generation || last.IsZero():
		return 0
	}
	if rec.hurried() {
		if rec.found == nil {
			return 0
		}
		return last.Add(min(lookAgain, tenant.Spec.RescanAfter.Duration)).Sub(now)
	}
	return last.Add(tenant.Spec.RescanAfter.Duration).Sub(now)
}

// scannedBefore: a status that people edited or restored in part may lack what a scan has found.
func scannedBefore(status *v1alpha1.CloudIntegrationTenantStatus) bool {
	return status.ScannedAt != nil && status.Counts != nil
}

// failed notes a step that failed.
func (rec *record) failed(err error, secret string, now time.Time) {
	rec.fail(now, explained(err, secret))
	rec.retryAt = now.Add(max(rec.retryAt.Sub(now), upstream.AfterOf(err)))
}

func (rec *record) fail(now time.Time, f finding) {
	pause := min(firstPause<<min(rec.failures, 10), longestPause)
	rec.failures++
	rec.trouble, rec.retryAt = &f, now.Add(pause)
}

// explained says an error in the words of a condition. Only classified errors are made for
// people; any other one may quote a request.
func explained(err error, secret string) finding {
	f := finding{reason: v1alpha1.ReasonUnreachable, passes: true, message: "The tenant failed in a way that is not known."}
	if known, ok := errors.AsType[*upstream.Error](err); ok {
		f.message = known.Message
	}
	switch upstream.ClassOf(err) {
	case upstream.LoginFailed:
		f.reason, f.stalled, f.passes = v1alpha1.ReasonLoginFailed, true, false
		f.message += " (Secret " + secret + "; a corrected one is tried within ten minutes)"
	case upstream.InvalidSpec:
		f.reason, f.stalled, f.passes = v1alpha1.ReasonInvalidSettings, true, false
	case upstream.Forbidden:
		f.reason, f.stalled, f.passes = v1alpha1.ReasonUpstreamForbidden, true, false
	case upstream.Throttled:
		f.reason = v1alpha1.ReasonUpstreamThrottled
	}
	return f
}

// projected is the status that tells what is known. exists says which credentials there are.
func projected(tenant *v1alpha1.CloudIntegrationTenant, rec *record, exists map[string]bool, now metav1.Time) v1alpha1.CloudIntegrationTenantStatus {
	status := *tenant.Status.DeepCopy()
	status.ObservedGeneration = tenant.Generation
	set := func(name string, is metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: name, Status: is, Reason: reason, Message: message, ObservedGeneration: tenant.Generation, LastTransitionTime: now,
		})
	}
	meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionReconciling)
	meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionStalled)
	if rec.found != nil {
		at := metav1.NewTime(rec.scannedAt.Truncate(time.Second))
		status.ScannedAt = &at
		status.Counts, status.Aliases, status.Incomplete = summary(managed(tenant, rec), exists, *rec.found)
	}
	status.Deliveries = rec.deliveries(status.Deliveries, now.Time)
	if rec.found != nil || scannedBefore(&status) || len(rec.wants) > 0 {
		if reason, message := attention(managed(tenant, rec), &status); reason == "" {
			meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionAttention)
		} else {
			set(v1alpha1.ConditionAttention, metav1.ConditionTrue, reason, message)
		}
	}
	f := rec.trouble
	switch {
	case f != nil && (!f.passes || rec.failures > tolerated):
		progress := v1alpha1.ConditionReconciling
		if f.stalled {
			progress = v1alpha1.ConditionStalled
		}
		set(v1alpha1.ConditionReady, metav1.ConditionFalse, f.reason, f.message)
		set(progress, metav1.ConditionTrue, f.reason, f.message)
	case !scannedBefore(&status), rec.found == nil && tenant.Status.ObservedGeneration != tenant.Generation:
		const message = "The tenant is being read."
		set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonScanning, message)
		set(v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonScanning, message)
	default:
		set(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonScanned,
			fmt.Sprintf("%d flows use %d aliases.", status.Counts.Flows, status.Counts.Used))
	}
	return status
}

// managed are the aliases that the spec names, and those that are delivered.
func managed(tenant *v1alpha1.CloudIntegrationTenant, rec *record) []v1alpha1.ManagedAlias {
	all := slices.Clone(tenant.Spec.Aliases)
	for i := range rec.wants {
		w := &rec.wants[i]
		if w.problem == "" && !slices.ContainsFunc(all, func(m v1alpha1.ManagedAlias) bool { return m.Name == w.alias }) {
			all = append(all, v1alpha1.ManagedAlias{Name: w.alias, Credential: w.name})
		}
	}
	return all
}

// deliveries are those that credentials want, as the tenant was seen. What was said of one that
// was not read yet stands, so that a restart writes nothing.
func (rec *record) deliveries(before []v1alpha1.DeliveryStatus, now time.Time) []v1alpha1.DeliveryStatus {
	var all []v1alpha1.DeliveryStatus
	for i := range rec.wants {
		w := &rec.wants[i]
		h := rec.held[w.place]
		d := v1alpha1.DeliveryStatus{Alias: w.alias, Credential: w.name, As: w.spec.As, Problem: shortened(w.trouble(h, now))}
		if said := slices.IndexFunc(before, func(b v1alpha1.DeliveryStatus) bool {
			return b.Alias == d.Alias && b.Credential == d.Credential && b.As == d.As
		}); !h.seen && said >= 0 {
			d.Version, d.DeliveredAt, d.Current = before[said].Version, before[said].DeliveredAt, before[said].Current
		}
		if n, ours := w.holds(h.entry); h.seen && ours {
			at := metav1.NewTime(h.since.Truncate(time.Second))
			d.Version, d.DeliveredAt, d.Current = n.version, &at, w.judge(h) == current
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b v1alpha1.DeliveryStatus) int {
		return cmp.Or(cmp.Compare(a.Alias, b.Alias), cmp.Compare(a.Credential, b.Credential))
	})
	return all[:min(len(all), maxAliases)]
}

// failing are the deliveries that do not get on.
func failing(deliveries []v1alpha1.DeliveryStatus) []string {
	var all []string
	for _, d := range deliveries {
		if d.Problem != "" {
			all = append(all, fmt.Sprintf("%s of %s: %s", d.Alias, d.Credential, d.Problem))
		}
	}
	return all
}

// summary sets what a scan found against what is managed.
func summary(managed []v1alpha1.ManagedAlias, exists map[string]bool, found scanning.Result) (*v1alpha1.AliasCounts, []v1alpha1.AliasUse, []v1alpha1.IncompleteFlow) {
	uses, dynamic := map[string]*v1alpha1.AliasUse{}, map[string]bool{}
	flows := map[string]map[string]bool{}
	for _, reference := range found.References {
		if !reference.Known() {
			dynamic[reference.Flow] = true
			continue
		}
		if reference.Class == whereused.PartnerDirectory {
			continue // it is no security material, and cannot be set against it
		}
		if flows[reference.Alias] == nil {
			flows[reference.Alias] = map[string]bool{}
			uses[reference.Alias] = &v1alpha1.AliasUse{Name: reference.Alias, State: v1alpha1.AliasMissing}
		}
		flows[reference.Alias][reference.Flow] = true
	}
	for _, alias := range found.Existing {
		if use := uses[alias]; use != nil {
			use.State = v1alpha1.AliasUnmanaged
		}
	}
	counts := &v1alpha1.AliasCounts{
		Flows: bounded(found.Flows), Used: bounded(len(uses)), Incomplete: bounded(len(found.Unreadable)), Dynamic: bounded(len(dynamic)), Differing: bounded(len(found.Differs)),
	}
	for _, alias := range managed {
		use := uses[alias.Name]
		if use == nil {
			use = &v1alpha1.AliasUse{Name: alias.Name, State: v1alpha1.AliasUnused}
			uses[alias.Name] = use
		} else if alias.Credential == "" || exists[alias.Credential] {
			use.State = v1alpha1.AliasManaged
		}
		if exists[alias.Credential] {
			use.Credential = alias.Credential
		}
	}
	var list []v1alpha1.AliasUse
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		use := uses[name]
		users := slices.Sorted(maps.Keys(flows[name]))
		use.FlowCount, use.Flows = bounded(len(users)), users[:min(len(users), maxFlows)]
		switch use.State {
		case v1alpha1.AliasUnmanaged:
			counts.Unmanaged++
		case v1alpha1.AliasMissing:
			counts.Missing++
		case v1alpha1.AliasUnused:
			counts.Unused++
		case v1alpha1.AliasManaged:
		}
		list = append(list, *use)
	}
	var incomplete []v1alpha1.IncompleteFlow
	for _, flow := range found.Unreadable {
		incomplete = append(incomplete, v1alpha1.IncompleteFlow{Flow: flow.Flow, Why: shortened(flow.Why)})
	}
	slices.SortStableFunc(incomplete, func(a, b v1alpha1.IncompleteFlow) int { return cmp.Compare(a.Flow, b.Flow) })
	return counts, kept(list), incomplete[:min(len(incomplete), maxIncomplete)]
}

// kept cuts the list to what a status holds: what is to be looked at goes before what is in order.
func kept(list []v1alpha1.AliasUse) []v1alpha1.AliasUse {
	if len(list) <= maxAliases {
		return list
	}
	slices.SortStableFunc(list, func(a, b v1alpha1.AliasUse) int { return cmp.Compare(urgency(a.State), urgency(b.State)) })
	list = list[:maxAliases]
	slices.SortFunc(list, func(a, b v1alpha1.AliasUse) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func urgency(state v1alpha1.AliasState) int {
	return slices.Index([]v1alpha1.AliasState{v1alpha1.AliasMissing, v1alpha1.AliasUnused, v1alpha1.AliasManaged, v1alpha1.AliasUnmanaged}, state)
}

// attention says what people should look at; reason is empty if nothing is.
func attention(managed []v1alpha1.ManagedAlias, status *v1alpha1.CloudIntegrationTenantStatus) (reason, message string) {
	counts := v1alpha1.AliasCounts{}
	if status.Counts != nil {
		counts = *status.Counts
	}
	unmanaged := counts.Unmanaged
	if len(managed) == 0 {
		unmanaged = 0 // nobody has said yet what is managed
	}
	var parts []string
	add := func(because string, count int32, part string) {
		if count == 0 {
			return
		}
		if reason == "" {
			reason = because
		}
		parts = append(parts, part)
	}
	names := func(state v1alpha1.AliasState, count int32) string { return named(status.Aliases, state, count) }
	if undelivered := failing(status.Deliveries); len(undelivered) > 0 {
		more := ""
		if len(undelivered) > maxNamed {
			more = fmt.Sprintf(" and %d more", len(undelivered)-maxNamed)
		}
		add(v1alpha1.ReasonDeliveriesFailing, 1, "not delivered: "+strings.Join(undelivered[:min(len(undelivered), maxNamed)], "; ")+more)
	}
	add(v1alpha1.ReasonAliasesMissing, counts.Missing, "used and not in the tenant: "+names(v1alpha1.AliasMissing, counts.Missing))
	add(v1alpha1.ReasonAliasesUnmanaged, unmanaged, "used and managed by nobody: "+names(v1alpha1.AliasUnmanaged, unmanaged))
	add(v1alpha1.ReasonAliasesUnused, counts.Unused, "managed and no use was found: "+names(v1alpha1.AliasUnused, counts.Unused))
	add(v1alpha1.ReasonScanIncomplete, counts.Incomplete, fmt.Sprintf("not everything could be read of %d flows, so that no use was found proves nothing", counts.Incomplete))
	return reason, strings.Join(parts, "; ")
}

// named lists the first names of a state.
func named(aliases []v1alpha1.AliasUse, state v1alpha1.AliasState, count int32) string {
	var names []string
	for _, alias := range aliases {
		if alias.State == state && len(names) < maxNamed {
			names = append(names, alias.Name)
		}
	}
	text := strings.Join(names, ", ")
	if more := int(count) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// bounded is a count as the API has it.
func bounded(n int) int32 { return int32(min(n, 1<<30)) }

// shortened is at most maxWhy characters of a text that a tenant had its part in.
func shortened(text string) string {
	if runes := []rune(text); len(runes) > maxWhy {
		return string(runes[:maxWhy-1]) + "…"
	}
	return text
}
