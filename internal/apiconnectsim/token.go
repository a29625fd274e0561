package apiconnectsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Right is a permission in a catalog.
type Right string

// The rights that the simulator asks for.
const (
	ViewConsumerOrgs Right = "consumer-org:view"
	ViewApps         Right = "app:view:all"
	ManageApps       Right = "app:manage:all"
)

// Toolkit is a registration of a client program, which every token call names.
type Toolkit struct {
	ClientID     string `json:"clientId"`
	ClientSecret string `json:"clientSecret"`
}

// Login is an account of a user registry, and what it may see and do.
type Login struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Realm    string `json:"realm"`
	// KeysOnly marks a member of an OIDC registry: the password grant refuses it.
	KeysOnly bool `json:"keysOnly,omitempty"`
	// Rights are what it may do; absent means everything, empty nothing.
	Rights []Right `json:"rights,omitzero"`
	// Orgs and ConsumerOrgs are those that it sees, by name or id; absent means
	// all. What it does not see is missing from its lists, without a word.
	Orgs         []string `json:"orgs,omitzero"`
	ConsumerOrgs []string `json:"consumerOrgs,omitzero"`
}

func (l Login) may(right Right) bool {
	return right == "" || l.Rights == nil || slices.Contains(l.Rights, right)
}

func visible(list []string, n *node) bool {
	return list == nil || slices.Contains(list, n.name) || slices.Contains(list, n.id)
}

// APIKey lets its login in, once or many times.
type APIKey struct {
	// Key is made up if empty.
	Key string `json:"apiKey,omitempty"`
	// Username and Realm name the login.
	Username string `json:"username"`
	Realm    string `json:"realm"`
	// MultipleUses keeps it valid after its first use.
	MultipleUses bool `json:"multipleUses,omitempty"`
	// Life defaults to Behaviour.APIKeyLife, or to no end with MultipleUses.
	Life simkit.Duration `json:"life,omitempty"`
}

// doors are all the ways in.
type doors struct {
	toolkits map[string]Toolkit
	logins   map[string]*Login // by realm and username
	realms   []string
	keys     map[string]*door
	tokens   map[string]*door
	refresh  map[string]*door
	// granted and refused count token calls as they were decided.
	granted, refused int
}

// door is one secret that lets a login in.
type door struct {
	login *Login
	until time.Time // zero: no end
	once  bool
}

func newDoors() doors {
	return doors{
		toolkits: map[string]Toolkit{}, logins: map[string]*Login{},
		keys: map[string]*door{}, tokens: map[string]*door{}, refresh: map[string]*door{},
	}
}

// admit adds a login or changes it in place, so that sessions that are open feel a
// right that is taken away.
func (d *doors) admit(login Login) {
	key := login.Realm + "\n" + login.Username
	if present, ok := d.logins[key]; ok {
		*present = login
		return
	}
	d.logins[key] = &login
	if !slices.Contains(d.realms, login.Realm) {
		d.realms = append(d.realms, login.Realm)
	}
}

func (d *doors) login(realm, username string) (*Login, bool) {
	login, ok := d.logins[realm+"\n"+username]
	return login, ok
}

func (d *door) open(now time.Time) bool {
	return d != nil && (d.until.IsZero() || now.Before(d.until))
}

// sweep forgets what has expired, so that a long run with short tokens stays small.
func sweep(doors map[string]*door, now time.Time) {
	for key, d := range doors {
		if !d.open(now) {
			delete(doors, key)
		}
	}
}

// AddAPIKey makes an API key for a login and returns it.
func (s *Sim) AddAPIKey(key APIKey) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.addAPIKey(&key)
	return key.Key, err
}

func (s *Sim) addAPIKey(key *APIKey) error {
	login, ok := s.doors.login(key.Realm, key.Username)
	if !ok {
		return fmt.Errorf("no login %s in realm %s", key.Username, key.Realm)
	}
	if key.Key == "" {
		key.Key = newID()
	}
	life := time.Duration(key.Life)
	if life == 0 && !key.MultipleUses {
		life = time.Duration(s.behaves().APIKeyLife)
	}
	d := &door{login: login, once: !key.MultipleUses}
	if life > 0 {
		d.until = s.clock.Now().Add(life)
	}
	s.doors.keys[key.Key] = d
	return nil
}

// ExpireTokens ends every access token now, and refresh tokens too if told so.
func (s *Sim) ExpireTokens(refresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.doors.tokens)
	if refresh {
		clear(s.doors.refresh)
	}
}

