package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"sync/atomic"
	"time"
)

const (
	// defaultTimeout leaves room below the 60 s in which the process must stop: a
	// call of 20 s and 30 s for writing down its answer (hazard H5).
	defaultTimeout = 20 * time.Second
	// defaultMaxAnswer holds a page of a thousand objects several times over.
	defaultMaxAnswer = 4 << 20
	// maxAnswerHeader bounds what is read before a body limit could apply.
	maxAnswerHeader = 256 << 10
	// maxCABundle bounds what is parsed as certificates: huge ones burn CPU.
	maxCABundle = 1 << 20
)

// TransportOptions say how calls travel. NewTransport makes a round tripper of
// them.
type TransportOptions struct {
	// CABundle is PEM of the only authorities that are trusted; empty means the
	// system's.
	CABundle []byte
	// ClientCertificate, if set, is presented to a server that asks for one, in the
	// handshake or by renegotiation. Renegotiation ended with TLS 1.2, so no newer version
	// is spoken then: use it for the calls that need it and no others.
	ClientCertificate *tls.Certificate
	// AllowPlainHTTP and AllowLoopback are for tests and the demo alone: loopback is
	// the operator's own pod.
	AllowPlainHTTP bool
	AllowLoopback  bool
	// PerSecond and Burst are the issuer's budget of calls. Zero means 10 a second
	// and twice as many at once.
	PerSecond float64
	Burst     int
	// UserAgent names us to the upstream.
	UserAgent string
	// Timeout of one call from dialling to the last byte; zero means 20 s. Waiting
	// for budget is not part of it.
	Timeout time.Duration
	// MaxAnswer is the largest answer in bytes that is read; zero means 4 MiB. A
	// longer one is an error, never a shorter answer.
	MaxAnswer int64
	// Observe, if set, is told of every call: operation, answer class ("2xx", "4xx",
	// "error" if there was no answer, "budget" if it was not made for want of budget),
	// duration until the answer's headers, and how long it waited for budget.
	Observe func(operation, result string, took, waited time.Duration)
}

// NewTransport makes a round tripper of options; a bad option is InvalidSpec.
//
// Every error of RoundTrip, and of reading an answer's body, is an *Error. The class
// tells what an adapter cannot see from outside: Retryable if no connection was had,
// so that nothing can have left, or if the method is a safe one (GET, HEAD);
// OutcomeUnknown if bytes of any other method may have left; Throttled for want of
// budget; InvalidSpec if the address may not be called at all.
//
// A 429, and a 503 with Retry-After, pauses all calls of this transport for as long
// as the answer asks: an upstream throttles accounts, not single calls.
//
// It never follows redirects, and neither may whoever wraps it: see NewClient.
func NewTransport(options TransportOptions) (http.RoundTripper, error) {
	roots, err := parseCABundle(options.CABundle)
	if err != nil {
		return nil, err
	}
	calls, err := newBudget(options.PerSecond, options.Burst)
	if err != nil {
		return nil, err
	}
	if options.Timeout <= 0 {
		options.Timeout = defaultTimeout
	}
	if options.MaxAnswer <= 0 {
		options.MaxAnswer = defaultMaxAnswer
	}
	guard := addressGuard{allowLoopback: options.AllowLoopback}
	secured := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	if options.ClientCertificate != nil {
		secured.Certificates = []tls.Certificate{*options.ClientCertificate}
		secured.MaxVersion, secured.Renegotiation = tls.VersionTLS12, tls.RenegotiateOnceAsClient
	}
	dialer := &net.Dialer{Timeout: options.Timeout, ControlContext: guard.control}
	return &transport{
		options: options,
		guard:   guard,
		budget:  calls,
		inner: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        secured,
			TLSHandshakeTimeout:    options.Timeout,
			MaxResponseHeaderBytes: maxAnswerHeader,
			MaxIdleConnsPerHost:    16,
			IdleConnTimeout:        90 * time.Second,
			// HTTP/2 forbids renegotiation.
			ForceAttemptHTTP2: options.ClientCertificate == nil,
			// Without pings a connection that a firewall forgot costs every call on it
			// the whole timeout.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
		},
	}, nil
}

