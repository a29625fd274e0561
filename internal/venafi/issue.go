package venafi

import (
	"context"
	"crypto"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// poll is how long a certificate in process is left alone; nothing tells how long it
	// takes.
	poll = 5 * time.Second
	// approvalPoll is the same while a person has to act.
	approvalPoll = time.Minute
)

// Issue implements upstream.Upstream. A request is made for an object that is proven
// absent, and never again: a repeat would issue a second certificate.
func (a *certificates) Issue(ctx context.Context, r upstream.Request) (upstream.Issued, error) {
	parameters, err := parse(r.Parameters, useCertificates)
	if err != nil {
		return upstream.Issued{}, err
	}
	wanted := *parameters.Certificate
	if err := checkNames(r.Name, r.Mark); err != nil {
		return upstream.Issued{}, err
	}
	key, err := signer(r.Material.PrivateKey)
	if err != nil {
		return upstream.Issued{}, err
	}
	found, err := a.find(ctx, r.Container, wanted, r.ID, r.Name, r.Mark)
	if err != nil {
		return upstream.Issued{}, err
	}
	if found == nil {
		return a.request(ctx, r, wanted, key)
	}
	return a.pickUp(ctx, r, wanted, key, found)
}

// checkNames refuses what could not be found again or would not be ours.
func checkNames(name string, mark upstream.Mark) error {
	if !isMark(mark) {
		return upstream.Errorf(upstream.InvalidSpec, "mark %q is not 32 lower-case hex digits", upstream.Excerpt(string(mark)))
	}
	if !ourName.MatchString(objectName(name, mark)) {
		return upstream.Errorf(upstream.InvalidSpec, "%q cannot be the name of an object", upstream.Excerpt(name))
	}
	return nil
}

// request asks for a certificate.
func (a *certificates) request(ctx context.Context, r upstream.Request, wanted certificateParameters, key crypto.Signer) (upstream.Issued, error) {
	csr, err := wanted.request(key)
	if err != nil {
		return upstream.Issued{}, err
	}
	c := call{
		operation: "certificate.request", method: http.MethodPost, path: "/vedsdk/certificates/request", effect: true, secrets: hidden(r.Material.PrivateKey),
		body: map[string]any{
			"PolicyDN": wanted.PolicyDN, "ObjectName": objectName(r.Name, r.Mark), "Subject": wanted.CommonName, "PKCS10": csr,
			"CertificateType": "AUTO", "DisableAutomaticRenewal": true, "SetWorkToDo": true, "Origin": origin(r.Mark),
			"CASpecificAttributes": []map[string]string{{"Name": "Origin", "Value": origin(r.Mark)}},
		},
	}
	answer, err := a.platform.send(ctx, c)
	if err != nil {
		return upstream.Issued{}, err
	}
	var made struct {
		CertificateDN string `json:"CertificateDN"`
		GUID          string `json:"Guid"`
	}
	if answer.status/100 != 2 || !answer.decode(&made) || made.CertificateDN == "" {
		return upstream.Issued{}, refusal(c, answer)
	}
	issued := upstream.Issued{}
	if guid := plainGUID(made.GUID); isGUID.MatchString(guid) {
		issued.ID, issued.Material = guid, r.Material
	}
	return issued, &upstream.Error{Class: upstream.Pending, After: poll, Message: "the certificate was requested and is in process"}
}

// pickUp fetches the certificate of an object.
func (a *certificates) pickUp(ctx context.Context, r upstream.Request, wanted certificateParameters, key crypto.Signer, found *object) (upstream.Issued, error) {
	partial := upstream.Issued{ID: found.GUID, Material: r.Material}
	if found.Disabled {
		return partial, upstream.Errorf(upstream.Conflict, "somebody has disabled certificate object %s", upstream.Excerpt(found.DN))
	}
	c := call{
		operation: "certificate.retrieve", method: http.MethodPost, path: "/vedsdk/certificates/retrieve",
		body: map[string]any{"CertificateDN": found.DN, "Format": "Base64", "IncludeChain": true, "RootFirstOrder": false},
	}
	answer, err := a.platform.send(ctx, c)
	if err != nil {
		return partial, err
	}
	var data struct {
		CertificateData string `json:"CertificateData"`
		Stage           *int   `json:"Stage"`
		Status          string `json:"Status"`
	}
	decoded := answer.decode(&data)
	switch {
	case answer.status == http.StatusAccepted && decoded && found.ProcessingDetails.TicketDN != "":
		return partial, &upstream.Error{
			Class: upstream.AwaitingUpstreamApproval, After: approvalPoll,
			Message: "an approval in Venafi is awaited: ticket " + upstream.Excerpt(found.ProcessingDetails.TicketDN),
		}
	case answer.status == http.StatusAccepted && decoded:
		return partial, &upstream.Error{Class: upstream.Pending, After: poll, Message: "the certificate is in process: " + upstream.Excerpt(data.Status)}
	case answer.status == http.StatusInternalServerError && decoded && data.Stage != nil:
		// The object is in error, which is no outage: it stays so until somebody resets it.
		return partial, upstream.Errorf(upstream.Rejected, "Venafi could not issue the certificate: %s", upstream.Excerpt(data.Status))
	case answer.status != http.StatusOK || data.CertificateData == "":
		return partial, refusal(c, answer)
	}
	return a.fits(r, wanted, key, found, data.CertificateData)
}

// fits checks the certificate that came.
func (a *certificates) fits(r upstream.Request, wanted certificateParameters, key crypto.Signer, found *object, data string) (upstream.Issued, error) {
	partial := upstream.Issued{ID: found.GUID, Material: r.Material}
	text, err := document(data)
	if err != nil {
		return partial, upstream.Errorf(upstream.Retryable, "certificate.retrieve: the answer is not usable: %s", err)
	}
	certificates, err := parseChain(text)
	if err != nil {
		return partial, upstream.Errorf(upstream.Retryable, "certificate.retrieve: the answer is not usable: %s", err)
	}
	chain := ordered(certificates, key)
	if flaw := a.flaw(chain, key, wanted, a.platform.now()); flaw != "" {
		return partial, upstream.Errorf(upstream.Conflict, "the certificate that Venafi issued is not usable: %s", flaw)
	}
	leaf, behind := chain[0], chain[1:]
	if len(behind) == 0 {
		// Signed by a root, which then is all that templates can show as its chain.
		behind = slices.DeleteFunc(slices.Clone(certificates), leaf.Equal)
	}
	return upstream.Issued{
		ID: found.GUID,
		Material: material.Material{
			Certificate: encode(chain[:1]), Chain: encode(behind), PrivateKey: r.Material.PrivateKey,
			Attributes: map[string]string{
				"certificateDN": found.DN, "thumbprint": thumbprint(leaf), "serial": strings.ToUpper(leaf.SerialNumber.Text(16)),
				"commonName": leaf.Subject.CommonName, "expires": leaf.NotAfter.UTC().Format(time.RFC3339),
			},
		},
		ExpiresAt: leaf.NotAfter,
	}, nil
}
