// Package cloudintegration reads from a SAP Cloud Integration tenant what is deployed, how
// it was designed and which security material there is, and writes single entries of that. The
// one idea: a scan of a thousand flows takes minutes at the rate that a tenant allows, so it is
// a list of small steps of one call each that whoever drives it may stop between; what did not
// change since the last scan is not read again.
//
// A scan only reads. What is written can be written again: each entry bears a note that tells
// whoever reads it which version was accepted, because the secret itself is never shown.
package cloudintegration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/claviger-dev/claviger/internal/cloudintegration/whereused"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Result is what a whole scan found.
type Result struct {
	// Flows is how many integration flows are deployed.
	Flows int
	// References of all of them.
	References []whereused.Reference
	// Unreadable are flows of which something is not known: their references may be more
	// than were found.
	Unreadable []Unreadable
	// Differs are flows that run in another version than their design has.
	Differs []string
	// Existing are the aliases of the tenant's security material.
	Existing []string
}

// Complete reports whether every flow that is known to run could be read.
func (r Result) Complete() bool { return len(r.Unreadable) == 0 }

// Unreadable says why a flow's references are not all known.
type Unreadable struct {
	Flow string
	Why  string
}

// Scanner scans one tenant again and again. It is not safe for concurrent use.
type Scanner struct {
	tenant *Tenant
	// kept is what earlier scans found, by flow.
	kept map[string]kept

	queue   []func(context.Context) error
	result  Result
	fresh   map[string]kept
	designs map[string]string // versions by flow
	flows   []runtimeArtifact
	tries   map[string]int // downloads that failed, by flow
}

// kept is what was found of a flow in one state of it.
type kept struct {
	state      string
	references []whereused.Reference
	unreadable []Unreadable
}

// NewScanner makes one that remembers nothing yet.
func NewScanner(tenant *Tenant) *Scanner {
	s := &Scanner{tenant: tenant, kept: map[string]kept{}}
	s.begin()
	return s
}

// Use reads with another login from now on. What earlier scans found is kept; a scan that is
// under way begins anew.
func (s *Scanner) Use(tenant *Tenant) {
	s.tenant = tenant
	s.begin()
}

// begin forgets a scan that is under way and starts the next.
func (s *Scanner) begin() {
	s.result, s.fresh, s.designs, s.flows, s.tries = Result{}, map[string]kept{}, map[string]string{}, nil, map[string]int{}
	s.queue = []func(context.Context) error{s.listFlows, s.listPackages, s.listMaterial, s.chooseFlows}
}

// Step goes on by one step. done tells that the scan is whole; then result is it, and the
// next Step begins another scan. After an error the same step is made again by the next
// call; its class says when.
func (s *Scanner) Step(ctx context.Context) (result Result, done bool, err error) {
	step := s.queue[0]
	rest := slices.Clone(s.queue[1:])
	s.queue = nil // steps put what they lead to in front of the rest
	if err := step(ctx); err != nil {
		s.queue = append([]func(context.Context) error{step}, rest...)
		return Result{}, false, err
	}
	s.queue = append(s.queue, rest...)
	if len(s.queue) > 0 {
		return Result{}, false, nil
	}
	result = s.finish()
	s.kept = s.fresh
	s.begin()
	return result, true, nil
}

// finish puts together what was found of each flow.
func (s *Scanner) finish() Result {
	result := s.result
	for _, flow := range slices.Sorted(maps.Keys(s.fresh)) {
		result.References = append(result.References, s.fresh[flow].references...)
		result.Unreadable = append(result.Unreadable, s.fresh[flow].unreadable...)
	}
	slices.Sort(result.Differs)
	slices.Sort(result.Existing)
	result.Existing = slices.Compact(result.Existing)
	return result
}

// runtimeArtifact is one that is deployed.
type runtimeArtifact struct {
	ID         string `json:"Id"`
	Version    string `json:"Version"`
	Type       string `json:"Type"`
	DeployedOn string `json:"DeployedOn"`
}

