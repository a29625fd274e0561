package webmethodsportal

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// pageLimit is the page that is asked for; a portal may give less.
	pageLimit = 100
	// maxPages bounds a list that never ends.
	maxPages = 2000
)

// page is one page of a list. Whether count is that of the page or of all pages is not
// known, so either must be true of it.
type page struct {
	Result *[]json.RawMessage `json:"result"`
	Count  *int               `json:"count"`
	Links  *struct {
		Next string `json:"_next"`
	} `json:"_links"`
}

// next is the number of the page behind this one. Without a link to it, links say that
// there is none; without any links only a page that has nothing says so.
func (p *page) next(number int) (next int, more bool) {
	switch {
	case p.Links == nil:
		return number + 1, len(*p.Result) > 0
	case p.Links.Next == "":
		return 0, false
	}
	return pageOf(p.Links.Next, number+1), true
}

// list reads all pages of a list. One that may be short is an error: an entry that is not
// there is read as absence (hazard C4).
func (e *endpoint) list(ctx context.Context, operation, path string, query url.Values) ([]json.RawMessage, error) {
	c := call{operation: operation, method: http.MethodGet, path: path, query: url.Values{"limit": {strconv.Itoa(pageLimit)}}}
	for key, values := range query {
		c.query[key] = values
	}
	var all []json.RawMessage
	number, pagewise := 0, true
	seen := map[string]bool{}
	for range maxPages {
		c.query.Set("page", strconv.Itoa(number))
		p, err := e.page(ctx, c)
		if err != nil {
			return nil, err
		}
		twice := 0
		for _, entry := range *p.Result {
			id := idOf(entry)
			switch {
			case id == "":
				return nil, upstream.Errorf(upstream.Retryable, "%s: the list is not whole: an entry has no id", operation)
			case seen[id]:
				twice++
				continue
			}
			seen[id] = true
			all = append(all, entry)
		}
		// Whether pages count from 0 or from 1 is not known: the second may be the first.
		if twice > 0 && (number != 1 || p.Links != nil) {
			return nil, upstream.Errorf(upstream.Retryable, "%s: the list is not whole: an entry is there twice", operation)
		}
		pagewise = pagewise && *p.Count == len(*p.Result)
		if next, more := p.next(number); more && (p.Links != nil || pagewise || *p.Count > len(all)) {
			number = next
			continue
		}
		if pagewise || *p.Count == len(all) {
			return all, nil
		}
		return nil, upstream.Errorf(upstream.Retryable, "%s: the list is not whole: its count does not fit its entries", operation)
	}
	return nil, upstream.Errorf(upstream.Retryable, "%s: the list has too many pages", operation)
}

// page reads one page.
func (e *endpoint) page(ctx context.Context, c call) (page, error) {
	r, err := e.exchange(ctx, c)
	if err != nil {
		return page{}, err
	}
	var p page
	if r.status != http.StatusOK || !r.decode(&p) || p.Result == nil || p.Count == nil {
		return page{}, r.refusal()
	}
	return p, nil
}

func idOf(entry json.RawMessage) string {
	var document struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(entry, &document) != nil || !segment.MatchString(document.ID) {
		return ""
	}
	return document.ID
}

// pageOf reads the number of the next page from its link. Nothing else of it is believed:
// calls go to where the issuer says.
func pageOf(link string, otherwise int) int {
	parsed, err := url.Parse(link)
	if err != nil {
		return otherwise
	}
	number, err := strconv.Atoi(parsed.Query().Get("page"))
	if err != nil || number < 0 {
		return otherwise
	}
	return number
}

// applications are all of this user.
func (a *account) applications(ctx context.Context) ([]application, error) {
	entries, err := a.portal.list(ctx, "application.list", "/applications", nil)
	if err != nil {
		return nil, err
	}
	return decodeAll[application](entries, "application.list")
}

// requests are all of this user's of one type.
func (a *account) requests(ctx context.Context, kind string) ([]request, error) {
	entries, err := a.portal.list(ctx, "request.list", "/requests", url.Values{"type": {kind}})
	if err != nil {
		return nil, err
	}
	all, err := decodeAll[request](entries, "request.list")
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if r.Type != kind {
			return nil, upstream.Errorf(upstream.Retryable, "request.list: the portal lists requests of another type than it was asked for")
		}
	}
	return all, nil
}

func decodeAll[T any](entries []json.RawMessage, operation string) ([]T, error) {
	out := make([]T, len(entries))
	for i, entry := range entries {
		if json.Unmarshal(entry, &out[i]) != nil {
			return nil, upstream.Errorf(upstream.Retryable, "%s: an entry is no JSON of the expected form", operation)
		}
	}
	return out, nil
}

// readRequest reads one request; nil where the portal says that there is none.
func (a *account) readRequest(ctx context.Context, id string) (*request, error) {
	return read[request](ctx, a, "request.read", "/requests/", id)
}

// readApplication reads one application; nil where the portal says that there is none.
func (a *account) readApplication(ctx context.Context, id string) (*application, error) {
	return read[application](ctx, a, "application.read", "/applications/", id)
}

func read[T any](ctx context.Context, a *account, operation, path, id string) (*T, error) {
	if !segment.MatchString(id) {
		return nil, upstream.Errorf(upstream.InvalidSpec, "%q is no id", upstream.Excerpt(id))
	}
	r, err := a.portal.exchange(ctx, call{operation: operation, method: http.MethodGet, path: path + id})
	if err != nil {
		return nil, err
	}
	if r.missing() {
		return nil, nil
	}
	out := new(T)
	if r.status != http.StatusOK || idOf(r.body) != id || !r.decode(out) {
		return nil, r.refusal()
	}
	return out, nil
}
