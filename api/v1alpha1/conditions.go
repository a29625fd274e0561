package v1alpha1

// This file is the vocabulary of every condition: the types, and the reasons with
// the sentence that a person needs. docs/conditions.md is made from it.

// Condition types of an APIClientCredential. Only Ready always stands there; the
// others appear while they are True and go away.
const (
	// ConditionReady is True while the Secret holds a credential that was accepted
	// by the upstream. It stays True through a routine rotation.
	ConditionReady = "Ready"
	// ConditionReconciling is True while Ready is not, and Claviger is at work or
	// waits for something that comes by itself.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True while Ready is not, and a person has to change
	// something first.
	ConditionStalled = "Stalled"
	// ConditionRotating is True while a successor is verified or a predecessor is
	// still valid. It is news, not trouble.
	ConditionRotating = "Rotating"
	// ConditionPolicyAmbiguous is True while two policies select the credential; the
	// older one applies.
	ConditionPolicyAmbiguous = "PolicyAmbiguous"
	// ConditionAttention is True while the published credential works and the next
	// step does not: a renewal that fails, a policy that does not exist, a request
	// that is refused. Its reason is one of those of Ready=False.
	ConditionAttention = "Attention"
	// ConditionExpiringSoon is True while the upstream ends the published version soon and
	// no successor is published, although one is due.
	ConditionExpiringSoon = "ExpiringSoon"
	// ConditionRotationOverdue is True while the published version is older than its policy
	// allows for a predecessor, because no successor was made.
	ConditionRotationOverdue = "RotationOverdue"
	// ConditionUptakeStalled is True while pods may still use an earlier version although the
	// policy's uptake.deadline has passed.
	ConditionUptakeStalled = "UptakeStalled"
	// ConditionRolloutStalled is True while a workload that has to be restarted for the published
	// version does not get on.
	ConditionRolloutStalled = "RolloutStalled"
	// ConditionLoginStalled is True while an issuer that logs in with the credential does not get
	// on to the published version although the overlap of an earlier one has passed.
	ConditionLoginStalled = "LoginStalled"
	// ConditionDeliveryStalled is True while a delivery of spec.deliver cannot be made, or is not
	// made although the overlap of an earlier version has passed.
	ConditionDeliveryStalled = "DeliveryStalled"
	// ConditionNoConsumersSeen is True while a policy with uptake.mode Consumers applies and no
	// pod that uses the Secret was seen: the overlap alone decides.
	ConditionNoConsumersSeen = "NoConsumersSeen"
	// ConditionMissingSuspected is True for a CredentialIssuer while more than a twentieth of
	// its versions, and more than one, are missing from the upstream's listing.
	ConditionMissingSuspected = "MissingSuspected"
	// ConditionDeletionsHeld is True for a CredentialIssuer while more of its credentials are being
	// deleted at once than is plausible, and none of them is revoked.
	ConditionDeletionsHeld = "DeletionsHeld"
	// ConditionAccepted is True for a RotationPolicy that is applied.
	ConditionAccepted = "Accepted"
	// ConditionRenewalsDue is True for a RotationPolicy while credentials that it applies to should
	// have been renewed more than a minute ago.
	ConditionRenewalsDue = "RenewalsDue"
)

