package integration

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/delivery"
	"github.com/claviger-dev/claviger/internal/operatortest"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/smtptest"
)

// mailServer starts one that asks for a login, and a channel of this tenant's name to it.
func (x *tenant) mailServer(change func(*v1alpha1.NotificationChannelSpec)) *smtptest.Server {
	x.t.Helper()
	password := secret("password")
	server, err := smtptest.Start(smtptest.Options{StartTLS: true, Username: "claviger", Password: password})
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(server.Close)
	x.channelSecret(map[string]string{"username": "claviger", "password": password})
	spec := v1alpha1.NotificationChannelSpec{
		AllowedNamespaces: v1alpha1.NamespaceChoice{Names: []string{x.ns}},
		SMTP: &v1alpha1.SMTPChannel{
			Host: "127.0.0.1", Port: int32(server.Port()), From: "claviger@example.com", CABundle: string(server.CA()),
			SecretRef: &v1alpha1.SecretReference{Name: x.ns},
		},
	}
	if change != nil {
		change(&spec)
	}
	x.createOutside(&v1alpha1.NotificationChannel{ObjectMeta: metav1.ObjectMeta{Name: x.ns}, Spec: spec})
	return server
}

// channelSecret makes the Secret of this tenant's channel.
func (x *tenant) channelSecret(data map[string]string) {
	x.t.Helper()
	x.createOutside(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: operatortest.Namespace, Name: x.ns}, Type: v1alpha1.NotificationSecretType, StringData: data,
	})
}

// notifying has a policy tell events over the channel of this tenant's name.
func (x *tenant) notifying(to *v1alpha1.Recipients, events ...v1alpha1.NotificationEvent) func(*v1alpha1.RotationPolicy) {
	return func(p *v1alpha1.RotationPolicy) {
		p.Spec.Notifications = []v1alpha1.Notification{{Channel: x.ns, Events: events, To: to}}
	}
}

// awaitChannel waits for a condition of this tenant's channel.
func (x *tenant) awaitChannel(want state, parts ...string) {
	x.t.Helper()
	x.eventually(soon, func() string {
		channel := &v1alpha1.NotificationChannel{}
		if err := x.world.Client.Get(x.ctx, client.ObjectKey{Name: x.ns}, channel); err != nil {
			return err.Error()
		}
		return lacks(channel.Status.Conditions, v1alpha1.ConditionReady, want, parts)
	})
}

