package render

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/claviger-dev/claviger/internal/material"
)

// The profiles of PKCS#12 files.
const (
	// ProfileModern2023 is AES-256 with PBKDF2 and HMAC-SHA-256. It is the default.
	ProfileModern2023 = "Modern2023"
	// ProfileLegacyDES is Triple DES with HMAC-SHA-1, for Java 8 before update 301 and
	// Windows Server 2016. It protects nothing that the Secret does not.
	ProfileLegacyDES = "LegacyDES"
)

// keystoreKey is the key of the Secret, as cert-manager calls it.
const keystoreKey = "keystore.p12"

// keystoreMark stands where the other presets have a template, so that the hash tells a
// change of the profile. No template begins so: a Spec's data goes through the compiler.
const keystoreMark = "\x00pkcs12/"

// seedBytes are more than the salts and initialisation vectors of one file.
const seedBytes = 1024

func keystore(s Spec) (map[string]string, error) {
	profile := s.Profile
	if profile == "" {
		profile = ProfileModern2023
	}
	if _, err := encoder(profile); err != nil {
		return nil, err
	}
	return map[string]string{keystoreKey: keystoreMark + profile}, nil
}

func encoder(profile string) (*pkcs12.Encoder, error) {
	switch profile {
	case ProfileModern2023:
		return pkcs12.Modern2023, nil
	case ProfileLegacyDES:
		return pkcs12.LegacyDES, nil
	}
	return nil, fmt.Errorf("template: there is no profile %q: choose %s or %s", short(profile), ProfileModern2023, ProfileLegacyDES)
}

// errNoPassword: whoever renders has not read it.
var errNoPassword = errors.New("the password is missing")

// encodeKeystore makes the file. Its salts come from the version's nonce and not from the
// machine, so that the same version and password always are the same bytes; a salt need
// not be secret, only different for each version.
func encodeKeystore(profile string, fields map[string]string, in Input) (string, error) {
	if in.Password.Empty() {
		return "", errNoPassword
	}
	if in.Nonce == "" {
		return "", errors.New("the version has no nonce")
	}
	encoder, err := encoder(profile)
	if err != nil {
		return "", err
	}
	key, err := privateKey(fields[material.FieldPrivateKey])
	if err != nil {
		return "", err
	}
	leaf, err := certificates(fields[material.FieldCertificate])
	if err != nil {
		return "", err
	}
	above, err := certificates(fields[material.FieldChain])
	if err != nil {
		return "", err
	}
	all := append(leaf, above...)
	if len(all) == 0 {
		return "", errors.New("this credential has no .certificate")
	}
	print := sha256.Sum256(all[0].Raw)
	seed, err := hkdf.Key(sha256.New, []byte(in.Nonce), print[:], "claviger/pkcs12/v1/"+profile, seedBytes)
	if err != nil {
		return "", errors.New("the salts cannot be derived")
	}
	file, err := encoder.WithRand(bytes.NewReader(seed)).Encode(key, all[0], all[1:], in.Password.Reveal())
	if err != nil {
		// The library's own words are kept out: nobody has checked them for values.
		return "", errors.New("the file cannot be made of this key, certificate and password; a password has only characters of the Basic Multilingual Plane")
	}
	return string(file), nil
}

// privateKey reads the first block of PEM, in any of the three forms that keys have.
func privateKey(text string) (any, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("this credential has no .privateKey in PEM")
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	return nil, errors.New("the .privateKey is in no form that is known")
}

func certificates(text string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return all, nil
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("a certificate cannot be read")
		}
		all = append(all, certificate)
	}
}
