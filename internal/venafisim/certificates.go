package venafisim

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// nameValue and customField are attributes of a request.
type (
	nameValue struct {
		Name  string `json:"Name"`
		Value string `json:"Value"`
	}
	customField struct {
		Name   string   `json:"Name"`
		Values []string `json:"Values"`
	}
)

// order is the body of calls about one certificate; each reads the fields it needs.
type order struct {
	PolicyDN             string        `json:"PolicyDN"`
	ObjectName           string        `json:"ObjectName"`
	Subject              string        `json:"Subject"`
	PKCS10               string        `json:"PKCS10"`
	CASpecificAttributes []nameValue   `json:"CASpecificAttributes"`
	CustomFields         []customField `json:"CustomFields"`
	Origin               string        `json:"Origin"`
	CertificateDN        string        `json:"CertificateDN"`
	Thumbprint           string        `json:"Thumbprint"`
	Format               string        `json:"Format"`
	IncludeChain         bool          `json:"IncludeChain"`
	IncludePrivateKey    bool          `json:"IncludePrivateKey"`
	RootFirstOrder       bool          `json:"RootFirstOrder"`
	Reason               int           `json:"Reason"`
	Disable              bool          `json:"Disable"`
	Restart              bool          `json:"Restart"`
}

// policyAt finds a folder that the caller may see. The lock is held.
func (t *turn) policyAt(dn string) *policy {
	p := t.sim.world.policies[strings.ToLower(dn)]
	if p == nil || slices.Contains(p.Denied, t.grant.identity.Name) {
		return nil
	}
	return p
}

// visible reports whether the caller may see an object: its folder decides.
func (t *turn) visible(o *object) bool { return o != nil && t.policyAt(o.parent) != nil }

