package venafisim

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // thumbprints are SHA-1 in the platform's API
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// issuingCA is the authority behind the platform: a root that signs one intermediate,
// which signs what clients ask for.
type issuingCA struct {
	root, intermediate *x509.Certificate
	key                *ecdsa.PrivateKey
	rootPEM            []byte
	intermediatePEM    []byte
}

func newIssuingCA(now time.Time) (*issuingCA, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key of the issuing root: %w", err)
	}
	root, err := authorityCertificate("Simulated issuing root", now, nil, &rootKey.PublicKey, rootKey)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key of the issuing CA: %w", err)
	}
	intermediate, err := authorityCertificate("Simulated issuing CA", now, root, &key.PublicKey, rootKey)
	if err != nil {
		return nil, err
	}
	return &issuingCA{root: root, intermediate: intermediate, key: key, rootPEM: encode(root), intermediatePEM: encode(intermediate)}, nil
}

func authorityCertificate(name string, now time.Time, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(20, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return x509.ParseCertificate(der)
}

func newSerial() *big.Int {
	var random [15]byte
	_, _ = rand.Read(random[:]) // never fails, see its documentation
	return new(big.Int).SetBytes(random[:])
}

// issue signs a request.
func (ca *issuingCA) issue(request *x509.CertificateRequest, now time.Time, life time.Duration, wrongKey bool) (*x509.Certificate, error) {
	public := request.PublicKey
	if wrongKey {
		other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		public = &other.PublicKey
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: request.Subject,
		DNSNames: request.DNSNames, EmailAddresses: request.EmailAddresses, IPAddresses: request.IPAddresses, URIs: request.URIs,
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(life),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.intermediate, public, ca.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func encode(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}

// bundle is a certificate with its chain in PEM with the line ends of Windows, as the
// platform writes them.
func (ca *issuingCA) bundle(certificate *x509.Certificate, chain, rootFirst bool) []byte {
	blocks := [][]byte{encode(certificate)}
	if chain && rootFirst {
		blocks = [][]byte{ca.rootPEM, ca.intermediatePEM, blocks[0]}
	} else if chain {
		blocks = append(blocks, ca.intermediatePEM, ca.rootPEM)
	}
	return bytes.ReplaceAll(bytes.Join(blocks, nil), []byte("\n"), []byte("\r\n"))
}

// thumbprintOf is SHA-1 in upper-case hex.
func thumbprintOf(certificate *x509.Certificate) string {
	sum := sha1.Sum(certificate.Raw) //nolint:gosec // as above
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// replace signs a certificate of the same names with another key.
func (ca *issuingCA) replace(was *x509.Certificate, now time.Time) (*x509.Certificate, error) {
	request := &x509.CertificateRequest{Subject: was.Subject, DNSNames: was.DNSNames}
	return ca.issue(request, now, was.NotAfter.Sub(was.NotBefore), true)
}
