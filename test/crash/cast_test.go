package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/journal"
)

// actor is a person with one credential, who does the same things again and again.
type actor struct {
	*stage
	ns, name, secret string
	app              apiconnectsim.Path

	// requests are those that were answered, issues the credentials that had to be
	// issued from nothing. Together they are all that may ever have been issued.
	requests, issues int
	// rollout are the workloads that its credential restarts.
	rollout []v1alpha1.RolloutTarget
	// previous says where its Secret shows the version before the published one.
	previous *v1alpha1.PreviousKeys
	// naming says whether its versions have Secrets of their own.
	naming v1alpha1.SecretNaming
	// keeps: its versions and its Secret outlive the credential.
	keeps bool

	mu      sync.Mutex // guards what follows, and the writes of what others may read
	waiting string
	lacks   string
	scenes  int
}

func (s *stage) actor(ns, name string) *actor {
	s.t.Helper()
	a := &actor{stage: s, ns: ns, name: name, secret: name + "-api", app: s.app(ns + "-" + name)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cast = append(s.cast, a)
	return a
}

// play repeats a scene until the curtain falls. A scene is never broken off: it returns
// false only when the whole test ends.
func (a *actor) play(prologue, scene func() bool) {
	a.acting.Go(func() {
		for going := prologue(); going && a.curtain.Err() == nil; going = scene() {
			a.add(&a.scenes, 1)
		}
		a.say("rests", "")
	})
}

func (a *actor) say(waiting, lacks string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting, a.lacks = waiting, lacks
}

// add counts, where others look at the same time.
func (a *actor) add(n *int, by int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	*n += by
}

func (a *actor) standing() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprintf("%s/%s (%d issues, %d requests): %s; %s", a.ns, a.name, a.issues, a.requests, a.waiting, a.lacks)
}

// until repeats what a person does until it is done. Errors are told and not counted:
// the API server may be away. False means that the test ended first.
func (a *actor) until(what string, do func() (done bool, err error)) bool {
	again := time.NewTicker(glance)
	defer again.Stop()
	for {
		done, err := do()
		if err == nil && done {
			return true
		}
		a.say(what, fmt.Sprint(err))
		select {
		case <-again.C:
		case <-a.ctx.Done():
			return false
		}
	}
}

// pause waits a random time, or until the curtain falls.
func (a *actor) pause(least, most time.Duration) {
	timer := time.NewTimer(least + rand.N(most-least))
	defer timer.Stop()
	a.say("thinks", "")
	select {
	case <-timer.C:
	case <-a.curtain.Done():
	}
}

func (a *actor) key() client.ObjectKey { return client.ObjectKey{Namespace: a.ns, Name: a.name} }

// create asks for the credential, proven by a call through the gateway.
func (a *actor) create(policy v1alpha1.DeletionPolicy, issuer string) bool {
	return a.until("creates it", func() (bool, error) {
		err := a.world.Client.Create(a.ctx, &v1alpha1.APIClientCredential{
			ObjectMeta: metav1.ObjectMeta{Namespace: a.ns, Name: a.name},
			Spec: v1alpha1.APIClientCredentialSpec{
				IssuerRef: v1alpha1.IssuerReference{Name: issuer},
				IBMAPIConnect: &v1alpha1.IBMAPIConnectCredential{
					ConsumerOrg: a.app.ConsumerOrg, App: a.app.App, Probe: &v1alpha1.IBMAPIConnectProbe{Path: "/orders/v1/health"},
				},
				Secret:         v1alpha1.TargetSecret{Name: a.secret, Previous: a.previous, Naming: a.naming},
				DeletionPolicy: policy,
				Rollout:        a.rollout,
			},
		})
		return err == nil || apierrors.IsAlreadyExists(err), ignore(err, apierrors.IsAlreadyExists)
	})
}

func ignore(err error, expected func(error) bool) error {
	if expected(err) {
		return nil
	}
	return err
}

// published waits until the Secret holds the version that answers the last request. The
// numbers tell that no request was answered twice.
func (a *actor) published() bool {
	want := a.issues + a.requests
	return a.until(fmt.Sprintf("waits for version %d", want), func() (bool, error) {
		credential := &v1alpha1.APIClientCredential{}
		if err := a.world.Client.Get(a.ctx, a.key(), credential); err != nil {
			return false, err
		}
		secret := &corev1.Secret{}
		if err := a.world.Client.Get(a.ctx, client.ObjectKey{Namespace: a.ns, Name: a.secret}, secret); err != nil {
			return false, err
		}
		if secret.Labels[journal.LabelCredentialUID] != string(credential.UID) {
			return false, fmt.Errorf("the Secret is that of an earlier credential")
		}
		got, err := strconv.Atoi(secret.Annotations[journal.AnnotationVersion])
		if got > want {
			a.fault("%s/%s: version %d is published, and %d requests were made: one was answered twice", a.ns, a.name, got, a.requests)
			a.add(&a.requests, got-want) // once is enough
			return true, nil
		}
		return got == want, err
	})
}

