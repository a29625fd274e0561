package policy

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/approval"
	"github.com/claviger-dev/claviger/internal/interval"
)

// longestExpiry is how long a request may be answered at most.
const longestExpiry = 366 * 24 * time.Hour

// Demand is what an issuer or a policy wants to be asked about, and how.
type Demand struct {
	approval.Demand
	// Expiry and Retain count from the request, and from the end of the time to answer.
	Expiry, Retain interval.Interval
	// SeparatesDuties: who asked may not approve.
	SeparatesDuties bool
}

// CompileDemand reads a demand. The error is for people; what cannot be read is still a
// demand, which nobody can meet.
func CompileDemand(reference approval.Reference, spec *v1alpha1.ApprovalDemand) (Demand, error) {
	d := Demand{
		Demand: approval.Demand{Reference: reference, Quorum: approval.Quorum(spec.Quorum), Approvers: spec.Approvers, Groups: spec.Groups},
		Expiry: interval.FromDuration(7 * 24 * time.Hour), Retain: interval.FromDuration(366 * 24 * time.Hour), SeparatesDuties: spec.SeparatesDuties(),
	}
	if d.Quorum == "" {
		d.Quorum = approval.Any
	}
	for _, o := range spec.Operations {
		d.Operations = append(d.Operations, approval.Operation(o))
	}
	if len(d.Operations) == 0 {
		d.Operations = []approval.Operation{approval.Issue, approval.Renew}
	}
	var problems []error
	for _, field := range []struct {
		name string
		text v1alpha1.Interval
		into *interval.Interval
	}{{"expiry", spec.Expiry, &d.Expiry}, {"retain", spec.Retain, &d.Retain}} {
		if field.text == "" {
			continue
		}
		read, err := interval.Parse(string(field.text))
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", field.name, err))
			continue
		}
		*field.into = read
	}
	switch {
	case d.Expiry.IsUnlimited():
		problems = append(problems, errors.New("expiry: cannot be Unlimited: nobody would be asked again"))
	case d.Expiry.Max() > longestExpiry:
		problems = append(problems, fmt.Errorf("expiry: %s is longer than a year", d.Expiry))
	default:
		d.Demand.Expiry = d.Expiry.Max()
		problems = append(problems, d.Check())
	}
	return d, errors.Join(problems...)
}

// Demanding are the policies that choose a credential, by their selector or because it names
// one, and demand approval: all of them, whichever one's ages and windows apply, so that none
// is got rid of by naming another one (hazard C8.2).
func Demanding(credential *v1alpha1.APIClientCredential, candidates Candidates) []v1alpha1.Policy {
	var found []v1alpha1.Policy
	ref := credential.Spec.PolicyRef
	chosen := func(p v1alpha1.Policy, cluster bool) bool {
		if p.PolicySpec().Approval == nil {
			return false
		}
		if ref != nil && ref.Cluster() == cluster && ref.Name == p.GetName() {
			return true
		}
		// A selector that cannot be read chooses: a demand must not be lost by it.
		selector, err := selectorOf(p.PolicySpec().Selector)
		return err != nil || selector.Matches(labels.Set(credential.Labels))
	}
	for i := range candidates.Namespaced {
		if p := &candidates.Namespaced[i]; chosen(p, false) {
			found = append(found, p)
		}
	}
	for i := range candidates.Cluster {
		if p := &candidates.Cluster[i]; chooses(&p.Spec.NamespaceSelector, candidates.Place) && chosen(p, true) {
			found = append(found, p)
		}
	}
	return found
}
