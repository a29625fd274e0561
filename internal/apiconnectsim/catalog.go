package apiconnectsim

import (
	"net/http"
	"strconv"
	"strings"
)

func listOrgs(t *turn) reply {
	var seen []*org
	for _, o := range t.sim.world.orgs.order {
		if visible(t.login.Orgs, o.at()) {
			seen = append(seen, o)
		}
	}
	return list(t, seen, t.showOrg)
}

func getOrg(t *turn) reply { return t.show(t.showOrg(t.place.org)) }

func listCatalogs(t *turn) reply { return list(t, t.place.org.catalogs.order, t.showCatalog) }

func getCatalog(t *turn) reply { return t.show(t.showCatalog(t.place.catalog)) }

func getSettings(t *turn) reply {
	c := t.place.catalog
	return t.show(object{
		"type": "catalog_setting", "api_version": "2.0.0", "hash_client_secret": c.hashSecrets,
		"url": t.link(0, "catalogs", c.org.id, c.id, "settings"),
	})
}

func listConsumerOrgs(t *turn) reply { return list(t, t.consumerOrgs(), t.showConsumerOrg) }

func getConsumerOrg(t *turn) reply { return t.show(t.showConsumerOrg(t.place.consumerOrg)) }

func listCatalogApps(t *turn) reply {
	var apps []*app
	for _, co := range t.consumerOrgs() {
		apps = append(apps, co.apps.order...)
	}
	return list(t, apps, t.showApp)
}

func listApps(t *turn) reply { return list(t, t.place.consumerOrg.apps.order, t.showApp) }

func getApp(t *turn) reply { return t.show(t.showApp(t.place.app)) }

// consumerOrgs are those that the login sees.
func (t *turn) consumerOrgs() []*consumerOrg {
	if t.login.ConsumerOrgs == nil {
		return t.place.catalog.consumerOrgs.order
	}
	var seen []*consumerOrg
	for _, co := range t.place.catalog.consumerOrgs.order {
		if visible(t.login.ConsumerOrgs, co.at()) {
			seen = append(seen, co)
		}
	}
	return seen
}

func listCatalogCredentials(t *turn) reply {
	all := t.place.catalog.credentials
	if t.login.ConsumerOrgs == nil {
		return list(t, all, t.showCredential)
	}
	var seen []*credential
	for _, c := range all {
		if visible(t.login.ConsumerOrgs, c.app.consumerOrg.at()) {
			seen = append(seen, c)
		}
	}
	return list(t, seen, t.showCredential)
}

func (t *turn) show(o object) reply { return reply{status: http.StatusOK, value: t.project(o)} }

// createApp makes an app and its first credential, whose material is shown in the
// same answer and never again.
func createApp(t *turn) reply {
	wish, problem := t.wish()
	if problem != nil {
		return *problem
	}
	co := t.place.consumerOrg
	if wish.name == "" {
		wish.name = free(&co.apps, wish.title)
	}
	if other, taken := co.apps.byName[wish.name]; taken {
		return t.refuse(t.behaviour.ConflictStatus, nameTaken("App", "app", "created", wish.name, other.id))
	}
	if wish.clientID == "" {
		wish.clientID = newMaterial()
	}
	if other, taken := co.catalog.byClientID[wish.clientID]; taken {
		return t.duplicate(other, clientIDTaken(wish.clientID))
	}
	a := t.sim.newApp(co, newNode("", wish.name, wish.title, t.now()))
	a.summary = wish.summary
	first := *wish
	first.name, first.title = "credential-for-"+a.name, "Credential for "+a.title
	first.summary = ""
	c, secret := t.make(a, &first)
	out := t.showApp(a)
	out["client_id"] = c.clientID
	if secret != "" {
		out["client_secret"] = secret
	}
	return reply{status: http.StatusCreated, value: out}
}

func (s *Sim) newApp(co *consumerOrg, n node) *app {
	a := &app{node: n, consumerOrg: co, credentials: newSet[*credential]()}
	co.apps.add(a)
	return a
}

// subscribe says whether an app may call the gateway at all. Subscriptions belong
// to the app, so a new credential has them from the start.
func (s *Sim) subscribe(a *app, subscribed bool) {
	a.subscribed = subscribed
	s.gateway.subscribe(a.id, subscribed)
}

// free derives a name from a title, and appends -0, -1, … where it is taken: what
// makes a repeated create without a name a second object.
func free[T entity](in *set[T], title string) string {
	base := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, title), "-._")
	if base == "" {
		base = "untitled"
	}
	base = base[:min(len(base), 200)]
	name := base
	for i := 0; ; i++ {
		if _, taken := in.byName[name]; !taken {
			return name
		}
		name = base + "-" + strconv.Itoa(i)
	}
}
