package venafisim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"time"
)

// webKey is one JSON Web Key (RFC 7517), as far as it is used here.
type webKey struct {
	KeyType string `json:"kty"`
	ID      string `json:"kid"`
	Modulus string `json:"n"`
	Power   string `json:"e"`
	Curve   string `json:"crv"`
	X       string `json:"x"`
	Y       string `json:"y"`
}

// audience is one text or a list of them.
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(document []byte) error {
	var one string
	if json.Unmarshal(document, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(document, (*[]string)(a))
}

// subjectOf checks a signed JWT against the mappings. The lock is held.
func (s *Sim) subjectOf(token string, now time.Time) (subject, problem string) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", "The JWT is malformed"
	}
	var header struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}
	var claims struct {
		Issuer    string   `json:"iss"`
		Subject   string   `json:"sub"`
		Audience  audience `json:"aud"`
		Expires   float64  `json:"exp"`
		NotBefore float64  `json:"nbf"`
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !part(parts[0], &header) || !part(parts[1], &claims) {
		return "", "The JWT is malformed"
	}
	at := slices.IndexFunc(s.world.issuers, func(i JWTIssuer) bool { return i.Issuer == claims.Issuer })
	if at < 0 {
		return "", "The JWT's issuer is not trusted"
	}
	mapping := s.world.issuers[at]
	if !slices.Contains(claims.Audience, mapping.Purpose) {
		return "", "The JWT is meant for another purpose"
	}
	if claims.Expires == 0 || float64(now.Unix()) >= claims.Expires || float64(now.Unix()) < claims.NotBefore-60 {
		return "", "The JWT has expired or is not valid yet"
	}
	var set struct {
		Keys []webKey `json:"keys"`
	}
	_ = json.Unmarshal(mapping.Keys, &set) // without a key nothing is signed
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	for _, key := range set.Keys {
		if (key.ID == "" || key.ID == header.KeyID) && key.signed(header.Algorithm, digest[:], signature) {
			return claims.Subject, ""
		}
	}
	return "", "The JWT's signature is wrong"
}

func part(text string, into any) bool {
	document, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && json.Unmarshal(document, into) == nil
}

// signed checks a signature by RS256 or ES256.
func (k webKey) signed(algorithm string, digest, signature []byte) bool {
	switch {
	case k.KeyType == "RSA" && algorithm == "RS256":
		power := number(k.Power)
		if !power.IsInt64() {
			return false
		}
		public := &rsa.PublicKey{N: number(k.Modulus), E: int(power.Int64())}
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, signature) == nil
	case k.KeyType == "EC" && k.Curve == "P-256" && algorithm == "ES256" && len(signature) == 64 && number(k.X).BitLen() <= 256 && number(k.Y).BitLen() <= 256:
		point := append([]byte{4}, number(k.X).FillBytes(make([]byte, 32))...)
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(point, number(k.Y).FillBytes(make([]byte, 32))...))
		return err == nil && ecdsa.Verify(public, digest, new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	}
	return false
}

func number(text string) *big.Int {
	bytes, _ := base64.RawURLEncoding.DecodeString(text) // what is broken signs nothing
	return new(big.Int).SetBytes(bytes)
}
