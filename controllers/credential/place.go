package credential

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// longestLook bounds the pauses between looks at what the upstream works on.
const longestLook = 30 * time.Second

// deed is what was asked of a managed place, until a look shows what became of it.
type deed struct{ done, doing string }

var (
	made    = deed{"made", "the managed instance cannot be made"}
	changed = deed{"changed", "the managed instance cannot be made what the spec wants"}
	deleted = deed{"deleted", "the managed instance cannot be deleted"}
)

// placing is what this process remembers of a managed place. Losing it costs a look.
type placing struct {
	// seen is when this process looked last. applied is what the place was then, container, name and id
	// which one it was; empty if there was none.
	seen                         time.Time
	applied, container, name, id string
	// asked is what was asked of it; zero if nothing was since a look has shown the outcome.
	asked       deed
	absentSince time.Time
	ended       bool
	// hidden is why it cannot be looked at, resting what the last deed has come to.
	hidden, resting setback
	// account is the one that they are about: another one may have other rights.
	account upstream.Upstream
}

// about forgets what another account has refused: it would keep this one from being tried.
func (p *placing) about(account upstream.Upstream) {
	if p.account != account {
		p.account, p.hidden, p.resting = account, setback{}, setback{}
	}
}

func (m *memory) place(uid types.UID, change func(*placing)) placing {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.places[uid]
	if change != nil {
		change(&p)
		m.places[uid] = p
	}
	return p
}

// managed is the place that the spec asks for; nil if it asks for none.
func (s *scope) managed() *v1alpha1.ManagedInstance {
	if s.credential == nil {
		return nil
	}
	return s.credential.Spec.ManagedInstance()
}

// placeWanted is the place as adapters are asked for it.
func (s *scope) placeWanted() upstream.Place {
	place := upstream.Place{
		Parameters: s.parameters, Owner: journal.PlaceOwner(s.clusterID, s.key), Name: journal.PlaceName(s.clusterID, s.key), Title: s.key.String(),
	}
	if before := s.credential.Annotations[v1alpha1.AnnotationTakeOverFrom]; before != "" {
		place.Former = journal.PlaceOwner(before, s.key)
	}
	return place
}

// observePlace puts it into the planner's words.
func (s *scope) observePlace() rotation.Place {
	if s.managed() == nil {
		return rotation.Place{}
	}
	p := s.memory.place(s.uid, nil)
	place := rotation.Place{
		Managed: true, Leaves: s.credential.Spec.DeletesInstance(),
		Exists: s.place.Container != "", Usable: s.place.Usable, Differs: s.place.Differs, AbsentSince: p.absentSince, Ended: p.ended,
	}
	if provisioner, ok := s.account.Upstream.(upstream.Provisioner); ok {
		wanted := provisioner.Managed(s.parameters)
		known := p.applied
		if before := s.credential.Status.ManagedInstance; p.seen.IsZero() && before != nil {
			known = before.Applied
		}
		// A status may have been restored, or written by anybody, and people change what is there: so
		// each word of the verdict is looked into as well.
		listed := s.account.Places[journal.PlaceOwner(s.clusterID, s.key)]
		place.Doubted = known != wanted || s.account.PlacesAt.After(p.seen) && listed != wanted
	}
	// Another spec is another attempt, and so is another account.
	same := func(b setback) bool {
		return b.generation == s.credential.Generation && p.account == s.account.Upstream
	}
	if same(p.hidden) {
		place.Hidden, place.HiddenUntil = p.hidden.trouble, p.hidden.notBefore
	}
	if same(p.resting) {
		place.Trouble, place.NotBefore = p.resting.trouble, p.resting.notBefore
	}
	return place
}

// lookAtPlace reads the place upstream. That it cannot be read is a fact as well.
func (r *Reconciler) lookAtPlace(ctx context.Context, s *scope, _ rotation.Step) error {
	provisioner, ok := s.account.Upstream.(upstream.Provisioner)
	if !ok || s.managed() == nil {
		return errBusy // the spec or the issuer has changed since the decision
	}
	wanted := s.placeWanted()
	var found upstream.Provisioned
	err := r.call(ctx, s, func(ctx context.Context) (err error) {
		found, err = provisioner.Find(ctx, wanted)
		return err
	})
	if errorsIsBusy(err) {
		return err
	}
	now := r.Clock.Now()
	left := err != nil && upstream.ClassOf(err) == upstream.Conflict && s.credential.DeletionTimestamp != nil
	if left {
		// What is not its own alone does not hold a credential that goes, nor its namespace.
		log.FromContext(ctx).Info("the managed instance is left where it is", "cause", err.Error())
		r.event(s, corev1.EventTypeWarning, v1alpha1.ReasonInstanceTaken, "Deprovision", "nothing is deleted: %s", messageOf(err))
		err = nil
	}
	var news deed
	p := s.memory.place(s.uid, func(p *placing) {
		p.about(s.account.Upstream)
		if left {
			p.container, p.asked = "", deed{}
		}
		if err != nil {
			p.hidden = s.placeTrouble(p.hidden, "the managed instance cannot be looked at", err, now)
			return
		}
		news = p.see(s, found, provisioner.Managed(wanted.Parameters), now)
	})
	s.place = found
	if v := s.version(s.observeTarget().Published); v != nil && found.Usable && v.Container != found.Container {
		// The instance was made anew, and no key outlives its own. The upstream is asked before it
		// is believed.
		s.memory.remember(v.UID, func(m *recollection) { m.doubt = "it was made in a service instance that is gone" })
	}
	if news != (deed{}) {
		log.FromContext(ctx).Info("the managed instance was "+news.done, "instance", p.name, "container", p.container)
	}
	switch news {
	case made:
		r.event(s, corev1.EventTypeNormal, "InstanceCreated", "Provision", "the service instance %s is made (guid %s)", p.name, p.id)
	case changed:
		r.event(s, corev1.EventTypeNormal, "InstanceUpdated", "Provision", "the service instance %s has what the spec wants (guid %s)", p.name, p.id)
	case deleted:
		r.event(s, corev1.EventTypeNormal, "InstanceDeleted", "Deprovision", "the service instance %s is deleted (guid %s)", p.name, p.id)
	}
	return nil
}

