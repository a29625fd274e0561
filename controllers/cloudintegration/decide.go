package cloudintegration

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/controllers/credential"
	scanning "github.com/claviger-dev/claviger/internal/cloudintegration"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// freshFor is how long what was read of an entry is good enough to write over it.
	freshFor = 20 * time.Second
	// pollPause is the pause while a tenant works on what it has accepted, and longestDeploy how
	// long that is no trouble.
	pollPause     = 2 * time.Second
	longestDeploy = 5 * time.Minute
	// lookAgain is the pause where people have to do something in the tenant first.
	lookAgain = 10 * time.Minute
	// slowestWrite is how long after its note was made an entry can have been written.
	slowestWrite = time.Minute
)

// note is what stands in the description of an entry that was delivered: a tenant never shows
// a secret, but it shows that it has accepted the note with it.
type note struct {
	mark    upstream.Mark
	version int64
	at      time.Time
}

const notePrefix = "claviger:"

func (n note) String() string {
	return fmt.Sprintf("%s%s v%d %s", notePrefix, n.mark, n.version, n.at.UTC().Format(time.RFC3339))
}

// readNote reads a description; ok is false if it is no note of ours.
func readNote(text string) (n note, ok bool) {
	parts := strings.Fields(strings.TrimPrefix(text, notePrefix))
	if !strings.HasPrefix(text, notePrefix) || len(parts) != 3 {
		return note{}, false
	}
	version, err := strconv.ParseInt(strings.TrimPrefix(parts[1], "v"), 10, 64)
	if err != nil {
		return note{}, false
	}
	at, err := time.Parse(time.RFC3339, parts[2])
	if err != nil {
		return note{}, false
	}
	return note{mark: upstream.Mark(parts[0]), version: version, at: at}, true
}

// place is an entry of a tenant, and who delivers it.
type place struct {
	credential types.UID
	form       scanning.Form
	alias      string
}

// want is a delivery as its credential wants it.
type want struct {
	place
	name    string // of the credential
	created time.Time
	spec    v1alpha1.Delivery
	// owner is the half of the marks that all versions of the credential share.
	owner string
	// published is the version that the Secret holds; nil if none is known.
	published *published
	// prints are the versions of the credential by the fingerprint of their certificates.
	prints map[string]note
	// problem is why it can never be delivered as it is; empty if it can.
	problem string
	// paused: nothing is written now.
	paused bool
	// leaving: the credential is being deleted; doomed: what was delivered is to be revoked, and
	// nothing takes that back; kept: its deletion waits for flows that use it.
	leaving, doomed, kept bool
	// users are the flows that use the alias.
	users []string
}

// published is a version, without its secrets.
type published struct {
	key     types.NamespacedName
	uid     types.UID
	note    note // without a time
	nonce   string
	fields  map[string]string // that the entry is to have, without the description
	print   string
	lacking string // why it cannot be delivered
}

// held is what this process knows of an entry. Losing it costs a read.
type held struct {
	seen   bool
	entry  scanning.Entry
	seenAt time.Time
	// doubt: it is read again before anything else.
	doubt bool
	// since is how long the entry has been as it is.
	since time.Time
	// wrote: this process has sent what has not been seen since.
	wrote bool
	// first is when the tenant was first seen to work on it.
	first    time.Time
	failures int
	retryAt  time.Time
	trouble  string
}

// condition of an entry.
type condition int

const (
	unread    condition = iota
	missing             // there is none
	foreign             // it is somebody else's
	custom              // it has what a write would delete
	stale               // it is ours, and not as it should be
	deploying           // it is, and not in use yet
	broken              // the tenant cannot use it
	current
)

// holds is which version of the credential an entry is; ok is false if it is none of it.
func (w *want) holds(e scanning.Entry) (n note, ok bool) {
	if w.form == scanning.KeyPair {
		n, ok = w.prints[e.Fingerprint]
		return n, ok && e.Exists
	}
	n, ok = readNote(e.Description())
	return n, ok && e.Exists && strings.HasPrefix(string(n.mark), w.owner)
}

// judge says what is to be thought of an entry.
func (w *want) judge(h *held) condition {
	if !h.seen {
		return unread
	}
	e := h.entry
	n, ours := w.holds(e)
	switch {
	case !e.Exists:
		return missing
	case !ours && !w.spec.Adopt:
		return foreign
	case w.published == nil || !ours || n.mark != w.published.note.mark || !w.fits(e):
		if e.CustomParameters > 0 {
			return custom
		}
		return stale
	case e.Status == "ERROR":
		return broken
	case e.Status != "" && e.Status != "DEPLOYED":
		return deploying
	}
	return current
}

// fits: the entry says what the delivery says.
func (w *want) fits(e scanning.Entry) bool {
	for name, value := range w.published.fields {
		if e.Fields[name] != value {
			return false
		}
	}
	return true
}

