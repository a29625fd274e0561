package main

import (
	"context"
	"crypto/x509"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/material"
)

// rehearsalRoom is a simulator with one app, and workloads that live on its credential.
type rehearsalRoom struct {
	t     *testing.T
	sim   *apiconnectsim.Sim
	board *board
	fleet *fleet
	name  types.NamespacedName
}

func newRehearsalRoom(t *testing.T) *rehearsalRoom {
	t.Helper()
	sim := apiconnectsim.New(apiconnectsim.Options{Seed: apiconnectsim.Sample()})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	b := newBoard()
	r := &rehearsalRoom{
		t: t, sim: sim, board: b, name: types.NamespacedName{Namespace: "payments", Name: "billing"},
		fleet: newFleet(b, 300*time.Millisecond),
	}
	ctx, cancel := context.WithCancel(t.Context())
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(sim.CA())
	r.fleet.run(ctx, r.name, r.name, func() caller { return newGatewayCaller(sim.GatewayURL()+"/orders/v1/health", roots) })
	t.Cleanup(func() { cancel(); r.fleet.wait() })
	return r
}

// issue makes a credential upstream and returns it with its id there.
func (r *rehearsalRoom) issue(name string) (pair, string) {
	r.t.Helper()
	made, err := r.sim.Seed(apiconnectsim.Seed{Orgs: []apiconnectsim.SeedOrg{{
		Name: "acme", Catalogs: []apiconnectsim.SeedCatalog{{
			Name: "production", ConsumerOrgs: []apiconnectsim.SeedConsumerOrg{{
				Name: "retail", Apps: []apiconnectsim.SeedApp{{Name: "billing", Credentials: []apiconnectsim.SeedCredential{{Name: name}}}},
			}},
		}},
	}}})
	if err != nil {
		r.t.Fatal(err)
	}
	c := made.Orgs[0].Catalogs[0].ConsumerOrgs[0].Apps[0].Credentials[0]
	return pair{held: c.ClientID, secret: material.New(c.ClientSecret), version: name}, c.Name
}

func (r *rehearsalRoom) revoke(credential string) {
	r.t.Helper()
	err := r.sim.Delete(apiconnectsim.Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail", App: "billing", Credential: credential})
	if err != nil {
		r.t.Fatal(err)
	}
}

// served waits until both workloads work with a pair.
func (r *rehearsalRoom) served(p pair) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	err := await(ctx, "both workloads work with version "+p.version, func() (bool, string) {
		return r.fleet.tally.works(name(r.name, true), p.held) && r.fleet.tally.works(name(r.name, false), p.held), "not yet"
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestTheJudgeSeesAnOldCredentialDieAtPublication(t *testing.T) {
	r := newRehearsalRoom(t)
	first, id := r.issue("first")
	r.board.post(r.name, first, time.Now())
	r.served(first)
	second, _ := r.issue("second")
	r.revoke(id)
	r.board.post(r.name, second, time.Now())
	r.served(second)
	calls, failed, _, failures := r.fleet.tally.sum()
	if failed == 0 || len(failures) == 0 {
		t.Fatalf("the judge is blind: %d calls, none failed", calls)
	}
}

func TestTheJudgeCountsNoFailureWhenTheOldCredentialOutlivesItsUse(t *testing.T) {
	r := newRehearsalRoom(t)
	first, id := r.issue("first")
	r.board.post(r.name, first, time.Now())
	r.served(first)
	second, _ := r.issue("second")
	r.board.post(r.name, second, time.Now())
	r.served(second)
	r.revoke(id)
	before, _, _, _ := r.fleet.tally.sum()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := await(ctx, "ten more calls were made", func() (bool, string) {
		calls, _, _, _ := r.fleet.tally.sum()
		return calls >= before+10, "not yet"
	})
	if err != nil {
		t.Fatal(err)
	}
	calls, failed, restarts, failures := r.fleet.tally.sum()
	if failed != 0 {
		t.Fatalf("%d of %d calls failed: %v", failed, calls, failures)
	}
	if restarts == 0 {
		t.Error("the workload that reads at its start has the new version without a restart")
	}
}

func TestTheBoardRemembersWhatFollowedWhat(t *testing.T) {
	b, name := newBoard(), types.NamespacedName{Namespace: "payments", Name: "billing-api"}
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	_, changed := b.read(name)
	first, second := pair{held: "one"}, pair{held: "two"}
	if before, news := b.post(name, first, at(1)); !news || !before.empty() {
		t.Errorf("first post: news %v, before %v", news, before)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the first post")
	}
	if _, news := b.post(name, first, at(2)); news {
		t.Error("the same pair again is no news")
	}
	if got := b.rotations(name); got != 0 {
		t.Errorf("%d rotations after the first publication", got)
	}
	if before, news := b.post(name, second, at(3)); !news || before != first {
		t.Errorf("second post: news %v, before %v", news, before)
	}
	if got := b.rotations(name); got != 1 {
		t.Errorf("%d rotations after the second publication", got)
	}
	if followed, ok := b.successor(name, "one"); !ok || !followed.Equal(at(3)) {
		t.Errorf("the first was followed at %v, %v", followed, ok)
	}
	if _, ok := b.successor(name, "two"); ok {
		t.Error("the newest has a successor")
	}
}
