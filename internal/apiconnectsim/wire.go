package apiconnectsim

import (
	"encoding/json"
	"errors"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// largestBody bounds what the platform reads of a request.
const largestBody = 1 << 20

// object is one JSON object of an answer.
type object map[string]any

// reply is an answer that is not encoded yet, so that encoding ten thousand
// entries does not happen under the platform's lock.
type reply struct {
	status int
	header http.Header
	value  any // nil: no body
}

func (r reply) answer() simkit.Answer {
	if r.value == nil {
		return simkit.Answer{Status: r.status, Header: r.header}
	}
	answer := simkit.JSON(r.status, r.value)
	for name, values := range r.header {
		answer.Header[name] = values
	}
	return answer
}

// failure is the error body of the platform.
func (s *Sim) failure(status int, message string) reply {
	body := object{"status": status, "message": []string{message}}
	if s.behaves().MessageAsString {
		body["message"] = message
	}
	if status == http.StatusBadRequest || status == http.StatusUnprocessableEntity {
		body["errors"] = []string{message}
	}
	return reply{status: status, value: body}
}

// read takes a JSON body. It is read to its end in any case: only then does the
// server notice a client that goes away.
func (s *Sim) read(r *http.Request) ([]byte, *reply) {
	body, err := io.ReadAll(io.LimitReader(r.Body, largestBody+1))
	switch {
	case err != nil:
		problem := s.failure(http.StatusBadRequest, "The body did not arrive.")
		return nil, &problem
	case len(body) > largestBody:
		problem := s.failure(http.StatusRequestEntityTooLarge, "The body is too large.")
		return nil, &problem
	case len(body) > 0 && !mentionsJSON(r.Header.Get("Content-Type")):
		problem := s.failure(http.StatusUnsupportedMediaType, "The Content-Type must be application/json.")
		return nil, &problem
	case !mentionsJSON(r.Header.Get("Accept")):
		problem := s.failure(http.StatusNotAcceptable, "The Accept header must allow application/json.")
		return nil, &problem
	}
	return body, nil
}

func mentionsJSON(header string) bool {
	return strings.Contains(header, "application/json") || strings.Contains(header, "*/*")
}

// document is a JSON object of a request, kept raw so that null, absent and text
// are told apart.
type document map[string]json.RawMessage

// text reads a string field; absent and null give ok=false.
func (d document) text(name string) (value string, ok bool, err error) {
	raw, given := d[name]
	if !given || string(raw) == "null" {
		return "", false, nil
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		return "", false, errors.New("The field '" + name + "' must be a string.")
	}
	return value, true, nil
}

func (d document) isNull(name string) bool { return string(d[name]) == "null" }

// list answers a page of items. A full page of ten thousand is cut out first and
// shown afterwards.
func list[T any](t *turn, items []T, show func(T) object) reply {
	behaviour := t.behaviour
	limit, err := count(t.query, "limit", behaviour.DefaultPage)
	if err != nil {
		return t.refuse(http.StatusBadRequest, err.Error())
	}
	offset, err := count(t.query, "offset", 0)
	if err != nil {
		return t.refuse(http.StatusBadRequest, err.Error())
	}
	if behaviour.MaxPage > 0 {
		limit = min(limit, behaviour.MaxPage)
	}
	if behaviour.ShortLists != nil {
		items = items[:min(len(items), *behaviour.ShortLists)]
	}
	from := min(offset, len(items))
	results := []object{}
	for _, item := range items[from:min(from+limit, len(items))] {
		results = append(results, t.project(show(item)))
	}
	return reply{status: http.StatusOK, value: object{"total_results": len(items), "results": results}}
}

func count(query url.Values, name string, otherwise int) (int, error) {
	text := query.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1<<30 {
		return 0, errors.New("The parameter '" + name + "' must be a number.")
	}
	return n, nil
}

// project applies "fields". Names that do not exist, such as one with a blank
// before it, are left out without a word; add(x) keeps what is there by default.
func (t *turn) project(o object) object {
	fields := t.query.Get("fields")
	if fields == "" || strings.HasPrefix(fields, "add(") {
		return o
	}
	out := object{}
	for name := range strings.SplitSeq(fields, ",") {
		if value, ok := o[name]; ok {
			out[name] = value
		}
	}
	return out
}

// link makes a url. Different objects name different hosts of one installation,
// though only one of them may be reachable; turn says which alias.
func (t *turn) link(alias uint32, segments ...string) string {
	hosts := append([]string{t.host}, t.behaviour.HostAliases...)
	return "https://" + hosts[alias%uint32(len(hosts))] + "/api/" + strings.Join(segments, "/")
}

func aliasOf(id string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return h.Sum32()
}

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

func (n *node) object(kind string) object {
	return object{
		"type": kind, "api_version": "2.0.0", "id": n.id, "name": n.name, "title": n.title,
		"created_at": stamp(n.created), "updated_at": stamp(n.updated),
	}
}

func (t *turn) showOrg(o *org) object {
	out := o.object("org")
	out["org_type"], out["state"] = "provider", "enabled"
	out["url"] = t.link(0, "orgs", o.id)
	return out
}

func (t *turn) showCatalog(c *catalog) object {
	out := c.object("catalog")
	out["org_url"] = t.link(0, "orgs", c.org.id)
	out["url"] = t.link(0, "catalogs", c.org.id, c.id)
	return out
}

// showConsumerOrg gives the owner only where it was asked for by expand=owner.
func (t *turn) showConsumerOrg(co *consumerOrg) object {
	out, c := co.object("consumer_org"), co.catalog
	out["state"] = "enabled"
	out["org_url"] = t.link(0, "orgs", c.org.id)
	out["catalog_url"] = t.link(0, "catalogs", c.org.id, c.id)
	out["owner_url"] = t.link(0, "user-registries", c.org.id, "users", co.owner.Username)
	out["url"] = t.link(0, "consumer-orgs", c.org.id, c.id, co.id)
	if t.query.Get("expand") == "owner" {
		out["owner"] = object{
			"type": "user", "username": co.owner.Username, "email": co.owner.Email,
			"first_name": co.owner.FirstName, "last_name": co.owner.LastName,
		}
	}
	return out
}

func (t *turn) showApp(a *app) object {
	out, co, c := a.object("app"), a.consumerOrg, a.catalog()
	out["summary"] = orNull(a.summary)
	out["state"], out["lifecycle_state"] = "enabled", "production"
	out["redirect_endpoints"] = []string{}
	out["application_public_certificate_entry"] = nil
	urls := []string{}
	for i, credential := range a.credentials.order {
		// Another alias than the credential's own url has: the same object, two hosts.
		link := t.link(aliasOf(credential.id)+1, t.credentialPath(credential)...)
		urls = append(urls, link)
		if i == 0 && t.behaviour.DuplicateURLs {
			urls = append(urls, link)
		}
	}
	out["app_credential_urls"] = urls
	out["org_url"] = t.link(0, "orgs", c.org.id)
	out["catalog_url"] = t.link(0, "catalogs", c.org.id, c.id)
	out["consumer_org_url"] = t.link(0, "consumer-orgs", c.org.id, c.id, co.id)
	out["url"] = t.link(aliasOf(a.id), "apps", c.org.id, c.id, co.id, a.id)
	return out
}

func (t *turn) credentialPath(c *credential) []string {
	co, catalog := c.app.consumerOrg, c.app.catalog()
	return []string{"apps", catalog.org.id, catalog.id, co.id, c.app.id, "credentials", c.id}
}

func (t *turn) showCredential(c *credential) object {
	out, co, catalog := c.object("credential"), c.app.consumerOrg, c.app.catalog()
	out["summary"] = orNull(c.summary)
	out["client_id"] = c.clientID
	switch t.behaviour.HashForm {
	case HashSHA256:
		out["client_secret_hashed"] = hashText(c.secret)
	case HashOther:
		out["client_secret_hashed"] = hashText(hashOf("other " + string(c.secret[:])))
	}
	out["org_url"] = t.link(0, "orgs", catalog.org.id)
	out["catalog_url"] = t.link(0, "catalogs", catalog.org.id, catalog.id)
	out["consumer_org_url"] = t.link(0, "consumer-orgs", catalog.org.id, catalog.id, co.id)
	out["app_url"] = t.link(0, "apps", catalog.org.id, catalog.id, co.id, c.app.id)
	out["url"] = t.link(aliasOf(c.id), t.credentialPath(c)...)
	return out
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}
