package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RotationPolicy says when credentials are renewed and how long the old one stays
// valid.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rotpol,categories=claviger,path=rotationpolicies
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Rotate After",type=string,JSONPath=`.spec.rotateAfter`
// +kubebuilder:printcolumn:name="Overlap",type=string,JSONPath=`.spec.overlap`
// +kubebuilder:printcolumn:name="Credentials",type=integer,JSONPath=`.status.credentials`
// +kubebuilder:printcolumn:name="Not Ready",type=integer,JSONPath=`.status.notReady`
// +kubebuilder:printcolumn:name="Due",type=integer,JSONPath=`.status.due`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Accepted")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must have at most 63 characters"
type RotationPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is the policy.
	//
	// +required
	Spec RotationPolicySpec `json:"spec"`

	// Status says whether it is accepted and how many credentials it applies to.
	//
	// +optional
	Status RotationPolicyStatus `json:"status,omitempty"`
}

// RotationPolicySpec is the policy. In the rule below overlap counts 31 days a
// month and 366 days a year and rotateAfter 28 and 365, so that overlap is the
// smaller one whatever the calendar says.
//
// +kubebuilder:validation:XValidation:rule="self.rotateAfter == 'Unlimited' || has(self.overlap)",message="overlap is required: it says how long the old credential stays valid after the new one is published"
// +kubebuilder:validation:XValidation:rule="!has(self.overlap) || self.rotateAfter == 'Unlimited' || self.overlap == 'Unlimited' || [self.rotateAfter.findAll('[0-9]{1,9}y').map(t, int(t.find('[0-9]+')) * 31536000).sum() + self.rotateAfter.findAll('[0-9]{1,9}(mo|m *[0-9]+(w|d|h|min))').map(t, int(t.find('[0-9]+')) * 2419200).sum() + self.rotateAfter.findAll('[0-9]{1,9}(w|d|h|min|s)').map(t, int(t.find('[0-9]+')) * (t.endsWith('w') ? 604800 : t.endsWith('d') ? 86400 : t.endsWith('h') ? 3600 : t.endsWith('s') ? 1 : 60)).sum() + self.rotateAfter.findAll('[wdh] *[0-9]{1,9}m( *[0-9]+s)?$').map(t, int(t.find('[0-9]+')) * 60).sum()].all(after, after == 0 || self.overlap.findAll('[0-9]{1,9}y').map(t, int(t.find('[0-9]+')) * 31622400).sum() + self.overlap.findAll('[0-9]{1,9}(mo|m *[0-9]+(w|d|h|min))').map(t, int(t.find('[0-9]+')) * 2678400).sum() + self.overlap.findAll('[0-9]{1,9}(w|d|h|min|s)').map(t, int(t.find('[0-9]+')) * (t.endsWith('w') ? 604800 : t.endsWith('d') ? 86400 : t.endsWith('h') ? 3600 : t.endsWith('s') ? 1 : 60)).sum() + self.overlap.findAll('[wdh] *[0-9]{1,9}m( *[0-9]+s)?$').map(t, int(t.find('[0-9]+')) * 60).sum() < after)",message="overlap must be smaller than rotateAfter"
type RotationPolicySpec struct {
	// Selector chooses the credentials of this namespace, by their labels, that the
	// policy applies to unless they name one by policyRef. Absent selects none, {}
	// selects all. If two policies select a credential the older one applies and
	// the credential says PolicyAmbiguous.
	//
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`

	// RotateAfter is the age, counted from issue, at which a successor is issued. A
	// part of at most 5 % of it, and of at most a day, is taken off by a hash of the
	// credential, so that a thousand credentials are not renewed in one minute.
	// "Unlimited" renews on request only. Example: "90d".
	//
	// +required
	RotateAfter Interval `json:"rotateAfter"`

	// Overlap is how long the old version stays valid after the new one was
	// published, at least. It must be smaller than rotateAfter and more than zero,
	// and longer than the longest time that a workload takes to notice. Example:
	// "10d".
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self != 'Unlimited'",message="overlap cannot be Unlimited: the old credential would never be revoked"
	Overlap Interval `json:"overlap,omitempty"`

	// Strategy says what a renewal may do to what workloads hold. Overlap (default): nothing; the old
	// version stays valid beside the new one, and an upstream that cannot do that is not asked
	// to renew anything. Replace: the upstream may end the old version with the making of the
	// new one. From the moment in which it does so until pods hold the new one, the credential that
	// they hold is refused: without spec.rollout of the credential that takes until somebody restarts
	// them or they read the Secret again. Upstreams that cannot renew in place go on overlapping,
	// and so do versions with Secrets of their own (secret.naming Versioned). Example: "Replace".
	//
	// +optional
	// +kubebuilder:default=Overlap
	// +kubebuilder:validation:Enum=Overlap;Replace
	Strategy Strategy `json:"strategy,omitempty"`

	// RenewBefore is how long before the end that the upstream sets a successor is issued.
	// It counts only where the upstream sets one, and half of the lifetime at most.
	// Default: a third of the lifetime that was seen. Example: "14d".
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self != 'Unlimited'",message="renewBefore cannot be Unlimited: renewal would never end"
	RenewBefore Interval `json:"renewBefore,omitempty"`

	// Windows are the times in which routine renewal and routine retirement may
	// happen. First issue, repair and requests do not wait for them. Without windows
	// every time is fine.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Windows []Window `json:"windows,omitempty"`

	// ExpiringOutsideWindows says what happens if the upstream ends a version before the next
	// window opens: Renew (default) renews it outside of the windows, while half of the time
	// between renewBefore and the end is left; Wait keeps to the windows, and workloads may be left with
	// a credential that has ended. Either is announced with reason WindowTooLate as soon as it
	// is known. Example: "Wait".
	//
	// +optional
	// +kubebuilder:default=Renew
	// +kubebuilder:validation:Enum=Renew;Wait
	ExpiringOutsideWindows ExpiringOutsideWindows `json:"expiringOutsideWindows,omitempty"`

	// Verify says how new material is proven before it is published.
	//
	// +optional
	// +kubebuilder:default={}
	Verify VerifyPolicy `json:"verify,omitempty"`

	// Uptake says whether a predecessor waits for the pods that use it. Default: the overlap
	// alone decides.
	//
	// +optional
	Uptake *UptakePolicy `json:"uptake,omitempty"`

	// Rollout says how the workloads that credentials list in spec.rollout are restarted. They
	// are restarted with defaults where it is absent.
	//
	// +optional
	Rollout *RolloutPolicy `json:"rollout,omitempty"`

	// Approval says what waits for people, of every credential that the policy's selector
	// chooses or that names the policy: also where another policy's ages and windows apply.
	// Default: nothing does.
	//
	// +optional
	Approval *ApprovalDemand `json:"approval,omitempty"`

	// Notifications say which events are told to people, and how. Without any nobody is told.
	// They need an operator that serves the whole cluster. At most 16.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Notifications []Notification `json:"notifications,omitempty"`
}

// RolloutPolicy says how workloads are restarted. The first restart is made uptake.margin
// after publication, whatever uptake.mode is.
type RolloutPolicy struct {
	// Pause is the time between the end of one restart and the next one of the credential, 0s to
	// 24h. Default 0s. Example: "5m".
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="pause must be between 0s and 24h"
	Pause *metav1.Duration `json:"pause,omitempty"`

	// Timeout is how long the restart of a StatefulSet or a DaemonSet may take before it counts
	// as failed, 1s to 168h. Default 30m. A Deployment says so itself, after its
	// progressDeadlineSeconds.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('168h')",message="timeout must be between 1s and 168h"
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Coalesce is how long the restart of a workload that several credentials list waits for
	// the others to publish, 0s to 1h, counted from the first publication. Default 5m.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('1h')",message="coalesce must be between 0s and 1h"
	Coalesce *metav1.Duration `json:"coalesce,omitempty"`
}

// UptakePolicy says whether a predecessor waits for the pods that use it.
type UptakePolicy struct {
	// Mode Clock (default): a predecessor is revoked when its overlap has passed. Consumers:
	// and not while a pod may use it. A pod uses what is published if it was created after the
	// publication and margin; that its containers were restarted proves nothing.
	//
	// +optional
	// +kubebuilder:default=Clock
	// +kubebuilder:validation:Enum=Clock;Consumers
	Mode UptakeMode `json:"mode,omitempty"`

	// Margin is how much later than the publication a pod must have been created, 0s to 1h: the
	// node may give a new pod what it remembers of the Secret. Default 60s.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('1h')",message="margin must be between 0s and 1h"
	Margin *metav1.Duration `json:"margin,omitempty"`

	// Deadline counts from publication, 1s to 8760h. When it has passed and a pod may still use
	// an earlier version, the credential says UptakeStalled. Default 24h.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('8760h')",message="deadline must be between 1s and 8760h"
	Deadline *metav1.Duration `json:"deadline,omitempty"`

	// AfterDeadline Hold (default): the earlier version stays valid until no pod may use it.
	// Retire: it is revoked at the deadline, or when its overlap has passed if that is later.
	//
	// +optional
	// +kubebuilder:default=Hold
	// +kubebuilder:validation:Enum=Hold;Retire
	AfterDeadline AfterDeadline `json:"afterDeadline,omitempty"`
}

// UptakeMode says what a predecessor waits for.
type UptakeMode string

// The modes.
const (
	// UptakeClock waits for the overlap alone.
	UptakeClock UptakeMode = "Clock"
	// UptakeConsumers waits for pods as well.
	UptakeConsumers UptakeMode = "Consumers"
)

// AfterDeadline says what happens to a version that pods may still use.
type AfterDeadline string

// What may happen.
const (
	// AfterDeadlineHold keeps it.
	AfterDeadlineHold AfterDeadline = "Hold"
	// AfterDeadlineRetire revokes it.
	AfterDeadlineRetire AfterDeadline = "Retire"
)

// Strategy is what a renewal may do to what workloads hold.
type Strategy string

const (
	// StrategyOverlap keeps it valid.
	StrategyOverlap Strategy = "Overlap"
	// StrategyReplace may end it.
	StrategyReplace Strategy = "Replace"
)

// ExpiringOutsideWindows is what becomes of a version that ends before a window opens.
type ExpiringOutsideWindows string

const (
	// ExpiringRenew renews it before.
	ExpiringRenew ExpiringOutsideWindows = "Renew"
	// ExpiringWait lets it end.
	ExpiringWait ExpiringOutsideWindows = "Wait"
)

// Window is a repeated span of time.
type Window struct {
	// Schedule is when the window opens: a cron expression of five fields (minute,
	// hour, day of month, month, day of week). Example: "0 2 * * SAT".
	//
	// +required
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[0-9A-Za-z*?/,-]+( +[0-9A-Za-z*?/,-]+){4}$`
	Schedule string `json:"schedule"`

	// Duration is how long it stays open, from 1m to 168h. Example: "4h".
	//
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('168h')",message="duration must be between 1m and 168h"
	Duration metav1.Duration `json:"duration"`

	// TimeZone of the schedule, as the IANA database names it. Default "UTC".
	// Example: "Europe/Berlin".
	//
	// +optional
	// +kubebuilder:default=UTC
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self != 'Local' && !self.matches('[0-9]:') && timestamp('2024-01-01T00:00:00Z').getHours(self) >= 0",message="timeZone must be a name of the IANA time zone database, for example Europe/Berlin"
	TimeZone string `json:"timeZone,omitempty"`
}

