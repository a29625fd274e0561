package render

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/claviger-dev/claviger/internal/material"
)

// The presets. Each is only a name for templates that many would write, PKCS12 excepted.
const (
	// PresetClientIDSecret renders client_id and client_secret. It is the default.
	PresetClientIDSecret = "ClientIDSecret"
	// PresetEnvironment renders a key such as CLIENT_ID for each field, for envFrom.
	PresetEnvironment = "Environment"
	// PresetJSON renders one key, credentials.json, with an object of all fields.
	PresetJSON = "JSON"
	// PresetBasicAuth renders username and password, as Secrets of the type
	// kubernetes.io/basic-auth hold them.
	PresetBasicAuth = "BasicAuth"
	// PresetTLS renders tls.crt, the certificate and its chain, and tls.key.
	PresetTLS = "TLS"
	// PresetCombinedPEM renders the key, the certificate and its chain as one file, under
	// the name that cert-manager gives it.
	PresetCombinedPEM = "CombinedPEM"
	// PresetPKCS12 renders keystore.p12, under the name that cert-manager gives it.
	PresetPKCS12 = "PKCS12"
	// PresetAccessToken renders access-token, as cert-manager's Venafi issuer reads it.
	PresetAccessToken = "AccessToken"
	// PresetSAPServiceKey renders credentials.json, the document of a SAP service key.
	PresetSAPServiceKey = "SAPServiceKey"
	// PresetDockerConfigJSON renders .dockerconfigjson, as Secrets of the type
	// kubernetes.io/dockerconfigjson hold it.
	PresetDockerConfigJSON = "DockerConfigJSON"
	// PresetServiceBinding renders type, provider and the entries of the Service Binding
	// specification.
	PresetServiceBinding = "ServiceBinding"
)

// layout is a preset: what it needs, and the templates that it stands for.
type layout struct {
	// needs are sets of fields; one of them must be there in every version. None means
	// that any field will do.
	needs [][]string
	// data makes the templates, freshly each time: a shared map could be changed by
	// whoever gets hold of it.
	data func(Spec) (map[string]string, error)
}

// Templates of single fields.
const (
	id     = "{{ .clientID }}"
	secret = "{{ .clientSecret }}"
	chain  = "{{ with .chain }}{{ . }}{{ end }}"
)

func presets() map[string]layout {
	pair := [][]string{{material.FieldClientID, material.FieldClientSecret}}
	keyPair := [][]string{{material.FieldCertificate, material.FieldPrivateKey}}
	return map[string]layout{
		PresetClientIDSecret: {pair, fixed(map[string]string{"client_id": id, "client_secret": secret})},
		PresetBasicAuth:      {pair, fixed(map[string]string{"username": id, "password": secret})},
		PresetEnvironment:    {nil, func(s Spec) (map[string]string, error) { return environment(s.Shape), nil }},
		PresetJSON:           {nil, func(s Spec) (map[string]string, error) { return document(s.Shape), nil }},
		PresetTLS:            {keyPair, fixed(map[string]string{"tls.crt": "{{ .certificate }}" + chain, "tls.key": "{{ .privateKey }}"})},
		PresetCombinedPEM:    {keyPair, fixed(map[string]string{"tls-combined.pem": "{{ .privateKey }}{{ .certificate }}" + chain})},
		PresetPKCS12:         {keyPair, keystore},
		PresetAccessToken:    {[][]string{{material.FieldToken}}, fixed(map[string]string{"access-token": "{{ .token }}"})},
		PresetSAPServiceKey: {
			[][]string{{material.FieldDocument}, {material.FieldClientID, material.FieldClientSecret, material.AttributeTokenURL}},
			func(s Spec) (map[string]string, error) { return serviceKey(s.Shape), nil },
		},
		PresetDockerConfigJSON: {pair, dockerConfig},
		PresetServiceBinding:   {nil, serviceBinding},
	}
}

func fixed(data map[string]string) func(Spec) (map[string]string, error) {
	return func(Spec) (map[string]string, error) { return data, nil }
}

// preset returns the templates that a Spec's preset stands for.
func preset(s Spec) (map[string]string, error) {
	name := s.Preset
	if name == "" {
		name = PresetClientIDSecret
	}
	wanted, ok := presets()[name]
	if !ok {
		return nil, fmt.Errorf("template: there is no preset %q: choose one of %s", short(name), list("", presets()))
	}
	if !wanted.fits(s.Shape) {
		return nil, fmt.Errorf("template: the preset %s needs %s, and this credential has %s: choose a preset that fits (%s), or data",
			name, alternatives(wanted.needs), names(s.Shape.Always), strings.Join(fitting(s.Shape), ", "))
	}
	return wanted.data(s)
}

// fits reports whether a material of the shape can be laid out so. One of which nothing is
// known can, until it turns out otherwise.
func (l layout) fits(shape material.Shape) bool {
	return len(l.needs) == 0 || !shape.Known() || slices.ContainsFunc(l.needs, func(set []string) bool { return shape.Has(set...) })
}

