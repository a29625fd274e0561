package cloudintegration

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/controllers/credential"
	scanning "github.com/claviger-dev/claviger/internal/cloudintegration"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/render"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// deliver does what is next about the deliveries of a tenant: at most one entry is read or
// written. It says whether something was done, and when to ask again if nothing was; zero if
// only a change makes a difference.
func (r *Reconciler) deliver(ctx context.Context, tenant *v1alpha1.CloudIntegrationTenant, rec *record) (done bool, until time.Time, err error) {
	wants, err := r.gather(ctx, tenant, rec)
	if err != nil {
		return false, time.Time{}, err
	}
	now := r.Options.Server.Now()
	if now.Before(rec.quietUntil) && len(wants) > 0 {
		return false, rec.quietUntil, nil
	}
	for i := range wants {
		w, h := &wants[i], rec.held[wants[i].place]
		what, at := next(w, h, tenant.Spec.RescanAfter.Duration, now)
		if what != rest {
			return true, time.Time{}, r.do(ctx, tenant, rec, what, w, h)
		}
		if !at.IsZero() && (until.IsZero() || at.Before(until)) {
			until = at
		}
	}
	return false, until, nil
}

// do carries out what was decided about one delivery.
func (r *Reconciler) do(ctx context.Context, tenant *v1alpha1.CloudIntegrationTenant, rec *record, what act, w *want, h *held) error {
	stopped, err := r.open(ctx, tenant, rec)
	if err != nil {
		return err
	}
	now := r.Options.Server.Now()
	if stopped != nil {
		h.fail(stopped.message, now, 0)
		return nil
	}
	var entry scanning.Entry
	switch what {
	case readEntry:
		if entry, err = rec.api.ReadEntry(ctx, w.form, w.alias); err == nil {
			h.saw(w, entry, r.Options.Server.Now())
		}
	case writeEntry:
		var ready bool
		if ready, err = r.write(ctx, rec, w, h); err == nil && !ready {
			h.retryAt = now.Add(time.Second) // the cache will know by then
			return nil
		}
		h.seen, h.wrote = false, true
	case removeEntry:
		err = rec.api.RemoveEntry(ctx, w.form, w.alias)
		h.seen = false
	case rest:
	}
	if err == nil || ctx.Err() != nil {
		return nil //nolint:nilerr // the process ends: nothing was found out about the tenant
	}
	known, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return err
	}
	now = r.Options.Server.Now()
	if known.Class == upstream.Throttled {
		rec.quietUntil = now.Add(max(known.After, time.Second))
	}
	lost := what == writeEntry && known.Class == upstream.Retryable && h.failures == 0
	h.fail(known.Message, now, known.After)
	if lost {
		h.retryAt = now.Add(max(pollPause, known.After)) // it may have been accepted
	}
	return nil
}

// write sends a version to the tenant. It reads it, and what the Secret holds, once more: what
// the cache knows may have been retired since. Ready is false if so.
func (r *Reconciler) write(ctx context.Context, rec *record, w *want, h *held) (ready bool, err error) {
	p := w.published
	v, err := r.Options.Store.Version(ctx, p.key, p.uid)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the version that is delivered: %w", err)
	}
	if v.Terminating || !v.FailedAt.IsZero() || v.Material == nil {
		return false, nil
	}
	if w.form == scanning.KeyPair {
		file, password, err := keyFile(&v)
		if err != nil {
			return true, err
		}
		return true, rec.api.WriteKeyPair(ctx, w.alias, file, password, h.entry)
	}
	n := p.note
	n.at = r.Options.Server.Now()
	told := maps.Clone(p.fields)
	told["Description"] = n.String()
	return true, rec.api.WriteCredential(ctx, scanning.Credential{Form: w.form, Alias: w.alias, Fields: told, Secret: v.Material.ClientSecret}, h.entry)
}

// keyFile is the key pair of a version as PKCS#12, under a password that is good for the way
// alone.
func keyFile(v *journal.Version) (file, password material.Secret, err error) {
	password = material.New(rand.Text())
	template, err := render.Compile(render.Spec{Preset: render.PresetPKCS12})
	if err != nil {
		return file, password, upstream.Errorf(upstream.InvalidSpec, "the key pair cannot be written: %s", err)
	}
	data, err := template.Render(*v.Material, render.Input{Nonce: v.Nonce, Password: password})
	if err != nil {
		return file, password, upstream.Errorf(upstream.InvalidSpec, "the key pair cannot be written: %s", err)
	}
	for _, key := range template.Keys() {
		file = material.New(string(data[key]))
	}
	return file, password, nil
}

