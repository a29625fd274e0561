package crash

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/internal/journal"
)

const (
	// readEvery is how late a caller sees what the Secret holds, callEvery how often it
	// calls. Overlaps are much longer.
	readEvery = 250 * time.Millisecond
	callEvery = 100 * time.Millisecond
	// sighted is how long ago a caller may have looked for a refused call to be a broken
	// promise, where no overlap is known. Where the machine stands still for an overlap, what
	// the caller holds was replaced meanwhile, and it could not know.
	sighted = 1500 * time.Millisecond
)

// call starts a workload: it calls the gateway without end with what it last saw in the
// Secret. A Secret that is missing or broken changes nothing, as for a process that
// holds its environment. From the first publication on, no call may fail.
func (s *stage) call(ns, secret string) {
	workload := s.workload()
	s.use(ns, secret, s.read, func(ctx context.Context, held pair) error { return ask(ctx, workload, s.sim.GatewayURL(), held) })
}

// workload is a client that trusts the gateway.
func (s *stage) workload() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.sim.CA())
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}, Timeout: 10 * time.Second}
}

// callPrevious calls with what the Secret shows of the version before. It is taken away
// before it is revoked, so a call fails only after it has gone from there.
func (s *stage) callPrevious(ns, secret string) {
	workload := s.workload()
	s.use(ns, secret, s.readPrevious, func(ctx context.Context, held pair) error {
		refused := ask(ctx, workload, s.sim.GatewayURL(), held)
		if now, err := s.readPrevious(ctx, ns, secret); refused != nil && err == nil && now == held {
			return fmt.Errorf("the version before, which the Secret still shows: %w", refused)
		}
		return nil // also if it failed: it has gone from the Secret
	})
}

// readPrevious reads what a Secret shows of the version before the published one.
func (s *stage) readPrevious(ctx context.Context, ns, name string) (pair, error) {
	secret := &corev1.Secret{}
	err := s.world.Client.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, secret)
	p := pair{string(secret.Data["client_id"+old.Suffix]), string(secret.Data["client_secret"+old.Suffix])}
	if p.whole() {
		s.mu.Lock()
		s.shown++
		s.mu.Unlock()
	}
	return p, err
}

// callNamed calls with what the Secrets of single versions hold, the oldest first. Each is
// deleted before its version is revoked, so a call fails only after it has gone.
func (s *stage) callNamed(ns string) {
	workload := s.workload()
	s.use(ns, "of single versions", func(ctx context.Context, ns, _ string) (pair, error) {
		own, err := s.ownSecrets(ctx, ns)
		if err != nil || len(own) == 0 {
			return pair{}, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.namedSeen++
		return pairOf(&own[0]), nil
	}, func(ctx context.Context, held pair) error {
		refused := ask(ctx, workload, s.sim.GatewayURL(), held)
		if refused == nil {
			return nil
		}
		own, err := s.ownSecrets(ctx, ns)
		if err == nil && slices.ContainsFunc(own, func(secret corev1.Secret) bool { return pairOf(&secret) == held }) {
			return fmt.Errorf("a version whose own Secret still stands: %w", refused)
		}
		return nil
	})
}

// ownSecrets are those of single versions, the oldest first.
func (s *stage) ownSecrets(ctx context.Context, ns string) ([]corev1.Secret, error) {
	list := &corev1.SecretList{}
	err := s.world.Client.List(ctx, list, client.InNamespace(ns), client.MatchingLabels{journal.LabelRole: journal.RoleCopy})
	slices.SortFunc(list.Items, func(a, b corev1.Secret) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return list.Items, err
}

func pairOf(secret *corev1.Secret) pair {
	return pair{string(secret.Data["client_id"]), string(secret.Data["client_secret"])}
}

// use is call for any upstream: with what finds the pair in a Secret, and what tries it.
func (s *stage) use(ns, secret string, find func(ctx context.Context, ns, secret string) (pair, error), try func(context.Context, pair) error) {
	s.calling.Go(func() {
		read, ticks := time.NewTicker(readEvery), time.NewTicker(callEvery)
		defer read.Stop()
		defer ticks.Stop()
		var held pair
		var lookedAt time.Time
		for {
			select {
			case <-read.C:
				begun := time.Now()
				if seen, err := find(s.callers, ns, secret); err == nil && seen.whole() {
					held, lookedAt = seen, begun
				}
			case <-ticks.C:
				if held.whole() {
					s.note(ns, secret, held, try(s.callers, held), lookedAt)
				}
			case <-s.callers.Done():
				return
			}
		}
	})
}

// pair is what a target Secret holds.
type pair struct{ id, secret string }

func (p pair) whole() bool { return p.id != "" && p.secret != "" }

func (s *stage) read(ctx context.Context, ns, name string) (pair, error) {
	secret := &corev1.Secret{}
	err := s.world.Client.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, secret)
	return pair{string(secret.Data["client_id"]), string(secret.Data["client_secret"])}, err
}

func (s *stage) note(ns, secret string, p pair, err error, lookedAt time.Time) {
	if s.callers.Err() != nil {
		return // it was told to stop in the middle of the call
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if blind := time.Since(lookedAt); err != nil && blind > cmp.Or(s.overlaps[ns]/2, sighted) {
		s.blinded++
		s.t.Logf("the caller of %s/%s had not seen the Secret for %s: %v", ns, secret, blind.Round(time.Millisecond), err)
	} else if err != nil {
		s.faultLocked("the caller of %s/%s, client id %s: %v", ns, secret, p.id, err)
	}
}

func ask(ctx context.Context, workload *http.Client, gateway string, p pair) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway+"/orders/v1/orders", nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "workload")
	request.Header.Set("X-IBM-Client-Id", p.id)
	request.Header.Set("X-IBM-Client-Secret", p.secret)
	response, err := workload.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway answered %s", response.Status)
	}
	return nil
}
