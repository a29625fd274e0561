package apiconnectsim

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/simkit"
)

func TestTheGatewayLearnsLater(t *testing.T) {
	s := newStand(t, behave(func(b *Behaviour) {
		b.Propagation, b.RevocationLag = Exactly(30*time.Second), Exactly(5*time.Second)
	}))
	s.want(201, http.MethodPost, credentials, map[string]string{"name": "one", "client_id": ownID, "client_secret": ownSecret})
	// The platform knows it at once, by hash and by check.
	s.want(200, http.MethodPost, credentials+"/one/verify-client-secret", map[string]string{"client_id": ownID, "client_secret": ownSecret})
	step := func(advance time.Duration, want int) {
		t.Helper()
		s.clock.Advance(advance)
		if status := s.through(ownID, ownSecret); status != want {
			t.Errorf("%s after the start: %d, want %d", s.clock.Now().Sub(epoch), status, want)
		}
		if accepts := s.Accepts(ownID, ownSecret); accepts != (want == 200) {
			t.Errorf("Accepts says %v where the gateway answers %d", accepts, want)
		}
	}
	step(0, 401)
	step(30*time.Second-1, 401)
	step(1, 200)
	s.want(200, http.MethodDelete, credentials+"/one", nil)
	step(0, 200)
	step(5*time.Second-1, 200)
	step(1, 401)

	stats := s.GatewayStats()
	at := func(d time.Duration) *time.Time { moment := epoch.Add(d); return &moment }
	want := GatewayStats{
		Accepted: 3, Refused: 3, Reasons: map[string]int{RefusedEarly: 2, RefusedRevoked: 1},
		Clients: map[string]ClientStats{ownID: {
			Accepted: 3, Refused: 3, Reasons: map[string]int{RefusedEarly: 2, RefusedRevoked: 1},
			FirstAcceptedAt: at(30 * time.Second), LastAcceptedAt: at(35*time.Second - 1), LastRefusedAt: at(35 * time.Second),
		}},
	}
	if diff := cmp.Diff(want, stats); diff != "" {
		t.Error(diff)
	}
}

func TestARevokedCredentialIsRefusedAtOnceByDefault(t *testing.T) {
	s := newStand(t)
	c := s.seeded(billing, SeedCredential{Name: "one"})
	if status := s.through(c.ClientID, c.ClientSecret); status != 200 {
		t.Fatalf("before: %d", status)
	}
	s.want(200, http.MethodDelete, credentials+"/one", nil)
	if status := s.through(c.ClientID, c.ClientSecret); status != 401 {
		t.Errorf("after: %d", status)
	}
}

func TestACredentialThatDiesOnItsWayNeverArrives(t *testing.T) {
	s := newStand(t, behave(func(b *Behaviour) { b.Propagation = Exactly(time.Minute) }))
	s.want(201, http.MethodPost, credentials, map[string]string{"name": "one", "client_id": ownID, "client_secret": ownSecret})
	s.clock.Advance(30 * time.Second)
	s.want(200, http.MethodDelete, credentials+"/one", nil)
	s.clock.Advance(time.Minute)
	if status := s.through(ownID, ownSecret); status != 401 {
		t.Errorf("%d", status)
	}
}

func TestAResetLeavesAGapUntilTheNewSecretArrives(t *testing.T) {
	s := newStand(t, behave(func(b *Behaviour) { b.Propagation = Exactly(time.Minute) }))
	c := s.seeded(billing, SeedCredential{Name: "one"})
	reset := s.want(200, http.MethodPost, credentials+"/one/reset-client-secret", nil).str("client_secret")
	if old, fresh := s.through(c.ClientID, c.ClientSecret), s.through(c.ClientID, reset); old != 401 || fresh != 401 {
		t.Errorf("in the gap: the old %d, the new %d", old, fresh)
	}
	s.clock.Advance(time.Minute)
	if old, fresh := s.through(c.ClientID, c.ClientSecret), s.through(c.ClientID, reset); old != 401 || fresh != 200 {
		t.Errorf("after it: the old %d, the new %d", old, fresh)
	}
}

func TestRandomPropagationStaysInItsRangeAndRepeats(t *testing.T) {
	arrivals := func(seed uint64) []time.Duration {
		g := newGateway(simkit.NewManual(epoch), seed)
		var out []time.Duration
		for range 50 {
			out = append(out, g.delay(Between(time.Second, 5*time.Second)))
		}
		return out
	}
	first := arrivals(7)
	different := map[time.Duration]bool{}
	for _, d := range first {
		if d < time.Second || d > 5*time.Second {
			t.Errorf("%s is outside of the range", d)
		}
		different[d] = true
	}
	if len(different) < 40 {
		t.Errorf("only %d of 50 differ", len(different))
	}
	if diff := cmp.Diff(first, arrivals(7)); diff != "" {
		t.Errorf("the same seed gives another play: %s", diff)
	}
}

