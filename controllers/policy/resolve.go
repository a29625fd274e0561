// Package policy tells which RotationPolicy applies to a credential, and tells each
// policy's author whether it is applied at all. The one idea: the choice and the
// meaning of a policy are pure functions, so that the reconciler that renews and the
// one that counts cannot differ.
package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/approval"
	"github.com/claviger-dev/claviger/internal/interval"
)

// Preferences are a policy as the planner uses it.
type Preferences struct {
	// RotateAfter is the age at which a version is renewed; Unlimited is never.
	RotateAfter interval.Interval
	// Overlap is how long the predecessor stays valid after publication, at least.
	Overlap interval.Interval
	// RenewBefore is how long before the upstream's own end a version is renewed; zero is a
	// third of its life.
	RenewBefore interval.Interval
	// KeepsWindows: what the upstream ends before the next window opens is not renewed before.
	KeepsWindows bool
	// Replace: a renewal may end what workloads hold.
	Replace bool
	// Windows for routine renewal and retirement; none means always.
	Windows interval.Windows
	// VerifyTimeout is how long refusals of new material are patience; zero leaves it
	// to the upstream.
	VerifyTimeout time.Duration
	// Uptake says whether pods are watched.
	Uptake Uptake
	// Rollout says how workloads are restarted.
	Rollout Rollout
}

// Rollout is how workloads are restarted.
type Rollout struct {
	// Pause is the time between the end of one restart and the next one.
	Pause time.Duration
	// Timeout is how long a restart may take where no controller says that it fails.
	Timeout time.Duration
	// Coalesce is how long a restart waits for other credentials of the workload.
	Coalesce time.Duration
}

// Uptake is how a predecessor waits for pods.
type Uptake struct {
	// Consumers: it does.
	Consumers bool
	// Margin and Deadline count from publication.
	Margin, Deadline time.Duration
	// Hold: after the deadline, too.
	Hold bool
}

const (
	defaultMargin   = time.Minute
	defaultDeadline = 24 * time.Hour
	defaultTimeout  = 30 * time.Minute
	defaultCoalesce = 5 * time.Minute
)

// defaultOverlap is for renewals on request where no policy says otherwise.
const defaultOverlap = 24 * time.Hour

// Default are the preferences without a policy: nothing is due by age (hazard 2.6).
func Default() Preferences {
	return Preferences{
		RotateAfter: interval.Unlimited(), Overlap: interval.FromDuration(defaultOverlap),
		Uptake:  Uptake{Margin: defaultMargin, Deadline: defaultDeadline, Hold: true},
		Rollout: Rollout{Timeout: defaultTimeout, Coalesce: defaultCoalesce},
	}
}

