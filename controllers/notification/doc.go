// Package notification tells people what happened to credentials. The one idea: one controller
// writes down what has to be told, another one carries it out. The first compares durable
// objects with a record and sends nothing; the second sends what stands in records and decides
// nothing about credentials. So a dead mail server delays neither a rotation nor a fact.
//
// The record of a credential is a ConfigMap in the operator's namespace. It is not in the
// credential's status, which is a projection that may be lost, and not on a version Secret,
// which is gone when its revocation has to be told; it outlives the credential and its
// namespace, and a thousand credentials do not share one object that everybody writes.
package notification
