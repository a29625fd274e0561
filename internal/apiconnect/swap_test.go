package apiconnect_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/apiconnectsim"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const swapped = `{"consumerOrg":"retail","app":"billing","naming":"Swap","name":"billing-key"}`

// nth is the request for the n-th version of one credential.
func nth(t *testing.T, account upstream.Upstream, n string) upstream.Request {
	t.Helper()
	r := request(t, account, swapped)
	r.Name = "cl-abcdefghijklm-" + strings.Repeat(n, 8)
	r.Mark = upstream.Mark("0123456789abcdef" + strings.Repeat(n, 16))
	r.Material = material.Material{ClientID: string(r.Mark), ClientSecret: material.New("canary-" + n)}
	return r
}

// names are those of the live credentials, by the last digit of the client id.
func names(sim *apiconnectsim.Sim) map[string]string {
	all := map[string]string{}
	for _, live := range sim.Ledger().Live() {
		id := live.Attrs["clientId"]
		all[id[len(id)-1:]] = live.Attrs["name"]
	}
	return all
}

func wantNames(t *testing.T, sim *apiconnectsim.Sim, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, names(sim)); diff != "" {
		t.Errorf("names by client id (-want +got):\n%s", diff)
	}
}

// The seed's procedure: "_new" beside the old one, then the old one's name.
func TestSwapKeepsOneName(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	account := open(t, settings(sim, nil))
	first, second, third := nth(t, account, "1"), nth(t, account, "2"), nth(t, account, "3")
	mustIssue(t, account, first)
	mustIssue(t, account, second)
	mustIssue(t, account, second)
	wantNames(t, sim, map[string]string{"1": "billing-key", "2": "billing-key_new"})
	mustIssue(t, account, third) // an emergency in the overlap does not wait for a name
	wantNames(t, sim, map[string]string{"1": "billing-key", "2": "billing-key_new", "3": third.Name})
	if err := account.Revoke(t.Context(), handle(first)); err != nil {
		t.Fatal(err)
	}
	wantNames(t, sim, map[string]string{"2": "billing-key", "3": third.Name})
	if err := account.Revoke(t.Context(), handle(second)); err != nil {
		t.Fatal(err)
	}
	wantNames(t, sim, map[string]string{"3": "billing-key"})
	if verdict, err := verify(t.Context(), account, handle(third)); err != nil || !verdict.Accepted {
		t.Errorf("renamed: %+v, %v", verdict, err)
	}
}

// A crash between the deletion and the new name, and a lost answer to either, are mended by
// the next call, which the old version's journal entry brings.
func TestSwapMendsWhatACrashLeft(t *testing.T) {
	for name, fault := range map[string]simkit.Fault{
		"the new name is not given":           {Operation: "credential.update", Point: simkit.BeforeCommit, Action: simkit.Cut},
		"the answer to the new name is lost":  {Operation: "credential.update", Point: simkit.AfterCommit, Action: simkit.Cut},
		"the answer to the deletion is lost":  {Operation: "credential.delete", Point: simkit.AfterCommit, Action: simkit.Cut},
		"the deletion does not reach anybody": {Operation: "credential.delete", Point: simkit.BeforeCommit, Action: simkit.Cut},
	} {
		t.Run(name, func(t *testing.T) {
			sim := start(t, apiconnectsim.Usual())
			account := open(t, settings(sim, nil))
			first, second := nth(t, account, "1"), nth(t, account, "2")
			mustIssue(t, account, first)
			mustIssue(t, account, second)
			fault.Count = 1
			if _, err := sim.Faults().Add(fault); err != nil {
				t.Fatal(err)
			}
			if err := account.Revoke(t.Context(), handle(first)); err == nil {
				t.Fatal("the fault did not strike")
			}
			restarted := open(t, settings(sim, nil))
			err := restarted.Revoke(t.Context(), handle(first))
			if err != nil && upstream.ClassOf(err) != upstream.NotFound {
				t.Fatal(err)
			}
			wantNames(t, sim, map[string]string{"2": "billing-key"})
		})
	}
}

// Whose a credential is says its client id. Somebody else's on the name, or on the one with the
// suffix, is neither touched nor renamed.
func TestSwapTouchesNobodyElses(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	byHand(t, sim) // it has the name billing-key
	account := open(t, settings(sim, nil))
	first, second := nth(t, account, "1"), nth(t, account, "2")
	mustIssue(t, account, first)
	mustIssue(t, account, second)
	wantNames(t, sim, map[string]string{"f": "billing-key", "1": "billing-key_new", "2": second.Name})
	if err := account.Revoke(t.Context(), handle(first)); err != nil {
		t.Fatal(err)
	}
	wantNames(t, sim, map[string]string{"f": "billing-key", "2": second.Name})
}

// A version that never worked goes, and the old one keeps its name.
func TestSwapLeavesTheOldOneItsNameWhenTheNewOneFails(t *testing.T) {
	sim := start(t, apiconnectsim.Usual())
	account := open(t, settings(sim, nil))
	first, second := nth(t, account, "1"), nth(t, account, "2")
	mustIssue(t, account, first)
	mustIssue(t, account, second)
	if err := account.Revoke(t.Context(), handle(second)); err != nil {
		t.Fatal(err)
	}
	wantNames(t, sim, map[string]string{"1": "billing-key"})
	operations := calls(sim)
	if slices.Contains(operationsOf(operations), "credential.update") {
		t.Errorf("something was renamed: %v", operations)
	}
}

func operationsOf(counts map[string]int) (all []string) {
	for operation := range counts {
		all = append(all, operation)
	}
	return all
}