func TestWhyTheGatewayRefuses(t *testing.T) {
	s := newStand(t)
	c := s.seeded(billing, SeedCredential{Name: "one"})
	unsubscribed := Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail", App: "shop"}
	if _, err := s.Add(unsubscribed); err != nil {
		t.Fatal(err)
	}
	if err := s.Subscribe(unsubscribed, false); err != nil {
		t.Fatal(err)
	}
	u := s.seeded(unsubscribed, SeedCredential{Name: "two"})
	for name, tc := range map[string]struct {
		id, secret string
		want       int
		reason     string
	}{
		"nobody":                    {"", "", 401, RefusedUnknown},
		"an unknown id":             {"x", c.ClientSecret, 401, RefusedUnknown},
		"a wrong secret":            {c.ClientID, "wrong", 401, RefusedSecret},
		"no secret":                 {c.ClientID, "", 401, RefusedSecret},
		"an app without a plan":     {u.ClientID, u.ClientSecret, 403, RefusedUnsubscribed},
		"the secret of another app": {u.ClientID, c.ClientSecret, 401, RefusedSecret},
	} {
		before := s.GatewayStats().Reasons[tc.reason]
		if status := s.through(tc.id, tc.secret); status != tc.want {
			t.Errorf("%s: %d, want %d", name, status, tc.want)
		}
		if n := s.GatewayStats().Reasons[tc.reason] - before; n != 1 {
			t.Errorf("%s was not counted as %s", name, tc.reason)
		}
	}
	s.adjust(func(b *Behaviour) { b.UnsubscribedStatus = 401 })
	if status := s.through(u.ClientID, u.ClientSecret); status != 401 {
		t.Errorf("the other variant: %d", status)
	}
	if err := s.Subscribe(unsubscribed, true); err != nil {
		t.Fatal(err)
	}
	if status := s.through(u.ClientID, u.ClientSecret); status != 200 {
		t.Errorf("with a plan: %d", status)
	}
	// A new credential has the subscriptions of its app from the start.
	second := s.seeded(unsubscribed, SeedCredential{Name: "three"})
	if status := s.through(second.ClientID, second.ClientSecret); status != 200 {
		t.Errorf("a new credential of it: %d", status)
	}
}

func TestSeveralCredentialsOfAnAppLiveAtOnce(t *testing.T) {
	s := newStand(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		c := s.seeded(billing, SeedCredential{Name: name})
		if status := s.through(c.ClientID, c.ClientSecret); status != 200 {
			t.Errorf("%s: %d", name, status)
		}
	}
}

func TestTheVillainRevokesThePredecessorAtPublication(t *testing.T) {
	s := newStand(t, behave(func(b *Behaviour) { b.RevokePredecessor, b.Propagation = true, Exactly(time.Second) }))
	old := s.seeded(billing, SeedCredential{Name: "old"})
	other := s.seeded(Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail", App: "shop"}, SeedCredential{Name: "other"})
	s.want(201, http.MethodPost, credentials, map[string]string{"name": "fresh", "client_id": ownID, "client_secret": ownSecret})
	check := func(want map[string]int) {
		t.Helper()
		got := map[string]int{
			"old": s.through(old.ClientID, old.ClientSecret), "fresh": s.through(ownID, ownSecret), "other": s.through(other.ClientID, other.ClientSecret),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	check(map[string]int{"old": 200, "fresh": 401, "other": 200})
	s.clock.Advance(time.Second)
	if status := s.through(ownID, ownSecret); status != 200 {
		t.Fatalf("the fresh one: %d", status)
	}
	check(map[string]int{"old": 401, "fresh": 200, "other": 200})
	s.want(404, http.MethodGet, credentials+"/old", nil)
	if revoked := s.Ledger().Revoked(); len(revoked) != 1 || revoked[0].ID != old.ID || revoked[0].RevokedHow != "revoke-predecessor" {
		t.Errorf("ledger %+v", revoked)
	}
	s.balanced()
}

func TestAnHonestGatewayRevokesNothing(t *testing.T) {
	s := newStand(t)
	old, fresh := s.seeded(billing, SeedCredential{Name: "old"}), s.seeded(billing, SeedCredential{Name: "fresh"})
	for _, c := range []SeedCredential{fresh, old} {
		if status := s.through(c.ClientID, c.ClientSecret); status != 200 {
			t.Errorf("%s: %d", c.Name, status)
		}
	}
	if n := len(s.Ledger().Revoked()); n != 0 {
		t.Errorf("%d were revoked", n)
	}
}

func TestPredecessorsCanBeRevokedOnDemand(t *testing.T) {
	s := newStand(t)
	s.seeded(billing, SeedCredential{Name: "one"})
	s.seeded(billing, SeedCredential{Name: "two"})
	s.seeded(billing, SeedCredential{Name: "three"})
	if n, err := s.RevokePredecessors(billing); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if diff := cmp.Diff([]string{"three"}, s.want(200, http.MethodGet, credentials, nil).names()); diff != "" {
		t.Error(diff)
	}
}
