package neosim

import (
	"fmt"
	"slices"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Forms that differ between sources or are not known.
const (
	// FlagDocumented writes the role flag as "applicationRole", FlagMisspelt as
	// "applicatonRole", as SAP's own client reads it.
	FlagDocumented = "applicationRole"
	FlagMisspelt   = "applicatonRole"

	// MembersNamed is {"users":[{"name":U}]}, MembersByUserID {"users":[{"userId":U}]},
	// MembersBare ["U"].
	MembersNamed    = "named"
	MembersByUserID = "userId"
	MembersBare     = "bare"

	// SegmentApps, SegmentApplications and SegmentBoth say how the path of an
	// application is spelt; the other spelling is 404.
	SegmentApps         = "apps"
	SegmentApplications = "applications"
	SegmentBoth         = "both"

	// RefusalJSON, RefusalHTML and RefusalEmpty are bodies of a 401 of the token
	// endpoints.
	RefusalJSON  = "json"
	RefusalHTML  = "html"
	RefusalEmpty = "empty"
)

// Behaviour is how this landscape behaves where it is not known for certain, and what
// a test wants of it.
type Behaviour struct {
	// PlatformTokenLife is that of platform tokens: 1500 s.
	PlatformTokenLife simkit.Duration `json:"platformTokenLife"`
	// ExpiresIn is what an application token says of its life: 0 in SAP's own sample,
	// whatever its life is. ScopesAsText sends "scope" as text and not "scopes" as a
	// list.
	ExpiresIn    int  `json:"expiresIn"`
	ScopesAsText bool `json:"scopesAsText"`
	// TokenLife is how long an application token really lives, if its client states
	// none.
	TokenLife simkit.Duration `json:"tokenLife"`
	// DeletedTokenLag is how long tokens of a deleted client are still taken.
	DeletedTokenLag simkit.Duration `json:"deletedTokenLag"`
	// RegistrationLag is how long the token endpoint does not know a new client,
	// RoleLag how long an application does not know of a role given or taken.
	RegistrationLag simkit.Duration `json:"registrationLag"`
	RoleLag         simkit.Duration `json:"roleLag"`
	// Refusal is the body of a 401 of a token endpoint.
	Refusal string `json:"refusal"`

	// Segment, RoleFlag and Members are forms of the Authorization API.
	Segment  string `json:"segment"`
	RoleFlag string `json:"roleFlag"`
	Members  string `json:"members"`
	// AssignStatus is 200 or 201; ForbiddenStatus, for a missing scope, 400 or 403.
	AssignStatus    int `json:"assignStatus"`
	ForbiddenStatus int `json:"forbiddenStatus"`
	// UnknownUserStatus answers for the roles of a user that has none: 200 with an
	// empty list, or 404.
	UnknownUserStatus int `json:"unknownUserStatus"`
	// GroupsStatus is 200, or 404 on a landscape without that call.
	GroupsStatus int `json:"groupsStatus"`
	// RequestsPerMinute is the limit of the Authorization API for one subaccount in
	// any sixty seconds; 0 limits nothing. StateRetryAfter sends Retry-After with the
	// 429.
	RequestsPerMinute int  `json:"requestsPerMinute"`
	StateRetryAfter   bool `json:"stateRetryAfter"`
	// ShortLists makes lists of members and clients lack what comes after this many
	// entries, without a word; the registrar's total stays true. null tells the truth.
	ShortLists *int `json:"shortLists"`

	// PersonDecides makes the registrar answer 202 and wait: a client lives when a
	// person has registered it, and goes when a person has deleted it.
	PersonDecides bool `json:"personDecides"`
	// RevokePredecessor makes the simulator the villain: when a client is accepted by
	// an application for the first time, all older clients of that application are
	// deleted.
	RevokePredecessor bool `json:"revokePredecessor"`
}

// Usual is the behaviour as far as it is known.
func Usual() Behaviour {
	return Behaviour{
		PlatformTokenLife: simkit.Duration(1500 * time.Second),
		TokenLife:         simkit.Duration(12 * time.Hour),
		DeletedTokenLag:   simkit.Duration(2 * time.Minute),
		Refusal:           RefusalJSON,
		Segment:           SegmentApps,
		RoleFlag:          FlagDocumented,
		Members:           MembersNamed,
		AssignStatus:      200,
		ForbiddenStatus:   403,
		UnknownUserStatus: 200,
		GroupsStatus:      200,
		RequestsPerMinute: 100,
	}
}

// clone shares nothing with the original: JSON is decoded into the clone, and the
// decoder writes through pointers.
func (b Behaviour) clone() Behaviour {
	if b.ShortLists != nil {
		most := *b.ShortLists
		b.ShortLists = &most
	}
	return b
}

// check refuses behaviour that the simulator does not know how to play.
func (b Behaviour) check() error {
	for _, c := range []struct {
		name    string
		value   int
		allowed []int
	}{
		{"assignStatus", b.AssignStatus, []int{200, 201}},
		{"forbiddenStatus", b.ForbiddenStatus, []int{400, 403}},
		{"unknownUserStatus", b.UnknownUserStatus, []int{200, 404}},
		{"groupsStatus", b.GroupsStatus, []int{200, 404}},
	} {
		if !slices.Contains(c.allowed, c.value) {
			return fmt.Errorf("%s is one of %v, not %d", c.name, c.allowed, c.value)
		}
	}
	for _, c := range []struct {
		name, value string
		allowed     []string
	}{
		{"refusal", b.Refusal, []string{RefusalJSON, RefusalHTML, RefusalEmpty}},
		{"segment", b.Segment, []string{SegmentApps, SegmentApplications, SegmentBoth}},
		{"roleFlag", b.RoleFlag, []string{FlagDocumented, FlagMisspelt}},
		{"members", b.Members, []string{MembersNamed, MembersByUserID, MembersBare}},
	} {
		if !slices.Contains(c.allowed, c.value) {
			return fmt.Errorf("%s is one of %v, not %q", c.name, c.allowed, c.value)
		}
	}
	if b.PlatformTokenLife <= 0 || b.TokenLife <= 0 {
		return fmt.Errorf("tokens must live for some time")
	}
	if b.DeletedTokenLag < 0 || b.RegistrationLag < 0 || b.RoleLag < 0 {
		return fmt.Errorf("lags are at least 0")
	}
	if b.RequestsPerMinute < 0 || b.ExpiresIn < 0 || (b.ShortLists != nil && *b.ShortLists < 0) {
		return fmt.Errorf("requestsPerMinute, expiresIn and shortLists are at least 0")
	}
	return nil
}
