package crash

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// Whenever a credential is deleted, and however, what was to live on does so, in the hands of
// somebody: the journal keeps what was retained, and a credential of the same name goes on with
// it; and an administrator was told of what was abandoned.
func TestADeletionOfWhatLivesOnLosesNothing(t *testing.T) {
	t.Parallel()
	d := &director{stage: newStage(t, newWorld(t))}
	var crowds []*crowd
	for _, boundary := range d.boundariesOf(alive) {
		crowds = append(crowds, d.meet(boundary, "1h"))
	}
	d.operator()
	for _, c := range crowds {
		d.eventually(toRest, "the credentials of "+c.spared+" and "+c.doomed+" are gone", c.departed)
		d.eventually(toRest, "namespace "+c.doomed+" is gone", c.ended)
		for _, a := range c.members {
			c.settleWith(a)
		}
	}
	d.judgeQuiet()
	d.judge()
	d.judgeLeaks()
	d.namespaces = slices.DeleteFunc(d.namespaces, func(ns string) bool {
		return slices.ContainsFunc(crowds, func(c *crowd) bool { return c.doomed == ns })
	})
	d.leave()
	t.Logf("%d states, %d credentials", len(crowds), len(crowds)*(len(ways)+1))
}

// retaining are on their way out and want to be retained.
func retaining(c *crowd) {
	c.kept()
	for _, a := range c.members {
		if err := c.world.Client.Delete(c.ctx, &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Namespace: a.ns, Name: a.name}}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// kept have a first version that is to outlive them.
func (c *crowd) kept() {
	for _, a := range c.members {
		a.keeps = true
		a.add(&a.issues, 1)
	}
	c.each("the creation", func(a *actor) bool { return a.create(v1alpha1.DeletionRetain, a.name) })
	o := c.operator()
	c.each("the first version", (*actor).published)
	c.kill(o)
}

// remade were retained, and made again: they are to go on with what is there.
func remade(c *crowd) {
	retaining(c)
	o := c.operator()
	c.eventually(toRest, "the credentials of "+c.spared+" are gone", c.departed)
	c.kill(o)
	c.each("the creation", func(a *actor) bool { return a.create(v1alpha1.DeletionRevoke, a.name) })
}

// given are on their way out and may leave what they have made.
func given(c *crowd) {
	c.kill(c.published())
	for _, record := range c.sim.Ledger().Live() {
		if slices.ContainsFunc(c.members, func(a *actor) bool { return record.Attrs["app"] == a.app.App }) {
			c.abandoned[record.Attrs["clientId"]] = true
		}
	}
	c.each("the word", func(a *actor) bool { return a.annotate(v1alpha1.AnnotationAbandonUpstream, "all") })
	for _, a := range c.members {
		if err := c.world.Client.Delete(c.ctx, &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Namespace: a.ns, Name: a.name}}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// departed says which credential is still there.
func (c *crowd) departed() string {
	for _, a := range c.members {
		credential := &v1alpha1.APIClientCredential{}
		switch err := c.world.Client.Get(c.ctx, a.key(), credential); {
		case err == nil:
			return fmt.Sprintf("credential %s/%s is still there: %s", a.ns, a.name, conditions(credential))
		case !apierrors.IsNotFound(err):
			return err.Error()
		}
	}
	return ""
}

// ended says whether the namespace that was deleted is gone.
func (c *crowd) ended() string {
	if err := c.world.Client.Get(c.ctx, client.ObjectKey{Name: c.doomed}, &corev1.Namespace{}); !apierrors.IsNotFound(err) {
		return fmt.Sprintf("%v; %s", err, c.remains(c.doomed))
	}
	return ""
}

// settleWith looks at what a member has left. What it was to retain works, and is ended by a
// credential of its name that is to be revoked.
func (c *crowd) settleWith(a *actor) {
	c.t.Helper()
	versions, err := c.versions(c.ctx, a.ns)
	if err != nil {
		c.t.Fatal(err)
	}
	versions = slices.DeleteFunc(versions, func(v corev1.Secret) bool { return v.Annotations[journal.AnnotationCredential] != a.ns+"/"+a.name })
	for i := range versions {
		if v := &versions[i]; controllerutil.ContainsFinalizer(v, journal.FinalizerUpstream) || v.Annotations[journal.AnnotationRetainedFrom] == "" {
			c.t.Errorf("version Secret %s/%s is neither gone nor let go: %v %v", a.ns, v.Name, v.Finalizers, v.Annotations)
		}
	}
	live := a.live()
	switch {
	case a.ns == c.doomed, !a.keeps:
		if most := 1; live > most {
			c.t.Errorf("%d versions of %s/%s live upstream", live, a.ns, a.name)
		}
		return
	case live != len(versions):
		c.t.Errorf("%d versions of %s/%s live upstream, and %d are retained", live, a.ns, a.name, len(versions))
	case live == 0:
		return // a credential that was to be revoked had taken it over
	}
	if p, err := c.read(c.ctx, a.ns, a.secret); err != nil || !c.sim.Accepts(p.id, p.secret) {
		c.t.Errorf("%s/%s was to be retained, and its Secret does not work: %v", a.ns, a.name, err)
	}
	c.step("a credential of the name "+a.name, func() bool { return a.create(v1alpha1.DeletionRevoke, a.name) && a.published() && a.removeCredential() })
	if live := a.live(); live > 0 {
		c.t.Errorf("%d versions of %s/%s live after that", live, a.ns, a.name)
	}
}
