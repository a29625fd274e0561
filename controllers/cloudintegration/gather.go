package cloudintegration

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/controllers/credential"
	scanning "github.com/claviger-dev/claviger/internal/cloudintegration"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/material"
)

// public is what of a version's material is no secret and is compared with an entry.
type public struct {
	id, tokenURL, print string
	// has are the names of the fields that it has.
	has map[string]bool
}

// gather is what credentials want of a tenant, oldest first, as the cache has it. What is not
// secret of a version is read once.
func (r *Reconciler) gather(ctx context.Context, tenant *v1alpha1.CloudIntegrationTenant, rec *record) ([]want, error) {
	var list v1alpha1.APIClientCredentialList
	if err := r.Client.List(ctx, &list, client.InNamespace(tenant.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the credentials that are delivered: %w", err)
	}
	var wants []want
	for i := range list.Items {
		c := &list.Items[i]
		for _, d := range c.Spec.Deliver {
			if d.TenantRef.Name != tenant.Name {
				continue
			}
			w, err := r.want(ctx, rec, c, d)
			if err != nil {
				return nil, err
			}
			wants = append(wants, w)
		}
	}
	slices.SortFunc(wants, func(a, b want) int {
		return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.name, b.name), cmp.Compare(a.alias, b.alias))
	})
	contend(wants)
	places := map[place]*held{}
	for i := range wants {
		wants[i].users = usersOf(&wants[i], rec.found)
		h := cmp.Or(rec.held[wants[i].place], &held{})
		places[wants[i].place] = h
		before := slices.IndexFunc(rec.wants, func(w want) bool { return w.place == wants[i].place })
		if before < 0 || rec.gathered != tenant.Generation || !reflect.DeepEqual(rec.wants[before].spec, wants[i].spec) {
			h.retryAt, h.doubt = time.Time{}, true // somebody has changed something, and wants to see what comes of it
		}
	}
	rec.held, rec.wants, rec.gathered = places, wants, tenant.Generation
	return wants, nil
}

