// Package admission tells whether the admission policies are in force that keep
// everybody but the operator from writing the journal. The one idea: what the operator
// believes about the upstream is worth what its guard is worth, so nothing is issued or
// revoked on the word of a journal that anybody could have written.
//
// A guard that lets its asker through cannot be seen at work, so two things are asked.
// The live policies and bindings must equal the shipped ones: that proves what they
// say. And one object that the policy refuses to everybody must be refused, in a dry
// run, in the very namespace, by the policy's own code and sentence: that proves that
// somebody listens. Any other refusal proves nothing: RBAC refuses with 403 where there
// is no policy at all, and another policy may say no for reasons of its own.
package admission

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// proofLifetime is how long a proof counts. Whoever can take a policy away is an
	// administrator of the cluster; the probe finds accidents, not attacks.
	proofLifetime = 10 * time.Minute
	// doubtLifetime is how long a refusal to believe counts: short, because policies
	// come into force about a second after they are applied, and long enough that a
	// thousand credentials do not ask a thousand times.
	doubtLifetime = 5 * time.Second
	// lookTimeout bounds the handful of requests of one look.
	lookTimeout = 15 * time.Second
)

// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingadmissionpolicies;validatingadmissionpolicybindings,resourceNames=claviger-journal;claviger-requesters;claviger-deletions;claviger-decisions;claviger-approvals;claviger-logins;claviger-tenants;claviger-requests;claviger-adoptions;claviger-rollouts;claviger-deliveries;claviger-passwords;claviger-finalizers,verbs=get
// +kubebuilder:rbac:groups="",resources=secrets,verbs=create

// Guard answers whether the policies are in force. It remembers its answers, so it may
// be asked before every effect. It is safe for concurrent use.
//
// An answer is about one API server of possibly several: one that has just started may
// lag behind by a second.
type Guard struct {
	live client.Reader
	// policies: they may be read. Under Roles alone nothing of the whole cluster may.
	policies bool
	writer   client.Writer
	clock    clock.PassiveClock
	shipped  []client.Object
	// lifetime is how long a proof counts.
	lifetime time.Duration
	inFlight singleflight.Group

	mu      sync.Mutex
	answers map[string]answer
}

// answer is what one look found. An empty doubt is a proof.
type answer struct {
	doubt   string
	expires time.Time
}

// NewGuard returns a Guard that reads policies through live, which must not be a cache
// (a cache would watch them, for which there is no right), and probes through writer.
// Without the right to read policies, which no Role can give, the probe alone decides: it
// proves that the journal's policy is in force, and not that all are as shipped.
func NewGuard(live client.Reader, writer client.Writer, clock clock.PassiveClock, policies bool) (*Guard, error) {
	shipped, err := readShipped()
	if err != nil {
		return nil, fmt.Errorf("read the shipped admission policies: %w", err)
	}
	return &Guard{live: live, policies: policies, writer: writer, clock: clock, shipped: shipped, lifetime: proofLifetime, answers: map[string]answer{}}, nil
}

// InForce reports whether the journal of a namespace is guarded. If it is not, or that
// cannot be proven, message says why in a sentence for a condition; it holds no times or
// counts, so that it stays the same while the cause does.
func (g *Guard) InForce(ctx context.Context, namespace string) (ok bool, message string) {
	// Policies are of the whole cluster: their content is not read again for each
	// namespace. No namespace has an empty name.
	questions := []struct {
		key string
		ask func(context.Context) string
	}{
		{"", g.compare},
		{namespace, func(ctx context.Context) string { return g.probe(ctx, namespace) }},
	}
	if !g.policies {
		questions = questions[1:]
	}
	for _, question := range questions {
		if doubt := g.remembered(ctx, question.key, question.ask); doubt != "" {
			return false, doubt
		}
	}
	return true, ""
}

// remembered asks only if no answer counts any more, and only once for all who ask at
// the same time.
func (g *Guard) remembered(ctx context.Context, key string, ask func(context.Context) string) string {
	if doubt, ok := g.recall(key); ok {
		return doubt
	}
	flight := g.inFlight.DoChan(key, func() (any, error) {
		// Who came between the look above and this flight finds the answer there.
		if doubt, ok := g.recall(key); ok {
			return doubt, nil
		}
		// Detached: one caller's cancellation is no answer for the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
		defer cancel()
		return g.keep(key, ask(ctx)), nil
	})
	select {
	case <-ctx.Done():
		return "whether the journal is guarded was not found out in time"
	case result := <-flight:
		doubt, isText := result.Val.(string)
		if !isText {
			return "whether the journal is guarded was not found out"
		}
		return doubt
	}
}

func (g *Guard) recall(key string) (string, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	known, ok := g.answers[key]
	return known.doubt, ok && g.clock.Now().Before(known.expires)
}

func (g *Guard) keep(key, doubt string) string {
	lifetime := g.lifetime
	if doubt != "" {
		lifetime = doubtLifetime
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.Now()
	// Namespaces come and go; without this the map would hold all that ever were.
	for old, a := range g.answers {
		if !now.Before(a.expires) {
			delete(g.answers, old)
		}
	}
	g.answers[key] = answer{doubt, now.Add(lifetime)}
	return doubt
}
