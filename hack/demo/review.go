package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/smtptest"
)

// Who plays in the review. Nobody of them is an administrator.
const (
	requester = "bob@example.com"
	approver  = "alice@example.com"
	ledgerApp = "ledger"
)

// review shows a credential that waits for people, from the first version to its deletion: one asks,
// the other agrees, mails are sent, and nothing happens upstream that nobody has agreed to.
func (s *stage) review(ctx context.Context) (err error) {
	server, err := smtptest.Start(smtptest.Options{StartTLS: true})
	if err != nil {
		return err
	}
	defer server.Close()
	r := &review{stage: s, server: server}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	s.story.tell("review", "%s applies a credential that people must agree to", requester)
	if err := s.kubectl(ctx, "reviewed-credential", []runtime.Object{r.credential}, "apply", "--server-side", "--as="+requester); err != nil {
		return err
	}
	if err := r.agree(ctx, v1alpha1.ApprovalIssue, 0); err != nil {
		return err
	}
	if err := r.awaitMails(ctx, "Approval is needed for a first version", "Approved: a first version", "was issued"); err != nil {
		return err
	}
	s.story.quote(indented(r.show("Approval is needed")))
	return r.end(ctx)
}

// reviewedEvents are the mails that the policy of the review sends.
var reviewedEvents = []v1alpha1.NotificationEvent{"ApprovalRequested", "Approved", "Issued", "Revoked"}

// review is what the scene needs.
type review struct {
	*stage
	server     *smtptest.Server
	credential *v1alpha1.APIClientCredential
	seen       int // mails that were told of
}

// prepare makes everything but the credential: an issuer that demands approval, two people, a mail
// server, and a policy that tells them.
func (r *review) prepare(ctx context.Context) error {
	const namespace = "reviewed"
	sample, err := readSamples(sampleFolder, apiConnectSamples...)
	if err != nil {
		return err
	}
	team, err := sample.team(namespace, r.upstream.simulator)
	if err != nil {
		return err
	}
	team.add(sample.credential, ledgerApp)
	team.objects = team.objects[:len(team.objects)-1] // bob applies it
	r.credential = team.credentials[0]
	r.credential.TypeMeta = sample.credential.TypeMeta
	r.credential.Annotations = map[string]string{v1alpha1.AnnotationRequestedBy: requester, v1alpha1.AnnotationOwner: requester}
	for _, o := range team.objects {
		if issuer, ok := o.(*v1alpha1.CredentialIssuer); ok {
			issuer.Spec.Approval = &v1alpha1.ApprovalDemand{
				Operations: []v1alpha1.DemandedOperation{"Issue", "Renew", "Delete"}, Approvers: []string{approver},
			}
		}
	}
	policy := sample.policy.DeepCopy()
	policy.Namespace, policy.Spec.RotateAfter = namespace, "Unlimited"
	policy.Spec.Notifications = []v1alpha1.Notification{{
		Channel: "mail", Events: reviewedEvents, To: &v1alpha1.Recipients{Owner: true, Addresses: []string{approver}},
	}}
	channel := &v1alpha1.NotificationChannel{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "NotificationChannel"},
		ObjectMeta: metav1.ObjectMeta{Name: "mail"},
		Spec: v1alpha1.NotificationChannelSpec{
			AllowedNamespaces: v1alpha1.NamespaceChoice{Names: []string{namespace}},
			SMTP:              &v1alpha1.SMTPChannel{Host: "127.0.0.1", Port: int32(r.server.Port()), From: "claviger@example.com", CABundle: string(r.server.CA())},
		},
	}
	objects := append(team.objects, policy, channel, binding(namespace, requester, "claviger-edit"), binding(namespace, requester, "claviger-view"), binding(namespace, approver, "claviger-approver"))
	if err := r.upstream.seed(ctx, world(sample, ledgerApp)); err != nil {
		return err
	}
	r.scene.enter(r.upstream, "a day", r.credential)
	if err := r.apply(ctx, "reviewed", objects...); err != nil {
		return err
	}
	return r.awaitGuard(ctx)
}

