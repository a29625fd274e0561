package integration

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// Whatever is done to the Secret, it soon holds the published version again, and the
// upstream makes and revokes nothing for it.
func TestADamagedSecretIsPutBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		damage func(*corev1.Secret)
		// keep is what of the damage is the author's own, and stays.
		keep map[string]string
	}{
		{"a value is edited", func(s *corev1.Secret) { s.Data["client_secret"] = []byte("edited") }, nil},
		{"a key is removed", func(s *corev1.Secret) { delete(s.Data, "client_id") }, nil},
		{"all data is removed", func(s *corev1.Secret) { s.Data = nil }, nil},
		{"values are swapped", func(s *corev1.Secret) {
			s.Data["client_id"], s.Data["client_secret"] = s.Data["client_secret"], s.Data["client_id"]
		}, nil},
		{"a foreign key is added", func(s *corev1.Secret) { s.Data["note"] = []byte("mine") }, map[string]string{"note": "mine"}},
		{"a value is edited and a foreign key is added", func(s *corev1.Secret) {
			s.Data["client_id"], s.Data["note"] = []byte("edited"), []byte("mine")
		}, map[string]string{"note": "mine"}},
		{"our hint is forged", func(s *corev1.Secret) {
			s.Annotations[journal.AnnotationRendered] = strings.Repeat("0", 20) + ".0.0"
		}, nil},
		{"our hint is removed", func(s *corev1.Secret) { delete(s.Annotations, journal.AnnotationRendered) }, nil},
		{"the name of the version is forged", func(s *corev1.Secret) { s.Annotations[journal.AnnotationVersion] = "7" }, nil},
		{"our labels are removed", func(s *corev1.Secret) { s.Labels = nil }, nil},
		{"the credential is forged", func(s *corev1.Secret) { s.Annotations[journal.AnnotationCredential] = "elsewhere/other" }, nil},
		{"managedFields are wiped", func(s *corev1.Secret) { s.ManagedFields = []metav1.ManagedFieldsEntry{{}} }, nil},
		{"managedFields are wiped and a value is edited", func(s *corev1.Secret) {
			s.ManagedFields = []metav1.ManagedFieldsEntry{{}}
			s.Data["client_secret"] = []byte("edited")
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, shared)
			x.ready(x.policy("Unlimited", "3s"))
			x.awaitIdle(1)
			before := x.target("billing-api")
			update(x, "billing-api", &corev1.Secret{}, test.damage)

			want := bare(before)
			for key, value := range test.keep {
				want.Data[key] = []byte(value)
			}
			x.eventually(15*time.Second, func() string {
				got := bare(x.target("billing-api"))
				// Where managedFields were wiped it stays written since when they count again.
				delete(got.Annotations, journal.AnnotationTrackedFrom)
				if diff := cmp.Diff(want, got); diff != "" {
					return "the Secret is not as it was (-want +got):\n" + diff
				}
				return ""
			})
			x.await(soon, v1alpha1.ConditionReady, published)
			if got := x.target("billing-api"); got.UID != before.UID {
				t.Error("it is another Secret: workloads that watch it saw it go")
			}
			x.wantNothingMade()

			// It is still known when the Secret was written: the next rotation ends.
			x.request(time.Now())
			x.awaitVersion(soon, 2)
			x.awaitIdle(1)
		})
	}
}

// wantNothingMade checks that the upstream made one credential and revoked none.
func (x *tenant) wantNothingMade() {
	x.t.Helper()
	want := map[string]int{"credential.create": 1, "credential.delete": 0, "credential.update": 0}
	got := map[string]int{}
	for operation := range maps.Keys(want) {
		got[operation] = x.calls(operation)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		x.t.Errorf("calls that change something upstream (-want +got):\n%s", diff)
	}
}