func requestCertificate(t *turn) simkit.Answer {
	var o order
	if !t.read(&o) || o.PolicyDN == "" {
		return failure(http.StatusBadRequest, "PolicyDN is required")
	}
	p := t.policyAt(o.PolicyDN)
	if p == nil {
		return failure(http.StatusBadRequest, "PolicyDN: "+o.PolicyDN+" does not exist")
	}
	csr, problem := p.check(o.PKCS10)
	if problem != "" {
		return failure(http.StatusBadRequest, problem)
	}
	name := o.ObjectName
	if name == "" {
		name = csr.Subject.CommonName
	}
	if name == "" || strings.ContainsAny(name, `\/`) {
		return failure(http.StatusBadRequest, "ObjectName or Subject is required")
	}
	present := t.sim.object(p.DN + `\` + name)
	if present != nil {
		// A repeat issues again: whoever repeats without looking leaves a second
		// certificate behind.
		t.sim.stage.Ledger.Duplicate(simkit.Entry{Kind: kindObject, ID: present.guid, Attrs: present.attrs(), By: t.by, How: t.operation})
		if present.inError {
			return failure(http.StatusBadRequest, "Certificate "+present.dn()+" is in error and must be reset first")
		}
		present.disabled = false
		t.begin(present, csr)
		return t.named(present)
	}
	made := &object{guid: newGUID(), parent: p.DN, name: name, created: t.now, origin: o.Origin, customFields: o.CustomFields}
	for _, attribute := range o.CASpecificAttributes {
		if attribute.Name == "Origin" && made.origin == "" {
			made.origin = attribute.Value
		}
	}
	t.sim.world.objects = append(t.sim.world.objects, made)
	t.sim.stage.Ledger.Issue(simkit.Entry{Kind: kindObject, ID: made.guid, Attrs: made.attrs(), By: t.by, How: t.operation})
	t.begin(made, csr)
	return t.named(made)
}

func (t *turn) named(o *object) simkit.Answer {
	return simkit.JSON(http.StatusOK, map[string]any{"CertificateDN": o.dn(), "Guid": o.guid})
}

// begin puts an object into process.
func (t *turn) begin(o *object, csr *x509.CertificateRequest) {
	b := t.behaviour
	o.request, o.stage, o.status, o.inError = csr, stagePosted, "Post CSR", false
	o.polls, o.ready = b.StagePolls, t.now.Add(time.Duration(b.StageTime))
	if b.NeedApproval {
		t.sim.world.serial++
		o.stage, o.status = stageApproval, "Pending workflow approval"
		o.ticket = `\VED\Workflow Tickets\` + strconv.Itoa(t.sim.world.serial)
		t.sim.stage.Events.Append(EventTicket, t.operation, map[string]string{"dn": o.dn(), "ticket": o.ticket})
	}
}

// check reads a request for a certificate and holds it against the policy.
func (p *policy) check(text string) (*x509.CertificateRequest, string) {
	if p.ServiceGenerated {
		return nil, "Policy does not allow user provided certificate requests: CsrGeneration is ServiceGenerated"
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, "PKCS10 is missing or cannot be read"
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || csr.CheckSignature() != nil {
		return nil, "PKCS10 cannot be read or is not signed by its key"
	}
	if p.OrganizationLocked && !slices.Equal(csr.Subject.Organization, []string{p.Organization}) {
		return nil, "PKCS#10 data does not comply with policy: Organization must be " + p.Organization
	}
	for _, name := range append([]string{csr.Subject.CommonName}, csr.DNSNames...) {
		if len(p.Domains) > 0 && !slices.ContainsFunc(p.Domains, func(d string) bool { return name == d || strings.HasSuffix(name, "."+d) }) {
			return nil, "PKCS#10 data does not comply with policy: " + name + " is not in a whitelisted domain"
		}
	}
	switch key := csr.PublicKey.(type) {
	case *rsa.PublicKey:
		if p.KeyAlgorithm == "ECC" || key.N.BitLen() < p.MinimumBits {
			return nil, "PKCS#10 data does not comply with policy: the key"
		}
	case *ecdsa.PublicKey:
		if p.KeyAlgorithm == "RSA" {
			return nil, "PKCS#10 data does not comply with policy: the key algorithm must be RSA"
		}
	}
	return csr, ""
}

// step moves an object in process one poll further; in the end a certificate is there.
func (t *turn) step(o *object) {
	if o.request == nil || o.stage == stageApproval || o.inError {
		return
	}
	if t.behaviour.FailIssuing != "" {
		o.inError, o.status = true, "Post CSR failed with error: "+t.behaviour.FailIssuing
		return
	}
	if o.polls > 0 || t.now.Before(o.ready) {
		if o.polls = max(o.polls-1, 0); o.polls <= 1 {
			o.stage, o.status = stageRetrieved, "Retrieve Certificate"
		}
		return
	}
	certificate, err := t.sim.issuing.issue(o.request, t.now, time.Duration(t.behaviour.CertificateLife), t.behaviour.WrongKey)
	if err != nil {
		o.inError, o.status = true, "Post CSR failed with error: the CA cannot sign the request"
		return
	}
	if o.current != nil {
		o.history = append([]*issued{o.current}, o.history...)
	}
	t.sim.world.serial++
	o.current = &issued{certificate: certificate, vaultID: t.sim.world.serial, thumbprint: thumbprintOf(certificate)}
	o.request, o.stage, o.status = nil, stageDone, ""
	t.sim.stage.Ledger.Issue(simkit.Entry{Kind: kindCertificate, ID: o.current.thumbprint, Attrs: o.certificateAttrs(o.current), By: t.by, How: t.operation})
}

func retrieveCertificate(t *turn) simkit.Answer {
	var o order
	if !t.read(&o) || o.CertificateDN == "" {
		return failure(http.StatusBadRequest, "CertificateDN is required")
	}
	at := t.sim.object(o.CertificateDN)
	if !t.visible(at) {
		answer := failure(http.StatusBadRequest, "Certificate "+o.CertificateDN+" does not exist.")
		answer.Reason = "Certificate does not exist."
		return answer
	}
	if o.IncludePrivateKey {
		return failure(http.StatusBadRequest, "Private key is not available")
	}
	busy := at.request != nil
	if busy && !at.inError && (at.polls > 0 || t.now.Before(at.ready) || at.stage == stageApproval) {
		answer := t.progress(at, http.StatusAccepted, "being processed")
		t.step(at)
		return answer
	}
	t.step(at)
	switch {
	case at.inError:
		return t.progress(at, http.StatusInternalServerError, "has encountered an error while processing")
	case at.current == nil:
		return failure(http.StatusBadRequest, "Certificate "+at.dn()+" has no certificate")
	}
	return t.data(at, at.current, o)
}

// progress tells where an object in process is, in the status line and in the body.
func (t *turn) progress(o *object, status int, words string) simkit.Answer {
	body := map[string]any{"Stage": o.stage, "Status": o.status}
	answer := simkit.JSON(status, body)
	answer.Reason = fmt.Sprintf("Certificate %s %s, Status: %s, Stage: %d.", o.dn(), words, o.status, o.stage)
	return answer
}

func (t *turn) data(o *object, i *issued, wanted order) simkit.Answer {
	bundle := t.sim.issuing.bundle(i.certificate, wanted.IncludeChain, wanted.RootFirstOrder)
	return simkit.JSON(http.StatusOK, map[string]any{
		"CertificateData": base64.StdEncoding.EncodeToString(bundle), "Filename": o.name + ".cer", "Format": "Base64",
	})
}

func retrieveArchived(t *turn) simkit.Answer {
	for _, o := range t.sim.world.objects {
		for _, i := range o.all() {
			if strconv.Itoa(i.vaultID) == t.id && !o.deleted && t.visible(o) {
				return t.data(o, i, order{})
			}
		}
	}
	return failure(http.StatusBadRequest, "VaultId "+t.id+" does not exist")
}

func renewCertificate(t *turn) simkit.Answer {
	var o order
	if !t.read(&o) || o.CertificateDN == "" {
		return failure(http.StatusBadRequest, "CertificateDN is required")
	}
	at := t.sim.object(o.CertificateDN)
	if !t.visible(at) {
		return failure(http.StatusBadRequest, "Certificate "+o.CertificateDN+" does not exist.")
	}
	if at.request != nil || at.current == nil {
		return simkit.JSON(http.StatusOK, map[string]any{"Success": false, "Error": "The certificate is in process or in error and cannot be renewed"})
	}
	csr, problem := t.sim.world.policies[strings.ToLower(at.parent)].check(o.PKCS10)
	if problem != "" {
		return simkit.JSON(http.StatusOK, map[string]any{"Success": false, "Error": problem})
	}
	t.begin(at, csr)
	return simkit.JSON(http.StatusOK, map[string]any{"Success": true, "Stage": stageRetrieved})
}

func revokeCertificate(t *turn) simkit.Answer {
	var o order
	if !t.read(&o) || o.CertificateDN == "" && o.Thumbprint == "" {
		return failure(http.StatusBadRequest, "CertificateDN or Thumbprint is required")
	}
	at, certificate := t.sim.byThumbprint(o.Thumbprint)
	if o.Thumbprint == "" {
		if at = t.sim.object(o.CertificateDN); at != nil {
			certificate = at.current
		}
	}
	if !t.visible(at) || certificate == nil {
		return failure(http.StatusBadRequest, "Certificate does not exist or you do not have sufficient rights to the object.")
	}
	if certificate.revoked {
		return simkit.JSON(http.StatusOK, map[string]any{"Success": false, "Requested": false, "Revoked": true, "Error": "Certificate is already revoked"})
	}
	t.sim.endCertificate(at, certificate, t.by, t.operation)
	if o.Disable {
		t.retire(at)
	}
	return simkit.JSON(t.behaviour.RevokeStatus, map[string]any{"Success": true, "Requested": true, "Revoked": t.behaviour.RevokeStatus == http.StatusOK})
}

// retire disables an object: it stays in the tree and counts for nothing.
func (t *turn) retire(o *object) {
	if o.disabled {
		return
	}
	o.disabled = true
	t.sim.stage.Ledger.Revoke(simkit.Entry{Kind: kindObject, ID: o.guid, Attrs: o.attrs(), By: t.by, How: t.operation})
}

// inProcess finds the object of a reset or a retry.
func (t *turn) inProcess() (*object, order, *simkit.Answer) {
	var o order
	if !t.read(&o) || o.CertificateDN == "" {
		answer := failure(http.StatusBadRequest, "CertificateDN is required")
		return nil, o, &answer
	}
	at := t.sim.object(o.CertificateDN)
	if !t.visible(at) {
		answer := failure(http.StatusBadRequest, fmt.Sprintf("CertificateDN error. CertificateDN: %q does not exist or you do not have sufficient rights to the object.", o.CertificateDN))
		return nil, o, &answer
	}
	return at, o, nil
}

func resetCertificate(t *turn) simkit.Answer {
	at, o, refused := t.inProcess()
	if refused != nil {
		return *refused
	}
	if at.request == nil {
		return failure(http.StatusBadRequest, "Reset is not completed. No reset is required for the certificate.")
	}
	csr := at.request
	at.request, at.stage, at.status, at.inError, at.ticket = nil, stageDone, "", false, ""
	if o.Restart {
		t.begin(at, csr)
	}
	return simkit.JSON(http.StatusOK, map[string]any{"ProcessingResetCompleted": true})
}

func retryCertificate(t *turn) simkit.Answer {
	at, _, refused := t.inProcess()
	if refused != nil {
		return *refused
	}
	if !at.inError {
		return failure(http.StatusBadRequest, "Retry is not possible: the certificate is not in error.")
	}
	at.inError = false
	return simkit.JSON(http.StatusOK, map[string]any{"Success": true})
}
