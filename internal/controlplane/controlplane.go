package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	// startTimeout is for each process: about three seconds are usual, but a machine
	// that compiles at the same time takes many times as long.
	startTimeout = 60 * time.Second
	// stopTimeout is for each process, before it is killed.
	stopTimeout = 30 * time.Second
)

// Options says which control plane to start. The zero value is an etcd and an API server
// that know the built-in kinds only.
type Options struct {
	// CRDPaths are files or folders of CustomResourceDefinitions; Start returns when
	// they are served. A path that does not exist is an error.
	CRDPaths []string
	// ManifestPaths are applied in their order after the CRDs: files, folders of files,
	// or folders with a kustomization. Start does not wait for their effect; admission
	// policies are in force about a second later.
	ManifestPaths []string
	// AuditLogFile takes one JSON object per line and finished request, at level
	// Metadata: no bodies, so no secrets. It is appended to; empty means no audit log.
	AuditLogFile string
	// AuditBodies adds the bodies of what was written, of Secrets and tokens excepted.
	AuditBodies bool
	// ControllerManager starts kube-controller-manager with the controllers that give
	// deletion its meaning: garbage collection and namespaces, and those for service
	// accounts, quotas, aggregated roles and the status of admission policies.
	// Only with it can ServiceAccount admission be on, as it is in a cluster, because
	// only with it does each namespace get its default ServiceAccount.
	ControllerManager bool
	// ExtraControllers are names of further controllers of kube-controller-manager,
	// such as "deployment-controller".
	ExtraControllers []string
	// ExtraAPIServerArgs are flags without their dashes; they replace those that this
	// package or envtest sets.
	ExtraAPIServerArgs map[string]string
	// Out takes a line for each part that is up; nil discards them.
	Out io.Writer
	// DataDir holds etcd's data, the admin kubeconfig, certificates and logs. It is kept
	// by Stop, and etcd's data is taken up again by the next Start, with new keys: no
	// token or certificate of the past is valid. Empty means a temporary folder that
	// Stop removes.
	DataDir string
}

// ControlPlane is a running control plane. Its methods may be called at the same time,
// except that nothing but Stop may be called once Stop was.
type ControlPlane struct {
	assets  string
	folder  folder
	env     *envtest.Environment
	manager *process // nil without a controller manager
	logs    []*os.File

	// forks keeps apart what must happen on one thread; see there.
	forks forker
	// mu guards envtest's certificate authority, which counts serial numbers unguarded,
	// and stopped.
	mu      sync.Mutex
	stopped bool
}

// Start starts a control plane on 127.0.0.1 and returns when it is ready for use; ctx
// bounds the start (etcd and the API server within a minute each, whatever it says), not
// the life of what was started. On an error nothing is left running. The children die with the calling process even if it is killed (on Linux).
func Start(ctx context.Context, o Options) (*ControlPlane, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	assets, err := Assets(ctx)
	if err != nil {
		return nil, err
	}
	if err := requireBinaries(assets); err != nil {
		return nil, err
	}
	dir, err := openFolder(o.DataDir)
	if err != nil {
		return nil, fmt.Errorf("prepare the folder of the control plane: %w", err)
	}
	c := &ControlPlane{assets: assets, folder: dir, forks: newForker()}
	if err := c.start(ctx, o); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *ControlPlane) start(ctx context.Context, o Options) error {
	began := time.Now()
	progress := func(format string, args ...any) {
		if o.Out != nil {
			fmt.Fprintf(o.Out, "control plane: %s (%.1fs)\n", fmt.Sprintf(format, args...), time.Since(began).Seconds())
		}
	}
	if err := c.configure(o); err != nil {
		return err
	}
	err := c.forks.do(func() error {
		_, err := c.env.Start()
		return err
	})
	if err != nil {
		return fmt.Errorf("start etcd and the API server: %w", errors.Join(err, c.folder.lastWords()))
	}
	if err := WriteKubeconfig(c.folder.kubeconfig(), c.env.Config); err != nil {
		return err
	}
	progress("API server at %s is ready", c.env.Config.Host)
	if o.ControllerManager {
		// After the CRDs: the garbage collector looks for new kinds every 30 seconds only.
		if err := c.startManager(ctx, o.ExtraControllers); err != nil {
			return fmt.Errorf("start kube-controller-manager: %w", errors.Join(err, c.folder.lastWords()))
		}
		progress("controller manager is ready")
	}
	for _, path := range o.ManifestPaths {
		if err := c.apply(ctx, path); err != nil {
			return err
		}
		progress("applied %s", filepath.Base(path))
	}
	return ctx.Err()
}

// Stop ends every process and waits until it is gone. A second call does nothing.
func (c *ControlPlane) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil
	}
	c.stopped = true
	defer c.forks.close()

	var errs []error
	if c.manager != nil {
		errs = append(errs, c.manager.stop())
	}
	if c.env != nil {
		errs = append(errs, c.env.Stop())
	}
	for _, log := range c.logs {
		errs = append(errs, log.Close())
	}
	return errors.Join(append(errs, c.folder.close())...)
}

// StopAPIServer takes the API server away and leaves etcd and the controller manager
// alone: what an operator sees during an upgrade of a control plane.
func (c *ControlPlane) StopAPIServer() error {
	return c.forks.do(c.env.ControlPlane.GetAPIServer().Stop)
}

// StartAPIServer brings the API server back at the same address with the same
// certificates and keys; every Config and token stays valid.
func (c *ControlPlane) StartAPIServer() error {
	return c.forks.do(c.env.ControlPlane.GetAPIServer().Start)
}

// Config returns access for a member of system:masters, to whom nothing is forbidden,
// without a client-side limit on requests.
func (c *ControlPlane) Config() *rest.Config { return rest.CopyConfig(c.env.Config) }

// Kubeconfig returns the path of a kubeconfig file with the same access as Config.
func (c *ControlPlane) Kubeconfig() string { return c.folder.kubeconfig() }

// KubectlPath returns the path of a kubectl of the API server's version.
func (c *ControlPlane) KubectlPath() string { return filepath.Join(c.assets, "kubectl") }

// Dir returns the folder that holds the state and, under logs, the output of each process.
func (c *ControlPlane) Dir() string { return c.folder.path }