func binding(namespace, user, role string) runtime.Object {
	return &rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
		RoleRef:    rbacv1.RoleRef{Kind: "ClusterRole", APIGroup: rbacv1.GroupName, Name: role},
	}
}

// awaitGuard waits until the admission policies have been there for long enough: what is said in
// their first ten seconds is not believed.
func (r *review) awaitGuard(ctx context.Context) error {
	const trusted = 13 * time.Second
	return await(ctx, "the admission policies are old enough to be relied upon", func() (bool, string) {
		for _, name := range []string{"claviger-decisions", "claviger-approvals", "claviger-requesters"} {
			policy := &admissionv1.ValidatingAdmissionPolicyBinding{}
			if err := r.admin.Get(ctx, client.ObjectKey{Name: name}, policy); err != nil {
				return false, err.Error()
			}
			if age := time.Since(policy.CreationTimestamp.Time); age < trusted {
				return false, fmt.Sprintf("%s is %s old", name, age.Round(time.Second))
			}
		}
		return true, ""
	})
}

// agree waits until people are asked about an operation, makes sure that nothing was done yet,
// and has the approver agree.
func (r *review) agree(ctx context.Context, operation v1alpha1.ApprovalOperation, live int) error {
	request := &v1alpha1.ApprovalRequest{}
	if err := await(ctx, "people are asked about "+string(operation), func() (bool, string) {
		list := &v1alpha1.ApprovalRequestList{}
		if err := r.admin.List(ctx, list, client.InNamespace(r.credential.Namespace)); err != nil {
			return false, err.Error()
		}
		for i := range list.Items {
			if list.Items[i].Spec.Operation == operation && list.Items[i].Status.State == v1alpha1.ApprovalPending {
				*request = list.Items[i]
				return true, ""
			}
		}
		return false, fmt.Sprintf("%d requests were made", len(list.Items))
	}); err != nil {
		return err
	}
	if n, err := r.live(ctx); err != nil || n != live {
		return errors.Join(err, fmt.Errorf("%d versions live upstream while people are asked about %s, want %d", n, operation, live))
	}
	r.story.tell("review", "%s asks about %s (%s); if nobody answers, %s", request.Name, operation, request.Spec.Cause, request.Spec.Consequence)
	r.story.tell("review", "%s agrees, by an ApprovalDecision", approver)
	answer := &v1alpha1.ApprovalDecision{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ApprovalDecision"},
		ObjectMeta: metav1.ObjectMeta{Namespace: request.Namespace, Name: request.Name + ".alice"},
		Spec: v1alpha1.ApprovalDecisionSpec{
			RequestRef:  v1alpha1.ObjectIdentity{Name: request.Name, UID: string(request.UID)},
			ApprovalRef: request.Spec.ApprovalRef, Approver: approver, Decision: v1alpha1.Approve, Reason: "agreed in CHG-4711",
		},
	}
	return r.kubectl(ctx, "answer-"+strings.ToLower(string(operation)), []runtime.Object{answer}, "create", "--as="+approver)
}

// live is how many versions of the reviewed credential live upstream.
func (r *review) live(ctx context.Context) (int, error) {
	versions, _, err := r.residents[0].versions(ctx)
	n := 0
	for _, v := range versions {
		if v.live && v.place == ledgerApp {
			n++
		}
	}
	return n, err
}