// tokenRequest is the body of POST /api/token.
type tokenRequest struct {
	GrantType    string `json:"grant_type"`
	Username     string `json:"username"`
	Password     string `json:"password"`
	Realm        string `json:"realm"`
	APIKey       string `json:"api_key"`
	RefreshToken string `json:"refresh_token"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

// token serves POST /api/token. Its operation is named by the grant, so that a
// fault can hit the refresh and leave the password alone.
func (s *Sim) token(w http.ResponseWriter, r *http.Request) {
	call := simkit.Call{Operation: "token.unknown", By: simkit.Actor{Agent: r.UserAgent()}}
	body, problem := s.read(r)
	if problem != nil {
		s.stage.Reply(w, call, problem.answer())
		return
	}
	var request tokenRequest
	if err := json.Unmarshal(body, &request); err != nil {
		s.stage.Reply(w, call, s.failure(http.StatusBadRequest, "The body is not a token request.").answer())
		return
	}
	if slices.Contains([]string{"password", "api_key", "refresh_token"}, request.GrantType) {
		call.Operation = "token." + request.GrantType
	}
	call.By.Login = request.Username
	call.Attrs = map[string]string{"realm": request.Realm}
	s.stage.Play(w, r, call, func() simkit.Answer {
		granted, login := s.decide(request)
		attrs := map[string]string{"login": request.Username, "realm": request.Realm, "agent": call.By.Agent}
		if login == nil {
			s.stage.Events.Append(EventLoginRefused, call.Operation, attrs)
			return granted.answer()
		}
		attrs["login"], attrs["realm"] = login.Username, login.Realm
		s.stage.Events.Append(EventLogin, call.Operation, attrs)
		return granted.answer()
	})
}

func (s *Sim) decide(request tokenRequest) (reply, *Login) {
	s.mu.Lock()
	defer s.mu.Unlock()
	granted, login := s.grant(request)
	if login == nil {
		s.doors.refused++
	} else {
		s.doors.granted++
	}
	return granted, login
}

// grant returns no login where it grants nothing.
func (s *Sim) grant(request tokenRequest) (reply, *Login) {
	toolkit, ok := s.doors.toolkits[request.ClientID]
	if !ok || toolkit.ClientSecret != request.ClientSecret {
		return s.failure(http.StatusUnauthorized, "The client_id or client_secret of the registration is not valid."), nil
	}
	var login *Login
	switch request.GrantType {
	case "password":
		login = s.byPassword(request)
	case "api_key":
		login = s.byKey(request)
	case "refresh_token":
		if d := s.doors.refresh[request.RefreshToken]; d.open(s.clock.Now()) && fits(request.Realm, d.login) {
			login = d.login
		}
	default:
		return s.failure(http.StatusBadRequest, "The grant_type is not supported."), nil
	}
	if login == nil {
		return s.failure(http.StatusUnauthorized, "The login was refused."), nil
	}
	account := *login
	return s.session(login), &account
}

func (s *Sim) byPassword(request tokenRequest) *Login {
	login, ok := s.doors.login(request.Realm, request.Username)
	if !ok || login.KeysOnly || login.Password != request.Password {
		return nil
	}
	return login
}

// byKey uses up a single-use key even if the answer is lost afterwards.
func (s *Sim) byKey(request tokenRequest) *Login {
	d := s.doors.keys[request.APIKey]
	if !d.open(s.clock.Now()) || !fits(request.Realm, d.login) {
		return nil
	}
	if d.once {
		delete(s.doors.keys, request.APIKey)
	}
	return d.login
}

// fits is the check of a realm that may be left out.
func fits(realm string, login *Login) bool { return realm == "" || realm == login.Realm }

func (s *Sim) session(login *Login) reply {
	now, behaviour := s.clock.Now(), s.behaves()
	sweep(s.doors.tokens, now)
	sweep(s.doors.refresh, now)
	token := "eyJ" + simkit.NewSecret(2*materialDigits)
	s.doors.tokens[token] = &door{login: login, until: now.Add(time.Duration(behaviour.TokenLife))}
	out := object{
		"access_token": token,
		"token_type":   "Bearer",
		"expires_in":   int(time.Duration(behaviour.TokenLife) / time.Second),
	}
	if behaviour.RefreshTokens {
		refresh := simkit.NewSecret(2 * materialDigits)
		s.doors.refresh[refresh] = &door{login: login, until: now.Add(time.Duration(behaviour.RefreshLife))}
		out["refresh_token"] = refresh
		out["refresh_expires_in"] = int(time.Duration(behaviour.RefreshLife) / time.Second)
	}
	return reply{status: behaviour.TokenStatus, value: out}
}

// authenticate finds the login of a bearer token. The returned login is a copy: it
// is what the account may do as the call arrives.
func (s *Sim) authenticate(r *http.Request) (Login, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.doors.tokens[token]
	if !strings.EqualFold(scheme, "Bearer") || !d.open(s.clock.Now()) {
		return Login{}, false
	}
	return *d.login, true
}

// identityProviders serves the list of realms, which needs no login.
func (s *Sim) identityProviders(w http.ResponseWriter, r *http.Request) {
	call := simkit.Call{Operation: "identity-provider.list", By: simkit.Actor{Agent: r.UserAgent()}}
	s.stage.Play(w, r, call, func() simkit.Answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		results := []object{}
		for _, realm := range s.doors.realms {
			_, name, _ := strings.Cut(realm, "/")
			results = append(results, object{"type": "identity_provider", "name": name, "title": name, "realm": realm})
		}
		return reply{status: http.StatusOK, value: object{"total_results": len(results), "results": results}}.answer()
	})
}
