package integration

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// canaries are secret values of all tests. They must be seen nowhere but in Secrets
// (invariant 7): not in what the operator writes, not in what it is started with, and
// not in any object, which every test looks through when it is over.
var canaries struct {
	sync.Mutex
	values map[string]string
}

// secret makes up a value and watches out for it.
func secret(what string) string {
	value := "canary/" + rand.Text()
	watchOut(what, value)
	return value
}

// watchOut makes a canary of a value that somebody else has made up.
func watchOut(what, value string) {
	if len(value) < 16 {
		return // It would be found in any text.
	}
	canaries.Lock()
	defer canaries.Unlock()
	if canaries.values == nil {
		canaries.values = map[string]string{}
	}
	canaries.values[value] = what
}

// leaks names the canaries that a text holds, as they are or encoded.
func leaks(where, text string) error {
	canaries.Lock()
	defer canaries.Unlock()
	var errs []error
	for value, what := range canaries.values {
		for _, form := range []string{value, base64Of(value), url.QueryEscape(value)} {
			if i := strings.Index(text, form); i >= 0 {
				errs = append(errs, fmt.Errorf("%s holds a %s: %s<HERE>%s", where, what,
					text[max(0, i-200):i], text[i+len(form):min(len(text), i+len(form)+100)]))
			}
		}
	}
	return errors.Join(errs...)
}

// leaked looks for canaries in everything that an operator shows to those who may not
// read Secrets.
func leaked(world *operatortest.World, running *operatortest.Operator) error {
	text, err := world.Log()
	errs := []error{err, leaks("the operator's log", text)}
	if running != nil {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		text, err = running.Metrics(ctx)
		errs = append(errs, err, leaks("the metrics", text))
		text, err = running.CommandLine()
		errs = append(errs, err, leaks("the command line", text))
	}
	return errors.Join(errs...)
}

// leaked looks for canaries in every object of the namespace, Secrets by their metadata.
func (x *tenant) leaked() error {
	meta := &metav1.PartialObjectMetadataList{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	var errs []error
	for _, list := range []client.ObjectList{
		meta, &v1alpha1.APIClientCredentialList{}, &v1alpha1.CredentialIssuerList{}, &v1alpha1.RotationPolicyList{},
		&eventsv1.EventList{}, &corev1.ConfigMapList{},
	} {
		if err := x.world.Client.List(x.ctx, list, client.InNamespace(x.ns)); err != nil {
			errs = append(errs, err)
			continue
		}
		text, err := json.Marshal(list)
		errs = append(errs, err, leaks(fmt.Sprintf("%T", list), string(text)))
	}
	return errors.Join(errs...)
}

// A watch that never barks proves nothing.
func TestALeakWouldBeFound(t *testing.T) {
	t.Parallel()
	value := secret("test value")
	for _, text := range []string{
		`{"msg":"login with ` + value + `"}`, "Authorization: Basic " + base64Of(value), "password=" + url.QueryEscape(value),
	} {
		if leaks("a text", "… "+text+" …") == nil {
			t.Errorf("not found in %q", text)
		}
	}
	if err := leaks("a text", "canary/"); err != nil {
		t.Errorf("found in a text without it: %v", err)
	}
}

// The upstream quotes what it was sent, as some do in their error pages; nobody repeats
// it. (Every other test looks for leaks too.)
func TestAnUpstreamThatQuotesSecretsMakesNobodyTell(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.create(x.issuer())
	// The password is known beforehand; the client secret is only after the intent.
	x.fault(simkit.Fault{Operation: "token.password", Action: simkit.Refuse, Status: 401, Message: "password " + x.password + " is not right", Count: 1})
	held := x.hold("credential.create", simkit.BeforeCommit)
	x.create(x.credential())
	x.sim.Faults().Release(held(), true)
	version := x.versions()[0]
	value := string(version.Data["client_secret"])
	x.fault(simkit.Fault{Operation: "credential.create", Action: simkit.Refuse, Status: 500, Message: "cannot store " + value})
	x.fault(simkit.Fault{Operation: "credential.verify-secret", Action: simkit.Refuse, Status: 400, Message: "wrong: " + value})
	x.eventually(75*time.Second, func() string {
		return lacks(x.get("billing").Status.Conditions, v1alpha1.ConditionReady, published, nil)
	})
	if left := x.sim.Faults().List(); len(left) > 0 {
		t.Errorf("%d faults never struck: the test proves nothing", len(left))
	}
	x.awaitIdle(1)
}
