package crash

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// region is a Cloud Foundry whose credentials have instances of their own, which are to go
// with them. Its broker takes its time.
type region struct {
	*director
	cf *cloudfoundrysim.Sim
	// spared and doomed are namespaces; the second is deleted as a whole.
	spared, doomed string
}

func newRegion(d *director, name string) *region {
	d.t.Helper()
	behaviour := cloudfoundrysim.Usual()
	behaviour.InstanceTime = simkit.Duration(1500 * time.Millisecond)
	user := cloudfoundrysim.User{Name: "rotator", Password: "rotator-password", Spaces: []string{"acme/dev"}}
	anchor := cloudfoundrysim.Instance{Org: "acme", Space: "dev", Name: "a person's", Offering: "it-rt", Plan: "api"}
	sim := cloudfoundrysim.New(cloudfoundrysim.Options{Behaviour: &behaviour, Seed: cloudfoundrysim.Seed{
		Users: []cloudfoundrysim.User{user}, Instances: []cloudfoundrysim.Instance{anchor},
	}})
	if err := sim.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			d.t.Error(err)
		}
	})
	r := &region{director: d, cf: sim, spared: d.namespace(name, "4s", time.Minute), doomed: d.namespace(name, "4s", time.Minute)}
	for _, ns := range []string{r.spared, r.doomed} {
		for _, o := range []client.Object{
			&corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "cf-login"},
				StringData: map[string]string{"username": user.Name, "password": user.Password},
			},
			&v1alpha1.CredentialIssuer{
				ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "cf"},
				Spec: v1alpha1.CredentialIssuerSpec{CloudFoundry: &v1alpha1.CloudFoundryIssuer{
					URL: sim.URL(), Organization: "acme", Space: "dev", CABundle: string(sim.CA()),
					ManagedInstances: []v1alpha1.ManagedInstanceAllowance{{Offering: "it-rt"}},
					Login:            v1alpha1.CloudFoundryLogin{Type: "Password", SecretRef: v1alpha1.SecretReference{Name: "cf-login"}},
				}},
			},
		} {
			if err := d.world.Client.Create(d.ctx, o); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	return r
}

func (r *region) ask(ns, name string) *v1alpha1.APIClientCredential {
	r.t.Helper()
	c := &v1alpha1.APIClientCredential{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: v1alpha1.APIClientCredentialSpec{
			IssuerRef: v1alpha1.IssuerReference{Name: "cf"}, Secret: v1alpha1.TargetSecret{Name: name + "-api"},
			CloudFoundry: &v1alpha1.CloudFoundryCredential{Managed: &v1alpha1.ManagedInstance{
				Offering: "it-rt", Plan: "api", Roles: []string{"MonitoringDataRead"}, Deletion: v1alpha1.InstanceDeleted,
			}},
		},
	}
	if err := r.world.Client.Create(r.ctx, c); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// each asks for a credential for each way of deleting it.
func (r *region) each() {
	r.t.Helper()
	for i := range ways {
		r.ask(r.spared, fmt.Sprintf("member-%d", i))
	}
	r.ask(r.doomed, fmt.Sprintf("member-%d", len(ways)))
}

func (r *region) awaitReady(c *v1alpha1.APIClientCredential) {
	r.t.Helper()
	r.eventually(hit, c.Name+" is ready", func() string {
		if err := r.world.Client.Get(r.ctx, client.ObjectKeyFromObject(c), c); err != nil {
			return err.Error()
		}
		if !meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionReady) {
			return conditions(c)
		}
		return ""
	})
}

// delete deletes each in its way, while no operator runs.
func (r *region) delete() {
	r.t.Helper()
	for i, way := range ways {
		c := &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Namespace: r.spared, Name: fmt.Sprintf("member-%d", i)}}
		if err := r.world.Client.Delete(r.ctx, c, client.PropagationPolicy(way)); client.IgnoreNotFound(err) != nil {
			r.t.Fatal(err)
		}
	}
	if err := r.world.Client.Delete(r.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.doomed}}); err != nil {
		r.t.Fatal(err)
	}
}

// left says what is still there, here or upstream.
func (r *region) left() string {
	if err := r.world.Client.Get(r.ctx, client.ObjectKey{Name: r.doomed}, &corev1.Namespace{}); !apierrors.IsNotFound(err) {
		return fmt.Sprintf("namespace %s is still there (%v); %s", r.doomed, err, r.remains(r.doomed))
	}
	return r.alive()
}

