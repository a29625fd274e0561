package upstreamtest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// shelf is an upstream in memory, and the Lab that plays it: objects with a name that
// is unique in their container and an id that is unique everywhere.
type shelf struct {
	mu        sync.Mutex
	objects   []*object
	issued    map[upstream.Mark]int
	faults    map[Call]Fault
	present   bool // the container
	blind     bool // the login lost its rights
	shortened bool
	serial    int
	sin       string
}

type object struct {
	id, name, clientID, secret, container string
}

const (
	realm     = "shelf/realm"
	container = realm + "/box"
	password  = "canary-password"
)

func newShelf(sin string) *shelf {
	return &shelf{issued: map[upstream.Mark]int{}, faults: map[Call]Fault{}, present: true, sin: sin}
}

func (s *shelf) Open() (upstream.Upstream, error) { return &account{shelf: s}, nil }
func (s *shelf) Parameters() json.RawMessage      { return json.RawMessage(`{"box":"box"}`) }

// Shaper implements Shaped.
func (s *shelf) Shaper() upstream.Shaper { return shaper(s.sin) }

type shaper string

func (s shaper) Shape(json.RawMessage) material.Shape {
	switch s {
	case "announces what it never gives":
		return material.Shape{Always: []string{material.FieldClientID, material.FieldClientSecret, material.FieldToken}}
	case "gives what it did not announce":
		return material.Shape{Always: []string{material.FieldClientID}}
	}
	return material.Shape{Always: []string{material.FieldClientID, material.FieldClientSecret}}
}

func (s *shelf) Absent() map[string]json.RawMessage {
	return map[string]json.RawMessage{"crate": json.RawMessage(`{"box":"crate"}`)}
}
func (s *shelf) Secrets() []string { return []string{password} }

func (s *shelf) Arm(call Call, fault Fault) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[call] = fault
	return true
}

func (s *shelf) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
	s.blind, s.shortened = false, false
}

func (s *shelf) Do(deed Deed, r upstream.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	other := fmt.Sprintf("other-%d", s.serial)
	ours := slices.IndexFunc(s.objects, func(o *object) bool { return o.clientID == string(r.Mark) })
	switch deed {
	case AddForeign:
		s.objects = append(s.objects, &object{id: other, name: other, clientID: other, container: container})
	case TakeName:
		s.objects = append(s.objects, &object{id: other, name: r.Name, clientID: other, container: container})
	case TakeID:
		s.objects = append(s.objects, &object{id: other, name: other, clientID: string(r.Mark), container: realm + "/elsewhere"})
	case RenameObject:
		s.objects[ours].name = other
	case RemoveObject:
		s.objects = slices.Delete(s.objects, ours, ours+1)
	case ChangeSecret:
		s.objects[ours].secret = other
	case RemoveContainer:
		s.present = false
		s.objects = slices.DeleteFunc(s.objects, func(o *object) bool { return o.container == container })
	case LoseRights:
		s.blind = true
	case ShortenLists:
		s.shortened = true
	}
	return nil
}

func (s *shelf) count(match func(*object) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, o := range s.objects {
		if match(o) {
			n++
		}
	}
	return n
}

func (s *shelf) Live(mark upstream.Mark) int {
	return s.count(func(o *object) bool { return o.clientID == string(mark) })
}
func (s *shelf) Total() int { return s.count(func(*object) bool { return true }) }
func (s *shelf) Accepts(m material.Material) bool {
	return s.count(func(o *object) bool { return o.clientID == m.ClientID && o.secret == m.ClientSecret.Reveal() }) > 0
}

func (s *shelf) Issued(mark upstream.Mark) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued[mark]
}

// account is the adapter of the shelf. Its sins are what the suite must find.
type account struct {
	shelf       *shelf
	pausedUntil time.Time
}

// call makes one call: what a fault does, or what commit does. It must hold the lock.
func (a *account) call(ctx context.Context, call Call, commit func() error) error {
	a.shelf.mu.Lock()
	defer a.shelf.mu.Unlock()
	sin := a.shelf.sin
	if ctx.Err() != nil {
		return upstream.Errorf(upstream.Retryable, "%s was given up", call)
	}
	if until := time.Until(a.pausedUntil); until > 0 && sin != "forgets that it was throttled" {
		return &upstream.Error{Class: upstream.Throttled, After: until, Message: "paused"}
	}
	fault, struck := a.shelf.faults[call]
	if !struck {
		return commit()
	}
	lost := upstream.OutcomeUnknown
	if call != Create && call != Delete || sin == "takes a lost answer for a refusal" {
		lost = upstream.Retryable
	}
	switch fault.Kind {
	case CutBefore:
		return upstream.Errorf(lost, "%s was cut", call)
	case CutAfter, HalfAnswer, Slow:
		return cmp.Or[error](commit(), upstream.Errorf(lost, "%s was cut", call))
	case Throttled:
		a.pausedUntil = time.Now().Add(fault.After)
		return &upstream.Error{Class: upstream.Throttled, After: fault.After, Message: "throttled"}
	case Page:
		return upstream.Errorf(upstream.Retryable, "%s answered a page", call)
	}
	if sin == "echoes what it was sent" {
		return upstream.Errorf(upstream.Retryable, "%s: %s", call, fault.Message)
	}
	if sin == "keeps the echo in the cause" {
		return &upstream.Error{Class: upstream.Retryable, Message: "no", Err: errors.New(fault.Message)}
	}
	return a.refusal(call, fault.Status)
}

