package credential

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// TestACacheThatLagsHasNoStatusWrittenTwice: it may show what was there before the last
// write, before the one before, and what others wrote since.
func TestACacheThatLagsHasNoStatusWrittenTwice(t *testing.T) {
	m := newMemory()
	shows := func(resourceVersion string, version int64) *v1alpha1.APIClientCredential {
		return &v1alpha1.APIClientCredential{
			ObjectMeta: metav1.ObjectMeta{UID: "uid", ResourceVersion: resourceVersion}, Status: v1alpha1.APIClientCredentialStatus{Version: version},
		}
	}
	m.wrote("uid", "1", "2", v1alpha1.APIClientCredentialStatus{Version: 10})
	m.wrote("uid", "1", "3", v1alpha1.APIClientCredentialStatus{Version: 20})
	for resourceVersion, c := range map[string]struct{ shown, want int64 }{
		"1": {0, 20},  // before both writes
		"2": {10, 20}, // between them
		"3": {20, 20},
		"4": {5, 5}, // what somebody else wrote since
	} {
		if got := m.written(shows(resourceVersion, c.shown)).Version; got != c.want {
			t.Errorf("at resource version %s: the status has version %d, want %d", resourceVersion, got, c.want)
		}
	}
	m.wrote("uid", "4", "5", v1alpha1.APIClientCredentialStatus{Version: 30})
	if got := m.written(shows("2", 10)).Version; got != 10 {
		t.Errorf("what is long over is still corrected: version %d", got)
	}
}
