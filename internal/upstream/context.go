package upstream

import "context"

type (
	operationKey struct{}
	sendCheckKey struct{}
)

// WithOperation names the call that a request makes, for metrics and messages, for
// example "credential.create". The set of names must be small and fixed: each is a
// time series.
func WithOperation(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, operationKey{}, name)
}

func operationOf(ctx context.Context) string {
	if name, ok := ctx.Value(operationKey{}).(string); ok {
		return name
	}
	return "call"
}

// WithSendCheck has check asked before every call that is made with ctx, right before
// its bytes leave and after any wait for budget; an error keeps the call from being
// made and comes back as Retryable. It is how a caller whose claim may have run out
// meanwhile stops itself: deadlines of a context stand still while a machine sleeps
// (hazard C2).
func WithSendCheck(ctx context.Context, check func() error) context.Context {
	return context.WithValue(ctx, sendCheckKey{}, check)
}

func sendCheckOf(ctx context.Context) func() error {
	check, _ := ctx.Value(sendCheckKey{}).(func() error)
	return check
}
