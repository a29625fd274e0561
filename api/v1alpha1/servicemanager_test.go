package v1alpha1

import "testing"

// TestTheBudgetOfServiceManagerStaysBelowItsLimits: a client that reaches the limit of an hour is
// refused for the rest of it, by everybody who uses the same binding.
func TestTheBudgetOfServiceManagerStaysBelowItsLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		written RateLimit
		per     float64
		burst   int
	}{
		"nothing written":     {RateLimit{}, managerPerSecond, managerBurst},
		"the default":         {RateLimit{PerSecond: 10, Burst: 20}, managerPerSecond, 20},
		"less than the most":  {RateLimit{PerSecond: 1, Burst: 5}, 1, 5},
		"as much as possible": {RateLimit{PerSecond: 10000, Burst: 10000}, managerPerSecond, managerBurst},
	} {
		s := CredentialIssuerSpec{RateLimit: tc.written, SAPServiceManager: &SAPServiceManagerIssuer{}}
		per, burst := s.Budget()
		if per != tc.per || burst != tc.burst {
			t.Errorf("%s: %v a second and %d at once, want %v and %d", name, per, burst, tc.per, tc.burst)
		}
		if hour, minute := per*3600+float64(burst), per*60+float64(burst); hour > 6000 || minute > 600 {
			t.Errorf("%s: %v calls an hour, %v a minute", name, hour, minute)
		}
	}
}

func TestAnIssuerSaysWhichCredentialsItIsFor(t *testing.T) {
	for want, s := range map[string]CredentialIssuerSpec{
		"":              {},
		"cloudFoundry":  {CloudFoundry: &CloudFoundryIssuer{}},
		"ibmAPIConnect": {IBMAPIConnect: &IBMAPIConnectIssuer{}},
	} {
		if got := s.CredentialMember(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := (&CredentialIssuerSpec{SAPServiceManager: &SAPServiceManagerIssuer{}}).CredentialMember(); got != "cloudFoundry" {
		t.Errorf("Service Manager is for %q", got)
	}
}