// rotate asks for a rotation and waits until it was published.
func (a *actor) rotate() bool {
	at := time.Now().UTC().Format(time.RFC3339Nano)
	a.add(&a.requests, 1)
	return a.annotate(v1alpha1.AnnotationRotateRequestedAt, at) && a.published()
}

func (a *actor) annotate(key, value string) bool {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{key: value}}})
	return a.until("asks for "+key, func() (bool, error) {
		if err != nil {
			return false, err
		}
		credential := &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Namespace: a.ns, Name: a.name}}
		err := a.world.Client.Patch(a.ctx, credential, client.RawPatch(types.MergePatchType, patch))
		return err == nil, err
	})
}

// remove deletes an object, by one of the ways in which people and tools do, and waits
// until it is gone.
func (a *actor) remove(o client.Object) bool {
	ways := []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan}
	way := ways[rand.IntN(len(ways))]
	o.SetNamespace(a.ns)
	return a.until(fmt.Sprintf("deletes %T %s", o, o.GetName()), func() (bool, error) {
		err := a.world.Client.Delete(a.ctx, o, client.PropagationPolicy(way))
		return apierrors.IsNotFound(err), ignore(err, apierrors.IsNotFound)
	})
}

func (a *actor) removeCredential() bool {
	return a.remove(&v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Name: a.name}})
}

// live counts what lives upstream of the actor's app.
func (a *actor) live() int {
	n := 0
	for _, record := range a.sim.Ledger().Live() {
		if record.Attrs["app"] == a.app.App {
			n++
		}
	}
	return n
}

// steady rotates again and again, under a caller that never stops.
func (s *stage) steady(ns, name string, least, most time.Duration) *actor {
	s.t.Helper()
	a := s.actor(ns, name)
	a.issues = 1
	s.call(ns, a.secret)
	a.play(func() bool { return a.create(v1alpha1.DeletionRevoke, "apic") && a.published() }, func() bool {
		a.pause(least, most)
		return a.curtain.Err() != nil || a.rotate()
	})
	return a
}

// old is where previous versions stand.
var old = &v1alpha1.PreviousKeys{Suffix: "_old"}

// showing rotates, and its Secret shows the version before as well. Whatever stands there
// is accepted, so a workload that tries both never finds a dead one.
func (s *stage) showing(ns, name string) {
	s.t.Helper()
	a := s.actor(ns, name)
	a.issues, a.previous = 1, old
	s.call(ns, a.secret)
	s.callPrevious(ns, a.secret)
	a.play(func() bool { return a.create(v1alpha1.DeletionRevoke, "apic") && a.published() }, func() bool {
		a.pause(4*time.Second, 7*time.Second) // more than an overlap, which begins anew with each version
		return a.curtain.Err() != nil || a.rotate()
	})
}

// named rotates, and each of its versions has a Secret of its own. Whichever stands leads to
// what is accepted, so Git may name any of them.
func (s *stage) named(ns, name string) {
	s.t.Helper()
	a := s.actor(ns, name)
	a.issues, a.naming = 1, v1alpha1.NamingVersioned
	s.call(ns, a.secret)
	s.callNamed(ns)
	a.play(func() bool { return a.create(v1alpha1.DeletionRevoke, "apic") && a.published() }, func() bool {
		a.pause(4*time.Second, 7*time.Second)
		return a.curtain.Err() != nil || a.rotate()
	})
}

