package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/simkit"
)

func versioned(c *v1alpha1.APIClientCredential) { c.Spec.Secret.Naming = v1alpha1.NamingVersioned }

// byName is a policy with a short overlap, and one second in which a node may remember a Secret.
func (x *tenant) byName(changes ...func(*v1alpha1.RotationPolicy)) *v1alpha1.RotationPolicy {
	return x.policy("Unlimited", "1s", append(changes, func(p *v1alpha1.RotationPolicy) {
		p.Spec.Uptake = &v1alpha1.UptakePolicy{Margin: &metav1.Duration{Duration: time.Second}}
	})...)
}

// own are the Secrets of single versions: version by name.
func (x *tenant) own() map[string]string {
	x.t.Helper()
	list := &corev1.SecretList{}
	if err := x.world.Client.List(x.ctx, list, client.InNamespace(x.ns), client.MatchingLabels{journal.LabelRole: journal.RoleCopy}); err != nil {
		x.t.Fatal(err)
	}
	found := map[string]string{}
	for i := range list.Items {
		found[list.Items[i].Name] = list.Items[i].Annotations[journal.AnnotationVersion]
	}
	return found
}

// newest waits for a version and returns the name of its own Secret, as the status says it.
func (x *tenant) newest(number int64) string {
	x.t.Helper()
	var name string
	x.eventually(soon, func() string {
		s := x.get("billing").Status
		if s.Version != number || s.Binding == nil || s.Binding.Name == "billing-api" {
			return fmt.Sprintf("version %d is not named: %+v", number, s.Binding)
		}
		name = s.Binding.Name
		return ""
	})
	return name
}

// names has the Deployment name a Secret, as a commit to Git would.
func (x *tenant) names(secret string) {
	x.t.Helper()
	update(x, "billing", &appsv1.Deployment{}, func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].EnvFrom[0].SecretRef.Name = secret
	})
}

// live waits until so many credentials live upstream, and the versions that have Secrets of
// their own are these.
func (x *tenant) live(want int, versions ...string) {
	x.t.Helper()
	x.eventually(soon, func() string {
		if got := len(x.sim.Ledger().Live()); got != want {
			return fmt.Sprintf("%d credentials live, want %d", got, want)
		}
		return cmp.Diff(versions, slices.Sorted(maps.Values(x.own())))
	})
}

// stays checks that nothing is revoked for longer than an overlap and a list of pods take.
func (x *tenant) stays(want int) {
	x.t.Helper()
	x.throughout(4*time.Second, func() string {
		if got := len(x.sim.Ledger().Live()); got != want {
			return fmt.Sprintf("%d credentials live, want %d", got, want)
		}
		return ""
	})
}

// A version that Git names lives until Git names another one and the last pod is gone, though no
// policy watches pods.
func TestAVersionThatGitNamesStaysAlive(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.byName(), versioned)
	first := x.newest(1)
	secret := x.target(first)
	if secret.Immutable == nil || !*secret.Immutable || string(secret.Data["client_id"]) == "" || !cmp.Equal(secret.Data, x.target("billing-api").Data) {
		t.Errorf("the Secret of version 1 is not an immutable one of the same content: keys %v", slices.Sorted(maps.Keys(secret.Data)))
	}
	n := x.node()
	d := x.deployment()
	d.Spec.Template.Spec.Containers[0].EnvFrom[0].SecretRef.Name = first
	x.create(d)
	x.awaitRollout(1)

	x.request(time.Now())
	second := x.newest(2)
	x.await(soon, v1alpha1.ConditionRotating, state{"True", v1alpha1.ReasonWaitingForReferences})
	x.eventually(soon, func() string {
		c := x.get("billing").Status.Consumers
		if c == nil || c.Current != 0 || c.Earlier != 4 || !slices.Contains(c.Behind, "Deployment/billing") {
			return fmt.Sprintf("status.consumers is %+v", c)
		}
		return ""
	})
	x.stays(2)
	versions := x.get("billing").Status.Versions
	if diff := cmp.Diff([]string{first, second}, []string{versions[0].SecretName, versions[1].SecretName}); diff != "" {
		t.Errorf("status.versions (-want +got):\n%s", diff)
	}

	x.names(second)
	x.awaitRollout(2)
	x.live(1, "2")
	x.awaitIdle(1)
	n.wantNoFailure()
	for _, want := range []string{"VersionNamed", "VersionWithdrawn"} {
		if reasons := x.reasons("APIClientCredential", "billing"); !slices.Contains(reasons, want) {
			t.Errorf("no event %s among %v", want, reasons)
		}
	}

	c := x.get("billing")
	x.delete(c)
	x.await(soon, v1alpha1.ConditionReady, state{"False", v1alpha1.ReasonInUse}, "billing-")
	n.wantNoFailure()
	x.delete(x.deployed(), client.PropagationPolicy(metav1.DeletePropagationBackground))
	x.awaitGone(soon, c)
	x.live(0)
}

func (x *tenant) deployed() *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "billing"}}
}

