package upstream

import (
	"context"
	"encoding/json"
)

// Provisioner is implemented where a container can be made for one credential alone, so that
// what its keys may do is declared with the credential: a service instance with its roles.
// Two owners never share one, because both would set its roles.
type Provisioner interface {
	// Managed returns a digest of the place that a credential's parameters ask for; empty if
	// they ask for none. It does no I/O. Another digest is another wish, and no more is
	// known of it.
	Managed(parameters json.RawMessage) string
	// Find looks the place up and changes nothing. Conflict says that somebody else's has its
	// name; what is not there is no error.
	Find(ctx context.Context, place Place) (Provisioned, error)
	// Provision makes the place, or changes what is ours of it into what is wanted, and does
	// not wait for what becomes of that: Find tells. Whoever repeats it makes no second one.
	Provision(ctx context.Context, place Place) error
	// Deprovision has the place deleted if it is ours and nothing is left in it, and does not
	// wait either. Conflict says what is left in it. What is not there is no error.
	Deprovision(ctx context.Context, place Place) error
}

// Place is a container of one credential.
type Place struct {
	// Parameters is the credential's one-of member as JSON.
	Parameters json.RawMessage
	// Owner says whose it is: 16 lower-case hex digits. It stands on the place.
	Owner string
	// Former is an owner whose place may be taken over, because the credential has moved here
	// with its journal; empty if there is none.
	Former string
	// Name is for a place whose parameters name none. It holds the owner, so nobody else gives
	// it to anything; at most 32 characters.
	Name string
	// Title is whose it is, for people.
	Title string
}

// Provisioned is what Find saw.
type Provisioned struct {
	// Container of immutable ids, as Locate would return it; empty if there is no such place.
	Container string
	// Name and ID are the upstream's, for people.
	Name, ID string
	// Usable: it is made, and credentials can be made in it.
	Usable bool
	// Busy: the upstream works on it, and takes nothing meanwhile.
	Busy bool
	// Differs: it is not, or not known to be, what is wanted.
	Differs bool
	// Failure is why the last that was asked of it came to nothing; nil if it did not.
	Failure *Error
}

// FoundPlace is a place that bears an owner.
type FoundPlace struct {
	// Owner and Title as they stand on it.
	Owner, Title string
	// Applied is the digest of what it was made or changed into last.
	Applied string
	// Container and Name as Find tells them.
	Container, Name string
}
