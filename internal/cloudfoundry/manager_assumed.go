package cloudfoundry

import (
	"net/http"
	"strings"
)

// This file holds what the documents of SAP Service Manager leave open, or what only its
// published source tells, and what is assumed about it. docs/upstreams/sap-service-manager.md
// lists the same for people.

// Labels of bindings. The query language knows letters, digits, - _ / and \ in keys, so the
// labels that keys bear in Cloud Foundry could be written and never be asked for.
const (
	managerLabelMade    = "_claviger_made"
	managerLabelMark    = "_claviger_mark"
	managerLabelOwner   = "_claviger_owner"
	managerLabelVersion = "_claviger_version"
)

// managerMade is the value of managerLabelMade: no operator asks whether a label is there, so
// that all of ours have one in common.
const managerMade = "key"

// labelSubaccount is what Service Manager itself puts on what belongs to a subaccount. A
// release that does not is taken at the issuer's word, except where something is to be
// believed gone.
const labelSubaccount = "subaccount_id"

// managerPageSize: a page may hold the credentials of its bindings, with certificates some
// ten kilobytes for each, and has to stay below what the transport takes.
const managerPageSize = 200

// missing reports a status that says that an object is not there. Both are met.
func missing(status int) bool { return status == http.StatusNotFound || status == http.StatusGone }

// nameTaken reports that there is a binding of that name already.
func nameTaken(status int, words string) bool {
	return status == http.StatusConflict && strings.Contains(strings.ToLower(words), "same name exists")
}

// busy reports that something else is being done to the same object.
func busy(words string) bool {
	lower := strings.ToLower(words)
	return strings.Contains(lower, "concurrentoperationinprogress") || strings.Contains(lower, "concurrent operation") || strings.Contains(lower, "operation in progress")
}

// exhausted reports that the broker or the subaccount takes no more.
func exhausted(words string) bool {
	lower := strings.ToLower(words)
	return strings.Contains(lower, "quota") || strings.Contains(lower, "limit reached") || strings.Contains(lower, "limit exceeded") || strings.Contains(lower, "exceeded the limit")
}

// passing reports a status of a broker after which it may well do what it has not done now.
func passing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusUnprocessableEntity:
		return true
	}
	return status >= http.StatusInternalServerError
}

// States of operations, and those of a type. The spelling of the second has been seen with a
// blank and is taken with an underscore as well.
const (
	stateSucceeded = "succeeded"
	stateFailed    = "failed"
)

// working reports a state in which something is still done.
func working(state string) bool {
	switch strings.ReplaceAll(state, "_", " ") {
	case "pending", "in progress":
		return true
	}
	return false
}
