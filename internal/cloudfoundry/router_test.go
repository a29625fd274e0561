package cloudfoundry

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// A 404 of the router is about an application that is not running, and proves nothing of what
// was asked for.
func TestWhatARouterSaysIsNotTheApplications(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Cf-RouterError", "unknown_route canary")
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint{name: "the server", base: base, http: server.Client(), secrets: []material.Secret{material.New("canary")}}
	for effect, want := range map[bool]upstream.ErrorClass{false: upstream.Retryable, true: upstream.OutcomeUnknown} {
		r, err := e.exchange(t.Context(), call{operation: "thing.read", method: http.MethodGet, effect: effect})
		if err != nil {
			t.Fatal(err)
		}
		said := r.refusal("")
		if r.status != http.StatusServiceUnavailable || said.Class != want || !strings.Contains(said.Message, "unknown_route [redacted]") {
			t.Errorf("status %d, %v", r.status, said)
		}
	}
}