func (a *account) refusal(call Call, status int) error {
	sin := a.shelf.sin
	a.shelf.serial++
	switch {
	case sin == "has new words each time":
		return upstream.Errorf(upstream.Retryable, "try %d failed", a.shelf.serial)
	case sin == "lets an unclassified error out":
		return errors.New("status")
	case status == 404 && sin == "takes every 404 for absence":
		return upstream.Errorf(upstream.NotFound, "%s: 404", call)
	case status == 403 && sin == "takes 403 for absence":
		return upstream.Errorf(upstream.NotFound, "%s: 403", call)
	case status == 418 && sin == "takes an odd status for success":
		return nil
	case status == 403:
		return upstream.Errorf(upstream.Forbidden, "%s: 403", call)
	}
	return upstream.Errorf(upstream.Retryable, "%s: %d", call, status)
}

func (a *account) login(ctx context.Context) error {
	return a.call(ctx, Login, func() error { return nil })
}

func (a *account) Capabilities() upstream.Capabilities {
	c := upstream.Capabilities{Class: upstream.WriteAhead, UniqueNames: true, Overlap: true, Settle: time.Second, VerifyTimeout: time.Second}
	if a.shelf.sin == "has no settle time" {
		c.Settle = 0
	}
	return c
}

func (a *account) Check(ctx context.Context) (string, error) {
	if err := a.login(ctx); err != nil {
		return "", err
	}
	if a.shelf.sin == "names another realm each time" {
		return realm + time.Now().String(), nil
	}
	return realm, a.call(ctx, ReadRealm, func() error { return nil })
}

func (a *account) Locate(ctx context.Context, parameters json.RawMessage) (string, error) {
	if err := a.login(ctx); err != nil {
		return "", err
	}
	err := a.call(ctx, ReadContainer, func() error {
		if strings.Contains(string(parameters), "crate") {
			if a.shelf.sin == "does not say what is missing" {
				return upstream.Errorf(upstream.NotFound, "not found")
			}
			return upstream.Errorf(upstream.NotFound, "no box is named crate")
		}
		return nil
	})
	return container, err
}

// all lists the container; it is what proves absence.
func (a *account) all(ctx context.Context) ([]*object, error) {
	var out []*object
	err := a.call(ctx, List, func() error {
		if a.shelf.blind && a.shelf.sin != "believes an empty list" {
			return upstream.Errorf(upstream.Forbidden, "the box cannot be seen")
		}
		if a.shelf.shortened && a.shelf.sin != "believes a short list" {
			return upstream.Errorf(upstream.Retryable, "the list is short")
		}
		if a.shelf.blind {
			return nil
		}
		for i, o := range a.shelf.objects {
			if o.container == container && !(a.shelf.shortened && i%2 == 0) && !(i >= 100 && a.shelf.sin == "reads one page") {
				copied := *o
				out = append(out, &copied)
			}
		}
		return nil
	})
	if err != nil && a.shelf.sin == "takes an error for an empty list" {
		return nil, nil
	}
	return out, err
}

func (a *account) List(ctx context.Context, owner upstream.Owner) (upstream.Listing, error) {
	if err := a.login(ctx); err != nil {
		return upstream.Listing{}, err
	}
	objects, err := a.all(ctx)
	if err != nil {
		return upstream.Listing{}, err
	}
	listing := upstream.Listing{Total: len(objects)}
	for _, o := range objects {
		mark := upstream.Mark(o.clientID)
		if mark.Owner() != "" && (owner.Mark == "" || mark.Owner() == owner.Mark) {
			listing.Found = append(listing.Found, upstream.Found{ID: o.id, Name: o.name, Mark: mark, Container: o.container})
		}
	}
	if a.shelf.sin == "counts its own only" {
		listing.Total = len(listing.Found)
	}
	return listing, nil
}

func (a *account) Draft(r upstream.Request, random io.Reader) (material.Material, error) {
	secret := make([]byte, 16)
	_, err := io.ReadFull(random, secret)
	return material.Material{ClientID: string(r.Mark), ClientSecret: material.New("canary-" + hex.EncodeToString(secret))}, err
}

