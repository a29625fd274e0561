package upstreamtest

import (
	"context"
	"crypto/rand"
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

	"go.uber.org/goleak"

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
	class     upstream.Class
	// slow: a revocation takes a while, and then nothing is there.
	slow bool
	// leaving are objects that such a revocation works on.
	leaving map[string]bool
	// flight is one answer for many, and meets lets two callers come together; see the sins.
	flight *flight
	meets  chan struct{}
	// stays ends those who were left behind.
	stays chan struct{}
}

type object struct {
	id, name, clientID, secret, container string
}

const (
	realm     = "shelf/realm"
	container = realm + "/box"
	password  = "canary-password"
)

func newShelf(sin string) *shelf { return newShelfOf(upstream.WriteAhead, sin) }

// newShelfOf plays an upstream of a class. Only where we choose the id are names unique.
func newShelfOf(class upstream.Class, sin string) *shelf {
	return &shelf{
		issued: map[upstream.Mark]int{}, faults: map[Call]Fault{}, present: true, sin: sin, class: class,
		leaving: map[string]bool{}, meets: make(chan struct{}), stays: make(chan struct{}),
	}
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

// call makes one call: what a fault does, or what commit does, which holds the lock.
func (a *account) call(ctx context.Context, call Call, commit func() error) error {
	hangs, err := a.exchange(ctx, call, commit)
	if hangs {
		if a.shelf.sin == "outlives its caller" {
			<-time.After(underWay + 2*promptly)
		}
		<-ctx.Done()
	}
	if a.shelf.sin == "leaves somebody behind" {
		go func() { <-a.shelf.stays }()
	}
	return err
}

// exchange reports besides whether an answer never comes.
func (a *account) exchange(ctx context.Context, call Call, commit func() error) (hangs bool, err error) {
	a.shelf.mu.Lock()
	defer a.shelf.mu.Unlock()
	fault, struck := a.shelf.faults[call]
	err = a.answer(ctx, call, commit)
	return struck && fault.Kind == Slow && ctx.Err() == nil && time.Now().After(a.pausedUntil), err
}

func (a *account) answer(ctx context.Context, call Call, commit func() error) error {
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
		_ = commit() // whatever came of it, nobody is told
		return upstream.Errorf(lost, "%s was cut", call)
	case Throttled:
		a.pausedUntil = time.Now().Add(fault.After)
		return &upstream.Error{Class: upstream.Throttled, After: fault.After, Message: "throttled"}
	case Page:
		return upstream.Errorf(upstream.Retryable, "%s answered a page", call)
	case Broken:
		if sin == "believes any body" || sin == "takes a broken answer for absence" && fault.Status == 404 {
			return map[bool]error{true: upstream.Errorf(upstream.NotFound, "%s: nothing", call)}[sin != "believes any body"]
		}
		if sin == "takes a redirect for success" && fault.Status == 302 {
			return nil
		}
		return upstream.Errorf(upstream.Retryable, "%s: the answer cannot be read", call)
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
	c := upstream.Capabilities{
		Class: a.shelf.class, UniqueNames: a.shelf.class == upstream.WriteAhead, Unlisted: !addressableClass(a.shelf.class),
		Overlap: true, Settle: time.Second, VerifyTimeout: time.Second,
	}
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
	if a.shelf.sin == "lists nothing of ours" || !addressableClass(a.shelf.class) {
		return listing, nil
	}
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

func addressableClass(c upstream.Class) bool { return c != upstream.GrantOnly && c != upstream.Blind }

func (a *account) Draft(r upstream.Request, random io.Reader) (material.Material, error) {
	if a.shelf.class != upstream.WriteAhead {
		return material.Material{}, nil
	}
	secret := make([]byte, 16)
	_, err := io.ReadFull(random, secret)
	return material.Material{ClientID: string(r.Mark), ClientSecret: material.New("canary-" + hex.EncodeToString(secret))}, err
}

func (a *account) Issue(ctx context.Context, r upstream.Request) (upstream.Issued, error) {
	if err := a.login(ctx); err != nil {
		return upstream.Issued{}, err
	}
	if a.shelf.class != upstream.WriteAhead {
		return a.make(ctx, r)
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

// make lets the upstream make the material.
func (a *account) make(ctx context.Context, r upstream.Request) (upstream.Issued, error) {
	s := a.shelf
	if s.sin == "shares one flight among different requests" {
		if issued, follows := s.fly(); follows {
			return issued, nil
		}
	}
	var issued upstream.Issued
	found := false
	look := func() error {
		for _, o := range s.objects {
			ours := o.clientID == string(r.Mark)
			if s.sin == "goes by the name" {
				ours = o.name == r.Name
			}
			if ours && s.class == upstream.Readable && o.container == container {
				found, issued = true, answerOf(o)
			}
		}
		return nil
	}
	create := func() error {
		if s.sin != "looks and then creates" {
			_ = look() // never fails
		}
		if found {
			return nil
		}
		s.serial++
		s.issued[r.Mark]++
		o := &object{fmt.Sprintf("id-%d", s.serial), r.Name, string(r.Mark), "canary-" + rand.Text(), container}
		s.objects = append(s.objects, o)
		issued = answerOf(o)
		return nil
	}
	if s.sin == "looks and then creates" {
		if err := a.call(ctx, Read, look); err != nil {
			return upstream.Issued{}, err
		}
		s.meet()
	}
	err := a.call(ctx, Create, create)
	if err != nil && s.sin == "tries again by itself" {
		s.mu.Lock()
		_ = create() // never fails
		s.mu.Unlock()
	}
	if err != nil && s.sin == "takes a refusal for success" {
		return upstream.Issued{Material: material.Material{ClientID: string(r.Mark), ClientSecret: material.New("made up by the adapter")}}, nil
	}
	if err != nil {
		return upstream.Issued{}, err
	}
	if s.sin == "shares one flight among different requests" {
		s.land(issued)
	}
	return issued, nil
}

func answerOf(o *object) upstream.Issued {
	return upstream.Issued{ID: o.id, Material: material.Material{ClientID: o.clientID, ClientSecret: material.New(o.secret)}}
}

// flight is one answer for all who ask while it is under way.
type flight struct {
	landed chan struct{}
	issued upstream.Issued
}

// fly has a caller wait for the answer of one that is under way.
func (s *shelf) fly() (upstream.Issued, bool) {
	s.mu.Lock()
	under := s.flight
	if under == nil {
		s.flight = &flight{landed: make(chan struct{})}
	}
	s.mu.Unlock()
	s.meet()
	if under == nil {
		return upstream.Issued{}, false
	}
	<-under.landed
	return under.issued, true
}

func (s *shelf) land(issued upstream.Issued) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight.issued = issued
	close(s.flight.landed)
	s.flight = nil
}

// meet waits for another caller, if there is one.
func (s *shelf) meet() {
	select {
	case s.meets <- struct{}{}:
	case <-s.meets:
	case <-time.After(underWay):
	}
}

func (a *account) Revoke(ctx context.Context, h upstream.Handle) error {
	if err := a.login(ctx); err != nil {
		return err
	}
	a.shelf.sweepOut()
	objects, err := a.all(ctx)
	if err != nil && upstream.ClassOf(err) != upstream.NotFound {
		return err
	}
	hits := 0
	for _, o := range objects {
		hit := o.clientID == string(h.Mark)
		if !addressableClass(a.shelf.class) {
			hit = o.id == h.ID
		}
		switch a.shelf.sin {
		case "goes by the name":
			hit = o.name == h.Name
		case "deletes more than it is asked":
			hit = true
		}
		if !hit || a.shelf.sin == "forgets what is pending" && a.shelf.left(o.id) {
			continue
		}
		hits++
		err := a.call(ctx, Delete, func() error {
			if a.shelf.slow {
				a.shelf.leaving[o.id] = true
				return upstream.Errorf(upstream.Pending, "it is being revoked")
			}
			if a.shelf.sin == "says revoked and is not" {
				return nil
			}
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

// sweepOut ends what slow revocations work on: by the next call they are done.
func (s *shelf) sweepOut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sin != "forgets what is pending" && s.sin != "is pending for ever" {
		s.objects = slices.DeleteFunc(s.objects, func(o *object) bool { return s.leaving[o.id] })
	}
}

func (s *shelf) left(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving[id]
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

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAnHonestAdapterPasses(t *testing.T) {
	for _, class := range []upstream.Class{upstream.WriteAhead, upstream.Readable, upstream.ShownOnce, upstream.GrantOnly, upstream.Blind} {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel() // most of it is waiting for calls that hang
			Run(t, func(testing.TB) Lab { return newShelfOf(class, "") })
		})
	}
	t.Run("whose upstream takes its time to revoke", func(t *testing.T) {
		t.Parallel()
		Run(t, func(testing.TB) Lab {
			s := newShelf("")
			s.slow = true
			return s
		})
	})
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
		"takes a lost answer for a refusal": "an answer that was lost is",
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
		"takes an odd status for success":   "no status is taken",
		"lets an unclassified error out":    "no status is taken",
		"forgets that it was throttled":     "a throttled answer",
		"accepts everything":                "verification accepts",
		"takes unreachable for refused":     "verification that finds nothing",
		"echoes what it was sent":           "no error holds a secret",
		"keeps the echo in the cause":       "no error holds a secret",
		"has new words each time":           "the same failure",
		"believes any body":                 "an answer that cannot be read",
		"takes a broken answer for absence": "an answer that cannot be read",
		"takes a redirect for success":      "no status is taken",
		"outlives its caller":               "a call ends within a second",
		"leaves somebody behind":            "no goroutine is left",
	} {
		t.Run(sin, func(t *testing.T) { wantFound(t, newShelf(sin), sentence) })
	}
}

// TestEverySinOfAClassIsFound: what would be a sin elsewhere, or is one there only.
func TestEverySinOfAClassIsFound(t *testing.T) {
	for _, tc := range []struct {
		class    upstream.Class
		sin      string
		sentence string
	}{
		{upstream.Readable, "goes by the name", "a name that somebody else has too"},
		{upstream.Readable, "looks and then creates", "the same request from two processes at once"},
		{upstream.Readable, "shares one flight among different requests", "requests at the same time"},
		{upstream.Readable, "tries again by itself", "a request that was refused"},
		{upstream.ShownOnce, "takes a lost answer for a refusal", "an answer that was lost for good"},
		{upstream.ShownOnce, "tries again by itself", "an answer that was lost for good"},
		{upstream.ShownOnce, "lists nothing of ours", "what a lost answer was about"},
		{upstream.ShownOnce, "takes a refusal for success", "a request that was refused"},
		{upstream.ShownOnce, "shares one flight among different requests", "requests at the same time"},
		{upstream.ShownOnce, "says revoked and is not", "what a lost answer was about"},
		{upstream.GrantOnly, "takes a lost answer for a refusal", "an answer that was lost for good"},
		{upstream.GrantOnly, "tries again by itself", "an answer that was lost for good"},
		{upstream.GrantOnly, "takes a refusal for success", "a request that was refused"},
		{upstream.GrantOnly, "shares one flight among different requests", "requests at the same time"},
		{upstream.GrantOnly, "deletes more than it is asked", "revoking twice"},
		{upstream.GrantOnly, "says revoked and is not", "revoking twice"},
		{upstream.Blind, "takes a lost answer for a refusal", "an answer that was lost for good"},
		{upstream.Blind, "tries again by itself", "an answer that was lost for good"},
		{upstream.Blind, "takes a refusal for success", "a request that was refused"},
		{upstream.Blind, "shares one flight among different requests", "requests at the same time"},
		{upstream.Blind, "says revoked and is not", "revoking twice"},
	} {
		t.Run(string(tc.class)+" "+tc.sin, func(t *testing.T) { wantFound(t, newShelfOf(tc.class, tc.sin), tc.sentence) })
	}
	for _, sin := range []string{"forgets what is pending", "is pending for ever"} {
		t.Run(sin, func(t *testing.T) {
			s := newShelf(sin)
			s.slow = true
			wantFound(t, s, "revoking twice")
		})
	}
}

func wantFound(t *testing.T, s *shelf, sentence string) {
	t.Helper()
	defer close(s.stays)
	found := false
	for _, p := range properties() {
		if !strings.HasPrefix(p.name, sentence) {
			continue
		}
		found = true
		if err := prove(t.Context(), p, s); err == nil || errors.Is(err, ErrNotPlayed) {
			t.Errorf("%q did not find it: %v", p.name, err)
		}
	}
	if !found {
		t.Errorf("no property begins with %q", sentence)
	}
}