// see keeps what a look showed and returns the deed whose outcome it is.
func (p *placing) see(s *scope, found upstream.Provisioned, wanted string, now time.Time) (news deed) {
	p.seen, p.applied = now, ""
	if found.Busy {
		pause := min(shortRetry<<min(p.hidden.failures, 10), longestLook)
		p.hidden = setback{failures: p.hidden.failures + 1, notBefore: now.Add(pause), generation: s.credential.Generation, trouble: &rotation.Problem{
			Reason: v1alpha1.ReasonProvisioning, Message: fmt.Sprintf("the upstream works on the service instance %s", found.Name),
		}}
		p.container, p.name, p.id = found.Container, found.Name, found.ID
		return news
	}
	asked := p.asked
	p.asked, p.hidden = deed{}, setback{}
	switch {
	case found.Container == "" && (asked == deleted || s.credential.DeletionTimestamp != nil && p.container != ""):
		// It was there and is gone, so no call that was to make it can be under way any more.
		p.ended, p.resting = true, setback{}
		return deleted
	case found.Container == "":
		if p.absentSince.IsZero() {
			p.absentSince = now
		}
		p.container, p.name, p.id = "", "", ""
	default:
		p.absentSince, p.container, p.name, p.id = time.Time{}, found.Container, found.Name, found.ID
	}
	if found.Usable && !found.Differs && asked != deleted {
		p.applied, p.resting = wanted, setback{}
		return asked
	}
	if asked != (deed{}) {
		err := error(upstream.Errorf(upstream.Retryable, "it was asked for, and nothing came of it"))
		if found.Failure != nil {
			err = found.Failure
		}
		p.rest(s, asked, err, found, now)
	}
	return news
}

// rest puts the next attempt off.
func (p *placing) rest(s *scope, asked deed, err error, found upstream.Provisioned, now time.Time) {
	p.resting = s.placeTrouble(p.resting, asked.doing, err, now)
	if !found.Usable && asked != deleted {
		p.hidden = p.resting // nothing is to be had there before the next attempt, so nobody looks
	}
}

// placeTrouble is fail in the words of places.
func (s *scope) placeTrouble(before setback, doing string, err error, now time.Time) setback {
	if before.generation != s.credential.Generation {
		before = setback{}
	}
	after := fail(before, doing, err, now)
	after.generation = s.credential.Generation
	switch upstream.ClassOf(err) {
	case upstream.Pending:
		after.trouble.Reason = v1alpha1.ReasonProvisioning
	case upstream.InvalidSpec, upstream.Rejected:
		after.trouble.Reason = v1alpha1.ReasonProvisioningFailed
	case upstream.Conflict:
		after.trouble.Reason, after.trouble.Stalled = v1alpha1.ReasonInstanceTaken, true
		if doing == deleted.doing {
			after.trouble.Reason = v1alpha1.ReasonInstanceNotEmpty
		}
		after.notBefore = now.Add(min(personRetry<<min(before.failures, 10), longestRetry))
	}
	return after
}

// provision asks the upstream to make, change or delete the place. What becomes of it, the next
// look shows.
func (r *Reconciler) provision(ctx context.Context, s *scope, step rotation.Step) error {
	provisioner, ok := s.account.Upstream.(upstream.Provisioner)
	if !ok || s.managed() == nil {
		return errBusy
	}
	asked, do := changed, provisioner.Provision
	switch {
	case step.Action == rotation.Deprovision:
		asked, do = deleted, provisioner.Deprovision
	case !s.place.Usable:
		asked = made
	}
	wanted := s.placeWanted()
	err := r.call(ctx, s, func(ctx context.Context) error { return do(ctx, wanted) })
	if errorsIsBusy(err) {
		return err
	}
	s.fresh &^= rotation.FactPlace
	now, class := r.Clock.Now(), upstream.ClassOf(err)
	s.memory.place(s.uid, func(p *placing) {
		p.about(s.account.Upstream)
		if err == nil || class == upstream.OutcomeUnknown {
			p.asked, p.absentSince = asked, time.Time{}
		}
		if err != nil {
			p.rest(s, asked, err, s.place, now)
		}
	})
	log.FromContext(ctx).Info("the managed instance is asked for", "deed", asked.done, "cause", step.Cause, "requestedBy", s.placeRequester(), "error", err)
	return nil
}

// placeRequester is who changed the spec last, for the record.
func (s *scope) placeRequester() string {
	return s.credential.Annotations[v1alpha1.AnnotationRequestedBy]
}

// describePlace is the place for people. What is not known now, as after a restart, stays.
func (s *scope) describePlace(before *v1alpha1.ManagedInstanceStatus) *v1alpha1.ManagedInstanceStatus {
	p := s.memory.place(s.uid, nil)
	switch {
	case s.managed() == nil:
		return nil
	case p.seen.IsZero():
		return before
	case p.container == "":
		return nil
	}
	return &v1alpha1.ManagedInstanceStatus{Name: p.name, GUID: p.id, Applied: p.applied}
}
