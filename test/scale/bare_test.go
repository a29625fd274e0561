package scale

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// bareNamespace is where the writes of a phase are made again without an operator.
const bareNamespace = "bare"

// concurrency is that of the operator: its workers.
const concurrency = 16

// bare makes the same writes as a phase did, as many for each credential and with the same
// concurrency, from a loop that decides nothing, and reports how fast the phase was in
// comparison. No operator runs meanwhile, so that nobody reacts.
func (f *fleet) bare(ctx context.Context, name string, p phase) {
	loop := &bareLoop{f: f, ctx: ctx}
	group, limited := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	loop.ctx = limited
	begun := time.Now()
	for i := range f.size {
		group.Go(func() error { return loop.credential(fmt.Sprintf("%s-%05d", name, i), p.writes) })
	}
	f.must(group.Wait())
	alone := time.Since(begun)
	f.report(float64(f.size)/alone.Seconds(), "bare-"+name+"s/s")
	f.report(alone.Seconds()/p.took.Seconds(), name+"-ratio")
	f.Logf("bare %s of %d in %s: %d writes", name, f.size, alone.Round(time.Millisecond), loop.made.Load())
}

// bareLoop is all that a phase cannot do without.
type bareLoop struct {
	f    *fleet
	ctx  context.Context
	made atomic.Int64
}

// credential makes the writes of one credential.
func (l *bareLoop) credential(name string, writes map[string]int) error {
	c := &v1alpha1.APIClientCredential{}
	if writes["patch apiclientcredentials"]+writes["update apiclientcredentials"]+writes["patch apiclientcredentials/status"] > 0 {
		c = credential(name)
		c.Namespace = bareNamespace
		if err := l.f.world.Client.Create(l.ctx, c); err != nil { // in the phase it was there already
			return err
		}
	}
	var secrets []*corev1.Secret
	for i := range writes["create secrets"] {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: bareNamespace, Name: fmt.Sprintf("%s.%d", name, i)},
			Data:       map[string][]byte{"client_id": []byte(strings.Repeat("i", 32)), "client_secret": []byte(strings.Repeat("s", 64))},
		}
		secrets = append(secrets, secret)
		if err := l.write(l.f.world.Client.Create(l.ctx, secret)); err != nil {
			return err
		}
	}
	return l.rest(name, c, secrets, writes)
}

func (l *bareLoop) rest(name string, c *v1alpha1.APIClientCredential, secrets []*corev1.Secret, writes map[string]int) error {
	touch := func(o client.Object, i int) { o.SetAnnotations(map[string]string{"step": fmt.Sprint(i)}) }
	for kind, n := range writes {
		for i := range n {
			var err error
			switch kind {
			case "create secrets":
				continue
			case "update secrets", "patch secrets":
				secret := secrets[i%len(secrets)]
				touch(secret, i)
				err = l.f.world.Client.Update(l.ctx, secret)
			case "patch apiclientcredentials", "update apiclientcredentials":
				before := client.MergeFrom(c.DeepCopy())
				touch(c, i)
				err = l.f.world.Client.Patch(l.ctx, c, before)
			case "patch apiclientcredentials/status":
				before := client.MergeFrom(c.DeepCopy())
				c.Status.Version++
				err = l.f.world.Client.Status().Patch(l.ctx, c, before)
			case "create events":
				err = l.f.world.Client.Create(l.ctx, event(c, name, i))
			case "delete secrets":
				err = l.f.world.Client.Delete(l.ctx, secrets[len(secrets)-1-i])
			default:
				return fmt.Errorf("the bare loop does not know %q", kind)
			}
			if err := l.write(err); err != nil {
				return err
			}
		}
	}
	return nil
}

// event is one as the operator's recorder makes it.
func event(c *v1alpha1.APIClientCredential, name string, i int) *eventsv1.Event {
	return &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: bareNamespace, Name: fmt.Sprintf("%s.event-%d", name, i)},
		EventTime:  metav1.NowMicro(), ReportingController: "bare", ReportingInstance: "bare-1", Action: "Publish", Reason: "Issued", Type: corev1.EventTypeNormal,
		Regarding: corev1.ObjectReference{Kind: "APIClientCredential", Namespace: bareNamespace, Name: name, UID: c.UID}, Note: "Secret " + name + " holds version 1",
	}
}

func (l *bareLoop) write(err error) error {
	l.made.Add(1)
	return err
}
