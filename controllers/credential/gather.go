package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/controllers/policy"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/rotation"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// IndexCredential is the cache's index of our Secrets by "namespace/name" of the
// credential that they record, so that a journal is found even when its credential
// is gone.
const IndexCredential = "credential"

// gather reads everything from the cache: enough to see that there is nothing to
// do. It returns nil if there is nothing to look after.
func (r *Reconciler) gather(ctx context.Context, name types.NamespacedName) (*scope, error) {
	s := &scope{
		key: name, memory: r.memory, slots: r.slots, holder: r.Options.Holder, clusterID: r.Options.ClusterID,
		observeOnly: r.Options.ObserveOnly, orphanAge: r.Options.OrphanAge, clockSteady: r.Clock.Steady(),
		strange: map[types.UID]*rotation.Problem{}, marked: map[int64]bool{}, own: map[string]journal.Copy{},
	}
	credential := &v1alpha1.APIClientCredential{}
	switch err := r.Client.Get(ctx, name, credential); {
	case apierrors.IsNotFound(err):
	case err != nil:
		return nil, err
	default:
		s.credential, s.uid = credential, credential.UID
		r.memory.found(name)
	}
	secrets, err := r.cachedSecrets(ctx, name)
	if err != nil {
		return nil, err
	}
	s.sortJournal(secrets)
	if s.credential == nil {
		if len(s.versions) == 0 {
			r.memory.found(name)
			return nil, nil
		}
		s.goneSince = r.memory.firstMissed(name, r.Clock.Now())
	}
	if s.candidates, err = policy.Gather(ctx, r.Client, name.Namespace, r.Options.ClusterKinds); err != nil {
		return nil, err
	}
	if err := r.gatherIssuer(ctx, s); err != nil {
		return nil, err
	}
	if err := r.gatherLeaving(ctx, s); err != nil {
		return nil, err
	}
	if err := r.gatherLogins(ctx, s); err != nil {
		return nil, err
	}
	if err := r.gatherDeliveries(ctx, s); err != nil {
		return nil, err
	}
	r.gatherSpec(s)
	if err := r.gatherConsent(ctx, s); err != nil {
		return nil, err
	}
	r.tellAnswered(s)
	return s, nil
}

// tellAnswered says once that a new request asks for what has already happened: the
// newest version is as young as the request, often because both fell into one second.
func (r *Reconciler) tellAnswered(s *scope) {
	if s.credential == nil || !r.memory.requestChanged(s.uid, s.credential.Annotations[v1alpha1.AnnotationRotateRequestedAt]) {
		return
	}
	if number := s.observe().Answered(); number != 0 {
		r.event(s, corev1.EventTypeNormal, "RequestAnswered", "Request", "version %d was made at or after the time of the request: nothing more is done", number)
	}
}

// cachedSecrets lists the metadata of the versions and the target that record the
// credential.
func (r *Reconciler) cachedSecrets(ctx context.Context, name types.NamespacedName) ([]metav1.PartialObjectMetadata, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	err := r.Client.List(ctx, list, client.InNamespace(name.Namespace), client.MatchingFields{IndexCredential: name.String()})
	return list.Items, err
}

// sortJournal finds out which Secrets are this credential's. Without a credential
// the newest incarnation's are.
func (s *scope) sortJournal(secrets []metav1.PartialObjectMetadata) {
	var all []journal.Version
	for i := range secrets {
		switch secrets[i].GetLabels()[journal.LabelRole] {
		case journal.RoleVersion:
			v, err := journal.Parse(&secrets[i])
			s.strange[v.UID] = s.untouchable(&v, err)
			all = append(all, v)
		case journal.RoleTarget:
			if s.credential != nil && secrets[i].Name == s.credential.Spec.Secret.Name {
				s.target = journal.ReadTarget(&secrets[i])
			}
		case journal.RoleCopy:
			if c, ok := journal.ReadCopy(&secrets[i]); ok {
				s.own[c.Nonce] = c
			}
		}
	}
	if s.credential == nil {
		for _, v := range all {
			if v.Held {
				s.uid = v.CredentialUID
			}
		}
	}
	for _, v := range all {
		switch {
		case v.Terminating && !v.Held:
			// Let go already; the cache or a foreign finalizer still shows it.
		case v.RetainedFrom != "" || v.CredentialUID != s.uid:
			// An earlier credential of this name let it go, or is gone itself: a restore
			// brings Secrets back as they were and credentials under new UIDs.
			if s.credential != nil && s.credential.DeletionTimestamp == nil && !s.memory.version(v.UID).unfit {
				s.retained = append(s.retained, v)
			}
		default:
			s.versions = append(s.versions, v)
		}
	}
	byNumber := func(a, b journal.Version) int { return int(a.Number - b.Number) }
	slices.SortFunc(s.versions, byNumber)
	slices.SortFunc(s.retained, byNumber)
}

