package cloudfoundry

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
)

// errForm says that an answer is not what the platform documents.
var errForm = errors.New("its body is not what the platform documents")

// tokenAnswer is that of any token endpoint.
type tokenAnswer struct {
	AccessToken string  `json:"access_token"`
	ExpiresIn   float64 `json:"expires_in"`
}

func decodeToken(body []byte) (tokenAnswer, bool) {
	var t tokenAnswer
	return t, json.Unmarshal(body, &t) == nil && t.AccessToken != ""
}

// messageOf takes what a refusal says out of the forms of the platform, Service Manager, the
// UAA and XSUAA. A 429 says text/plain and is JSON all the same, so types are not asked.
func messageOf(body []byte) string {
	var form struct {
		Errors []struct {
			Title  string `json:"title"`
			Detail string `json:"detail"`
		} `json:"errors"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Words       string `json:"description"`
	}
	if json.Unmarshal(body, &form) != nil {
		return ""
	}
	var words []string
	for _, e := range form.Errors {
		words = append(words, strings.TrimPrefix(e.Title+": "+e.Detail, ": "))
	}
	if form.Error != "" || form.Words != "" {
		words = append(words, strings.TrimPrefix(strings.TrimSuffix(form.Error+": "+form.Description+form.Words, ": "), ": "))
	}
	return strings.Join(words, "; ")
}

// resource is any object of the platform, with what keys and instances have.
type resource struct {
	GUID          string    `json:"guid"`
	Name          string    `json:"name"`
	Type          string    `json:"type"`
	CreatedAt     time.Time `json:"created_at"`
	LastOperation struct {
		Type        string `json:"type"`
		State       string `json:"state"`
		Description string `json:"description"`
	} `json:"last_operation"`
	Metadata struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Relationships struct {
		Instance relation `json:"service_instance"`
		Plan     relation `json:"service_plan"`
		Space    relation `json:"space"`
	} `json:"relationships"`
}

type relation struct {
	Data struct {
		GUID string `json:"guid"`
	} `json:"data"`
}

// page is one of a list.
type page struct {
	Pagination *struct {
		Total int `json:"total_results"`
		Pages int `json:"total_pages"`
	} `json:"pagination"`
	Resources []resource `json:"resources"`
}

func decodePage(body []byte) (page, error) {
	var p page
	if json.Unmarshal(body, &p) != nil || p.Pagination == nil || p.Pagination.Total < len(p.Resources) {
		return p, errForm
	}
	for _, r := range p.Resources {
		if !segment.MatchString(r.GUID) {
			return p, errForm
		}
	}
	return p, nil
}

// document is what a broker made of a key: that of it-rt stands under oauth, that of
// XSUAA at the top.
type document struct {
	ClientID     string `json:"clientid"`
	ClientSecret string `json:"clientsecret"`
	Certificate  string `json:"certificate"`
	Key          string `json:"key"`
	URL          string `json:"url"`
	TokenURL     string `json:"tokenurl"`
	CertURL      string `json:"certurl"`
}

// parseDetails reads the credentials of a key; of an external certificate there is no
// private key among them. The error never quotes them.
func parseDetails(body []byte, external bool) (m material.Material, expires time.Time, err error) {
	var whole struct {
		Credentials json.RawMessage `json:"credentials"`
	}
	if json.Unmarshal(body, &whole) != nil || len(whole.Credentials) == 0 {
		return m, expires, errForm
	}
	var nested struct {
		OAuth *document `json:"oauth"`
	}
	var d document
	if json.Unmarshal(whole.Credentials, &nested) != nil || nested.OAuth == nil {
		if json.Unmarshal(whole.Credentials, &d) != nil {
			return m, expires, errForm
		}
	} else {
		d = *nested.OAuth
	}
	if d.ClientID == "" || !external && d.ClientSecret == "" && (d.Certificate == "" || d.Key == "") {
		return m, expires, errors.New("the key has no client id with a secret or with a certificate and its key")
	}
	m = material.Material{ClientID: d.ClientID, Document: material.New(string(whole.Credentials)), Attributes: map[string]string{}}
	if d.URL != "" {
		m.Attributes["url"] = strings.TrimRight(d.URL, "/")
	}
	if endpoint := d.tokenEndpoint(); endpoint != "" {
		m.Attributes["tokenURL"] = endpoint
	}
	if external {
		if d.Certificate != "" {
			m.Certificate, _, expires, err = splitChain(lines(d.Certificate))
		}
		return m, expires, err
	}
	if d.ClientSecret != "" {
		m.ClientSecret = material.New(d.ClientSecret)
		return m, expires, nil
	}
	m.PrivateKey = material.New(lines(d.Key))
	m.Certificate, m.Chain, expires, err = splitChain(lines(d.Certificate))
	return m, expires, err
}

// tokenEndpoint is where tokens are had: verbatim where the document says it.
func (d document) tokenEndpoint() string {
	switch {
	case d.TokenURL != "":
		return d.TokenURL
	case d.CertURL != "" && d.Certificate != "":
		return strings.TrimRight(d.CertURL, "/") + "/oauth/token"
	case d.URL != "":
		return strings.TrimRight(d.URL, "/") + "/oauth/token"
	}
	return ""
}

// lines undoes line breaks that came as a backslash and an n.
func lines(text string) string { return strings.ReplaceAll(text, `\n`, "\n") }

// splitChain parts the leaf from those above it. The leaf's own end is what counts,
// whatever the text beside it says.
func splitChain(text string) (leaf, chain string, expires time.Time, err error) {
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" {
			return "", "", time.Time{}, errors.New("the key's certificate cannot be read")
		}
		if leaf == "" {
			leaf, expires = encoded(block.Bytes), certificate.NotAfter
			continue
		}
		chain += encoded(block.Bytes)
	}
	if leaf == "" {
		return "", "", time.Time{}, errors.New("the key's certificate is not PEM")
	}
	return leaf, chain, expires, nil
}