// Templates hold a version as long as they may make pods of it.
func TestATemplateThatNamesAVersionKeepsItAlive(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.byName(), versioned)
	spec := x.deployment().Spec.Template
	spec.Spec.RestartPolicy = corev1.RestartPolicyNever
	spec.Spec.Containers[0].EnvFrom[0].SecretRef.Name = x.newest(1)
	cron := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "report"},
		Spec: batchv1.CronJobSpec{
			Schedule: "0 0 1 1 *", Suspend: ptr.To(true),
			JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: spec}},
		},
	}
	x.create(cron)
	// Of an older rollout, scaled to nothing: it holds nothing.
	labels := map[string]string{"app": "old"}
	old := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "old"}, Spec: appsv1.ReplicaSetSpec{
		Replicas: ptr.To[int32](0), Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: *x.deployment().Spec.Template.DeepCopy(),
	}}
	old.Spec.Template.Labels, old.Spec.Template.Spec.Containers[0].EnvFrom[0].SecretRef.Name = labels, x.newest(1)
	x.create(old)

	x.request(time.Now())
	x.newest(2)
	x.await(soon, v1alpha1.ConditionRotating, state{"True", v1alpha1.ReasonWaitingForReferences})
	x.stays(2)
	x.eventually(soon, func() string {
		want := &v1alpha1.ConsumersStatus{Version: 2, Earlier: 1, Behind: []string{"CronJob/report"}}
		return cmp.Diff(want, x.get("billing").Status.Consumers)
	})
	x.delete(cron)
	x.live(1, "2")
}

// A name that somebody else has is said, without a write for each attempt, and keeps no version
// from being retired.
func TestANameOfAVersionThatIsTakenIsSaid(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.byName(), versioned)
	x.newest(1)
	held := x.hold("credential.create", simkit.BeforeCommit)
	x.request(time.Now())
	call := held()
	second := x.versions()[1]
	name := journal.CopyName("billing-api", 2, second.Annotations[journal.AnnotationNonce])
	x.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: name}})
	x.sim.Faults().Release(call, false)
	x.awaitVersion(soon, 2)
	x.await(soon, v1alpha1.ConditionAttention, state{"True", v1alpha1.ReasonSecretNotOurs}, name)
	x.live(1)
	since := x.mark()
	x.throughout(35*time.Second, func() string {
		// The counts of the policy and the issuer may still follow.
		return strings.Join(slices.DeleteFunc(x.writes(since), func(w string) bool { return !strings.Contains(w, "secrets") }), ", ")
	})
	x.request(time.Now())
	x.newest(3)
	x.live(1, "3")
}

// What one rotation costs beside what it costs without names: the new Secret and the end of the
// old one.
func TestNamesOfSingleVersionsCostTwoWrites(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	c := x.ready(x.byName(), versioned)
	first := x.newest(1)
	x.awaitIdle(1)
	since := x.mark()
	x.request(time.Now())
	second := x.newest(2)
	x.live(1, "2")
	x.awaitIdle(1)
	secret := func(n int64) string { return journal.VersionSecretName("billing", string(c.UID), n) }
	x.eventually(soon, func() string {
		// How often the status is written depends on how long each wait takes.
		writes := slices.DeleteFunc(x.writes(since), func(w string) bool { return strings.Contains(w, "/status") })
		return cmp.Diff([]string{
			"create secrets " + secret(2), "update secrets billing-api", "create secrets " + second,
			"delete secrets " + secret(1), "delete secrets " + first, "patch secrets " + secret(1),
		}, writes)
	})
}

// What Git refers to is put back, whoever deletes it.
func TestSecretsOfSingleVersionsAreKept(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "1h"), versioned)
	first := x.newest(1)
	x.request(time.Now())
	second := x.newest(2)
	for _, name := range []string{first, second} {
		before := x.target(name)
		x.delete(before)
		x.eventually(soon, func() string {
			after := &corev1.Secret{}
			if err := x.world.Client.Get(x.ctx, x.key(name), after); err != nil {
				return err.Error()
			}
			if after.UID == before.UID {
				return name + " is still the one that was deleted"
			}
			return cmp.Diff(before.Data, after.Data)
		})
	}
	issued := len(x.sim.Ledger().Issued())
	if issued != 2 {
		t.Errorf("%d credentials were issued for two versions", issued)
	}
	update(x, first, &corev1.Secret{}, func(s *corev1.Secret) { s.Finalizers = []string{"example.com/held"} })
	x.annotate(v1alpha1.AnnotationCompromisedAt, time.Now().Add(time.Second).UTC().Format(time.RFC3339))
	x.newest(3)
	x.eventually(soon, func() string {
		if s := x.target(first); s.DeletionTimestamp == nil {
			return "the Secret of version 1 is not withdrawn"
		}
		return ""
	})
	update(x, first, &corev1.Secret{}, func(s *corev1.Secret) { s.Finalizers = nil })
	x.live(1, "3")
}

// Under Retain the Secrets stay, and a credential of the same name goes on with them: Git need
// not change.
func TestARetainedVersionKeepsItsName(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	policy := x.byName()
	c := x.ready(policy, versioned, func(c *v1alpha1.APIClientCredential) { c.Spec.DeletionPolicy = v1alpha1.DeletionRetain })
	first := x.newest(1)
	before := x.target(first)
	x.delete(c)
	x.awaitGone(soon, c)
	if after := x.target(first); after.UID != before.UID {
		t.Fatal("the Secret of version 1 is another one")
	}
	x.create(x.credential(versioned))
	if got := x.newest(1); got != first {
		t.Errorf("version 1 is called %s, and was %s", got, first)
	}
	x.request(time.Now())
	x.newest(2)
	x.live(1, "2")
	again := x.get("billing")
	x.delete(again)
	x.awaitGone(soon, again)
	x.live(0)
}
