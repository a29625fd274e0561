package venafi

import (
	"context"
	"crypto"
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// superseded is the reason of a revocation after a renewal.
const superseded = 4

// Revoke implements upstream.Upstream. Certificates are revoked by their thumbprints: a
// DN names whatever is current in the object. Then the object is disabled, which takes it
// out of listings and of the platform's own renewal, and keeps it for auditors.
func (a *certificates) Revoke(ctx context.Context, h upstream.Handle) error {
	parameters, err := parse(h.Parameters, useCertificates)
	if err != nil {
		return err
	}
	if err := checkNames(h.Name, h.Mark); err != nil {
		return err
	}
	found, err := a.find(ctx, h.Container, *parameters.Certificate, h.ID, h.Name, h.Mark)
	if err != nil {
		return err
	}
	if found == nil {
		return upstream.Errorf(upstream.NotFound, "no certificate object of the folder was made for this version")
	}
	if found.ProcessingDetails.InProcess || found.ProcessingDetails.InError {
		if err := a.reset(ctx, found); err != nil {
			return err
		}
		// What it held when it was read may have come meanwhile.
		if found, err = a.read(ctx, found.GUID); err != nil {
			return err
		}
		if found == nil {
			return upstream.Errorf(upstream.Retryable, "certificate.read: the object cannot be read any more")
		}
	}
	thumbprints, err := a.thumbprints(ctx, found, h)
	if err != nil {
		return err
	}
	for _, t := range thumbprints {
		if err := a.revokeOne(ctx, t); err != nil {
			return err
		}
	}
	if found.Disabled {
		return nil
	}
	return a.disable(ctx, found)
}

// thumbprints are the certificates of an object that must go: all with our key, or simply
// all where the key is not known. A repeat by mistake leaves more than one.
func (a *certificates) thumbprints(ctx context.Context, found *object, h upstream.Handle) ([]string, error) {
	var out []string
	if current := found.CertificateDetails.Thumbprint; current != "" {
		out = append(out, strings.ToUpper(current))
	}
	archived, err := a.archived(ctx, found)
	if err != nil {
		return nil, err
	}
	var key crypto.Signer
	if !h.Material.PrivateKey.Empty() {
		if key, err = signer(h.Material.PrivateKey); err != nil {
			return nil, err
		}
	}
	for _, previous := range archived {
		if !previous.revoked && (key == nil || sameKey(previous.certificate, key)) {
			out = append(out, thumbprint(previous.certificate))
		}
	}
	if chain, err := parseChain(h.Material.Certificate); err == nil {
		out = append(out, thumbprint(chain[0]))
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// previous is a certificate that the object held before.
type previous struct {
	certificate *x509.Certificate
	revoked     bool
}

// archived reads the history of an object. Expired certificates are past revoking.
func (a *certificates) archived(ctx context.Context, found *object) ([]previous, error) {
	c := call{operation: "certificate.history", method: http.MethodGet, path: certificatePath(found.GUID) + "/PreviousVersions", query: url.Values{"ExcludeExpired": {"1"}}}
	r, err := a.platform.send(ctx, c)
	if err != nil {
		return nil, err
	}
	var answer struct {
		PreviousVersions *[]struct {
			VaultID          int    `json:"VaultId"`
			RevocationStatus string `json:"RevocationStatus"`
		} `json:"PreviousVersions"`
	}
	if r.status != http.StatusOK || !r.decode(&answer) || answer.PreviousVersions == nil {
		return nil, refusal(c, r)
	}
	var out []previous
	for _, version := range *answer.PreviousVersions {
		certificate, err := a.fromVault(ctx, version.VaultID)
		if err != nil {
			return nil, err
		}
		out = append(out, previous{certificate: certificate, revoked: strings.EqualFold(version.RevocationStatus, "Revoked")})
	}
	return out, nil
}

func (a *certificates) fromVault(ctx context.Context, id int) (*x509.Certificate, error) {
	c := call{operation: "certificate.archived", method: http.MethodGet, path: "/vedsdk/certificates/retrieve/" + strconv.Itoa(id)}
	r, err := a.platform.send(ctx, c)
	if err != nil {
		return nil, err
	}
	var data struct {
		CertificateData string `json:"CertificateData"`
	}
	if r.status != http.StatusOK || !r.decode(&data) {
		return nil, refusal(c, r)
	}
	text, err := document(data.CertificateData)
	if err == nil {
		var chain []*x509.Certificate
		if chain, err = parseChain(text); err == nil {
			return chain[0], nil
		}
	}
	return nil, upstream.Errorf(upstream.Retryable, "certificate.archived: the answer is not usable: %s", err)
}

// revokeOne revokes a certificate; that it is revoked already is success.
func (a *certificates) revokeOne(ctx context.Context, thumbprint string) error {
	c := call{
		operation: "certificate.revoke", method: http.MethodPost, path: "/vedsdk/certificates/revoke", effect: true,
		body: map[string]any{"Thumbprint": thumbprint, "Reason": superseded, "Comments": "Claviger has replaced or ended it", "Disable": false},
	}
	r, err := a.platform.send(ctx, c)
	if err != nil {
		return err
	}
	var answer struct {
		Success   *bool  `json:"Success"`
		Requested bool   `json:"Requested"`
		Revoked   bool   `json:"Revoked"`
		Error     string `json:"Error"`
	}
	if r.status/100 != 2 || !r.decode(&answer) || answer.Success == nil {
		return refusal(c, r)
	}
	switch {
	case *answer.Success && r.status == http.StatusAccepted && !answer.Revoked:
		return &upstream.Error{Class: upstream.Pending, After: poll, Message: "Venafi has asked the CA to revoke the certificate"}
	case *answer.Success:
		return nil
	case !answer.Requested && (answer.Revoked || strings.Contains(strings.ToLower(answer.Error), "already")):
		return nil
	}
	return upstream.Errorf(upstream.Forbidden, "certificate.revoke: Venafi did not revoke the certificate: %s", upstream.Excerpt(answer.Error))
}

// reset stops what an object is in process of; that there is nothing to stop is success.
func (a *certificates) reset(ctx context.Context, found *object) error {
	c := call{
		operation: "certificate.reset", method: http.MethodPost, path: "/vedsdk/certificates/reset", effect: true,
		body: map[string]any{"CertificateDN": found.DN, "Restart": false},
	}
	r, err := a.platform.send(ctx, c)
	if err != nil {
		return err
	}
	var answer struct {
		Completed bool   `json:"ProcessingResetCompleted"`
		Error     string `json:"Error"`
	}
	decoded := r.decode(&answer)
	if r.status == http.StatusOK && decoded && answer.Completed || r.status == http.StatusBadRequest && decoded && strings.Contains(answer.Error, "No reset is required") {
		return nil
	}
	return refusal(c, r)
}

// disable retires an object.
func (a *certificates) disable(ctx context.Context, found *object) error {
	c := call{
		operation: "certificate.disable", method: http.MethodPut, path: certificatePath(found.GUID), effect: true,
		body: map[string]any{"AttributeData": []map[string]any{{"Name": "Disabled", "Value": []string{"1"}}}},
	}
	r, err := a.platform.send(ctx, c)
	if err != nil {
		return err
	}
	var ignored struct{}
	if r.status/100 != 2 || len(r.body) > 0 && !r.decode(&ignored) {
		return refusal(c, r)
	}
	return nil
}

// Verify implements upstream.Verifier: the certificate fits the key, the names and the
// time, and the platform holds it for this version and knows of no revocation.
func (a *certificates) Verify(ctx context.Context, h upstream.Handle) (upstream.Verdict, error) {
	parameters, err := parse(h.Parameters, useCertificates)
	if err != nil {
		return upstream.Verdict{}, err
	}
	chain, err := parseChain(h.Material.Certificate + "\n" + h.Material.Chain)
	if err != nil {
		return upstream.Verdict{Detail: "the certificate is not usable: " + err.Error()}, nil //nolint:nilerr // unusable material is a verdict
	}
	key, err := signer(h.Material.PrivateKey)
	if err != nil {
		return upstream.Verdict{Detail: "the private key is not usable"}, nil //nolint:nilerr // likewise
	}
	if flaw := a.flaw(chain, key, *parameters.Certificate, a.platform.now()); flaw != "" {
		return upstream.Verdict{Detail: "the certificate is not usable: " + flaw}, nil
	}
	found, err := a.find(ctx, h.Container, *parameters.Certificate, h.ID, h.Name, h.Mark)
	switch {
	case err != nil:
		return upstream.Verdict{}, err
	case found == nil:
		return upstream.Verdict{Detail: "Venafi has no certificate object for it any more"}, nil
	case found.Disabled:
		return upstream.Verdict{Detail: "its certificate object was disabled in Venafi"}, nil
	case strings.EqualFold(found.CertificateDetails.Thumbprint, thumbprint(chain[0])):
		return upstream.Verdict{Accepted: true, Detail: "it fits the key, and Venafi holds it; valid until " + chain[0].NotAfter.UTC().Format(time.RFC3339)}, nil
	}
	archived, err := a.archived(ctx, found)
	if err != nil {
		return upstream.Verdict{}, err
	}
	for _, previous := range archived {
		if previous.certificate.Equal(chain[0]) && !previous.revoked {
			return upstream.Verdict{Accepted: true, Detail: "it fits the key; somebody has renewed the object in Venafi and not revoked it"}, nil
		}
	}
	return upstream.Verdict{Detail: "Venafi has revoked it, or replaced it by another certificate"}, nil
}