func TestADeletedSecretIsPutBackWithoutTheUpstream(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]bool{"while the upstream answers": false, "while the upstream is down": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newTenant(t, shared)
			x.ready(nil)
			before := x.target("billing-api")
			if down {
				x.fault(simkit.Fault{Operation: "*", Action: simkit.Cut, Count: -1})
			}
			x.delete(before.DeepCopy())
			x.eventually(5*time.Second, func() string {
				got := x.target("billing-api")
				if got == nil {
					return "the Secret was not put back"
				}
				return cmp.Diff(bare(before), bare(got))
			})
			x.wantNothingMade()
			x.sim.Faults().Remove("")
			x.await(soon, v1alpha1.ConditionReady, published)
			x.eventually(soon, func() string {
				if x.calls("credential.verify-secret") < 2 {
					return "what was put back was not verified afterwards"
				}
				return ""
			})
			if diff := cmp.Diff([]string{"Issued", "SecretRestored"}, x.reasons("APIClientCredential", "billing")); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// Hazard H14: during an overlap two versions could be put back; it is the newer one.
func TestDuringAnOverlapTheNewerVersionIsPutBack(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "12s"))
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	before := x.target("billing-api")
	x.delete(before.DeepCopy())
	x.eventually(5*time.Second, func() string {
		got := x.target("billing-api")
		if got == nil {
			return "the Secret was not put back"
		}
		return cmp.Diff(bare(before), bare(got))
	})
	put := time.Now()
	x.awaitIdle(1)
	if got := len(x.sim.Ledger().Issued()); got != 2 {
		t.Errorf("%d credentials were issued", got)
	}
	// The overlap is counted from the last time that workloads could begin to see the
	// new version.
	if revoked := x.sim.Ledger().Revoked()[0].RevokedAt; revoked.Before(put.Add(10 * time.Second)) {
		t.Errorf("version 1 was revoked %s after version 2 was put back; the overlap is 12s", revoked.Sub(put))
	}
}

// A template that is edited changes the keys in place: dropped ones go, others' stay, no
// version is made, and the upstream is not asked.
func TestAnEditedTemplateIsRenderedInPlace(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(nil)
	x.awaitIdle(1)
	update(x, "billing-api", &corev1.Secret{}, func(s *corev1.Secret) {
		s.Data["note"] = []byte("mine")
		s.Labels["team"], s.Annotations["example.com/owner"] = "payments", "jo"
	})
	before := x.target("billing-api")
	calls := x.calls("credential.*")
	x.change(func(c *v1alpha1.APIClientCredential) {
		c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Data: map[string]string{
			"client_id": "{{ .clientID }}", "basic": "{{ b64enc (print .clientID \":\" .clientSecret) }}",
		}}
	})
	id, value := string(before.Data["client_id"]), string(before.Data["client_secret"])
	want := bare(before)
	want.Data = map[string][]byte{
		"client_id": []byte(id), "note": []byte("mine"), "basic": []byte(base64Of(id + ":" + value)),
	}
	x.eventually(soon, func() string {
		got := bare(x.target("billing-api"))
		want.Annotations[journal.AnnotationRendered] = got.Annotations[journal.AnnotationRendered]
		return cmp.Diff(want, got)
	})
	x.awaitReady("billing")
	if got := x.calls("credential.*") - calls - x.calls("credential.list-catalog"); got > 0 {
		t.Errorf("%d calls to the upstream for a template", got)
	}
	canaries.Add("client secret in basic form", base64Of(id+":"+value))

	// Back again: nothing is left over.
	x.change(func(c *v1alpha1.APIClientCredential) { c.Spec.Secret.Template = nil })
	x.eventually(soon, func() string { return cmp.Diff(bare(before), bare(x.target("billing-api"))) })
	if got := x.get("billing").Status.Version; got != 1 {
		t.Errorf("the template made version %d", got)
	}
}