// Compile reads a policy. The error is for people and names every field that cannot
// be used; it says what admission has refused already, too, because a cluster may
// hold what an older schema let in.
func Compile(spec v1alpha1.RotationPolicySpec) (Preferences, error) {
	p := Default()
	var problems []error
	fail := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	if rotateAfter, err := interval.Parse(string(spec.RotateAfter)); err != nil {
		fail("rotateAfter: %w", err)
	} else if rotateAfter.IsZero() {
		fail("rotateAfter: an interval of zero is refused")
	} else {
		p.RotateAfter = rotateAfter
	}
	switch overlap, err := interval.Parse(string(spec.Overlap)); {
	case spec.Overlap == "" && p.RotateAfter.IsUnlimited():
	case spec.Overlap == "":
		fail("overlap: required, because it says how long the old credential stays valid")
	case err != nil:
		fail("overlap: %w", err)
	case overlap.IsZero():
		fail("overlap: an interval of zero is refused: workloads would fail until they notice")
	case overlap.IsUnlimited():
		fail("overlap: cannot be Unlimited: the old credential would never be revoked")
	case !interval.DefinitelyLess(overlap, p.RotateAfter):
		fail("overlap: %s is not smaller than rotateAfter %s on every calendar", overlap, p.RotateAfter)
	default:
		p.Overlap = overlap
	}
	switch before, err := interval.Parse(string(spec.RenewBefore)); {
	case spec.RenewBefore == "":
	case err != nil:
		fail("renewBefore: %w", err)
	case before.IsZero() || before.IsUnlimited():
		fail("renewBefore: %s is refused: give a length of time", before)
	default:
		p.RenewBefore = before
	}
	p.Replace = spec.Strategy == v1alpha1.StrategyReplace
	p.KeepsWindows = spec.ExpiringOutsideWindows == v1alpha1.ExpiringWait
	for i, w := range spec.Windows {
		window, err := interval.ParseWindow(w.Schedule, w.Duration.Duration.String(), w.TimeZone)
		if err != nil {
			fail("windows[%d]: %w", i, err)
			continue
		}
		p.Windows = append(p.Windows, window)
	}
	if timeout := spec.Verify.Timeout; timeout != nil {
		if timeout.Duration <= 0 {
			fail("verify.timeout: must be more than zero")
		}
		p.VerifyTimeout = timeout.Duration
	}
	if u := spec.Uptake; u != nil {
		p.Uptake = compileUptake(u, fail)
	}
	if rollout := spec.Rollout; rollout != nil {
		p.Rollout = compileRollout(p.Rollout, rollout, fail)
	}
	if spec.Approval != nil {
		if _, err := CompileDemand(approval.Reference{}, spec.Approval); err != nil {
			fail("approval: %w", err)
		}
	}
	if _, err := selectorOf(spec.Selector); err != nil {
		fail("selector: %w", err)
	}
	if err := errors.Join(problems...); err != nil {
		return Preferences{}, err
	}
	return p, nil
}

func compileUptake(u *v1alpha1.UptakePolicy, fail func(string, ...any)) Uptake {
	compiled := Uptake{
		Consumers: u.Mode == v1alpha1.UptakeConsumers, Margin: defaultMargin, Deadline: defaultDeadline, Hold: u.AfterDeadline != v1alpha1.AfterDeadlineRetire,
	}
	if u.Margin != nil {
		compiled.Margin = u.Margin.Duration
	}
	if u.Deadline != nil {
		compiled.Deadline = u.Deadline.Duration
	}
	if compiled.Margin < 0 {
		fail("uptake.margin: must not be less than zero")
	}
	if compiled.Deadline <= 0 {
		fail("uptake.deadline: must be more than zero")
	}
	return compiled
}

func compileRollout(compiled Rollout, r *v1alpha1.RolloutPolicy, fail func(string, ...any)) Rollout {
	for _, field := range []struct {
		name  string
		given *metav1.Duration
		least time.Duration
		into  *time.Duration
	}{
		{"pause", r.Pause, 0, &compiled.Pause},
		{"timeout", r.Timeout, time.Nanosecond, &compiled.Timeout},
		{"coalesce", r.Coalesce, 0, &compiled.Coalesce},
	} {
		if field.given == nil {
			continue
		}
		if field.given.Duration < field.least {
			fail("rollout.%s: must not be less than %s", field.name, field.least)
		}
		*field.into = field.given.Duration
	}
	return compiled
}

// Resolution is which policy applies to a credential.
type Resolution struct {
	// Policy that applies; nil if none does.
	Policy v1alpha1.Policy
	// Ambiguous names the other policies that select the credential, in the order in
	// which they would apply.
	Ambiguous []string
	// Missing is the name of a policy that the credential refers to and that does not
	// exist. Nothing else applies in its place: who names a policy wants that one.
	Missing string
}

// Place is a namespace as the cluster's kinds choose it.
type Place struct {
	Name   string
	Labels map[string]string
}

// Candidates are the policies that may apply in a namespace.
type Candidates struct {
	Place Place
	// Namespaced are those of the namespace, Cluster all of the cluster.
	Namespaced []v1alpha1.RotationPolicy
	Cluster    []v1alpha1.ClusterRotationPolicy
}

