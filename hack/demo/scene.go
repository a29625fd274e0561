package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// scene is what can be seen from outside: the Secrets as they are written, the
// operator's events, and the upstream's.
type scene struct {
	story *story
	board *board
	// held passes on that a call stands still.
	held chan simkit.Event

	mu sync.Mutex
	// cast are the credentials by their target Secret.
	cast map[types.NamespacedName]role
	// versions are those that were ever in the journal, by mark.
	versions map[string]entry
	early    []string
	// rest undoes what was begun for workloads.
	rest []func()
}

// role is a credential, and for how long its predecessor stays valid, in words.
type role struct {
	*v1alpha1.APIClientCredential
	house   house
	overlap string
}

func newScene(story *story) *scene {
	return &scene{
		story: story, board: newBoard(), held: make(chan simkit.Event, 64),
		cast: map[types.NamespacedName]role{}, versions: map[string]entry{},
	}
}

// enter makes credentials known, before they are applied.
func (s *scene) enter(h house, overlap string, credentials ...*v1alpha1.APIClientCredential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range credentials {
		s.cast[secretOf(c)] = role{c, h, overlap}
	}
}

// employ lets workloads live on credentials that have entered, until the scene is closed or the function
// that it returns is called.
func (s *scene) employ(f *fleet, credentials ...*v1alpha1.APIClientCredential) (dismiss func()) {
	ctx, cancel := context.WithCancel(context.Background())
	for _, c := range credentials {
		s.mu.Lock()
		h := s.cast[secretOf(c)].house
		s.mu.Unlock()
		f.run(ctx, nameOf(c), secretOf(c), func() caller { return h.caller(c) })
	}
	dismiss = func() { cancel(); f.wait() }
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = append(s.rest, dismiss)
	return dismiss
}

// deploy runs the pods of Deployments, until the scene is closed.
func (s *scene) deploy(k *kubelet) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { k.run(ctx) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = append(s.rest, func() { cancel(); running.Wait() })
}

// close dismisses every workload.
func (s *scene) close() {
	s.mu.Lock()
	rest := s.rest
	s.rest = nil
	s.mu.Unlock()
	for _, dismiss := range rest {
		dismiss()
	}
}

// watch sees everything until ctx ends, and closes done then.
func (s *scene) watch(ctx context.Context, config *rest.Config, upstreams []resident, done chan<- struct{}, fail context.CancelCauseFunc) error {
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		close(done)
		return err
	}
	ours := informers.NewSharedInformerFactoryWithOptions(clients, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.LabelSelector = journal.LabelRole
	}))
	all := informers.NewSharedInformerFactory(clients, 0)
	_, err = ours.Core().V1().Secrets().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    s.seeSecret,
		UpdateFunc: func(_, now any) { s.seeSecret(now) },
	})
	if err == nil {
		_, err = all.Events().V1().Events().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: s.seeEvent})
	}
	if err != nil {
		close(done)
		return fmt.Errorf("watch the cluster: %w", err)
	}
	ours.Start(ctx.Done())
	all.Start(ctx.Done())
	go func() {
		defer close(done)
		var watchers sync.WaitGroup
		for _, upstream := range upstreams {
			watchers.Go(func() {
				err := upstream.events(ctx, func(event simkit.Event) { s.seeUpstream(upstream, event) })
				if err != nil {
					fail(err)
				}
			})
		}
		watchers.Wait()
		ours.Shutdown()
		all.Shutdown()
	}()
	return nil
}

// seeSecret reads a Secret that was written: a version for the record, a target for
// the board.
func (s *scene) seeSecret(object any) {
	secret, ok := object.(*corev1.Secret)
	if !ok {
		return
	}
	name := types.NamespacedName{Namespace: secret.Namespace, Name: secret.Name}
	switch secret.Labels[journal.LabelRole] {
	case journal.RoleVersion:
		if e, err := readEntry(secret); err == nil {
			s.mu.Lock()
			s.versions[e.mark] = e
			s.mu.Unlock()
		}
	case journal.RoleTarget:
		s.mu.Lock()
		role, known := s.cast[name]
		s.mu.Unlock()
		if !known {
			return
		}
		now := role.house.show(secret, role.APIClientCredential)
		if before, news := s.board.post(name, now, time.Now()); news {
			s.tellPublished(role, before, now)
		}
	}
}