// The presets write what their names promise.
func TestPresets(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.create(x.issuer())
	for preset, want := range map[string]func(id, secret string) map[string]string{
		"ClientIDSecret": func(id, secret string) map[string]string {
			return map[string]string{"client_id": id, "client_secret": secret}
		},
		"Environment": func(id, secret string) map[string]string {
			return map[string]string{"CLIENT_ID": id, "CLIENT_SECRET": secret}
		},
		"JSON": func(id, secret string) map[string]string {
			return map[string]string{"credentials.json": fmt.Sprintf(`{"client_id":%q,"client_secret":%q}`, id, secret)}
		},
		"BasicAuth": func(id, secret string) map[string]string {
			return map[string]string{"username": id, "password": secret}
		},
	} {
		name := strings.ToLower(preset)
		c := x.credential(func(c *v1alpha1.APIClientCredential) {
			c.Name, c.Spec.Secret = name, v1alpha1.TargetSecret{Name: name, Template: &v1alpha1.SecretTemplate{Preset: preset}}
			if preset == "BasicAuth" {
				c.Spec.Secret.Type = corev1.SecretTypeBasicAuth
			}
		})
		x.create(c)
		x.awaitReady(name)
		got, version := x.target(name), x.versionsOf(c)[0]
		data := map[string]string{}
		for key, value := range got.Data {
			data[key] = string(value)
		}
		if diff := cmp.Diff(want(string(version.Data["client_id"]), string(version.Data["client_secret"])), data); diff != "" {
			t.Errorf("preset %s (-want +got):\n%s", preset, diff)
		}
		if wanted := map[bool]corev1.SecretType{true: corev1.SecretTypeBasicAuth, false: corev1.SecretTypeOpaque}[preset == "BasicAuth"]; got.Type != wanted {
			t.Errorf("preset %s: type %s, want %s", preset, got.Type, wanted)
		}
	}
}

// Hazard C6: of a backup that is older than the Secret only version 1 comes back, which was
// revoked since. What the Secret holds works, and stays until a successor is there.
func TestAJournalThatIsBehindPutsNothingBackUnasked(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	x.ready(x.policy("Unlimited", "3s"))
	x.awaitIdle(1)
	backup := x.versions()[0].DeepCopy()
	first := bare(x.target("billing-api")).Data
	x.request(time.Now())
	x.awaitVersion(soon, 2)
	x.awaitIdle(1)

	// A restore takes longer than the operator's glance.
	x.change(func(c *v1alpha1.APIClientCredential) { c.Spec.Suspend = true })
	x.await(soon, v1alpha1.ConditionAttention, state{metav1.ConditionTrue, v1alpha1.ReasonSuspended})
	held := bare(x.target("billing-api")).Data
	newest := x.versions()[0]
	update(x, newest.Name, &corev1.Secret{}, func(s *corev1.Secret) { s.Finalizers = nil })
	x.delete(&newest)
	backup.UID, backup.ResourceVersion, backup.ManagedFields, backup.CreationTimestamp = "", "", nil, metav1.Time{}
	x.create(backup)

	// While the upstream is away nobody can tell whether version 1 may be put back.
	x.fault(simkit.Fault{Operation: "*", Action: simkit.Cut, Count: -1})
	looked := x.mark()
	x.change(func(c *v1alpha1.APIClientCredential) { c.Spec.Suspend = false })
	x.await(soon, v1alpha1.ConditionReady, state{metav1.ConditionFalse, v1alpha1.ReasonJournalBehind}, "bears version 2", "version 1 is put back only if")
	if diff := cmp.Diff(held, bare(x.target("billing-api")).Data); diff != "" {
		t.Errorf("the Secret while nobody could be asked (-want +got):\n%s", diff)
	}
	x.sim.Faults().Remove("")
	// Its number was used: the successor has the next one.
	x.awaitVersion(soon, 3)
	x.await(soon, v1alpha1.ConditionReady, published)
	if got := bare(x.target("billing-api")).Data; cmp.Equal(first, got) || cmp.Equal(held, got) {
		t.Error("version 3 is not a new one")
	}
	if got := len(x.publications(looked)); got != 1 {
		t.Errorf("the Secret was written %d times on the way from version 2 to version 3", got)
	}
}
