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
// +kubebuilder:validation:XValidation:rule=`self.matches(r'^\b(Unlimited|(\d{1,9}y *)?((\d{1,9}mo *)?(\d{1,9}min *)?|\d{1,9}m *\d{1,9}min *|(\d{1,9}mo? *)?(\d{1,9}w *(\d{1,9}d *)?(\d{1,9}h *)?|\d{1,9}d *(\d{1,9}h *)?|\d{1,9}h *)(\d{1,9}m(in)? *)?)(\d{1,9}s)?)\b$')`,message="write whole numbers with the units y mo w d h min s, largest first, such as 90d or 1y 4w 3d 5h 30m, or Unlimited for never"
// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]+y *)?[0-9]+m( *[0-9]+s)?$')",message="a bare m is ambiguous here: write mo for months or min for minutes"
// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]') || self == 'Unlimited'",message="an interval of zero is refused"
// +kubebuilder:validation:XValidation:rule="self.findAll('[0-9]{1,9}y').map(t, int(t.find('[0-9]+')) * 31622400).sum() + self.findAll('[0-9]{1,9}(mo|m *[0-9]+(w|d|h|min))').map(t, int(t.find('[0-9]+')) * 2678400).sum() + self.findAll('[0-9]{1,9}(w|d|h|min|s)').map(t, int(t.find('[0-9]+')) * (t.endsWith('w') ? 604800 : t.endsWith('d') ? 86400 : t.endsWith('h') ? 3600 : t.endsWith('s') ? 1 : 60)).sum() + self.findAll('[wdh] *[0-9]{1,9}m( *[0-9]+s)?$').map(t, int(t.find('[0-9]+')) * 60).sum() <= 3162240000",message="longer than a hundred years: write Unlimited for never"
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

// CredentialReference names an APIClientCredential of the same namespace.
type CredentialReference struct {
	// Name of the credential. Example: "operator-certificate".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	Name string `json:"name"`
}

// ServiceAccountReference names a service account of the same namespace, whose tokens the
// operator asks the API server for. It needs the right to create serviceaccounts/token
// for that account, which it has only where somebody gives it; so does who writes the
// reference.
type ServiceAccountReference struct {
	// Name of the service account. Example: "claviger-tpp".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// Audience that the tokens are for: what the upstream demands of them. Nobody else
	// takes such a token, the API server included if it is none of its own audiences.
	// Example: "https://tpp.acme.example".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Audience string `json:"audience"`
}

// SecretKeyReference names a key of a Secret in the same namespace.
type SecretKeyReference struct {
	// Name of the Secret. Example: "keystore-password".
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// Key in it. Default "password".
	//
	// +optional
	// +kubebuilder:default=password
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}
