// Package journal keeps what Claviger knows about upstream objects in Secrets: one
// Secret for each version of a credential, written before the upstream is called,
// and the target Secret that workloads mount. The one idea: the journal is the
// authority and the API server is the lock. Every write carries the uid and
// resourceVersion of what was read, so a second writer always loses with a 409 and
// looks again.
//
// It is the only code that knows the labels, annotations and data keys. Version
// Secrets have no ownerReference, because garbage collection would delete them
// before the credential's finalizer could use them (hazard C1).
package journal
