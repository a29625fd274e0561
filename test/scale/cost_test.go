package scale

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/operatortest"
)

// usage is what the processes have used so far, by their own metrics: CPU in seconds, and
// memory in bytes.
type usage struct {
	operatorCPU, serverCPU float64
	heap, resident         float64
}

const mebibyte = 1 << 20

func (f *fleet) usage(ctx context.Context) usage {
	f.Helper()
	operator, err := f.operator.Metrics(ctx)
	f.must(err)
	server, err := f.world.ServerMetrics(ctx)
	f.must(err)
	return usage{
		operatorCPU: f.gauge(operator, "process_cpu_seconds_total"), serverCPU: f.gauge(server, "process_cpu_seconds_total"),
		heap: f.gauge(operator, "go_memstats_heap_inuse_bytes"), resident: f.gauge(operator, "process_resident_memory_bytes"),
	}
}

func (f *fleet) gauge(text, name string) float64 {
	f.Helper()
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		f.Fatalf("there is no metric %s", name)
	}
	value, err := strconv.ParseFloat(found[1], 64)
	f.must(err)
	return value
}

// reportMemory says what the operator holds with so many credentials.
func (f *fleet) reportMemory(ctx context.Context) {
	u := f.usage(ctx)
	f.report(u.heap/mebibyte, fmt.Sprintf("heap-MiB/%d", f.size))
	f.report(u.resident/mebibyte, fmt.Sprintf("rss-MiB/%d", f.size))
}

// restart ends the operator and reports how long its successor takes until it writes and
// calls nothing any more, and what it wrote.
func (f *fleet) restart(ctx context.Context) {
	f.must(f.operator.Stop())
	const quiet = 10 * time.Second
	mark, err := f.world.Now()
	f.must(err)
	begun := time.Now()
	f.run(ctx)
	last := time.Since(begun)
	before := f.sim.Calls().Total("*")
	for time.Since(begun)-last < quiet {
		f.must(pause(ctx, time.Second))
		if now := f.sim.Calls().Total("*"); now != before {
			before, last = now, time.Since(begun)
		}
	}
	requests, err := f.world.Requests(mark, namespace)
	f.must(err)
	f.report(last.Seconds(), fmt.Sprintf("restart-s/%d", f.size))
	f.report(float64(tally(requests).writes), fmt.Sprintf("restart-writes/%d", f.size))
}

// failOver kills a leader and reports how long nothing was issued.
func (f *fleet) failOver(ctx context.Context) {
	f.must(f.operator.Stop())
	leader, err := f.world.Run(ctx, "--zap-log-level=info", "--leader-elect=true", "--leader-election-namespace="+operatortest.Namespace)
	f.must(err)
	f.single(ctx, "led-0")
	follower, err := f.world.Run(ctx, "--zap-log-level=info", "--leader-elect=true", "--leader-election-namespace="+operatortest.Namespace)
	f.must(err)
	f.must(leader.Kill())
	f.report(f.single(ctx, "led-1").Seconds(), fmt.Sprintf("fail-over-s/%d", f.size))
	f.must(follower.Stop())
	f.run(ctx)
}

// newcomers reports how long credentials take from their creation to their publication, one
// after the other, behind all others that are idle.
func (f *fleet) newcomers(ctx context.Context) {
	var took []time.Duration
	for i := range 100 {
		took = append(took, f.single(ctx, fmt.Sprintf("newcomer-%d", i)))
	}
	slices.Sort(took)
	f.report(float64(took[len(took)/2].Milliseconds()), fmt.Sprintf("new-p50-ms/%d", f.size))
	f.report(float64(took[len(took)*99/100].Milliseconds()), fmt.Sprintf("new-p99-ms/%d", f.size))
}

// single creates one credential and waits until it is published.
func (f *fleet) single(ctx context.Context, name string) time.Duration {
	f.Helper()
	begun := time.Now()
	f.must(f.world.Client.Create(ctx, credential(name)))
	published := func(ctx context.Context) (bool, error) {
		c := &v1alpha1.APIClientCredential{}
		err := f.world.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, c)
		return c.Status.Version == 1, err
	}
	f.must(wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, patience, true, published))
	return time.Since(begun)
}

func pause(ctx context.Context, d time.Duration) error {
	return wait.PollUntilContextTimeout(ctx, d, 2*d, false, func(context.Context) (bool, error) { return true, nil })
}

// agree confirms deletions, of which there are many at once.
func (f *fleet) agree(ctx context.Context) {
	issuer := &v1alpha1.CredentialIssuer{}
	f.must(f.world.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "apic"}, issuer))
	patch := client.MergeFrom(issuer.DeepCopy())
	metav1.SetMetaDataAnnotation(&issuer.ObjectMeta, v1alpha1.AnnotationDeletionsConfirmedAt, time.Now().UTC().Format(time.RFC3339Nano))
	f.must(f.world.Client.Patch(ctx, issuer, patch))
}

// run starts an operator.
func (f *fleet) run(ctx context.Context) {
	f.Helper()
	var err error
	f.operator, err = f.world.Run(ctx, "--zap-log-level=info")
	f.must(err)
}