// usersOf are the flows that the last scan has found to use an alias. Before the first one nobody
// knows, which counts while a deletion waits for them.
func usersOf(w *want, found *scanning.Result) []string {
	if found == nil {
		if w.leaving && w.kept {
			return []string{"flows that are not known yet, because the tenant has not been read"}
		}
		return nil
	}
	var users []string
	for _, reference := range found.References {
		if reference.Known() && reference.Alias == w.alias {
			users = append(users, reference.Flow)
		}
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// contend lets the oldest have an alias that several credentials are delivered to. Credentials of
// both forms share one space of names, and the keystore has its own.
func contend(wants []want) {
	type name struct {
		keystore bool
		alias    string
	}
	first := map[name]string{}
	for i := range wants {
		w := &wants[i]
		n := name{w.form == scanning.KeyPair, w.alias}
		if other, taken := first[n]; taken && other != w.name {
			w.problem = fmt.Sprintf("APIClientCredential %s, which is older, is delivered to this alias", other)
			continue
		}
		first[n] = w.name
	}
}

// want reads one delivery.
func (r *Reconciler) want(ctx context.Context, rec *record, c *v1alpha1.APIClientCredential, d v1alpha1.Delivery) (want, error) {
	w := want{
		place: place{credential: c.UID, form: scanning.Form(d.As), alias: d.Alias}, name: c.Name, created: c.CreationTimestamp.Time, spec: d,
		owner: journal.OwnerMark(r.Options.ClusterID, string(c.UID)), prints: map[string]note{},
		paused: c.Spec.Suspend || r.Options.ObserveOnly, leaving: c.DeletionTimestamp != nil,
		kept: c.Spec.Protection != v1alpha1.ProtectionNone,
	}
	secrets := &metav1.PartialObjectMetadataList{}
	secrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	key := client.ObjectKeyFromObject(c)
	if err := r.Client.List(ctx, secrets, client.InNamespace(c.Namespace), client.MatchingFields{credential.IndexCredential: key.String()}); err != nil {
		return w, fmt.Errorf("list the versions of %s: %w", c.Name, err)
	}
	var versions []journal.Version
	var target journal.Target
	for i := range secrets.Items {
		switch secrets.Items[i].Labels[journal.LabelRole] {
		case journal.RoleVersion:
			if v, err := journal.Parse(&secrets.Items[i]); err == nil && v.CredentialUID == c.UID {
				versions = append(versions, v)
			}
		case journal.RoleTarget:
			if t := journal.ReadTarget(&secrets.Items[i]); secrets.Items[i].Name == c.Spec.Secret.Name && t.CredentialUID == c.UID {
				target = t
			}
		}
	}
	w.doomed = w.leaving && c.Spec.DeletionPolicy != v1alpha1.DeletionRetain
	for i := range versions {
		v := &versions[i]
		w.doomed = w.doomed && (v.Terminating || !v.FailedAt.IsZero())
		if w.form != scanning.KeyPair && v.Nonce != target.Hint.Nonce {
			continue
		}
		p, err := r.public(ctx, rec, v)
		if err != nil {
			return w, err
		}
		if p == nil {
			continue
		}
		n := note{mark: v.Mark, version: v.Number}
		if p.print != "" {
			w.prints[p.print] = n
		}
		if v.Nonce == target.Hint.Nonce && !v.Terminating && v.FailedAt.IsZero() && !target.Terminating {
			w.published = &published{key: v.Key, uid: v.UID, note: n, nonce: v.Nonce, print: p.print}
			w.published.fields, w.published.lacking = fields(d, p)
		}
	}
	return w, nil
}

// public reads what is no secret of a version; nil if it has gone, or holds no material yet.
func (r *Reconciler) public(ctx context.Context, rec *record, v *journal.Version) (*public, error) {
	if known, ok := rec.public[v.Nonce]; ok {
		return known, nil
	}
	if !v.Complete() {
		return nil, nil
	}
	whole, err := r.Options.Store.Version(ctx, v.Key, v.UID)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil || whole.Material == nil {
		return nil, err
	}
	p := &public{id: whole.Material.ClientID, tokenURL: whole.Material.Attributes[material.AttributeTokenURL], print: fingerprint(whole.Material.Certificate), has: map[string]bool{}}
	for name := range whole.Material.Fields() {
		p.has[name] = true
	}
	if rec.public == nil {
		rec.public = map[string]*public{}
	}
	rec.public[v.Nonce] = p
	return p, nil
}

// fingerprint is that of the first certificate; empty if there is none.
func fingerprint(certificate string) string {
	block, _ := pem.Decode([]byte(certificate))
	if block == nil {
		return ""
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return ""
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}

// fields are what an entry is to say beside its note and its secret, and what is lacking for it.
func fields(d v1alpha1.Delivery, p *public) (wanted map[string]string, lacking string) {
	lacks := func(names ...string) string {
		for _, name := range names {
			if !p.has[name] {
				return fmt.Sprintf("the published version has no %s, which %s needs", name, d.As)
			}
		}
		return ""
	}
	switch d.As {
	case v1alpha1.DeliverKeyPair:
		return nil, lacks(material.FieldCertificate, material.FieldPrivateKey)
	case v1alpha1.DeliverUser:
		return map[string]string{"User": p.id}, lacks(material.FieldClientID, material.FieldClientSecret)
	case v1alpha1.DeliverOAuth2:
	}
	options := v1alpha1.OAuth2Delivery{}
	if d.OAuth2 != nil {
		options = *d.OAuth2
	}
	lacking = lacks(material.FieldClientID, material.FieldClientSecret)
	service := cmp.Or(options.TokenServiceURL, p.tokenURL)
	if lacking == "" && service == "" {
		lacking = "the upstream tells no token endpoint: set oauth2.tokenServiceURL"
	}
	wanted = map[string]string{
		"ClientId": p.id, "TokenServiceUrl": service, "ClientAuthentication": options.ClientAuthentication,
		"Scope": options.Scope, "ScopeContentType": options.ScopeContentType, "Resource": options.Resource, "Audience": options.Audience,
	}
	for name, value := range wanted {
		if value == "" {
			delete(wanted, name) // it stays as it is there
		}
	}
	return wanted, lacking
}
