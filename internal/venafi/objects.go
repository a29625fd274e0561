package venafi

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// What is gone and what only cannot be seen (hazard C4): the platform answers both with
// the same words. An object is absent only where its folder resolves to the GUID that was
// recorded, so the login sees it, and the whole folder was searched.

const (
	pageSize = 500
	// maxPages bounds a search that never ends.
	maxPages = 2000
)

// objectName is the name of a version's object. The whole mark is in it, so that a
// listing alone tells what is ours.
func objectName(name string, mark upstream.Mark) string { return name + "." + string(mark) }

// ourName is the form of such a name.
var ourName = regexp.MustCompile(`^([^\\/]{1,40})\.([0-9a-f]{32})$`)

// origin marks an object where its name may be changed.
func origin(mark upstream.Mark) string { return "Claviger " + string(mark) }

// entry is an object in a list.
type entry struct {
	CreatedOn string `json:"CreatedOn"`
	DN        string `json:"DN"`
	GUID      string `json:"Guid"`
	Name      string `json:"Name"`
	ParentDN  string `json:"ParentDn"`
	X509      struct {
		CN string `json:"CN"`
	} `json:"X509"`
}

// object is one object in full.
type object struct {
	DN                 string `json:"DN"`
	GUID               string `json:"Guid"`
	Name               string `json:"Name"`
	Origin             string `json:"Origin"`
	Disabled           bool   `json:"Disabled"`
	CertificateDetails struct {
		Thumbprint string `json:"Thumbprint"`
	} `json:"CertificateDetails"`
	ProcessingDetails struct {
		Stage     int    `json:"Stage"`
		Status    string `json:"Status"`
		TicketDN  string `json:"TicketDN"`
		InError   bool   `json:"InError"`
		InProcess bool   `json:"InProcess"`
	} `json:"ProcessingDetails"`
}

// isFor reports whether an object was made for this mark: by what it was told of its
// origin, or where a platform does not keep that, by its name.
func (o *object) isFor(mark upstream.Mark) bool {
	if strings.HasPrefix(o.Origin, "Claviger ") {
		return o.Origin == origin(mark)
	}
	return strings.HasSuffix(o.Name, "."+string(mark))
}

// certificatePath is the address of an object.
func certificatePath(guid string) string { return "/vedsdk/certificates/{" + guid + "}" }

// isGUID refuses what cannot stand in a path.
var isGUID = regexp.MustCompile(`^[0-9a-f-]{1,64}$`)

// read reads an object by its GUID; nil if the platform says that there is none, or none
// that may be seen.
func (a *certificates) read(ctx context.Context, guid string) (*object, error) {
	if !isGUID.MatchString(guid) {
		return nil, upstream.Errorf(upstream.InvalidSpec, "%q is no GUID", upstream.Excerpt(guid))
	}
	c := call{operation: "certificate.read", method: http.MethodGet, path: certificatePath(guid)}
	r, err := a.platform.send(ctx, c)
	if err != nil {
		return nil, err
	}
	if saysMissing(r) {
		return nil, nil
	}
	var found object
	if r.status != http.StatusOK || !r.decode(&found) || found.DN == "" {
		return nil, refusal(c, r)
	}
	found.GUID = guid
	return &found, nil
}

// saysMissing tells the platform's own words from a proxy's page.
func saysMissing(r reply) bool {
	var document struct {
		Error string `json:"Error"`
	}
	return (r.status == http.StatusBadRequest || r.status == http.StatusNotFound) && r.decode(&document) && strings.Contains(document.Error, "does not exist")
}

// at reads the object of a DN; nil as above.
func (a *certificates) at(ctx context.Context, dn string) (*object, error) {
	guid, found, err := a.guidOf(ctx, dn)
	if err != nil || !found {
		return nil, err
	}
	return a.read(ctx, guid)
}