// Reasons of Ready, Reconciling, Stalled, Rotating and Attention of an
// APIClientCredential.
const (
	// ReasonOverdue: the time at which the published version should have been revoked has
	// passed, and no successor was made. One is still made as soon as it can be.
	ReasonOverdue = "Overdue"
	// ReasonManyMissing: too many versions are missing at once to conclude anything.
	ReasonManyMissing = "ManyMissing"
	// ReasonExpires: the upstream ends the published version at the time in the message.
	ReasonExpires = "Expires"
	// ReasonPublished: the Secret holds an accepted credential.
	ReasonPublished = "Published"
	// ReasonIssuing: a version is being made upstream.
	ReasonIssuing = "Issuing"
	// ReasonVerifying: the upstream does not accept the new version yet. Early
	// refusals are normal: upstreams tell their gateways with a delay.
	ReasonVerifying = "Verifying"
	// ReasonOverlap: the new version is published; the old one stays valid until the
	// time in the message.
	ReasonOverlap = "Overlap"
	// ReasonRetiring: an old version is being revoked.
	ReasonRetiring = "Retiring"
	// ReasonWaitingForLogin: the overlap has passed a moment ago, and an issuer that logs in with
	// the credential has not logged in with the new version yet.
	ReasonWaitingForLogin = "WaitingForLogin"
	// ReasonLoginPending: the overlap has passed a while ago, and an issuer that logs in with the
	// credential has not logged in with the new version.
	ReasonLoginPending = "LoginPending"
	// ReasonWaitingForDelivery: the overlap has passed, and a tenant that spec.deliver names does
	// not hold the new version yet, or its flows may still go on with the old one.
	ReasonWaitingForDelivery = "WaitingForDelivery"
	// ReasonDeliveryPending: what spec.deliver names does not get on to the published version; the
	// message says which and why.
	ReasonDeliveryPending = "DeliveryPending"
	// ReasonWithdrawing: the credential is being deleted, and is taken out of the tenants that
	// spec.deliver names before it is revoked.
	ReasonWithdrawing = "Withdrawing"
	// ReasonWaitingForUptake: the overlap has passed, and pods may still use the old version.
	ReasonWaitingForUptake = "WaitingForUptake"
	// ReasonWaitingForReferences: the overlap has passed, and a pod or a template still refers to
	// the old version by the Secret of its own that naming: Versioned gives it.
	ReasonWaitingForReferences = "WaitingForReferences"
	// ReasonUptakeDeadlinePassed: pods may still use an earlier version; the message names
	// them and says what happens to it.
	ReasonUptakeDeadlinePassed = "UptakeDeadlinePassed"
	// ReasonRollingOut: workloads are being restarted for the published version, and what came
	// before it stays valid until all are.
	ReasonRollingOut = "RollingOut"
	// ReasonRolloutHeld: a workload does not get on, so no further one is restarted; the message
	// names it and says what to do.
	ReasonRolloutHeld = "RolloutHeld"
	// ReasonInvalidRollout: spec.rollout cannot be used as written.
	ReasonInvalidRollout = "InvalidRollout"
	// ReasonInvalidDelivery: spec.deliver asks for something that the credential will not have.
	ReasonInvalidDelivery = "InvalidDelivery"
	// ReasonClockDecides: no pod uses the Secret, so the overlap alone says when an earlier
	// version is revoked. What is no pod is not seen.
	ReasonClockDecides = "ClockDecides"
	// ReasonPodsUnreadable: the pods of the namespace cannot be listed for more than a minute, so
	// nothing is revoked that one of them may use.
	ReasonPodsUnreadable = "PodsUnreadable"
	// ReasonInUse: the credential is being deleted, and pods use its Secret, issuers log in
	// with it, or flows use where it is delivered.
	ReasonInUse = "InUse"
	// ReasonMassDeletion: more credentials of the issuer are being deleted at once than is
	// plausible, so none of them is revoked.
	ReasonMassDeletion = "MassDeletion"
	// ReasonApprovalPending: what is due waits for people; the message names the request, and
	// whose answers are missing where the quorum names them.
	ReasonApprovalPending = "ApprovalPending"
	// ReasonApprovalRejected: somebody has rejected what is due. It is not done, and not asked
	// again, until the spec changes or somebody requests a rotation anew.
	ReasonApprovalRejected = "ApprovalRejected"
	// ReasonApprovalUnavailable: approval is demanded and cannot be given, or cannot be proven,
	// so nothing is issued or renewed; the message says why.
	ReasonApprovalUnavailable = "ApprovalUnavailable"
	// ReasonProvisioning: the managed service instance is being made, changed or deleted, which may
	// take minutes. Nothing has to be done.
	ReasonProvisioning = "Provisioning"
	// ReasonInstanceTaken: the upstream has a service instance of the managed one's name, or with
	// its label, that was not made for this credential. It is left alone; the message says how to
	// go on.
	ReasonInstanceTaken = "InstanceTaken"
	// ReasonProvisioningFailed: the managed service instance cannot be made or changed as the
	// spec has it, in the upstream's words. Keys that exist go on to work.
	ReasonProvisioningFailed = "ProvisioningFailed"
	// ReasonInstanceNotEmpty: the managed service instance would be deleted, and holds keys or
	// bindings of somebody else. Delete them, or set deletion of the managed instance to Keep.
	ReasonInstanceNotEmpty = "InstanceNotEmpty"
	// ReasonQueued: other credentials of the issuer are being renewed; this one
	// follows.
	ReasonQueued = "Queued"
	// ReasonWindowTooLate: the upstream ends the version before a window opens that leaves
	// enough time.
	ReasonWindowTooLate = "WindowTooLate"
	// ReasonWaitingForWindow: a renewal or a retirement is due and waits for the
	// policy's window.
	ReasonWaitingForWindow = "WaitingForWindow"
	// ReasonWaitingForVerdict: the operator has just started and looks at the issuer
	// before it renews or retires anything by routine.
	ReasonWaitingForVerdict = "WaitingForVerdict"
	// ReasonWaitingForClaim: another process may still be calling the upstream for
	// this version; its deadline has to pass first.
	ReasonWaitingForClaim = "WaitingForClaim"
	// ReasonBackingOff: the last version was given up, and the event VersionFailed says why;
	// the next one is made after a pause.
	ReasonBackingOff = "BackingOff"
	// ReasonVersionFailed: a version that was asked for was given up; the one before stays
	// published. The event VersionFailed says why.
	ReasonVersionFailed = "VersionFailed"
	// ReasonTooManyAttempts: several versions in a row were given up at an upstream that
	// cannot be searched for what they left, so no more are made until somebody asks.
	ReasonTooManyAttempts = "TooManyAttempts"
	// ReasonOrphanSuspected: a version may live upstream, and the upstream offers no way to
	// find or end it. It is an event, and the issuer's status.unresolved keeps it.
	ReasonOrphanSuspected = "OrphanSuspected"
	// ReasonRolledBack: the version that was published has been given up on request for the
	// one before it.
	ReasonRolledBack = "RolledBack"
	// ReasonRollbackImpossible: a rollback was asked for and no earlier version lives that
	// may serve again.
	ReasonRollbackImpossible = "RollbackImpossible"
	// ReasonVerifyUnreachable: whether the upstream accepts the version cannot be
	// found out at the moment. Nothing is revoked for that.
	ReasonVerifyUnreachable = "VerifyUnreachable"
	// ReasonIssuerNotFound: the issuer that issuerRef names does not exist.
	ReasonIssuerNotFound = "IssuerNotFound"
	// ReasonIssuerNotReady: the issuer says what is wrong with its login or its
	// containers.
	ReasonIssuerNotReady = "IssuerNotReady"
	// ReasonIssuerSuspended: spec.suspend of the issuer is true.
	ReasonIssuerSuspended = "IssuerSuspended"
	// ReasonIssuerMismatch: the issuer belongs to another upstream than the
	// credential's member.
	ReasonIssuerMismatch = "IssuerMismatch"
	// ReasonClusterKindsOff: the credential names a ClusterCredentialIssuer, and the
	// operator serves single namespaces or does not know its own.
	ReasonClusterKindsOff = "ClusterKindsOff"
	// ReasonNamespaceNotAllowed: the ClusterCredentialIssuer does not choose the
	// credential's namespace.
	ReasonNamespaceNotAllowed = "NamespaceNotAllowed"
	// ReasonHandleSealed: what the upstream needs to end a version is sealed with a key
	// that the Secret claviger-sealing of the operator's namespace does not hold.
	ReasonHandleSealed = "HandleSealed"
	// ReasonIssuerMoved: a version was made in another place (host, organisation,
	// catalog or issuer) than the issuer now points to. Nothing is concluded or
	// revoked there.
	ReasonIssuerMoved = "IssuerMoved"
	// ReasonPolicyNotFound: the policy that policyRef names does not exist.
	ReasonPolicyNotFound = "PolicyNotFound"
	// ReasonPolicyNotAccepted: the policy exists and says itself what is wrong.
	ReasonPolicyNotAccepted = "PolicyNotAccepted"
	// ReasonReplaced: a version was renewed in place, which has ended the one before it, and the
	// Secret, or workloads, hold that one still.
	ReasonReplaced = "Replaced"
	// ReasonReplacementUnknown: a version was to be renewed in place, and no answer tells whether
	// it has ended with that. A successor that does not depend on it is being made.
	ReasonReplacementUnknown = "ReplacementUnknown"
	// ReasonReplaceNotAllowed: the upstream ends a version with the making of the next one, and no
	// policy with strategy Replace says that workloads may fail until they have it.
	ReasonReplaceNotAllowed = "ReplaceNotAllowed"
	// ReasonPoliciesOverlap: two policies select the credential.
	ReasonPoliciesOverlap = "PoliciesOverlap"
	// ReasonInvalidTemplate: spec.secret.template cannot be rendered, or does not fit the material.
	ReasonInvalidTemplate = "InvalidTemplate"
	// ReasonSecretNotOurs: a Secret of the wanted name exists and belongs to
	// somebody else. Nothing was issued.
	ReasonSecretNotOurs = "SecretNotOurs"
	// ReasonUpstreamNotFound: something that the spec names does not exist upstream.
	ReasonUpstreamNotFound = "UpstreamNotFound"
	// ReasonUpstreamRefused: the upstream says that the request can never work as it
	// is written.
	ReasonUpstreamRefused = "UpstreamRefused"
	// ReasonUpstreamForbidden: the issuer's login lacks a right.
	ReasonUpstreamForbidden = "UpstreamForbidden"
	// ReasonUpstreamConflict: a name or id was taken upstream by somebody else;
	// another one is tried.
	ReasonUpstreamConflict = "UpstreamConflict"
	// ReasonUpstreamFull: the container takes no more credentials.
	ReasonUpstreamFull = "UpstreamFull"
	// ReasonUpstreamThrottled: the issuer's budget of calls is used up.
	ReasonUpstreamThrottled = "UpstreamThrottled"
	// ReasonUpstreamUnreachable: the upstream does not answer or answers with an
	// error that proves nothing.
	ReasonUpstreamUnreachable = "UpstreamUnreachable"
	// ReasonSecretRefused: the API server refuses a Secret that is needed: the
	// namespace's quota is full, or an admission policy says no.
	ReasonSecretRefused = "SecretRefused"
	// ReasonPublishedRefused: the upstream refuses the credential that the Secret
	// holds: somebody revoked or changed it there. A successor is made at once.
	ReasonPublishedRefused = "PublishedRefused"
	// ReasonRequestInFuture: a request annotation names a time more than five
	// minutes ahead and is ignored.
	ReasonRequestInFuture = "RequestInFuture"
	// ReasonRequestInvalid: a request annotation is not an RFC 3339 time.
	ReasonRequestInvalid = "RequestInvalid"
	// ReasonSuspended: spec.suspend is true.
	ReasonSuspended = "Suspended"
	// ReasonObserving: the operator runs with --observe-only.
	ReasonObserving = "Observing"
	// ReasonGuardNotInForce: the admission policies that protect the journal are not
	// in force in this namespace; nothing is issued or revoked until they are.
	ReasonGuardNotInForce = "GuardNotInForce"
	// ReasonClockSkew: the operator's idea of the API server's time jumped; nothing
	// is issued or retired until it is steady.
	ReasonClockSkew = "ClockSkew"
	// ReasonClusterMoved: the journal was written by another cluster (a restore, a
	// clone); nothing is written upstream.
	ReasonClusterMoved = "ClusterMoved"
	// ReasonJournalBehind: the Secret bears a version that is newer than the journal, so an
	// older backup of the journal was restored: an earlier version is put back only if the
	// upstream accepts it.
	ReasonJournalBehind = "JournalBehind"
	// ReasonJournalTooNew: the journal was written by a newer operator; this one
	// only reads.
	ReasonJournalTooNew = "JournalTooNew"
	// ReasonJournalUnreadable: a version Secret is not as this operator writes it.
	ReasonJournalUnreadable = "JournalUnreadable"
	// ReasonDeleting: the credential is being deleted; the message says what is
	// still to be done.
	ReasonDeleting = "Deleting"
)

