// Package consumers finds the pods that use Secrets. The one idea: one list for everybody
// who waits in a namespace, only while somebody waits, and nothing of it is kept but what
// the rule of internal/uptake needs. There is no cache of pods: memory must not grow with a
// cluster's pods that have nothing to do with us.
package consumers

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/claviger-dev/claviger/internal/uptake"
)

// AnnotationReload on a pod (by its template), with the value Live, declares that it reads
// mounted files anew when they change.
const AnnotationReload = "credentials.claviger.dev/reload"

// Read tells what the rule needs to know of a pod.
func Read(p *corev1.Pod) uptake.Pod {
	return uptake.Pod{
		Name: p.Name, CreatedAt: p.CreationTimestamp.Time, Terminating: p.DeletionTimestamp != nil,
		Finished:   p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
		Reloads:    p.Annotations[AnnotationReload] == "Live",
		References: references(&p.Spec),
	}
}

// container is what all sorts of containers have in common.
type container struct {
	env    []corev1.EnvVar
	from   []corev1.EnvFromSource
	mounts []corev1.VolumeMount
}

func containers(spec *corev1.PodSpec) []container {
	var all []container
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			all = append(all, container{list[i].Env, list[i].EnvFrom, list[i].VolumeMounts})
		}
	}
	for i := range spec.EphemeralContainers {
		c := &spec.EphemeralContainers[i]
		all = append(all, container{c.Env, c.EnvFrom, c.VolumeMounts})
	}
	return all
}

// references lists every use of a Secret. One that is optional counts like any other, and
// so does a volume that no container mounts: an ephemeral one may do so later.
func references(spec *corev1.PodSpec) []uptake.Reference {
	all := volumes(spec)
	subPaths := map[string]bool{}
	for _, c := range containers(spec) {
		for _, e := range c.env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				all = append(all, uptake.Reference{Secret: e.ValueFrom.SecretKeyRef.Name, Way: uptake.Environment})
			}
		}
		for _, from := range c.from {
			if from.SecretRef != nil {
				all = append(all, uptake.Reference{Secret: from.SecretRef.Name, Way: uptake.Environment})
			}
		}
		for _, m := range c.mounts {
			if m.SubPath != "" || m.SubPathExpr != "" {
				subPaths[m.Name] = true
			}
		}
	}
	for i := range spec.Volumes {
		if !subPaths[spec.Volumes[i].Name] {
			continue
		}
		for _, secret := range secretsOf(&spec.Volumes[i]) {
			all = append(all, uptake.Reference{Secret: secret, Way: uptake.SubPath})
		}
	}
	for _, pull := range spec.ImagePullSecrets {
		all = append(all, uptake.Reference{Secret: pull.Name, Way: uptake.ImagePull})
	}
	return all
}

func volumes(spec *corev1.PodSpec) []uptake.Reference {
	var all []uptake.Reference
	for i := range spec.Volumes {
		for _, secret := range secretsOf(&spec.Volumes[i]) {
			way := uptake.Volume
			if spec.Volumes[i].Secret == nil && spec.Volumes[i].Projected == nil {
				way = uptake.Environment // a driver reads it when the volume is mounted
			}
			all = append(all, uptake.Reference{Secret: secret, Way: way})
		}
	}
	return all
}

// secretsOf are the Secrets that a volume reads. Drivers of storage read theirs when they
// mount, and nobody refreshes that.
func secretsOf(v *corev1.Volume) []string {
	var names []string
	local := func(r *corev1.LocalObjectReference) {
		if r != nil {
			names = append(names, r.Name)
		}
	}
	switch {
	case v.Secret != nil:
		names = append(names, v.Secret.SecretName)
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			if s := v.Projected.Sources[i].Secret; s != nil {
				names = append(names, s.Name)
			}
		}
	case v.CSI != nil:
		local(v.CSI.NodePublishSecretRef)
	case v.AzureFile != nil:
		names = append(names, v.AzureFile.SecretName)
	case v.CephFS != nil:
		local(v.CephFS.SecretRef)
	case v.Cinder != nil:
		local(v.Cinder.SecretRef)
	case v.FlexVolume != nil:
		local(v.FlexVolume.SecretRef)
	case v.ISCSI != nil:
		local(v.ISCSI.SecretRef)
	case v.RBD != nil:
		local(v.RBD.SecretRef)
	case v.ScaleIO != nil:
		local(v.ScaleIO.SecretRef)
	case v.StorageOS != nil:
		local(v.StorageOS.SecretRef)
	}
	return names
}

// Uses reports whether a pod of this kind would use one of some Secrets.
func Uses(spec *corev1.PodSpec, secrets []string) bool {
	return slices.ContainsFunc(references(spec), func(r uptake.Reference) bool { return slices.Contains(secrets, r.Secret) })
}