// inbox are the mails that a server took, as "recipient: subject".
func inbox(server *smtptest.Server) []string {
	var found []string
	for _, m := range server.Mails() {
		message, err := mail.ReadMessage(strings.NewReader(m.Data))
		if err != nil {
			return []string{err.Error()}
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject"))
		if err != nil {
			return []string{err.Error()}
		}
		found = append(found, strings.Join(m.To, ",")+": "+strings.TrimPrefix(subject, "[Claviger] "))
	}
	slices.Sort(found)
	return found
}

func (x *tenant) awaitInbox(server *smtptest.Server, want ...string) {
	x.t.Helper()
	slices.Sort(want)
	x.eventually(soon, func() string { return cmp.Diff(want, inbox(server)) })
}

var lifeEvents = []v1alpha1.NotificationEvent{"Issued", "Renewed", "Revoked"}

func TestPeopleAreToldOfEachVersionOnce(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	server := x.mailServer(func(s *v1alpha1.NotificationChannelSpec) { s.OptOut = []string{"Quiet@example.com"} })
	x.awaitChannel(state{metav1.ConditionTrue, v1alpha1.ReasonDelivers})
	to := &v1alpha1.Recipients{Owner: true, Addresses: []string{"ops@example.com", "quiet@example.com"}}
	x.ready(x.policy("Unlimited", "2s", x.notifying(to, lifeEvents...)), func(c *v1alpha1.APIClientCredential) {
		c.Annotations = map[string]string{v1alpha1.AnnotationOwner: "bob@example.com"}
	})
	name := x.ns + "/billing"
	both := func(text string, args ...any) []string {
		text = fmt.Sprintf(text, args...)
		return []string{"bob@example.com: " + text, "ops@example.com: " + text}
	}
	want := both("Credential %s was issued as version 1", name)
	x.awaitInbox(server, want...)

	x.request(time.Now())
	want = append(want, both("Credential %s was renewed: version 2", name)...)
	want = append(want, both("Version 1 of credential %s was revoked", name)...)
	x.awaitInbox(server, want...)

	x.delete(x.get("billing"))
	x.awaitGone(soon, x.credential())
	want = append(want, both("Credential %s was deleted and its version 2 revoked", name)...)
	x.awaitInbox(server, want...)
	x.throughout(3*time.Second, func() string { return cmp.Diff(slices.Sorted(slices.Values(want)), inbox(server)) })
	for _, m := range server.Mails() {
		if !m.Encrypted || m.User != "claviger" {
			t.Errorf("a mail came in the clear or without a login: %+v", m)
		}
		if err := canaries.Find("a mail", m.Data); err != nil {
			t.Error(err)
		}
	}
	// Nothing is left of what was told.
	x.eventually(soon, func() string {
		var left corev1.ConfigMapList
		if err := x.world.Client.List(x.ctx, &left, client.InNamespace(operatortest.Namespace)); err != nil {
			return err.Error()
		}
		for _, c := range left.Items {
			if strings.Contains(c.Data["record"], x.ns) {
				return "the record " + c.Name + " is left"
			}
		}
		return ""
	})
}

// Whom the upstream knows as the owner is told where nobody is named here.
func TestTheOwnerThatTheUpstreamNamesIsTold(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	server := x.mailServer(nil)
	x.awaitChannel(state{metav1.ConditionTrue, v1alpha1.ReasonDelivers})
	x.ready(x.policy("Unlimited", "2s", x.notifying(&v1alpha1.Recipients{Owner: true}, lifeEvents...)))
	x.awaitInbox(server, "jo@acme.example: Credential "+x.ns+"/billing was issued as version 1")
	if got := x.get("billing").Status.Owner; got != "jo@acme.example" {
		t.Errorf("status.owner is %q", got)
	}
	// A person's word counts more.
	x.change(func(c *v1alpha1.APIClientCredential) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationOwner, "bob@example.com")
	})
	x.request(time.Now())
	x.eventually(soon, func() string {
		if mails := inbox(server); !slices.Contains(mails, "bob@example.com: Credential "+x.ns+"/billing was renewed: version 2") {
			return strings.Join(mails, "; ")
		}
		return ""
	})
}

