package v1alpha1

// Interval is an age: a list of numbers with units, largest unit first, each unit
// at most once, for example "90d" or "1y 4w 3d 5h 30m". Units: y (year), mo
// (month), w (week), d (day), h (hour), min (minute), s (second). A bare "m" means
// minutes after w, d or h with nothing behind it and months if a smaller unit
// follows; where it stands alone or last after y it is refused: write "mo" or
// "min". Years and months are calendar years and months in UTC. "Unlimited" means
// never.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:Pattern=`^(Unlimited|([0-9]{1,6} ?(y|mo|w|d|h|min|m|s) ?)+)$`
// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]+ ?y ?)?[0-9]+ ?m ?$')",message="a bare m is ambiguous here: write mo for months or min for minutes"
// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]') || self == 'Unlimited'",message="an interval of zero is refused"
type Interval string

// SecretReference names a Secret of the same namespace. There is no namespace
// field, so that nobody reaches another namespace's Secrets through the operator.
type SecretReference struct {
	// Name of the Secret. Example: "apic-login".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}
