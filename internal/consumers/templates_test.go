package consumers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/internal/uptake"
)

// shelf answers lists with what it holds, one object a page, as an API server may.
type shelf struct {
	client.Reader
	objects []runtime.Object
	calls   int
	err     error
}

func (s *shelf) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	if s.calls++; s.err != nil {
		return s.err
	}
	o := client.ListOptions{}
	o.ApplyOptions(options)
	if o.Namespace != "payments" || o.Limit == 0 {
		return fmt.Errorf("a list of %T in %q with limit %d", list, o.Namespace, o.Limit)
	}
	at := 0
	if o.Continue != "" {
		if _, err := fmt.Sscan(o.Continue, &at); err != nil {
			return err
		}
	}
	found := 0
	for _, object := range s.objects {
		if !holds(list, object) {
			continue
		}
		if found++; found == at+2 {
			list.SetContinue(fmt.Sprint(at + 1))
			return nil
		}
		if found == at+1 {
			put(list, object)
		}
	}
	return nil
}

func holds(list client.ObjectList, object runtime.Object) bool {
	return fmt.Sprintf("%TList", object) == fmt.Sprintf("%T", list)
}

func put(list client.ObjectList, object runtime.Object) {
	switch l := list.(type) {
	case *appsv1.DeploymentList:
		l.Items = append(l.Items, *object.(*appsv1.Deployment))
	case *appsv1.StatefulSetList:
		l.Items = append(l.Items, *object.(*appsv1.StatefulSet))
	case *appsv1.DaemonSetList:
		l.Items = append(l.Items, *object.(*appsv1.DaemonSet))
	case *appsv1.ReplicaSetList:
		l.Items = append(l.Items, *object.(*appsv1.ReplicaSet))
	case *appsv1.ControllerRevisionList:
		l.Items = append(l.Items, *object.(*appsv1.ControllerRevision))
	case *corev1.ReplicationControllerList:
		l.Items = append(l.Items, *object.(*corev1.ReplicationController))
	case *batchv1.CronJobList:
		l.Items = append(l.Items, *object.(*batchv1.CronJob))
	case *batchv1.JobList:
		l.Items = append(l.Items, *object.(*batchv1.Job))
	}
}

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

// template makes pods that use a Secret twice.
func template(secret string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Env: key(secret), EnvFrom: from(secret)}}}}
}

func revision(t *testing.T, name, secret string) *appsv1.ControllerRevision {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"spec": map[string]any{"template": template(secret)}})
	if err != nil {
		t.Fatal(err)
	}
	return &appsv1.ControllerRevision{ObjectMeta: named(name), Data: runtime.RawExtension{Raw: raw}}
}

