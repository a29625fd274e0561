package render

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/claviger-dev/claviger/internal/material"
)

// Shapes as upstreams announce them.
var (
	secretShape = material.Shape{Always: []string{"clientID", "clientSecret"}}
	neoShape    = material.Shape{Always: []string{"clientID", "clientSecret", "tokenURL"}, Sometimes: []string{"url"}}
	tokenShape  = material.Shape{Always: []string{"token", "url"}, Sometimes: []string{"scope", "identity", "expires"}}
	certShape   = material.Shape{Always: []string{"certificate", "privateKey", "serial"}, Sometimes: []string{"chain"}}
	keyShape    = material.Shape{Always: []string{"clientID", "clientSecret", "document"}, Sometimes: []string{"url", "tokenURL"}}
	x509Shape   = material.Shape{Always: []string{"clientID", "document", "certificate", "privateKey"}, Sometimes: []string{"chain", "url", "tokenURL"}}
)

func of(fields map[string]string) material.Material {
	m := material.Material{Attributes: map[string]string{}}
	for name, value := range fields {
		switch name {
		case "clientID":
			m.ClientID = value
		case "clientSecret":
			m.ClientSecret = material.New(value)
		case "certificate":
			m.Certificate = value
		case "chain":
			m.Chain = value
		case "privateKey":
			m.PrivateKey = material.New(value)
		case "token":
			m.Token = material.New(value)
		case "document":
			m.Document = material.New(value)
		default:
			m.Attributes[name] = value
		}
	}
	return m
}