// rolling rotates under a Deployment that is restarted for each version, and for none twice.
// It has no pods, so that its rollouts end without a node.
func (s *stage) rolling(ns, name string) {
	s.t.Helper()
	a := s.actor(ns, name)
	a.issues, a.rollout = 1, []v1alpha1.RolloutTarget{{Kind: "Deployment", Name: name}}
	deployed := func() bool {
		return a.until("makes a Deployment", func() (bool, error) {
			err := a.world.Client.Create(a.ctx, podless(ns, name))
			return err == nil || apierrors.IsAlreadyExists(err), ignore(err, apierrors.IsAlreadyExists)
		})
	}
	a.play(func() bool { return deployed() && a.create(v1alpha1.DeletionRevoke, "apic") && a.published() }, func() bool {
		a.pause(3*time.Second, 5*time.Second)
		if a.curtain.Err() == nil && !a.rotate() {
			return false
		}
		return a.until("counts restarts", func() (bool, error) {
			d := &appsv1.Deployment{}
			err := a.world.Client.Get(a.ctx, a.key(), d)
			// Made once, and changed by nobody but the operator.
			if restarts := int(d.Generation) - 1; err == nil && restarts > a.requests {
				a.fault("%s/%s: the workload was restarted %d times for %d versions", ns, name, restarts, a.requests)
			}
			return err == nil, err
		})
	})
}

// heeded rotates, and each renewal waits until people have agreed to it.
func (s *stage) heeded(ns, name string) {
	s.t.Helper()
	policy := &v1alpha1.RotationPolicy{}
	if err := s.world.Client.Get(s.ctx, client.ObjectKey{Namespace: ns, Name: "policy"}, policy); err != nil {
		s.t.Fatal(err)
	}
	policy.Spec.Approval = &v1alpha1.ApprovalDemand{Operations: []v1alpha1.DemandedOperation{"Renew"}, SeparationOfDuties: new(bool)}
	if err := s.world.Client.Update(s.ctx, policy); err != nil {
		s.t.Fatal(err)
	}
	whoami := &authenticationv1.SelfSubjectReview{}
	if err := s.world.Client.Create(s.ctx, whoami); err != nil {
		s.t.Fatal(err)
	}
	a := s.actor(ns, name)
	a.issues = 1
	s.call(ns, a.secret)
	a.play(func() bool { return a.create(v1alpha1.DeletionRevoke, "apic") && a.published() }, func() bool {
		a.pause(time.Second, 3*time.Second)
		if a.curtain.Err() != nil {
			return true
		}
		before := a.issues + a.requests
		a.add(&a.requests, 1)
		return a.annotate(v1alpha1.AnnotationRotateRequestedAt, time.Now().UTC().Format(time.RFC3339Nano)) &&
			a.agree(int64(before), whoami.Status.UserInfo.Username) && a.published()
	})
}

// agree approves whatever is asked about what follows a version, until it is done. What is
// said while the admission policies are not known to be in force is not heard, and said again.
func (a *actor) agree(follows int64, user string) bool {
	var spoken time.Time
	return a.until(fmt.Sprintf("agrees to what follows version %d", follows), func() (bool, error) {
		secret := &corev1.Secret{}
		if err := a.world.Client.Get(a.ctx, client.ObjectKey{Namespace: a.ns, Name: a.secret}, secret); err != nil {
			return false, err
		}
		if secret.Annotations[journal.AnnotationVersion] != strconv.FormatInt(follows, 10) {
			return true, nil
		}
		if time.Since(spoken) < 3*time.Second {
			return false, nil
		}
		list := &v1alpha1.ApprovalRequestList{}
		if err := a.world.Client.List(a.ctx, list, client.InNamespace(a.ns)); err != nil {
			return false, err
		}
		for i := range list.Items {
			r := &list.Items[i]
			if r.Spec.Follows != follows {
				continue
			}
			spoken = time.Now()
			err := a.world.Client.Create(a.ctx, &v1alpha1.ApprovalDecision{
				ObjectMeta: metav1.ObjectMeta{Namespace: a.ns, GenerateName: "yes-"},
				Spec: v1alpha1.ApprovalDecisionSpec{
					RequestRef:  v1alpha1.ObjectIdentity{Name: r.Name, UID: string(r.UID)},
					ApprovalRef: r.Spec.ApprovalRef, Approver: user, Decision: v1alpha1.Approve,
				},
			})
			if err != nil {
				return false, err
			}
		}
		return false, nil
	})
}

func podless(ns, name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](0), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "workload", Image: "workload"}}},
			},
		},
	}
}

// wavering rotates, and each time its user wants the version before back. Both are good, so
// whichever a caller holds is accepted.
func (s *stage) wavering(ns, name string) *actor {
	s.t.Helper()
	a := s.actor(ns, name)
	a.issues = 1
	s.call(ns, a.secret)
	a.play(func() bool { return a.create(v1alpha1.DeletionRevoke, "apic") && a.published() }, func() bool {
		a.pause(time.Second, 3*time.Second)
		if a.curtain.Err() != nil {
			return true
		}
		return a.rotate() && a.annotate(v1alpha1.AnnotationRollbackRequestedAt, time.Now().UTC().Format(time.RFC3339Nano)) && a.rolledBack()
	})
	return a
}

