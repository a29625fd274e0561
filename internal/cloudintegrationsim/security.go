package cloudintegrationsim

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// The sets of security material.
const (
	Users  = "UserCredentials"
	OAuth2 = "OAuth2ClientCredentials"
	Keys   = "KeystoreEntries"
)

// Entry is what is behind an alias.
type Entry struct {
	Set, Alias string
	// Fields are those that can be read again.
	Fields map[string]string
	// Secret is the password or the client secret, which cannot.
	Secret string
	// CustomParameters are names and values; a PUT deletes them.
	CustomParameters map[string]string
	// Chain is the certificate of a key pair and what is above it.
	Chain []*x509.Certificate
	// DeployedAt is when it was written, and Ready when it is deployed everywhere.
	DeployedAt, Ready time.Time
}

// fingerprint is as the keystore shows it.
func (e Entry) fingerprint() string {
	if len(e.Chain) == 0 {
		return ""
	}
	sum := sha256.Sum256(e.Chain[0].Raw)
	var parts []string
	for _, b := range sum {
		parts = append(parts, fmt.Sprintf("%02X", b))
	}
	return strings.Join(parts, ":")
}

// Entry is what is behind an alias at this moment.
func (s *Sim) Entry(set, alias string) (Entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entry(set, alias)
}

// entry finds what people or clients have put there.
func (s *Sim) entry(set, alias string) (Entry, bool) {
	if i := slices.IndexFunc(s.tenant.Entries, func(e Entry) bool { return e.Set == set && e.Alias == alias }); i >= 0 {
		return s.tenant.Entries[i], true
	}
	if slices.Contains(s.tenant.names(set), alias) {
		return Entry{Set: set, Alias: alias, Fields: map[string]string{"Description": ""}}, true
	}
	return Entry{}, false
}

// taken: credentials of both sets share one space of names.
func (s *Sim) taken(set, alias string) bool {
	_, users := s.entry(Users, alias)
	_, oauth2 := s.entry(OAuth2, alias)
	_, keys := s.entry(Keys, alias)
	if set == Keys {
		return keys
	}
	return users || oauth2
}

// names are the aliases of a set that are given by name alone.
func (t *Tenant) names(set string) []string {
	switch set {
	case Users:
		return t.UserCredentials
	case OAuth2:
		return t.OAuth2Credentials
	}
	return t.KeyPairs
}

// all are the entries of a set by alias.
func (s *Sim) all(set string) []Entry {
	var all []Entry
	for _, name := range s.tenant.names(set) {
		e, _ := s.entry(set, name)
		all = append(all, e)
	}
	for _, e := range s.tenant.Entries {
		if e.Set == set && !slices.Contains(s.tenant.names(set), e.Alias) {
			all = append(all, e)
		}
	}
	return all
}

// put stores an entry, over what was there.
func (s *Sim) put(e Entry) {
	e.DeployedAt = s.clock.Now()
	e.Ready = e.DeployedAt.Add(time.Duration(s.behaviour.DeployTakes))
	entries := slices.DeleteFunc(slices.Clone(s.tenant.Entries), func(old Entry) bool { return old.Set == e.Set && old.Alias == e.Alias })
	s.tenant.Entries = append(entries, e)
}

// remove takes an entry away.
func (s *Sim) remove(set, alias string) {
	isIt := func(name string) bool { return name == alias }
	s.tenant.Entries = slices.DeleteFunc(slices.Clone(s.tenant.Entries), func(e Entry) bool { return e.Set == set && e.Alias == alias })
	switch set {
	case Users:
		s.tenant.UserCredentials = slices.DeleteFunc(slices.Clone(s.tenant.UserCredentials), isIt)
	case OAuth2:
		s.tenant.OAuth2Credentials = slices.DeleteFunc(slices.Clone(s.tenant.OAuth2Credentials), isIt)
	case Keys:
		s.tenant.KeyPairs = slices.DeleteFunc(slices.Clone(s.tenant.KeyPairs), isIt)
	}
}

// shown is a credential as it is read: its secret is null.
func (t *turn) shown(e Entry) map[string]any {
	status := "DEPLOYED"
	if t.sim.clock.Now().Before(e.Ready) {
		status = "STORED"
	}
	if t.behaviour.DeployFails {
		status = "ERROR"
	}
	out := map[string]any{
		"__metadata": map[string]any{"type": "com.sap.hci.api." + e.Set}, "Name": e.Alias,
		"SecurityArtifactDescriptor": map[string]any{"Type": "CREDENTIALS", "DeployedBy": "somebody", "DeployedOn": date(e.DeployedAt), "Status": status},
	}
	for name, value := range e.Fields {
		out[name] = value
	}
	if e.Set == Users {
		out["Password"] = nil
		return out
	}
	out["ClientSecret"] = nil
	out["CustomParameters"] = map[string]any{"__deferred": map[string]any{"uri": "OAuth2ClientCredentials('" + e.Alias + "')/CustomParameters"}}
	if strings.Contains(t.query.Get("$expand"), "CustomParameters") {
		parameters := []map[string]any{}
		for _, key := range slices.Sorted(maps.Keys(e.CustomParameters)) {
			parameters = append(parameters, map[string]any{"Key": key, "Value": e.CustomParameters[key], "SendAsPartOf": "body"})
		}
		out["CustomParameters"] = map[string]any{"results": parameters}
	}
	return out
}

