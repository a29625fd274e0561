package venafi

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// certificateParameters are what a credential says of its certificate.
type certificateParameters struct {
	PolicyDN     string   `json:"policyDN"`
	CommonName   string   `json:"commonName"`
	DNSNames     []string `json:"dnsNames"`
	Organization string   `json:"organization"`
	Key          string   `json:"key"`
}

// certificates is an account whose versions are certificate objects. The name of an
// object is chosen here, and its key is made here: after a lost answer the object is
// found by its name, and the certificate in it fits the key that the journal holds.
type certificates struct {
	platform *platform
	realm    string
	// folder is the one that listings cover, with all below it.
	folder string
	// roots that certificates must chain to; nil leaves that to whoever uses them.
	roots *x509.CertPool
}

// Capabilities implements upstream.Upstream. Names are not unique in the sense of the
// port: a request for an object that exists issues a second time.
func (a *certificates) Capabilities() upstream.Capabilities {
	return upstream.Capabilities{Class: upstream.Readable, Overlap: true, Settle: settle, VerifyTimeout: verifyTimeout}
}

// Check implements upstream.Upstream.
func (a *certificates) Check(ctx context.Context) (string, error) {
	if err := a.platform.check(ctx); err != nil {
		return "", err
	}
	return a.realm, nil
}

// guidOf resolves a DN. Found is false where the platform says that there is no such
// object, or none that this login may see: it makes no difference between the two.
func (a *certificates) guidOf(ctx context.Context, dn string) (guid string, found bool, err error) {
	c := call{operation: "config.guid", method: http.MethodPost, path: "/vedsdk/config/dntoguid", body: map[string]string{"ObjectDN": dn}}
	r, err := a.platform.send(ctx, c)
	if err != nil {
		return "", false, err
	}
	var answer struct {
		GUID   string `json:"GUID"`
		Result int    `json:"Result"`
	}
	const success, missing = 1, 400
	switch {
	case r.status != http.StatusOK || !r.decode(&answer):
		return "", false, refusal(c, r)
	case answer.Result == success && answer.GUID != "":
		return plainGUID(answer.GUID), true, nil
	case answer.Result == missing:
		return "", false, nil
	}
	return "", false, upstream.Errorf(upstream.Retryable, "config.guid: Venafi answered with result %d", answer.Result)
}

// plainGUID takes off the braces and the case, in which sources differ.
func plainGUID(guid string) string { return strings.ToLower(strings.Trim(guid, "{}")) }

// Locate implements upstream.Upstream: the policy folder, and whether it lets requests
// like this one pass.
func (a *certificates) Locate(ctx context.Context, raw json.RawMessage) (string, error) {
	parameters, err := parse(raw, useCertificates)
	if err != nil {
		return "", err
	}
	wanted := *parameters.Certificate
	guid, found, err := a.guidOf(ctx, wanted.PolicyDN)
	if err != nil {
		return "", err
	}
	if !found {
		return "", upstream.Errorf(upstream.NotFound, "policy folder %s does not exist, or the login may not see it", upstream.Excerpt(wanted.PolicyDN))
	}
	if err := a.preflight(ctx, wanted); err != nil {
		return "", err
	}
	return a.realm + "/" + guid, nil
}

// own checks that a container is of this platform, and that the folder which the
// parameters name is still the one that it was made in.
func (a *certificates) own(ctx context.Context, container string, wanted certificateParameters) error {
	guid, ok := strings.CutPrefix(container, a.realm+"/")
	if !ok {
		return upstream.Errorf(upstream.InvalidSpec, "container %s is not on this platform", upstream.Excerpt(container))
	}
	now, found, err := a.guidOf(ctx, wanted.PolicyDN)
	if err != nil {
		return err
	}
	if !found || now != guid {
		return upstream.Errorf(upstream.Forbidden, "policy folder %s cannot be seen as it was; it was renamed or deleted, or the login lost its rights", upstream.Excerpt(wanted.PolicyDN))
	}
	return nil
}

// locked is a value of a policy.
type locked[T any] struct {
	Value  T    `json:"Value"`
	Locked bool `json:"Locked"`
}

// policy is the part of a policy that a request could break.
type policy struct {
	Subject struct {
		Organization locked[string] `json:"Organization"`
	} `json:"Subject"`
	KeyPair struct {
		KeyAlgorithm locked[string] `json:"KeyAlgorithm"`
		KeySize      locked[int]    `json:"KeySize"`
	} `json:"KeyPair"`
	CsrGeneration         locked[string] `json:"CsrGeneration"`
	WhitelistedDomains    []string       `json:"WhitelistedDomains"`
	SubjAltNameDNSAllowed *bool          `json:"SubjAltNameDnsAllowed"`
}

// preflight asks what the folder's policy would say, before anything is requested.
func (a *certificates) preflight(ctx context.Context, wanted certificateParameters) error {
	c := call{operation: "policy.check", method: http.MethodPost, path: "/vedsdk/certificates/checkpolicy", body: map[string]string{"PolicyDN": wanted.PolicyDN}}
	r, err := a.platform.send(ctx, c)
	if err != nil {
		return err
	}
	var answer struct {
		Policy *policy `json:"Policy"`
		Error  string  `json:"Error"`
	}
	if r.status != http.StatusOK || !r.decode(&answer) || answer.Policy == nil {
		return refusal(c, r)
	}
	if objections := answer.Policy.objections(wanted); len(objections) > 0 {
		return upstream.Errorf(upstream.InvalidSpec, "the policy of %s refuses this certificate: %s", upstream.Excerpt(wanted.PolicyDN), strings.Join(objections, "; "))
	}
	return nil
}

// objections are all that a policy has against a request: a person wants to mend it once.
func (p *policy) objections(wanted certificateParameters) []string {
	var out []string
	if p.CsrGeneration.Locked && strings.EqualFold(p.CsrGeneration.Value, "ServiceGenerated") {
		out = append(out, "keys are made by the platform there (CsrGeneration is locked to ServiceGenerated)")
	}
	algorithm, bits := keyKind(wanted.Key)
	if p.KeyPair.KeyAlgorithm.Locked && p.KeyPair.KeyAlgorithm.Value != "" && !strings.EqualFold(p.KeyPair.KeyAlgorithm.Value, algorithm) {
		out = append(out, "key must be of algorithm "+upstream.Excerpt(p.KeyPair.KeyAlgorithm.Value))
	}
	if p.KeyPair.KeySize.Locked && algorithm == "RSA" && bits < p.KeyPair.KeySize.Value {
		out = append(out, "the RSA key is too short")
	}
	if o := p.Subject.Organization; o.Locked && o.Value != "" && o.Value != wanted.Organization {
		out = append(out, "organization must be "+upstream.Excerpt(o.Value))
	}
	if p.SubjAltNameDNSAllowed != nil && !*p.SubjAltNameDNSAllowed && len(wanted.DNSNames) > 0 {
		out = append(out, "dnsNames are not allowed")
	}
	for _, name := range append([]string{wanted.CommonName}, wanted.DNSNames...) {
		if !inDomains(name, p.WhitelistedDomains) {
			out = append(out, upstream.Excerpt(name)+" is in none of the allowed domains")
		}
	}
	return out
}

func inDomains(name string, domains []string) bool {
	for _, domain := range domains {
		if strings.EqualFold(name, domain) || strings.HasSuffix(strings.ToLower(name), "."+strings.ToLower(strings.TrimPrefix(domain, "."))) {
			return true
		}
	}
	return len(domains) == 0
}