// fitting are the presets that a shape fits, sorted.
func fitting(shape material.Shape) []string {
	all := presets()
	maps.DeleteFunc(all, func(_ string, l layout) bool { return !l.fits(shape) })
	return slices.Sorted(maps.Keys(all))
}

func alternatives(needs [][]string) string {
	var all []string
	for _, set := range needs {
		all = append(all, names(set))
	}
	return strings.Join(all, ", or ")
}

// names writes fields for an error.
func names(fields []string) string {
	dotted := make([]string, 0, len(fields))
	for _, field := range slices.Sorted(slices.Values(fields)) {
		dotted = append(dotted, "."+field)
	}
	if len(dotted) == 0 {
		return "nothing"
	}
	return strings.Join(dotted, ", ")
}

// spelling is how the layouts call a field: snake_case in JSON, the same in capitals in
// the environment, and the word of the Service Binding specification.
type spelling struct{ field, snake, binding string }

func spellings() []spelling {
	return []spelling{
		{material.FieldClientID, "client_id", "client-id"},
		{material.FieldClientSecret, "client_secret", "client-secret"},
		{material.FieldToken, "token", "token"},
		{material.FieldAPIKey, "api_key", "api-key"},
		{material.FieldCertificate, "certificate", "certificates"},
		{material.FieldPrivateKey, "private_key", "private-key"},
		{material.AttributeTokenURL, "token_url", "token-uri"},
		{material.AttributeURL, "url", "uri"},
		{material.AttributeScope, "scope", "scope"},
	}
}

// shown is the template of a field: a certificate comes with its chain.
func shown(field string) string {
	if field == material.FieldCertificate {
		return "{{ .certificate }}" + chain
	}
	return "{{ ." + field + " }}"
}

// usual is the shape that is meant where nothing is known.
func usual(shape material.Shape) material.Shape {
	if shape.Known() {
		return shape
	}
	return material.Shape{Always: []string{material.FieldClientID, material.FieldClientSecret}}
}

// environment has a key for every field that each version has; a variable that is there
// only sometimes would be empty at other times.
func environment(shape material.Shape) map[string]string {
	data := map[string]string{}
	for _, s := range spellings() {
		if usual(shape).Has(s.field) {
			data[strings.ToUpper(s.snake)] = shown(s.field)
		}
	}
	return data
}

// document is one JSON object. Fields that each version has stand first, so that what may
// be absent brings its own comma.
func document(shape material.Shape) map[string]string {
	shape = usual(shape)
	var always, sometimes strings.Builder
	for _, s := range append(spellings(), spelling{material.FieldChain, "chain", ""}, spelling{material.AttributeExpires, "expires", ""}) {
		switch {
		case shape.Has(s.field):
			if always.Len() > 0 {
				always.WriteString(",")
			}
			fmt.Fprintf(&always, `%q:{{ .%s | json }}`, s.snake, s.field)
		case shape.May(s.field):
			fmt.Fprintf(&sometimes, `{{ with .%s }},%q:{{ . | json }}{{ end }}`, s.field, s.snake)
		}
	}
	if always.Len() == 0 {
		return map[string]string{"credentials.json": "{}"} // refused, since it tells no version from another
	}
	return map[string]string{"credentials.json": "{" + always.String() + sometimes.String() + "}"}
}

// serviceKey is the upstream's own document. A SAP system that writes none gets the layout
// that its successor writes.
func serviceKey(shape material.Shape) map[string]string {
	text := "{{ .document }}"
	if shape.Known() && !shape.Has(material.FieldDocument) {
		text = `{"oauth":{"clientid":{{ .clientID | json }},"clientsecret":{{ .clientSecret | json }},"tokenurl":{{ .tokenURL | json }}` +
			`{{ with .url }},"url":{{ . | json }}{{ end }}}}`
	}
	return map[string]string{"credentials.json": text}
}

func dockerConfig(s Spec) (map[string]string, error) {
	if s.Registry == "" {
		return nil, fmt.Errorf("template: the preset %s needs the registry that the credential is for", PresetDockerConfigJSON)
	}
	registry, err := jsonString(s.Registry)
	if err != nil {
		return nil, fmt.Errorf("template: the registry: %w", err)
	}
	return map[string]string{".dockerconfigjson": `{"auths":` + text("{"+registry) + `:{"username":{{ .clientID | json }},"password":{{ .clientSecret | json }},` +
		`"auth":{{ print .clientID ":" .clientSecret | b64enc | json }}}}}`}, nil
}

// serviceBinding has the entries that the specification knows, and the others that clients
// of OAuth know.
func serviceBinding(s Spec) (map[string]string, error) {
	if s.BindingType == "" {
		return nil, fmt.Errorf("template: the preset %s needs the type of the service", PresetServiceBinding)
	}
	data := map[string]string{"type": text(s.BindingType)}
	if s.Provider != "" {
		data["provider"] = text(s.Provider)
	}
	for _, spelling := range spellings() {
		if usual(s.Shape).Has(spelling.field) {
			data[spelling.binding] = shown(spelling.field)
		}
	}
	return data, nil
}

// text is a template of a text that is no template, whatever stands in it.
func text(value string) string { return "{{ " + strconv.Quote(value) + " }}" }