// The reference flow with mails: approvers are asked, the owner is told what they said and what
// came of it, and each mail comes once.
func TestApproversAreAskedAndTheOwnerIsToldByMail(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	server := x.mailServer(nil)
	x.awaitChannel(state{metav1.ConditionTrue, v1alpha1.ReasonDelivers})
	bob, alice, carol := x.requester(), x.approver("alice@example.com"), x.approver("carol@example.com")
	x.byIssuer(v1alpha1.ApprovalDemand{Approvers: []string{alice.name, carol.name}})
	x.create(x.policy("Unlimited", "3s", func(p *v1alpha1.RotationPolicy) {
		p.Spec.Notifications = []v1alpha1.Notification{
			{Channel: x.ns, Events: []v1alpha1.NotificationEvent{"ApprovalRequested"}, To: &v1alpha1.Recipients{Approvers: true}},
			{Channel: x.ns, Events: []v1alpha1.NotificationEvent{"Approved", "Rejected", "Issued", "Renewed"}, To: &v1alpha1.Recipients{Owner: true}},
		}
	}))
	var want []string
	expect := func(to string, title string) {
		want = append(want, to+": "+strings.ReplaceAll(title, "billing", x.ns+"/billing"))
	}
	asked := func(title string) {
		t.Helper()
		expect(alice.name, title)
		expect(carol.name, title)
		x.awaitInbox(server, want...)
	}

	bob.asks(func(c *v1alpha1.APIClientCredential) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationOwner, bob.name)
	})
	r := x.asked(1)
	asked("Approval is needed for a first version of credential billing")
	if lack := x.unissued(); lack != "" {
		t.Fatal(lack)
	}
	alice.decides(r, v1alpha1.Approve)
	expect(bob.name, "Approved: a first version of credential billing")
	expect(bob.name, "Credential billing was issued as version 1")
	x.awaitInbox(server, want...)

	bob.requests(time.Now())
	r = x.asked(2)
	asked("Approval is needed for the renewal of credential billing")
	carol.decides(r, v1alpha1.Approve)
	expect(bob.name, "Approved: the renewal of credential billing")
	expect(bob.name, "Credential billing was renewed: version 2")
	x.awaitInbox(server, want...)
	x.awaitIdle(1)

	bob.requests(time.Now())
	r = x.asked(3)
	asked("Approval is needed for the renewal of credential billing")
	alice.decides(r, v1alpha1.Reject)
	expect(bob.name, "Rejected: the renewal of credential billing")
	x.awaitInbox(server, want...)
	slices.Sort(want)
	x.throughout(3*time.Second, func() string { return cmp.Diff(want, inbox(server)) })

	// Who asks, why, and what becomes of it stand in the mail to those who decide.
	for _, m := range server.Mails() {
		if err := canaries.Find("a mail", m.Data); err != nil {
			t.Error(err)
		}
	}
	first := server.Mails()[0].Data
	for _, part := range []string{"Asked for by: bob@example.com", "Why now: first issue", "nothing is issued"} {
		if !strings.Contains(first, part) {
			t.Errorf("the mail to approvers does not say %q:\n%s", part, first)
		}
	}
}

// A name that is mistyped would otherwise be noticed by the mail that never came.
func TestAPolicySaysThatItsChannelCannotBeUsed(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	says := func(want string, parts ...string) {
		t.Helper()
		x.eventually(soon, func() string {
			p := &v1alpha1.RotationPolicy{}
			if err := x.world.Client.Get(x.ctx, x.key("quarterly"), p); err != nil {
				return err.Error()
			}
			c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionAttention)
			if want == "" && c == nil && p.Status.ObservedGeneration == p.Generation {
				return ""
			}
			return lacks(p.Status.Conditions, v1alpha1.ConditionAttention, state{metav1.ConditionTrue, want}, parts)
		})
	}
	policy := x.policy("Unlimited", "2s", x.notifying(&v1alpha1.Recipients{Addresses: []string{"ops@example.com"}}, "Issued"))
	policy.Name = "quarterly"
	x.create(policy)
	says(v1alpha1.ReasonChannelNotFound, x.ns)
	server := x.mailServer(func(s *v1alpha1.NotificationChannelSpec) { s.AllowedNamespaces.Names = []string{"elsewhere"} })
	says(v1alpha1.ReasonChannelNotAllowed, x.ns+" does not allow namespace "+x.ns)
	outside := *x
	outside.ns = ""
	update(&outside, x.ns, &v1alpha1.NotificationChannel{}, func(c *v1alpha1.NotificationChannel) { c.Spec.AllowedNamespaces.Names = []string{x.ns} })
	says("")
	x.create(x.issuer())
	x.create(x.credential())
	x.awaitInbox(server, "ops@example.com: Credential "+x.ns+"/billing was issued as version 1")
	x.eventually(soon, func() string {
		return cmp.Diff([]string{v1alpha1.ReasonChannelNotFound, v1alpha1.ReasonChannelNotAllowed}, x.reasons("RotationPolicy", "quarterly"))
	})
}

