package upstream

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// serve starts a TLS server and returns it with options that reach it.
func serve(t *testing.T, handler http.HandlerFunc) (*httptest.Server, TransportOptions) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	return server, TransportOptions{CABundle: certificateOf(server), AllowLoopback: true, Burst: 1000, Timeout: 5 * time.Second}
}

func certificateOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// call makes one call by a new client and returns its body.
func call(t *testing.T, options TransportOptions, method, url string) ([]byte, int, error) {
	t.Helper()
	client, err := NewClient(options)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	return send(t, client, method, url)
}

func send(t *testing.T, client *http.Client, method, url string) ([]byte, int, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(WithOperation(t.Context(), "thing.read"), method, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return body, response.StatusCode, err
}

func TestACallWithoutAnAnswerIsClassifiedByWhetherItMayHaveLeft(t *testing.T) {
	closed := httptest.NewTLSServer(http.NotFoundHandler())
	closed.Close()
	cut := func(_ http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	half := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte(`{"id":"on`))
		panic(http.ErrAbortHandler)
	}
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a server notices a closed connection only after the body
		<-r.Context().Done()
	}
	long := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte(" "), 2000)) }
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		url     string
		change  func(*TransportOptions)
		method  string
		want    ErrorClass
		says    string
	}{
		"nobody listens":                                {url: closed.URL, method: "POST", want: Retryable, says: "cannot connect"},
		"the name does not resolve":                     {url: "https://upstream.invalid", method: "POST", want: Retryable, says: "cannot connect"},
		"its certificate is not trusted":                {handler: cut, change: func(o *TransportOptions) { o.CABundle = nil }, method: "POST", want: Retryable, says: "CA bundle"},
		"a POST is cut":                                 {handler: cut, method: "POST", want: OutcomeUnknown, says: "sent"},
		"a DELETE is cut":                               {handler: cut, method: "DELETE", want: OutcomeUnknown, says: "sent"},
		"a GET is cut":                                  {handler: cut, method: "GET", want: Retryable, says: "no answer"},
		"the answer to a POST is cut half way":          {handler: half, method: "POST", want: OutcomeUnknown, says: "sent"},
		"the answer to a GET is cut half way":           {handler: half, method: "GET", want: Retryable, says: "no answer"},
		"the answer to a POST never comes":              {handler: hang, change: func(o *TransportOptions) { o.Timeout = 50 * time.Millisecond }, method: "POST", want: OutcomeUnknown, says: "too long"},
		"the answer to a POST is longer than it may be": {handler: long, change: func(o *TransportOptions) { o.MaxAnswer = 1999 }, method: "POST", want: OutcomeUnknown, says: "longer than 1999 bytes"},
		"the answer to a GET is longer than it may be":  {handler: long, change: func(o *TransportOptions) { o.MaxAnswer = 1999 }, method: "GET", want: Retryable, says: "longer than 1999 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			options := TransportOptions{AllowLoopback: true, Timeout: 5 * time.Second}
			url := tc.url
			if tc.handler != nil {
				var server *httptest.Server
				server, options = serve(t, tc.handler)
				server.Config.ErrorLog = nil
				url = server.URL
			}
			if tc.change != nil {
				tc.change(&options)
			}
			_, _, err := call(t, options, tc.method, url)
			if err == nil || ClassOf(err) != tc.want || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want class %s that says %q", err, tc.want, tc.says)
			}
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("%T is no *Error", err)
			}
		})
	}
}

func TestAnAnswerAsLongAsTheLimitIsReadWhole(t *testing.T) {
	want := bytes.Repeat([]byte("x"), 2000)
	server, options := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(want) })
	options.MaxAnswer = 2000
	got, _, err := call(t, options, "GET", server.URL)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes and %v", len(got), err)
	}
}

