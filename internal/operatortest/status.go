package operatortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

const (
	// observedWithin is how long a status may lag behind its spec.
	observedWithin = 30 * time.Second
	// restFor is how long two looks are apart, and looks how often it is tried to have
	// nothing happen in between.
	restFor = 2 * time.Second
	looks   = 3
	// mostEntries is how often an object may come into the same state under the same spec.
	// An upstream that fails and recovers brings it back once or twice.
	mostEntries = 3
	// mostTimes is how many times one message may tell one after the other.
	mostTimes = 2
)

// Condition types of kstatus, in the words of the library and not of our API.
const (
	ready       = "Ready"
	reconciling = "Reconciling"
	stalled     = "Stalled"
)

// projection is what an object said of itself at one time.
type projection struct {
	kind, namespace, name, uid string

	resourceVersion    string
	generation         int64
	observedGeneration int64
	deleting           bool
	// version is the one that is published: a new one begins new deadlines.
	version    int64
	conditions []metav1.Condition
	// whole is the status as JSON.
	whole string
}

func (p *projection) String() string { return fmt.Sprintf("%s %s/%s", p.kind, p.namespace, p.name) }

// project reads an object of one of our kinds.
func project(object []byte) (projection, error) {
	var read struct {
		Kind     string
		Metadata metav1.ObjectMeta
		Status   json.RawMessage
	}
	if err := json.Unmarshal(object, &read); err != nil {
		return projection{}, err
	}
	m := &read.Metadata
	p := projection{
		kind: read.Kind, namespace: m.Namespace, name: m.Name, uid: string(m.UID), resourceVersion: m.ResourceVersion,
		generation: m.Generation, deleting: m.DeletionTimestamp != nil, whole: string(read.Status),
	}
	if len(read.Status) == 0 {
		return p, nil
	}
	var status struct {
		ObservedGeneration, Version int64
		Conditions                  []metav1.Condition
	}
	if err := json.Unmarshal(read.Status, &status); err != nil {
		return p, fmt.Errorf("status of %s: %w", &p, err)
	}
	p.observedGeneration, p.version, p.conditions = status.ObservedGeneration, status.Version, status.Conditions
	return p, nil
}

// LintStatus fails if an object of our kinds in a namespace ever broke the rules of kstatus
// since a mark, wrote a status that said nothing new, or does not come to rest while nothing
// happens around it. Without an operator that runs only the past is judged.
func (w *World) LintStatus(ctx context.Context, namespace string, since Mark) error {
	errs := []error{w.lintPast(namespace, since)}
	if len(w.running()) > 0 {
		errs = append(errs, w.awaitObserved(ctx, namespace), w.lintRest(ctx, namespace))
	}
	return errors.Join(errs...)
}

// lintPast judges every status that the operator wrote, from the API server's answers.
func (w *World) lintPast(namespace string, since Mark) error {
	histories := map[string][]projection{}
	var errs []error
	err := w.events(since, namespace, func(e event) error {
		if !e.Own() || e.ObjectRef.Subresource != "status" || e.ObjectRef.APIGroup != v1alpha1.GroupVersion.Group || e.ResponseStatus.Code != 200 {
			return nil
		}
		p, err := project(e.ResponseObject)
		if err == nil {
			histories[p.uid] = append(histories[p.uid], p)
		}
		return err
	})
	for _, history := range histories {
		errs = append(errs, lintHistory(history))
	}
	return errors.Join(append(errs, err)...)
}

// projections are what all objects of our kinds in a namespace say now.
func (w *World) projections(ctx context.Context, namespace string) (map[string]projection, error) {
	all := map[string]projection{}
	for _, kind := range []string{"APIClientCredentialList", "CredentialIssuerList", "RotationPolicyList", "CloudIntegrationTenantList"} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
		if err := w.Client.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
		for i := range list.Items {
			text, err := list.Items[i].MarshalJSON()
			if err != nil {
				return nil, err
			}
			p, err := project(text)
			if err != nil {
				return nil, err
			}
			all[p.uid] = p
		}
	}
	return all, nil
}

// awaitObserved waits until every status is about the present spec.
func (w *World) awaitObserved(ctx context.Context, namespace string) error {
	var behind []string
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, observedWithin, true, func(ctx context.Context) (bool, error) {
		all, err := w.projections(ctx, namespace)
		behind = nil
		for _, p := range all {
			if !p.deleting && p.observedGeneration != p.generation {
				behind = append(behind, fmt.Sprintf("%s observed generation %d of %d", &p, p.observedGeneration, p.generation))
			}
		}
		return len(behind) == 0, err
	})
	if err != nil {
		return fmt.Errorf("status behind its spec: %v: %w", behind, err)
	}
	return nil
}

// lintRest looks twice while nothing happens. Where something goes on happening there is no
// rest to judge.
func (w *World) lintRest(ctx context.Context, namespace string) error {
	var fault error
	for range looks {
		mark, err := w.Now()
		if err != nil {
			return err
		}
		before, err := w.projections(ctx, namespace)
		if err != nil {
			return err
		}
		pause := time.NewTimer(restFor)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
		after, err := w.projections(ctx, namespace)
		if err != nil {
			return err
		}
		disturbed, err := w.disturbed(mark, namespace)
		if err != nil {
			return err
		}
		if fault = lintLooks(before, after); fault == nil || disturbed {
			return nil
		}
	}
	return fault
}

