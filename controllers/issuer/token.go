package issuer

import (
	"context"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// tokenLife is how long the tokens are valid that are asked for: short, and ten minutes are
// the least that the API server grants. A login needs one for seconds.
const tokenLife = 10 * time.Minute

// tokens are those of one service account for one audience. The operator asks the API
// server for them by name, and reads no file: a path in an issuer would let a tenant read
// any file of the operator, and one token of the operator for all issuers would let him
// send it to an address of his own and log in with it elsewhere.
type tokens struct {
	client  client.Client
	account types.NamespacedName
	ref     v1alpha1.ServiceAccountReference
	// now is the API server's time, by which tokens end.
	now func() time.Time

	mu      sync.Mutex
	value   material.Secret
	renewAt time.Time
}

// tryToken makes sure that a token can be had, and says why not. Other errors are the API
// server's own.
func (r *Reconciler) tryToken(ctx context.Context, g *gathered, ref v1alpha1.ServiceAccountReference) (*finding, error) {
	rec := g.record
	account := types.NamespacedName{Namespace: r.Accounts.loginNamespace(g.issuer), Name: ref.Name}
	if rec.tokens == nil || rec.tokens.ref != ref {
		rec.tokens = &tokens{client: r.Client, account: account, ref: ref, now: r.Options.Server.Now}
	} else if rec.failures > 0 {
		rec.tokens.forget() // it may be signed by a key that is gone
	}
	err := rec.tokens.renew(ctx)
	f := &finding{reason: v1alpha1.ReasonServiceAccountNotUsable, stalled: true}
	switch {
	case err == nil:
		return nil, nil
	case apierrors.IsNotFound(err):
		f.message = fmt.Sprintf("ServiceAccount %s, whose tokens are the login, does not exist in %s; the issuer is used as soon as it does.", ref.Name, r.place(g))
	case apierrors.IsForbidden(err):
		f.message = fmt.Sprintf("The operator has no right to make tokens of ServiceAccount %s: it must be allowed to create serviceaccounts/token of that name in %s.", ref.Name, r.place(g))
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		f.message = fmt.Sprintf("The API server makes no tokens of ServiceAccount %s for audience %s.", ref.Name, ref.Audience)
	default:
		return nil, fmt.Errorf("ask for a token of the login's service account: %w", err)
	}
	return f, nil
}

// get is how an adapter asks for a token. What is wrong with the account the issuer's own
// look will tell.
func (t *tokens) get(ctx context.Context) (material.Secret, error) {
	if err := t.renew(ctx); err != nil {
		class := upstream.Retryable
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			class = upstream.LoginFailed
		}
		return material.Secret{}, upstream.Errorf(class, "no token of ServiceAccount %s could be had", t.account.Name)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.value, nil
}

func (t *tokens) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.value = material.Secret{}
}

// renew asks for a token unless there is one that lives for a while.
func (t *tokens) renew(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.value.Empty() && t.now().Before(t.renewAt) {
		return nil
	}
	seconds := int64(tokenLife / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{t.ref.Audience}, ExpirationSeconds: &seconds}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: t.account.Namespace, Name: t.account.Name}}
	if err := t.client.SubResource("token").Create(ctx, account, request); err != nil {
		return err
	}
	// Half of what is granted, so that what the upstream's clock differs does not matter.
	now := t.now()
	t.value, t.renewAt = material.New(request.Status.Token), now.Add(request.Status.ExpirationTimestamp.Sub(now)/2)
	return nil
}
