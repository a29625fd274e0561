package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/admission"
	"github.com/claviger-dev/claviger/internal/canary"
	"github.com/claviger-dev/claviger/internal/controlplane"
)

// The names in config/default.
const (
	operatorNamespace = "claviger-system"
	operatorAccount   = "claviger"
)

// stage is everything that runs: a control plane, an upstream, the operator and those
// who watch.
type stage struct {
	settings settings
	story    *story
	// dir holds everything that the demo writes, and goes with it.
	dir string

	children *children
	plane    *controlplane.ControlPlane
	admin    client.Client
	// canaries are the secret values that must be read nowhere but in Secrets.
	canaries *canary.Canaries
	// upstream is the first house, residents are all of them.
	upstream  *apiConnect
	residents []resident
	operator  *operator
	scene     *scene
	logs      []*os.File

	// watching ends with stopWatching; both outlive the play, for KEEP.
	stopWatching context.CancelFunc
	watched      chan struct{}
}

func newStage(s settings, story *story) (*stage, error) {
	if _, err := os.Stat("config/default/kustomization.yaml"); err != nil {
		return nil, fmt.Errorf("start the demo in the root of the repository: %w", err)
	}
	dir, err := os.MkdirTemp("", "claviger-demo-")
	if err != nil {
		return nil, err
	}
	return &stage{settings: s, story: story, dir: dir}, nil
}

// clear removes what was written.
func (s *stage) clear() error { return os.RemoveAll(s.dir) }

// build compiles what is missing. The first time that is a control plane, which takes
// minutes.
func (s *stage) build(ctx context.Context) error {
	assets, err := controlplane.Assets(ctx)
	if err != nil {
		return err
	}
	if s.children, err = newChildren(filepath.Join(s.dir, "bin"), assets); err != nil {
		return err
	}
	for _, program := range [][2]string{{"operator", "bin/claviger"}, {"upstream-sim", "bin/upstream-sim"}} {
		name, binary := program[0], program[1]
		s.story.tell("build", "%s", binary)
		// By the rule that builds what is shipped.
		build := exec.CommandContext(ctx, "make", "--no-print-directory", binary)
		if output, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", binary, err, output)
		}
		if err := s.children.install(name, binary); err != nil {
			return err
		}
	}
	return nil
}

// open starts everything up to the operator. fail is told of what breaks later.
func (s *stage) open(ctx context.Context, fail context.CancelCauseFunc) error {
	var err error
	s.plane, err = controlplane.Start(ctx, controlplane.Options{
		ControllerManager: true, ExtraControllers: []string{"deployment-controller", "replicaset-controller"}, ManifestPaths: []string{"config/default"}, DataDir: filepath.Join(s.dir, "controlplane"), Out: &lines{s.story},
		AuditLogFile: s.auditLog(), AuditBodies: true,
	})
	if err != nil {
		return err
	}
	if s.admin, err = newClient(s.plane.Config()); err != nil {
		return err
	}
	if err := s.openHouses(ctx); err != nil {
		return err
	}
	if _, err := s.plane.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"); err != nil {
		return err
	}
	// Watched past the end of the play: KEEP goes on telling.
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	if err := s.watchSecrets(watching); err != nil {
		stop()
		return err
	}
	s.stopWatching, s.watched = stop, make(chan struct{})
	s.scene = newScene(s.story)
	if err := s.scene.watch(watching, s.plane.Config(), s.residents, s.watched, fail); err != nil {
		return err
	}
	return s.openOperator(ctx, fail)
}

// openHouses starts the simulators of all upstreams.
func (s *stage) openHouses(ctx context.Context) error {
	log, err := s.openLog("upstreams")
	if err != nil {
		return err
	}
	first, others := houses()
	s.upstream = first
	for _, h := range append([]house{first}, others...) {
		remote, err := h.open(ctx, s, log)
		if err != nil {
			return fmt.Errorf("%s: %w", h.title(), err)
		}
		s.residents = append(s.residents, resident{h, remote})
		s.story.tell("upstream", "%s is played, controlled at %s", h.title(), remote.Base)
	}
	return nil
}

// openOperator starts the operator as its Deployment would: by its own account, with
// the rights of config/rbac and no others.
func (s *stage) openOperator(ctx context.Context, fail context.CancelCauseFunc) error {
	config, err := s.plane.ServiceAccountConfig(ctx, operatorNamespace, operatorAccount)
	if err != nil {
		return err
	}
	if err := notAnAdministrator(ctx, config); err != nil {
		return err
	}
	kubeconfig := filepath.Join(s.dir, "operator.kubeconfig")
	if err := controlplane.WriteKubeconfig(kubeconfig, config); err != nil {
		return err
	}
	if err := s.guarded(ctx); err != nil {
		return err
	}
	log, err := s.openLog("operator")
	if err != nil {
		return err
	}
	s.operator = &operator{
		children: s.children, log: log, failed: func(err error) { fail(err) },
		env: []string{"KUBECONFIG=" + kubeconfig, "POD_NAMESPACE=" + operatorNamespace},
		args: []string{
			// A lease of a killed leader runs out after fifteen seconds, which would only
			// make the demo longer.
			"--leader-elect=false",
			"--metrics-bind-address=0", "--health-probe-bind-address=0",
			"--allow-insecure-upstreams", // the simulator is on loopback
			"--sweep-interval=15s",
			"--uptake-pause=1s",
		},
	}
	if err := s.operator.start(); err != nil {
		return err
	}
	s.story.tell("operator", "runs as ServiceAccount %s/%s, with the rights of config/rbac", operatorNamespace, operatorAccount)
	return nil
}