// open reads the login and opens the tenant with it, unless both are as they were. What keeps
// it from that is a finding.
func (r *Reconciler) open(ctx context.Context, tenant *v1alpha1.CloudIntegrationTenant, rec *record) (*finding, error) {
	name := tenant.Spec.Login.SecretRef.Name
	secret := &corev1.Secret{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: tenant.Namespace, Name: name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return &finding{
			reason:  v1alpha1.ReasonLoginSecretNotFound,
			message: fmt.Sprintf("Secret %s, which holds the login, does not exist in this namespace.", name),
		}, nil
	case err != nil:
		return nil, fmt.Errorf("read the login Secret: %w", err)
	}
	login := make(map[string]material.Secret, len(secret.Data))
	for key, value := range secret.Data {
		login[key] = material.New(string(value))
	}
	if rec.api != nil && rec.opened == tenant.Generation && maps.EqualFunc(rec.login, login, material.Secret.Equal) {
		return nil, nil
	}
	transport := r.Options.Transport
	transport.CABundle = []byte(tenant.Spec.CABundle)
	if r.Options.Observe != nil {
		transport.Observe = r.Options.Observe("cloudIntegration")
	}
	opened, err := scanning.Open(scanning.Settings{URL: tenant.Spec.URL, TokenURL: tenant.Spec.TokenURL, Login: login, Transport: transport, Now: r.Options.Server.Now})
	if err != nil {
		found := explained(err, name)
		return &found, nil
	}
	if rec.scanner == nil {
		rec.scanner = scanning.NewScanner(opened)
	} else {
		rec.scanner.Use(opened)
	}
	rec.api, rec.login, rec.opened = opened, login, tenant.Generation
	return nil, nil
}

// Delivered is what is known of a delivery; false if its tenant has not been looked at yet.
func (r *Reconciler) Delivered(tenant types.NamespacedName, uid types.UID, form v1alpha1.DeliveryForm, alias string) (credential.Delivered, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, ok := r.board[tenant][place{credential: uid, form: scanning.Form(form), alias: alias}]
	return t, ok
}

// Changed tells of credentials of whose deliveries something else is known now.
func (r *Reconciler) Changed() <-chan event.GenericEvent { return r.changed }

// announce writes down what is known for the credentials, and tells those for whom it is news.
func (r *Reconciler) announce(ctx context.Context, tenant types.NamespacedName, rec *record) {
	now := r.Options.Server.Now()
	fresh := map[place]credential.Delivered{}
	var news []*v1alpha1.APIClientCredential
	r.mu.Lock()
	for i := range rec.wants {
		w := &rec.wants[i]
		t := w.told(rec.held[w.place], now)
		before, known := r.board[tenant][w.place]
		fresh[w.place] = t
		if !known || !reflect.DeepEqual(before, t) {
			c := &v1alpha1.APIClientCredential{}
			c.Namespace, c.Name = tenant.Namespace, w.name
			news = append(news, c)
		}
	}
	r.board[tenant] = fresh
	r.mu.Unlock()
	for _, c := range news {
		select {
		case r.changed <- event.GenericEvent{Object: c}:
		case <-ctx.Done():
			return
		}
	}
}

// tenantsOf are those that a credential is delivered to, and those that name it.
func (r *Reconciler) tenantsOf(ctx context.Context, o client.Object) []reconcile.Request {
	requests := r.tenantsBeside(ctx, o)
	if c, ok := o.(*v1alpha1.APIClientCredential); ok {
		for _, d := range c.Spec.Deliver {
			requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: c.Namespace, Name: d.TenantRef.Name}})
		}
	}
	return requests
}

// tenantsOfSecret are those that the credential of a version or target Secret is delivered to.
func (r *Reconciler) tenantsOfSecret(ctx context.Context, o client.Object) []reconcile.Request {
	key, ok := journal.CredentialOf(o)
	if !ok || key.Namespace != o.GetNamespace() {
		return nil
	}
	c := &v1alpha1.APIClientCredential{}
	if err := r.Client.Get(ctx, key, c); err != nil || len(c.Spec.Deliver) == 0 {
		return nil // what is gone is delivered to nobody
	}
	var requests []reconcile.Request
	for _, d := range c.Spec.Deliver {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: c.Namespace, Name: d.TenantRef.Name}})
	}
	return requests
}
