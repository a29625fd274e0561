package consumers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/internal/uptake"
)

var made = metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))

func key(secret string) []corev1.EnvVar {
	return []corev1.EnvVar{
		{Name: "PLAIN", Value: "x"},
		{Name: "FIELD", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
		{Name: "SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}}},
	}
}

func from(secret string) []corev1.EnvFromSource {
	return []corev1.EnvFromSource{
		{ConfigMapRef: &corev1.ConfigMapEnvSource{}},
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}},
	}
}

func volume(name string, source corev1.VolumeSource) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: source}
}

func TestEveryUseOfASecretIsFound(t *testing.T) {
	secret := corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}
	projected := corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ConfigMap: &corev1.ConfigMapProjection{}}, {Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}}},
	}}}
	reference := &corev1.LocalObjectReference{Name: "s"}
	uses := func(ways ...uptake.Way) []uptake.Reference {
		var all []uptake.Reference
		for _, way := range ways {
			all = append(all, uptake.Reference{Secret: "s", Way: way})
		}
		return all
	}
	for _, c := range []struct {
		when string
		spec corev1.PodSpec
		want []uptake.Reference
	}{
		{"env", corev1.PodSpec{Containers: []corev1.Container{{Env: key("s")}}}, uses(uptake.Environment)},
		{"envFrom", corev1.PodSpec{Containers: []corev1.Container{{EnvFrom: from("s")}}}, uses(uptake.Environment)},
		{"env of an init container", corev1.PodSpec{InitContainers: []corev1.Container{{Env: key("s")}}}, uses(uptake.Environment)},
		{"env of an ephemeral container", corev1.PodSpec{EphemeralContainers: []corev1.EphemeralContainer{
			{EphemeralContainerCommon: corev1.EphemeralContainerCommon{EnvFrom: from("s")}},
		}}, uses(uptake.Environment)},
		{"a volume", corev1.PodSpec{Volumes: []corev1.Volume{volume("v", secret)}}, uses(uptake.Volume)},
		{"a projected volume", corev1.PodSpec{Volumes: []corev1.Volume{volume("v", projected)}}, uses(uptake.Volume)},
		{"a file of a volume alone", corev1.PodSpec{
			Volumes:    []corev1.Volume{volume("v", projected), volume("other", corev1.VolumeSource{})},
			Containers: []corev1.Container{{VolumeMounts: []corev1.VolumeMount{{Name: "v", SubPath: "client_secret"}}}},
		}, uses(uptake.Volume, uptake.SubPath)},
		{"the same by an expression", corev1.PodSpec{
			Volumes:        []corev1.Volume{volume("v", secret)},
			InitContainers: []corev1.Container{{VolumeMounts: []corev1.VolumeMount{{Name: "v", SubPathExpr: "$(NAME)"}}}},
		}, uses(uptake.Volume, uptake.SubPath)},
		{"a file of another volume", corev1.PodSpec{
			Volumes:    []corev1.Volume{volume("v", secret), volume("other", corev1.VolumeSource{})},
			Containers: []corev1.Container{{VolumeMounts: []corev1.VolumeMount{{Name: "other", SubPath: "x"}, {Name: "v"}}}},
		}, uses(uptake.Volume)},
		{"a pull of images", corev1.PodSpec{ImagePullSecrets: []corev1.LocalObjectReference{{Name: "s"}}}, uses(uptake.ImagePull)},
		{"a driver of storage", corev1.PodSpec{Volumes: []corev1.Volume{volume("v", corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: reference}})}}, uses(uptake.Environment)},
		{"a driver without a Secret", corev1.PodSpec{Volumes: []corev1.Volume{volume("v", corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}})}}, nil},
		{"an old driver", corev1.PodSpec{Volumes: []corev1.Volume{volume("v", corev1.VolumeSource{FlexVolume: &corev1.FlexVolumeSource{SecretRef: reference}})}}, uses(uptake.Environment)},
		{"nothing", corev1.PodSpec{Containers: []corev1.Container{{}}, Volumes: []corev1.Volume{volume("v", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}})}}, nil},
	} {
		t.Run(c.when, func(t *testing.T) {
			if diff := cmp.Diff(c.want, references(&c.spec)); diff != "" {
				t.Errorf("references (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatCountsOfAPod(t *testing.T) {
	for _, c := range []struct {
		when   string
		change func(*corev1.Pod)
		want   uptake.Pod
	}{
		{"one that runs", func(*corev1.Pod) {}, uptake.Pod{Name: "p", CreatedAt: made.Time}},
		{"one that has succeeded", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, uptake.Pod{Name: "p", CreatedAt: made.Time, Finished: true}},
		{"one that has failed", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, uptake.Pod{Name: "p", CreatedAt: made.Time, Finished: true}},
		{"one whose node is out of reach", func(p *corev1.Pod) { p.Status.Phase = corev1.PodUnknown }, uptake.Pod{Name: "p", CreatedAt: made.Time}},
		{"one that is being ended", func(p *corev1.Pod) { p.DeletionTimestamp = &made }, uptake.Pod{Name: "p", CreatedAt: made.Time, Terminating: true}},
		{"one that reads files anew", func(p *corev1.Pod) { p.Annotations = map[string]string{AnnotationReload: "Live"} }, uptake.Pod{Name: "p", CreatedAt: made.Time, Reloads: true}},
		{"one that says something else", func(p *corev1.Pod) { p.Annotations = map[string]string{AnnotationReload: "true"} }, uptake.Pod{Name: "p", CreatedAt: made.Time}},
	} {
		t.Run(c.when, func(t *testing.T) {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", CreationTimestamp: made}}
			c.change(p)
			if diff := cmp.Diff(c.want, Read(p)); diff != "" {
				t.Errorf("pod (-want +got):\n%s", diff)
			}
		})
	}
}
