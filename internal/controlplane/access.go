package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// tokenLifetime of a ServiceAccount's token, in seconds: longer than any test or demo,
// since nobody renews it.
const tokenLifetime = 24 * 60 * 60

// unlimited turns off the client-side limit on requests, which would measure itself.
const unlimited = -1

// AddUser returns access for a user with a client certificate. The user has the rights
// that roles bind to its name and groups: none at first.
func (c *ControlPlane) AddUser(name string, groups ...string) (*rest.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	user, err := c.env.AddUser(envtest.User{Name: name, Groups: groups}, &rest.Config{QPS: unlimited})
	if err != nil {
		return nil, fmt.Errorf("add user %s: %w", name, err)
	}
	return user.Config(), nil
}

// ServiceAccountConfig returns access by a token of an existing ServiceAccount, as a Pod
// would hold it, and by nothing else.
func (c *ControlPlane) ServiceAccountConfig(ctx context.Context, namespace, name string) (*rest.Config, error) {
	client, err := kubernetes.NewForConfig(c.env.Config)
	if err != nil {
		return nil, err
	}
	lifetime := int64(tokenLifetime)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &lifetime}}
	answer, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("request a token for ServiceAccount %s/%s: %w", namespace, name, err)
	}
	// Built from nothing: a copy of the admin's configuration would still carry the
	// admin's certificate.
	return &rest.Config{
		Host:            c.env.Config.Host,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.env.Config.CAData},
		BearerToken:     answer.Status.Token,
		QPS:             unlimited,
	}, nil
}

// WriteKubeconfig writes access by a client certificate or a token to a file that only
// its owner can read.
func WriteKubeconfig(path string, config *rest.Config) error {
	const name = "claviger-controlplane"
	file := clientcmdapi.NewConfig()
	file.Clusters[name] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	file.AuthInfos[name] = &clientcmdapi.AuthInfo{
		ClientCertificateData: config.CertData,
		ClientKeyData:         config.KeyData,
		Token:                 config.BearerToken,
	}
	file.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	file.CurrentContext = name
	content, err := clientcmd.Write(*file)
	if err != nil {
		return fmt.Errorf("write a kubeconfig: %w", err)
	}
	return os.WriteFile(path, content, 0o600)
}

// Kubectl runs kubectl as the administrator and returns what it printed. An error quotes
// what it complained about.
func (c *ControlPlane) Kubectl(ctx context.Context, args ...string) (string, error) {
	// The cache of discovery is kept apart from the user's own: ports are used again, and
	// an old answer for the same address hides new kinds.
	own := []string{"--kubeconfig=" + c.Kubeconfig(), "--cache-dir=" + filepath.Join(c.folder.path, "kubectl-cache")}
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, c.KubectlPath(), append(own, args...)...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// apply applies a file, a folder of files or a folder with a kustomization.
func (c *ControlPlane) apply(ctx context.Context, path string) error {
	how := "--filename"
	if _, err := os.Stat(filepath.Join(path, "kustomization.yaml")); err == nil {
		how = "--kustomize"
	}
	_, err := c.Kubectl(ctx, "apply", "--server-side", how, path)
	return err
}