// search lists objects, all pages of them. A search that may be short is an error.
func (a *certificates) search(ctx context.Context, query url.Values) ([]entry, error) {
	var all []entry
	for range maxPages {
		c := call{operation: "certificate.search", method: http.MethodGet, path: "/vedsdk/certificates/", query: url.Values{
			"limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(len(all))},
		}}
		for key, value := range query {
			c.query[key] = value
		}
		r, err := a.platform.send(ctx, c)
		if err != nil {
			return nil, err
		}
		var page struct {
			Certificates *[]entry `json:"Certificates"`
			TotalCount   *int     `json:"TotalCount"`
		}
		if r.status != http.StatusOK || !r.decode(&page) || page.Certificates == nil || page.TotalCount == nil {
			return nil, refusal(c, r)
		}
		all = append(all, *page.Certificates...)
		switch {
		case len(all) == *page.TotalCount:
			return all, nil
		case len(all) > *page.TotalCount, len(*page.Certificates) == 0:
			return nil, upstream.Errorf(upstream.Retryable, "certificate.search: the list is not whole: its total does not fit its pages")
		}
	}
	return nil, upstream.Errorf(upstream.Retryable, "certificate.search: the list has too many pages")
}

// find looks for a version's object: by its id, by its name, and by its origin among all
// in the folder, because people rename things. nil without an error is proven absence.
func (a *certificates) find(ctx context.Context, container string, wanted certificateParameters, id, name string, mark upstream.Mark) (*object, error) {
	if id != "" {
		found, err := a.read(ctx, id)
		if err != nil || found != nil && found.isFor(mark) {
			return found, err
		}
	}
	if err := a.own(ctx, container, wanted); err != nil {
		return nil, err
	}
	found, err := a.at(ctx, wanted.PolicyDN+`\`+objectName(name, mark))
	if err != nil || found != nil && found.isFor(mark) {
		return found, err
	}
	entries, err := a.search(ctx, url.Values{"parentdnrecursive": {wanted.PolicyDN}})
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		// What has a name of our form is that name's; what has another common name was
		// not made of our request. Only what is left costs a call.
		if ours := ourName.FindStringSubmatch(e.Name); ours != nil && ours[2] != string(mark) || e.X509.CN != "" && e.X509.CN != wanted.CommonName {
			continue
		}
		found, err := a.read(ctx, plainGUID(e.GUID))
		if err != nil || found != nil && found.isFor(mark) {
			return found, err
		}
	}
	return nil, nil
}

// List implements upstream.Upstream. Objects that were disabled are done with.
func (a *certificates) List(ctx context.Context, owner upstream.Owner) (upstream.Listing, error) {
	entries, err := a.search(ctx, url.Values{"parentdnrecursive": {a.folder}, "disabled": {"0"}})
	if err != nil {
		return upstream.Listing{}, err
	}
	listing := upstream.Listing{Total: len(entries)}
	containers := map[string]string{}
	for _, e := range entries {
		ours := ourName.FindStringSubmatch(e.Name)
		if ours == nil {
			continue
		}
		mark := upstream.Mark(ours[2])
		if owner.Mark != "" && mark.Owner() != owner.Mark {
			continue
		}
		if containers[e.ParentDN] == "" {
			guid, found, err := a.guidOf(ctx, e.ParentDN)
			if err != nil {
				return upstream.Listing{}, err
			}
			if !found {
				return upstream.Listing{}, upstream.Errorf(upstream.Retryable, "config.guid: the folder of a listed certificate cannot be resolved")
			}
			containers[e.ParentDN] = a.realm + "/" + guid
		}
		if owner.Container != "" && owner.Container != containers[e.ParentDN] {
			continue
		}
		created, _ := time.Parse(time.RFC3339Nano, e.CreatedOn) // zero: it tells none
		listing.Found = append(listing.Found, upstream.Found{
			ID: plainGUID(e.GUID), Name: ours[1], Mark: mark, Container: containers[e.ParentDN], CreatedAt: created,
		})
	}
	return listing, nil
}

// document decodes the base64 of an answer that holds certificates.
func document(text string) (string, error) {
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", errNoCertificate
	}
	return string(decoded), nil
}