// end has the credential deleted: refused at first, then asked for and agreed to.
func (r *review) end(ctx context.Context) error {
	object := &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Namespace: r.credential.Namespace, Name: r.credential.Name}}
	where := []string{"--as=" + requester, "--namespace=" + object.Namespace}
	if err := await(ctx, "the deletion needs approval", func() (bool, string) {
		err := r.admin.Get(ctx, client.ObjectKeyFromObject(object), object)
		return err == nil && object.Status.DeletionApproval == v1alpha1.DeletionNeeded, fmt.Sprint(err, object.Status.DeletionApproval)
	}); err != nil {
		return err
	}
	_, refused := r.plane.Kubectl(ctx, append([]string{"delete", "apicred", object.Name}, where...)...)
	if refused == nil {
		return errors.New("a credential was deleted that people must agree to")
	}
	_, why, _ := strings.Cut(refused.Error(), "denied request: ")
	r.story.tell("review", "%s deletes it, and is refused: %s", requester, why)
	if _, err := r.plane.Kubectl(ctx, append([]string{
		"annotate", "apicred", object.Name, v1alpha1.AnnotationDeletionRequestedBy + "=" + requester,
		v1alpha1.AnnotationDeletionRequestedAt + "=" + time.Now().UTC().Format(time.RFC3339),
	}, where...)...); err != nil {
		return err
	}
	if err := r.agree(ctx, v1alpha1.ApprovalDelete, 1); err != nil {
		return err
	}
	if err := await(ctx, "the deletion is approved", func() (bool, string) {
		err := r.admin.Get(ctx, client.ObjectKeyFromObject(object), object)
		return err == nil && object.Status.DeletionApproval == v1alpha1.DeletionApproved, fmt.Sprint(err, object.Status.DeletionApproval)
	}); err != nil {
		return err
	}
	if _, err := r.plane.Kubectl(ctx, append([]string{"delete", "apicred", object.Name, "--wait=false"}, where...)...); err != nil {
		return err
	}
	if err := await(ctx, "the reviewed credential is gone", func() (bool, string) {
		err := r.admin.Get(ctx, types.NamespacedName{Namespace: object.Namespace, Name: object.Name}, object)
		return apierrors.IsNotFound(err), fmt.Sprint(err, stalled(object))
	}); err != nil {
		return err
	}
	if n, err := r.live(ctx); err != nil || n != 0 {
		return errors.Join(err, fmt.Errorf("%d versions of what was deleted live upstream", n))
	}
	return r.awaitMails(ctx, "Approval is needed for the revocation", "Approved: the revocation", "was deleted")
}

// awaitMails waits until mails with these words in their subjects were taken, and tells of all new ones.
func (r *review) awaitMails(ctx context.Context, subjects ...string) error {
	return await(ctx, "the mails \""+strings.Join(subjects, "\", \"")+"\" were sent", func() (bool, string) {
		mails := r.server.Mails()
		var found []string
		for _, m := range mails[r.seen:] {
			found = append(found, header(m, "Subject"))
		}
		for _, words := range subjects {
			if !slices.ContainsFunc(found, func(subject string) bool { return strings.Contains(subject, words) }) {
				return false, strings.Join(found, ", ")
			}
		}
		for i, m := range mails[r.seen:] {
			r.story.tell("mail", "to %s: %s", strings.Join(m.To, ", "), found[i])
		}
		r.seen = len(mails)
		return true, ""
	})
}

// show is the first mail with these words in its subject, as a person reads it.
func (r *review) show(words string) string {
	for _, m := range r.server.Mails() {
		if strings.Contains(header(m, "Subject"), words) {
			text, err := plain(m)
			if err != nil {
				text = err.Error()
			}
			return "To: " + strings.Join(m.To, ", ") + "\nSubject: " + header(m, "Subject") + "\n\n" + text
		}
	}
	return ""
}

func header(m smtptest.Mail, name string) string {
	message, err := mail.ReadMessage(strings.NewReader(m.Data))
	if err != nil {
		return err.Error()
	}
	text, err := new(mime.WordDecoder).DecodeHeader(message.Header.Get(name))
	if err != nil {
		return err.Error()
	}
	return text
}

// plain is the text of a mail for readers without HTML.
func plain(m smtptest.Mail) (string, error) {
	message, err := mail.ReadMessage(strings.NewReader(m.Data))
	if err != nil {
		return "", err
	}
	_, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		return "", err
	}
	part, err := multipart.NewReader(message.Body, parameters["boundary"]).NextRawPart()
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(quotedprintable.NewReader(part))
	return strings.TrimSpace(string(text)), err
}

func indented(text string) string {
	return "          | " + strings.ReplaceAll(text, "\n", "\n          | ")
}
