package crash

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/controllers/credential"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// ways are those in which a credential is deleted; the fourth is that of its namespace.
var ways = []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan}

// crowd are credentials in the same state, one for each way to delete it.
type crowd struct {
	*director
	// doomed is a namespace with one of them that is deleted as a whole; the others are in
	// spared.
	spared, doomed string
	members        []*actor
}

// life is how credentials come to the boundaries of an effect.
type life func(c *crowd)

// lives say so for each effect. One that is missing here fails the test.
var lives = map[rotation.Action]life{
	rotation.AddFinalizer: unseen, rotation.HoldIssuer: unseen, rotation.CreateIntent: unseen, rotation.Issue: unseen, rotation.Verify: unseen,
	rotation.Publish: unseen, rotation.NotePublished: unseen, rotation.Claim: begun,
	rotation.Retire: rotating, rotation.Revoke: rotating, rotation.Release: rotating, credential.ProjectStatus: wishful,
	rotation.ShowPrevious: showing, rotation.HidePrevious: showing,
	rotation.AskApproval: asked,
	rotation.PublishCopy: named, rotation.WithdrawCopy: outnamed,
	rotation.Restart: deployed, rotation.NoteRollout: deployed, rotation.MarkRepublish: damaged, rotation.RollBack: regretted,
	rotation.NoteRefusal: refused, rotation.Fail: refused, rotation.NoteRevoked: refused,
	rotation.DeleteTarget: deleted, rotation.RemoveFinalizer: deleted,
	rotation.Retain: retaining, rotation.RetainTarget: retaining, rotation.Adopt: remade, rotation.Abandon: given,
}

// lost are effects that only upstreams bring which make the material themselves.
var lost = map[rotation.Action]func(*platforms, string){
	rotation.WriteAnswer: (*platforms).unwritten, rotation.Disown: (*platforms).pointless, rotation.Suspect: (*platforms).suspected,
}

// few are those that `make test` has time for.
var few = []string{"CreateIntent/after", "Issue/after", "Retire/after", "RollBack/after", "Retain/after", "WriteAnswer/before", "Provision/after"}

func TestEveryStateKnowsHowItIsReached(t *testing.T) {
	for _, boundary := range credential.Boundaries() {
		effect := effectOf(boundary)
		known := []bool{lives[effect] != nil, lost[effect] != nil, housed[effect] != nil}
		if n := len(slices.DeleteFunc(known, func(comes bool) bool { return !comes })); n != 1 {
			t.Errorf("%s: who comes there and is deleted is said %d times, want once", effect, n)
		}
	}
}

func effectOf(boundary string) rotation.Action {
	effect, _, _ := strings.Cut(boundary, "/")
	return rotation.Action(effect)
}

// nameOf is a boundary as a part of names.
func nameOf(boundary string) string { return strings.ToLower(strings.ReplaceAll(boundary, "/", "-")) }

// Whenever a credential is deleted, and however, nothing of it lives on upstream, and
// nothing holds its namespace.
func TestADeletionAtAnyBoundaryLeavesNothing(t *testing.T) {
	t.Parallel()
	t.Run("of effects that end a version", func(t *testing.T) {
		t.Parallel()
		d := &director{stage: newStage(t, newWorld(t))}
		between := d.crowd("overlap", "1h")
		between.rotated()
		between.delete()
		between.clear()
		crowds := []*crowd{between}
		for _, boundary := range d.boundariesOf(leaving) {
			c := d.meet(boundary, "1s")
			// Whoever is still on his way out would be met at the next boundary.
			c.clear()
			crowds = append(crowds, c)
		}
		d.bury(crowds)
	})
	t.Run("of the others", func(t *testing.T) {
		t.Parallel()
		d := &director{stage: newStage(t, newWorld(t))}
		never := d.crowd("never-seen", "1h")
		unseen(never)
		never.delete()
		crowds := []*crowd{never}
		for _, boundary := range d.boundariesOf(staying) {
			crowds = append(crowds, d.meet(boundary, "1h"))
		}
		d.bury(crowds)
	})
}

// The effects that a deletion shares or the end of an overlap brings, the others, those that
// come after a minute or so, and those of what is let go alive.
var (
	leaving = []rotation.Action{
		rotation.HidePrevious, rotation.WithdrawCopy, rotation.Retire, rotation.Revoke, rotation.Release, rotation.DeleteTarget, rotation.RemoveFinalizer, credential.ProjectStatus,
	}
	late    = []rotation.Action{rotation.NoteRefusal, rotation.Fail, rotation.NoteRevoked}
	alive   = []rotation.Action{rotation.Retain, rotation.RetainTarget, rotation.Adopt, rotation.Abandon}
	staying = slices.DeleteFunc(slices.Sorted(maps.Keys(lives)), func(effect rotation.Action) bool {
		return slices.Contains(leaving, effect) || slices.Contains(late, effect) || slices.Contains(alive, effect)
	})
)

