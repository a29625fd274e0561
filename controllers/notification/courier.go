package notification

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/delivery"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/notify"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// checkInterval is how often a channel is tried that has nothing to carry.
	checkInterval = time.Hour
	// firstPause and longestPause bound the back-off of a channel.
	firstPause   = 2 * time.Second
	longestPause = 5 * time.Minute
	// tooOld is when a message is let go that no channel has taken.
	tooOld = 72 * time.Hour
	// maxRun is how many messages are sent before other channels get the worker.
	maxRun = 50
	// sendTime bounds a message and the note of it, once it was begun.
	sendTime = delivery.Timeout + 5*time.Second
	// maxDigest bounds what is read to make one message.
	maxDigest = 500
	// defaultDigestAfter is the schema's.
	defaultDigestAfter = 10
)

// What became of a message, as the metric says it.
const (
	resultDelivered = "delivered"
	resultRefused   = "refused"
	resultDropped   = "dropped"
	// kindGone stands for the kind of a channel that nobody can look at any more.
	kindGone = "gone"
)

// kindOf is what a channel is, in the word of its field.
func kindOf(channel *v1alpha1.NotificationChannel) string {
	switch s := channel.Spec; {
	case s.SMTP != nil:
		return "smtp"
	case s.Webhook != nil:
		return "webhook"
	case s.Slack != nil:
		return "slack"
	}
	return "teams"
}

// Courier carries what is written down over channels, and says of each whether it works.
type Courier struct {
	Client  client.Client
	Server  ServerClock
	Metrics Counters
	Local   clock.PassiveClock

	records records
	opener  opener

	mu    sync.Mutex
	lines map[string]*line
}

// line is what this process knows of a channel. Losing it costs a digest, or a try too early.
type line struct {
	generation int64
	checkedAt  time.Time
	notBefore  time.Time
	failures   int
	sent       map[string]notify.Sent
	// done are deliveries that were sent while the cache still shows them as waiting.
	done map[string]bool
}

func (c *Courier) line(name string) *line {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lines == nil {
		c.lines = map[string]*line{}
	}
	if c.lines[name] == nil {
		c.lines[name] = &line{sent: map[string]notify.Sent{}, done: map[string]bool{}}
	}
	return c.lines[name]
}

func (c *Courier) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.lines, name)
}

// Reconcile carries what waits for a channel.
func (c *Courier) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	waiting, err := c.records.list(ctx, indexChannel, request.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	channel := &v1alpha1.NotificationChannel{}
	if err := c.Client.Get(ctx, request.NamespacedName, channel); err != nil {
		if !apierrors.IsNotFound(err) {
			return ctrl.Result{}, err
		}
		c.forget(request.Name)
		return ctrl.Result{}, c.drop(ctx, request.Name, waiting)
	}
	l, now := c.line(request.Name), c.Local.Now()
	if l.generation != channel.Generation {
		l.generation, l.notBefore, l.checkedAt, l.failures = channel.Generation, time.Time{}, time.Time{}, 0
	}
	if rest := l.notBefore.Sub(now); rest > 0 {
		return ctrl.Result{RequeueAfter: rest}, nil
	}
	wait, weakness, problem := c.run(ctx, channel, l, waiting)
	if problem != nil && ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err() // the operator stops, which is nobody's fault
	}
	if problem != nil {
		l.failures++
		pause := max(min(firstPause<<min(l.failures-1, 10), longestPause), upstream.AfterOf(problem))
		l.notBefore, wait = c.Local.Now().Add(pause), pause
	} else {
		l.failures = 0
	}
	return ctrl.Result{RequeueAfter: wait}, c.project(ctx, channel, weakness, problem)
}

// run tries the channel if that is due, and carries what waits. problem is about the channel.
func (c *Courier) run(ctx context.Context, channel *v1alpha1.NotificationChannel, l *line, waiting []*stored) (wait time.Duration, weakness, problem error) {
	s, weakness, err := c.opener.open(ctx, channel)
	if err != nil {
		return 0, weakness, err
	}
	if now := c.Local.Now(); l.failures > 0 || now.Sub(l.checkedAt) >= checkInterval {
		if err := s.Check(ctx); err != nil {
			return 0, weakness, err
		}
		l.checkedAt = now
	}
	wait, err = c.carry(ctx, channel, l, s, waiting)
	if wait == 0 {
		wait = checkInterval
	}
	return wait, weakness, err
}