// untouchable says why a version may only be looked at; nil if it is ours to handle.
func (s *scope) untouchable(v *journal.Version, err error) *rotation.Problem {
	switch {
	case errors.Is(err, journal.ErrTooNew):
		return &rotation.Problem{Reason: v1alpha1.ReasonJournalTooNew, Stalled: true, Message: err.Error() + "; run the newer operator"}
	case err != nil:
		return &rotation.Problem{Reason: v1alpha1.ReasonJournalUnreadable, Stalled: true, Message: err.Error()}
	case v.ClusterID != s.clusterID && (s.credential == nil || s.credential.Annotations[v1alpha1.AnnotationTakeOverFrom] != v.ClusterID):
		return &rotation.Problem{
			Reason: v1alpha1.ReasonClusterMoved, Stalled: true,
			Message: fmt.Sprintf("version %d was written by cluster %s, this is %s: nothing is written upstream from here until the annotation %s names that cluster; see docs/backup-restore.md",
				v.Number, v.ClusterID, s.clusterID, v1alpha1.AnnotationTakeOverFrom),
		}
	}
	return nil
}

// gatherIssuer finds the issuer that the credential names, or the one that a left
// journal records.
func (r *Reconciler) gatherIssuer(ctx context.Context, s *scope) error {
	var ref v1alpha1.IssuerReference
	if s.credential != nil {
		ref = s.credential.Spec.IssuerRef
		s.member, s.parameters = parameters(&s.credential.Spec)
	} else {
		made := s.versions[len(s.versions)-1].Issuer
		ref = v1alpha1.IssuerReference{Kind: made.Kind, Name: made.Name}
	}
	issuer, key := v1alpha1.NewIssuer(ref.Kind), types.NamespacedName{Namespace: s.key.Namespace, Name: ref.Name}
	missing := fmt.Sprintf("%s %q does not exist in namespace %s", issuer.IssuerKind(), ref.Name, s.key.Namespace)
	if ref.Cluster() {
		key.Namespace = ""
		missing = fmt.Sprintf("%s %q does not exist", issuer.IssuerKind(), ref.Name)
		if !r.Options.ClusterKinds {
			s.account.Problem = &rotation.Problem{
				Reason: v1alpha1.ReasonClusterKindsOff, Stalled: true,
				Message: "the operator serves single namespaces or does not know its own: it uses no ClusterCredentialIssuer; name a CredentialIssuer of this namespace",
			}
			return nil
		}
	}
	switch err := r.Client.Get(ctx, key, issuer); {
	case apierrors.IsNotFound(err):
		s.account.Problem = &rotation.Problem{Reason: v1alpha1.ReasonIssuerNotFound, Stalled: true, Message: missing}
		return nil
	case err != nil:
		return err
	}
	s.setIssuer(issuer, r.Issuers.Account(issuer))
	return nil
}

