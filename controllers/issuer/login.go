package issuer

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// checkTimeout bounds one look at an issuer, several calls included.
const checkTimeout = time.Minute

// login reads the login Secret, or asks for a token, opens the account anew if the settings
// or the login changed, and asks the upstream whether it works.
func (r *Reconciler) login(ctx context.Context, g *gathered) error {
	rec := g.record
	data, cannot, err := r.readLogin(ctx, g)
	if err != nil {
		return err
	}
	now := r.Options.Local.Now()
	settled := rec.generation == g.issuer.GetGeneration()
	rec.generation, rec.cachedLogin, rec.silenced = g.issuer.GetGeneration(), g.cachedLogin, false
	rec.glanceAt = now.Add(glance)
	r.Accounts.rechecked(g.issuer.GetUID())
	if cannot != nil {
		if rec.usable && cannot.passes {
			return nil
		}
		rec.close(*cannot)
		return nil
	}
	if settled && rec.login != nil && maps.EqualFunc(rec.login, data, material.Secret.Equal) {
		if rec.resting(now) && !g.wanted {
			return nil // The same login would fail the same way and may lock the account.
		}
	} else {
		rec.login, rec.upstream, rec.failures = data, nil, 0
	}
	r.check(ctx, g)
	if rec.usable && controllerutil.ContainsFinalizer(g.issuer, journal.FinalizerInUse) && g.issuer.GetDeletionTimestamp() == nil {
		// A login that was replaced by delete and create has lost our finalizer and
		// label; without them a later change would go unnoticed (hazard C9).
		return r.Accounts.EnsureInUse(ctx, g.issuer)
	}
	return nil
}

// readLogin returns what the issuer logs in with, or why that cannot be had.
func (r *Reconciler) readLogin(ctx context.Context, g *gathered) (map[string]material.Secret, *finding, error) {
	if ref := g.issuer.IssuerSpec().LoginServiceAccount(); ref != nil {
		cannot, err := r.tryToken(ctx, g, *ref)
		return map[string]material.Secret{}, cannot, err
	}
	name := g.issuer.IssuerSpec().LoginSecret()
	keeper, cannot, err := r.keeper(ctx, g.issuer)
	if cannot != nil || err != nil {
		return nil, cannot, err
	}
	secret := &corev1.Secret{}
	err = r.Live.Get(ctx, types.NamespacedName{Namespace: r.Accounts.loginNamespace(g.issuer), Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err) && keeper != nil:
		// What Claviger writes itself it puts back; and in a namespace that is being deleted
		// it is gone before the versions that this login has to revoke.
		return nil, &finding{
			reason: v1alpha1.ReasonLoginSecretNotFound, passes: true,
			message: fmt.Sprintf("APIClientCredential %s has not written Secret %s yet, which holds the login; the issuer is used as soon as it has.", keeper.Name, name),
		}, nil
	case apierrors.IsNotFound(err):
		return nil, &finding{
			reason:  v1alpha1.ReasonLoginSecretNotFound,
			message: fmt.Sprintf("Secret %s, which holds the login, does not exist in %s; the issuer is used as soon as it does.", name, r.place(g)),
		}, nil
	case apierrors.IsForbidden(err):
		return nil, &finding{
			reason: v1alpha1.ReasonInvalidSettings, stalled: true,
			message: fmt.Sprintf("The operator has no right to read Secret %s, which holds the login.", name),
		}, nil
	case err != nil:
		return nil, nil, fmt.Errorf("read the login Secret: %w", err)
	}
	if cannot := kept(keeper, secret); cannot != nil {
		return nil, cannot, nil
	}
	g.record.readLogin = ""
	if keeper != nil {
		g.record.readLogin = secret.ResourceVersion
	}
	return loginData(secret), nil, nil
}

// place is where the login is looked for, in words.
func (r *Reconciler) place(g *gathered) string { return r.placeOf(g.issuer) }

func (r *Reconciler) placeOf(issuer v1alpha1.Issuer) string {
	if issuer.GetNamespace() != "" {
		return "this namespace"
	}
	return "namespace " + r.Accounts.operatorNamespace
}

// check opens the account if need be and looks whether it works.
func (r *Reconciler) check(ctx context.Context, g *gathered) {
	rec, correct := g.record, correction(g.issuer.IssuerSpec())
	rec.checkedAt = r.Options.Local.Now()
	if rec.upstream == nil {
		opened, err := r.open(g)
		if err != nil {
			rec.failed(err, correct, rec.checkedAt)
			return
		}
		rec.upstream = opened
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	realm, err := rec.upstream.Check(ctx)
	rec.checkedAt = r.Options.Local.Now()
	if err != nil {
		rec.failed(err, correct, rec.checkedAt)
		return
	}
	rec.realm, rec.usable, rec.failures, rec.provenLogin = realm, true, 0, rec.readLogin
	rec.outcome = &finding{ready: true, reason: v1alpha1.ReasonLoggedIn, message: "The login works and the containers were read."}
}

// open makes an account of the issuer's settings and does no I/O.
func (r *Reconciler) open(g *gathered) (upstream.Upstream, error) {
	issuer := g.issuer
	member, value := issuer.IssuerSpec().Upstream()
	parameters, err := json.Marshal(value)
	if err != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the settings of %s cannot be read", member)
	}
	transport := r.Options.Transport
	transport.CABundle = []byte(issuer.IssuerSpec().CABundle())
	transport.PerSecond, transport.Burst = issuer.IssuerSpec().Budget()
	if r.Options.Observe != nil {
		transport.Observe = r.Options.Observe(member)
	}
	settings := upstream.Settings{Parameters: parameters, Login: g.record.login, Transport: transport}
	if g.record.tokens != nil {
		settings.Token = g.record.tokens.get
	}
	return r.Options.Registry.Open(member, settings)
}

// silence takes the account out of use while the issuer is suspended.
func (r *Reconciler) silence(g *gathered) {
	g.record.close(finding{
		reason: v1alpha1.ReasonSuspended, stalled: true,
		message: "spec.suspend is true: nothing is sent to the upstream.",
	})
	g.record.generation, g.record.silenced = g.issuer.GetGeneration(), true
}

// close takes the account out of use and forgets the login.
func (rec *record) close(f finding) {
	rec.upstream, rec.login, rec.tokens, rec.usable, rec.failures = nil, nil, nil, false, 0
	rec.readLogin, rec.provenLogin = "", ""
	rec.outcome = &f
}

// failed notes a check that failed. A working account survives a few that prove
// nothing.
func (rec *record) failed(err error, correct string, now time.Time) {
	rec.failures++
	rec.retryAt = now.Add(max(pause(rec.failures), upstream.AfterOf(err)))
	if rec.usable && tolerable(err, rec.failures) {
		return
	}
	f := loginFinding(err, correct)
	rec.usable, rec.outcome = false, &f
}

// resting reports whether the account failed and is not to be tried again yet.
func (rec *record) resting(now time.Time) bool {
	return rec.failures > 0 && now.Before(rec.retryAt)
}

// loginData wraps the values of a login Secret, so that no log shows one.
func loginData(secret *corev1.Secret) map[string]material.Secret {
	data := make(map[string]material.Secret, len(secret.Data))
	for key, value := range secret.Data {
		data[key] = material.New(string(value))
	}
	return data
}
