// Package issuer keeps one account for each CredentialIssuer. The one idea: whatever
// concerns the account as a whole is found out once, here, and the credentials only
// read the result: whether the login works, what the upstream lists, which versions
// the listing casts doubt on, and how many calls and rotations may run at a time.
// A thousand credentials of a wrong login would otherwise be a thousand logins.
//
// Reconcile gathers, decides (decide.go and verdict.go, which can do nothing), acts
// and projects. What it learns lives in this process only and is learned again after
// a restart; status is written for people and never read.
package issuer
