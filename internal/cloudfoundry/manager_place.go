package cloudfoundry

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	managerInstances = "/v1/service_instances"
	managerBindings  = "/v1/service_bindings"
	managerPlatforms = "/v1/platforms"
)

// planAdvice is what a person can do about a refusal.
const planAdvice = "; the login Secret must hold a binding of a service-manager instance of plan subaccount-admin in that subaccount"

func (m *manager) realm() string { return m.api.base.Host + "/" + m.parameters.SubaccountID }

func (m *manager) container(instance string) string { return m.realm() + "/" + instance }

func (m *manager) parseContainer(text string) (instance string, err error) {
	instance, ours := strings.CutPrefix(text, m.realm()+"/")
	if !ours || !segment.MatchString(instance) {
		return "", upstream.Errorf(upstream.InvalidSpec, "%q is no service instance of this subaccount", upstream.Excerpt(text))
	}
	return instance, nil
}

// wanted reads a credential's parameters. An instance that Claviger makes itself has things on
// it that are Cloud Foundry's.
func (m *manager) wanted(raw json.RawMessage) (credentialParameters, error) {
	var made struct {
		Managed json.RawMessage `json:"managed"`
	}
	if json.Unmarshal(raw, &made) == nil && len(made.Managed) > 0 && !bytes.Equal(made.Managed, []byte("null")) {
		return credentialParameters{}, upstream.Errorf(upstream.InvalidSpec, "managed service instances are made by an issuer of %s only; this one is of %s: name an instance that exists", Member, ManagerMember)
	}
	return m.read(raw)
}

// belongs refuses what Service Manager says is of another subaccount.
func (m *manager) belongs(e entity) error {
	if of := e.label(labelSubaccount); of != "" && of != m.parameters.SubaccountID {
		return upstream.Errorf(upstream.Forbidden, "the login is of subaccount %q and the issuer names %q; give the issuer the binding of its own subaccount", upstream.Excerpt(of), m.parameters.SubaccountID)
	}
	return nil
}

// Check implements upstream.Upstream.
func (m *manager) Check(ctx context.Context) (string, error) {
	p, err := m.page(ctx, "instance.list", managerInstances, url.Values{"max_items": {"1"}})
	if err != nil {
		return "", err
	}
	for _, one := range p.Items {
		if err := m.belongs(one); err != nil {
			return "", err
		}
	}
	return m.realm(), nil
}

// Locate implements upstream.Upstream.
func (m *manager) Locate(ctx context.Context, raw json.RawMessage) (string, error) {
	p, err := m.wanted(raw)
	if err != nil {
		return "", err
	}
	field, name := "name", p.Instance
	if p.InstanceGUID != "" {
		field, name = "id", p.InstanceGUID
	}
	found, err := m.list(ctx, "instance.list", managerInstances, url.Values{"fieldQuery": {field + " eq " + literal(name)}})
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", upstream.Errorf(upstream.NotFound, "there is no service instance %q in the subaccount, or the login may not see it%s", upstream.Excerpt(name), planAdvice)
	case len(found) > 1:
		return "", upstream.Errorf(upstream.InvalidSpec, "%d service instances of the subaccount have the name %q; name one of them by instanceGUID", len(found), upstream.Excerpt(name))
	}
	// A release that does not know the query would answer with any.
	if one := found[0]; p.InstanceGUID != "" && one.ID != name || p.InstanceGUID == "" && one.Name != name {
		return "", upstream.Errorf(upstream.Retryable, "instance.list: another service instance was answered than was asked for")
	}
	return m.container(found[0].ID), m.belongs(found[0])
}

// list reads a whole list. A page that fails, or a count that does not fit, is an error and
// never a shorter list.
func (m *manager) list(ctx context.Context, operation, path string, query url.Values) ([]entity, error) {
	for range listAttempts {
		all, consistent, err := m.listOnce(ctx, operation, path, query)
		if err != nil || consistent {
			return all, err
		}
	}
	return nil, upstream.Errorf(upstream.Retryable, "%s: the list has not as many entries as it says, or changed while it was read", operation)
}

