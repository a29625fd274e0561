package credential

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	record "github.com/claviger-dev/claviger/controllers/approval"
	"github.com/claviger-dev/claviger/controllers/policy"
	"github.com/claviger-dev/claviger/internal/approval"
	"github.com/claviger-dev/claviger/internal/interval"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
)

// Decisions tells since when the decisions of a namespace prove who made them.
type Decisions interface {
	Proven(ctx context.Context, namespace string) (since time.Time, doubt string)
}

// demand is what an issuer or a policy wants to be asked about, and why nobody could say yes.
type demand struct {
	policy.Demand
	problem string
}

// question is a request with what was answered to it.
type question struct {
	request   v1alpha1.ApprovalRequest
	decisions []v1alpha1.ApprovalDecision
	// void: it may have been written by anybody, and asks for less than is demanded.
	void bool
}

// consent is what people are asked about a credential.
type consent struct {
	demands   []demand
	questions []question
	// since is when decisions began to prove something; zero if that was not asked. doubt says
	// why they prove nothing.
	since time.Time
	doubt string
}

// gatherDemands finds out who has to be asked: the issuer and every policy that chooses the
// credential, and none of them instead of another one (hazard C8.2).
func (s *scope) gatherDemands() {
	s.consent.demands = nil
	if s.credential == nil {
		return
	}
	add := func(kind, name string, spec *v1alpha1.ApprovalDemand) {
		compiled, err := policy.CompileDemand(approval.Reference{Kind: kind, Name: name}, spec)
		for _, o := range compiled.Operations {
			// Whoever asks for a version, and whoever asks for the end, need not be the same.
			d := demand{Demand: compiled}
			d.Operations = []approval.Operation{o}
			switch {
			case err != nil:
				d.problem = "its approval cannot be used: " + strings.ReplaceAll(err.Error(), "\n", "; ")
			case compiled.SeparatesDuties && s.requester(o) == "":
				d.problem = "who asks may not approve, and who asked is not known: " + howKnown(o)
			}
			s.consent.demands = append(s.consent.demands, d)
		}
	}
	if s.issuer != nil {
		if spec := s.issuer.IssuerSpec().Approval; spec != nil {
			add(s.issuer.IssuerKind(), s.issuer.GetName(), spec)
		}
	}
	for _, p := range policy.Demanding(s.credential, s.candidates) {
		add(p.PolicyKind(), p.GetName(), p.PolicySpec().Approval)
	}
}

// requester is who asked for an operation, as admission has proven: for a version, who changed
// the spec last or asked by annotation.
func (s *scope) requester(o approval.Operation) string {
	if o == approval.Delete {
		return s.credential.Annotations[v1alpha1.AnnotationDeletionRequestedBy]
	}
	return s.credential.Annotations[v1alpha1.AnnotationRequestedBy]
}

// howKnown says how it becomes known who asks.
func howKnown(o approval.Operation) string {
	if o == approval.Delete {
		return "set the annotations " + v1alpha1.AnnotationDeletionRequestedAt + " to the time of now and " + v1alpha1.AnnotationDeletionRequestedBy +
			" to your own name, which config/stamp does by itself"
	}
	return "have the annotation " + v1alpha1.AnnotationRequestedBy + " written with the next change of the spec or request, by hand or by config/stamp"
}

// gatherConsent reads from the cache what people were asked and have said: enough to see that
// they are still waited for.
func (r *Reconciler) gatherConsent(ctx context.Context, s *scope) error {
	if len(s.consent.demands) == 0 {
		return nil
	}
	return r.readConsent(ctx, s, r.Client)
}

// lookAtConsent reads it live, and proves that what was said was said by those who are named.
func (r *Reconciler) lookAtConsent(ctx context.Context, s *scope, _ rotation.Step) error {
	if err := r.readConsent(ctx, s, r.Live); err != nil {
		return err
	}
	s.consent.since, s.consent.doubt = r.Decisions.Proven(ctx, s.key.Namespace)
	for i := range s.consent.questions {
		q := &s.consent.questions[i]
		q.void = q.request.CreationTimestamp.Time.Before(s.consent.since) && !s.asDemanded(&q.request)
	}
	return nil
}

