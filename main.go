// Command claviger is the operator. Without a subcommand it runs the controllers;
// "claviger release" prepares an uninstallation. This file reads flags and wires;
// it has no logic.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	uberzap "go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/controllers"
	"github.com/claviger-dev/claviger/controllers/credential"
	"github.com/claviger-dev/claviger/internal/apiconnect"
	"github.com/claviger-dev/claviger/internal/centrasite"
	"github.com/claviger-dev/claviger/internal/cli"
	"github.com/claviger-dev/claviger/internal/cloudfoundry"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/neo"
	"github.com/claviger-dev/claviger/internal/serverclock"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/venafi"
	"github.com/claviger-dev/claviger/internal/webmethodsgateway"
	"github.com/claviger-dev/claviger/internal/webmethodsportal"
)

// version is stamped by the build.
var version = "dev"

// collectAt is by how much the heap may grow before it is collected, in percent of what lives. Most
// of the operator's memory is a cache that rarely changes: half of Go's default costs a few
// hundredths of a core while thousands are rotated, and nothing at rest.
const collectAt = 50

// graceful is longer than the longest upstream call and the write of its answer.
const graceful = 60 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "claviger:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	ctx := ctrl.SetupSignalHandler()
	if len(arguments) > 0 && arguments[0] == "release" {
		return cli.Release(ctx, arguments[1:], os.Stdout)
	}
	if len(arguments) > 0 && arguments[0] == "where-used" {
		return whereUsed(ctx, arguments[1:], os.Stdout)
	}
	settings, err := parse(arguments)
	if err != nil || settings == nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	return operate(ctx, settings)
}

// settings are the flags.
type settings struct {
	controllers.Options
	metrics, health string
	leaderElect     bool
	leaderNamespace string
}

func parse(arguments []string) (*settings, error) {
	s := &settings{}
	flags := flag.NewFlagSet("claviger", flag.ContinueOnError)
	flags.StringVar(&s.metrics, "metrics-bind-address", ":8080", "address of the metrics endpoint; 0 turns it off")
	flags.StringVar(&s.health, "health-probe-bind-address", ":8081", "address of /healthz and /readyz; 0 turns them off")
	flags.BoolVar(&s.leaderElect, "leader-elect", true, "let one replica work at a time")
	flags.StringVar(&s.leaderNamespace, "leader-election-namespace", "", "namespace of the lease; default: the operator's own")
	flags.StringVar(&s.ClusterID, "cluster-id", "", "identity that is recorded in every version; default: the UID of the namespace kube-system")
	flags.BoolVar(&s.ObserveOnly, "observe-only", false, "write nothing upstream and begin nothing, for a restored or cloned cluster")
	flags.DurationVar(&s.OrphanAge, "orphan-age", 24*time.Hour, "how long an upstream object of ours that belongs to no version, or the journal of a vanished credential, is left alone")
	flags.DurationVar(&s.SweepInterval, "sweep-interval", time.Hour, "how often each issuer is compared with the journal")
	flags.DurationVar(&s.UptakePause, "uptake-pause", 15*time.Second, "how long at least between two looks at the pods and workloads of a namespace in which a predecessor waits for them; it grows to five minutes with the waiting")
	flags.IntVar(&s.RestartsPerNamespace, "restarts-per-namespace", 3, "how many workloads of a namespace may replace their pods at a time because of spec.rollout")
	namespaces := flags.String("namespaces", "", "serve only these namespaces, separated by commas, with rights in them alone; issuers and policies of the cluster are off then, and --cluster-id is required; default: all")
	flags.IntVar(&s.Workers, "workers", 16, "how many credentials are looked after at a time")
	flags.BoolVar(&s.AllowInsecureUpstreams, "allow-insecure-upstreams", false, "allow http and loopback addresses; for tests and demonstrations only")
	showVersion := flags.Bool("version", false, "print the version and exit")
	logging := zap.Options{Development: false, ZapOpts: []uberzap.Option{uberzap.AddStacktrace(uberzap.DPanicLevel)}}
	logging.BindFlags(flags)
	ctrl.RegisterFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, nil
		}
		return nil, err
	}
	if *showVersion {
		fmt.Println("claviger", buildVersion())
		return nil, nil
	}
	if s.Workers < 1 || s.RestartsPerNamespace < 1 || s.OrphanAge < 0 || s.SweepInterval <= 0 || s.UptakePause <= 0 {
		return nil, fmt.Errorf("--workers and --restarts-per-namespace must be at least 1, --orphan-age at least 0, --sweep-interval and --uptake-pause more than 0")
	}
	s.Namespaces = strings.FieldsFunc(*namespaces, func(r rune) bool { return r == ',' || r == ' ' })
	if len(s.Namespaces) > 0 && s.ClusterID == "" {
		return nil, fmt.Errorf("--namespaces needs --cluster-id: who serves single namespaces cannot read what tells this cluster from others; take for example the UID of the first namespace, and never change it")
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&logging)))
	return s, nil
}

