package operatortest

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/canary"
)

// A search that skips a place would find nothing there for ever: a leak is planted in each,
// by a process that lives and by one that was killed.
func TestAPlantedLeakIsFoundWhereverItIs(t *testing.T) {
	const leak = "correct-horse-battery-staple"
	for place, want := range map[string]string{
		"":             "",
		"log":          "the operator's log",
		"log of dead":  "the operator's log",
		"command line": "the command line",
		"metrics":      "the metrics",
		"audit log":    "the API server's audit log",
		"annotation":   "APIClientCredentialList",
		"message":      "APIClientCredentialList",
		"Secret":       "", // where it belongs
	} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			// at is what stands at a place: the leak, if it is planted there.
			at := func(here string) string {
				if here == place {
					return "login with " + leak + " failed"
				}
				return "nothing to see"
			}
			w := leaky(t, at)
			w.canaries.Add("password", leak)
			err := w.Leaks(t.Context())
			switch {
			case want == "" && err != nil:
				t.Errorf("found where it is not, or where it belongs: %v", err)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want+" holds a password")):
				t.Errorf("got %v, want %s to hold a password", err, want)
			}
			if err != nil && strings.Contains(err.Error(), leak) {
				t.Errorf("the report tells the secret: %v", err)
			}
		})
	}
}

// Who looks for nothing finds nothing.
func TestASearchForNothingFails(t *testing.T) {
	w := leaky(t, func(string) string { return "nothing to see" })
	if err := w.Leaks(t.Context()); err == nil {
		t.Error("a world without a single secret counts as searched")
	}
}

// leaky is a world of two processes, one alive and one dead, with a text at each place.
func leaky(t *testing.T, at func(place string) string) *World {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	metrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(at("metrics"))) // a reader that has gone is seen by the reader
	}))
	t.Cleanup(metrics.Close)
	folder := t.TempDir()
	dead := make(chan struct{})
	close(dead)
	w := &World{
		folder: folder, canaries: &canary.Canaries{},
		operators: []*Operator{
			{log: filepath.Join(folder, "1.log"), metrics: metrics.URL, gone: make(chan struct{}), commandLine: at("command line")},
			{log: filepath.Join(folder, "2.log"), gone: dead},
		},
		Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(
			&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s"}, Data: map[string][]byte{"password": []byte(at("Secret"))}},
			&v1alpha1.APIClientCredential{
				ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c", Annotations: map[string]string{"note": at("annotation")}},
				Status:     v1alpha1.APIClientCredentialStatus{Conditions: []metav1.Condition{{Type: "Ready", Message: at("message")}}},
			},
		).Build(),
	}
	for name, text := range map[string]string{"1.log": at("log"), "2.log": at("log of dead"), "audit.jsonl": at("audit log")} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w
}