// notAnAdministrator makes sure that the rights are limited: what works for an
// administrator proves nothing about the roles that are shipped.
func notAnAdministrator(ctx context.Context, config *rest.Config) error {
	c, err := newClient(config)
	if err != nil {
		return err
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "*", Group: "*", Resource: "*"},
	}}
	if err := c.Create(ctx, review); err != nil {
		return fmt.Errorf("ask what the operator may do: %w", err)
	}
	if review.Status.Allowed {
		return errors.New("the operator's account may do everything")
	}
	return nil
}

// guarded waits until the admission policies refuse what they must refuse. They come
// into force about a second after they are applied.
func (s *stage) guarded(ctx context.Context) error {
	guard, err := admission.NewGuard(s.admin, s.admin, clock.RealClock{}, true)
	if err != nil {
		return err
	}
	return await(ctx, "the admission policies are in force", func() (bool, string) {
		return guard.InForce(ctx, metav1.NamespaceDefault)
	})
}

// apply has kubectl apply manifests from a file, as a user would.
func (s *stage) apply(ctx context.Context, name string, objects ...runtime.Object) error {
	return s.kubectl(ctx, name, objects, "apply", "--server-side")
}

// kubectl runs a command of kubectl on a file with manifests.
func (s *stage) kubectl(ctx context.Context, name string, objects []runtime.Object, command ...string) error {
	text, err := manifests(objects...)
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, name+".yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	_, err = s.plane.Kubectl(ctx, append(command, "--filename", file)...)
	return err
}

func (s *stage) openLog(name string) (*os.File, error) {
	log, err := os.OpenFile(filepath.Join(s.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		s.logs = append(s.logs, log)
	}
	return log, err
}

// explain shows what a person looks at first when something went wrong.
func (s *stage) explain(ctx context.Context) {
	if ctx.Err() != nil {
		return // interrupted: nobody wants to know
	}
	if text, err := os.ReadFile(filepath.Join(s.dir, "operator.log")); err == nil {
		s.story.quote("the operator's last words:\n" + lastWords(string(text), 40))
	}
	if s.plane == nil {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if table, err := s.plane.Kubectl(bounded, "get", "apicred,credissuer,rotpol", "--all-namespaces", "--output=wide"); err == nil {
		s.story.quote(table)
	}
}

// linger leaves everything as it is until the demo is interrupted. failure is nil if the
// demo went well.
func (s *stage) linger(ctx context.Context, failure error) {
	if s.plane == nil || s.scene == nil {
		return
	}
	if failure != nil {
		s.story.tell("demo", "FAILED: %v", failure)
	}
	kubectl := s.plane.KubectlPath()
	s.story.quote(strings.Join([]string{
		"", "Everything is left running until you press Ctrl-C. Try, in another terminal:", "",
		"  export KUBECONFIG=" + s.plane.Kubeconfig(),
		"  " + kubectl + " get apicred --all-namespaces --output=wide",
		"  " + kubectl + " --namespace payments annotate apicred billing --overwrite " + v1alpha1.AnnotationRotateRequestedAt + "=$(date -u +%Y-%m-%dT%H:%M:%SZ)",
		"  " + kubectl + " --namespace payments describe apicred billing", "",
	}, "\n"))
	<-ctx.Done()
}

// close ends everything, in the order in which nobody misses anybody.
func (s *stage) close() {
	var errs []error
	if s.scene != nil {
		s.scene.close()
	}
	if s.operator != nil {
		errs = append(errs, s.operator.stop())
	}
	if s.stopWatching != nil {
		s.stopWatching()
		<-s.watched
	}
	for _, r := range s.residents {
		errs = append(errs, r.close())
	}
	if s.plane != nil {
		errs = append(errs, s.plane.Stop())
	}
	if s.children != nil {
		s.children.close()
	}
	for _, log := range s.logs {
		errs = append(errs, log.Close())
	}
	if err := errors.Join(errs...); err != nil {
		s.story.tell("demo", "could not end everything in order: %v", err)
	}
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
}

func newClient(config *rest.Config) (client.Client, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: scheme})
}

// await asks again and again until the answer is yes, or says what did not happen.
func await(ctx context.Context, what string, ask func() (bool, string)) error {
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		done, still := ask()
		if done {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("%w; it did not happen that %s: %s", context.Cause(ctx), what, still)
		}
	}
}

// lines tells what is written to it, line by line.
type lines struct{ story *story }

func (l *lines) Write(text []byte) (int, error) {
	for line := range strings.Lines(string(text)) {
		l.story.tell("cluster", "%s", strings.TrimPrefix(strings.TrimSpace(line), "control plane: "))
	}
	return len(text), nil
}

// lastWords are the last n lines of a log without those that every start writes, which
// after a few kills are most of it.
func lastWords(log string, n int) string {
	all := slices.DeleteFunc(strings.Split(strings.TrimSpace(log), "\n"), func(line string) bool {
		return strings.Contains(line, `"msg":"Starting `)
	})
	return strings.Join(all[max(0, len(all)-n):], "\n")
}
