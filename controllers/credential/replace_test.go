package credential

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
)

func TestWhatTheJournalSaysOfAReplacement(t *testing.T) {
	one := journal.Version{Number: 1, Nonce: "one"}
	two := journal.Version{Number: 2, Nonce: "two", Replaces: "one", InPlace: true}
	answered, replaced, follows := two, two, two
	answered.AnsweredAt = noon
	replaced.AnsweredAt, replaced.ReplacedAt = noon, noon
	follows.InPlace = false
	for name, c := range map[string]struct {
		versions []journal.Version
		want     []rotation.Version
	}{
		"before the answer the predecessor may be dead": {[]journal.Version{one, two}, []rotation.Version{{}, {InPlaceOf: 1}}},
		"the answer says that it is":                    {[]journal.Version{one, replaced}, []rotation.Version{{EndedAt: noon, EndedBy: 2}, {InPlaceOf: 1, ReplacedAt: noon}}},
		"or that the successor is an object of its own": {[]journal.Version{one, answered}, []rotation.Version{{}, {}}},
		"a successor that was to be one replaces none":  {[]journal.Version{one, follows}, []rotation.Version{{}, {}}},
		"a predecessor that is forgotten is no matter":  {[]journal.Version{replaced}, []rotation.Version{{ReplacedAt: noon}}},
	} {
		s := &scope{versions: c.versions}
		got := make([]rotation.Version, len(c.versions))
		for i := range c.versions {
			s.observeReplacement(&c.versions[i], &got[i])
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestForHowLongTheSecretHeldWhatHadEnded(t *testing.T) {
	at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	one := journal.Version{Number: 1, Nonce: "one"}
	lost := journal.Version{Number: 2, Nonce: "two", Replaces: "one", InPlace: true, IntentAt: at(1)}
	replaced := journal.Version{Number: 3, Nonce: "three", Replaces: "one", InPlace: true, IntentAt: at(2), AnsweredAt: at(4), ReplacedAt: at(4)}
	alone := journal.Version{Number: 4, Nonce: "four", Replaces: "one", InPlace: true, IntentAt: noon, AnsweredAt: at(1)}
	for name, c := range map[string]struct {
		versions []journal.Version
		want     time.Time
	}{
		"since the answer":                             {[]journal.Version{one, replaced}, at(4)},
		"since the intent of a call that nobody saw":   {[]journal.Version{one, lost, replaced}, at(1)},
		"never where an object of its own was made":    {[]journal.Version{one, alone}, time.Time{}},
		"never where the Secret held something else":   {[]journal.Version{{Number: 1, Nonce: "other"}, replaced}, time.Time{}},
		"never where what it held before is not known": {[]journal.Version{replaced}, time.Time{}},
	} {
		if got := (&scope{versions: c.versions}).replacedSince(1); !got.Equal(c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestTheHistoryTellsOfAReplacement(t *testing.T) {
	for name, c := range map[string]struct {
		replaced, published time.Time
		want                *v1alpha1.Replacement
	}{
		"none": {time.Time{}, noon, nil},
		"within a second": {
			noon.Add(300 * time.Millisecond), noon,
			&v1alpha1.Replacement{At: metav1.NewTime(noon), SecretAfter: metav1.Duration{Duration: time.Second}},
		},
		"after two seconds": {
			noon, noon.Add(2 * time.Second),
			&v1alpha1.Replacement{At: metav1.NewTime(noon), SecretAfter: metav1.Duration{Duration: 3 * time.Second}},
		},
		"by another clock": {noon.Add(time.Hour), noon, &v1alpha1.Replacement{At: metav1.NewTime(noon.Add(time.Hour))}},
	} {
		s := &scope{target: journal.Target{PublishedAt: c.published}}
		if diff := cmp.Diff(c.want, s.replacement(&journal.Version{ReplacedAt: c.replaced})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestASecretThatHoldsWhatHasEndedIsNotReady(t *testing.T) {
	o := rotation.Observed{
		Target:   rotation.Target{Published: 1},
		Versions: []rotation.Version{{Number: 1, EndedAt: noon, EndedBy: 2}, {Number: 2}},
	}
	ready, why := (&scope{}).ready(o, rotation.Step{}, noon)
	want := &rotation.Problem{Reason: "Replaced", Message: "version 1, which the Secret holds, has ended at " + noon.Format(time.RFC3339) + " with the making of version 2; its successor is being made"}
	if diff := cmp.Diff(want, why); ready || diff != "" {
		t.Errorf("ready: %v (-want +got):\n%s", ready, diff)
	}
}
