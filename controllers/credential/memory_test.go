package credential

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// TestACacheThatLagsHasNoStatusWrittenTwice: it may show what was there before the last
// write or the one before, and what others wrote in between.
func TestACacheThatLagsHasNoStatusWrittenTwice(t *testing.T) {
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	m := newMemory()
	m.wrote("uid", "97", noon, v1alpha1.APIClientCredentialStatus{Version: 10})
	m.wrote("uid", "100", noon, v1alpha1.APIClientCredentialStatus{Version: 20})
	for _, c := range []struct {
		when, resourceVersion string
		after                 time.Duration
		shown, want           int64
	}{
		{"before both writes", "96", 0, 0, 20},
		{"between them", "97", 0, 10, 20},
		{"when somebody else had written between them", "99", lag - 1, 10, 20},
		{"the last write", "100", 0, 20, 20},
		{"what somebody else has written since", "101", 0, 5, 5},
		{"what a restored database holds", "96", lag, 0, 0},
	} {
		shown := &v1alpha1.APIClientCredential{
			ObjectMeta: metav1.ObjectMeta{UID: "uid", ResourceVersion: c.resourceVersion}, Status: v1alpha1.APIClientCredentialStatus{Version: c.shown},
		}
		if got := m.written(shown, noon.Add(c.after)).Version; got != c.want {
			t.Errorf("the cache shows %s: the status has version %d, want %d", c.when, got, c.want)
		}
	}
}

func TestAStatusThatTheCacheShowsIsNotHeldTwice(t *testing.T) {
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	m := newMemory()
	m.wrote("early", "1", noon, v1alpha1.APIClientCredentialStatus{Version: 1})
	m.wrote("late", "2", noon.Add(lag-1), v1alpha1.APIClientCredentialStatus{Version: 1})
	m.wrote("now", "3", noon.Add(lag), v1alpha1.APIClientCredentialStatus{Version: 1})
	held := slices.Sorted(maps.Keys(m.projected))
	if diff := cmp.Diff([]types.UID{"late", "now"}, held); diff != "" {
		t.Error(diff)
	}
}
