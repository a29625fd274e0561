package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// caller is a workload: it calls the gateway without end with what the Secret held a
// while ago, as a kubelet that is late would show it. A rotation that is done well is
// one that it does not notice.
type caller struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	calls   int
	refused []string
}

// pair is what a Secret holds at a time.
type pair struct {
	id, secret string
	since      time.Time
}

// call starts a caller that lags behind the Secret billing-api.
func (x *tenant) call(lag time.Duration) *caller {
	x.t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(x.sim.CA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	ctx, cancel := context.WithCancel(x.ctx)
	c := &caller{cancel: cancel}
	x.t.Cleanup(func() { c.stop(); transport.CloseIdleConnections() })
	workload := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	c.done.Go(func() {
		again := time.NewTicker(50 * time.Millisecond)
		defer again.Stop()
		var held []pair
		for {
			held = x.look(held, lag)
			if len(held) > 0 {
				c.note(ctx, held[0], ask(ctx, workload, x.sim.GatewayURL(), held[0]))
			}
			select {
			case <-again.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return c
}

// look appends what the Secret holds now, and drops what the caller no longer sees. A
// Secret that is missing changes nothing: a workload keeps what it has.
func (x *tenant) look(held []pair, lag time.Duration) []pair {
	now := time.Now()
	if s := x.target("billing-api"); s != nil {
		seen := pair{string(s.Data["client_id"]), string(s.Data["client_secret"]), now}
		if n := len(held); n == 0 || held[n-1].id != seen.id || held[n-1].secret != seen.secret {
			held = append(held, seen)
		}
	}
	for len(held) > 1 && now.Sub(held[1].since) >= lag {
		held = held[1:]
	}
	return held
}

func ask(ctx context.Context, workload *http.Client, gateway string, p pair) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway+"/orders/v1/orders", nil)
	if err != nil {
		return err
	}
	request.Header.Set("X-IBM-Client-Id", p.id)
	request.Header.Set("X-IBM-Client-Secret", p.secret)
	response, err := workload.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway answered %s", response.Status)
	}
	return nil
}

func (c *caller) note(ctx context.Context, p pair, err error) {
	if ctx.Err() != nil {
		return // the caller was stopped in the middle of it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if err != nil {
		c.refused = append(c.refused, fmt.Sprintf("%s with client id %s: %v", time.Now().Format(time.TimeOnly), p.id, err))
	}
}

// stop ends the calls and returns how many there were and which failed.
func (c *caller) stop() (calls int, refused []string) {
	c.cancel()
	c.done.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls, c.refused
}

// count is how many calls were made so far.
func (c *caller) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

// wantNoFailure stops a caller that must not have noticed anything, after a few calls
// with what the Secret holds in the end.
func (x *tenant) wantNoFailure(c *caller) {
	x.t.Helper()
	enough := c.count() + 10
	x.eventually(soon, func() string {
		if c.count() < enough {
			return "the workload calls no more"
		}
		return ""
	})
	calls, refused := c.stop()
	for i, r := range refused {
		if i == 5 {
			x.t.Errorf("… and %d more", len(refused)-i)
			return
		}
		x.t.Errorf("call %d of %d failed: %s", i+1, calls, r)
	}
}