func (s *Scanner) listFlows(ctx context.Context) error {
	all, err := list(ctx, s.tenant, "runtime.list", "/IntegrationRuntimeArtifacts", true, func(a runtimeArtifact) string { return a.ID })
	if err != nil {
		return err
	}
	s.flows = slices.DeleteFunc(all, func(a runtimeArtifact) bool { return a.Type != "INTEGRATION_FLOW" })
	s.result.Flows = len(s.flows)
	return nil
}

type named struct {
	ID      string `json:"Id"`
	Name    string `json:"Name"`
	Alias   string `json:"Alias"`
	Version string `json:"Version"`
}

func (s *Scanner) listPackages(ctx context.Context) error {
	packages, err := list(ctx, s.tenant, "package.list", "/IntegrationPackages", true, func(n named) string { return n.ID })
	if err != nil {
		return err
	}
	for _, p := range packages {
		s.queue = append(s.queue, func(ctx context.Context) error {
			designs, err := list(ctx, s.tenant, "design.list", "/IntegrationPackages("+quote(p.ID)+")/IntegrationDesigntimeArtifacts", false, func(n named) string { return n.ID })
			for _, d := range designs {
				s.designs[d.ID] = d.Version
			}
			return err
		})
	}
	return nil
}

// listMaterial lists the aliases by list calls alone, never one by one.
func (s *Scanner) listMaterial(ctx context.Context) error {
	var existing []string
	for _, of := range []struct{ operation, path string }{
		{"user-credential.list", "/UserCredentials"},
		{"oauth2-credential.list", "/OAuth2ClientCredentials"},
		{"keystore.list", "/KeystoreEntries?keystoreName=system"},
	} {
		entries, err := list(ctx, s.tenant, of.operation, of.path, false, func(n named) string { return n.Name + n.Alias })
		if err != nil {
			return err
		}
		for _, e := range entries {
			existing = append(existing, e.Name+e.Alias)
		}
	}
	s.result.Existing = append(s.result.Existing, existing...)
	return nil
}

// chooseFlows takes over what is known already, and lines up the rest.
func (s *Scanner) chooseFlows(context.Context) error {
	for _, flow := range s.flows {
		design, designed := s.designs[flow.ID]
		state := strings.Join([]string{flow.Version, flow.DeployedOn, design}, "\n")
		switch before, known := s.kept[flow.ID]; {
		case !designed:
			s.fresh[flow.ID] = kept{unreadable: []Unreadable{{flow.ID, "it runs, and no design of it is visible: an access policy hides it, or it was deleted"}}}
			continue
		case known && before.state == state && len(before.unreadable) == 0:
			s.fresh[flow.ID] = before
		default:
			s.queue = append(s.queue, func(ctx context.Context) error { return s.readFlow(ctx, flow.ID, state) })
		}
		if design != flow.Version {
			s.result.Differs = append(s.result.Differs, flow.ID)
		}
	}
	return nil
}

// readFlow reads how a flow's parameters are set, and lines up its design.
func (s *Scanner) readFlow(ctx context.Context, flow, state string) error {
	path := "/IntegrationDesigntimeArtifacts(Id=" + quote(flow) + ",Version='active')"
	type configuration struct {
		Key   string `json:"ParameterKey"`
		Value string `json:"ParameterValue"`
	}
	configurations, err := list(ctx, s.tenant, "configuration.list", path+"/Configurations", false, func(c configuration) string { return c.Key })
	if hidden(err) {
		s.fresh[flow] = kept{state: state, unreadable: []Unreadable{{flow, "its parameters cannot be read; the client needs the role AccessAllAccessPoliciesArtifacts"}}}
		return nil
	}
	if err != nil {
		return err
	}
	configured := map[string]string{}
	for _, c := range configurations {
		configured[c.Key] = c.Value
	}
	s.queue = append(s.queue, func(ctx context.Context) error { return s.readDesign(ctx, flow, state, path, configured) })
	return nil
}

// downloads is how often a download may fail.
const downloads = 3

