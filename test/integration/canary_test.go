package integration

import (
	"crypto/rand"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/canary"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// canaries are the secret values of all tests and worlds. They must be seen nowhere but in
// Secrets (invariant 7): not in what the operator writes, not in what it is started with,
// and not in any object, which every test looks through when it is over, and every world
// once more at its end. What stands in a Secret, if only for a moment, is one by itself, and
// so is what a simulator makes up.
var canaries = &canary.Canaries{}

// secret makes up a value and watches out for it.
func secret(what string) string {
	value := "canary/" + rand.Text()
	canaries.Add(what, value)
	return value
}

// A search that finds nothing because nothing was looked for proves nothing: what tests
// make up, what simulators make up and what stands in Secrets is known to it.
func TestALeakWouldBeFound(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(nil)
	target := x.target("billing-api")
	for what, text := range map[string]string{
		"a password of a test":                    `{"msg":"login with ` + x.password + `"}`,
		"a client secret that was only seen":      "Authorization: Basic " + base64Of("id:"+string(target.Data["client_secret"])),
		"a token that nobody but a simulator saw": "Bearer eyJ" + simkit.NewSecret(64),
	} {
		if canaries.Find("a text", "… "+text+" …") == nil {
			t.Errorf("%s is not found", what)
		}
	}
	if err := canaries.Find("a text", "client "+string(target.Data["client_id"])); err != nil {
		t.Errorf("a client id counts as a secret: %v", err)
	}

	// It is looked for in objects, too; by a search of its own, since this leak is meant.
	meant := &canary.Canaries{}
	value := rand.Text()
	meant.Add("meant leak", value)
	x.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "careless"}, Data: map[string]string{"note": value}})
	if meant.FindInObjects(x.ctx, x.world.Client, client.InNamespace(x.ns)) == nil {
		t.Error("a value in a ConfigMap is not found")
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