// A grant whose answer is lost cannot be found again: people are told, once, whose it is.
func TestPeopleAreToldOfWhatMayLiveUpstream(t *testing.T) {
	t.Parallel()
	x := newVenafiTenant(t, "Tokens", nil)
	server := x.mailServer(nil)
	x.awaitChannel(state{metav1.ConditionTrue, v1alpha1.ReasonDelivers})
	update(x.tenant, "policy", &v1alpha1.RotationPolicy{}, x.notifying(&v1alpha1.Recipients{Owner: true}, "OrphanSuspected"))
	if _, err := x.platform.Faults().Add(simkit.Fault{
		Operation: "auth.password", Match: map[string]string{"client_id": "team-a-pipeline"}, Point: simkit.AfterCommit, Action: simkit.Cut,
	}); err != nil {
		t.Fatal(err)
	}
	c := x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Annotations = map[string]string{v1alpha1.AnnotationOwner: "bob@example.com"}
		c.Spec.IssuerRef.Name, c.Spec.IBMAPIConnect = "tpp", nil
		c.Spec.Venafi = &v1alpha1.VenafiCredential{Token: &v1alpha1.VenafiToken{ClientID: "team-a-pipeline", Scope: "certificate:manage"}}
		c.Spec.Secret.Template = &v1alpha1.SecretTemplate{Preset: "AccessToken"}
	})
	x.create(c)
	want := "bob@example.com: A version of credential " + x.ns + "/billing may live upstream and cannot be found there"
	x.eventually(namespaceEnds, func() string { return cmp.Diff([]string{want}, inbox(server)) })
	issuer := &v1alpha1.CredentialIssuer{}
	if err := x.world.Client.Get(x.ctx, x.key("tpp"), issuer); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(server.Mails()[0].Data, "=\r\n", "")
	if listed := issuer.Status.Unresolved; listed.Count != 1 || !strings.Contains(text, listed.Newest[0].Name) {
		t.Errorf("the issuer lists %+v, and the mail says\n%s", listed, text)
	}
	x.awaitReady("billing")
	// Who has looked takes it off the list, and nothing is told of that.
	x.eventually(soon, func() string {
		if err := x.world.Client.Get(x.ctx, x.key("tpp"), issuer); err != nil {
			return err.Error()
		}
		issuer.Status.Unresolved = v1alpha1.SuspectedOrphans{}
		return words(x.world.Client.Status().Update(x.ctx, issuer))
	})
	x.request(time.Now())
	x.awaitVersion(soon, x.get("billing").Status.Version+1)
	x.throughout(3*time.Second, func() string { return cmp.Diff([]string{want}, inbox(server)) })
}

func TestAWebhookIsToldAndCanTellWhoSpeaks(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	signing := secret("signing-key-of-24-bytes")
	var mu sync.Mutex
	var got []string
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Webhook-Signature") != delivery.Sign([]byte(signing), r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp"), body) {
			got = append(got, "a wrong signature")
			return
		}
		if len(got) == 0 {
			got = append(got, "refused once")
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		for _, part := range []string{`"type":"dev.claviger.credentials.v1alpha1.Issued"`, `"version":1`, `"credential":"billing"`} {
			if !strings.Contains(string(body), part) {
				got = append(got, "no "+part)
			}
		}
		got = append(got, r.Header.Get("Content-Type"))
	}))
	t.Cleanup(receiver.Close)
	x.channelSecret(map[string]string{"secret": signing})
	x.createOutside(&v1alpha1.NotificationChannel{ObjectMeta: metav1.ObjectMeta{Name: x.ns}, Spec: v1alpha1.NotificationChannelSpec{
		AllowedNamespaces: v1alpha1.NamespaceChoice{Names: []string{x.ns}},
		Webhook:           &v1alpha1.WebhookChannel{URL: receiver.URL, SecretRef: v1alpha1.SecretReference{Name: x.ns}},
	}})
	x.ready(x.policy("Unlimited", "2s", x.notifying(nil, "Issued")))
	x.eventually(soon, func() string {
		mu.Lock()
		defer mu.Unlock()
		return cmp.Diff([]string{"refused once", "application/cloudevents+json"}, got)
	})
	x.awaitChannel(state{metav1.ConditionTrue, v1alpha1.ReasonDelivers})
}

func TestAChannelSaysWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	x := newTenant(t, shared)
	// A Secret that was not made for channels is not sent to a server that somebody named.
	x.createOutside(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatortest.Namespace, Name: "other-" + x.ns}, StringData: map[string]string{"username": "u", "password": secret("password")}})
	server := x.mailServer(func(s *v1alpha1.NotificationChannelSpec) { s.SMTP.SecretRef.Name = "other-" + x.ns })
	x.awaitChannel(state{metav1.ConditionFalse, v1alpha1.ReasonSecretNotUsable}, "other-"+x.ns, v1alpha1.NotificationSecretType)
	outside := *x
	outside.ns = ""
	repair := func(change func(*v1alpha1.NotificationChannel)) {
		update(&outside, x.ns, &v1alpha1.NotificationChannel{}, change)
	}
	server.Refuse("AUTH", "535 no: ECHO")
	repair(func(c *v1alpha1.NotificationChannel) { c.Spec.SMTP.SecretRef.Name = x.ns })
	x.awaitChannel(state{metav1.ConditionFalse, v1alpha1.ReasonLoginFailed}, "535")
	server.Refuse("AUTH", "")
	repair(func(c *v1alpha1.NotificationChannel) {
		c.Spec.Templates = &v1alpha1.ConfigMapReference{Name: "nowhere-" + x.ns}
	})
	x.awaitChannel(state{metav1.ConditionTrue, v1alpha1.ReasonDelivers}, "nowhere-"+x.ns)
	// A namespace that the channel does not allow tells nothing over it.
	repair(func(c *v1alpha1.NotificationChannel) { c.Spec.AllowedNamespaces.Names = []string{"elsewhere"} })
	x.ready(x.policy("Unlimited", "2s", x.notifying(&v1alpha1.Recipients{Addresses: []string{"ops@example.com"}}, "Issued")))
	x.throughout(3*time.Second, func() string { return cmp.Diff([]string(nil), inbox(server)) })
}

// TestNoMailIsLostOrSentTwiceByARestart, by a mail server that is dead meanwhile, or by a storm.
func TestNoMailIsLostOrSentTwiceByARestart(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	world, err := operatortest.Start(ctx, operatortest.Options{Binary: binary, Canaries: canaries})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Stop(); err != nil {
			t.Error(err)
		}
	})
	operator, err := world.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	restart := func() {
		t.Helper()
		if err := operator.Stop(); err != nil {
			t.Fatal(err)
		}
		if operator, err = world.Run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	x := newTenant(t, world)
	server := x.mailServer(func(s *v1alpha1.NotificationChannelSpec) { s.DigestAfter = 2 })
	x.awaitChannel(state{metav1.ConditionTrue, v1alpha1.ReasonDelivers})
	ops := x.notifying(&v1alpha1.Recipients{Addresses: []string{"ops@example.com"}}, lifeEvents...)
	x.ready(x.policy("Unlimited", "2s", ops))
	issued := "ops@example.com: Credential " + x.ns + "/billing was issued as version 1"
	x.awaitInbox(server, issued)
	restart()
	x.throughout(4*time.Second, func() string { return cmp.Diff([]string{issued}, inbox(server)) })

	// A dead mail server delays no rotation; what happens meanwhile, also while the operator
	// restarts, becomes one mail when it lives again.
	server.Hang(true)
	for version := int64(2); version <= 3; version++ {
		x.request(time.Now())
		x.awaitVersion(soon, version)
		x.awaitIdle(1)
	}
	restart()
	x.awaitChannel(state{metav1.ConditionFalse, v1alpha1.ReasonUnreachable}, "in time")
	server.Hang(false)
	x.awaitInbox(server, issued, "ops@example.com: 4 messages about credentials")
	digest := server.Mails()[1].Data
	for _, part := range []string{"renewed: version 2", "renewed: version 3", "Version 1 of", "Version 2 of"} {
		if !strings.Contains(digest, part) {
			t.Errorf("the digest does not say %q:\n%s", part, digest)
		}
	}
	restart()
	x.throughout(4*time.Second, func() string { return cmp.Diff(2, len(server.Mails())) })
}