func TestWhatMayNotBeCalledIsInvalidSpecAndNotCalled(t *testing.T) {
	reached := false
	server, reachable := serve(t, func(http.ResponseWriter, *http.Request) { reached = true })
	strict := reachable
	strict.AllowLoopback = false
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		options TransportOptions
		url     string
	}{
		"loopback":                         {strict, server.URL},
		"a name that resolves to loopback": {strict, "https://localhost:" + port},
		"loopback written as IPv6":         {strict, "https://[::ffff:127.0.0.1]:" + port},
		"plain http":                       {reachable, "http://127.0.0.1:" + port},
		"another scheme":                   {reachable, "ftp://127.0.0.1:" + port},
		"link-local":                       {reachable, "https://169.254.169.254/latest/meta-data"},
		"link-local in NAT64":              {reachable, "https://[64:ff9b::a9fe:a9fe]/"},
		"link-local IPv6":                  {reachable, "https://[fe80::1%25lo]/"},
		"metadata of AWS by IPv6":          {reachable, "https://[fd00:ec2::254]/"},
		"metadata of Azure":                {reachable, "https://168.63.129.16/"},
		"multicast":                        {reachable, "https://224.0.0.1/"},
		"broadcast":                        {reachable, "https://255.255.255.255/"},
		"unspecified":                      {reachable, "https://0.0.0.0:" + port},
		"unspecified IPv6":                 {reachable, "https://[::]:" + port},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := call(t, tc.options, "GET", tc.url)
			if ClassOf(err) != InvalidSpec {
				t.Errorf("got %v, want InvalidSpec", err)
			}
		})
	}
	if reached {
		t.Error("the server was reached")
	}
}

func TestAnAddressIsRefusedEvenIfAProxyWouldDialIt(t *testing.T) {
	carrier, err := NewTransport(TransportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for address, refused := range map[string]bool{
		"https://169.254.169.254/": true, "https://[fe80::1]/": true, "https://127.0.0.1/": true, "https://10.0.0.1/": false, "https://platform.example/": false,
	} {
		target, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		// Behind a proxy the dialler sees the proxy's address and no other.
		if err := carrier.(*transport).admit(target); (err != nil) != refused {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestPlainHTTPIsCalledWhereItIsAllowed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	if _, status, err := call(t, TransportOptions{AllowLoopback: true, AllowPlainHTTP: true}, "GET", server.URL); err != nil || status != 200 {
		t.Errorf("%d, %v", status, err)
	}
}

func TestARedirectIsHandedBackAndNotFollowed(t *testing.T) {
	followed := false
	target, _ := serve(t, func(http.ResponseWriter, *http.Request) { followed = true })
	server, options := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target.URL, http.StatusTemporaryRedirect)
	})
	_, status, err := call(t, options, "POST", server.URL)
	if err != nil || status != http.StatusTemporaryRedirect || followed {
		t.Errorf("status %d, followed %v, error %v", status, followed, err)
	}
}

func TestTLSBelow12IsRefused(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	_, _, err := call(t, TransportOptions{AllowLoopback: true, CABundle: certificateOf(server)}, "POST", server.URL)
	if ClassOf(err) != Retryable || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("got %v", err)
	}
}

func TestABadOptionIsInvalidSpec(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	good := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	broken := bytes.Replace(good, []byte("M"), []byte("*"), 1)
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("k")})
	for name, tc := range map[string]struct {
		options TransportOptions
		bad     bool
	}{
		"no options":      {TransportOptions{}, false},
		"one certificate": {TransportOptions{CABundle: good}, false},
		"two certificates with words around them": {TransportOptions{CABundle: bytes.Join([][]byte{[]byte("root\n"), good, []byte("other\n"), good, []byte("end\n")}, nil)}, false},
		"text that is no PEM":                     {TransportOptions{CABundle: []byte("-- my CA --")}, true},
		"a certificate that cannot be parsed":     {TransportOptions{CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})}, true},
		"a good certificate and a broken one":     {TransportOptions{CABundle: bytes.Join([][]byte{good, broken}, nil)}, true},
		"a broken certificate and a good one":     {TransportOptions{CABundle: bytes.Join([][]byte{broken, good}, nil)}, true},
		"a certificate cut in the middle":         {TransportOptions{CABundle: good[:len(good)/2]}, true},
		"a private key":                           {TransportOptions{CABundle: bytes.Join([][]byte{good, private}, nil)}, true},
		"a bundle larger than any real one":       {TransportOptions{CABundle: bytes.Repeat(good, maxCABundle/len(good)+1)}, true},
		"a negative rate":                         {TransportOptions{PerSecond: -1}, true},
		"a negative burst":                        {TransportOptions{Burst: -1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewTransport(tc.options)
			if bad := err != nil; bad != tc.bad || bad && ClassOf(err) != InvalidSpec {
				t.Errorf("got %v, want an error: %v", err, tc.bad)
			}
		})
	}
}

