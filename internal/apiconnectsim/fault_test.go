package apiconnectsim

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/simkit"
)

var ownRequest = map[string]string{"name": "one", "title": "one", "client_id": ownID, "client_secret": ownSecret}

// send calls the platform where no answer may come.
func (s *stand) send(ctx context.Context, method, path string, body any) (response, error) {
	s.t.Helper()
	return s.try(ctx, method, s.URL()+path, body, map[string]string{
		"Authorization": "Bearer " + s.token, "Accept": "application/json", "Content-Type": "application/json",
	})
}

func TestACutAfterTheCommitReallyCommits(t *testing.T) {
	s := newStand(t)
	s.fault(simkit.Fault{Operation: "credential.create", Point: simkit.AfterCommit, Action: simkit.Cut})
	if answer, err := s.send(t.Context(), http.MethodPost, credentials, ownRequest); err == nil {
		t.Fatalf("an answer came: %d %s", answer.status, answer.text)
	}
	// The repeat finds the name taken, by the same client id and the same secret.
	s.want(409, http.MethodPost, credentials, ownRequest)
	found := s.want(200, http.MethodGet, credentials+"/one", nil)
	if found.str("client_id") != ownID || found.str("client_secret_hashed") != hashed(ownSecret) {
		t.Errorf("%s", found.text)
	}

	s.fault(simkit.Fault{Operation: "credential.delete", Point: simkit.AfterCommit, Action: simkit.Cut})
	if _, err := s.send(t.Context(), http.MethodDelete, credentials+"/one", nil); err == nil {
		t.Error("the delete was answered")
	}
	s.want(404, http.MethodGet, credentials+"/one", nil)
	stats := s.Stats()
	if stats.Issued != 1 || stats.Revoked != 1 || stats.Duplicates != 1 {
		t.Errorf("issued %d, revoked %d, duplicates %d", stats.Issued, stats.Revoked, stats.Duplicates)
	}
}

