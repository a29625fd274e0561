package apiconnectsim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Material is a pair as a person copies it from a screen that shows it once.
type Material struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	ClientID     string `json:"clientId"`
	ClientSecret string `json:"clientSecret"`
}

// Rename gives the last object on the path another name, as a person does in the
// console. Its id stays, and paths with the old name lead nowhere.
func (s *Sim) Rename(path Path, name string) error {
	return s.human("rename", path, func(p place) error {
		if !nameRule.MatchString(name) {
			return fmt.Errorf("%q is no name", name)
		}
		switch {
		case p.credential != nil:
			c := p.credential
			if other, taken := c.app.credentials.byName[name]; taken && other != c {
				return fmt.Errorf("the name %s is taken", name)
			}
			s.change(c, name, c.clientID, c.secret, byHand, "human")
			return nil
		case p.app != nil:
			return rename(&p.consumerOrg.apps, p.app, name, s)
		case p.consumerOrg != nil:
			return rename(&p.catalog.consumerOrgs, p.consumerOrg, name, s)
		case p.catalog != nil:
			return rename(&p.org.catalogs, p.catalog, name, s)
		case p.org != nil:
			return rename(&s.world.orgs, p.org, name, s)
		}
		return errors.New("the path is empty")
	})
}

func rename[T entity](in *set[T], item T, name string, s *Sim) error {
	if other, taken := in.byName[name]; taken && other != item {
		return fmt.Errorf("the name %s is taken", name)
	}
	in.rename(item, name, s.clock.Now())
	return nil
}

// Delete removes a credential, an app or a consumer organization with everything
// below it.
func (s *Sim) Delete(path Path) error {
	return s.human("delete", path, func(p place) error {
		switch {
		case p.credential != nil:
			s.revoke(p.credential, byHand, "human")
		case p.app != nil:
			s.deleteApp(p.app)
		case p.consumerOrg != nil:
			for _, a := range slices.Clone(p.consumerOrg.apps.order) {
				s.deleteApp(a)
			}
			p.catalog.consumerOrgs.remove(p.consumerOrg)
		default:
			return errors.New("only a credential, an app or a consumer organization can be deleted")
		}
		return nil
	})
}

func (s *Sim) deleteApp(a *app) {
	for _, c := range slices.Clone(a.credentials.order) {
		s.revoke(c, byHand, "app-deleted")
	}
	a.consumerOrg.apps.remove(a)
}

// ResetSecret gives a credential a new secret; the old one dies.
func (s *Sim) ResetSecret(path Path) (Material, error) {
	var made Material
	err := s.human("reset-secret", path, func(p place) error {
		if p.credential == nil {
			return errors.New("the path names no credential")
		}
		c, secret := p.credential, simkit.NewSecret(materialDigits)
		s.change(c, c.name, c.clientID, hashOf(secret), byHand, "human")
		made = Material{ID: c.id, Name: c.name, ClientID: c.clientID, ClientSecret: secret}
		return nil
	})
	return made, err
}

// Subscribe says whether an app has a subscription.
func (s *Sim) Subscribe(path Path, subscribed bool) error {
	what := "subscribe"
	if !subscribed {
		what = "unsubscribe"
	}
	return s.human(what, path, func(p place) error {
		if p.app == nil {
			return errors.New("the path names no app")
		}
		s.subscribe(p.app, subscribed)
		return nil
	})
}

// RevokePredecessors kills every credential of an app but its newest, and returns
// how many.
func (s *Sim) RevokePredecessors(path Path) (int, error) {
	var newest string
	err := s.human("revoke-predecessors", path, func(p place) error {
		if p.app == nil {
			return errors.New("the path names no app")
		}
		if n := len(p.app.credentials.order); n > 0 {
			newest = p.app.credentials.order[n-1].id
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return s.revokeOlderThan(newest), nil
}

// human does what a person does at the console: in the same world, and past all
// fault points.
func (s *Sim) human(what string, path Path, do func(place) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.world.walk(path)
	if err != nil {
		return err
	}
	if err := do(p); err != nil {
		return err
	}
	attrs := map[string]string{"what": what}
	for name, value := range map[string]string{
		"org": path.Org, "catalog": path.Catalog, "consumerOrg": path.ConsumerOrg,
		"app": path.App, "credentialId": path.Credential,
	} {
		if value != "" {
			attrs[name] = value
		}
	}
	s.stage.Events.Append(EventHuman, "", attrs)
	return nil
}
