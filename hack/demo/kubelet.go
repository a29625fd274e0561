package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

const (
	// nodeName is the node of all pods; no scheduler runs in the demo.
	nodeName = "demo-node"
	// turn is the pause between two looks of the node at its pods.
	turn = 200 * time.Millisecond
	// readyAfter is how long a process takes to become ready, and endsAfter how long one goes on
	// that is told to end. A rollout takes both.
	readyAfter = time.Second
	endsAfter  = 500 * time.Millisecond
	// margin is how long after a publication the demo's policy lets new pods count.
	margin = time.Second
)

// kubelet runs the pods of the demo's Deployments as the node of a cluster does: it starts
// their processes with what the Secrets hold then, shows changed Secrets in mounted files
// late, says that they are ready, and ends them when they are deleted. The processes are
// workloads of a fleet, and call as its others do.
type kubelet struct {
	client client.Client
	scene  *scene
	fleet  *fleet

	pods map[types.UID]*sandbox
}

// sandbox is a pod that runs.
type sandbox struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	started time.Time
	ending  time.Time
	ready   bool
}

// run looks after pods until ctx ends, and then ends their processes.
func (k *kubelet) run(ctx context.Context) {
	k.pods = map[types.UID]*sandbox{}
	looks := time.NewTicker(turn)
	defer looks.Stop()
	for {
		select {
		case <-looks.C:
			k.look(ctx)
		case <-ctx.Done():
			for _, s := range k.pods {
				s.stop()
			}
			return
		}
	}
}

func (s *sandbox) stop() {
	s.cancel()
	s.running.Wait()
}

// look brings every pod one step further. What fails is tried again at the next look.
func (k *kubelet) look(ctx context.Context) {
	pods := &corev1.PodList{}
	if err := k.client.List(ctx, pods, client.MatchingFields{"spec.nodeName": nodeName}); err != nil {
		return
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		s := k.pods[pod.UID]
		switch now := time.Now(); {
		case s == nil && pod.DeletionTimestamp == nil:
			k.start(ctx, pod)
		case pod.DeletionTimestamp == nil && !s.ready && now.Sub(s.started) >= readyAfter:
			s.ready = k.say(ctx, pod) == nil
		case pod.DeletionTimestamp == nil:
		case s != nil && s.ending.IsZero():
			s.ending = now
		case s == nil || now.Sub(s.ending) >= endsAfter:
			if s != nil {
				s.stop()
			}
			delete(k.pods, pod.UID)
			_ = k.client.Delete(ctx, pod, client.GracePeriodSeconds(0), client.Preconditions{UID: &pod.UID}) // again at the next look
		}
	}
}

// start starts a process for each container of a pod, once all Secrets are there.
func (k *kubelet) start(ctx context.Context, pod *corev1.Pod) {
	running, cancel := context.WithCancel(ctx)
	s := &sandbox{cancel: cancel, started: time.Now()}
	var processes []func()
	for i := range pod.Spec.Containers {
		process, err := k.process(running, pod, &pod.Spec.Containers[i])
		if err != nil {
			cancel()
			return
		}
		processes = append(processes, process...)
	}
	for _, process := range processes {
		s.running.Go(process)
	}
	k.pods[pod.UID] = s
	k.fleet.tally.restarted()
}

// process is what runs in a container: a workload, and the mount that it reads.
func (k *kubelet) process(ctx context.Context, pod *corev1.Pod, container *corev1.Container) ([]func(), error) {
	secret, file := secretIn(pod, container)
	key := types.NamespacedName{Namespace: pod.Namespace, Name: secret}
	k.scene.mu.Lock()
	role, known := k.scene.cast[key]
	k.scene.mu.Unlock()
	if !known {
		return nil, fmt.Errorf("nobody plays with Secret %s", key)
	}
	live := &corev1.Secret{}
	if err := k.client.Get(ctx, key, live); err != nil {
		return nil, err
	}
	held := role.house.show(live, role.APIClientCredential)
	if held.empty() {
		return nil, fmt.Errorf("the Secret %s holds nothing", key)
	}
	m := &mount{longest: k.fleet.slowest, shown: held, since: time.Now()}
	w := &workload{
		who: name(nameOf(role.APIClientCredential), file), readsEveryTime: true, mount: m, fleet: k.fleet,
		caller: role.house.caller(role.APIClientCredential),
	}
	processes := []func(){func() { w.run(ctx) }}
	if file {
		// What was read into the environment stays; a mounted file is shown anew.
		processes = append(processes, func() { m.run(ctx, k.scene.board, key) })
	}
	return processes, nil
}

// secretIn is the Secret that a container reads, and whether it reads it as a file.
func secretIn(pod *corev1.Pod, container *corev1.Container) (secret string, file bool) {
	for _, from := range container.EnvFrom {
		if from.SecretRef != nil {
			return from.SecretRef.Name, false
		}
	}
	for _, mounted := range container.VolumeMounts {
		for _, volume := range pod.Spec.Volumes {
			if volume.Name == mounted.Name && volume.Secret != nil {
				return volume.Secret.SecretName, true
			}
		}
	}
	return "", false
}

func (k *kubelet) say(ctx context.Context, pod *corev1.Pod) error {
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	return k.client.Status().Update(ctx, pod)
}

// deployment is the workload of a credential: a pod with one container that reads the
// environment and one that reads a mounted file, of which there is never none.
func deployment(credential *v1alpha1.APIClientCredential) *appsv1.Deployment {
	labels := map[string]string{"app": credential.Name}
	secret := credential.Spec.Secret.Name
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: credential.Namespace, Name: credential.Name},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](1), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
				MaxUnavailable: ptr.To(intstr.FromInt32(0)), MaxSurge: ptr.To(intstr.FromInt32(1)),
			}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					NodeName: nodeName,
					Containers: []corev1.Container{
						{
							Name: "environment", Image: "workload",
							EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}}},
						},
						{
							Name: "file", Image: "workload",
							VolumeMounts: []corev1.VolumeMount{{Name: "credential", MountPath: "/etc/credential", ReadOnly: true}},
						},
					},
					Volumes: []corev1.Volume{{Name: "credential", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}}},
				},
			},
		},
	}
}