// VerifyPolicy says how new material is proven.
type VerifyPolicy struct {
	// Timeout is how long definite refusals of new material are taken for delay in
	// the upstream. After it the new version is revoked, the old one stays, and
	// another one is made after a pause that grows from a minute to six hours. An
	// upstream that cannot be reached does not count. Default: what fits the
	// upstream (API Connect 10m). Example: "15m".
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="timeout must be between 1s and 24h"
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// RotationPolicyStatus says whether the policy is accepted.
type RotationPolicyStatus struct {
	// ObservedGeneration is the generation of the spec that this status is about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions: Accepted says whether the policy is applied at all. RenewalsDue stands here
	// only while credentials are due for renewal.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Credentials is how many credentials the policy applies to. Counted at most
	// every 30 seconds.
	//
	// +optional
	Credentials int64 `json:"credentials"`

	// NotReady is how many of them are not ready.
	//
	// +optional
	NotReady int64 `json:"notReady"`

	// Due is how many of them should have been renewed: status.rotates of the credential passed
	// more than a minute ago. A policy that is made stricter can make many due at once; they
	// are renewed a few at a time for each issuer. Example: 137.
	//
	// +optional
	Due int64 `json:"due,omitempty"`

	// Renewing is for how many of those that are due a successor is being made and proven.
	// Example: 5.
	//
	// +optional
	Renewing int64 `json:"renewing,omitempty"`

	// Failing is how many of those that are due do not get on: their condition Attention or
	// Stalled says why. The rest waits for its turn. Example: 2.
	//
	// +optional
	Failing int64 `json:"failing,omitempty"`
}

// RotationPolicyList is a list of RotationPolicy.
//
// +kubebuilder:object:root=true
type RotationPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RotationPolicy `json:"items"`
}