func (s *scope) setIssuer(issuer v1alpha1.Issuer, account Account) {
	s.issuer, s.account = issuer, account
	if s.credential != nil {
		if issuer.IssuerSpec().CredentialMember() != s.member {
			member, _ := issuer.IssuerSpec().Upstream()
			s.specProblem = &rotation.Problem{
				Reason: v1alpha1.ReasonIssuerMismatch, Stalled: true,
				Message: fmt.Sprintf("issuer %s is an account on %s and the credential asks for %s", issuer.GetName(), member, s.member),
			}
		}
		if shared, ok := issuer.(*v1alpha1.ClusterCredentialIssuer); ok && !policy.Allows(&shared.Spec.AllowedNamespaces, s.candidates.Place) {
			s.specProblem = &rotation.Problem{
				Reason: v1alpha1.ReasonNamespaceNotAllowed, Stalled: true,
				Message: fmt.Sprintf("ClusterCredentialIssuer %s does not allow namespace %s: its spec.allowedNamespaces must choose it", shared.Name, s.key.Namespace),
			}
		}
	}
	if account.Upstream == nil {
		return
	}
	if _, ok := account.Upstream.(upstream.Provisioner); s.managed() != nil && !ok {
		s.specProblem = &rotation.Problem{
			Reason: v1alpha1.ReasonIssuerMismatch, Stalled: true,
			Message: fmt.Sprintf("issuer %s is an account that makes no service instances: name one by instance or instanceGUID", issuer.GetName()),
		}
	}
	c := account.Upstream.Capabilities()
	_, verifies := account.Upstream.(upstream.Verifier)
	s.capabilities = rotation.Capabilities{
		RepeatHarmless: c.UniqueNames && repeatable(c.Class), Repeatable: repeatable(c.Class),
		Addressable: c.Class != upstream.GrantOnly && c.Class != upstream.Blind,
		Verifies:    verifies, Overlap: c.Overlap, InPlace: c.InPlace, MaxLive: c.MaxLive, Settle: c.Settle,
	}
	for _, v := range slices.Concat(s.versions, s.retained) {
		if v.Container != account.Realm && !strings.HasPrefix(v.Container, account.Realm+"/") && s.strange[v.UID] == nil {
			s.strange[v.UID] = &rotation.Problem{
				Reason: v1alpha1.ReasonIssuerMoved, Stalled: true,
				Message: fmt.Sprintf("version %d was made in %s and the issuer is now an account on %s: nothing is concluded or revoked there",
					v.Number, v.Container, account.Realm),
			}
		}
		r := s.memory.version(v.UID)
		if doubt := account.Doubts[v.Mark]; doubt != r.seenDoubt {
			// Each word of the verdict is looked into once.
			s.memory.remember(v.UID, func(r *recollection) { r.seenDoubt, r.doubt = doubt, doubt })
		}
	}
}

// repeatable: the same request leads to the same object, sooner or later.
func repeatable(class upstream.Class) bool {
	return class == upstream.WriteAhead || class == upstream.Readable
}

// parameters returns the one-of member's name and its JSON for the adapter.
func parameters(spec *v1alpha1.APIClientCredentialSpec) (string, []byte) {
	member, value := spec.Upstream()
	// The API's own types always marshal.
	data, _ := json.Marshal(value)
	return member, data
}

// gatherSpec compiles what the person wrote: template, policy, requests.
func (r *Reconciler) gatherSpec(s *scope) {
	s.policy = defaultPolicy(s.verifyTimeout())
	if s.credential == nil {
		return
	}
	s.unrendered = r.memory.unrenderable(s.uid, s.credential.Generation, r.Clock.Now())
	if err := r.compileTemplate(s); err != nil && s.specProblem == nil {
		s.specProblem = &rotation.Problem{Reason: v1alpha1.ReasonInvalidTemplate, Stalled: true, Message: "spec.secret.template: " + err.Error()}
	}
	if _, err := targets(s.credential.Spec.Rollout); err != nil && s.specProblem == nil {
		s.specProblem = &rotation.Problem{Reason: v1alpha1.ReasonInvalidRollout, Stalled: true, Message: "spec.rollout: " + err.Error()}
	}
	if err := deliverable(s.credential.Spec.Deliver, r.Shape(s.member, s.parameters)); err != nil && s.specProblem == nil {
		s.specProblem = &rotation.Problem{Reason: v1alpha1.ReasonInvalidDelivery, Stalled: true, Message: "spec.deliver: " + err.Error()}
	}
	s.resolvePolicy()
	s.gatherDemands()
}