func date(at time.Time) string { return fmt.Sprintf("/Date(%d)/", at.UnixMilli()) }

func notFound() simkit.Answer {
	return failure(http.StatusNotFound, "Requested entity could not be found.")
}

func readCredential(set string) func(*turn) simkit.Answer {
	return func(t *turn) simkit.Answer {
		e, ok := t.sim.entry(set, t.parts[0])
		if !ok {
			return notFound()
		}
		return simkit.JSON(http.StatusOK, map[string]any{"d": t.shown(e)})
	}
}

// writeCredential serves POST, which makes, and PUT, which replaces.
func writeCredential(set string, replaces bool) func(*turn) simkit.Answer {
	return func(t *turn) simkit.Answer {
		var sent map[string]any
		if json.Unmarshal(t.body, &sent) != nil {
			return failure(http.StatusBadRequest, "The request payload is not properly formatted.")
		}
		e := Entry{Set: set, Fields: map[string]string{}}
		for name, value := range sent {
			text, ok := value.(string)
			switch {
			case name == "CustomParameters" && set == OAuth2 && replaces:
				return failure(http.StatusBadRequest, "CustomParameters cannot be updated using this operation")
			case name == "CustomParameters" && set == OAuth2:
				e.CustomParameters = map[string]string{}
			case !slices.Contains(properties[set], name):
				return failure(http.StatusBadRequest, "Invalid property name: "+name)
			case !ok:
				return failure(http.StatusBadRequest, "Property '"+name+"' cannot be null.")
			case name == "Name":
				e.Alias = text
			case name == "Password" || name == "ClientSecret":
				e.Secret = text
			default:
				e.Fields[name] = text
			}
		}
		if refusal := unfit(e); refusal != nil {
			return *refusal
		}
		_, exists := t.sim.entry(set, e.Alias)
		switch {
		case replaces && t.parts[0] != e.Alias:
			return failure(http.StatusBadRequest, "Entity key specified in URI does not match to name from payload.")
		case replaces && !exists:
			return failure(t.behaviour.MissingIs, "Entity with specified key does not exist.")
		case !replaces && t.sim.taken(set, e.Alias):
			return failure(http.StatusConflict, "Entity with specified name already exists.")
		}
		t.sim.put(e) // what a PUT does not say is gone, custom parameters with it
		return simkit.Answer{Status: http.StatusAccepted}
	}
}

// properties are those that each set takes.
var properties = map[string][]string{
	Users: {"Name", "Kind", "Description", "User", "Password", "CompanyId"},
	OAuth2: {
		"Name", "Description", "TokenServiceUrl", "ClientId", "ClientSecret", "ClientAuthentication", "Scope", "ScopeContentType", "Resource", "Audience", "CustomParameters",
	},
}

// unfit refuses what the tenant does; nil if it takes it.
func unfit(e Entry) *simkit.Answer {
	refuse := func(status int, message string) *simkit.Answer { a := failure(status, message); return &a }
	description, described := e.Fields["Description"]
	switch {
	case e.Alias == "":
		return refuse(http.StatusBadRequest, "Property 'Name' cannot be empty. Enter a valid value.")
	case !described || len(description) > 1024:
		return refuse(http.StatusBadRequest, "Property 'Description' is not valid.")
	case e.Set == Users && !slices.Contains([]string{"default", "successfactors", "openconnectors"}, e.Fields["Kind"]):
		return refuse(http.StatusInternalServerError, "Internal Server Error")
	case e.Set == Users && e.Fields["Kind"] == "successfactors" && e.Fields["CompanyId"] == "":
		return refuse(http.StatusBadRequest, "Property 'CompanyId' cannot be empty. Enter a valid value.")
	case e.Set == Users && len(e.Secret) > 255:
		return refuse(http.StatusBadRequest, "Property 'Password' is too long.")
	case e.Set == OAuth2 && e.Secret == "":
		return refuse(http.StatusBadRequest, "Property 'ClientSecret' cannot be empty. Enter a valid value.")
	case e.Set == OAuth2 && e.Fields["ClientAuthentication"] != "body" && e.Fields["ClientAuthentication"] != "header":
		return refuse(http.StatusBadRequest, "Property 'ClientAuthentication' is not valid.")
	case e.Set == OAuth2 && e.Fields["ScopeContentType"] != "urlencoded" && e.Fields["ScopeContentType"] != "json":
		return refuse(http.StatusBadRequest, "Property 'ScopeContentType' is not valid.")
	}
	return nil
}

