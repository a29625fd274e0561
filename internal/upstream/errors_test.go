package upstream

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/claviger-dev/claviger/internal/material"
)

func TestForeignTextHoldsNoSecret(t *testing.T) {
	secrets := []material.Secret{material.New("s3cr3t"), {}, material.New("other")}
	if got := Redact("bad s3cr3t,\nand other s3cr3t", secrets); got != "bad [redacted], and [redacted] [redacted]" {
		t.Error(got)
	}
}

func TestACallWithoutAWholeAnswer(t *testing.T) {
	secrets := []material.Secret{material.New("s3cr3t")}
	for _, c := range []struct {
		when   string
		cause  error
		effect bool
		want   Error
	}{
		{"what the transport says is kept", &Error{Class: Throttled, After: time.Second, Message: "wait"}, true, Error{Class: Throttled, After: time.Second, Message: "wait"}},
		{"but for secrets", &Error{Class: Retryable, Message: "no s3cr3t here"}, true, Error{Class: Retryable, Message: "no [redacted] here"}},
		{"an effect may have happened", &Error{Class: OutcomeUnknown, Message: "cut"}, true, Error{Class: OutcomeUnknown, Message: "cut"}},
		{"what has none is asked again", &Error{Class: OutcomeUnknown, Message: "cut"}, false, Error{Class: Retryable, Message: "cut"}},
		{"what a library says is not quoted", errors.New("s3cr3t"), true, Error{Class: Retryable, Message: "key.list: no answer"}},
		{"that we gave up is known", fmt.Errorf("s3cr3t: %w", context.Canceled), false, Error{Class: Retryable, Message: "key.list: no answer", Err: context.Canceled}},
		{"and that we had no time", &Error{Class: OutcomeUnknown, Message: "late", Err: context.DeadlineExceeded}, true, Error{Class: OutcomeUnknown, Message: "late", Err: context.DeadlineExceeded}},
	} {
		if diff := cmp.Diff(c.want, *NoAnswer("key.list", c.cause, c.effect, secrets), cmpopts.EquateErrors()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.when, diff)
		}
	}
}