// Reasons of a CredentialIssuer's Ready. It also uses Suspended, Deleting,
// UpstreamForbidden and UpstreamThrottled of the list above.
const (
	// ReasonLoggedIn: the login works and the containers were read.
	ReasonLoggedIn = "LoggedIn"
	// ReasonLoginSecretNotFound: the login Secret does not exist, or not the credential that
	// keeps it.
	ReasonLoginSecretNotFound = "LoginSecretNotFound"
	// ReasonLoginCycle: the credential that the issuer logs in with is made by means of the issuer
	// itself.
	ReasonLoginCycle = "LoginCycle"
	// ReasonServiceAccountNotUsable: no token of the service account can be had that the
	// login names.
	ReasonServiceAccountNotUsable = "ServiceAccountNotUsable"
	// ReasonLoginFailed: the upstream refuses the login.
	ReasonLoginFailed = "LoginFailed"
	// ReasonInvalidSettings: the issuer or its login Secret cannot be used as
	// written.
	ReasonInvalidSettings = "InvalidSettings"
	// ReasonUnreachable: the upstream does not answer.
	ReasonUnreachable = "Unreachable"
	// ReasonContainerNotFound: the organisation or catalog does not exist.
	ReasonContainerNotFound = "ContainerNotFound"
)

// Reasons of a CloudIntegrationTenant's Ready and Attention. It also uses LoginSecretNotFound,
// LoginFailed, InvalidSettings, Unreachable, UpstreamForbidden and UpstreamThrottled of the lists
// above.
const (
	// ReasonScanned: the tenant was read whole.
	ReasonScanned = "Scanned"
	// ReasonScanning: the tenant is being read for the first time, or with a new spec.
	ReasonScanning = "Scanning"
	// ReasonDeliveriesFailing: credentials cannot be written into the tenant; the message says which
	// and why.
	ReasonDeliveriesFailing = "DeliveriesFailing"
	// ReasonAliasesMissing: deployed flows use aliases that do not exist in the tenant.
	ReasonAliasesMissing = "AliasesMissing"
	// ReasonAliasesUnmanaged: deployed flows use aliases that nobody manages.
	ReasonAliasesUnmanaged = "AliasesUnmanaged"
	// ReasonAliasesUnused: aliases are managed, and no flow was found to use them.
	ReasonAliasesUnused = "AliasesUnused"
	// ReasonScanIncomplete: not everything could be read of some flows.
	ReasonScanIncomplete = "ScanIncomplete"
)