func deleteCredential(set string) func(*turn) simkit.Answer {
	return func(t *turn) simkit.Answer {
		if _, ok := t.sim.entry(set, t.parts[0]); !ok {
			return notFound()
		}
		t.sim.remove(set, t.parts[0])
		return simkit.Answer{Status: http.StatusAccepted}
	}
}

// keyAlias is the alias behind a key of the keystore.
func (t *turn) keyAlias() string {
	alias, _ := hex.DecodeString(t.parts[0]) // what is no hex is no alias
	return string(alias)
}

func shownKey(e Entry) map[string]any {
	out := map[string]any{"Hexalias": strings.ToUpper(hex.EncodeToString([]byte(e.Alias))), "Alias": e.Alias, "Type": "Key Pair", "Owner": "Tenant Administrator"}
	if len(e.Chain) > 0 {
		out["FingerprintSha256"], out["LastModifiedTime"] = e.fingerprint(), date(e.DeployedAt)
		out["SubjectDN"], out["IssuerDN"] = e.Chain[0].Subject.String(), e.Chain[0].Issuer.String()
		out["ValidNotBefore"], out["ValidNotAfter"] = date(e.Chain[0].NotBefore), date(e.Chain[0].NotAfter)
	}
	return out
}

func readKey(t *turn) simkit.Answer {
	if len(t.query) > 0 {
		return failure(http.StatusBadRequest, "Query options are not supported.")
	}
	e, ok := t.sim.entry(Keys, t.keyAlias())
	if !ok {
		return notFound()
	}
	return simkit.JSON(http.StatusOK, map[string]any{"d": shownKey(e)})
}

// reserved aliases are SAP's own.
func reserved(alias string) bool {
	return strings.HasPrefix(alias, "sap_") || slices.Contains([]string{"hcicertificate", "hcicertificate1", "hcimsgcertificate"}, alias)
}

// maxKeyBody is the largest body with a key pair, and maxKeyFile the largest file in it.
const (
	maxKeyBody = 30072
	maxKeyFile = 24576
)

func writeKey(t *turn) simkit.Answer {
	var sent struct{ Hexalias, Alias, Password, Resource string }
	file, exists := []byte(nil), false
	err := json.Unmarshal(t.body, &sent)
	if err == nil {
		file, err = base64.StdEncoding.DecodeString(sent.Resource)
		_, exists = t.sim.entry(Keys, sent.Alias)
	}
	switch update := t.query.Get("update") == "true"; {
	case len(t.body) > maxKeyBody || len(sent.Resource) > maxKeyFile:
		return failure(http.StatusRequestEntityTooLarge, "The keystore entry is too large.")
	case err != nil || sent.Alias == "":
		return failure(http.StatusBadRequest, "The request payload is not properly formatted.")
	case reserved(sent.Alias):
		return failure(http.StatusForbidden, "The alias is reserved.")
	case t.behaviour.KeystoreLocked:
		return failure(http.StatusServiceUnavailable, "The keystore is locked.")
	case t.behaviour.KeystoreFull:
		return failure(http.StatusRequestEntityTooLarge, "The keystore is full.")
	case exists && !update:
		return failure(http.StatusBadRequest, "Alias already exists.")
	case !exists && update:
		return failure(http.StatusBadRequest, "Alias does not exist.")
	}
	_, leaf, above, err := pkcs12.DecodeChain(file, sent.Password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return failure(http.StatusBadRequest, "The password is wrong.")
	case err != nil:
		return failure(http.StatusUnsupportedMediaType, "The resource is no PKCS#12.")
	case t.query.Get("fingerprintVerified") != "true":
		return failure(http.StatusConflict, "The certificate's authority is not trusted.")
	}
	t.sim.put(Entry{Set: Keys, Alias: sent.Alias, Chain: append([]*x509.Certificate{leaf}, above...)})
	return simkit.Answer{Status: http.StatusNoContent}
}

func deleteKey(t *turn) simkit.Answer {
	alias := t.keyAlias()
	if _, ok := t.sim.entry(Keys, alias); !ok {
		return notFound()
	}
	if reserved(alias) {
		return failure(http.StatusForbidden, "The alias is reserved.")
	}
	if t.behaviour.KeystoreLocked {
		return failure(http.StatusServiceUnavailable, "The keystore is locked.")
	}
	t.sim.remove(Keys, alias)
	return simkit.Answer{Status: http.StatusNoContent}
}
