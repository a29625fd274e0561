package controlplane

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// patience is how long anything may take that a controller or a process has to do.
const patience = time.Minute

const widgetCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.test.claviger.dev}
spec:
  group: test.claviger.dev
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
`

const widgetManifest = `
apiVersion: test.claviger.dev/v1
kind: Widget
metadata: {name: first, namespace: default}
`

func TestMain(m *testing.M) {
	// What envtest would log is in the errors and log files that are tested here.
	log.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// TestControlPlane checks on one control plane what tests and the demo rely upon.
func TestControlPlane(t *testing.T) {
	crds, manifests := t.TempDir(), t.TempDir()
	write(t, filepath.Join(crds, "widget.yaml"), widgetCRD)
	write(t, filepath.Join(manifests, "widget.yaml"), widgetManifest)
	write(t, filepath.Join(manifests, "kustomization.yaml"), "resources: [widget.yaml]\n")
	audit := filepath.Join(t.TempDir(), "audit.jsonl")

	var progress strings.Builder
	c := start(t, Options{
		CRDPaths:          []string{crds},
		ManifestPaths:     []string{manifests},
		AuditLogFile:      audit,
		ControllerManager: true,
		Out:               &progress,
	})
	t.Logf("\n%s", progress.String())

	t.Run("server and kubectl report the version that go.mod pins", func(t *testing.T) { reportsVersion(t, c) })
	t.Run("a manifest of a kind that a CRD brought is applied", func(t *testing.T) {
		if got, want := kubectl(t, c, "get", "widgets", "--output=name"), "widget.test.claviger.dev/first\n"; got != want {
			t.Errorf("widgets: got %q, want %q", got, want)
		}
	})
	t.Run("a deleted owner takes what it owns with it", func(t *testing.T) { collectsGarbage(t, c) })
	t.Run("a deleted namespace vanishes with its content", func(t *testing.T) { deletesNamespace(t, c) })
	t.Run("a pod is given the token of its ServiceAccount", func(t *testing.T) { admitsServiceAccounts(t, c) })
	t.Run("a user has the rights of its groups only", func(t *testing.T) { usersHaveNoRights(t, c) })
	t.Run("a ServiceAccount's token is no administrator's", func(t *testing.T) { tokenIsNotAdmin(t, c) })
	t.Run("the audit log names who asked and holds each request once", func(t *testing.T) { audits(t, audit) })
	t.Run("the API server returns with the same keys", func(t *testing.T) { serverReturns(t, c) })
}

func reportsVersion(t *testing.T, c *ControlPlane) {
	root, err := repositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "hack", "controlplane", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	pinned := regexp.MustCompile(`(?m)^\s+k8s\.io/kubernetes (v\S+)`).FindSubmatch(mod)
	if pinned == nil {
		t.Fatal("go.mod pins no k8s.io/kubernetes")
	}
	type version struct{ GitVersion string }
	var got struct{ ClientVersion, ServerVersion version }
	if err := json.Unmarshal([]byte(kubectl(t, c, "version", "--output=json")), &got); err != nil {
		t.Fatal(err)
	}
	want := got
	want.ClientVersion = version{string(pinned[1])}
	want.ServerVersion = version{string(pinned[1])}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

func collectsGarbage(t *testing.T, c *ControlPlane) {
	client := clientFor(t, c.Config())
	createNamespace(t, client, "garbage")
	owned := createOwned(t, client, "garbage")
	if err := client.CoreV1().ConfigMaps("garbage").Delete(t.Context(), "owner", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the owned ConfigMap to be gone", func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().ConfigMaps("garbage").Get(ctx, owned.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), ignoreNotFound(err)
	})
}

func deletesNamespace(t *testing.T, c *ControlPlane) {
	client := clientFor(t, c.Config())
	createNamespace(t, client, "doomed")
	createOwned(t, client, "doomed")
	if err := client.CoreV1().Namespaces().Delete(t.Context(), "doomed", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace to be gone", func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().Namespaces().Get(ctx, "doomed", metav1.GetOptions{})
		return apierrors.IsNotFound(err), ignoreNotFound(err)
	})
	left, err := client.CoreV1().ConfigMaps("doomed").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(left.Items) > 0 {
		t.Errorf("%d ConfigMaps outlived their namespace", len(left.Items))
	}
}

func admitsServiceAccounts(t *testing.T, c *ControlPlane) {
	client := clientFor(t, c.Config())
	pod, err := client.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "pod"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "none"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if pod.Spec.ServiceAccountName != "default" || len(pod.Spec.Containers[0].VolumeMounts) != 1 {
		t.Errorf("ServiceAccount admission did not act: account %q, mounts %v",
			pod.Spec.ServiceAccountName, pod.Spec.Containers[0].VolumeMounts)
	}
}

func usersHaveNoRights(t *testing.T, c *ControlPlane) {
	for _, user := range []struct {
		name, group string
		allowed     bool
	}{
		{"alice", "system:masters", true},
		{"bob", "developers", false},
	} {
		config, err := c.AddUser(user.name, user.group)
		if err != nil {
			t.Fatal(err)
		}
		_, err = clientFor(t, config).CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
		if user.allowed && err != nil || !user.allowed && !apierrors.IsForbidden(err) {
			t.Errorf("%s of %s lists Secrets: allowed is to be %t, got %v", user.name, user.group, user.allowed, err)
		}
	}
}

func tokenIsNotAdmin(t *testing.T, c *ControlPlane) {
	admin := clientFor(t, c.Config())
	createNamespace(t, admin, "accounts")
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}
	if _, err := admin.CoreV1().ServiceAccounts("accounts").Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config, err := c.ServiceAccountConfig(t.Context(), "accounts", "robot")
	if err != nil {
		t.Fatal(err)
	}
	_, err = clientFor(t, config).CoreV1().Secrets("accounts").List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		t.Fatalf("a new ServiceAccount lists Secrets: got %v, want Forbidden", err)
	}
	if !strings.Contains(err.Error(), "system:serviceaccount:accounts:robot") {
		t.Errorf("the API server took the token for somebody else: %v", err)
	}
	if _, err := c.ServiceAccountConfig(t.Context(), "accounts", "nobody"); !apierrors.IsNotFound(err) {
		t.Errorf("token of a ServiceAccount that does not exist: got %v, want NotFound", err)
	}
}

// audits looks for the request that tokenIsNotAdmin made.
func audits(t *testing.T, path string) {
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	type event struct {
		Level, Stage, Verb, RequestURI string
		User                           struct{ Username string }
	}
	found := 0
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("not a JSON line: %v", err)
		}
		if e.Level != "Metadata" || e.Stage == "RequestReceived" {
			t.Errorf("level %s, stage %s is not to be logged", e.Level, e.Stage)
		}
		if e.User.Username == "system:serviceaccount:accounts:robot" && e.Verb == "list" &&
			strings.HasPrefix(e.RequestURI, "/api/v1/namespaces/accounts/secrets") {
			found++
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if found != 1 {
		t.Errorf("the ServiceAccount's one request was logged %d times", found)
	}
}

func serverReturns(t *testing.T, c *ControlPlane) {
	config, err := c.ServiceAccountConfig(t.Context(), "default", "default")
	if err != nil {
		t.Fatal(err)
	}
	// Anybody may read the version, but not with a token that is not valid.
	ask := func() error {
		return clientFor(t, config).CoreV1().RESTClient().Get().AbsPath("/version").Do(t.Context()).Error()
	}
	if err := c.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err == nil {
		t.Error("the API server answers although it was stopped")
	}
	if err := c.StartAPIServer(); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil {
		t.Errorf("a token from before is refused: %v", err)
	}
	if _, err := c.Kubectl(t.Context(), "get", "widgets/first"); err != nil {
		t.Errorf("the state did not survive: %v", err)
	}
}

func TestStateSurvivesInADataDir(t *testing.T) {
	dir := t.TempDir()
	first := start(t, Options{DataDir: dir})
	createNamespace(t, clientFor(t, first.Config()), "kept")
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	second := start(t, Options{DataDir: dir})
	if got, want := second.Kubeconfig(), filepath.Join(dir, "kubeconfig"); got != want {
		t.Errorf("kubeconfig: got %s, want %s", got, want)
	}
	if got, want := kubectl(t, second, "get", "namespace/kept", "--output=name"), "namespace/kept\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStartFailsWithAReason(t *testing.T) {
	t.Run("a flag that the API server refuses is quoted from its log", func(t *testing.T) {
		_, err := Start(t.Context(), Options{ExtraAPIServerArgs: map[string]string{"no-such-flag": "x"}})
		if err == nil || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
			t.Errorf("the error must say what the API server said: %v", err)
		}
	})
	t.Run("a folder without binaries is named", func(t *testing.T) {
		empty := t.TempDir()
		t.Setenv(AssetsVariable, empty)
		if _, err := Start(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), empty) {
			t.Errorf("the error must name the folder: %v", err)
		}
	})
}

func start(t *testing.T, o Options) *ControlPlane {
	t.Helper()
	c, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func kubectl(t *testing.T, c *ControlPlane, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func clientFor(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func createNamespace(t *testing.T, client *kubernetes.Clientset, name string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// createOwned creates a ConfigMap "owner" and one that it owns.
func createOwned(t *testing.T, client *kubernetes.Clientset, namespace string) *corev1.ConfigMap {
	t.Helper()
	create := func(m *corev1.ConfigMap) *corev1.ConfigMap {
		m, err := client.CoreV1().ConfigMaps(namespace).Create(t.Context(), m, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	owner := create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}})
	return create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name:            "owned",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}},
	}})
}

func eventually(t *testing.T, what string, done wait.ConditionWithContextFunc) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, done); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