// Reasons of a NotificationChannel's Ready. It also uses InvalidSettings, LoginFailed and
// Unreachable of the list above.
const (
	// ReasonDelivers: the settings can be used, and the last thing that was tried worked.
	ReasonDelivers = "Delivers"
	// ReasonSecretNotUsable: a Secret that the channel names does not exist in the operator's
	// namespace, has another type than credentials.claviger.dev/notification, or lacks a key.
	ReasonSecretNotUsable = "SecretNotUsable"
	// ReasonDeliveryRefused: the receiver answers and takes nothing from us.
	ReasonDeliveryRefused = "DeliveryRefused"
)

// Reasons of a RotationPolicy's Accepted, RenewalsDue and Attention.
const (
	// ReasonAccepted: the policy is applied.
	ReasonAccepted = "Accepted"
	// ReasonInvalidPolicy: a field cannot be used as written.
	ReasonInvalidPolicy = "InvalidPolicy"
	// ReasonRenewedInTurn: more credentials are due than are renewed at a time; they follow each
	// other.
	ReasonRenewedInTurn = "RenewedInTurn"
	// ReasonChannelNotFound: a NotificationChannel that the policy names does not exist, so nothing
	// is told over it.
	ReasonChannelNotFound = "ChannelNotFound"
	// ReasonChannelNotAllowed: a NotificationChannel that the policy names does not allow a namespace
	// that the policy applies in, so nothing about its credentials is told over it.
	ReasonChannelNotAllowed = "ChannelNotAllowed"
)

