package operatortest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func condition(kind string, status metav1.ConditionStatus, message string) metav1.Condition {
	return metav1.Condition{
		Type: kind, Status: status, Reason: "Because", Message: message, ObservedGeneration: 2, LastTransitionTime: metav1.NewTime(time.Unix(1000, 0)),
	}
}

// said is a look at an object of generation 2 with these conditions.
func said(version int, conditions ...metav1.Condition) projection {
	return projection{
		kind: "APIClientCredential", namespace: "ns", name: "billing", uid: "u", resourceVersion: fmt.Sprint(version),
		generation: 2, observedGeneration: 2, conditions: conditions, whole: fmt.Sprint(conditions),
	}
}

// A lint that cannot fail is worthless.
func TestEverySinOfAStatusIsFound(t *testing.T) {
	works := condition("Ready", "True", "Secret billing-api holds version 1")
	waits := condition("Ready", "False", "the first version is being made")
	busy := condition("Reconciling", "True", "the first version is being made")
	stuck := condition("Stalled", "True", "no such app")
	with := func(change func(*projection), conditions ...metav1.Condition) projection {
		p := said(1, conditions...)
		change(&p)
		return p
	}
	for name, tc := range map[string]struct {
		said projection
		want string // empty: no sin
	}{
		"works":                         {said(1, works), ""},
		"works, and is rotated":         {said(1, works, condition("Rotating", "True", "version 1 is valid until 2026-11-26T06:11:05Z")), ""},
		"is being made":                 {said(1, waits, busy), ""},
		"is stalled":                    {said(1, waits, stuck), ""},
		"has no Ready":                  {said(1, condition("Accepted", "False", "the overlap is too long")), ""},
		"works and is stalled":          {said(1, works, stuck), "Ready=True stands beside"},
		"works and is reconciling":      {said(1, works, busy), "Ready=True stands beside"},
		"both at once":                  {said(1, waits, busy, stuck), "stand beside each other"},
		"waits and does not say how":    {said(1, waits), "without Reconciling or Stalled"},
		"a Stalled that is False":       {said(1, works, condition("Stalled", "False", "fine")), "Stalled stands there and is not True"},
		"one condition twice":           {said(1, works, works), "Ready is there twice"},
		"no reason":                     {said(1, metav1.Condition{Type: "Ready", Status: "True", Message: "m", ObservedGeneration: 2, LastTransitionTime: works.LastTransitionTime}), "lacks a reason"},
		"no message":                    {said(1, condition("Ready", "True", "")), "lacks a reason, a message"},
		"a generation of the future":    {with(func(p *projection) { p.generation = 1 }, works), "observed generation 2 and is at 1"},
		"a condition of another time":   {with(func(p *projection) { p.generation, p.observedGeneration = 3, 3 }, works), "is about generation 2 and the status about 3"},
		"a time with fractions":         {said(1, condition("Ready", "True", "checked at 2026-11-26T06:11:05.123456Z")), "tells when something happened"},
		"a time without a zone":         {said(1, condition("Ready", "True", "checked at 2026-11-26 06:11")), "tells when something happened"},
		"a time of the day":             {said(1, condition("Ready", "True", "checked at 06:11:05")), "tells when something happened"},
		"Go's own form":                 {said(1, condition("Ready", "True", "at m=+12.3")), "tells when something happened"},
		"a duration that was measured":  {said(1, condition("Ready", "True", "answered in 12.345678s")), "tells when something happened"},
		"a duration in milliseconds":    {said(1, condition("Ready", "True", "answered in 345ms")), "tells when something happened"},
		"a duration that was agreed on": {said(1, condition("Ready", "True", "within 10m0s of the next 24h")), ""},
	} {
		t.Run(name, func(t *testing.T) { wantSin(t, lintState(&tc.said), tc.want) })
	}
}

// published is a look at an object that has published a version by then.
func published(version int64, conditions ...metav1.Condition) projection {
	p := said(int(version), conditions...)
	p.version = version
	return p
}

func wantSin(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("found a sin where there is none: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("found %v, want %q", err, want)
	}
}

