package venafisim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// locked is a value of a policy that requests may or may not change.
func locked(value any, isLocked bool) map[string]any {
	return map[string]any{"Value": value, "Locked": isLocked}
}

func checkPolicy(t *turn) simkit.Answer {
	var o order
	if !t.read(&o) || o.PolicyDN == "" {
		return failure(http.StatusBadRequest, "PolicyDN is required")
	}
	p := t.policyAt(o.PolicyDN)
	if p == nil {
		return failure(http.StatusBadRequest, "PolicyDN: "+o.PolicyDN+" does not exist")
	}
	generation := "UserProvided"
	if p.ServiceGenerated {
		generation = "ServiceGenerated"
	}
	algorithm, bits := p.KeyAlgorithm, p.MinimumBits
	if algorithm == "" {
		algorithm = "RSA"
	}
	if bits == 0 {
		bits = 2048
	}
	domains := p.Domains
	if domains == nil {
		domains = []string{}
	}
	document := map[string]any{
		"Policy": map[string]any{
			"Subject": map[string]any{
				"Organization": locked(p.Organization, p.OrganizationLocked), "City": locked("", false), "Country": locked("", false),
				"State": locked("", false), "OrganizationalUnit": map[string]any{"Values": []string{}, "Locked": false},
			},
			"KeyPair": map[string]any{
				"KeyAlgorithm": locked(algorithm, p.KeyAlgorithm != ""), "KeySize": locked(bits, p.MinimumBits != 0),
				"EllipticCurve": locked("P256", false),
			},
			"CertificateAuthority": locked(`\VED\Policy\Simulated CA`, true), "CsrGeneration": locked(generation, true),
			"KeyGeneration": locked("Central", false), "ManagementType": locked("Enrollment", false),
			"WhitelistedDomains": domains, "WildcardsAllowed": false, "UniqueSubjectEnforced": false, "PrivateKeyReuseAllowed": false,
			"SubjAltNameDnsAllowed": true, "SubjAltNameEmailAllowed": true, "SubjAltNameIpAllowed": true, "SubjAltNameUpnAllowed": true, "SubjAltNameUriAllowed": true,
		},
		"Error": "",
	}
	if o.PKCS10 != "" {
		_, problem := p.check(o.PKCS10)
		document["CSR"] = map[string]any{"Details": map[string]any{}, "Enrollable": problem == ""}
		document["Error"] = problem
	}
	return simkit.JSON(http.StatusOK, document)
}

// guidOfDN answers 200 whatever it found; the result says what.
func guidOfDN(t *turn) simkit.Answer {
	var q struct {
		ObjectDN string `json:"ObjectDN"`
	}
	_ = t.read(&q) // an empty DN is found nowhere
	if p := t.policyAt(q.ObjectDN); p != nil {
		return simkit.JSON(http.StatusOK, map[string]any{"GUID": p.guid, "ClassName": "Policy", "Result": 1})
	}
	if o := t.sim.object(q.ObjectDN); t.visible(o) {
		return simkit.JSON(http.StatusOK, map[string]any{"GUID": o.guid, "ClassName": "X509 Server Certificate", "Result": 1})
	}
	return simkit.JSON(http.StatusOK, map[string]any{"Result": 400, "Error": "Object does not exist"})
}

func details(i *issued) map[string]any {
	if i == nil {
		return map[string]any{}
	}
	c := i.certificate
	return map[string]any{
		"CN": c.Subject.CommonName, "Subject": c.Subject.String(), "Issuer": c.Issuer.String(), "Serial": strings.ToUpper(c.SerialNumber.Text(16)),
		"Thumbprint": i.thumbprint, "ValidFrom": c.NotBefore.UTC().Format(time.RFC3339), "ValidTo": c.NotAfter.UTC().Format(time.RFC3339),
		"SANS": map[string]any{"DNS": c.DNSNames}, "SubjectAltNameDNS": c.DNSNames,
	}
}

// summary is an object in a list.
func (o *object) summary() map[string]any {
	return map[string]any{
		"CreatedOn": o.created.UTC().Format(time.RFC3339Nano), "DN": o.dn(), "Guid": o.guid, "Name": o.name, "ParentDn": o.parent,
		"SchemaClass": "X509 Server Certificate", "X509": details(o.current),
		"_links": []map[string]any{{"Details": "/vedsdk/certificates/" + url.PathEscape(o.guid)}},
	}
}

func (t *turn) one() (*object, *simkit.Answer) {
	o := t.sim.objectByGUID(t.id)
	if !t.visible(o) {
		answer := failure(http.StatusBadRequest, "Certificate "+t.id+" does not exist or you do not have sufficient rights to the object.")
		return nil, &answer
	}
	return o, nil
}

