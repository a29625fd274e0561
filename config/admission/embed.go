// Package admission carries the admission policies inside the operator, so that it
// can compare what is in force with what it was built for. The one idea: the files
// that are installed are the files that are compared; there is no second copy.
package admission

import "embed"

// Manifests holds the policies and their bindings, one file each.
//
//go:embed journal.yaml logins.yaml requests.yaml finalizers.yaml adoptions.yaml rollouts.yaml deliveries.yaml passwords.yaml approvals.yaml requesters.yaml deletions.yaml
var Manifests embed.FS