// rolledBack waits until the Secret holds a version before the newest again. The overlap is
// much longer than an operator is away, so the version before lives.
func (a *actor) rolledBack() bool {
	newest := a.issues + a.requests
	return a.until(fmt.Sprintf("waits for a version before %d", newest), func() (bool, error) {
		secret := &corev1.Secret{}
		if err := a.world.Client.Get(a.ctx, client.ObjectKey{Namespace: a.ns, Name: a.secret}, secret); err != nil {
			return false, err
		}
		got, err := strconv.Atoi(secret.Annotations[journal.AnnotationVersion])
		return got < newest, err
	})
}

// mortal is born and deleted again and again, each time with a new issuer. When a
// credential is gone, nothing of it may live upstream and no Secret may be left.
func (s *stage) mortal(ns, name string) *actor {
	s.t.Helper()
	a := s.actor(ns, name)
	ready := func() bool { return true }
	a.play(ready, func() bool {
		issuer := s.issuer(ns, fmt.Sprintf("apic-%s-%d", name, a.issues))
		made := a.until("makes an issuer", func() (bool, error) {
			err := a.world.Client.Create(a.ctx, issuer.DeepCopy())
			return err == nil || apierrors.IsAlreadyExists(err), ignore(err, apierrors.IsAlreadyExists)
		})
		if !made || !a.create(v1alpha1.DeletionRevoke, issuer.Name) || !a.appears() || !a.removeCredential() {
			return false
		}
		a.add(&a.issues, 1)
		if n := a.live(); n > 0 {
			a.fault("%s/%s: the credential is gone and %d of its versions live upstream", ns, name, n)
		}
		if _, err := a.read(a.ctx, ns, a.secret); !apierrors.IsNotFound(err) {
			a.fault("%s/%s: the credential is gone and its Secret is not: %v", ns, name, err)
		}
		return a.remove(issuer)
	})
	return a
}

// appears waits for a target that works.
func (a *actor) appears() bool {
	return a.until("waits for the Secret", func() (bool, error) {
		p, err := a.read(a.ctx, a.ns, a.secret)
		if err == nil && !a.sim.Accepts(p.id, p.secret) {
			a.fault("%s/%s: the Secret appeared and what it holds is refused", a.ns, a.name)
		}
		return err == nil, err
	})
}

// retained is deleted and made again, and its workload does not notice: what was
// retained is adopted, so nothing is ever issued for the making.
func (s *stage) retained(ns, name string) *actor {
	s.t.Helper()
	a := s.actor(ns, name)
	a.issues, a.keeps = 1, true
	s.call(ns, a.secret)
	begin := func() bool { return a.create(v1alpha1.DeletionRetain, "apic") && a.published() }
	a.play(begin, func() bool {
		a.pause(time.Second, 3*time.Second)
		if rand.IntN(2) == 0 && !a.rotate() {
			return false
		}
		if !a.removeCredential() {
			return false
		}
		p, err := a.read(a.ctx, ns, a.secret)
		if apierrors.IsNotFound(err) || err == nil && !a.sim.Accepts(p.id, p.secret) {
			a.fault("%s/%s: it was to be retained, and its Secret does not work: %v", ns, name, err)
		}
		return begin()
	})
	return a
}

// forsaken is deleted on an administrator's word that nothing shall be revoked.
func (s *stage) forsaken(ns, name string) *actor {
	s.t.Helper()
	a := s.actor(ns, name)
	ready := func() bool { return true }
	a.play(ready, func() bool {
		if !a.create(v1alpha1.DeletionRevoke, "apic") || !a.appears() {
			return false
		}
		a.add(&a.issues, 1)
		for _, record := range a.sim.Ledger().Live() {
			if record.Attrs["app"] == a.app.App {
				a.stage.mu.Lock()
				a.abandoned[record.Attrs["clientId"]] = true
				a.stage.mu.Unlock()
			}
		}
		return a.annotate(v1alpha1.AnnotationAbandonUpstream, "all") && a.removeCredential()
	})
	return a
}

// versions reads the version Secrets of a namespace.
func (s *stage) versions(ctx context.Context, ns string) ([]corev1.Secret, error) {
	list := &corev1.SecretList{}
	err := s.world.Client.List(ctx, list, client.InNamespace(ns), client.MatchingLabels{journal.LabelRole: journal.RoleVersion})
	return list.Items, err
}
