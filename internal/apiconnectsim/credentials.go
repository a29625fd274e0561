package apiconnectsim

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// kindCredential is the kind of all records in the ledger.
const kindCredential = "credential"

func nameTaken(kind, kindLower, verb, name, id string) string {
	return fmt.Sprintf("The %s cannot be %s with name '%s'. Another resource of type %s (id: %s) already exists with the same name.",
		kind, verb, name, kindLower, id)
}

func clientIDTaken(clientID string) string {
	return fmt.Sprintf("The client_id %s already exists in catalog.", clientID)
}

// wish is what a body asks for. Fields that the caller may not choose (id, type,
// urls, dates) are ignored by not being here.
type wish struct {
	name, title, summary, clientID string
	secret                         string
	hash                           *digest // instead of secret
}

// wish reads the body of a create. A name or a title must be there.
func (t *turn) wish() (*wish, *reply) {
	w := &wish{}
	for field, into := range map[string]*string{
		"name": &w.name, "title": &w.title, "summary": &w.summary,
		"client_id": &w.clientID, "client_secret": &w.secret,
	} {
		value, given, err := t.body.text(field)
		if err != nil {
			return nil, t.invalid(err.Error())
		}
		if given && value == "" && field != "summary" {
			return nil, t.invalid("The field '" + field + "' must not be empty.")
		}
		*into = value
	}
	if w.name == "" && w.title == "" {
		return nil, t.invalid("The field 'title' is required.")
	}
	if w.name != "" && !nameRule.MatchString(w.name) {
		return nil, t.invalid("The field 'name' holds a character that is not allowed.")
	}
	if w.title == "" {
		w.title = w.name
	}
	hashed, given, err := t.body.text("client_secret_hashed")
	if err != nil {
		return nil, t.invalid(err.Error())
	}
	if given && w.secret == "" && t.place.catalog.hashSecrets {
		raw, err := base64.StdEncoding.DecodeString(hashed)
		if err != nil || len(raw) != len(digest{}) {
			return nil, t.invalid("The field 'client_secret_hashed' is no hash.")
		}
		hash := digest(raw)
		w.hash = &hash
	}
	return w, nil
}

func (t *turn) invalid(message string) *reply {
	problem := t.refuse(http.StatusBadRequest, message)
	return &problem
}

func listCredentials(t *turn) reply {
	return list(t, t.place.app.credentials.order, t.showCredential)
}

func getCredential(t *turn) reply { return t.show(t.showCredential(t.place.credential)) }

func createCredential(t *turn) reply {
	w, problem := t.wish()
	if problem != nil {
		return *problem
	}
	a := t.place.app
	if w.name == "" {
		w.name = free(&a.credentials, w.title)
	}
	if w.clientID == "" {
		w.clientID = newMaterial()
	}
	byName, byID := a.credentials.byName[w.name], a.catalog().byClientID[w.clientID]
	if byID != nil && (byName == nil || t.behaviour.ClientIDConflictFirst) {
		return t.duplicate(byID, clientIDTaken(w.clientID))
	}
	if byName != nil {
		return t.duplicate(byName, nameTaken("Credential", "credential", "created", w.name, byName.id))
	}
	c, secret := t.make(a, w)
	out := t.showCredential(c)
	if secret != "" {
		out["client_secret"] = secret
	}
	answer := reply{status: t.behaviour.CreateStatus, value: out}
	if answer.status == http.StatusFound {
		answer.header = http.Header{"Location": {t.link(0, t.credentialPath(c)...)}}
	}
	return answer
}

// make issues a credential as wished, with material of the server's where none was
// chosen, and returns the secret unless only its hash is known.
func (t *turn) make(a *app, w *wish) (*credential, string) {
	c := &credential{node: newNode("", w.name, w.title, t.now()), app: a, summary: w.summary, clientID: w.clientID}
	secret := w.secret
	switch {
	case w.hash != nil:
		c.secret = *w.hash
	case secret == "":
		secret = simkit.NewSecret(materialDigits)
		fallthrough
	default:
		c.secret = hashOf(secret)
	}
	t.sim.issue(c, t.behaviour.Propagation, t.by, t.operation)
	return c, secret
}

// duplicate refuses a create because of another credential, and remembers that it
// was tried.
func (t *turn) duplicate(other *credential, message string) reply {
	t.sim.stage.Ledger.Duplicate(entry(other, t.by, t.operation))
	return t.refuse(t.behaviour.ConflictStatus, message)
}

