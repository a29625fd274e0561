package cloudfoundry

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// externalDays is how long a certificate that is signed here is valid, unless a
	// credential says otherwise.
	externalDays = 90
	// backdated lets servers whose clock is slow take a certificate at once.
	backdated = 5 * time.Minute
)

// signer is the certificate authority of the login Secret, which signs what SAP calls
// external certificates.
type signer struct {
	certificate *x509.Certificate
	key         crypto.Signer
	// chain is the authority's certificate and what is above it, PEM.
	chain string
}

// readSigner reads the keys signer.crt and signer.key, if there are any.
func readSigner(data map[string]material.Secret) (*signer, error) {
	chain, key := data["signer.crt"], data["signer.key"]
	if chain.Empty() && key.Empty() {
		return nil, nil //nolint:nilnil // most logins have none
	}
	pair, err := tls.X509KeyPair([]byte(chain.Reveal()), []byte(key.Reveal()))
	if err != nil {
		return nil, upstream.Errorf(upstream.InvalidSpec, "signer.crt and signer.key of the login Secret must be a certificate authority with its key, PEM")
	}
	private, signs := pair.PrivateKey.(crypto.Signer)
	if !signs || pair.Leaf == nil || !pair.Leaf.IsCA {
		return nil, upstream.Errorf(upstream.InvalidSpec, "signer.crt of the login Secret must begin with the certificate of an authority that may sign others")
	}
	s := &signer{certificate: pair.Leaf, key: private}
	for _, der := range pair.Certificate {
		s.chain += encoded(der)
	}
	return s, nil
}

func encoded(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// Draft implements upstream.Drafter: of an external certificate the key is made and the
// certificate signed before the platform hears of it. SAP takes a certificate once over all
// keys, so each version has its own; its name is the version's.
func (k *keys) Draft(r upstream.Request, random io.Reader) (material.Material, error) {
	var p credentialParameters
	if json.Unmarshal(r.Parameters, &p) != nil {
		return material.Material{}, upstream.Errorf(upstream.InvalidSpec, "the credential's %s cannot be read as JSON", Member)
	}
	if p.KeyType != keyExternal {
		return material.Material{}, nil
	}
	if k.signer == nil {
		return material.Material{}, errNoSigner()
	}
	return k.signer.draft(p, r.Name, k.now(), random)
}

func errNoSigner() error {
	return upstream.Errorf(upstream.InvalidSpec, "keyType %s needs the keys signer.crt and signer.key in the issuer's login Secret", keyExternal)
}

func (s *signer) draft(p credentialParameters, name string, now time.Time, random io.Reader) (material.Material, error) {
	days, bits := p.ValidityDays, p.KeyLength
	if days == 0 {
		days = externalDays
	}
	if bits == 0 {
		bits = 2048
	}
	until := now.AddDate(0, 0, days)
	// No certificate outlives who signed it; an end that nobody sees would come as a
	// surprise.
	if until.After(s.certificate.NotAfter) {
		until = s.certificate.NotAfter
	}
	if !until.After(now) {
		return material.Material{}, upstream.Errorf(upstream.InvalidSpec, "the authority in signer.crt of the login Secret has expired; renew it")
	}
	key, err := rsa.GenerateKey(random, bits)
	if err != nil {
		return material.Material{}, upstream.Errorf(upstream.Retryable, "no key can be made: randomness is missing")
	}
	serial, err := rand.Int(random, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return material.Material{}, upstream.Errorf(upstream.Retryable, "no serial number can be made: randomness is missing")
	}
	leaf := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-backdated), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(random, leaf, s.certificate, &key.PublicKey, s.key)
	if err != nil {
		return material.Material{}, upstream.Errorf(upstream.InvalidSpec, "the authority in signer.crt of the login Secret cannot sign a certificate")
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return material.Material{}, upstream.Errorf(upstream.InvalidSpec, "the key cannot be written")
	}
	return material.Material{
		Certificate: encoded(der), Chain: s.chain,
		PrivateKey: material.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))),
	}, nil
}

// completed joins what the platform tells of an external certificate with what was drafted.
// A key of another certificate is nobody's that holds the drafted private key.
func completed(told, drafted material.Material) (material.Material, time.Time, error) {
	leaf, _, until, err := splitChain(drafted.Certificate)
	if err != nil || drafted.PrivateKey.Empty() {
		return told, until, upstream.Errorf(upstream.InvalidSpec, "the certificate is missing; it must be drafted before the call")
	}
	if told.Certificate != "" && told.Certificate != leaf {
		return told, until, upstream.Errorf(upstream.Rejected, "the platform made a key of another certificate than was sent")
	}
	told.Certificate, told.Chain, told.PrivateKey = drafted.Certificate, drafted.Chain, drafted.PrivateKey
	return told, until, nil
}
