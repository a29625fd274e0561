package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/upstream"
)

func TestAnIssuerThatWorks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.login("right")
	w.issuer("apic")
	issuer := w.says("apic", v1alpha1.ReasonLoggedIn)
	w.judged(issuer)

	if issuer.Status.Upstream != "ibmAPIConnect" || issuer.Status.Realm != "apic.example/catalogs/production" || issuer.Status.ObservedGeneration != issuer.Generation {
		t.Errorf("status %+v", issuer.Status)
	}
	account, ok := w.accounts.Get(issuer.UID)
	if !ok || account.Realm != issuer.Status.Realm || account.Issuer.Name != "apic" || account.Issuer.Upstream != "ibmAPIConnect" {
		t.Errorf("account %+v, %t", account, ok)
	}
	w.until("an event tells it", func() error {
		var list eventsv1.EventList
		if err := w.client.List(t.Context(), &list, client.InNamespace(w.namespace)); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Reason == "LoggedIn" && e.Regarding.UID == issuer.UID && e.Type == corev1.EventTypeNormal {
				return nil
			}
		}
		return fmt.Errorf("%d events", len(list.Items))
	})

	// Invariant 9: looking again, with nothing to tell, writes nothing.
	checks, writes := w.provider.count("check"), w.writes.Load()
	for round := range 2 {
		w.accounts.Recheck(issuer.UID)
		w.until("it is checked again", func() error {
			if got := w.provider.count("check"); got <= checks+round {
				return fmt.Errorf("%d checks", got)
			}
			return nil
		})
	}
	after := &v1alpha1.CredentialIssuer{}
	if err := w.client.Get(t.Context(), w.key("apic"), after); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(issuer, after); diff != "" {
		t.Errorf("written without need (-before +after):\n%s", diff)
	}
	if got := w.writes.Load() - writes; got != 0 {
		t.Errorf("%d writes without need", got)
	}
	if got := w.provider.count("list"); got != 1 {
		t.Errorf("%d listings within the first hour", got)
	}
}

func TestALoginSecretThatArrivesLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issuer := w.issuer("apic")
	missing := w.says("apic", v1alpha1.ReasonLoginSecretNotFound)
	if s := w.accounts.State(issuer.UID); s.Usable || s.Reason != v1alpha1.ReasonIssuerNotReady || s.Stalled || !strings.Contains(s.Message, "LoginSecretNotFound") {
		t.Errorf("credentials are told %+v", s)
	}
	if c := conditions(missing); c != "Ready=False Reconciling=True" {
		t.Errorf("conditions %s", c)
	}
	w.login("right")
	w.says("apic", v1alpha1.ReasonLoggedIn)
}

func TestAWrongLoginShowsAsStalledAndIsPickedUpWhenCorrected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := w.login("wrong")
	issuer := w.says(w.issuer("apic").Name, v1alpha1.ReasonLoginFailed)
	if c := conditions(issuer); c != "Ready=False Stalled=True" {
		t.Errorf("conditions %s", c)
	}
	if _, ok := w.accounts.Get(issuer.UID); ok {
		t.Error("an account that cannot log in was handed out")
	}
	secret.StringData = map[string]string{"password": "right"}
	if err := w.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	w.says("apic", v1alpha1.ReasonLoggedIn)
}

func TestALoginThatIsRevokedIsTheIssuersTroubleOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.login("right")
	issuer := w.issuer("apic")
	w.says("apic", v1alpha1.ReasonLoggedIn)
	w.provider.set(func() { w.provider.password = "changed" })
	checks := w.provider.count("check")
	for range 1000 { // a thousand credentials whose call was refused
		w.accounts.Recheck(issuer.UID)
	}
	w.says("apic", v1alpha1.ReasonLoginFailed)
	if got := w.provider.count("check"); got > checks+2 {
		t.Errorf("%d logins for one trouble", got-checks)
	}
}

func TestALoginSecretThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "apic-login"}, StringData: map[string]string{"passwort": "right"}})
	w.issuer("apic")
	issuer := w.says("apic", v1alpha1.ReasonInvalidSettings)
	if m := issuer.Status.Conditions[0].Message; !strings.Contains(m, "lacks the key password") {
		t.Errorf("%q does not say what is wrong", m)
	}
}

func TestASuspendedIssuerIsNotCalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.SweepInterval = 100 * time.Millisecond })
	w.login("right")
	issuer := w.issuer("apic")
	w.judged(issuer)
	w.suspend(true)
	w.says("apic", v1alpha1.ReasonSuspended)
	if s := w.accounts.State(issuer.UID); s.Reason != v1alpha1.ReasonIssuerSuspended || s.Usable {
		t.Errorf("credentials are told %+v", s)
	}
	before := w.provider.count("check") + w.provider.count("list")
	w.accounts.Recheck(issuer.UID)
	w.credential("billing", "apic")
	w.until("it is looked after all the same", func() error {
		got := &v1alpha1.CredentialIssuer{}
		if err := w.client.Get(t.Context(), w.key("apic"), got); err != nil || got.Status.Credentials != 1 {
			return fmt.Errorf("%d credentials, %w", got.Status.Credentials, err)
		}
		return nil
	})
	if after := w.provider.count("check") + w.provider.count("list"); after != before {
		t.Errorf("%d calls to a suspended upstream", after-before)
	}
	w.suspend(false)
	w.says("apic", v1alpha1.ReasonLoggedIn)
}

