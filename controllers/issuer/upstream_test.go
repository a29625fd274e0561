package issuer

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// provider is an upstream with a memory: it knows accounts and objects, counts what
// it is asked, and can be made to refuse, to hang, to forget and to be slow.
type provider struct {
	mu       sync.Mutex
	password string
	objects  map[upstream.Mark]upstream.Found
	// failing answers every call of an operation with an error.
	failing map[string]error
	// hanging keeps the calls of accounts at a host until it is closed.
	hanging map[string]chan struct{}
	// listing runs while a listing is under way, before it is answered.
	listing func()
	calls   map[string]int
	revoked []upstream.Handle
}

func newProvider() *provider {
	return &provider{
		password: "right",
		objects:  map[upstream.Mark]upstream.Found{},
		failing:  map[string]error{},
		hanging:  map[string]chan struct{}{},
		calls:    map[string]int{},
	}
}

// Member implements upstream.Driver.
func (*provider) Member() string { return "ibmAPIConnect" }

// Open implements upstream.Driver.
func (p *provider) Open(settings upstream.Settings) (upstream.Upstream, error) {
	var parameters struct{ URL, Catalog string }
	if err := json.Unmarshal(settings.Parameters, &parameters); err != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the settings cannot be read")
	}
	password, ok := settings.Login["password"]
	if !ok {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the login Secret lacks the key password")
	}
	host := strings.TrimPrefix(parameters.URL, "https://")
	return &account{provider: p, host: host, realm: host + "/catalogs/" + parameters.Catalog, password: password.Reveal()}, nil
}

func (p *provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *provider) count(operation string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[operation]
}

func (p *provider) put(found upstream.Found) {
	p.set(func() { p.objects[found.Mark] = found })
}

func (p *provider) revocations() []upstream.Handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]upstream.Handle(nil), p.revoked...)
}

type account struct {
	provider              *provider
	host, realm, password string
}

// begin counts a call and answers for it if it is to fail.
func (a *account) begin(ctx context.Context, operation string) error {
	p := a.provider
	p.mu.Lock()
	p.calls[operation]++
	hang, failure, wrong := p.hanging[a.host], p.failing[operation], a.password != p.password
	p.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return upstream.Errorf(upstream.Retryable, "no answer")
		}
	}
	if failure != nil {
		return failure
	}
	if wrong {
		return upstream.Errorf(upstream.LoginFailed, "the upstream refuses the user")
	}
	return nil
}

func (*account) Capabilities() upstream.Capabilities {
	return upstream.Capabilities{Class: upstream.WriteAhead, UniqueNames: true, Overlap: true}
}

func (a *account) Check(ctx context.Context) (string, error) {
	if err := a.begin(ctx, "check"); err != nil {
		return "", err
	}
	return a.realm, nil
}

func (a *account) Locate(context.Context, json.RawMessage) (string, error) {
	return a.realm + "/apps/a1", nil
}

func (a *account) List(ctx context.Context, _ upstream.Owner) (upstream.Listing, error) {
	if err := a.begin(ctx, "list"); err != nil {
		return upstream.Listing{}, err
	}
	a.provider.mu.Lock()
	during := a.provider.listing
	a.provider.mu.Unlock()
	if during != nil {
		during()
	}
	a.provider.mu.Lock()
	defer a.provider.mu.Unlock()
	var listing upstream.Listing
	for _, found := range a.provider.objects {
		listing.Found = append(listing.Found, found)
	}
	return listing, nil
}

func (a *account) Issue(_ context.Context, r upstream.Request) (upstream.Issued, error) {
	a.provider.put(upstream.Found{ID: "id-" + r.Name, Name: r.Name, Mark: r.Mark, Container: r.Container})
	return upstream.Issued{Material: r.Material}, nil
}

func (a *account) Revoke(ctx context.Context, h upstream.Handle) error {
	if err := a.begin(ctx, "revoke"); err != nil {
		return err
	}
	a.provider.set(func() {
		delete(a.provider.objects, h.Mark)
		a.provider.revoked = append(a.provider.revoked, h)
	})
	return nil
}