// Annotations that people set.
const (
	// AnnotationRotateRequestedAt asks for one rotation. The value is a time in RFC
	// 3339; the request is answered once, by a version made at or after it.
	AnnotationRotateRequestedAt = "credentials.claviger.dev/rotate-requested-at"
	// AnnotationCompromisedAt declares compromised whatever existed at a time in RFC 3339: a
	// successor is made at once and what existed is revoked without overlap. On a
	// RotationPolicy it is about all credentials that the policy applies to. Needs the verb
	// compromise on the object.
	AnnotationCompromisedAt = "credentials.claviger.dev/compromised-at"
	// AnnotationRevokeWithoutSuccessor, "true" beside compromised-at, revokes even if no
	// successor can be made. Needs the verb compromise.
	AnnotationRevokeWithoutSuccessor = "credentials.claviger.dev/revoke-without-successor"
	// AnnotationRollbackRequestedAt asks for the version before the published one, while it
	// lives. The value is a time in RFC 3339.
	AnnotationRollbackRequestedAt = "credentials.claviger.dev/rollback-requested-at"
	// AnnotationRequestedBy is the name of the user who changed the spec last or asked by
	// annotation. Admission proves it; nobody can set another's.
	AnnotationRequestedBy = "credentials.claviger.dev/requested-by"
	// AnnotationDeletionRequestedAt asks people to agree to the deletion of the credential, where
	// they must be asked. The value is a time in RFC 3339. Without it the deletion is refused
	// by admission.
	AnnotationDeletionRequestedAt = "credentials.claviger.dev/deletion-requested-at"
	// AnnotationDeletionRequestedBy is the name of the user who set deletion-requested-at.
	// Admission proves it; nobody can set another's.
	AnnotationDeletionRequestedBy = "credentials.claviger.dev/deletion-requested-by"
	// AnnotationOwner is whom policies mean by owner: mail addresses, separated by commas, at
	// most eight.
	AnnotationOwner = "credentials.claviger.dev/owner"
	// AnnotationTakeOverFrom names the cluster id whose journal this cluster may go on with,
	// after a move. Needs the verb abandon.
	AnnotationTakeOverFrom = "credentials.claviger.dev/take-over-from"
	// AnnotationDeletionsConfirmedAt, on an issuer, is the time, in RFC 3339, up to which an
	// administrator has agreed that many of its credentials are deleted at once. Needs the verb
	// confirm on the issuer.
	AnnotationDeletionsConfirmedAt = "credentials.claviger.dev/deletions-confirmed-at"
	// AnnotationMissingConfirmed, on an issuer, is the number of versions that are missing
	// upstream and that an administrator has looked into.
	AnnotationMissingConfirmed = "credentials.claviger.dev/missing-confirmed"
	// AnnotationAbandonUpstream lets versions go without revoking them: a number, or
	// "all". Needs the verb abandon on apiclientcredentials.
	AnnotationAbandonUpstream = "credentials.claviger.dev/abandon-upstream"
)