// boundariesOf are those of some effects, as many of them as there is time for.
func (d *director) boundariesOf(effects []rotation.Action) []string {
	return slices.DeleteFunc(credential.Boundaries(), func(boundary string) bool {
		return !slices.Contains(effects, effectOf(boundary)) || !everything && !slices.Contains(few, boundary)
	})
}

// meet brings a crowd to a boundary, at which the operator dies, and deletes it.
func (d *director) meet(boundary string, overlap v1alpha1.Interval) *crowd {
	d.t.Helper()
	c := d.crowd(nameOf(boundary), overlap)
	lives[effectOf(boundary)](c)
	c.crash(boundary)
	c.delete()
	return c
}

// bury has an operator bring everything to an end, and judges what is left.
func (d *director) bury(crowds []*crowd) {
	d.t.Helper()
	d.operator()
	for _, c := range crowds {
		d.eventually(toRest, "everything of "+c.spared+" is gone", c.left)
	}
	if n := len(d.sim.Ledger().Live()); n > 0 {
		d.t.Errorf("%d versions live upstream", n)
	}
	d.judgeQuiet()
	d.judge()
	d.judgeLeaks()
	d.namespaces = slices.DeleteFunc(d.namespaces, func(ns string) bool {
		return slices.ContainsFunc(crowds, func(c *crowd) bool { return c.doomed == ns })
	})
	d.leave()
	d.t.Logf("%d states, %d credentials; %d versions were issued and revoked", len(crowds), len(crowds)*(len(ways)+1), len(d.sim.Ledger().Issued()))
}

// crowd makes the two namespaces and no credential yet. Each member has an issuer of its
// own, because only the first credential of an issuer holds it.
func (d *director) crowd(name string, overlap v1alpha1.Interval) *crowd {
	d.t.Helper()
	c := &crowd{director: d, spared: d.namespace(name, overlap, 11*time.Second), doomed: d.namespace(name, overlap, 11*time.Second)}
	for i := range len(ways) + 1 {
		ns := c.spared
		if i == len(ways) {
			ns = c.doomed
		}
		a := d.actor(ns, fmt.Sprintf("member-%d", i))
		if err := d.world.Client.Create(d.ctx, d.issuer(ns, a.name)); err != nil {
			d.t.Fatal(err)
		}
		c.members = append(c.members, a)
	}
	return c
}

// each does something for each member.
func (c *crowd) each(what string, do func(*actor) bool) {
	c.t.Helper()
	for _, a := range c.members {
		c.step(what+" of "+a.name, func() bool { return do(a) })
	}
}

// unseen are credentials that were created while no operator ran.
func unseen(c *crowd) {
	c.each("the creation", func(a *actor) bool { return a.create(v1alpha1.DeletionRevoke, a.name) })
}

// asked are to wait for people.
func asked(c *crowd) {
	for _, a := range c.members {
		issuer := &v1alpha1.CredentialIssuer{}
		if err := c.world.Client.Get(c.ctx, a.key(), issuer); err != nil {
			c.t.Fatal(err)
		}
		issuer.Spec.Approval = &v1alpha1.ApprovalDemand{SeparationOfDuties: new(bool)}
		if err := c.world.Client.Update(c.ctx, issuer); err != nil {
			c.t.Fatal(err)
		}
	}
	unseen(c)
}

// begun have a version whose process died before it was published.
func begun(c *crowd) {
	unseen(c)
	c.crash("Verify/before")
}

// published have their first version.
func (c *crowd) published() *operatortest.Operator {
	unseen(c)
	o := c.operator()
	for _, a := range c.members {
		a.add(&a.issues, 1)
	}
	c.each("the first version", (*actor).published)
	return o
}

// ask asks for a rotation of each.
func (c *crowd) ask() {
	c.each("the request", func(a *actor) bool {
		a.add(&a.requests, 1)
		return a.annotate(v1alpha1.AnnotationRotateRequestedAt, time.Now().UTC().Format(time.RFC3339Nano))
	})
}

// rotated have a predecessor in its overlap.
func (c *crowd) rotated() {
	o := c.published()
	c.ask()
	c.each("the second version", (*actor).published)
	c.kill(o)
}

// rotating have been asked for a second version.
func rotating(c *crowd) {
	c.kill(c.published())
	c.ask()
}

// deployed have a workload that is to be restarted for a second version.
func deployed(c *crowd) {
	for _, a := range c.members {
		a.rollout = []v1alpha1.RolloutTarget{{Kind: "Deployment", Name: a.name}}
		if err := c.world.Client.Create(c.ctx, podless(a.ns, a.name)); err != nil {
			c.t.Fatal(err)
		}
	}
	rotating(c)
}