func (w *world) suspend(on bool) {
	w.Helper()
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"suspend":%t}}`, on))
	issuer := &v1alpha1.CredentialIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "apic"}}
	if err := w.client.Patch(w.Context(), issuer, patch); err != nil {
		w.Fatal(err)
	}
}

// TestHazard39 is one upstream that hangs: it stops nobody else.
func TestHazard39(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Workers = 2 })
	hang := make(chan struct{})
	w.provider.set(func() { w.provider.hanging["hung.example"] = hang })
	w.login("right")
	w.issuer("hung")
	w.until("it hangs", func() error {
		if w.provider.count("check") == 0 {
			return errors.New("not called yet")
		}
		return nil
	})
	w.issuer("apic")
	w.says("apic", v1alpha1.ReasonLoggedIn)
	close(hang)
	w.says("hung", v1alpha1.ReasonLoggedIn)
}

func TestAListingThatFailsIsSaidAndHoldsTheVerdictBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.provider.set(func() { w.provider.failing["list"] = upstream.Errorf(upstream.Forbidden, "app:view:all is missing") })
	w.login("right")
	issuer := w.issuer("apic")
	w.says("apic", v1alpha1.ReasonUpstreamForbidden)
	if _, ok := w.accounts.Get(issuer.UID); !ok {
		t.Error("first issue and repair must not wait for a listing")
	}
	if w.accounts.Verdict(issuer.UID).Done {
		t.Error("a verdict without a listing")
	}
	w.provider.set(func() { delete(w.provider.failing, "list") })
	w.judged(issuer)
	w.says("apic", v1alpha1.ReasonLoggedIn)
}

func TestCredentialsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.login("right")
	w.issuer("apic")
	first := w.credential("billing", "apic")
	w.credential("shipping", "apic")
	w.credential("elsewhere", "other")
	counted := func(want int64) {
		w.until(fmt.Sprintf("%d are counted", want), func() error {
			issuer := &v1alpha1.CredentialIssuer{}
			if err := w.client.Get(t.Context(), w.key("apic"), issuer); err != nil || issuer.Status.Credentials != want {
				return fmt.Errorf("%d, %w", issuer.Status.Credentials, err)
			}
			return nil
		})
	}
	counted(2)
	if err := w.client.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	counted(1)
}

func TestDoubts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issuer := w.issuer("apic")
	billing := w.credential("billing", "apic")
	fine, missing, changed, fresh := upstreamOf(billing, 1), upstreamOf(billing, 2), upstreamOf(billing, 3), upstreamOf(billing, 4)
	for number := range int64(3) {
		w.version(billing, issuer, number+1, time.Hour)
	}
	w.version(billing, issuer, 4, time.Minute)
	changed.SecretHash = "bm90IG91cnM="
	w.provider.put(fine)
	w.provider.put(changed)
	w.login("right")

	want := map[upstream.Mark]string{
		missing.Mark: "the upstream's listing does not show it",
		changed.Mark: "the upstream's listing shows another secret",
	}
	w.until("the verdict has its doubts", func() error {
		if diff := cmp.Diff(want, w.accounts.Verdict(issuer.UID).Doubts); diff != "" {
			return fmt.Errorf("doubts (-want +got, fresh is %s):\n%s", fresh.Mark, diff)
		}
		return nil
	})
}

func conditions(issuer *v1alpha1.CredentialIssuer) string {
	var all []string
	for _, c := range issuer.Status.Conditions {
		all = append(all, c.Type+"="+string(c.Status))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestHazardC4LateArrivals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.SweepInterval, o.OrphanAge = 300*time.Millisecond, 2*time.Second })
	w.login("right")
	issuer := w.issuer("apic")
	billing, lost := w.credential("billing", "apic"), w.credential("lost", "apic")
	w.version(billing, issuer, 1, time.Hour)
	w.published(billing, 1)
	// The journal of lost does not have the version that is published.
	w.published(lost, 1)
	foreign := upstream.Found{ID: "f", Name: "cl-foreign", Mark: mark('f', 1), Container: "apic.example/a1"}
	for _, found := range []upstream.Found{upstreamOf(billing, 1), upstreamOf(billing, 9), upstreamOf(lost, 1), foreign} {
		w.provider.put(found)
	}

	w.orphans(2) // first both are reported, and then one is revoked
	w.until("the late arrival is revoked", func() error {
		if got := w.provider.revocations(); len(got) == 0 {
			return errors.New("nothing is revoked")
		}
		return nil
	})
	left := w.orphans(1)
	if got := left.Newest[0]; got.Name != upstreamOf(lost, 1).Name || got.Reason != "The published Secret seems to hold it." {
		t.Errorf("reported is %+v", got)
	}
	revoked := w.provider.revocations()
	if len(revoked) != 1 || revoked[0].Mark != upstreamOf(billing, 9).Mark || revoked[0].Name != upstreamOf(billing, 9).Name || !strings.Contains(string(revoked[0].Parameters), `"app":"billing"`) {
		t.Errorf("revoked: %+v", revoked)
	}
}

// orphans waits until so many are reported.
func (w *world) orphans(count int64) v1alpha1.SuspectedOrphans {
	w.Helper()
	issuer := &v1alpha1.CredentialIssuer{}
	w.until(fmt.Sprintf("%d orphans are suspected", count), func() error {
		if err := w.client.Get(w.Context(), w.key("apic"), issuer); err != nil {
			return err
		}
		if got := issuer.Status.SuspectedOrphans; got.Count != count {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	return issuer.Status.SuspectedOrphans
}

func TestObserveOnlyRevokesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.SweepInterval, o.OrphanAge, o.ObserveOnly = 200*time.Millisecond, 0, true })
	w.login("right")
	w.issuer("apic")
	billing := w.credential("billing", "apic")
	w.provider.put(upstreamOf(billing, 9))
	w.until("it is reported with the reason", func() error {
		if got := w.orphans(1); got.Newest[0].Reason != "The operator runs with --observe-only." {
			return errors.New(got.Newest[0].Reason)
		}
		return nil
	})
	if got := w.provider.revocations(); len(got) != 0 {
		t.Errorf("revoked: %+v", got)
	}
}

func TestWhatADeletedCredentialLeftIsReportedAndNeverRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.SweepInterval, o.OrphanAge = 200*time.Millisecond, 0 })
	w.login("right")
	issuer := w.issuer("apic")
	w.judged(issuer)
	billing := w.credential("billing", "apic")
	w.until("it is known", func() error {
		if got := w.says("apic", v1alpha1.ReasonLoggedIn).Status.Credentials; got != 1 {
			return fmt.Errorf("%d credentials", got)
		}
		return nil
	})
	if err := w.client.Delete(t.Context(), billing); err != nil {
		t.Fatal(err)
	}
	w.gone(billing)
	w.provider.put(upstreamOf(billing, 9))
	if got := w.orphans(1).Newest[0].Reason; !strings.Contains(got, "was deleted") {
		t.Errorf("reason %q", got)
	}
	lists := w.provider.count("list")
	w.until("three more passes", func() error {
		if got := w.provider.count("list"); got < lists+3 {
			return fmt.Errorf("%d", got-lists)
		}
		return nil
	})
	if got := w.provider.revocations(); len(got) != 0 {
		t.Errorf("revoked: %+v", got)
	}
}

// TestTheUpstreamIsListedBeforeTheJournal is what would go wrong in the other order:
// what is made during the listing would look like nobody's.
func TestTheUpstreamIsListedBeforeTheJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.SweepInterval, o.OrphanAge = 100*time.Millisecond, 0 })
	issuer := w.issuer("apic")
	billing := w.credential("billing", "apic")
	var number int64
	w.provider.set(func() {
		w.provider.listing = func() {
			if number < 20 {
				number++
				if err := w.client.Create(context.Background(), w.intent(billing, issuer, number, 0)); err != nil {
					t.Error(err)
				}
				w.provider.put(upstreamOf(billing, number))
			}
		}
	})
	w.login("right")
	w.until("twenty were made during listings", func() error {
		if got := w.provider.count("list"); got < 22 {
			return fmt.Errorf("%d listings", got)
		}
		return nil
	})
	if got := w.provider.revocations(); len(got) != 0 {
		t.Errorf("revoked what was just made: %+v", got)
	}
	if got := w.orphans(0); got.Newest != nil {
		t.Errorf("%+v", got)
	}
}

func TestEnsureInUseWritesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := w.login("right")
	issuer := w.issuer("apic")
	w.says("apic", v1alpha1.ReasonLoggedIn)
	w.held(issuer)

	read := func() (*v1alpha1.CredentialIssuer, *corev1.Secret) {
		i, s := &v1alpha1.CredentialIssuer{}, &corev1.Secret{}
		if err := errors.Join(w.client.Get(t.Context(), w.key("apic"), i), w.client.Get(t.Context(), w.key(secret.Name), s)); err != nil {
			t.Fatal(err)
		}
		return i, s
	}
	i, s := read()
	writes := w.writes.Load()
	if !slices.Contains(i.Finalizers, journal.FinalizerInUse) || !slices.Contains(s.Finalizers, journal.FinalizerInUse) || s.Labels[journal.LabelRole] != journal.RoleLogin {
		t.Errorf("issuer %v, Secret %v %v", i.Finalizers, s.Finalizers, s.Labels)
	}
	if err := w.accounts.EnsureInUse(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	if again, sAgain := read(); again.ResourceVersion != i.ResourceVersion || sAgain.ResourceVersion != s.ResourceVersion || w.writes.Load() != writes {
		t.Errorf("written a second time: %d writes", w.writes.Load()-writes)
	}
	checks := w.provider.count("check")
	w.says("apic", v1alpha1.ReasonLoggedIn)
	if got := w.provider.count("check"); got > checks {
		t.Errorf("our own label made %d logins", got-checks)
	}
}

// held puts the issuer in use.
func (w *world) held(issuer *v1alpha1.CredentialIssuer) {
	w.Helper()
	w.until("it is in use", func() error {
		if err := w.client.Get(w.Context(), client.ObjectKeyFromObject(issuer), issuer); err != nil {
			return err
		}
		return w.accounts.EnsureInUse(w.Context(), issuer)
	})
}

func TestSecretsOfTheOperatorsNamespaceGetNoFinalizer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.accounts.operatorNamespace = w.namespace
	secret := w.login("right")
	w.held(w.issuer("apic"))
	if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Fatal(err)
	}
	if len(secret.Finalizers) != 0 || secret.Labels[journal.LabelRole] != journal.RoleLogin {
		t.Errorf("finalizers %v, labels %v", secret.Finalizers, secret.Labels)
	}
}

// TestHazard211 is an issuer in deletion: it stays, and works, until nothing needs it.
func TestHazard211(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.login("right")
	issuer := w.issuer("apic")
	billing := w.credential("billing", "apic")
	version := w.version(billing, issuer, 1, time.Hour)
	w.says("apic", v1alpha1.ReasonLoggedIn)
	w.held(issuer)
	if err := w.client.Delete(t.Context(), issuer); err != nil {
		t.Fatal(err)
	}
	w.says("apic", v1alpha1.ReasonDeleting)
	if account, ok := w.accounts.Get(issuer.UID); !ok || !account.Terminating {
		t.Errorf("account %+v, %t: it must still revoke", account, ok)
	}
	if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(issuer), issuer); err != nil {
		t.Fatal(err)
	}
	if err := w.accounts.EnsureInUse(t.Context(), issuer); err == nil {
		t.Error("an issuer in deletion was put in use")
	}
	// One that was let go on purpose is nobody's to revoke, and holds nothing.
	retained := w.intent(billing, issuer, 2, time.Hour)
	retained.Finalizers = nil
	w.create(retained)
	w.finish(version)
	w.gone(issuer)
	w.until("it is forgotten", func() error {
		if _, ok := w.accounts.Get(issuer.UID); ok {
			return errors.New("still there")
		}
		return nil
	})
}

// finish does what the credential's controller does once a version is revoked.
func (w *world) finish(version *corev1.Secret) {
	w.Helper()
	if err := w.client.Delete(w.Context(), version); client.IgnoreNotFound(err) != nil {
		w.Fatal(err)
	}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
	if err := w.client.Patch(w.Context(), version, patch); client.IgnoreNotFound(err) != nil {
		w.Fatal(err)
	}
}

// TestHazard36 is a login that somebody replaces by delete and create.
func TestHazard36(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := w.login("right")
	issuer := w.issuer("apic")
	w.version(w.credential("billing", "apic"), issuer, 1, time.Hour)
	w.says("apic", v1alpha1.ReasonLoggedIn)
	w.held(issuer)
	if err := w.client.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	w.gone(secret)
	w.says("apic", v1alpha1.ReasonLoginSecretNotFound)
	w.login("right")
	w.says("apic", v1alpha1.ReasonLoggedIn)
}

// TestHazardC9 is the deletion of a namespace: issuer and login stay until the last
// version is gone, and then everything goes.
func TestHazardC9(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := w.login("right")
	issuer := w.issuer("apic")
	version := w.version(w.credential("billing", "apic"), issuer, 1, time.Hour)
	w.says("apic", v1alpha1.ReasonLoggedIn)
	w.held(issuer)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	if err := w.client.Delete(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.Object{issuer, secret, version} {
		w.until(o.GetName()+" is terminating and there", func() error {
			if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
				t.Fatalf("%s: %v", o.GetName(), err)
			}
			if o.GetDeletionTimestamp() == nil {
				return errors.New("not terminating yet")
			}
			return nil
		})
	}
	w.until("it can still be used for revocation", func() error {
		if account, ok := w.accounts.Get(issuer.UID); !ok || !account.Terminating {
			return fmt.Errorf("account %+v, %t", account, ok)
		}
		return nil
	})
	// Twice the pause of the release controllers: they have looked and let it stay.
	looked := w.provider.count("check")
	w.accounts.Recheck(issuer.UID)
	w.until("the login is still read", func() error {
		if w.provider.count("check") == looked {
			return errors.New("not checked again")
		}
		return nil
	})
	for _, o := range []client.Object{issuer, secret} {
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatalf("%s went before the last version: %v", o.GetName(), err)
		}
	}
	w.finish(version)
	w.until("the namespace is gone", func() error {
		err := w.client.Get(t.Context(), client.ObjectKeyFromObject(namespace), namespace)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("status %+v, error %w", namespace.Status, err)
	})
}