func TestPresetsForEveryMaterial(t *testing.T) {
	for name, tc := range map[string]struct {
		spec   Spec
		fields map[string]string
		want   map[string]string
	}{
		"environment of a client with a token endpoint": {
			Spec{Preset: PresetEnvironment, Shape: neoShape},
			map[string]string{"clientID": "id", "clientSecret": "s", "tokenURL": "https://t", "url": "https://u"},
			map[string]string{"CLIENT_ID": "id", "CLIENT_SECRET": "s", "TOKEN_URL": "https://t"},
		},
		"environment of a token": {
			Spec{Preset: PresetEnvironment, Shape: tokenShape},
			map[string]string{"token": "t", "url": "https://u", "scope": "x"},
			map[string]string{"TOKEN": "t", "URL": "https://u"},
		},
		"environment of a certificate, whose PEM lacks its last line break": {
			Spec{Preset: PresetEnvironment, Shape: certShape},
			map[string]string{"certificate": "C", "chain": "I\n", "privateKey": "K"},
			map[string]string{"CERTIFICATE": "C\nI\n", "PRIVATE_KEY": "K\n"},
		},
		"one document with all that may be there": {
			Spec{Preset: PresetJSON, Shape: neoShape},
			map[string]string{"clientID": "id", "clientSecret": "s", "tokenURL": "https://t", "url": "https://u"},
			map[string]string{"credentials.json": `{"client_id":"id","client_secret":"s","token_url":"https://t","url":"https://u"}`},
		},
		"one document without what is not there": {
			Spec{Preset: PresetJSON, Shape: neoShape},
			map[string]string{"clientID": "id", "clientSecret": "s", "tokenURL": "https://t"},
			map[string]string{"credentials.json": `{"client_id":"id","client_secret":"s","token_url":"https://t"}`},
		},
		"one document of a certificate": {
			Spec{Preset: PresetJSON, Shape: certShape},
			map[string]string{"certificate": "C\n", "chain": "I\n", "privateKey": "K\n", "serial": "1"},
			map[string]string{"credentials.json": `{"certificate":"C\n","private_key":"K\n","chain":"I\n"}`},
		},
		"tls with a chain": {
			Spec{Preset: PresetTLS, Shape: certShape},
			map[string]string{"certificate": "C\n", "chain": "I\n", "privateKey": "K\n"},
			map[string]string{"tls.crt": "C\nI\n", "tls.key": "K\n"},
		},
		"tls without a chain": {
			Spec{Preset: PresetTLS, Shape: certShape},
			map[string]string{"certificate": "C\n", "privateKey": "K\n"},
			map[string]string{"tls.crt": "C\n", "tls.key": "K\n"},
		},
		"one file of key, certificate and chain": {
			Spec{Preset: PresetCombinedPEM, Shape: x509Shape},
			map[string]string{"certificate": "C", "chain": "I", "privateKey": "K", "clientID": "id", "document": "{}"},
			map[string]string{"tls-combined.pem": "K\nC\nI\n"},
		},
		"an access token": {
			Spec{Preset: PresetAccessToken, Shape: tokenShape}, map[string]string{"token": "t"}, map[string]string{"access-token": "t"},
		},
		"the document of a service key, byte for byte": {
			Spec{Preset: PresetSAPServiceKey, Shape: keyShape},
			map[string]string{"clientID": "id", "clientSecret": "s", "document": "{ \"oauth\":{}}\n"},
			map[string]string{"credentials.json": "{ \"oauth\":{}}\n"},
		},
		"the layout of a service key for a system that writes none": {
			Spec{Preset: PresetSAPServiceKey, Shape: neoShape},
			map[string]string{"clientID": "id", "clientSecret": `s"`, "tokenURL": "https://t", "url": "https://u"},
			map[string]string{"credentials.json": `{"oauth":{"clientid":"id","clientsecret":"s\"","tokenurl":"https://t","url":"https://u"}}`},
		},
		"a service binding of a client": {
			Spec{Preset: PresetServiceBinding, Shape: neoShape, BindingType: "oauth2", Provider: "sap"},
			map[string]string{"clientID": "id", "clientSecret": "s", "tokenURL": "https://t"},
			map[string]string{"type": "oauth2", "provider": "sap", "client-id": "id", "client-secret": "s", "token-uri": "https://t"},
		},
		"a service binding of a certificate, whose type looks like a template": {
			Spec{Preset: PresetServiceBinding, Shape: certShape, BindingType: "{{ .x }}\""},
			map[string]string{"certificate": "C\n", "chain": "I\n", "privateKey": "K\n"},
			map[string]string{"type": "{{ .x }}\"", "certificates": "C\nI\n", "private-key": "K\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, mustRender(t, tc.spec, of(tc.fields))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDockerConfigIsWhatARegistryClientReads(t *testing.T) {
	text := mustRender(t, Spec{Preset: PresetDockerConfigJSON, Shape: secretShape, Registry: "registry.example:5000"},
		of(map[string]string{"clientID": "id", "clientSecret": `p"ä`}))[".dockerconfigjson"]
	var got struct {
		Auths map[string]struct{ Username, Password, Auth string }
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	at := got.Auths["registry.example:5000"]
	decoded, err := base64.StdEncoding.DecodeString(at.Auth)
	if len(got.Auths) != 1 || at.Username != "id" || at.Password != `p"ä` || string(decoded) != `id:p"ä` || err != nil {
		t.Errorf("%+v, %s, %v", got, decoded, err)
	}
}

func TestAPresetThatDoesNotFitIsRefusedBeforeAnythingIsIssued(t *testing.T) {
	for name, tc := range map[string]struct {
		spec Spec
		hint string
	}{
		"the default for a certificate": {
			Spec{Shape: certShape},
			"the preset ClientIDSecret needs .clientID, .clientSecret, and this credential has .certificate, .privateKey, .serial: choose a preset that fits (CombinedPEM, Environment, JSON, PKCS12, ServiceBinding, TLS), or data",
		},
		"tls for a secret":         {Spec{Preset: PresetTLS, Shape: secretShape}, "the preset TLS needs .certificate, .privateKey"},
		"pkcs12 for a token":       {Spec{Preset: PresetPKCS12, Shape: tokenShape}, "the preset PKCS12 needs .certificate, .privateKey"},
		"an access token of a key": {Spec{Preset: PresetAccessToken, Shape: keyShape}, "the preset AccessToken needs .token"},
		"a service key of a client without a token endpoint": {
			Spec{Preset: PresetSAPServiceKey, Shape: secretShape}, "needs .document, or .clientID, .clientSecret, .tokenURL",
		},
		"basic authentication with a certificate": {Spec{Preset: PresetBasicAuth, Shape: x509Shape}, "the preset BasicAuth needs .clientID, .clientSecret"},
		"docker without a registry":               {Spec{Preset: PresetDockerConfigJSON, Shape: secretShape}, "needs the registry"},
		"a service binding without a type":        {Spec{Preset: PresetServiceBinding, Shape: secretShape}, "needs the type"},
		"an unknown profile":                      {Spec{Preset: PresetPKCS12, Shape: certShape, Profile: "RC2"}, `no profile "RC2": choose Modern2023 or LegacyDES`},
		"a field that this credential never has": {
			Spec{Data: map[string]string{"k": "{{ .clientSecret }}{{ .token }}"}, Shape: neoShape},
			`key "k": this credential has no .token: it has .clientID, .clientSecret, .tokenURL, .url`,
		},
		"what all versions share, as soon as the rest is missing": {
			Spec{Data: map[string]string{"k": "{{ with .chain }}{{ . }}{{ else }}none{{ end }}"}, Shape: certShape}, "renders alike for every version",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Compile(tc.spec); err == nil || !strings.Contains(err.Error(), tc.hint) {
				t.Errorf("error %v does not say %q", err, tc.hint)
			}
		})
	}
}

func TestTemplatesAskForWhatMayBeMissing(t *testing.T) {
	full := map[string]string{"clientID": "id", "clientSecret": "s", "tokenURL": "https://t", "url": "https://u"}
	bare := map[string]string{"clientID": "id", "clientSecret": "s", "tokenURL": "https://t"}
	for template, want := range map[string][2]string{
		`{{ .clientID }}{{ with .url }} at {{ . }}{{ end }}`:                                     {"id at https://u", "id"},
		`{{ .clientID }}{{ if .url }} at {{ .url }}{{ end }}`:                                    {"id at https://u", "id"},
		`{{ .clientID }}{{ with .url }}{{ . | json }}{{ else }}null{{ end }}`:                    {`id"https://u"`, "idnull"},
		`{{ .clientID }}{{ with .url }}{{ print $.clientSecret "@" . }}{{ end }}`:                {"ids@https://u", "id"},
		`{{ .clientID }}{{ if .url }}1{{ else if .tokenURL }}2{{ end }}`:                         {"id1", "id2"},
		`{{ .clientID }}{{ with .token }}{{ . }}{{ else with .url }}{{ . }}{{ else }}-{{ end }}`: {"idhttps://u", "id-"},
		`{{ .clientID }}{{ if .token }}{{ .token }}{{ end }}`:                                    {"id", "id"},
		`{{ $.clientID }}{{ with .url }}{{ with $.tokenURL }}{{ . }}{{ end }}{{ . }}{{ end }}`:   {"idhttps://thttps://u", "id"},
	} {
		t.Run(template, func(t *testing.T) {
			spec := Spec{Data: map[string]string{"k": template}, Shape: neoShape}
			for i, fields := range []map[string]string{full, bare} {
				if got := mustRender(t, spec, of(fields))["k"]; got != want[i] {
					t.Errorf("%d fields render to %q, want %q", len(fields), got, want[i])
				}
			}
		})
	}
	asked := mustCompile(t, Spec{Data: map[string]string{"k": "{{ .clientID }} at {{ .url }}"}, Shape: neoShape})
	if _, err := asked.Render(of(bare), Input{}); err == nil || !strings.Contains(err.Error(), "this credential has no .url") {
		t.Errorf("a value that is not there after all: %v", err)
	}
}

// issue makes a certificate with its key and its issuer's certificate, in PEM.
func issue(t *testing.T, public any, block func() *pem.Block) material.Material {
	t.Helper()
	template := func(name string, ca bool) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
			NotAfter: time.Now().Add(time.Hour), IsCA: ca, BasicConstraintsValid: true,
		}
	}
	above, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.CreateCertificate(rand.Reader, template("issuer", true), template("issuer", true), above.Public(), above)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template("billing", false), template("issuer", true), public, above)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return material.Material{Certificate: encode(leaf), Chain: encode(ca), PrivateKey: material.New(string(pem.EncodeToMemory(block())))}
}

