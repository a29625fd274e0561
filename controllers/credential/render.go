package credential

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/render"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// errNoPassword: the Secret that the template's password is in does not have it.
var errNoPassword = errors.New("no password")

// compileTemplate checks the template against what the upstream will give.
func (r *Reconciler) compileTemplate(s *scope) error {
	spec := templateSpec(s.credential.Spec.Secret.Template)
	spec.Shape = r.Shape(s.member, s.parameters)
	if spec.Preset == render.PresetServiceBinding && spec.Provider == "" {
		spec.Provider = s.member
	}
	template, err := render.Compile(spec)
	if err != nil {
		return err
	}
	s.template = template
	return cmp.Or(fits(s.credential.Spec.Secret.Type, template), distinct(template, s.suffix()))
}

func templateSpec(t *v1alpha1.SecretTemplate) render.Spec {
	if t == nil {
		return render.Spec{}
	}
	spec := render.Spec{Preset: t.Preset, Data: t.Data}
	if t.PKCS12 != nil {
		spec.Profile = t.PKCS12.Profile
	}
	if t.DockerConfigJSON != nil {
		spec.Registry = t.DockerConfigJSON.Registry
	}
	if t.ServiceBinding != nil {
		spec.BindingType, spec.Provider = t.ServiceBinding.Type, t.ServiceBinding.Provider
	}
	return spec
}

// fits refuses a template whose keys the API server would refuse for the type.
func fits(t corev1.SecretType, template *render.Template) error {
	keys := template.Keys()
	has := func(key string) bool { return slices.Contains(keys, key) }
	switch {
	case t == corev1.SecretTypeBasicAuth && !has(corev1.BasicAuthUsernameKey) && !has(corev1.BasicAuthPasswordKey):
		return fmt.Errorf("a Secret of type %s needs the key username or password; the preset BasicAuth has both", t)
	case t == corev1.SecretTypeTLS && !(has(corev1.TLSCertKey) && has(corev1.TLSPrivateKeyKey)):
		return fmt.Errorf("a Secret of type %s needs the keys %s and %s; the preset TLS has both", t, corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	case t == corev1.SecretTypeDockerConfigJson && !has(corev1.DockerConfigJsonKey):
		return fmt.Errorf("a Secret of type %s needs the key %s; the preset DockerConfigJSON has it", t, corev1.DockerConfigJsonKey)
	}
	return nil
}

// readPassword reads what the template needs beside the material. The Secret is read live:
// the cache holds no data.
func (r *Reconciler) readPassword(ctx context.Context, s *scope) error {
	s.password = material.Secret{}
	if s.template == nil || !s.template.NeedsPassword() {
		return nil
	}
	reference := s.credential.Spec.Secret.Template.PKCS12.PasswordSecretRef
	secret, err := r.Store.Target(ctx, types.NamespacedName{Namespace: s.key.Namespace, Name: reference.Name})
	switch {
	case err != nil:
		return err
	case secret == nil:
		return fmt.Errorf("%w: pkcs12.passwordSecretRef: Secret %s does not exist", errNoPassword, reference.Name)
	case secret.Type == journal.SecretType || len(secret.Data[reference.Key]) == 0:
		return fmt.Errorf("%w: pkcs12.passwordSecretRef: Secret %s must hold the key %s", errNoPassword, reference.Name, reference.Key)
	}
	s.password = material.New(string(secret.Data[reference.Key]))
	return nil
}

// render is a version as the target holds it; nil if it cannot be rendered, which is then
// told by the next decision.
func (r *Reconciler) render(ctx context.Context, s *scope, v *journal.Version) (map[string][]byte, error) {
	if v.Material == nil {
		if err := r.readVersion(ctx, v); err != nil {
			return nil, err
		}
	}
	err := r.readPassword(ctx, s)
	if err != nil && !errors.Is(err, errNoPassword) {
		return nil, err
	}
	var rendered map[string][]byte
	if err == nil {
		rendered, err = s.template.Render(*v.Material, s.input(v))
	}
	if err != nil {
		r.cannotRender(s, fmt.Errorf("version %d: %w", v.Number, err))
	}
	return rendered, nil
}

// cannotRender holds the credential back for a while. The errors of package render hold no
// values.
func (r *Reconciler) cannotRender(s *scope, err error) {
	s.unrendered = setback{
		generation: s.credential.Generation, notBefore: r.Clock.Now().Add(personRetry),
		trouble: &rotation.Problem{Reason: v1alpha1.ReasonInvalidTemplate, Stalled: true, Message: "spec.secret.template: " + err.Error()},
	}
	r.memory.cannotRender(s.uid, s.unrendered)
}
