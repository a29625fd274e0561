package credential

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// TestConditionsKeepTheContractOfKstatus goes through every combination of what is
// published, what is decided and what is wrong: Flux, Argo CD and kubectl wait read
// the conditions by these rules.
func TestConditionsKeepTheContractOfKstatus(t *testing.T) {
	problems := []*rotation.Problem{nil, {Reason: "Waits", Message: "waits"}, {Reason: "Broken", Message: "broken", Stalled: true}}
	notices := []*rotation.Problem{nil, {Reason: v1alpha1.ReasonOverlap, Message: "o"}, {Reason: v1alpha1.ReasonVerifying, Message: "v"}, {Reason: v1alpha1.ReasonQueued, Message: "q"}}
	for _, published := range []int64{0, 1} {
		for _, refused := range []bool{false, true} {
			for _, deleting := range []bool{false, true} {
				for _, problem := range problems {
					for _, notice := range notices {
						s := &scope{credential: &v1alpha1.APIClientCredential{}, ambiguous: "other"}
						s.credential.Generation = 7
						o := rotation.Observed{
							Credential: rotation.Credential{Exists: true, Deleting: deleting},
							Target:     rotation.Target{Published: published},
							Versions:   []rotation.Version{{Number: 1, IntentAt: noon, Refused: refused}},
						}
						conditions := []metav1.Condition{
							{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue}, {Type: v1alpha1.ConditionReconciling, Status: metav1.ConditionTrue},
						}
						step := rotation.Step{Problem: problem, Notice: notice}
						s.describeConditions(&conditions, o, step, noon.Add(time.Hour))
						requireContract(t, conditions, published == 1 && !refused && !deleting)
					}
				}
			}
		}
	}
}

func requireContract(t *testing.T, conditions []metav1.Condition, ready bool) {
	t.Helper()
	present := map[string]bool{}
	for _, c := range conditions {
		if c.ObservedGeneration != 7 || c.Reason == "" || c.Message == "" {
			t.Errorf("incomplete: %+v", c)
		}
		if c.Type != v1alpha1.ConditionReady && c.Status != metav1.ConditionTrue {
			t.Errorf("%s stands there without being True", c.Type)
		}
		present[c.Type] = true
	}
	if got := meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady); got != ready || !present[v1alpha1.ConditionReady] {
		t.Errorf("Ready is %v, want %v: %+v", got, ready, conditions)
	}
	busy, stalled := present[v1alpha1.ConditionReconciling], present[v1alpha1.ConditionStalled]
	if ready && (busy || stalled) || !ready && busy == stalled {
		t.Errorf("ready=%v with Reconciling=%v and Stalled=%v", ready, busy, stalled)
	}
	if !present[v1alpha1.ConditionPolicyAmbiguous] {
		t.Error("two policies select it, and nothing says so")
	}
}

func TestWhereAVersionIsInItsLife(t *testing.T) {
	for name, tc := range map[string]struct {
		version rotation.Version
		want    v1alpha1.VersionState
	}{
		"not published yet":        {rotation.Version{Number: 3}, v1alpha1.VersionIssuing},
		"published":                {rotation.Version{Number: 2}, v1alpha1.VersionPublished},
		"published before":         {rotation.Version{Number: 1}, v1alpha1.VersionOverlapping},
		"deleted":                  {rotation.Version{Number: 1, Terminating: true}, v1alpha1.VersionRetiring},
		"never accepted":           {rotation.Version{Number: 3, Failed: true, Terminating: true}, v1alpha1.VersionFailed},
		"ended, and still in use":  {rotation.Version{Number: 2, EndedBy: 3}, v1alpha1.VersionPublished},
		"ended by the published":   {rotation.Version{Number: 1, EndedBy: 2}, v1alpha1.VersionRetiring},
		"deleted and still in use": {rotation.Version{Number: 2, Terminating: true}, v1alpha1.VersionRetiring},
	} {
		if got := stateOf(tc.version, 2); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestALongMessageIsCut(t *testing.T) {
	long := make([]byte, 5000)
	for i := range long {
		long[i] = 'x'
	}
	if got := len(clip(string(long))); got > 1100 {
		t.Errorf("%d characters", got)
	}
}

// directory is an upstream that knows owners, by the parameters.
type directory struct {
	upstream.Upstream
	owners map[string]string
}

func (directory) ReadOwners(context.Context) error            { return nil }
func (d directory) OwnerOf(parameters json.RawMessage) string { return d.owners[string(parameters)] }

func TestWhomTheUpstreamNamesAsTheOwner(t *testing.T) {
	knows := directory{owners: map[string]string{"billing": "jo@acme.example", "odd": strings.Repeat("x", 400)}}
	for name, test := range map[string]struct {
		account    upstream.Upstream
		parameters string
		want       string
	}{
		"whom it names":                     {knows, "billing", "jo@acme.example"},
		"what it does not know stays":       {knows, "tracking", "before@acme.example"},
		"what is no address is not written": {knows, "odd", "before@acme.example"},
		"an upstream that does not tell":    {nil, "billing", "before@acme.example"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scope{parameters: []byte(test.parameters)}
			s.account.Upstream = test.account
			if got := s.owner("before@acme.example"); got != test.want {
				t.Errorf("the owner is %q, want %q", got, test.want)
			}
		})
	}
}
