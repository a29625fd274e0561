package venafi

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // thumbprints are SHA-1 in the platform's API, and prove nothing here
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// Kinds of keys.
const (
	keyECDSA256 = "ECDSA256"
	keyECDSA384 = "ECDSA384"
	keyRSA2048  = "RSA2048"
	keyRSA3072  = "RSA3072"
	keyRSA4096  = "RSA4096"
)

// keyKind is a key's algorithm as policies write it, and its size in bits.
func keyKind(key string) (algorithm string, bits int) {
	switch cmp.Or(key, keyECDSA256) {
	case keyECDSA256:
		return "ECC", 256
	case keyECDSA384:
		return "ECC", 384
	case keyRSA2048:
		return "RSA", 2048
	case keyRSA3072:
		return "RSA", 3072
	case keyRSA4096:
		return "RSA", 4096
	}
	return "", 0
}

// Draft implements upstream.Drafter: the key is made here and never leaves for the
// platform, which sees a request that is signed by it.
func (a *certificates) Draft(r upstream.Request, random io.Reader) (material.Material, error) {
	parameters, err := parse(r.Parameters, useCertificates)
	if err != nil {
		return material.Material{}, err
	}
	var key crypto.Signer
	switch algorithm, bits := keyKind(parameters.Certificate.Key); {
	case algorithm == "RSA":
		key, err = rsa.GenerateKey(random, bits)
	case bits == 256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), random)
	case bits == 384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), random)
	default:
		return material.Material{}, upstream.Errorf(upstream.InvalidSpec, "certificate.key %q is not known", upstream.Excerpt(parameters.Certificate.Key))
	}
	if err != nil {
		return material.Material{}, upstream.Errorf(upstream.Retryable, "no key can be made: randomness is missing")
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return material.Material{}, upstream.Errorf(upstream.InvalidSpec, "the key cannot be written")
	}
	return material.Material{PrivateKey: material.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))}, nil
}

// signer reads a key that was drafted.
func signer(key material.Secret) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(key.Reveal()))
	if block == nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "the private key is missing; it must be drafted before the call")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if signs, ok := parsed.(crypto.Signer); err == nil && ok {
		return signs, nil
	}
	return nil, upstream.Errorf(upstream.InvalidSpec, "the private key cannot be read")
}

// request makes the PKCS#10 for a key.
func (p certificateParameters) request(key crypto.Signer) (string, error) {
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: p.CommonName}, DNSNames: p.DNSNames}
	if p.Organization != "" {
		template.Subject.Organization = []string{p.Organization}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return "", upstream.Errorf(upstream.InvalidSpec, "no request can be made of these names")
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// maxCertificates bounds what is parsed of one answer: huge chains burn CPU.
const maxCertificates = 12

// errNoCertificate is what is wrong with a text that holds none.
var errNoCertificate = errors.New("it holds no certificate in PEM")

// parseChain reads certificates from PEM.
func parseChain(text string) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if len(chain) == maxCertificates {
			return nil, fmt.Errorf("it holds more than %d certificates", maxCertificates)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("it holds a certificate that cannot be read")
		}
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		return nil, errNoCertificate
	}
	return chain, nil
}

// sameKey reports whether a certificate is for this key.
func sameKey(certificate *x509.Certificate, key crypto.Signer) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(certificate.PublicKey)
}

// flaw says what is wrong with a certificate for this request; empty if nothing is.
func (a *certificates) flaw(chain []*x509.Certificate, key crypto.Signer, wanted certificateParameters, now time.Time) string {
	leaf := chain[0]
	switch {
	case !sameKey(leaf, key):
		return "it is for another key"
	case now.After(leaf.NotAfter):
		return "it has expired"
	case leaf.Subject.CommonName != wanted.CommonName:
		return "its common name is " + upstream.Excerpt(leaf.Subject.CommonName)
	}
	for _, name := range wanted.DNSNames {
		if !slices.ContainsFunc(leaf.DNSNames, func(have string) bool { return strings.EqualFold(have, name) }) {
			return "it lacks the DNS name " + upstream.Excerpt(name)
		}
	}
	for i, certificate := range chain[:len(chain)-1] {
		if err := certificate.CheckSignatureFrom(chain[i+1]); err != nil {
			return "its chain is broken"
		}
	}
	if a.roots == nil {
		return ""
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	// A start in the near future is a clock that differs, which users of the certificate
	// find out better than we do.
	at := now
	if at.Before(leaf.NotBefore) {
		at = leaf.NotBefore
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: a.roots, Intermediates: intermediates, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return "it does not chain to the issuer's issuingCABundle"
	}
	return ""
}

// ordered puts the leaf first and each signer behind what it signed, whatever order they
// came in. Roots are left out: who trusts one has it.
func ordered(certificates []*x509.Certificate, key crypto.Signer) []*x509.Certificate {
	at := slices.IndexFunc(certificates, func(c *x509.Certificate) bool { return sameKey(c, key) })
	if at < 0 {
		return certificates
	}
	chain := []*x509.Certificate{certificates[at]}
	for len(chain) < len(certificates) {
		last := chain[len(chain)-1]
		next := slices.IndexFunc(certificates, func(c *x509.Certificate) bool {
			return !slices.ContainsFunc(chain, c.Equal) && string(c.RawSubject) == string(last.RawIssuer) && string(c.RawSubject) != string(c.RawIssuer)
		})
		if next < 0 {
			break
		}
		chain = append(chain, certificates[next])
	}
	return chain
}

// encode writes certificates as PEM.
func encode(certificates []*x509.Certificate) string {
	var out strings.Builder
	for _, certificate := range certificates {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
	}
	return out.String()
}

// thumbprint is how the platform names a certificate.
func thumbprint(certificate *x509.Certificate) string {
	sum := sha1.Sum(certificate.Raw) //nolint:gosec // as above
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}