func keyPairs(t *testing.T) map[string]material.Material {
	t.Helper()
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	prime, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	must := func(der []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	return map[string]material.Material{
		"PKCS#8": issue(t, curve.Public(), func() *pem.Block {
			return &pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(curve))}
		}),
		"SEC 1": issue(t, curve.Public(), func() *pem.Block {
			return &pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(curve))}
		}),
		"PKCS#1": issue(t, prime.Public(), func() *pem.Block {
			return &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(prime)}
		}),
	}
}

func TestAKeystoreHoldsTheKeyTheCertificateAndTheChain(t *testing.T) {
	for form, m := range keyPairs(t) {
		for _, profile := range []string{"", ProfileModern2023, ProfileLegacyDES} {
			compiled := mustCompile(t, Spec{Preset: PresetPKCS12, Profile: profile, Shape: certShape})
			data, err := compiled.Render(m, Input{Nonce: "n1", Password: material.New("changeit")})
			if err != nil {
				t.Fatalf("%s %s: %v", form, profile, err)
			}
			key, leaf, above, err := pkcs12.DecodeChain(data["keystore.p12"], "changeit")
			if err != nil || len(above) != 1 || above[0].Subject.CommonName != "issuer" || leaf.Subject.CommonName != "billing" {
				t.Errorf("%s %s: %v, %d certificates above", form, profile, err, len(above))
			}
			if _, err := tls.X509KeyPair([]byte(m.Certificate), pkcs8(t, key)); err != nil {
				t.Errorf("%s %s: the key does not fit: %v", form, profile, err)
			}
			if _, _, _, err := pkcs12.DecodeChain(data["keystore.p12"], "another"); err == nil {
				t.Errorf("%s %s: any password opens it", form, profile)
			}
		}
	}
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// TestAKeystoreIsTheSameBytesForTheSameVersion: what is published is told by its bytes.
func TestAKeystoreIsTheSameBytesForTheSameVersion(t *testing.T) {
	pairs := keyPairs(t)
	m := pairs["PKCS#8"]
	render := func(m material.Material, nonce, password string) []byte {
		data, err := mustCompile(t, Spec{Preset: PresetPKCS12, Shape: certShape}).Render(m, Input{Nonce: nonce, Password: material.New(password)})
		if err != nil {
			t.Fatal(err)
		}
		return data["keystore.p12"]
	}
	first := render(m, "n1", "changeit")
	if !bytes.Equal(first, render(m, "n1", "changeit")) {
		t.Error("a second rendering differs")
	}
	for name, other := range map[string][]byte{
		"another version": render(m, "n2", "changeit"), "another password": render(m, "n1", "other"), "another key": render(pairs["PKCS#1"], "n1", "changeit"),
	} {
		if bytes.Equal(first, other) {
			t.Errorf("%s renders alike", name)
		}
	}
	hash := mustCompile(t, Spec{Preset: PresetPKCS12}).Hash()
	if hash != mustCompile(t, Spec{Preset: PresetPKCS12, Profile: ProfileModern2023}).Hash() || hash == mustCompile(t, Spec{Preset: PresetPKCS12, Profile: ProfileLegacyDES}).Hash() {
		t.Error("the hash does not tell the profile")
	}
}

func TestAKeystoreThatCannotBeMadeSaysWhyWithoutValues(t *testing.T) {
	m := keyPairs(t)["PKCS#8"]
	broken := m
	broken.PrivateKey = material.New("-----BEGIN PRIVATE KEY-----\n" + base64.StdEncoding.EncodeToString([]byte(canary)) + "\n-----END PRIVATE KEY-----\n")
	noPEM := m
	noPEM.PrivateKey = material.New(canary)
	for name, tc := range map[string]struct {
		m    material.Material
		in   Input
		hint string
	}{
		"no password":                  {m, Input{Nonce: "n"}, "the password is missing"},
		"no nonce":                     {m, Input{Password: material.New(canary)}, "no nonce"},
		"a key that is none":           {broken, Input{Nonce: "n", Password: material.New(canary)}, "no form that is known"},
		"a key that is not PEM":        {noPEM, Input{Nonce: "n", Password: material.New(canary)}, "no .privateKey in PEM"},
		"no certificate":               {material.Material{PrivateKey: m.PrivateKey}, Input{Nonce: "n", Password: material.New(canary)}, "no .certificate"},
		"a password beyond the format": {m, Input{Nonce: "n", Password: material.New(canary + "😀")}, "Basic Multilingual Plane"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := mustCompile(t, Spec{Preset: PresetPKCS12}).Render(tc.m, tc.in)
			if err == nil || !strings.Contains(err.Error(), tc.hint) || strings.Contains(err.Error(), canary) {
				t.Errorf("error %v does not say %q, or says more", err, tc.hint)
			}
		})
	}
}

func TestNoTemplateOfATenantIsTakenForAKeystore(t *testing.T) {
	_, err := Compile(Spec{Data: map[string]string{"k": keystoreMark + ProfileModern2023}})
	if err == nil || !strings.Contains(err.Error(), "renders alike") {
		t.Errorf("got %v", err)
	}
}