func TestEverySinOfAHistoryIsFound(t *testing.T) {
	works := condition("Ready", "True", "Secret billing-api holds version 1")
	fails := condition("Attention", "True", "the upstream is away")
	told := func(text string) metav1.Condition { return condition("Rotating", "True", text) }
	var flapping []projection
	for i := range 8 {
		if i%2 == 0 {
			flapping = append(flapping, said(i, works))
		} else {
			flapping = append(flapping, said(i, works, fails))
		}
	}
	edited := said(9, works)
	edited.generation, edited.observedGeneration = 3, 3
	edited.conditions[0].ObservedGeneration = 3
	for name, tc := range map[string]struct {
		history []projection
		want    string
	}{
		"an upstream that failed twice":          {flapping[:5], ""},
		"one state again and again":              {flapping, "flaps: it came into the same state 4 times"},
		"an edit begins anew":                    {append(flapping[:6:6], edited), ""},
		"a write that changed nothing":           {[]projection{said(1, works), said(1, works)}, "a status was written that changed nothing"},
		"a sin that was there for a moment":      {[]projection{said(1, works), said(2, works, condition("Stalled", "True", "x")), said(3, works)}, "Ready=True stands beside"},
		"deadlines of one version after another": {[]projection{said(1, told("1 until 2026-11-26T06:11:05Z")), said(2, told("2 until 2026-11-26T06:12:05Z")), said(3, told("3 until 2026-11-26T06:13:05Z"))}, ""},
		"deadlines that a new publication moves": {[]projection{
			published(1, told("1 until 2026-11-26T06:11:05Z")), published(2, told("1 until 2026-11-26T06:12:05Z")), published(3, told("1 until 2026-11-26T06:13:05Z")),
		}, ""},
		"a message that tells when it was looked at": {[]projection{said(1, told("seen 2026-11-26T06:11:05Z")), said(2, told("seen 2026-11-26T06:11:06Z")), said(3, told("seen 2026-11-26T06:11:07Z"))}, "tells one time after the other"},
	} {
		t.Run(name, func(t *testing.T) { wantSin(t, lintHistory(tc.history), tc.want) })
	}
}

func TestLooksWithNothingInBetweenAreTheSame(t *testing.T) {
	works, other := said(1, condition("Ready", "True", "a")), said(2, condition("Ready", "True", "b"))
	again := works
	again.resourceVersion = "2"
	edited := again
	edited.generation = 3
	look := func(p projection) map[string]projection { return map[string]projection{p.uid: p} }
	wantSin(t, lintLooks(look(works), look(works)), "")
	wantSin(t, lintLooks(nil, look(works)), "")
	wantSin(t, lintLooks(look(works), look(edited)), "")
	wantSin(t, lintLooks(look(works), look(other)), "changes its status though nothing happens")
	wantSin(t, lintLooks(look(works), look(again)), "written though nothing happens and nothing changes")
}

func TestAStatusIsReadAsTheAPIServerWritesIt(t *testing.T) {
	p, err := project([]byte(`{
		"kind": "CredentialIssuer", "metadata": {
			"name": "apic", "namespace": "ns", "uid": "u", "resourceVersion": "7", "generation": 3, "deletionTimestamp": "2026-11-26T06:11:05Z"
		},
		"status": {"observedGeneration": 3, "conditions": [{
			"type": "Ready", "status": "True", "reason": "LoggedIn", "message": "m", "observedGeneration": 3, "lastTransitionTime": "2026-11-26T06:11:05Z"
		}]}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.String() != "CredentialIssuer ns/apic" || p.uid != "u" || p.resourceVersion != "7" || p.generation != 3 || !p.deleting || p.observedGeneration != 3 {
		t.Errorf("read %+v", p)
	}
	wantSin(t, lintState(&p), "")
	if want := "generation 3, version 0; Ready=True LoggedIn: m"; p.state() != want {
		t.Errorf("state %q, want %q", p.state(), want)
	}
}

func TestFiguresCountWhatOperatorsWrite(t *testing.T) {
	got, err := figures(`# HELP apiserver_request_total Counter
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="PUT",version="v1"} 3
apiserver_request_total{code="409",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="PUT",version="v1"} 1
apiserver_request_total{code="201",component="apiserver",dry_run="All",group="",resource="secrets",scope="resource",subresource="",verb="POST",version="v1"} 9
apiserver_request_total{code="200",component="apiserver",dry_run="",group="credentials.claviger.dev",resource="apiclientcredentials",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 1.2e+01
apiserver_request_total{code="200",component="apiserver",dry_run="",group="coordination.k8s.io",resource="leases",scope="resource",subresource="",verb="PUT",version="v1"} 99
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="GET",version="v1"} 50
`)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "map[PATCH apiclientcredentials/status:12 PUT secrets:4]" {
		t.Errorf("figures: %v", got)
	}
	if _, err := figures("nothing here"); err == nil {
		t.Error("metrics that count nothing are taken for rest")
	}
}