func (r *region) alive() string {
	credentials := &v1alpha1.APIClientCredentialList{}
	if err := r.world.Client.List(r.ctx, credentials, client.InNamespace(r.spared)); err != nil {
		return err.Error()
	}
	for i := range credentials.Items {
		return fmt.Sprintf("credential %s is still there: %s", credentials.Items[i].Name, conditions(&credentials.Items[i]))
	}
	if live := r.cf.Ledger().Live(); len(live) > 0 {
		return fmt.Sprintf("%d objects live upstream: %+v", len(live), live)
	}
	return ""
}

// An operator that dies around an instance of a credential's own makes no second one, and leaves
// none behind.
func TestADeathAroundAManagedInstanceMakesNoSecondOne(t *testing.T) {
	t.Parallel()
	d := &director{stage: newStage(t, newWorld(t))}
	r := newRegion(d, "housed")
	c := r.ask(r.spared, "billing")
	d.crashAt("Provision/before")
	d.crashAt("Provision/after")
	o := d.operator()
	r.awaitReady(c)
	d.kill(o)
	c.Spec.CloudFoundry.Managed.Roles = []string{"WorkspacePackagesRead"}
	if err := d.world.Client.Update(d.ctx, c); err != nil {
		t.Fatal(err)
	}
	d.crashAt("Provision/after")
	o = d.operator()
	d.eventually(hit, "the roles are changed", func() string {
		if all := r.cf.Instances("acme/dev")[1:]; len(all) != 1 || !slices.Equal(all[0].Roles, []string{"WorkspacePackagesRead"}) {
			return fmt.Sprintf("%+v", all)
		}
		return ""
	})
	r.awaitReady(c)
	d.kill(o)
	if err := d.world.Client.Delete(d.ctx, c); err != nil {
		t.Fatal(err)
	}
	d.crashAt("Deprovision/before")
	d.crashAt("Deprovision/after")
	d.operator()
	d.eventually(toRest, "everything is gone", r.alive)
	if diff := gocmp.Diff([]string{"Provision/before", "Provision/after", "Provision/after", "Deprovision/before", "Deprovision/after"}, d.hits); diff != "" {
		t.Errorf("boundaries at which an operator died (-want +got):\n%s", diff)
	}
	made := 0
	for _, record := range r.cf.Ledger().Issued() {
		if record.Kind == "instance" {
			made++
		}
	}
	if made != 1 {
		t.Errorf("%d instances were made", made)
	}
	d.judgeLeaks()
	d.leave()
}

// housed are the effects that only instances of a credential's own bring.
var housed = map[rotation.Action]func(*region, string){
	rotation.Provision: (*region).unhoused, rotation.Deprovision: (*region).leaving,
}

// unhoused die while their instances are made.
func (r *region) unhoused(boundary string) {
	r.each()
	r.crash(boundary)
}

// leaving are on their way out already.
func (r *region) leaving(boundary string) {
	r.each()
	o := r.operator()
	for i := range len(ways) + 1 {
		ns := r.spared
		if i == len(ways) {
			ns = r.doomed
		}
		r.awaitReady(&v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprintf("member-%d", i)}})
	}
	r.kill(o)
	for i, ns := range []string{r.spared, r.spared, r.spared, r.doomed} {
		c := &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprintf("member-%d", i)}}
		if err := r.world.Client.Delete(r.ctx, c); err != nil {
			r.t.Fatal(err)
		}
	}
	r.crash(boundary)
}

// crash runs an operator until it dies with all of them at a boundary.
func (r *region) crash(boundary string) {
	r.t.Helper()
	// A share of the workers is not enough for all to be in a call at the same time.
	o, err := r.world.RunCrowd(boundary, len(ways)+1, "--workers=32")
	if err != nil {
		r.t.Fatal(err)
	}
	r.operators = append(r.operators, o)
	r.awaitDeath(o, boundary)
}

// Whenever a credential with an instance of its own is deleted, and however, nothing of it is left.
func TestADeletionAroundAManagedInstanceLeavesNothing(t *testing.T) {
	t.Parallel()
	d := &director{stage: newStage(t, newWorld(t))}
	var all []*region
	for _, boundary := range d.boundariesOf(slices.Sorted(maps.Keys(housed))) {
		r := newRegion(d, nameOf(boundary))
		housed[effectOf(boundary)](r, boundary)
		r.delete()
		all = append(all, r)
	}
	d.operator()
	for _, r := range all {
		d.eventually(2*toRest, "everything of "+r.spared+" is gone", r.left)
	}
	d.judgeLeaks()
	d.namespaces = slices.DeleteFunc(d.namespaces, func(ns string) bool {
		return slices.ContainsFunc(all, func(r *region) bool { return r.doomed == ns })
	})
	d.leave()
}