func TestCallsAreObservedByOperationAndResult(t *testing.T) {
	type seen struct{ Operation, Result string }
	var mu sync.Mutex
	var got []seen
	status := http.StatusOK
	server, options := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(status)
	})
	options.Observe = func(operation, result string, took, waited time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if took < 0 || waited < 0 {
			t.Errorf("took %v, waited %v", took, waited)
		}
		got = append(got, seen{operation, result})
	}
	client, err := NewClient(options)
	if err != nil {
		t.Fatal(err)
	}
	for _, status = range []int{200, 404, 503, 0, 429, 200} {
		_, _, _ = send(t, client, "POST", server.URL)
	}
	want := []seen{{"thing.read", "2xx"}, {"thing.read", "4xx"}, {"thing.read", "5xx"}, {"thing.read", "error"}, {"thing.read", "4xx"}, {"thing.read", "budget"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAThrottledAnswerPausesTheWholeTransport(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		header string
		least  time.Duration
		most   time.Duration
	}{
		"429 with seconds":         {429, "60", 59 * time.Second, 60 * time.Second},
		"429 with a date":          {429, time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), 55 * time.Second, 60 * time.Second},
		"429 that says nothing":    {429, "", pauseUnasked - time.Second, pauseUnasked},
		"429 that asks for a year": {429, "31536000", longestPause - time.Second, longestPause},
		"503 with seconds":         {503, "60", 59 * time.Second, 60 * time.Second},
		"503 that says nothing":    {503, "", 0, 0},
		"200 with a stray header":  {200, "60", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			server, options := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				calls++
				if tc.header != "" {
					w.Header().Set("Retry-After", tc.header)
				}
				w.WriteHeader(tc.status)
			})
			client, err := NewClient(options)
			if err != nil {
				t.Fatal(err)
			}
			if _, status, err := send(t, client, "GET", server.URL); err != nil || status != tc.status {
				t.Fatalf("%d, %v", status, err)
			}
			_, _, err = send(t, client, "POST", server.URL)
			if tc.most == 0 {
				if err != nil || calls != 2 {
					t.Errorf("%d calls, error %v", calls, err)
				}
				return
			}
			if after := AfterOf(err); ClassOf(err) != Throttled || after < tc.least || after > tc.most || calls != 1 {
				t.Errorf("%d calls, then %v after %v", calls, err, after)
			}
		})
	}
}

func TestACheckThatFailsKeepsTheCallFromBeingSent(t *testing.T) {
	reached := false
	server, options := serve(t, func(http.ResponseWriter, *http.Request) { reached = true })
	client, err := NewClient(options)
	if err != nil {
		t.Fatal(err)
	}
	lost := errors.New("the claim has run out")
	request, err := http.NewRequestWithContext(WithSendCheck(t.Context(), func() error { return lost }), http.MethodPost, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Do(request)
	if ClassOf(err) != Retryable || !errors.Is(err, lost) || reached {
		t.Errorf("reached %v, error %v", reached, err)
	}
}

func TestACancelledCallNamesNoOutcome(t *testing.T) {
	arrived := make(chan struct{})
	server, options := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
	})
	client, err := NewClient(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Do(request)
	if ClassOf(err) != OutcomeUnknown || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestExcerptIsOneShortPrintableLine(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"plain text":              {"not found", "not found"},
		"line ends and tabs":      {"  a\r\n\tb\n", "a b"},
		"terminal escapes":        {"a\x1b[31mred\x00", "a [31mred"},
		"text direction controls": {"a\u202eb\u2066c", "a b c"},
		"broken UTF-8":            {"a\xff\xfeb", "a b"},
		"nothing":                 {"", ""},
		"text of any length":      {strings.Repeat("ä", 5000), strings.Repeat("ä", 300) + "..."},
		"text of the very length": {strings.Repeat("x", 300), strings.Repeat("x", 300)},
	} {
		if got := Excerpt(tc.in); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
