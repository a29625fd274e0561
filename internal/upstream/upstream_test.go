package upstream

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
)

func TestAnErrorKeepsItsClassWhenItIsWrappedAndShowsNoCause(t *testing.T) {
	cause := errors.New("canary-cause")
	err := fmt.Errorf("issue: %w", &Error{Class: Throttled, After: time.Minute, Message: "later", Err: cause})
	if ClassOf(err) != Throttled || AfterOf(err) != time.Minute || !errors.Is(err, cause) {
		t.Errorf("%s after %v, cause found: %v", ClassOf(err), AfterOf(err), errors.Is(err, cause))
	}
	if got, want := err.Error(), "issue: Throttled: later"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestNothingIsConcludedFromAnErrorThatNobodyClassified(t *testing.T) {
	if ClassOf(io.ErrUnexpectedEOF) != Retryable || AfterOf(io.ErrUnexpectedEOF) != 0 {
		t.Errorf("%s after %v", ClassOf(io.ErrUnexpectedEOF), AfterOf(io.ErrUnexpectedEOF))
	}
}

func TestTheOwnerIsTheFirstHalfOfAWholeMark(t *testing.T) {
	for mark, want := range map[Mark]string{
		"0123456789abcdefffffffffffffffff": "0123456789abcdef", "": "", "0123456789abcdef": "", "0123456789abcdeffffffffffffffffff": "",
	} {
		if got := mark.Owner(); got != want {
			t.Errorf("%q: %q, want %q", mark, got, want)
		}
	}
}

func TestAHandleInALogShowsNoMaterial(t *testing.T) {
	var log strings.Builder
	h := Handle{Container: "realm/box", Name: "cl-x", Parameters: []byte(`{"canary":1}`), Material: material.Material{ClientSecret: material.New("canary")}}
	slog.New(slog.NewTextHandler(&log, nil)).Info("revoke", "handle", h)
	if !strings.Contains(log.String(), "handle.container=realm/box handle.name=cl-x") || strings.Contains(log.String(), "canary") {
		t.Error(log.String())
	}
}

// driver opens nothing and says so.
type driver string

func (d driver) Member() string { return string(d) }
func (d driver) Open(Settings) (Upstream, error) {
	return nil, Errorf(LoginFailed, "asked %s", string(d))
}

func TestARegistryOpensByMemberAndNamesWhatItHas(t *testing.T) {
	r := NewRegistry(driver("b"), driver("a"))
	if _, err := r.Open("a", Settings{}); ClassOf(err) != LoginFailed || !strings.Contains(err.Error(), "asked a") {
		t.Errorf("a: %v", err)
	}
	if _, err := r.Open("c", Settings{}); ClassOf(err) != InvalidSpec || !strings.Contains(err.Error(), `"c"`) || !strings.Contains(err.Error(), "[a b]") {
		t.Errorf("c: %v", err)
	}
}
