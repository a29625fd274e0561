package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// controllers of kube-controller-manager that run without being asked for: those that
// decide what deletion, rights and admission mean. The others serve nodes and workloads.
var controllers = []string{
	"clusterrole-aggregation-controller",
	"garbage-collector-controller",
	"namespace-controller",
	"resourcequota-controller",
	"root-ca-certificate-publisher-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
	"validatingadmissionpolicy-status-controller",
}

// startManager starts kube-controller-manager and waits until it works.
func (c *ControlPlane) startManager(ctx context.Context, extra []string) error {
	kubeconfig, err := c.managerKubeconfig()
	if err != nil {
		return err
	}
	rootCA := filepath.Join(c.folder.managerCerts(), "root-ca.crt")
	if err := os.WriteFile(rootCA, c.env.Config.CAData, 0o600); err != nil {
		return err
	}
	log, err := c.openLog("kube-controller-manager")
	if err != nil {
		return err
	}
	// Between the choice of a free port and its use another process may take it; the
	// manager then exits, and the next port will do.
	const attempts = 3
	for attempt := 1; ; attempt++ {
		port, err := freePort()
		if err != nil {
			return err
		}
		args := []string{
			"--kubeconfig=" + kubeconfig,
			"--use-service-account-credentials",
			"--service-account-private-key-file=" + filepath.Join(c.folder.pki(), "sa-signer.key"),
			"--root-ca-file=" + rootCA,
			"--controllers=" + strings.Join(append(controllers[:len(controllers):len(controllers)], extra...), ","),
			"--leader-elect=false", // there is one, and the wait for a lease takes seconds
			"--bind-address=127.0.0.1",
			"--secure-port=" + port,
			"--cert-dir=" + c.folder.managerCerts(),
		}
		c.manager = newProcess(filepath.Join(c.assets, "tethered", "kube-controller-manager"), args, log)
		if err := c.forks.do(c.manager.start); err != nil {
			return err
		}
		err = c.awaitManager(ctx, "https://127.0.0.1:"+port)
		if errors.Is(err, errExited) && attempt < attempts {
			continue
		}
		return err
	}
}

// managerKubeconfig gives the manager the user that a cluster gives it. Its rights are
// those of the roles that the API server creates for it, not those of an administrator.
func (c *ControlPlane) managerKubeconfig() (string, error) {
	config, err := c.AddUser("system:kube-controller-manager")
	if err != nil {
		return "", err
	}
	path := filepath.Join(c.folder.managerCerts(), "kubeconfig")
	return path, WriteKubeconfig(path, config)
}

// awaitManager returns when the manager at url reports the garbage collector, and has
// given the default namespace its ServiceAccount: the report alone comes before the
// controllers have seen anything.
func (c *ControlPlane) awaitManager(ctx context.Context, url string) error {
	client, err := kubernetes.NewForConfig(c.env.Config)
	if err != nil {
		return err
	}
	healthy := false
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
		if err := c.manager.exited(); err != nil {
			return false, err
		}
		if !healthy {
			healthy = c.managerHealthy(ctx, url)
			return false, nil
		}
		_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("wait for its controllers: %w", err)
	}
	return nil
}

// managerHealthy trusts only the certificate that this manager wrote on its start, so
// another process that took the port is never taken for it.
func (c *ControlPlane) managerHealthy(ctx context.Context, url string) bool {
	certificate, err := os.ReadFile(filepath.Join(c.folder.managerCerts(), "kube-controller-manager.crt"))
	if err != nil {
		return false
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/healthz?verbose", nil)
	if err != nil {
		return false
	}
	response, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	report, err := io.ReadAll(response.Body)
	return err == nil && response.StatusCode == http.StatusOK &&
		strings.Contains(string(report), "garbage-collector-controller ok")
}

func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, errors.Join(err, listener.Close())
}