func (a *account) Issue(ctx context.Context, r upstream.Request) (upstream.Issued, error) {
	if err := a.login(ctx); err != nil {
		return upstream.Issued{}, err
	}
	issued := upstream.Issued{Material: r.Material}
	err := a.call(ctx, Create, func() error {
		s := a.shelf
		for _, o := range s.objects {
			switch {
			case o.clientID == string(r.Mark) && o.container == container && s.sin != "creates again":
				if s.sin == "makes a new secret on repeating" {
					o.secret = "new"
					issued.Material.ClientSecret = material.New("new")
				}
				return nil
			case (o.name == r.Name || o.clientID == string(r.Mark)) && s.sin == "takes over what is another's":
				o.name, o.clientID, o.secret = r.Name, string(r.Mark), r.Material.ClientSecret.Reveal()
				return nil
			case (o.name == r.Name || o.clientID == string(r.Mark)) && s.sin != "creates again":
				return upstream.Errorf(upstream.Conflict, "taken")
			}
		}
		if s.sin == "overwrites the predecessor" {
			s.objects = nil
		}
		s.serial++
		s.issued[r.Mark]++
		s.objects = append(s.objects, &object{fmt.Sprintf("id-%d", s.serial), r.Name, string(r.Mark), r.Material.ClientSecret.Reveal(), container})
		return nil
	})
	if err != nil && a.shelf.sin == "takes a refusal for success" {
		err = nil
	}
	return issued, err
}

func (a *account) Revoke(ctx context.Context, h upstream.Handle) error {
	if err := a.login(ctx); err != nil {
		return err
	}
	objects, err := a.all(ctx)
	if err != nil && upstream.ClassOf(err) != upstream.NotFound {
		return err
	}
	hits := 0
	for _, o := range objects {
		hit := o.clientID == string(h.Mark)
		switch a.shelf.sin {
		case "goes by the name":
			hit = o.name == h.Name
		case "deletes more than it is asked":
			hit = true
		}
		if !hit {
			continue
		}
		hits++
		err := a.call(ctx, Delete, func() error {
			a.shelf.objects = slices.DeleteFunc(a.shelf.objects, func(other *object) bool { return other.id == o.id })
			return nil
		})
		if err != nil && upstream.ClassOf(err) != upstream.NotFound {
			return err
		}
	}
	switch {
	case hits > 0:
		return nil
	case a.shelf.sin == "cannot revoke twice":
		return upstream.Errorf(upstream.Retryable, "nothing there")
	}
	return upstream.Errorf(upstream.NotFound, "nothing there")
}

func (a *account) Verify(ctx context.Context, h upstream.Handle) (upstream.Verdict, error) {
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	verdict := upstream.Verdict{Detail: "asked the shelf"}
	for _, call := range []Call{Login, Read, Prove, Use} {
		err := a.call(ctx, call, func() error {
			for _, o := range a.shelf.objects {
				verdict.Accepted = verdict.Accepted || o.clientID == h.Material.ClientID && hash(o.secret) == hash(h.Material.ClientSecret.Reveal())
			}
			verdict.Accepted = verdict.Accepted || a.shelf.sin == "accepts everything"
			return nil
		})
		if err != nil && a.shelf.sin == "takes unreachable for refused" {
			return upstream.Verdict{Detail: "refused"}, nil
		}
		if err != nil {
			return upstream.Verdict{}, err
		}
	}
	return verdict, nil
}

func TestAnHonestAdapterPasses(t *testing.T) {
	Run(t, func(testing.TB) Lab { return newShelf("") })
}

// TestEverySinIsFound is the proof that the suite can fail: each sin must be found by
// the property that speaks of it.
func TestEverySinIsFound(t *testing.T) {
	for sin, sentence := range map[string]string{
		"names another realm each time":     "the realm is the beginning",
		"does not say what is missing":      "a container that does not exist",
		"has no settle time":                "capabilities are constant",
		"creates again":                     "the same request twice",
		"makes a new secret on repeating":   "the same request twice",
		"takes a lost answer for a refusal": "an answer that was lost",
		"takes a refusal for success":       "a request that was refused",
		"takes over what is another's":      "a name that somebody else took",
		"overwrites the predecessor":        "two versions overlap",
		"announces what it never gives":     "the material has the fields",
		"gives what it did not announce":    "the material has the fields",
		"cannot revoke twice":               "revoking twice",
		"deletes more than it is asked":     "revoking twice",
		"goes by the name":                  "a renamed object is revoked",
		"takes every 404 for absence":       "revoking never succeeds",
		"takes 403 for absence":             "revoking never succeeds",
		"believes an empty list":            "revoking never succeeds",
		"believes a short list":             "a list that may be short",
		"takes an error for an empty list":  "absence is believed only",
		"reads one page":                    "a list is complete",
		"counts its own only":               "a list is complete",
		"takes an odd status for success":   "no status from 400",
		"lets an unclassified error out":    "no status from 400",
		"forgets that it was throttled":     "a throttled answer",
		"accepts everything":                "verification accepts",
		"takes unreachable for refused":     "verification that finds nothing",
		"echoes what it was sent":           "no error holds a secret",
		"keeps the echo in the cause":       "no error holds a secret",
		"has new words each time":           "the same failure",
	} {
		t.Run(sin, func(t *testing.T) {
			found := false
			for _, p := range properties() {
				if !strings.HasPrefix(p.name, sentence) {
					continue
				}
				found = true
				err := prove(t.Context(), p, newShelf(sin))
				if err == nil || errors.Is(err, ErrNotPlayed) {
					t.Errorf("%q did not find it: %v", p.name, err)
				}
			}
			if !found {
				t.Errorf("no property begins with %q", sentence)
			}
		})
	}
}