// NewClient returns a client on NewTransport(options) that hands redirects to its
// caller instead of following them: credentials never reach a host that nobody named.
func NewClient(options TransportOptions) (*http.Client, error) {
	carrier, err := NewTransport(options)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport:     carrier,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// transport is the issuer's carrier of calls.
type transport struct {
	options TransportOptions
	guard   addressGuard
	budget  *budget
	inner   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	operation := operationOf(request.Context())
	waited, err := t.prepare(request, operation)
	if err != nil {
		if request.Body != nil {
			_ = request.Body.Close() // the contract of RoundTripper, also without a call
		}
		return nil, err
	}
	ctx, cancel := context.WithTimeout(request.Context(), t.options.Timeout)
	var connected atomic.Bool
	// From the moment a connection is had, bytes may leave at any time; asking for
	// "headers written" instead would race with a cancelled HTTP/2 stream.
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	outgoing := request.Clone(ctx)
	if t.options.UserAgent != "" && outgoing.Header.Get("User-Agent") == "" {
		outgoing.Header.Set("User-Agent", t.options.UserAgent)
	}

	started := time.Now()
	response, err := t.inner.RoundTrip(outgoing)
	took := time.Since(started)
	if err != nil {
		cancel()
		t.observe(operation, "error", took, waited)
		return nil, failure(request, connected.Load(), err)
	}
	t.observe(operation, fmt.Sprintf("%dxx", response.StatusCode/100), took, waited)
	if pause, throttled := ThrottledAfter(response, time.Now()); throttled {
		t.budget.pause(pause)
	}
	response.Body = &answer{inner: response.Body, left: t.options.MaxAnswer, limit: t.options.MaxAnswer, cancel: cancel, request: request}
	return response, nil
}

// prepare refuses addresses that must not be called and takes budget for the call.
func (t *transport) prepare(request *http.Request, operation string) (waited time.Duration, err error) {
	if err := t.admit(request.URL); err != nil {
		return 0, err
	}
	waited, err = t.budget.take(request.Context())
	if err != nil {
		t.observe(operation, "budget", 0, waited)
		return waited, err
	}
	// After the wait, not before: a claim may run out while a call waits for budget
	// (hazard C2).
	if check := sendCheckOf(request.Context()); check != nil {
		if err := check(); err != nil {
			return waited, &Error{Class: Retryable, Message: operation + " was not sent: " + Excerpt(err.Error()), Err: err}
		}
	}
	return waited, nil
}

// admit checks what can be known before names are resolved. The check of literal
// addresses is repeated at dialling; here it also covers calls that go by a proxy.
func (t *transport) admit(target *url.URL) error {
	switch {
	case target.Scheme == "https":
	case target.Scheme == "http" && t.options.AllowPlainHTTP:
	default:
		return Errorf(InvalidSpec, "%s is refused: only https is called", Excerpt(target.Scheme+"://"+target.Host))
	}
	return t.guard.literal(target.Hostname())
}

func (t *transport) observe(operation, result string, took, waited time.Duration) {
	if t.options.Observe != nil {
		t.options.Observe(operation, result, took, waited)
	}
}

// failure classifies a call without an answer, or with half of one.
func failure(request *http.Request, connected bool, cause error) *Error {
	// The address guard, which speaks from inside the dialler, has classified already.
	if own, ok := errors.AsType[*Error](cause); ok {
		return own
	}
	where := operationOf(request.Context()) + " at " + Excerpt(request.URL.Host)
	if !connected {
		return &Error{Class: Retryable, Message: where + ": cannot connect: " + reason(cause), Err: cause}
	}
	if request.Method == http.MethodGet || request.Method == http.MethodHead {
		return &Error{Class: Retryable, Message: where + ": no answer: " + reason(cause), Err: cause}
	}
	return &Error{Class: OutcomeUnknown, Message: where + ": sent, and no whole answer came: " + reason(cause), Err: cause}
}

// streamID is the only thing that differs between two failures of HTTP/2 for the same
// reason.
var streamID = regexp.MustCompile(`stream ID \d+`)

// reason words a cause so that a person knows what to do, and so that the same cause
// has the same words each time: they end up in conditions, where ports and clock
// times would make every try a new message and every message a write.
func reason(cause error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](cause); ok {
		return "its certificate is signed by an authority that is not trusted; a private one belongs in the issuer's CA bundle"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](cause); ok && invalid.Reason == x509.Expired {
		return "its certificate has expired or is not valid yet"
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return "it took too long"
	}
	if lookup, ok := errors.AsType[*net.DNSError](cause); ok {
		return "its name cannot be resolved: " + Excerpt(lookup.Err)
	}
	if operation, ok := errors.AsType[*net.OpError](cause); ok && operation.Err != nil {
		return Excerpt(operation.Op + ": " + operation.Err.Error())
	}
	return Excerpt(streamID.ReplaceAllString(cause.Error(), "stream"))
}

// answer is a body that ends in an error where it grows too long, and frees the
// call's context when it is closed.
type answer struct {
	inner   io.ReadCloser
	left    int64
	limit   int64
	cancel  context.CancelFunc
	request *http.Request
}

func (a *answer) Read(buffer []byte) (int, error) {
	read, err := a.inner.Read(buffer)
	a.left -= int64(read)
	if a.left < 0 {
		return 0, failure(a.request, true, fmt.Errorf("the answer is longer than %d bytes", a.limit))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return read, failure(a.request, true, err)
	}
	// A body cut short is io.ErrUnexpectedEOF, which is not io.EOF to errors.Is.
	return read, err
}

func (a *answer) Close() error {
	defer a.cancel()
	return a.inner.Close()
}

// parseCABundle is strict where x509.CertPool.AppendCertsFromPEM skips: a bundle of
// which half is unreadable would fail later, at some upstream, for no visible reason.
func parseCABundle(bundle []byte) (*x509.CertPool, error) {
	if len(bundle) == 0 {
		return nil, nil
	}
	if len(bundle) > maxCABundle {
		return nil, Errorf(InvalidSpec, "the CA bundle has %d bytes, the limit is %d", len(bundle), maxCABundle)
	}
	pool, found := x509.NewCertPool(), 0
	rest := bundle
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, Errorf(InvalidSpec, "the CA bundle holds a block of type %q; it takes certificates only", Excerpt(block.Type))
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, Errorf(InvalidSpec, "certificate %d of the CA bundle cannot be read: %s", found+1, Excerpt(err.Error()))
		}
		pool.AddCert(certificate)
		found++
	}
	// pem.Decode skips a block that it cannot decode, so a broken one in the middle is
	// noticed by counting.
	if began := bytes.Count(bundle, []byte("-----BEGIN ")); found == 0 || began != found {
		return nil, Errorf(InvalidSpec, "the CA bundle begins %d blocks of PEM and %d of them are certificates", began, found)
	}
	return pool, nil
}

// Authorities reads PEM of the only authorities that are trusted; nil, for an empty one, means
// the system's. A bundle of which a part cannot be read is InvalidSpec.
func Authorities(bundle []byte) (*x509.CertPool, error) { return parseCABundle(bundle) }

// Cause words why a connection failed, the same each time and without what was sent.
func Cause(err error) string { return reason(err) }