// disturbed reports whether anything but a status was written in a namespace since a mark.
func (w *World) disturbed(since Mark, namespace string) (bool, error) {
	found := false
	err := w.events(since, namespace, func(e event) error {
		r := e.request()
		found = found || r.Write() && !dryRun(e.RequestURI) && e.ObjectRef.Resource != "leases" && e.ObjectRef.Resource != "events" && !(e.Own() && e.ObjectRef.Subresource == "status")
		return nil
	})
	return found, err
}

// lintLooks compares two looks between which nothing happened.
func lintLooks(before, after map[string]projection) error {
	var errs []error
	for uid, p := range after {
		if was, ok := before[uid]; ok && was.whole != p.whole {
			errs = append(errs, fmt.Errorf("%s changes its status though nothing happens:\n  %s\n  %s", &p, was.whole, p.whole))
		} else if ok && was.resourceVersion != p.resourceVersion && was.generation == p.generation {
			errs = append(errs, fmt.Errorf("%s is written though nothing happens and nothing changes", &p))
		}
	}
	return errors.Join(errs...)
}

// lintHistory judges what one object said, one after the other.
func lintHistory(history []projection) error {
	var errs []error
	entries, versions := map[string]int{}, map[string]bool{}
	last := ""
	told := map[string]*clockwork{}
	for i := range history {
		p := &history[i]
		errs = append(errs, lintState(p))
		if versions[p.resourceVersion] {
			errs = append(errs, fmt.Errorf("%s: a status was written that changed nothing: %s", p, p.whole))
		}
		versions[p.resourceVersion] = true
		if state := p.state(); state != last {
			last = state
			if entries[state]++; entries[state] == mostEntries+1 {
				errs = append(errs, fmt.Errorf("%s flaps: it came into the same state %d times: %s", p, mostEntries+1, state))
			}
		}
		for _, c := range p.conditions {
			key := fmt.Sprintf("%d %d %s %s %s", p.generation, p.version, c.Type, c.Reason, timestamp.ReplaceAllString(c.Message, "<time>"))
			if told[key] == nil {
				told[key] = &clockwork{}
			}
			if told[key].tick(c.Message) == mostTimes+1 {
				errs = append(errs, fmt.Errorf("%s: the message of %s tells one time after the other: %s", p, c.Type, c.Message))
			}
		}
	}
	return errors.Join(errs...)
}

// clockwork counts the different messages that a condition has had in the same words.
type clockwork struct{ messages []string }

func (c *clockwork) tick(message string) int {
	if slices.Contains(c.messages, message) {
		return 0
	}
	c.messages = append(c.messages, message)
	return len(c.messages)
}

// state is what people see of the conditions, without times of transition.
func (p *projection) state() string {
	lines := []string{fmt.Sprintf("generation %d, version %d", p.generation, p.version)}
	for _, c := range p.conditions {
		lines = append(lines, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	slices.Sort(lines[1:])
	return strings.Join(lines, "; ")
}

var (
	// timestamp is a time in the form that the API uses. A message may name one that was
	// agreed on, such as a deadline.
	timestamp = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)
	// moment is a time as programs print it who tell when something happened: with
	// fractions, without a zone, with Go's monotonic clock, or a duration that was measured.
	moment = regexp.MustCompile(`\d\d:\d\d:\d\d\.\d+|\d{4}-\d\d-\d\d \d\d:\d\d|m=\+\d|\b\d+(\.\d+)?(ms|µs|ns)\b|\b\d+\.\d+s\b`)
	// clockTime is a time of the day that no timestamp holds.
	clockTime = regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`)
)

// lintState judges one look at one object by itself.
func lintState(p *projection) error {
	var errs []error
	sin := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s: %s", p, fmt.Sprintf(format, args...), p.state()))
	}
	status := map[string]metav1.ConditionStatus{}
	if p.observedGeneration > p.generation {
		sin("it observed generation %d and is at %d", p.observedGeneration, p.generation)
	}
	for _, c := range p.conditions {
		if _, twice := status[c.Type]; twice {
			sin("%s is there twice", c.Type)
		}
		status[c.Type] = c.Status
		if c.Reason == "" || c.Message == "" || c.LastTransitionTime.IsZero() {
			sin("%s lacks a reason, a message or a time", c.Type)
		}
		if c.ObservedGeneration != p.observedGeneration {
			sin("%s is about generation %d and the status about %d", c.Type, c.ObservedGeneration, p.observedGeneration)
		}
		if moment.MatchString(c.Message) || clockTime.MatchString(timestamp.ReplaceAllString(c.Message, "")) {
			sin("the message of %s tells when something happened", c.Type)
		}
	}
	abnormal := 0
	for _, kind := range []string{reconciling, stalled} {
		if s, ok := status[kind]; ok {
			abnormal++
			if s != metav1.ConditionTrue {
				sin("%s stands there and is not True", kind)
			}
		}
	}
	switch s, ok := status[ready]; {
	case abnormal > 1:
		sin("Reconciling and Stalled stand beside each other")
	case s == metav1.ConditionTrue && abnormal > 0:
		sin("Ready=True stands beside Reconciling or Stalled")
	case ok && s != metav1.ConditionTrue && abnormal == 0:
		sin("Ready=%s stands there without Reconciling or Stalled", s)
	}
	return errors.Join(errs...)
}