// item is a delivery and the record that it stands in.
type item struct {
	notify.Delivery
	in *stored
}

// carry sends what waits, to one receiver after the other.
func (c *Courier) carry(ctx context.Context, channel *v1alpha1.NotificationChannel, l *line, s sender, waiting []*stored) (time.Duration, error) {
	byReceiver, unwanted := c.sort(ctx, channel, l, waiting)
	if err := c.settle(ctx, l, unwanted); err != nil {
		return 0, err
	}
	limit := int(cmp.Or(channel.Spec.DigestAfter, defaultDigestAfter))
	wait, sent := time.Duration(0), 0
	for _, to := range slices.Sorted(maps.Keys(byReceiver)) {
		byID, pending := map[string]item{}, []notify.Delivery(nil)
		for _, i := range byReceiver[to] {
			byID[i.ID()] = i
			pending = append(pending, i.Delivery)
		}
		singles, digest, later := notify.Batch(pending, l.sent[to], limit, c.Local.Now())
		if later > 0 && (wait == 0 || later < wait) {
			wait = later
		}
		var batches [][]notify.Delivery
		for _, one := range singles {
			batches = append(batches, []notify.Delivery{one})
		}
		if len(digest) > 0 {
			batches = append(batches, digest[:min(len(digest), maxDigest)])
		}
		for _, batch := range batches {
			if sent++; sent > maxRun {
				return time.Millisecond, nil
			}
			if ctx.Err() != nil {
				return wait, ctx.Err()
			}
			// A message that was begun is finished and noted, even if the process is told to stop
			// meanwhile: otherwise the next one would send it again.
			whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
			err := s.send(whole, to, batch, c.Server.Now())
			if err != nil && upstream.ClassOf(err) != upstream.Rejected {
				cancel()
				return wait, err
			}
			result := resultDelivered
			if err != nil {
				result = resultRefused
				// No address: who the recipients are is nobody's business who reads logs.
				ctrl.LoggerFrom(ctx).Info("a message was refused for good", "why", err.Error(), "credential", batch[0].Message.Name(), "event", batch[0].Message.Event)
			}
			l.count(to, len(batch) > 1, c.Local.Now())
			var items []item
			for _, d := range batch {
				items = append(items, byID[d.ID()])
				c.Metrics.Notified(string(d.Message.Event), kindOf(channel), result)
			}
			err = c.settle(whole, l, items)
			cancel()
			if err != nil {
				return wait, err
			}
		}
	}
	return wait, nil
}

// sort tells what has to be sent, by receiver, from what has not: it was sent already, nobody
// wants it any more, or it is too old.
func (c *Courier) sort(ctx context.Context, channel *v1alpha1.NotificationChannel, l *line, waiting []*stored) (byReceiver map[string][]item, unwanted []item) {
	byReceiver = map[string][]item{}
	present := map[string]bool{}
	for _, s := range waiting {
		for _, d := range s.Pending {
			if d.Channel != channel.Name {
				continue
			}
			present[d.ID()] = true
			switch age := c.Server.Now().Sub(d.Message.At); {
			case l.done[d.ID()], notify.OptedOut(channel.Spec.OptOut, d.To), (channel.Spec.SMTP != nil) != (d.To != ""):
				unwanted = append(unwanted, item{d, s})
			case age > tooOld:
				ctrl.LoggerFrom(ctx).Info("a message was let go: the channel has not taken it for three days", "credential", d.Message.Name(), "event", d.Message.Event)
				c.Metrics.Notified(string(d.Message.Event), kindOf(channel), resultDropped)
				unwanted = append(unwanted, item{d, s})
			default:
				byReceiver[d.To] = append(byReceiver[d.To], item{d, s})
			}
		}
	}
	maps.DeleteFunc(l.done, func(id string, _ bool) bool { return !present[id] })
	return byReceiver, unwanted
}