func (r *Reconciler) readConsent(ctx context.Context, s *scope, from client.Reader) error {
	requests := &v1alpha1.ApprovalRequestList{}
	if err := from.List(ctx, requests, client.InNamespace(s.key.Namespace), client.MatchingFields{record.IndexCredential: string(s.uid)}); err != nil {
		return fmt.Errorf("list the approval requests: %w", err)
	}
	s.consent.questions = nil
	for i := range requests.Items {
		q := question{request: requests.Items[i]}
		// What was asked about another spec is never done; a deletion is about none.
		if q.request.Spec.Operation != v1alpha1.ApprovalDelete && q.request.Spec.Generation != s.credential.Generation {
			continue
		}
		decisions := &v1alpha1.ApprovalDecisionList{}
		if err := from.List(ctx, decisions, client.InNamespace(s.key.Namespace), client.MatchingFields{record.IndexRequest: string(q.request.UID)}); err != nil {
			return fmt.Errorf("list the approval decisions: %w", err)
		}
		q.decisions = decisions.Items
		s.consent.questions = append(s.consent.questions, q)
	}
	return nil
}

// asDemanded: a request that was written while anybody could write one counts only if it asks
// what is demanded today.
func (s *scope) asDemanded(request *v1alpha1.ApprovalRequest) bool {
	return slices.ContainsFunc(s.consent.demands, func(d demand) bool {
		return d.Covers(approval.Operation(request.Spec.Operation)) && d.Reference == approval.Reference(request.Spec.ApprovalRef) && d.Quorum == approval.Quorum(request.Spec.Quorum) &&
			slices.Equal(d.Approvers, request.Spec.Approvers) && slices.Equal(d.Groups, request.Spec.Groups) &&
			d.SeparatesDuties == request.Spec.SeparationOfDuties && request.Spec.RequestedBy == s.requester(approval.Operation(request.Spec.Operation))
	})
}

// takenBack: a deletion was asked for, and is not in that way any more. Whoever writes the same time
// once more, or in somebody else's stead, asks for something to which nobody has agreed.
func (s *scope) takenBack(request *v1alpha1.ApprovalRequest) bool {
	return request.Spec.Operation == v1alpha1.ApprovalDelete &&
		(request.Status.State == v1alpha1.ApprovalObsolete || request.Spec.RequestedBy != s.requester(approval.Delete))
}

// observeConsent puts it into the planner's words.
func (s *scope) observeConsent(now time.Time) rotation.Consent {
	c := rotation.Consent{Doubt: s.consent.doubt}
	for i := range s.consent.demands {
		d := &s.consent.demands[i]
		c.Demands = append(c.Demands, rotation.Demand{Reference: d.Reference, Operations: d.Operations, Problem: d.problem})
	}
	for i := range s.consent.questions {
		q := &s.consent.questions[i]
		verdict := record.Judge(&q.request, q.decisions, s.consent.since, now)
		if (q.void || s.takenBack(&q.request)) && verdict.State != approval.Rejected {
			verdict.State = approval.Expired // it is asked once more
		}
		unproven := 0
		for i := range q.decisions {
			if record.Unproven(&q.decisions[i], s.consent.since) {
				unproven++
			}
		}
		c.Asked = append(c.Asked, rotation.Asked{
			Unproven: unproven, Recorded: q.request.Status.State == v1alpha1.ApprovalApproved,
			Name: q.request.Name, Reference: approval.Reference(q.request.Spec.ApprovalRef), Digest: q.request.Spec.Digest,
			Round: int(q.request.Spec.Round), State: verdict.State, Until: q.request.Spec.ExpiresAt.Time, Missing: verdict.Missing,
		})
	}
	return c
}

