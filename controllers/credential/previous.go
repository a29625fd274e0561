package credential

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/render"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// writePrevious writes what stands beside the published version.
func (r *Reconciler) writePrevious(ctx context.Context, s *scope, step rotation.Step) error {
	var previous journal.Previous
	v := s.version(step.Version)
	switch {
	case v == nil:
	case step.Action == rotation.HidePrevious:
		previous.Hidden = v.Nonce
	default:
		// Whether it lives is read after the target was: whoever retires it writes the target
		// before it is revoked, and then this write is refused.
		if err := r.readVersion(ctx, v); err != nil {
			return err
		}
		if v.Terminating {
			return nil
		}
		data, err := s.renderPrevious(v)
		if err != nil {
			r.unshowable(ctx, s, v, err)
			return nil
		}
		previous = journal.Previous{Nonce: v.Nonce, Rendering: s.rendering(), Data: data}
	}
	secret, err := r.Store.ShowPrevious(ctx, previous, s.secret)
	if previous.Nonce != "" && (apierrors.IsInvalid(err) || apierrors.IsForbidden(err)) {
		r.unshowable(ctx, s, v, err)
		return nil
	}
	if err != nil {
		return err
	}
	s.secret, s.target = secret, journal.ReadTargetSecret(secret)
	return nil
}

// unshowable remembers that a version cannot stand beside the published one as the spec is
// now. That is no trouble of the credential.
func (r *Reconciler) unshowable(ctx context.Context, s *scope, v *journal.Version, err error) {
	log.FromContext(ctx).Info("the previous version is not shown", "version", v.Number, "reason", err.Error())
	rendering := s.rendering()
	r.memory.remember(v.UID, func(m *recollection) { m.unshowable = rendering })
}

// suffix is what the keys of the previous version end with; empty if it is not asked for.
func (s *scope) suffix() string {
	if s.credential == nil || s.credential.Spec.Secret.Previous == nil {
		return ""
	}
	return s.credential.Spec.Secret.Previous.Suffix
}

// rendering tells how the previous version is rendered today.
func (s *scope) rendering() string {
	if s.template == nil {
		return ""
	}
	return s.template.Hash() + s.suffix()
}

func (s *scope) renderPrevious(v *journal.Version) (map[string][]byte, error) {
	rendered, err := s.template.Render(*v.Material, s.input(v))
	if err != nil {
		return nil, err
	}
	data := make(map[string][]byte, len(rendered))
	for key, value := range rendered {
		data[key+s.suffix()] = value
	}
	return data, nil
}

// observePrevious says what stands beside the published version.
func (s *scope) observePrevious(t *rotation.Target) {
	numbered := func(nonce string) int64 {
		for i := range s.versions {
			if s.versions[i].Nonce == nonce {
				return s.versions[i].Number
			}
		}
		return -1
	}
	if s.target.Previous.Hidden != "" {
		t.Hidden = numbered(s.target.Previous.Hidden)
	}
	if s.target.Previous.Nonce == "" && len(s.target.PreviousKeys) == 0 {
		return
	}
	t.Previous = numbered(s.target.Previous.Nonce)
	t.PreviousStale = s.template != nil && (s.target.Previous.Rendering != s.rendering() || !slices.Equal(s.target.PreviousKeys, s.previousKeys()))
}

// previousKeys are those that the previous version has today, sorted.
func (s *scope) previousKeys() []string {
	keys := s.template.Keys()
	for i := range keys {
		keys[i] += s.suffix()
	}
	slices.Sort(keys)
	return keys
}

// distinct refuses keys of the previous version that are keys of the published one, or none
// at all.
func distinct(template *render.Template, suffix string) error {
	const longest = 253
	keys := template.Keys()
	for _, key := range keys {
		switch other := key + suffix; {
		case suffix == "":
		case slices.Contains(keys, other):
			return fmt.Errorf("the key %s would be the previous version's %s: choose another secret.previous.suffix", other, key)
		case len(other) > longest:
			return fmt.Errorf("the previous version's key %.40s… has more than %d characters: choose a shorter secret.previous.suffix", other, longest)
		}
	}
	return nil
}
