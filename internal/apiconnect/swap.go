package apiconnect

import (
	"context"
	"net/http"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// The naming that IBM's own procedure has: the credential of an app keeps one name, its
// successor has "_new" behind it while both live, and gets the name when the old one is
// deleted. Nothing is remembered: which name a version takes and which one is to be given is
// read from the app's list each time, and what is ours is known by the client id. So every
// step may be repeated, and a crash between the deletion and the new name is mended by the
// next call, which comes because the old version's journal entry is still there.

// namingSwap is the value of the credential's parameter that asks for it.
const namingSwap = "Swap"

// newSuffix is what IBM's procedure appends.
const newSuffix = "_new"

// nameFor chooses the name of a version: the credential's own, else with the suffix, else the
// version's own, which no other has. The last happens when a third is made while two live,
// and must not wait for one of them to end: it may be an emergency.
func nameFor(parameters credentialParameters, r upstream.Request, entries []credential) string {
	if parameters.Naming != namingSwap {
		return r.Name
	}
	taken := map[string]bool{}
	for _, entry := range entries {
		if entry.ClientID == string(r.Mark) {
			return entry.Name
		}
		taken[entry.Name] = true
	}
	for _, name := range []string{parameters.Name, parameters.Name + newSuffix} {
		if !taken[name] {
			return name
		}
	}
	return r.Name
}

// successorOf finds the credential that takes over the name when nobody has it: the one with
// the suffix, else our only one. What bears neither our mark nor the suffix is not touched.
func successorOf(parameters credentialParameters, mark upstream.Mark, entries []credential) *credential {
	var ours []credential
	for _, entry := range entries {
		if entry.Name == parameters.Name {
			return nil
		}
		if other := upstream.Mark(entry.ClientID); other != mark && other.Owner() != "" && other.Owner() == mark.Owner() {
			ours = append(ours, entry)
		}
	}
	for i := range ours {
		if ours[i].Name == parameters.Name+newSuffix {
			return &ours[i]
		}
	}
	if len(ours) == 1 {
		return &ours[0]
	}
	return nil
}

// passName gives the name of a version that is gone to its successor. Parameters that cannot
// be read are those of a credential that is gone itself, and then nothing succeeds.
func (a *account) passName(ctx context.Context, at place, h upstream.Handle) error {
	parameters, err := parseParameters(h.Parameters)
	if err != nil || parameters.Naming != namingSwap {
		return nil //nolint:nilerr // see above
	}
	mark := h.Mark
	entries, err := a.appCredentials(ctx, at)
	if err != nil {
		return err
	}
	next := successorOf(parameters, mark, entries)
	if next == nil {
		return nil
	}
	if err := checkSegment("id", next.ID); err != nil {
		return upstream.Errorf(upstream.Retryable, "credential.list: the answer holds no usable id")
	}
	c := call{
		operation: "credential.rename", method: http.MethodPatch, path: at.credentialPath(next.ID), effect: true,
		body: newName{Name: parameters.Name, Title: parameters.Name},
	}
	answer, err := a.platform.send(ctx, c)
	if err != nil {
		return err
	}
	var renamed credential
	if answer.status/100 != 2 || decode(answer.body, &renamed) != nil || renamed.Name != parameters.Name {
		return refusal(c, answer)
	}
	return nil
}