// saw notes what was read.
func (h *held) saw(w *want, e scanning.Entry, now time.Time) {
	before := h.entry
	known := h.seen || h.wrote
	same := h.seen && before.Description() == e.Description() && before.Fingerprint == e.Fingerprint && before.ModifiedAt.Equal(e.ModifiedAt) && before.Status == e.Status
	wrote := h.wrote
	h.seen, h.entry, h.seenAt, h.wrote, h.doubt = true, e, now, false, false
	n, _ := w.holds(e)
	if w.form == scanning.KeyPair {
		n.at = e.ModifiedAt
	}
	judged := w.judge(h)
	switch {
	case judged == stale && wrote:
		h.fail("the tenant has accepted it and shows something else; see whether somebody else writes the alias", now, 0)
		return
	case judged == deploying && h.first.IsZero():
		h.first = now
	case judged != deploying:
		h.first = time.Time{}
	}
	switch {
	case same:
	case known || n.at.IsZero():
		h.since = now
	default:
		// An earlier process has written it.
		h.since = n.at.Add(slowestWrite)
		if h.since.After(now) {
			h.since = now
		}
	}
	h.retryAt = time.Time{}
	if judged != missing && judged != stale {
		h.failures, h.trouble = 0, "" // what could not be written is still to be
	}
}

// fail notes a call that failed, and when the next one is made.
func (h *held) fail(trouble string, now time.Time, after time.Duration) {
	pause := min(firstPause<<min(h.failures, 10), longestPause)
	h.failures++
	h.trouble, h.retryAt = trouble, now.Add(max(pause, after))
}

// act is what is done next about an entry.
type act int

const (
	rest act = iota
	readEntry
	writeEntry
	removeEntry
)

// next says what is done next about a delivery, and when to ask again if nothing is; zero if only
// a change makes a difference.
func next(w *want, h *held, again time.Duration, now time.Time) (act, time.Time) {
	if w.problem != "" || w.paused {
		return rest, time.Time{}
	}
	if now.Before(h.retryAt) {
		return rest, h.retryAt
	}
	judged := w.judge(h)
	if judged == unread || h.doubt {
		return readEntry, time.Time{}
	}
	onceFresh := func(then act) (act, time.Time) {
		if now.Sub(h.seenAt) >= freshFor {
			return readEntry, time.Time{}
		}
		return then, time.Time{}
	}
	if w.leaving {
		if w.withdraws(h) {
			return onceFresh(removeEntry)
		}
		return rest, time.Time{}
	}
	pause := again
	switch judged {
	case missing, stale:
		if w.published == nil || w.published.lacking != "" {
			return rest, time.Time{}
		}
		return onceFresh(writeEntry)
	case foreign, custom, broken:
		pause = min(again, lookAgain)
	case deploying:
		pause = pollPause
	case current:
		if kept := h.since.Add(w.spec.Kept()); h.seenAt.Before(kept) {
			pause = min(again, kept.Sub(h.seenAt))
		}
	case unread:
	}
	if until := h.seenAt.Add(pause); now.Before(until) {
		return rest, until
	}
	return readEntry, time.Time{}
}

// withdraws: the entry is to be taken away now.
func (w *want) withdraws(h *held) bool {
	_, ours := w.holds(h.entry)
	return w.spec.Withdraw == v1alpha1.WithdrawDelete && w.doomed && ours && (!w.kept || len(w.users) == 0)
}

// trouble says why a delivery does not get on; empty if nothing is wrong.
func (w *want) trouble(h *held, now time.Time) string {
	switch {
	case w.problem != "":
		return w.problem
	case h.trouble != "":
		return h.trouble
	case w.leaving:
		return ""
	case w.published != nil && w.published.lacking != "":
		return w.published.lacking
	}
	switch w.judge(h) {
	case foreign:
		return "the alias exists and is not this credential's; choose another one, or set adopt: true to write over it"
	case custom:
		return fmt.Sprintf("the entry has %d custom parameters, which the tenant would delete when it is written; deliver to an alias without any", h.entry.CustomParameters)
	case broken:
		return "the tenant has accepted it and says that it cannot deploy it"
	case deploying:
		if !h.first.IsZero() && now.Sub(h.first) >= longestDeploy {
			return "the tenant has accepted it and has not deployed it since " + h.first.UTC().Format(time.RFC3339)
		}
	case unread, missing, stale, current:
	}
	return ""
}

// told puts what is known of a delivery into words for the planner.
func (w *want) told(h *held, now time.Time) credential.Delivered {
	t := credential.Delivered{Trouble: w.trouble(h, now), Users: w.users}
	t.Unseen = !h.seen && t.Trouble == ""
	_, ours := w.holds(h.entry)
	t.Gone = h.seen && !ours
	if w.judge(h) == current {
		t.Mark, t.Since, t.SeenAt = w.published.note.mark, h.since, h.seenAt
	}
	return t
}