// settle takes deliveries out of their records. That they were sent is remembered first: until
// the cache knows, they would be sent again.
func (c *Courier) settle(ctx context.Context, l *line, items []item) error {
	ids := map[*stored]map[string]bool{}
	for _, i := range items {
		l.done[i.ID()] = true
		if ids[i.in] == nil {
			ids[i.in] = map[string]bool{}
		}
		ids[i.in][i.ID()] = true
	}
	for s, sent := range ids {
		if err := c.records.settle(ctx, s, sent); err != nil {
			return fmt.Errorf("note that a message was sent: %w", err)
		}
	}
	return nil
}

// drop lets go what waits for a channel that is gone.
func (c *Courier) drop(ctx context.Context, channel string, waiting []*stored) error {
	for _, s := range waiting {
		ids, events := map[string]bool{}, []notify.Event(nil)
		for _, d := range s.Pending {
			if d.Channel == channel {
				ids[d.ID()] = true
				events = append(events, d.Message.Event)
			}
		}
		if err := c.records.settle(ctx, s, ids); err != nil {
			return err
		}
		for _, event := range events {
			c.Metrics.Notified(string(event), kindGone, resultDropped)
		}
	}
	return nil
}

// count remembers what a receiver got in the last minute.
func (l *line) count(to string, digest bool, now time.Time) {
	sent := l.sent[to]
	sent.Single = slices.DeleteFunc(slices.Clone(sent.Single), func(at time.Time) bool { return now.Sub(at) >= time.Minute })
	if digest {
		sent.Digest = now
	} else {
		sent.Single = append(sent.Single, now)
	}
	l.sent[to] = sent
}

// project writes the status if it changed.
func (c *Courier) project(ctx context.Context, channel *v1alpha1.NotificationChannel, weakness, problem error) error {
	before := channel.Status.DeepCopy()
	verdict(&channel.Status, channel.Generation, weakness, problem, metav1.NewTime(c.Server.Now().Truncate(time.Second)))
	if apiequality.Semantic.DeepEqual(*before, channel.Status) {
		return nil
	}
	err := c.Client.Status().Update(ctx, channel, client.FieldOwner(journal.FieldManager))
	if apierrors.IsConflict(err) {
		return nil // the change that came between wakes us
	}
	return client.IgnoreNotFound(err)
}

// verdict says whether a channel works.
func verdict(status *v1alpha1.NotificationChannelStatus, generation int64, weakness, problem error, now metav1.Time) {
	status.ObservedGeneration = generation
	ready := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDelivers,
		Message: "The settings can be used, and the last thing that was tried worked.", ObservedGeneration: generation, LastTransitionTime: now,
	}
	if weakness != nil {
		ready.Message += " Defaults are sent where templates cannot be used: " + notify.Oneline(weakness.Error(), 1000)
	}
	stalled := false
	if problem != nil {
		ready.Status = metav1.ConditionFalse
		ready.Reason, stalled = reasonOf(problem)
		ready.Message = notify.Oneline(words(problem), 1000)
	}
	meta.SetStatusCondition(&status.Conditions, ready)
	if stalled {
		stall := ready
		stall.Type, stall.Status = v1alpha1.ConditionStalled, metav1.ConditionTrue
		meta.SetStatusCondition(&status.Conditions, stall)
	} else {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionStalled)
	}
}

// reasonOf is a problem as a reason, and whether a person has to change something first.
func reasonOf(problem error) (reason string, stalled bool) {
	if errors.Is(problem, errSecret) {
		return v1alpha1.ReasonSecretNotUsable, true
	}
	switch upstream.ClassOf(problem) {
	case upstream.InvalidSpec:
		return v1alpha1.ReasonInvalidSettings, true
	case upstream.LoginFailed:
		return v1alpha1.ReasonLoginFailed, true
	case upstream.Forbidden:
		return v1alpha1.ReasonDeliveryRefused, true
	}
	return v1alpha1.ReasonUnreachable, false
}

// words are a problem for people.
func words(problem error) string {
	if own, ok := errors.AsType[*upstream.Error](problem); ok {
		return strings.ToUpper(own.Message[:1]) + own.Message[1:] + "."
	}
	if errors.Is(problem, errSecret) {
		_, text, _ := strings.Cut(problem.Error(), ": ")
		return text + "."
	}
	return "The API server does not let us read or write what is needed; it is tried again."
}