func TestWhatMayMakePods(t *testing.T) {
	none, one := ptr.To[int32](0), ptr.To[int32](1)
	cron := func(name string, suspended bool) *batchv1.CronJob {
		return &batchv1.CronJob{ObjectMeta: named(name), Spec: batchv1.CronJobSpec{
			Suspend: &suspended, JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template("v1")}},
		}}
	}
	job := func(name string, status batchv1.JobStatus) *batchv1.Job {
		return &batchv1.Job{ObjectMeta: named(name), Spec: batchv1.JobSpec{Template: template("v1")}, Status: status}
	}
	jobCondition := func(kind batchv1.JobConditionType) batchv1.JobStatus {
		return batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: kind, Status: corev1.ConditionTrue}}}
	}
	v1 := template("v1")
	s := &shelf{objects: []runtime.Object{
		&appsv1.Deployment{ObjectMeta: named("web"), Spec: appsv1.DeploymentSpec{Template: template("v2")}},
		&appsv1.Deployment{ObjectMeta: named("asleep"), Spec: appsv1.DeploymentSpec{Replicas: none, Template: v1}},
		&appsv1.Deployment{ObjectMeta: named("plain")},
		&appsv1.StatefulSet{ObjectMeta: named("rolling"), Spec: appsv1.StatefulSetSpec{Template: template("v2")}, Status: appsv1.StatefulSetStatus{CurrentRevision: "rolling-1", UpdateRevision: "rolling-2"}},
		&appsv1.StatefulSet{ObjectMeta: named("rolled"), Spec: appsv1.StatefulSetSpec{Template: template("v2")}, Status: appsv1.StatefulSetStatus{CurrentRevision: "rolled-2", UpdateRevision: "rolled-2"}},
		revision(t, "rolling-1", "v1"), revision(t, "rolling-2", "v2"), revision(t, "rolled-1", "v1"), revision(t, "rolled-2", "v2"),
		&appsv1.DaemonSet{ObjectMeta: named("agent"), Spec: appsv1.DaemonSetSpec{Template: v1}},
		&appsv1.ReplicaSet{ObjectMeta: named("web-1"), Spec: appsv1.ReplicaSetSpec{Replicas: none, Template: v1}},
		&appsv1.ReplicaSet{ObjectMeta: named("web-2"), Spec: appsv1.ReplicaSetSpec{Replicas: one, Template: template("v2")}},
		&appsv1.ReplicaSet{ObjectMeta: named("bare"), Spec: appsv1.ReplicaSetSpec{Template: v1}},
		&corev1.ReplicationController{ObjectMeta: named("old"), Spec: corev1.ReplicationControllerSpec{Template: &v1}},
		&corev1.ReplicationController{ObjectMeta: named("older"), Spec: corev1.ReplicationControllerSpec{Replicas: none, Template: &v1}},
		&corev1.ReplicationController{ObjectMeta: named("empty")},
		cron("report", false), cron("paused", true),
		job("running", batchv1.JobStatus{}), job("done", batchv1.JobStatus{CompletionTime: &made}),
		job("failed", jobCondition(batchv1.JobFailed)), job("waiting", jobCondition(batchv1.JobSuspended)),
	}}
	got, began, err := NewFinder(s, &fixed{made.Time}).Templates(t.Context(), "payments", made.Time)
	if err != nil {
		t.Fatal(err)
	}
	uses := func(name, secret string) uptake.Template {
		return uptake.Template{Name: name, Secrets: []string{secret}}
	}
	want := []uptake.Template{
		uses("Deployment/web", "v2"), uses("Deployment/asleep", "v1"),
		uses("StatefulSet/rolling", "v2"), uses("StatefulSet/rolled", "v2"),
		uses("DaemonSet/agent", "v1"),
		uses("ReplicaSet/web-2", "v2"), uses("ReplicaSet/bare", "v1"),
		uses("ReplicationController/old", "v1"),
		uses("CronJob/report", "v1"), uses("CronJob/paused", "v1"),
		uses("Job/running", "v1"), uses("Job/waiting", "v1"),
		uses("StatefulSet/rolling", "v1"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("templates (-want +got):\n%s", diff)
	}
	if !began.Equal(made.Time) {
		t.Errorf("the lists began at %s", began)
	}
}

func TestOneListOfTemplatesServesEverybodyWhoWaits(t *testing.T) {
	clock := &fixed{made.Time}
	s := &shelf{}
	f := NewFinder(s, clock)
	look := func(notBefore time.Time, wantCalls int) {
		t.Helper()
		before := s.calls
		if _, _, err := f.Templates(t.Context(), "payments", notBefore); err != nil {
			t.Fatal(err)
		}
		if got := s.calls - before; got != wantCalls {
			t.Errorf("%d lists, want %d", got, wantCalls)
		}
	}
	look(made.Time, 7)
	look(made.Time, 0)
	clock.now = made.Add(time.Minute)
	look(made.Add(time.Second), 7)
	s.err = errors.New("out of reach")
	if _, _, err := f.Templates(t.Context(), "payments", made.Add(time.Hour)); !errors.Is(err, s.err) {
		t.Errorf("the error is %v", err)
	}
}

func TestARevisionThatCannotBeReadNamesNothing(t *testing.T) {
	if got := secretsNamed(revisedSpec(&appsv1.ControllerRevision{Data: runtime.RawExtension{Raw: []byte(`{"spec":[]}`)}})); len(got) > 0 {
		t.Errorf("it names %v", got)
	}
}
