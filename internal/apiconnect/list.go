package apiconnect

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// pageSize makes a catalog of 10,000 credentials a hundred calls.
	pageSize = 100
	// maxEntries bounds what a list may claim to hold.
	maxEntries = 1_000_000
	// listAttempts is how often a list is begun again when it changed meanwhile.
	listAttempts = 3
)

// ourName is the form of the names that Claviger gives.
var ourName = regexp.MustCompile(`^cl-[a-z2-7]{13}-[a-z2-7]{8}$`)

// identified is an entry of a list.
type identified interface{ identity() string }

// list reads a whole list, or fails: with fewer entries than there are, something
// would be taken for gone. What is referred to comes along where expand names it.
func list[T identified](ctx context.Context, p *platform, operation, path, fields string, expand ...string) ([]T, error) {
	var err error
	for range listAttempts {
		var entries []T
		var changed bool
		if entries, changed, err = listOnce[T](ctx, p, operation, path, fields, expand); err == nil || !changed {
			return entries, err
		}
	}
	return nil, err
}

// listOnce reads page by page. Each page begins with the last entry of the one before:
// an entry that goes away and another one that comes leave the total as it was, move
// the rest by one, and would hide an entry between two pages.
func listOnce[T identified](ctx context.Context, p *platform, operation, path, fields string, expand []string) (entries []T, changed bool, err error) {
	moved := func(why string) ([]T, bool, error) {
		return nil, true, upstream.Errorf(upstream.Retryable, "%s: the list is not whole: %s", operation, why)
	}
	total, distinct := 0, map[string]bool{}
	for first := true; first || len(entries) < total; first = false {
		offset := max(0, len(entries)-1)
		c := call{operation: operation, method: http.MethodGet, path: path, query: url.Values{
			"limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(offset)}, "fields": {fields}, "expand": expand,
		}.Encode()}
		r, err := p.send(ctx, c)
		if err != nil {
			return nil, false, err
		}
		var answer page[T]
		if r.status != http.StatusOK || decode(r.body, &answer) != nil || answer.Total == nil {
			return nil, false, refusal(c, r)
		}
		switch overlap := min(1, len(entries)); {
		case first:
			if total = *answer.Total; total < 0 || total > maxEntries {
				return nil, false, upstream.Errorf(upstream.Retryable, "%s: a list of %d entries is not believed", operation, total)
			}
			entries = answer.Results
		case *answer.Total != total:
			return moved("its total changed while it was read")
		case len(answer.Results) <= overlap:
			return moved("it ends before its total")
		case answer.Results[0].identity() != entries[len(entries)-1].identity():
			return moved("its entries moved while it was read")
		default:
			entries = append(entries, answer.Results[overlap:]...)
		}
		before := len(distinct)
		for _, entry := range answer.Results {
			distinct[entry.identity()] = true
		}
		if len(entries) < total && len(distinct) == before {
			// Nothing new, and more to come: a platform that repeats itself would be asked
			// a million times.
			return moved("it ends before its total")
		}
	}
	if len(entries) != total {
		return moved("it holds more entries than its total")
	}
	for _, entry := range entries {
		if checkSegment("id", entry.identity()) != nil {
			return nil, false, upstream.Errorf(upstream.Retryable, "%s: an entry has no usable id", operation)
		}
	}
	return entries, false, nil
}

// credentialFields are what we read of credentials in lists.
const credentialFields = "id,name,client_id,client_secret_hashed,created_at,app_url"

// credentials lists those of an app or of a catalog.
func (a *account) credentials(ctx context.Context, path string) ([]credential, error) {
	return list[credential](ctx, a.platform, "credential.list", path+"/credentials", credentialFields)
}

// List implements upstream.Upstream.
func (a *account) List(ctx context.Context, owner upstream.Owner) (upstream.Listing, error) {
	realm, err := a.resolveRealm(ctx)
	if err != nil {
		return upstream.Listing{}, err
	}
	var entries []credential
	only := place{}
	if owner.Container == "" {
		entries, err = a.credentials(ctx, realm.catalogPath())
	} else if only, err = a.parseOwn(owner.Container); err == nil {
		entries, err = a.appCredentials(ctx, only)
	}
	if err != nil {
		return upstream.Listing{}, err
	}
	var listing upstream.Listing
	distinct := map[string]bool{}
	for _, entry := range entries {
		if distinct[entry.ID] {
			continue
		}
		distinct[entry.ID] = true
		if !ours(entry, owner) {
			continue
		}
		where := only
		if owner.Container == "" {
			var ok bool
			if where, ok = a.placeOf(realm, entry.AppURL); !ok {
				return upstream.Listing{}, upstream.Errorf(upstream.Retryable, "credential.list: credential %s has no usable app_url, so it is unknown where it lives", upstream.Excerpt(entry.ID))
			}
		}
		listing.Found = append(listing.Found, upstream.Found{
			ID: entry.ID, Name: entry.Name, Mark: upstream.Mark(entry.ClientID), Container: where.String(),
			CreatedAt: entry.CreatedAt.Time, SecretHash: entry.ClientSecretHash,
		})
	}
	listing.Total = len(distinct)
	return listing, nil
}

// ours reports whether an entry bears a mark of our shape. Client ids that the
// platform makes have that shape too, so without an owner the name must fit as well;
// with an owner a renamed object is found all the same (hazard M13).
func ours(entry credential, owner upstream.Owner) bool {
	if !isMark(upstream.Mark(entry.ClientID)) {
		return false
	}
	if owner.Mark != "" {
		return upstream.Mark(entry.ClientID).Owner() == owner.Mark
	}
	return ourName.MatchString(entry.Name)
}

func isMark(mark upstream.Mark) bool {
	decoded, err := hex.DecodeString(string(mark))
	return err == nil && len(decoded) == 16 && hex.EncodeToString(decoded) == string(mark)
}