func TestACutBeforeTheCommitCommitsNothing(t *testing.T) {
	s := newStand(t)
	c := s.seeded(billing, SeedCredential{Name: "kept"})
	s.fault(simkit.Fault{Operation: "credential.*", Action: simkit.Cut, Count: 2})
	if _, err := s.send(t.Context(), http.MethodPost, credentials, ownRequest); err == nil {
		t.Error("the create was answered")
	}
	if _, err := s.send(t.Context(), http.MethodDelete, credentials+"/"+c.ID, nil); err == nil {
		t.Error("the delete was answered")
	}
	if diff := cmp.Diff([]string{"kept"}, s.want(200, http.MethodGet, credentials, nil).names()); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsOfThePlatform(t *testing.T) {
	for name, tc := range map[string]struct {
		fault  simkit.Fault
		status int
		header map[string]string
		issued int
	}{
		"a proxy's page": {
			simkit.Fault{Operation: "credential.create", Action: simkit.HTML},
			502,
			map[string]string{"Content-Type": "text/html"},
			0,
		},
		"a proxy's page after the commit": {
			simkit.Fault{Operation: "credential.create", Action: simkit.HTML, Status: 504, Point: simkit.AfterCommit},
			504,
			map[string]string{"Content-Type": "text/html"},
			1,
		},
		"throttling": {
			simkit.Fault{Operation: "credential.create", Action: simkit.ThrottleCall, RetryAfter: simkit.Duration(7 * time.Second)},
			429,
			map[string]string{"Retry-After": "7", "Content-Type": "application/json"},
			0,
		},
		"throttling with a date": {
			simkit.Fault{Operation: "*", Action: simkit.ThrottleCall, RetryAfter: simkit.Duration(7 * time.Second), RetryAfterForm: simkit.RetryAfterDate},
			429,
			map[string]string{"Retry-After": "Sun, 01 Mar 2026 12:00:07 GMT"},
			0,
		},
		"a refusal in the platform's own form": {
			simkit.Fault{Operation: "credential.create", Action: simkit.Refuse, Status: 503, Message: "later"},
			503,
			map[string]string{"Content-Type": "application/json"},
			0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			s.fault(tc.fault)
			answer := s.want(tc.status, http.MethodPost, credentials, ownRequest)
			for header, want := range tc.header {
				if got := answer.header.Get(header); got != want {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
			if tc.fault.Action == simkit.Refuse {
				if diff := cmp.Diff(map[string]any{"status": 503.0, "message": []any{"later"}}, answer.body); diff != "" {
					t.Error(diff)
				}
			}
			if answer.header.Get("X-Request-Id") == "" {
				t.Error("no X-Request-ID")
			}
			if n := len(s.Ledger().Issued()); n != tc.issued {
				t.Errorf("%d were issued, want %d", n, tc.issued)
			}
		})
	}
}

func TestACallThatIsRefusedAtTheDoorLeavesTheFaultInPlace(t *testing.T) {
	s := newStand(t)
	s.fault(simkit.Fault{Operation: "credential.create", Action: simkit.Refuse, Status: 503})
	if answer := s.as("expired", http.MethodPost, credentials, ownRequest); answer.status != 401 {
		t.Fatalf("%d", answer.status)
	}
	s.want(503, http.MethodPost, credentials, ownRequest)
}

// The two moments at which a demo kills the operator.
func TestTheMomentsForAKillCanBeWaitedFor(t *testing.T) {
	t.Run("committed, and the answer withheld", func(t *testing.T) {
		s := newStand(t)
		s.fault(simkit.Fault{Operation: "credential.create", Point: simkit.AfterCommit, Action: simkit.Hold})
		ctx, kill := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { _, err := s.send(ctx, http.MethodPost, credentials, ownRequest); done <- err }()
		event := s.await(simkit.EventHeld)
		want := map[string]string{
			"org": "acme", "catalog": "production", "consumerOrg": "retail", "app": "billing", "name": "one", "clientId": ownID,
			"login": "svc-rotator", "agent": "tester/1", "point": "after-commit", "fault": "f1", "hold": "h2",
		}
		if diff := cmp.Diff(want, without(event.Attrs, "appId")); diff != "" || event.Operation != "credential.create" {
			t.Errorf("%s %s", event.Operation, diff)
		}
		kill()
		if err := <-done; err == nil {
			t.Error("the killed client got an answer")
		}
		if live := s.Ledger().Live(); len(live) != 1 || live[0].Attrs["clientId"] != ownID {
			t.Errorf("ledger %+v", live)
		}
	})
	t.Run("before the revoke", func(t *testing.T) {
		s := newStand(t)
		c := s.seeded(billing, SeedCredential{Name: "old"})
		s.fault(simkit.Fault{Operation: "credential.delete", Point: simkit.BeforeCommit, Action: simkit.Hold})
		ctx, kill := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { _, err := s.send(ctx, http.MethodDelete, credentials+"/"+c.ID, nil); done <- err }()
		event := s.await(simkit.EventHeld)
		if event.Attrs["credentialId"] != c.ID || event.Attrs["clientId"] != c.ClientID || event.Attrs["name"] != "old" {
			t.Errorf("event %+v", event)
		}
		kill()
		<-done
		s.await(simkit.EventDropped)
		if status := s.through(c.ClientID, c.ClientSecret); status != 200 {
			t.Errorf("the credential after the kill: %d", status)
		}
		// Whoever comes back must revoke it again, and can.
		s.want(200, http.MethodDelete, credentials+"/"+c.ID, nil)
	})
}

func TestTheWorldMovesWhileACallIsHeld(t *testing.T) {
	s := newStand(t)
	s.fault(simkit.Fault{Operation: "credential.create", Action: simkit.Hold})
	done := make(chan response, 1)
	go func() {
		answer, err := s.send(t.Context(), http.MethodPost, credentials, ownRequest)
		if err != nil {
			t.Error(err)
		}
		done <- answer
	}()
	s.await(simkit.EventHeld)
	s.want(201, http.MethodPost, credentials, map[string]string{"name": "other", "client_id": ownID})
	s.Faults().Release("", false)
	if answer := <-done; answer.status != 409 {
		t.Errorf("the held create: %d %s", answer.status, answer.text)
	}
	s.balanced()
}

func TestTheGatewayHasFaultsToo(t *testing.T) {
	s := newStand(t)
	c := s.seeded(billing, SeedCredential{Name: "one"})
	s.fault(simkit.Fault{Operation: "gateway.call", Action: simkit.HTML, Match: map[string]string{"clientId": c.ClientID}})
	if first, second := s.through(c.ClientID, c.ClientSecret), s.through(c.ClientID, c.ClientSecret); first != 502 || second != 200 {
		t.Errorf("%d, then %d", first, second)
	}
}

func TestARateLimitCountsPerLogin(t *testing.T) {
	s := newStand(t)
	viewer := s.login("svc-viewer", "viewer-password")
	s.adjust(func(b *Behaviour) { b.RateLimit = simkit.Limit{PerSecond: 1, Burst: 2} })
	var got []int
	var after string
	for range 3 {
		answer := s.do(http.MethodGet, "/api/orgs", nil)
		got, after = append(got, answer.status), answer.header.Get("Retry-After")
	}
	got = append(got, s.as(viewer, http.MethodGet, "/api/orgs", nil).status)
	s.clock.Advance(time.Second)
	got = append(got, s.do(http.MethodGet, "/api/orgs", nil).status)
	if diff := cmp.Diff([]int{200, 200, 429, 200, 200}, got); diff != "" || after != "1" {
		t.Errorf("Retry-After %q %s", after, diff)
	}
}

func TestEveryOperationCanBeStruck(t *testing.T) {
	s := newStand(t)
	for _, name := range operationNames() {
		s.fault(simkit.Fault{Operation: name, Action: simkit.Cut})
	}
	if _, err := s.Faults().Add(simkit.Fault{Operation: "credential.creat", Action: simkit.Cut}); err == nil {
		t.Error("a misspelt operation was accepted")
	}
}