// showing are to have their first version shown beside a second one.
func showing(c *crowd) {
	for _, a := range c.members {
		a.previous = old
	}
	rotating(c)
}

// named are to have Secrets for single versions.
func named(c *crowd) {
	for _, a := range c.members {
		a.naming = v1alpha1.NamingVersioned
	}
	unseen(c)
}

// outnamed have such a Secret that a second version makes superfluous.
func outnamed(c *crowd) {
	for _, a := range c.members {
		a.naming = v1alpha1.NamingVersioned
	}
	rotating(c)
}

// wishful want a version back that never was, which they are told.
func wishful(c *crowd) {
	c.kill(c.published())
	c.each("the wish", func(a *actor) bool {
		return a.annotate(v1alpha1.AnnotationRollbackRequestedAt, time.Now().UTC().Format(time.RFC3339Nano))
	})
}

// damaged have lost their target in an overlap.
func damaged(c *crowd) {
	c.rotated()
	for _, a := range c.members {
		if err := c.world.Client.Delete(c.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: a.ns, Name: a.secret}}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// regretted are wanted back at the version before.
func regretted(c *crowd) {
	c.rotated()
	c.each("the regret", func(a *actor) bool {
		return a.annotate(v1alpha1.AnnotationRollbackRequestedAt, time.Now().UTC().Format(time.RFC3339Nano))
	})
}

// refused are made in apps without a subscription: the gateway takes none of their versions.
func refused(c *crowd) {
	for _, a := range c.members {
		if err := c.sim.Subscribe(a.app, false); err != nil {
			c.t.Fatal(err)
		}
	}
	unseen(c)
}

// deleted are on their way out already.
func deleted(c *crowd) {
	c.kill(c.published())
	for _, a := range c.members {
		if err := c.world.Client.Delete(c.ctx, &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Namespace: a.ns, Name: a.name}}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// crash runs an operator until it dies with all members at a boundary.
func (c *crowd) crash(boundary string) {
	c.t.Helper()
	o, err := c.world.RunCrowd(boundary, len(c.members))
	if err != nil {
		c.t.Fatal(err)
	}
	c.operators = append(c.operators, o)
	c.awaitDeath(o, boundary)
}

// delete deletes each member in its way, while no operator runs.
func (c *crowd) delete() {
	c.t.Helper()
	for i, way := range ways {
		doomed := &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Namespace: c.spared, Name: c.members[i].name}}
		if err := c.world.Client.Delete(c.ctx, doomed, client.PropagationPolicy(way)); client.IgnoreNotFound(err) != nil {
			c.t.Fatal(err)
		}
	}
	if err := c.world.Client.Delete(c.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.doomed}}); err != nil {
		c.t.Fatal(err)
	}
}

// clear runs an operator until nothing is left of the crowd that it could do anything about.
// The namespace controller takes its time after that.
func (c *crowd) clear() {
	c.t.Helper()
	o := c.operator()
	c.eventually(toRest, "all credentials of "+c.spared+" are gone", c.alive)
	c.kill(o)
}

// left says what is still there of the crowd; nothing once all of it is gone.
func (c *crowd) left() string {
	if err := c.world.Client.Get(c.ctx, client.ObjectKey{Name: c.doomed}, &corev1.Namespace{}); !apierrors.IsNotFound(err) {
		return fmt.Sprintf("namespace %s is still there (%v); %s", c.doomed, err, c.remains(c.doomed))
	}
	return c.alive()
}

// alive says what is left of the crowd's credentials and of what they made.
func (c *crowd) alive() string {
	for _, ns := range []string{c.spared, c.doomed} {
		credentials := &v1alpha1.APIClientCredentialList{}
		if err := c.world.Client.List(c.ctx, credentials, client.InNamespace(ns)); err != nil {
			return err.Error()
		}
		for i := range credentials.Items {
			return fmt.Sprintf("credential %s/%s is still there: %s", ns, credentials.Items[i].Name, conditions(&credentials.Items[i]))
		}
		secrets := &corev1.SecretList{}
		if err := c.world.Client.List(c.ctx, secrets, client.InNamespace(ns)); err != nil {
			return err.Error()
		}
		for _, secret := range secrets.Items {
			if role := secret.Labels[journal.LabelRole]; role == journal.RoleVersion || role == journal.RoleTarget || role == journal.RoleCopy {
				return fmt.Sprintf("Secret %s/%s of role %s is still there", ns, secret.Name, role)
			}
		}
	}
	for _, record := range c.sim.Ledger().Live() {
		if slices.ContainsFunc(c.members, func(a *actor) bool { return record.Attrs["app"] == a.app.App }) {
			return fmt.Sprintf("client id %s of %s lives upstream", record.Attrs["clientId"], record.Attrs["app"])
		}
	}
	return ""
}