func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "dev" && info.Main.Version != "" {
		return info.Main.Version
	}
	return version
}

// operate wires the manager and runs it until ctx ends.
func operate(ctx context.Context, s *settings) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	config.UserAgent = "claviger/" + buildVersion()
	s.Clock = serverclock.New(clock.RealClock{})
	config.Wrap(s.Clock.Wrap)
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	if s.ClusterID, err = clusterID(ctx, config, s.ClusterID); err != nil {
		return err
	}
	s.Holder = string(uuid.NewUUID())
	s.Version = buildVersion()
	s.Boundary = boundary()
	s.OperatorNamespace = os.Getenv("POD_NAMESPACE")
	s.Registry = upstream.NewRegistry(apiconnect.NewDriver(time.Now), centrasite.NewDriver(time.Now), cloudfoundry.NewDriver(time.Now), cloudfoundry.NewManagerDriver(time.Now), neo.NewDriver(time.Now), venafi.NewDriver(time.Now), webmethodsgateway.NewDriver(), webmethodsportal.NewDriver())
	manager, err := ctrl.NewManager(config, s.managerOptions(scheme))
	if err != nil {
		return err
	}
	if err := controllers.Setup(ctx, manager, s.Options); err != nil {
		return err
	}
	if err := manager.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := manager.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	ctrl.Log.Info("starting", "version", s.Version, "clusterID", s.ClusterID, "holder", s.Holder, "observeOnly", s.ObserveOnly)
	return manager.Start(ctx)
}

func (s *settings) managerOptions(scheme *runtime.Scheme) ctrl.Options {
	grace := graceful
	return ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       metricsserver.Options{BindAddress: s.metrics},
		HealthProbeBindAddress:        s.health,
		LeaderElection:                s.leaderElect,
		LeaderElectionID:              "claviger.credentials.claviger.dev",
		LeaderElectionNamespace:       s.leaderNamespace,
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       &grace,
		Cache:                         cacheOptions(s.Namespaces, s.OperatorNamespace),
	}
}

// cacheOptions keep Secrets out of memory: only the metadata of those that bear our
// label is cached, and of that only what is ours (failure F31).
func cacheOptions(namespaces []string, operatorNamespace string) cache.Options {
	ours, err := labels.NewRequirement(journal.LabelRole, selection.Exists, nil)
	selector := labels.Nothing()
	if err == nil {
		selector = labels.NewSelector().Add(*ours)
	}
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	var served map[string]cache.Config
	for _, namespace := range namespaces {
		if served == nil {
			served = map[string]cache.Config{}
		}
		served[namespace] = cache.Config{}
	}
	byObject := map[client.Object]cache.ByObject{
		secret:                          {Label: selector, Transform: credential.SlimSecret},
		&v1alpha1.APIClientCredential{}: {Transform: credential.SlimCredential},
	}
	if operatorNamespace != "" {
		// Records of notifications and their templates; there is no right to read others.
		byObject[&corev1.ConfigMap{}] = cache.ByObject{Namespaces: map[string]cache.Config{operatorNamespace: {}}}
	}
	return cache.Options{
		DefaultNamespaces: served,
		DefaultTransform:  cache.TransformStripManagedFields(),
		ByObject:          byObject,
	}
}

// clusterID is the UID of kube-system unless it was given.
func clusterID(ctx context.Context, config *rest.Config, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	reader, err := client.New(config, client.Options{})
	if err != nil {
		return "", err
	}
	namespace := &corev1.Namespace{}
	if err := reader.Get(ctx, types.NamespacedName{Name: metav1.NamespaceSystem}, namespace); err != nil {
		return "", fmt.Errorf("the cluster's identity is the UID of the namespace kube-system, or --cluster-id: %w", err)
	}
	return string(namespace.UID), nil
}