// Resolve finds the policy of a credential: the one that it names, else the oldest of its
// namespace whose selector matches, else the oldest of the cluster. A policy that is
// selected and cannot be used is returned all the same: falling back to another one would
// renew by rules that nobody wrote for this credential.
func Resolve(credential *v1alpha1.APIClientCredential, candidates Candidates) Resolution {
	return newResolver(candidates).resolve(credential)
}

// resolver answers for many credentials of one namespace.
type resolver struct {
	place               Place
	namespaced, cluster level
}

func newResolver(c Candidates) resolver {
	var namespaced, cluster []v1alpha1.Policy
	for i := range c.Namespaced {
		namespaced = append(namespaced, &c.Namespaced[i])
	}
	for i := range c.Cluster {
		if p := &c.Cluster[i]; chooses(&p.Spec.NamespaceSelector, c.Place) {
			cluster = append(cluster, p)
		}
	}
	return resolver{place: c.Place, namespaced: newLevel(namespaced), cluster: newLevel(cluster)}
}

func (r resolver) resolve(credential *v1alpha1.APIClientCredential) Resolution {
	if ref := credential.Spec.PolicyRef; ref != nil {
		if ref.Cluster() {
			return r.cluster.named(ref.Name)
		}
		return r.namespaced.named(ref.Name)
	}
	if found := r.namespaced.selected(credential); found.Policy != nil {
		return found
	}
	return r.cluster.selected(credential)
}

// chooses reports whether a selector of namespaces chooses one. One that cannot be read
// chooses none.
func chooses(selector *metav1.LabelSelector, place Place) bool {
	s, err := selectorOf(selector)
	return err == nil && s.Matches(labels.Set(place.Labels))
}

// Allows reports whether a choice of namespaces has one in it.
func Allows(choice *v1alpha1.NamespaceChoice, place Place) bool {
	return slices.Contains(choice.Names, place.Name) || choice.Selector != nil && chooses(choice.Selector, place)
}

// level is the policies of one kind.
type level struct {
	byName map[string]v1alpha1.Policy
	// oldest first, those with a selector only.
	selecting []selecting
}

type selecting struct {
	policy   v1alpha1.Policy
	selector labels.Selector
}

func newLevel(policies []v1alpha1.Policy) level {
	r := level{byName: map[string]v1alpha1.Policy{}}
	for _, p := range policies {
		r.byName[p.GetName()] = p
		if selector, err := selectorOf(p.PolicySpec().Selector); err == nil && !selectsNothing(selector) {
			r.selecting = append(r.selecting, selecting{policy: p, selector: selector})
		}
	}
	// By age and not by name first: otherwise a new policy called "a" would take over
	// (hazard M9).
	slices.SortFunc(r.selecting, func(a, b selecting) int {
		return cmp.Or(a.policy.GetCreationTimestamp().Compare(b.policy.GetCreationTimestamp().Time), cmp.Compare(a.policy.GetName(), b.policy.GetName()))
	})
	return r
}

func (r level) named(name string) Resolution {
	if named, ok := r.byName[name]; ok {
		return Resolution{Policy: named}
	}
	return Resolution{Missing: name}
}

func (r level) selected(credential *v1alpha1.APIClientCredential) Resolution {
	var found Resolution
	for _, s := range r.selecting {
		switch {
		case !s.selector.Matches(labels.Set(credential.Labels)):
		case found.Policy == nil:
			found.Policy = s.policy
		default:
			found.Ambiguous = append(found.Ambiguous, s.policy.GetName())
		}
	}
	return found
}

// selectorOf reads a selector: absent selects nothing, {} selects all.
func selectorOf(selector *metav1.LabelSelector) (labels.Selector, error) {
	return metav1.LabelSelectorAsSelector(selector)
}

func selectsNothing(selector labels.Selector) bool {
	_, selectable := selector.Requirements()
	return !selectable
}