// askApproval writes a request. Its name is made from what is asked, so two processes that ask
// the same write one.
func (r *Reconciler) askApproval(ctx context.Context, s *scope, step rotation.Step) error {
	operation := step.Ask.Subject.Operation
	i := slices.IndexFunc(s.consent.demands, func(d demand) bool { return d.Reference == step.Ask.Reference && d.Covers(operation) })
	d, now := &s.consent.demands[i], r.Clock.Now()
	digest := step.Ask.Subject.Digest()
	// The API keeps whole seconds; cut down, the time to answer would end before it is said to.
	expires := d.Expiry.AddTo(now.Truncate(time.Second).Add(time.Second))
	request := &v1alpha1.ApprovalRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.key.Namespace, Name: requestName(s.key.Name, step.Ask, digest)},
		Spec: v1alpha1.ApprovalRequestSpec{
			CredentialRef: v1alpha1.ObjectIdentity{Name: s.key.Name, UID: string(s.uid)},
			Operation:     v1alpha1.ApprovalOperation(operation),
			Digest:        digest,
			ApprovalRef:   v1alpha1.ApprovalReference(d.Reference),
			Quorum:        v1alpha1.ApprovalQuorum(d.Quorum), Approvers: d.Approvers, Groups: d.Groups,
			RequestedBy: s.requester(operation), SeparationOfDuties: d.SeparatesDuties,
			Generation: step.Ask.Subject.Generation, Follows: step.Ask.Follows, Round: int64(step.Ask.Subject.Round),
			Workloads: s.workloadsOf(), Cause: clip(step.Cause), Consequence: s.consequence(operation, step.Ask.Follows),
			ExpiresAt: metav1.NewTime(expires), RetainUntil: retainUntil(d.Retain, expires),
		},
	}
	if err := r.Client.Create(ctx, request, client.FieldOwner(journal.FieldManager)); err != nil {
		return err
	}
	s.consent.questions = append(s.consent.questions, question{request: *request})
	log.FromContext(ctx).Info("people are asked", "request", request.Name, "operation", request.Spec.Operation, "follows", request.Spec.Follows,
		"cause", step.Cause, "demandedBy", d.Reference.Kind+"/"+d.Reference.Name, "requestedBy", request.Spec.RequestedBy)
	r.event(s, corev1.EventTypeNormal, "ApprovalRequested", "Ask", "request %s asks for approval until %s: %s", request.Name, expires.UTC().Format(time.RFC3339), step.Cause)
	return nil
}

func retainUntil(retain interval.Interval, from time.Time) *metav1.Time {
	if retain.IsUnlimited() {
		return nil
	}
	until := metav1.NewTime(retain.AddTo(from))
	return &until
}

// requestName is the same whoever asks, and another one for everything else that is asked.
func requestName(credential string, ask *rotation.Ask, digest string) string {
	sum := sha256.Sum256([]byte(digest + "/" + ask.Reference.Kind + "/" + ask.Reference.Name))
	return credential + "." + strings.ToLower(string(ask.Subject.Operation)) + "." + hex.EncodeToString(sum[:5])
}

// consequence tells a reviewer what happens if nobody answers.
func (s *scope) consequence(operation approval.Operation, follows int64) string {
	v := s.version(follows)
	switch {
	case operation == approval.Delete && s.credential.DeletionTimestamp != nil:
		return "nothing is revoked, and nothing is renewed any more"
	case operation == approval.Delete:
		return "the credential lives on, and is renewed as before"
	case v == nil:
		return "nothing is issued, and Secret " + s.credential.Spec.Secret.Name + " is not made"
	case !v.ExpiresAt.IsZero():
		return fmt.Sprintf("version %d stays in use until the upstream ends it at %s", follows, v.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("version %d stays in use", follows)
}

// workloadsOf are those that the credential restarts.
func (s *scope) workloadsOf() []string {
	var all []string
	for _, w := range s.credential.Spec.Rollout {
		text := w.Kind + "/" + w.Name
		if w.Selector != nil {
			text = w.Kind + " (" + metav1.FormatLabelSelector(w.Selector) + ")"
		}
		if len(text) > 512 {
			text = text[:512]
		}
		if len(all) < 32 {
			all = append(all, text)
		}
	}
	return all
}

// agreedTo are the requests that people have agreed to and that a version is begun on.
func (s *scope) agreedTo(step rotation.Step) []string {
	if step.Agreed == 0 {
		return nil
	}
	var names []string
	for i := range s.consent.questions {
		q := &s.consent.questions[i]
		about := q.request.Spec.Operation != v1alpha1.ApprovalDelete && q.request.Spec.Follows == step.Replaces
		if about && record.Judge(&q.request, q.decisions, s.consent.since, s.now).State == approval.Approved {
			names = append(names, q.request.Name)
		}
	}
	return names
}

// credentialDecided maps a decision to the credential that its request is about.
func (r *Reconciler) credentialDecided(ctx context.Context, o client.Object) []reconcile.Request {
	decision, ok := o.(*v1alpha1.ApprovalDecision)
	if !ok {
		return nil
	}
	request := &v1alpha1.ApprovalRequest{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: decision.Namespace, Name: decision.Spec.RequestRef.Name}, request); err != nil {
		return nil // a decision about nothing; a request that comes later wakes by itself
	}
	return record.CredentialAsked(ctx, request)
}

// deletionAnswered: what people have said about a deletion is on record now, and the status of the
// credential may say so.
func deletionAnswered(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*v1alpha1.ApprovalRequest)
	after, also := e.ObjectNew.(*v1alpha1.ApprovalRequest)
	return ok && also && after.Spec.Operation == v1alpha1.ApprovalDelete && before.Status.State != after.Status.State
}
