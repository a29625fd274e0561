// Package operatortest runs the operator as it is installed: the real binary, as a
// process of its own, under the token of its own ServiceAccount and with the rights of
// config/rbac, against a real control plane with the kinds and admission policies of
// config. The one idea: a test that lends the operator anything that an installation
// does not give it (an administrator's rights, a shared process, a fake client) cannot
// find that it is missing.
//
// What the operator wrote is read from the API server's audit log and not from the
// operator, and what it must not say is looked for in everything that it said.
package operatortest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/canary"
	"github.com/claviger-dev/claviger/internal/controlplane"
	"github.com/claviger-dev/claviger/internal/journal"
)

const (
	// Namespace and ServiceAccount are those of config/default.
	Namespace      = "claviger-system"
	ServiceAccount = "claviger"
	// user is how the API server calls the operator.
	user = "system:serviceaccount:" + Namespace + ":" + ServiceAccount
)

// Options of a world. The zero value builds the operator for this world alone.
type Options struct {
	// Binary is the operator; empty builds it from the working tree.
	Binary string
	// Controllers are further controllers of kube-controller-manager.
	Controllers []string
	// Namespaces are made and served by an operator that has rights in them alone; without
	// any it serves the whole cluster.
	Namespaces []string
	// Canaries are what must not be seen but in Secrets; empty makes some for this world.
	// What stands in Secrets is learned; the marker of the simulators is the test's to add.
	Canaries *canary.Canaries
	// Measured leaves out what costs the API server something: the audit log has no bodies,
	// Secrets are not watched, and nothing is searched for secrets.
	Measured bool
}

// World is a control plane on which Claviger is installed. Operators are started in it
// by Run. All methods may be called at the same time, except that nothing may be called
// once Stop was.
type World struct {
	// Plane is the control plane.
	Plane *controlplane.ControlPlane
	// Client has an administrator's rights and no cache.
	Client client.WithWatch

	controllers []string
	namespaces  []string
	measured    bool
	canaries    *canary.Canaries
	// unfollow ends the watch of Secrets.
	unfollow context.CancelFunc

	folder     string
	binary     string
	kubeconfig string

	mu        sync.Mutex
	operators []*Operator
}

// Build compiles the operator with the race detector into a folder and returns the
// path of the binary. It must be called from within the repository.
func Build(ctx context.Context, folder string) (string, error) {
	root, err := repository(ctx)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(folder, "claviger")
	build := exec.CommandContext(ctx, "go", "build", "-race", "-o", binary, ".")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the operator: %w: %s", err, out)
	}
	return binary, nil
}

// repository is the folder of the module that the working directory is in.
func repository(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// Start starts a control plane, installs Claviger's kinds, rights and policies, and
// returns when the policies are in force. ctx bounds the start. On an error nothing is
// left running.
func Start(ctx context.Context, o Options) (*World, error) {
	folder, err := os.MkdirTemp("", "claviger-world-")
	if err != nil {
		return nil, err
	}
	w := &World{
		folder: folder, binary: o.Binary, controllers: o.Controllers, namespaces: o.Namespaces,
		measured: o.Measured, canaries: o.Canaries, unfollow: func() {},
	}
	if w.canaries == nil {
		w.canaries = &canary.Canaries{}
	}
	if err := w.start(ctx); err != nil {
		return nil, errors.Join(err, w.Stop())
	}
	return w, nil
}

func (w *World) start(ctx context.Context) error {
	root, err := repository(ctx)
	if err != nil {
		return err
	}
	if w.binary == "" {
		if w.binary, err = Build(ctx, w.folder); err != nil {
			return err
		}
	}
	manifests := []string{filepath.Join(root, "config", "operator")}
	if len(w.namespaces) > 0 {
		manifests = []string{filepath.Join(root, "config", "admission"), filepath.Join(root, "config", "namespaced", "operator")}
	}
	w.Plane, err = controlplane.Start(ctx, controlplane.Options{
		CRDPaths:          []string{filepath.Join(root, "config", "crd")},
		ManifestPaths:     manifests,
		AuditLogFile:      w.auditLog(),
		AuditBodies:       !w.measured,
		ControllerManager: true,
		ExtraControllers:  w.controllers,
	})
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	if w.Client, err = client.NewWithWatch(w.Plane.Config(), client.Options{Scheme: scheme}); err != nil {
		return err
	}
	for _, namespace := range w.namespaces {
		if err := w.serve(ctx, root, namespace); err != nil {
			return err
		}
	}
	if !w.measured {
		following, unfollow := context.WithCancel(context.WithoutCancel(ctx))
		w.unfollow = unfollow
		if err := w.canaries.Follow(following, w.Client); err != nil {
			return err
		}
	}
	if err := w.awaitGuard(ctx); err != nil {
		return fmt.Errorf("wait for the admission policies: %w", err)
	}
	config, err := w.Plane.ServiceAccountConfig(ctx, Namespace, ServiceAccount)
	if err != nil {
		return err
	}
	w.kubeconfig = filepath.Join(w.folder, "operator.kubeconfig")
	return controlplane.WriteKubeconfig(w.kubeconfig, config)
}

// serve makes a namespace and gives the operator its rights in it, as the page on single
// namespaces says.
func (w *World) serve(ctx context.Context, root, namespace string) error {
	if _, err := w.Plane.Kubectl(ctx, "create", "namespace", namespace); err != nil {
		return err
	}
	_, err := w.Plane.Kubectl(ctx, "apply", "--server-side", "--kustomize", filepath.Join(root, "config", "namespaced", "served"), "--namespace", namespace)
	return err
}

// awaitGuard waits until the API server has learned of the policies, about a second
// after they were applied.
func (w *World) awaitGuard(ctx context.Context) error {
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, w.Guarded)
}

// Guarded reports whether the policy that guards the journal is in force, by trying what
// it refuses to everybody.
func (w *World) Guarded(ctx context.Context) (bool, error) {
	err := w.Client.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceDefault, Name: "probe",
			Annotations: map[string]string{journal.AnnotationProbe: "true"},
		},
		Type: journal.SecretType,
	}, client.DryRunAll)
	if apierrors.IsInvalid(err) {
		return true, nil
	}
	return false, err
}

// Stop stops every operator and the control plane. It fails if an operator had to be
// killed, if the race detector spoke in one, or if a secret can be read where none may be.
func (w *World) Stop() error {
	var errs []error
	started := w.Client != nil
	if started && !w.measured {
		errs = append(errs, w.leaksAlive(context.Background())) //nolint:forbidigo // the world may be stopped because the caller's context has ended
	}
	for _, o := range w.all() {
		errs = append(errs, o.Stop(), o.raced())
	}
	if started && !w.measured {
		errs = append(errs, w.leaksWritten())
	}
	w.unfollow()
	if w.Plane != nil {
		errs = append(errs, w.Plane.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(w.folder))...)
}

// Log is everything that all operators of this world wrote so far.
func (w *World) Log() (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all strings.Builder
	for _, o := range w.operators {
		text, err := o.Log()
		if err != nil {
			return "", err
		}
		all.WriteString(text)
	}
	return all.String(), nil
}