func (m *manager) listOnce(ctx context.Context, operation, path string, query url.Values) (all []entity, consistent bool, err error) {
	seen, tokens := map[string]bool{}, map[string]bool{}
	total, token := 0, ""
	for number := range maxPages {
		asked := with(query, "max_items", strconv.Itoa(managerPageSize))
		if token != "" {
			asked.Set("token", token)
		}
		p, err := m.page(ctx, operation, path, asked)
		if err != nil {
			return nil, false, err
		}
		if number > 0 && *p.Total != total {
			return nil, false, nil
		}
		total = *p.Total
		for _, one := range p.Items {
			if seen[one.ID] {
				return nil, false, nil
			}
			seen[one.ID] = true
			all = append(all, one)
		}
		if token = p.Token; token == "" {
			break
		}
		if tokens[token] {
			return nil, false, nil // it would never end
		}
		tokens[token] = true
	}
	return all, token == "" && len(all) == total, nil
}

func (m *manager) page(ctx context.Context, operation, path string, query url.Values) (entityPage, error) {
	r, err := m.api.send(ctx, call{operation: operation, method: http.MethodGet, path: path, query: query})
	if err != nil {
		return entityPage{}, err
	}
	if !r.document() {
		return entityPage{}, r.refusal(planAdvice)
	}
	p, err := decodeEntityPage(r.body)
	if err != nil {
		return p, upstream.Errorf(upstream.Retryable, "%s: %s", operation, err)
	}
	return p, nil
}

// object reads one. An object that is not there is nil and no error: what that means is for the
// caller to prove.
func (m *manager) object(ctx context.Context, operation, path, id string) (*entity, reply, error) {
	r, err := m.api.send(ctx, call{operation: operation, method: http.MethodGet, path: path + "/" + id})
	if err != nil {
		return nil, r, err
	}
	if _, said := refused(r.body); said && missing(r.status) {
		return nil, r, nil
	}
	if !r.document() {
		return nil, r, r.refusal(planAdvice)
	}
	one, err := decodeEntity(r.body, id)
	if err != nil {
		return nil, r, upstream.Errorf(upstream.Retryable, "%s: %s", operation, err)
	}
	return &one, r, nil
}

// visible succeeds if what a whole list of the instance's bindings lacks is not there: the
// login reads the instance, or it is proven that the instance has gone, and its bindings
// with it.
func (m *manager) visible(ctx context.Context, instance string) error {
	one, _, err := m.object(ctx, "instance.read", managerInstances, instance)
	switch {
	case err != nil:
		return err
	case one != nil:
		return m.belongs(*one)
	}
	unproven := func(why string) error {
		return upstream.Errorf(upstream.Forbidden, "the service instance is not there, and that it has gone could not be proven: %s%s", why, planAdvice)
	}
	// Only who may read the platforms of a subaccount sees all of its instances; a login of plan
	// container sees those that were made with it.
	r, err := m.api.send(ctx, call{operation: "platform.list", method: http.MethodGet, path: managerPlatforms, query: url.Values{"max_items": {"1"}}})
	if err != nil {
		return err
	}
	if r.status == http.StatusForbidden {
		return unproven("the login does not see the whole subaccount")
	}
	if _, err := decodeEntityPage(r.body); err != nil || r.status != http.StatusOK {
		return r.refusal(planAdvice)
	}
	// And it is that of the same subaccount: another one knows nothing of the instance either.
	p, err := m.page(ctx, "instance.list", managerInstances, url.Values{"max_items": {"1"}})
	if err != nil {
		return err
	}
	for _, other := range p.Items {
		if other.label(labelSubaccount) == m.parameters.SubaccountID {
			return nil
		}
	}
	return unproven("nothing tells of which subaccount the login is")
}