// readDesign reads what the flow is made of. A download that is refused leaves the
// parameters, which tell some of it.
func (s *Scanner) readDesign(ctx context.Context, flow, state, path string, configured map[string]string) error {
	guess := func(why string) {
		s.fresh[flow] = kept{state: state, references: whereused.FromParameters(flow, configured), unreadable: []Unreadable{{flow, why}}}
	}
	r, err := s.tenant.get(ctx, "design.download", path+"/$value")
	if upstream.ClassOf(err) == upstream.Retryable && err != nil && ctx.Err() == nil {
		// One design that is too large, or breaks the line each time, must not stop the scan.
		if s.tries[flow]++; s.tries[flow] >= downloads {
			guess("its design could not be downloaded, so only its parameters were looked at")
			return nil
		}
	}
	if err != nil {
		return err
	}
	if r.status != http.StatusOK {
		if transient(r) {
			return r.refusal()
		}
		guess("its design is refused for download (" + strconv.Itoa(r.status) + "), so only its parameters were looked at")
		return nil
	}
	design, err := whereused.ReadDesign(r.body)
	if err != nil {
		guess("its design cannot be read, so only its parameters were looked at")
		return nil //nolint:nilerr // what cannot be read is a result: the flow is named as unreadable
	}
	k := kept{state: state}
	var unresolved []string
	k.references, unresolved = whereused.Resolve(flow, design, configured)
	if len(unresolved) > 0 {
		k.unreadable = []Unreadable{{flow, fmt.Sprintf("parameters that are set nowhere: %s", upstream.Excerpt(strings.Join(unresolved, ", ")))}}
	}
	s.fresh[flow] = k
	return nil
}

// transient: the answer says nothing about the flow.
func transient(r reply) bool {
	return r.throttled || r.status == http.StatusUnauthorized || r.status == http.StatusRequestTimeout || r.status == http.StatusTooManyRequests ||
		r.status == http.StatusBadGateway || r.status == http.StatusServiceUnavailable || r.status == http.StatusGatewayTimeout || r.status/100 == 3
}

// hidden: this one thing may not be seen, or is gone.
func hidden(err error) bool {
	own, ok := errors.AsType[*upstream.Error](err)
	return ok && (own.Class == upstream.Forbidden || own.Class == upstream.NotFound)
}

// quote makes an OData key of a text.
func quote(text string) string {
	return "'" + url.PathEscape(strings.ReplaceAll(text, "'", "''")) + "'"
}

// pageSize is how much of a list is asked for at once.
const pageSize = 100

// list reads a whole list. Paged ones are read to the count that they tell, or, where none
// is told, to an empty page; an entry that comes twice makes an error, never a shorter list.
func list[T any](ctx context.Context, t *Tenant, operation, path string, paged bool, identity func(T) string) ([]T, error) {
	var all []T
	seen := map[string]bool{}
	for {
		address := path
		if paged {
			address += "?$top=" + strconv.Itoa(pageSize) + "&$skip=" + strconv.Itoa(len(all)) + "&$inlinecount=allpages"
		}
		r, err := t.get(ctx, operation, address)
		if err != nil {
			return nil, err
		}
		var answer struct {
			D struct {
				Results []T    `json:"results"`
				Count   string `json:"__count"`
			} `json:"d"`
		}
		if r.status != http.StatusOK || json.Unmarshal(r.body, &answer) != nil || answer.D.Results == nil {
			return nil, r.refusal()
		}
		for _, entry := range answer.D.Results {
			id := identity(entry)
			if id == "" || seen[id] {
				return nil, upstream.Errorf(upstream.Retryable, "%s: the list is not whole: an entry has no name of its own", operation)
			}
			seen[id] = true
			all = append(all, entry)
		}
		total, uncounted := strconv.Atoi(answer.D.Count)
		counted, last := uncounted == nil, len(answer.D.Results) == 0
		switch {
		case !paged, counted && total == len(all), !counted && last:
			return all, nil
		case last:
			return nil, upstream.Errorf(upstream.Retryable, "%s: the list is not whole: it ends before its count", operation)
		}
	}
}