func readCertificate(t *turn) simkit.Answer {
	o, refused := t.one()
	if refused != nil {
		return *refused
	}
	document := o.summary()
	document["CertificateDetails"] = details(o.current)
	document["ProcessingDetails"] = map[string]any{}
	if o.request != nil {
		processing := map[string]any{"Stage": o.stage, "Status": o.status, "InError": o.inError, "InProcess": !o.inError}
		if o.ticket != "" {
			processing["TicketDN"] = o.ticket
		}
		document["ProcessingDetails"] = processing
	}
	document["CustomFields"], document["Origin"], document["Disabled"], document["Consumers"] = o.customFields, o.origin, o.disabled, []string{}
	return simkit.JSON(http.StatusOK, document)
}

func previousVersions(t *turn) simkit.Answer {
	o, refused := t.one()
	if refused != nil {
		return *refused
	}
	versions := []map[string]any{}
	for _, i := range o.history {
		expired := !t.now.Before(i.certificate.NotAfter)
		if t.query.Get("excluderevoked") == "1" && i.revoked || t.query.Get("excludeexpired") == "1" && expired {
			continue
		}
		status := ""
		if i.revoked {
			status = "Revoked"
		}
		versions = append(versions, map[string]any{"VaultId": i.vaultID, "RevocationStatus": status, "CertificateDetails": details(i)})
	}
	return simkit.JSON(http.StatusOK, map[string]any{"PreviousVersions": versions})
}

// attributeData is the body of a change.
type attributeData struct {
	AttributeData []struct {
		Name  string   `json:"Name"`
		Value []string `json:"Value"`
	} `json:"AttributeData"`
}

func changeCertificate(t *turn) simkit.Answer {
	o, refused := t.one()
	if refused != nil {
		return *refused
	}
	var change attributeData
	if json.Unmarshal(t.body, &change) != nil {
		return failure(http.StatusBadRequest, "AttributeData cannot be read")
	}
	for _, attribute := range change.AttributeData {
		if attribute.Name == "Disabled" && slices.Equal(attribute.Value, []string{"1"}) {
			t.retire(o)
		}
	}
	return simkit.Answer{Status: http.StatusOK}
}

func deleteCertificate(t *turn) simkit.Answer {
	o, refused := t.one()
	if refused != nil {
		return *refused
	}
	t.sim.remove(o, t.by, t.operation)
	return simkit.JSON(http.StatusOK, map[string]any{"Success": true})
}

// remove deletes an object with its vault data. The CA is not told: what it has signed
// stays valid. The lock is held.
func (s *Sim) remove(o *object, by simkit.Actor, how string) {
	o.deleted = true
	if !o.disabled {
		s.stage.Ledger.Revoke(simkit.Entry{Kind: kindObject, ID: o.guid, Attrs: o.attrs(), By: by, How: how})
	}
}

func searchCertificates(t *turn) simkit.Answer {
	matching := []*object{}
	for _, o := range t.sim.world.objects {
		if !o.deleted && t.visible(o) && matchesQuery(o, t.query) {
			matching = append(matching, o)
		}
	}
	if t.request.Method == http.MethodHead {
		return simkit.Answer{Status: http.StatusOK, Header: http.Header{"X-Record-Count": {strconv.Itoa(len(matching))}}}
	}
	limit, offset := 100, 0
	if n, err := strconv.Atoi(t.query.Get("limit")); err == nil && n > 0 {
		limit = n
	}
	if n, err := strconv.Atoi(t.query.Get("offset")); err == nil && n > 0 {
		offset = n
	}
	page := matching[min(offset, len(matching)):min(offset+limit, len(matching))]
	if most := t.behaviour.ShortLists; most != nil {
		page = page[:min(len(page), *most)]
	}
	shown := []map[string]any{}
	for _, o := range page {
		shown = append(shown, o.summary())
	}
	links := []map[string]any{}
	if offset+limit < len(matching) {
		next := t.query
		next.Set("offset", strconv.Itoa(offset+limit))
		links = append(links, map[string]any{"Next": "/vedsdk/certificates/?" + next.Encode()})
	}
	return simkit.JSON(http.StatusOK, map[string]any{
		"Certificates": shown, "DataRange": fmt.Sprintf("Certificates %d - %d", offset+1, offset+len(page)), "TotalCount": len(matching), "_links": links,
	})
}

func matchesQuery(o *object, query url.Values) bool {
	equal := func(key, value string) bool {
		return !query.Has(key) || strings.EqualFold(query.Get(key), value)
	}
	cn, thumbprint, serial := "", "", ""
	if o.current != nil {
		cn, thumbprint, serial = o.current.certificate.Subject.CommonName, o.current.thumbprint, o.current.certificate.SerialNumber.Text(16)
	}
	below := query.Get("parentdnrecursive")
	return equal("parentdn", o.parent) && equal("name", o.name) && equal("cn", cn) && equal("thumbprint", thumbprint) && equal("serial", serial) &&
		equal("stage", strconv.Itoa(o.stage)) && equal("disabled", bit(o.disabled)) && equal("inerror", bit(o.inError)) && equal("pendingworkflow", bit(o.ticket != "")) &&
		(below == "" || strings.EqualFold(o.parent, below) || strings.HasPrefix(strings.ToLower(o.parent), strings.ToLower(below)+`\`))
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
