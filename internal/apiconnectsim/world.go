package apiconnectsim

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// node is what every object of the platform has. Names can change and can be used
// again; ids never.
type node struct {
	id, name, title  string
	created, updated time.Time
}

func (n *node) at() *node { return n }

type entity interface {
	comparable
	at() *node
}

// set holds objects in the order of their making and finds them by id or name.
type set[T entity] struct {
	order  []T
	byID   map[string]T
	byName map[string]T
}

func newSet[T entity]() set[T] {
	return set[T]{byID: map[string]T{}, byName: map[string]T{}}
}

// find takes a path segment, which may be an id or a name.
func (s *set[T]) find(ref string) (T, bool) {
	if item, ok := s.byID[ref]; ok {
		return item, true
	}
	item, ok := s.byName[ref]
	return item, ok
}

func (s *set[T]) add(item T) {
	n := item.at()
	s.order = append(s.order, item)
	s.byID[n.id], s.byName[n.name] = item, item
}

func (s *set[T]) remove(item T) {
	n := item.at()
	s.order = slices.DeleteFunc(s.order, func(other T) bool { return other == item })
	delete(s.byID, n.id)
	delete(s.byName, n.name)
}

func (s *set[T]) rename(item T, name string, now time.Time) {
	n := item.at()
	delete(s.byName, n.name)
	n.name, n.updated = name, now
	s.byName[name] = item
}

type (
	world struct {
		orgs set[*org]
	}
	org struct {
		node
		catalogs set[*catalog]
	}
	catalog struct {
		node
		org          *org
		hashSecrets  bool
		consumerOrgs set[*consumerOrg]
		// credentials are all of the catalog, in the order of their making, so
		// that a page of ten thousand is cut out and not gathered.
		credentials []*credential
		byClientID  map[string]*credential
	}
	consumerOrg struct {
		node
		catalog *catalog
		owner   Owner
		apps    set[*app]
	}
	app struct {
		node
		summary     string
		consumerOrg *consumerOrg
		subscribed  bool
		credentials set[*credential]
	}
	credential struct {
		node
		app      *app
		summary  string
		clientID string
		secret   digest
	}
	digest [sha256.Size]byte
)

func newWorld() world { return world{orgs: newSet[*org]()} }

func (a *app) catalog() *catalog { return a.consumerOrg.catalog }

// Path names an object by the names or ids on the way to it; later segments may be
// empty.
type Path struct {
	Org         string `json:"org,omitempty"`
	Catalog     string `json:"catalog,omitempty"`
	ConsumerOrg string `json:"consumerOrg,omitempty"`
	App         string `json:"app,omitempty"`
	Credential  string `json:"credential,omitempty"`
}

// place is a path that was walked; what the path does not name is nil.
type place struct {
	org         *org
	catalog     *catalog
	consumerOrg *consumerOrg
	app         *app
	credential  *credential
}

// absence is the error of a walk that came to nothing.
type absence struct{ kind, ref string }

func (a absence) Error() string { return fmt.Sprintf("The %s '%s' was not found.", a.kind, a.ref) }

// walk follows a path as far as it goes. On an absence the place reached so far is
// returned with it.
func (w *world) walk(path Path) (place, error) {
	var p place
	var ok bool
	if path.Org == "" {
		return p, nil
	}
	if p.org, ok = w.orgs.find(path.Org); !ok {
		return p, absence{"org", path.Org}
	}
	if path.Catalog == "" {
		return p, nil
	}
	if p.catalog, ok = p.org.catalogs.find(path.Catalog); !ok {
		return p, absence{"catalog", path.Catalog}
	}
	if path.ConsumerOrg == "" {
		return p, nil
	}
	if p.consumerOrg, ok = p.catalog.consumerOrgs.find(path.ConsumerOrg); !ok {
		return p, absence{"consumer-org", path.ConsumerOrg}
	}
	if path.App == "" {
		return p, nil
	}
	if p.app, ok = p.consumerOrg.apps.find(path.App); !ok {
		return p, absence{"app", path.App}
	}
	if path.Credential == "" {
		return p, nil
	}
	if p.credential, ok = p.app.credentials.find(path.Credential); !ok {
		return p, absence{"credential", path.Credential}
	}
	return p, nil
}

// nameRule is what may stand in a path segment without being escaped.
var nameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$`)

func newNode(id, name, title string, now time.Time) node {
	if id == "" {
		id = newID()
	}
	if title == "" {
		title = name
	}
	return node{id: id, name: name, title: title, created: now, updated: now}
}

// newID makes a version 4 UUID.
func newID() string {
	var b [16]byte
	fill(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// materialDigits is how long the ids and secrets are that the server chooses by itself:
// hex digits.
const materialDigits = 32

// newMaterial makes an id.
func newMaterial() string {
	var b [materialDigits / 2]byte
	fill(b[:])
	return hex.EncodeToString(b[:])
}

// fill reads random bytes; crypto/rand ends the process rather than to fail.
func fill(b []byte) { _, _ = rand.Read(b) }

func hashOf(secret string) digest { return sha256.Sum256([]byte(secret)) }