func (s *scope) verifyTimeout() time.Duration {
	if s.account.Upstream != nil {
		return s.account.Upstream.Capabilities().VerifyTimeout
	}
	return 10 * time.Minute
}

func defaultPolicy(verify time.Duration) rotation.Policy {
	p := policy.Default()
	return rotation.Policy{RotateAfter: p.RotateAfter, Overlap: p.Overlap, VerifyTimeout: verify, Uptake: rotation.Uptake(p.Uptake), Rollout: rotation.Rollout(p.Rollout)}
}

func (s *scope) resolvePolicy() {
	resolution := policy.Resolve(s.credential, s.candidates)
	s.policyName, s.ambiguous = "none", strings.Join(resolution.Ambiguous, ", ")
	switch {
	case resolution.Missing != "":
		s.policy.Problem = &rotation.Problem{
			Reason: v1alpha1.ReasonPolicyNotFound, Stalled: true,
			Message: s.policyMissing(resolution.Missing),
		}
	case resolution.Policy != nil:
		s.policyName = resolution.Policy.PolicyKind() + "/" + resolution.Policy.GetName()
		s.policyAnnotations = resolution.Policy.GetAnnotations()
		preferences, err := policy.Compile(*resolution.Policy.PolicySpec())
		if err != nil {
			s.policy.Problem = &rotation.Problem{
				Reason: v1alpha1.ReasonPolicyNotAccepted, Stalled: true,
				Message: fmt.Sprintf("%s %q is not accepted: %s", resolution.Policy.PolicyKind(), resolution.Policy.GetName(), err),
			}
			return
		}
		s.policy.RotateAfter, s.policy.Overlap, s.policy.Windows = preferences.RotateAfter, preferences.Overlap, preferences.Windows
		s.policy.RenewBefore, s.policy.KeepsWindows, s.policy.Replace = preferences.RenewBefore, preferences.KeepsWindows, preferences.Replace
		s.policy.Uptake, s.policy.Rollout = rotation.Uptake(preferences.Uptake), rotation.Rollout(preferences.Rollout)
		if preferences.VerifyTimeout > 0 {
			s.policy.VerifyTimeout = preferences.VerifyTimeout
		}
	}
}

// policyMissing says what is the matter with a reference to a policy.
func (s *scope) policyMissing(name string) string {
	if s.credential.Spec.PolicyRef.Cluster() {
		return fmt.Sprintf("ClusterRotationPolicy %q does not exist or does not choose namespace %s: nothing is issued or renewed by routine until it does", name, s.key.Namespace)
	}
	return fmt.Sprintf("RotationPolicy %q does not exist in namespace %s: nothing is issued or renewed by routine until it does", name, s.key.Namespace)
}

// requestedAt reads an annotation that is a request with a time.
func requestedAt(annotations map[string]string, name string) (time.Time, *rotation.Problem) {
	text := annotations[name]
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, &rotation.Problem{
			Reason: v1alpha1.ReasonRequestInvalid, Stalled: true,
			Message: fmt.Sprintf("%s must be a time such as 2026-01-31T12:00:00Z; %.40q is ignored", name, text),
		}
	}
	return t, nil
}

// requests are the annotations of a credential that are requests with a time.
func requests() []string {
	return []string{v1alpha1.AnnotationCompromisedAt, v1alpha1.AnnotationRollbackRequestedAt, v1alpha1.AnnotationRotateRequestedAt, v1alpha1.AnnotationDeletionRequestedAt}
}

// abandoned reads which versions an administrator lets go.
func abandoned(c *v1alpha1.APIClientCredential) (all bool, number int64) {
	text := c.Annotations[v1alpha1.AnnotationAbandonUpstream]
	if text == "all" {
		return true, 0
	}
	number, _ = strconv.ParseInt(text, 10, 64)
	return false, number
}
