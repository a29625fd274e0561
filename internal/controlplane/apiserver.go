package controlplane

import (
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// auditPolicy counts each request once, when it is finished, and never holds a body.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// auditBodies holds besides what was sent and answered where something was written. What
// may hold a secret goes without: Secrets, and tokens of accounts.
const auditBodies = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: Metadata
  resources:
  - group: ""
    resources: [secrets, serviceaccounts/token]
  - group: authentication.k8s.io
  - group: coordination.k8s.io
- level: Metadata
  users: [system:apiserver, system:kube-controller-manager]
- level: RequestResponse
  verbs: [create, update, patch, delete]
- level: Metadata
`

// configure prepares envtest's environment. Every path is given explicitly, so that
// variables meant for other uses of envtest on the same machine (USE_EXISTING_CLUSTER
// above all) can neither swap the binaries nor point a test at a real cluster.
func (c *ControlPlane) configure(o Options) error {
	existing := false
	c.env = &envtest.Environment{
		UseExistingCluster:       &existing,
		BinaryAssetsDirectory:    c.assets,
		CRDDirectoryPaths:        o.CRDPaths,
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  stopTimeout,
	}
	etcdLog, err := c.openLog("etcd")
	if err != nil {
		return err
	}
	serverLog, err := c.openLog("kube-apiserver")
	if err != nil {
		return err
	}
	c.env.ControlPlane.KubectlPath = c.KubectlPath()
	c.env.ControlPlane.Etcd = &envtest.Etcd{
		Path:    filepath.Join(c.assets, "tethered", "etcd"),
		DataDir: c.folder.etcd(),
		Out:     etcdLog,
		Err:     etcdLog,
	}
	server := c.env.ControlPlane.GetAPIServer()
	server.Path = filepath.Join(c.assets, "tethered", "kube-apiserver")
	server.CertDir = c.folder.pki()
	server.Out, server.Err = serverLog, serverLog
	return c.configureAPIServer(server, o)
}

func (c *ControlPlane) configureAPIServer(server *envtest.APIServer, o Options) error {
	args := server.Configure()
	// Left alone, the API server looks for the address of a network interface, and does
	// not start on a machine that has no route. Nobody needs the Endpoints of the
	// kubernetes Service, which may not name a loopback address.
	args.Set("advertise-address", "127.0.0.1")
	args.Set("endpoint-reconciler-type", "none")
	// Left alone, the API server waits a minute for clients to end their watches, which
	// no client does. This ends them first.
	args.Set("shutdown-watch-termination-grace-period", "2s")
	if o.ControllerManager {
		// envtest turns ServiceAccount admission off for want of a controller manager.
		args.Disable("disable-admission-plugins")
	}
	if o.AuditLogFile != "" {
		log, err := filepath.Abs(o.AuditLogFile)
		if err != nil {
			return err
		}
		policy := filepath.Join(c.folder.path, "audit-policy.yaml")
		text := auditPolicy
		if o.AuditBodies {
			text = auditBodies
		}
		if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
			return fmt.Errorf("write the audit policy: %w", err)
		}
		args.Set("audit-policy-file", policy)
		args.Set("audit-log-path", log)
		// In megabytes. At the default of 100 the file is rotated in the middle of a
		// measurement, and its reader counts too little.
		args.Set("audit-log-maxsize", "100000")
	}
	for flag, value := range o.ExtraAPIServerArgs {
		args.Set(flag, value)
	}
	return nil
}

func (c *ControlPlane) openLog(process string) (*os.File, error) {
	log, err := c.folder.openLog(process)
	if err == nil {
		c.logs = append(c.logs, log)
	}
	return log, err
}