func (s *scene) tellPublished(role role, before, now pair) {
	who := nameOf(role.APIClientCredential).String()
	s.mu.Lock()
	cause := ""
	for _, e := range s.versions {
		if e.credential == nameOf(role.APIClientCredential) && strconv.FormatInt(e.number, 10) == now.version {
			cause = e.cause
		}
	}
	s.mu.Unlock()
	if before.empty() {
		s.story.tell(who, "version %s is published (%s)", now.version, cause)
		return
	}
	s.story.tell(who, "version %s is published (%s); version %s stays valid for %s at least", now.version, cause, before.version, role.overlap)
}

// show reads a target Secret as the workloads of its credential do.
func (s *scene) show(secret *corev1.Secret, credential *v1alpha1.APIClientCredential) pair {
	s.mu.Lock()
	h := s.cast[secretOf(credential)].house
	s.mu.Unlock()
	return h.show(secret, credential)
}

// readEntry takes what the judge needs out of a version Secret.
func readEntry(secret *corev1.Secret) (entry, error) {
	v, err := journal.ParseSecret(secret)
	if err != nil {
		return entry{}, err
	}
	mark := string(v.Mark)
	if v.Material != nil && !v.Material.Token.Empty() {
		// A grant bears no mark: its token is all that leads to it.
		mark = fingerprint([]byte(v.Material.Token.Reveal()))
	}
	return entry{
		credential: v.Credential, number: v.Number, mark: mark, cause: v.Cause,
		revoked: !v.RevokedAt.IsZero(), terminating: v.Terminating,
	}, nil
}

// told are the reasons of events that are better told by somebody else: publications by
// the Secret itself, revocations by the upstream, which no kill can swallow.
var told = map[string]bool{"Issued": true, "Renewed": true, "Revoked": true}

// seeEvent tells what the operator says that it does, and why.
func (s *scene) seeEvent(object any) {
	event, ok := object.(*eventsv1.Event)
	if !ok || event.Regarding.GroupVersionKind().Group != v1alpha1.GroupVersion.Group || told[event.Reason] {
		return
	}
	who := types.NamespacedName{Namespace: event.Regarding.Namespace, Name: event.Regarding.Name}.String()
	if event.Type == corev1.EventTypeWarning {
		s.story.tell(who, "warning, %s: %s", event.Reason, event.Note)
		return
	}
	s.story.tell(who, "%s", event.Note)
}

// seeUpstream tells what the upstream did.
func (s *scene) seeUpstream(upstream resident, event simkit.Event) {
	switch event.Type {
	case simkit.EventHeld:
		s.held <- event
	case simkit.EventRevoked:
		s.tellRevoked(upstream, event)
	case simkit.EventDuplicate:
		v, _ := upstream.read(event.Attrs["kind"], event.Attrs)
		s.mu.Lock()
		e, known := s.versions[v.mark]
		s.mu.Unlock()
		if !known {
			return
		}
		s.story.tell(e.credential.String(), "the upstream was asked for version %d again, and did not make it twice", e.number)
	}
}

func (s *scene) tellRevoked(upstream resident, event simkit.Event) {
	v, ours := upstream.read(event.Attrs["kind"], event.Attrs)
	if !ours {
		return
	}
	s.mu.Lock()
	e, known := s.versions[v.mark]
	s.mu.Unlock()
	if !known {
		s.story.tell("upstream", "%s revoked %s, which no journal knows", upstream.title(), v.held)
		return
	}
	by := event.Attrs["login"]
	at, replaced := s.board.successor(s.secretOf(e.credential), v.held)
	if !replaced {
		s.story.tell(e.credential.String(), "version %d is revoked upstream by %s", e.number, by)
		return
	}
	s.story.tell(e.credential.String(), "version %d is revoked upstream by %s, %.1f s after its successor was published",
		e.number, by, event.Time.Sub(at).Seconds())
	if objection := tooEarly(e, at, event.Time); objection != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.early = append(s.early, objection)
	}
}

func (s *scene) secretOf(credential types.NamespacedName) types.NamespacedName {
	s.mu.Lock()
	defer s.mu.Unlock()
	for secret, c := range s.cast {
		if nameOf(c.APIClientCredential) == credential {
			return secret
		}
	}
	return types.NamespacedName{}
}

// objections returns what was seen that must not be, and forgets it.
func (s *scene) objections() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	early := s.early
	s.early = nil
	return early
}
