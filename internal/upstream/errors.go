package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
)

// ErrorClass is what a failure means for the caller: the adapter decides it once,
// from facts that only it knows.
type ErrorClass string

const (
	// Retryable: nothing was concluded; the same call may be repeated.
	Retryable ErrorClass = "Retryable"
	// Throttled: the budget of the whole issuer is used up.
	Throttled ErrorClass = "Throttled"
	// LoginFailed: the issuer's own login was refused. It is the issuer's
	// condition, never a credential's.
	LoginFailed ErrorClass = "LoginFailed"
	// Forbidden: the login works and lacks a right.
	Forbidden ErrorClass = "Forbidden"
	// InvalidSpec: what was asked for can never work as it is written.
	InvalidSpec ErrorClass = "InvalidSpec"
	// Conflict: a name or id is taken by an object that is not this request's.
	Conflict ErrorClass = "Conflict"
	// NotFound: proven absence of something that the request names.
	NotFound ErrorClass = "NotFound"
	// Pending: the upstream works on it.
	Pending ErrorClass = "Pending"
	// AwaitingUpstreamApproval: a person must approve it in the upstream.
	AwaitingUpstreamApproval ErrorClass = "AwaitingUpstreamApproval"
	// Rejected: a person or a rule of the upstream refused it for good.
	Rejected ErrorClass = "Rejected"
	// Declined: people of the upstream were asked and have said no. The version is kept, so
	// that they are not asked again until somebody requests it anew.
	Declined ErrorClass = "Declined"
	// QuotaExceeded: the upstream takes no more.
	QuotaExceeded ErrorClass = "QuotaExceeded"
	// OutcomeUnknown: the call was sent and no answer came.
	OutcomeUnknown ErrorClass = "OutcomeUnknown"
)

// Error is the only kind of error that leaves an adapter.
type Error struct {
	// Class decides what happens next.
	Class ErrorClass
	// After is how long to wait at least; zero leaves it to the caller's back-off.
	After time.Duration
	// Message is for people: what was tried, what was answered, what to do. It
	// must hold nothing secret.
	Message string
	// Err is the cause, for logs; may be nil.
	Err error
}

// Error implements error. The cause is left out: it may come from a library that
// prints whole requests.
func (e *Error) Error() string { return string(e.Class) + ": " + e.Message }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an *Error without a cause.
func Errorf(class ErrorClass, format string, args ...any) *Error {
	return &Error{Class: class, Message: fmt.Sprintf(format, args...)}
}

// ClassOf returns the class of err. An error that no adapter classified is
// Retryable: nothing may be concluded from it.
func ClassOf(err error) ErrorClass {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Retryable
}

// AfterOf returns how long err asks to wait; zero if it does not say.
func AfterOf(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.After
	}
	return 0
}

// NoAnswer makes the error of a call without a whole answer, from what the transport says. The
// cause is kept only where it is the caller's own: a library's may quote what a server
// sent. Without an effect nothing can have been left behind, whatever the method is:
// logins and searches are POSTs.
func NoAnswer(operation string, cause error, effect bool, secrets []material.Secret) *Error {
	out := Errorf(Retryable, "%s: no answer", operation)
	if own, ok := errors.AsType[*Error](cause); ok {
		out = Errorf(own.Class, "%s", Redact(own.Message, secrets))
		out.After = own.After
	}
	for _, ours := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(cause, ours) {
			out.Err = ours
		}
	}
	if out.Class == OutcomeUnknown && !effect {
		out.Class = Retryable
	}
	return out
}
