package render

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/material"
)

const canary = "canary-9f2c"

func sample() material.Material {
	return material.Material{ClientID: "an-id", ClientSecret: material.New(canary)}
}

func mustCompile(t *testing.T, spec Spec) *Template {
	t.Helper()
	compiled, err := Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func mustRender(t *testing.T, spec Spec, m material.Material) map[string]string {
	t.Helper()
	data, err := mustCompile(t, spec).Render(m, Input{})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for key, value := range data {
		texts[key] = string(value)
	}
	return texts
}

func TestPresets(t *testing.T) {
	for name, tc := range map[string]struct {
		preset string
		want   map[string]string
	}{
		"nothing said is the default": {"", map[string]string{"client_id": "an-id", "client_secret": canary}},
		"the default by name":         {PresetClientIDSecret, map[string]string{"client_id": "an-id", "client_secret": canary}},
		"for the environment":         {PresetEnvironment, map[string]string{"CLIENT_ID": "an-id", "CLIENT_SECRET": canary}},
		"a document":                  {PresetJSON, map[string]string{"credentials.json": `{"client_id":"an-id","client_secret":"canary-9f2c"}`}},
		"for basic authentication":    {PresetBasicAuth, map[string]string{"username": "an-id", "password": canary}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, mustRender(t, Spec{Preset: tc.preset}, sample())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheDocumentHoldsEverySecretExactly(t *testing.T) {
	for _, secret := range []string{`"`, `\`, "a\nb", "<&>", "\u2028", "ä€😀", "\x00\x1f", `\u0041`, "{{ .clientID }}"} {
		text := mustRender(t, Spec{Preset: PresetJSON}, material.Material{ClientID: "id", ClientSecret: material.New(secret)})["credentials.json"]
		var got map[string]string
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("%q renders to %s: %v", secret, text, err)
		}
		if diff := cmp.Diff(map[string]string{"client_id": "id", "client_secret": secret}, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestTheLanguage(t *testing.T) {
	m := material.Material{ClientID: " Ab'c ", ClientSecret: material.New("p@ss w/ö+\"$x`")}
	for template, want := range map[string]string{
		`{{ .clientID }}`:                                   " Ab'c ",
		`{{.clientID}}`:                                     " Ab'c ",
		`id={{ .clientID | trim }};`:                        "id=Ab'c;",
		"x \n {{- .clientID | trim -}} \n y":                "xAb'cy",
		`{{ trim .clientID | lower }}`:                      "ab'c",
		`{{ upper (trim .clientID) }}`:                      "AB'C",
		`{{ .clientID }}{{/* a comment */}}{{ "text" }}`:    " Ab'c text",
		"{{ .clientID }}{{ `raw \"text\"` }}":               ` Ab'c raw "text"`,
		`{{ print (trim .clientID) ":" .clientSecret }}`:    "Ab'c:p@ss w/ö+\"$x`",
		`{{ .clientSecret | print (.clientID | trim) "/"}}`: "Ab'c/p@ss w/ö+\"$x`",
		`{{ print "user" ":" .clientID | trim | b64enc }}`:  "dXNlcjogQWInYw==",
		`{{ .clientSecret | json }}`:                        "\"p@ss w/ö+\\\"$x`\"",
		`{{ .clientSecret | quote }}`:                       "\"p@ss w/ö+\\\"$x`\"",
		`{{ .clientID | shellquote }}`:                      `' Ab'\''c '`,
		`{{ .clientSecret | urlquery }}`:                    "p%40ss%20w%2F%C3%B6%2B%22%24x%60",
	} {
		t.Run(template, func(t *testing.T) {
			got := mustRender(t, Spec{Data: map[string]string{"key": template}}, m)
			if diff := cmp.Diff(map[string]string{"key": want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAShellReadsBackWhatShellquoteWrote(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal("the test needs a POSIX shell, as make does")
	}
	for _, secret := range []string{"plain", "it's", `$(id) "x" \ !`, "two\nlines", "''", "`"} {
		line := mustRender(t, Spec{Data: map[string]string{"env": "V={{ .clientSecret | shellquote }}"}},
			material.Material{ClientID: "id", ClientSecret: material.New(secret)})["env"]
		out, err := exec.Command(shell, "-c", line+"\nprintf %s \"$V\"").Output()
		if err != nil || string(out) != secret {
			t.Errorf("%q came back as %q, %v", secret, out, err)
		}
	}
}

func TestCompileRefusesWithAHint(t *testing.T) {
	const id = "{{ .clientID }}"
	manyKeys := map[string]string{}
	for n := range MaxKeys + 1 {
		manyKeys[fmt.Sprint("k", n)] = id
	}
	one := func(template string) Spec { return Spec{Data: map[string]string{"a-key": template}} }
	for name, tc := range map[string]struct {
		spec Spec
		hint string
	}{
		"both forms":                        {Spec{Preset: "JSON", Data: map[string]string{"k": id}}, "choose one"},
		"an unknown preset":                 {Spec{Preset: "Json"}, `no preset "Json": choose one of AccessToken, BasicAuth, ClientIDSecret,`},
		"too many keys":                     {Spec{Data: manyKeys}, "65 keys: at most 64"},
		"an empty key":                      {Spec{Data: map[string]string{"": id}}, `"" is not a key`},
		"a key with a slash":                {Spec{Data: map[string]string{"a/b": id}}, `"a/b" is not a key`},
		"a key that is a directory":         {Spec{Data: map[string]string{"..": id}}, `".." is not a key`},
		"a key that begins like one":        {Spec{Data: map[string]string{"..data": id}}, `"..data" is not a key`},
		"a key that is too long":            {Spec{Data: map[string]string{strings.Repeat("k", 254): id}}, "254 characters"},
		"a template that is too long":       {one(id + strings.Repeat(" ", MaxTemplate)), "at most 16384"},
		"an unknown field":                  {one("{{ .clientId }}"), `key "a-key": there is no field .clientId: use .apiKey, .certificate`},
		"a field of a field":                {one("{{ .clientID.x }}"), "no field .clientID.x"},
		"an unknown function":               {one("{{ .clientID | env }}"), "no function env: use b64enc, json, lower, print, quote, shellquote, trim, upper, urlquery"},
		"printf of text/template":           {one(`{{ printf "%1000000s" .clientID }}`), "no function printf"},
		"call of text/template":             {one(`{{ call .clientID }}`), "no function call"},
		"too many arguments":                {one("{{ b64enc .clientID .clientSecret }}"), "b64enc takes one argument and has 2"},
		"too many arguments by a pipe":      {one("{{ .clientID | b64enc .clientSecret }}"), "b64enc takes one argument and has 2"},
		"no argument":                       {one("{{ print }}"), "print needs an argument"},
		"a function as an argument":         {one("{{ print lower .clientID }}"), "lower stands as an argument"},
		"a value that is called":            {one("{{ .clientID .clientSecret }}"), ".clientID is a value and takes no arguments"},
		"a value that is piped into":        {one("{{ .clientID | .clientSecret }}"), ".clientSecret is a value"},
		"the dot":                           {one("{{ . }}"), ". is not a value"},
		"the root":                          {one("{{ $ }}"), "$ is not a value"},
		"an unknown field of the root":      {one("{{ $.clientId }}"), "no field .clientId"},
		"a field where the dot is a value":  {one("{{ with .url }}{{ .clientID }}{{ end }}"), "inside of with the dot is its value: use $.clientID"},
		"the dot behind a with":             {one("{{ with .url }}x{{ end }}{{ . }}"), ". is not a value outside of with"},
		"the dot in the other branch":       {one("{{ with .url }}x{{ else }}{{ . }}{{ end }}"), ". is not a value outside of with"},
		"the dot in an if":                  {one("{{ if .url }}{{ . }}{{ end }}"), ". is not a value outside of with"},
		"a question about a text":           {one(`{{ if "x" }}{{ .clientID }}{{ end }}`), `with and if ask for one value, as in {{ with .url }}{{ . }}{{ end }}, not for "x"`},
		"a question about a result":         {one(`{{ with .url | trim }}{{ . }}{{ end }}`), "with and if ask for one value"},
		"a question about a typing error":   {one(`{{ with .uri }}{{ . }}{{ end }}{{ .clientID }}`), "there is no field .uri"},
		"a question with a variable":        {one(`{{ with $x := .url }}{{ $x }}{{ end }}`), `"$x :=" is not available`},
		"what all versions share":           {one("{{ .url }}"), "renders alike for every version"},
		"a number":                          {one("{{ 1 }}"), "1 is not a value"},
		"a truth value":                     {one("{{ print true .clientID }}"), "true is not a value"},
		"a loop":                            {one("{{ range .clientID }}x{{ end }}"), `"range" is not available`},
		"a loop over a number":              {one("{{ range 1000000000 }}x{{ end }}"), `"range" is not available`},
		"an inclusion":                      {one(`{{ template "template" }}`), `"template" is not available`},
		"a definition":                      {one(id + `{{ define "x" }}{{ template "x" }}{{ end }}`), `"define" is not available`},
		"a definition with the root's name": {one(`{{ define "template" }}{{ .clientID }}{{ end }}`), `"define" is not available`},
		"a block":                           {one(`{{ block "x" .clientID }}y{{ end }}`), "is not available"},
		"a variable":                        {one("{{ $x := .clientID }}"), `"$x :=" is not available`},
		"an unclosed action":                {one("line\n{{ .clientID"), `key "a-key": line 2: unclosed action`},
		"an empty action":                   {one("{{ }}"), "line 1: missing value for command"},
		"a text alone":                      {one("hello"), "renders alike for every version of the credential: use at least one of .apiKey, .certificate"},
		"an empty text":                     {one(""), "renders alike for every version"},
		"a constant that is not text":       {one(`{{ .clientID }}{{ "\xff" | json }}`), "json: the value is not UTF-8 text"},
		"growth without end":                {one(id + `{{ "\"" ` + strings.Repeat("| json ", 200) + "}}"), "json: a value of more than 262144 bytes"},
		"too many calls":                    {one("{{ .clientID " + strings.Repeat("| lower ", 257) + "}}"), "more than 256 function calls"},
	} {
		t.Run(name, func(t *testing.T) {
			compiled, err := Compile(tc.spec)
			if err == nil || compiled != nil {
				t.Fatalf("compiled to %v, %v", compiled, err)
			}
			if !strings.Contains(err.Error(), tc.hint) {
				t.Errorf("error %q does not say %q", err, tc.hint)
			}
			if len(err.Error()) > 600 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestCallsAreCountedOverAllKeys(t *testing.T) {
	data := map[string]string{}
	for n := range 64 {
		data[fmt.Sprint("k", n)] = "{{ .clientID | lower | lower | lower | lower | lower }}"
	}
	if _, err := Compile(Spec{Data: data}); err == nil || !strings.Contains(err.Error(), "more than 256 function calls") {
		t.Errorf("320 calls in 64 keys: %v", err)
	}
}

func TestRenderFailsLoudlyAndWithoutValues(t *testing.T) {
	large := strings.Repeat(canary, 30000)
	for name, tc := range map[string]struct {
		template string
		m        material.Material
		hint     string
	}{
		"a field is missing": {
			"{{ .clientID }}{{ .clientSecret }}",
			material.Material{ClientID: canary},
			`key "a-key": this credential has no .clientSecret: it has .clientID`,
		},
		"all fields are missing": {
			"{{ .clientID }}", material.Material{}, "no .clientID: it has nothing",
		},
		"a secret that is not text": {
			"{{ .clientSecret | json }}",
			material.Material{ClientID: "id", ClientSecret: material.New(canary + "\xff")},
			"json: the value is not UTF-8 text: use b64enc",
		},
		"a secret that no shell can hold": {
			"{{ .clientSecret | shellquote }}",
			material.Material{ClientID: "id", ClientSecret: material.New(canary + "\x00")},
			"shellquote: the value holds a zero byte",
		},
		"a value too large for a function": {
			"{{ .clientSecret | b64enc }}",
			material.Material{ClientID: "id", ClientSecret: material.New(large)},
			"b64enc: a value of more than 262144 bytes",
		},
		"a result too large for a Secret": {
			strings.Repeat("{{ .clientSecret }}", 4),
			material.Material{ClientID: "id", ClientSecret: material.New(large)},
			"more than 1048576 bytes are rendered",
		},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := mustCompile(t, Spec{Data: map[string]string{"a-key": tc.template}}).Render(tc.m, Input{})
			if err == nil || data != nil {
				t.Fatalf("rendered %d keys, %v", len(data), err)
			}
			if !strings.Contains(err.Error(), tc.hint) {
				t.Errorf("error %q does not say %q", err, tc.hint)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error holds a value: %s", err)
			}
		})
	}
}

func TestTheKeysTogetherFitIntoASecret(t *testing.T) {
	compiled := mustCompile(t, Spec{Data: map[string]string{"a": "{{ .clientSecret }}", "b": "{{ .clientSecret }}"}})
	half := material.Material{ClientID: "id", ClientSecret: material.New(strings.Repeat("x", MaxOutput/2))}
	if _, err := compiled.Render(half, Input{}); err != nil {
		t.Errorf("exactly the limit: %v", err)
	}
	more := material.Material{ClientID: "id", ClientSecret: material.New(strings.Repeat("x", MaxOutput/2+1))}
	if _, err := compiled.Render(more, Input{}); err == nil || !strings.Contains(err.Error(), `key "b": more than 1048576 bytes are rendered together`) {
		t.Errorf("two bytes more: %v", err)
	}
}

// TestEveryFieldOfTheMaterialHasAName fails when a field is added to the material that
// templates do not know.
func TestEveryFieldOfTheMaterialHasAName(t *testing.T) {
	for i := range reflect.TypeFor[material.Material]().NumField() {
		field := reflect.TypeFor[material.Material]().Field(i)
		m := material.Material{Attributes: map[string]string{}}
		switch value := reflect.ValueOf(&m).Elem().Field(i); field.Type.Kind() {
		case reflect.Map:
			continue
		case reflect.String:
			value.SetString("x")
		default:
			value.Set(reflect.ValueOf(material.New("x")))
		}
		for name := range m.Fields() {
			if _, err := Compile(Spec{Data: map[string]string{"k": "{{ ." + name + " }}"}}); err != nil {
				t.Errorf("%s: %v", field.Name, err)
			}
		}
		if len(m.Fields()) != 1 {
			t.Errorf("%s is shown as %v", field.Name, m.Fields())
		}
	}
}

func TestATemplateMayShowTheIDAlone(t *testing.T) {
	compiled := mustCompile(t, Spec{Data: map[string]string{"id": "{{ .clientID }}"}})
	if diff := cmp.Diff([]string{"clientID"}, compiled.Fields()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"clientID", "clientSecret"}, mustCompile(t, Spec{}).Fields()); diff != "" {
		t.Error(diff)
	}
}

func TestHashDependsOnTheTemplatesAlone(t *testing.T) {
	// The value is a promise: a change would look like an edit of every template.
	const want = "9f5ed7cda38ca1a8"
	for name, spec := range map[string]Spec{
		"default": {}, "preset": {Preset: PresetClientIDSecret},
		"data": {Data: map[string]string{"client_secret": "{{ .clientSecret }}", "client_id": "{{ .clientID }}"}},
	} {
		if got := mustCompile(t, spec).Hash(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	seen := map[string]string{want: "the default"}
	for name, data := range map[string]map[string]string{
		"another template":  {"client_secret": "{{ .clientSecret}}", "client_id": "{{ .clientID }}"},
		"another key":       {"client_secret": "{{ .clientSecret }}", "clientid": "{{ .clientID }}"},
		"one key less":      {"client_secret": "{{ .clientSecret }}"},
		"a moved character": {"client_secretx": "{{ .clientSecret }}"},
	} {
		hash := mustCompile(t, Spec{Data: data}).Hash()
		if other, ok := seen[hash]; ok {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[hash] = name
	}
}

func TestPublished(t *testing.T) {
	rendered := map[string][]byte{"client_id": []byte("id"), "client_secret": []byte(canary)}
	for name, tc := range map[string]struct {
		target map[string][]byte
		want   bool
	}{
		"every key, byte for byte":     {map[string][]byte{"client_id": []byte("id"), "client_secret": []byte(canary)}, true},
		"keys of others do not matter": {map[string][]byte{"client_id": []byte("id"), "client_secret": []byte(canary), "ca.crt": []byte("x")}, true},
		"another value":                {map[string][]byte{"client_id": []byte("id"), "client_secret": []byte("x")}, false},
		"a value with a byte more":     {map[string][]byte{"client_id": []byte("id"), "client_secret": []byte(canary + "\n")}, false},
		"a key is missing":             {map[string][]byte{"client_id": []byte("id")}, false},
		"the target holds nothing":     {nil, false},
		"the values under wrong names": {map[string][]byte{"client_secret": []byte("id"), "client_id": []byte(canary)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Published(tc.target, rendered); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
	if Published(map[string][]byte{"a": nil}, nil) {
		t.Error("nothing rendered counts as published")
	}
	if Published(map[string][]byte{}, map[string][]byte{"a": nil}) {
		t.Error("an absent key counts as an empty value")
	}
}

func TestKeyedHash(t *testing.T) {
	data := map[string][]byte{"client_id": []byte("id"), "client_secret": []byte("secret")}
	// Computed apart from this code, and a promise like the hash of templates.
	if got, want := KeyedHash([]byte("key"), data), "43b5f8edb960c135c60e7a0f1324f634"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	seen := map[string]string{KeyedHash([]byte("key"), data): "the first"}
	for name, tc := range map[string]struct {
		key  string
		data map[string][]byte
	}{
		"another hash key":        {"kez", data},
		"another value":           {"key", map[string][]byte{"client_id": []byte("id"), "client_secret": []byte("secreu")}},
		"a border moved":          {"key", map[string][]byte{"client_idi": []byte("d"), "client_secret": []byte("secret")}},
		"the values changed over": {"key", map[string][]byte{"client_id": []byte("secret"), "client_secret": []byte("id")}},
		"one key":                 {"key", map[string][]byte{"client_id": []byte("id")}},
		"an empty value more":     {"key", map[string][]byte{"client_id": []byte("id"), "client_secret": []byte("secret"), "x": nil}},
		"nothing":                 {"key", nil},
	} {
		hash := KeyedHash([]byte(tc.key), tc.data)
		if other, ok := seen[hash]; ok {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[hash] = name
	}
}

// FuzzCompile checks that no template makes the compiler panic, and that what it
// accepts renders, always alike, and within the bounds.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		"", "{{ .clientID }}", "{{ .clientSecret | json }}", `{{ print "a" .clientID | b64enc }}`, "{{ range 9 }}{{ end }}", `{{ define "template" }}{{ end }}`,
		"{{ if .clientID }}{{ end }}", "{{ $x := 1 }}", "{{ (.clientID).x }}", "{{ nil }}", "{{ break }}", "{{/* */}}{{- .clientID -}}", "{{ 'a' }}",
		"{{" + strings.Repeat("(", 3000) + ".clientID" + strings.Repeat(")", 3000) + "}}", `{{ "\"" | json | json | json }}{{ .clientID }}`, "{{ .clientID | print }}",
		"{{ with .url }}{{ . | json }}{{ else if .token }}{{ $.clientID }}{{ end }}{{ .clientSecret }}", "{{ if .url }}{{ with .chain }}{{ . }}{{ end }}{{ end }}{{ .clientID }}",
		`{{ template "x" . }}`, `{{ block "x" . }}{{ end }}`, "{{ . }}", "{{ $ }}", "{{ .clientID | shellquote | urlquery | quote }}", "{{ .clientID",
	} {
		f.Add("key", seed)
	}
	f.Fuzz(func(t *testing.T, key, template string) {
		compiled, err := Compile(Spec{Data: map[string]string{key: template}})
		if err != nil {
			if compiled != nil || len(err.Error()) > 2000 {
				t.Errorf("%v came with an error of %d bytes", compiled, len(err.Error()))
			}
			return
		}
		checkRendering(t, compiled, sample())
	})
}

// FuzzRender checks every accepted template against arbitrary values.
func FuzzRender(f *testing.F) {
	f.Add("id", "secret", `{"id":{{ .clientID | json }},"secret":{{ .clientSecret | json }}}`)
	f.Add("", "", "{{ .clientID }}")
	f.Add("{{ .clientSecret }}", "\xff\x00", "{{ .clientID }}{{ .clientSecret | shellquote | upper }}")
	f.Add("a", strings.Repeat("\x01", 1000), `{{ print .clientID .clientSecret | quote | json | b64enc }}`)
	f.Fuzz(func(t *testing.T, id, secret, template string) {
		compiled, err := Compile(Spec{Data: map[string]string{"key": template}})
		if err != nil {
			return
		}
		checkRendering(t, compiled, material.Material{ClientID: id, ClientSecret: material.New(canary + secret)})
	})
}

func checkRendering(t *testing.T, compiled *Template, m material.Material) {
	t.Helper()
	data, err := compiled.Render(m, Input{})
	if err != nil {
		if data != nil {
			t.Error("data came with an error")
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("the error holds a value: %s", err)
		}
		return
	}
	again, err := compiled.Render(m, Input{})
	if err != nil || !Published(again, data) || !Published(data, again) {
		t.Errorf("a second rendering differs: %v", err)
	}
	total := 0
	for _, value := range data {
		total += len(value)
	}
	if total > MaxOutput {
		t.Errorf("%d bytes were rendered", total)
	}
}