func updateCredential(t *turn) reply {
	c := t.place.credential
	name, clientID, secret := c.name, c.clientID, c.secret
	if t.body.isNull("client_id") {
		return t.refuse(http.StatusBadRequest, "The field 'client_id' must not be null.")
	}
	fields := map[string]string{}
	for _, field := range []string{"name", "title", "summary", "client_id", "client_secret"} {
		value, given, err := t.body.text(field)
		if err != nil {
			return t.refuse(http.StatusBadRequest, err.Error())
		}
		if given && value == "" && field != "summary" {
			return t.refuse(http.StatusBadRequest, "The field '"+field+"' must not be empty.")
		}
		if given {
			fields[field] = value
		}
	}
	if value, given := fields["name"]; given {
		name = value
	}
	if value, given := fields["client_id"]; given {
		clientID = value
	}
	if value, given := fields["client_secret"]; given {
		secret = hashOf(value)
	}
	if !nameRule.MatchString(name) {
		return t.refuse(http.StatusBadRequest, "The field 'name' holds a character that is not allowed.")
	}
	if other, taken := c.app.credentials.byName[name]; taken && other != c {
		return t.refuse(t.behaviour.ConflictStatus, nameTaken("Credential", "credential", "updated", name, other.id))
	}
	if other, taken := c.app.catalog().byClientID[clientID]; taken && other != c {
		return t.refuse(t.behaviour.ConflictStatus, clientIDTaken(clientID))
	}
	if title, given := fields["title"]; given {
		c.title = title
	}
	if summary, given := fields["summary"]; given || t.body.isNull("summary") {
		c.summary = summary
	}
	t.sim.change(c, name, clientID, secret, t.by, t.operation)
	return t.show(t.showCredential(c))
}

func deleteCredential(t *turn) reply {
	t.sim.revoke(t.place.credential, t.by, t.operation)
	return reply{status: t.behaviour.DeleteStatus}
}

// deleteAllCredentials clears the app. Nobody should ever call it; it is here so
// that somebody who does is seen to.
func deleteAllCredentials(t *turn) reply {
	a := t.place.app
	if confirm := t.query.Get("confirm"); confirm != a.name && confirm != a.id {
		return t.refuse(http.StatusBadRequest, "The parameter 'confirm' must name the app.")
	}
	for _, c := range slices.Clone(a.credentials.order) {
		t.sim.revoke(c, t.by, t.operation)
	}
	return reply{status: t.behaviour.DeleteStatus}
}

func resetSecret(t *turn) reply {
	c, secret := t.place.credential, simkit.NewSecret(materialDigits)
	t.sim.change(c, c.name, c.clientID, hashOf(secret), t.by, t.operation)
	return t.showOnce(c, secret)
}

func resetCredential(t *turn) reply {
	c, secret := t.place.credential, simkit.NewSecret(materialDigits)
	t.sim.change(c, c.name, newMaterial(), hashOf(secret), t.by, t.operation)
	return t.showOnce(c, secret)
}

func (t *turn) showOnce(c *credential, secret string) reply {
	out := t.showCredential(c)
	out["client_secret"] = secret
	return reply{status: http.StatusOK, value: out}
}

func verifySecret(t *turn) reply {
	clientID, _, err := t.body.text("client_id")
	if err != nil {
		return t.refuse(http.StatusBadRequest, err.Error())
	}
	secret, _, err := t.body.text("client_secret")
	if err != nil {
		return t.refuse(http.StatusBadRequest, err.Error())
	}
	c := t.place.credential
	if clientID != c.clientID || hashOf(secret) != c.secret {
		return t.refuse(t.behaviour.VerifyRefusedStatus, "The client_id or client_secret is not valid.")
	}
	return reply{status: http.StatusOK, value: object{}}
}

// issue, change and revoke are the only ways to alter credentials: each keeps the
// indexes, the gateway and the ledger in step. The caller holds the lock.
func (s *Sim) issue(c *credential, delay Range, by simkit.Actor, how string) {
	catalog := c.app.catalog()
	c.app.credentials.add(c)
	catalog.credentials = append(catalog.credentials, c)
	catalog.byClientID[c.clientID] = c
	s.gateway.publish(c, delay)
	s.stage.Ledger.Issue(entry(c, by, how))
}

func (s *Sim) change(c *credential, name, clientID string, secret digest, by simkit.Actor, how string) {
	behaviour, catalog := s.behaves(), c.app.catalog()
	if clientID != c.clientID || secret != c.secret {
		// The old secret dies at once in the platform, and in the gateway like any
		// other that is taken away; the new one has to get there first.
		s.gateway.retract(c.id, behaviour.RevocationLag)
		delete(catalog.byClientID, c.clientID)
		c.clientID, c.secret = clientID, secret
		catalog.byClientID[clientID] = c
		s.gateway.publish(c, behaviour.Propagation)
	}
	c.app.credentials.rename(c, name, s.clock.Now())
	s.stage.Ledger.Change(entry(c, by, how))
}

func (s *Sim) revoke(c *credential, by simkit.Actor, how string) {
	catalog := c.app.catalog()
	c.app.credentials.remove(c)
	catalog.credentials = slices.DeleteFunc(catalog.credentials, func(other *credential) bool { return other == c })
	delete(catalog.byClientID, c.clientID)
	s.gateway.retract(c.id, s.behaves().RevocationLag)
	s.stage.Ledger.Revoke(entry(c, by, how))
}

func entry(c *credential, by simkit.Actor, how string) simkit.Entry {
	attrs := placeAttrs(c.app)
	maps.Copy(attrs, map[string]string{"name": c.name, "clientId": c.clientID})
	return simkit.Entry{Kind: kindCredential, ID: c.id, Attrs: attrs, By: by, How: how}
}
