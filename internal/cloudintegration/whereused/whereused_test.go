package whereused

import (
	"archive/zip"
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResolve(t *testing.T) {
	for name, tc := range map[string]struct {
		design     Design
		configured map[string]string
		want       []Reference
		unresolved []string
	}{
		"a literal alias": {
			design: Design{Steps: []map[string]string{{"ComponentType": "HTTP", "credentialName": "ORDERS", "privateKeyAlias": "key", "address": "https://h"}}},
			want:   []Reference{{"f", "ORDERS", Exact, "credentialName"}, {"f", "key", Exact, "privateKeyAlias"}},
		},
		"a parameter as it is set": {
			design:     Design{Steps: []map[string]string{{"credentialName": "{{Recv Cred}}"}}, Defaults: map[string]string{"Recv Cred": "DEFAULT"}},
			configured: map[string]string{"Recv Cred": "ORDERS"},
			want:       []Reference{{"f", "ORDERS", ViaParameter, "credentialName"}},
		},
		"a parameter that has its default": {
			design: Design{Steps: []map[string]string{{"credentialName": "{{p}}"}}, Defaults: map[string]string{"p": "DEFAULT"}},
			want:   []Reference{{"f", "DEFAULT", ViaParameter, "credentialName"}},
		},
		"parameters inside a text": {
			design:     Design{Steps: []map[string]string{{"credentialName": "{{env}}_ORDERS_{{n}}"}}, Defaults: map[string]string{"n": "2"}},
			configured: map[string]string{"env": "PROD"},
			want:       []Reference{{"f", "PROD_ORDERS_2", ViaParameter, "credentialName"}},
		},
		"a parameter that is set to nothing names nothing": {
			design:     Design{Steps: []map[string]string{{"credentialName": "{{p}}", "alias": ""}}},
			configured: map[string]string{"p": ""},
		},
		"a parameter that is set nowhere is told": {
			design:     Design{Steps: []map[string]string{{"credentialName": "{{p}}"}, {"credential_name": "{{p}}"}}},
			unresolved: []string{"p"},
		},
		"what a message decides is dynamic": {
			design: Design{Steps: []map[string]string{{"credentialName": "${header.cred}"}, {"alias": "{{p}}"}}, Defaults: map[string]string{"p": "${property.x}"}},
			want:   []Reference{{"f", "${header.cred}", Dynamic, "credentialName"}, {"f", "${property.x}", Dynamic, "alias"}},
		},
		"the partner directory": {
			design: Design{Steps: []map[string]string{{"credentialName": "pd:P1:ORDERS:UserCredential"}}},
			want:   []Reference{{"f", "pd:P1:ORDERS:UserCredential", PartnerDirectory, "credentialName"}},
		},
		"a field that only its label tells": {
			design:     Design{Steps: []map[string]string{{"ComponentType": "Other", "user": "{{u}}", "host": "{{h}}"}}, Labels: map[string][]string{"u": {"Credential Name"}, "h": {"Host"}}},
			configured: map[string]string{"u": "MAIL", "h": "smtp"},
			want:       []Reference{{"f", "MAIL", ViaParameter, "user"}},
		},
		"fields that are known otherwise": {
			design: Design{Steps: []map[string]string{{"ComponentType": "Mail", "user": "MAIL"}, {"ComponentType": "HTTP", "user": "somebody"}, {"ComponentType": "AdvancedEventMesh", "password": "AEM"}}},
			want:   []Reference{{"f", "AEM", Exact, "password"}, {"f", "MAIL", Exact, "user"}},
		},
		"fields that name something else": {
			design: Design{Steps: []map[string]string{{"ComponentType": "JDBC", "alias": "data_source"}, {"accessControlAllowCredentials": "1"}, {"ComponentType": "HCIOData", "alias": "ODATA"}}},
			want:   []Reference{{"f", "ODATA", Exact, "alias"}},
		},
		"scripts": {
			design: Design{Scripts: map[string]string{
				"a.groovy": `service.getUserCredential("ORDERS")`, "b.groovy": `def s = ITApiFactory.getService(SecureStoreService.class, null); s.getUserCredential(name)`, "c.groovy": "return message",
			}},
			want: []Reference{{"f", "", Dynamic, "b.groovy"}, {"f", "ORDERS", Script, "a.groovy"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			references, unresolved := Resolve("f", tc.design, tc.configured)
			if diff := cmp.Diff(tc.want, references); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.unresolved, unresolved); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCompareTellsWhatNobodyManages(t *testing.T) {
	references := []Reference{{Alias: "MINE", Class: Exact}, {Alias: "FOREIGN", Class: ViaParameter}, {Alias: "GONE", Class: Script}, {Alias: "${x}", Class: Dynamic}, {Alias: "pd:a:b:c", Class: PartnerDirectory}}
	got := Compare(references, []string{"MINE", "FOREIGN", "IDLE"}, []string{"MINE", "IDLE"})
	if diff := cmp.Diff(Comparison{Unmanaged: []string{"FOREIGN"}, Missing: []string{"GONE"}, Unused: []string{"IDLE"}}, got); diff != "" {
		t.Error(diff)
	}
}

func archiveOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for name, text := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const iflw = `<d xmlns:ifl="x"><a><extensionElements><ifl:property><key>outer</key><value>1</value></ifl:property></extensionElements>` +
	`<b><extensionElements><ifl:property><key>credentialName</key><value>{{A B}}</value></ifl:property><ifl:property><key>empty</key><value/></ifl:property></extensionElements></b></a></d>`

func TestReadDesign(t *testing.T) {
	got, err := ReadDesign(archiveOf(t, map[string]string{
		"src/main/resources/scenarioflows/integrationflow/f.iflw": iflw,
		"src/main/resources/parameters.prop":                      "#comment\n! more\r\nA\\ B=va\\:lue\\u0041\nlong=one\\\n  two\n  k : v\nodd\\\\=x\nbare\n",
		"src/main/resources/parameters.propdef":                   `<p><reference attribute_uilabel="Credential Name" param_key="A B"/><reference param_key="A B" attribute_uilabel="Second"/></p>`,
		"src/main/resources/script/s.groovy":                      "x", "README.md": "ignored",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := Design{
		Steps:    []map[string]string{{"outer": "1"}, {"credentialName": "{{A B}}", "empty": ""}},
		Defaults: map[string]string{"A B": "va:lueA", "long": "onetwo", "k": "v", `odd\`: "x", "bare": ""},
		Labels:   map[string][]string{"A B": {"Credential Name", "Second"}},
		Scripts:  map[string]string{"s.groovy": "x"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestArchivesThatAreNoDesignsAreUnreadable(t *testing.T) {
	whole := archiveOf(t, map[string]string{"f.iflw": iflw})
	for name, archive := range map[string][]byte{
		"nothing":              nil,
		"half an archive":      whole[:len(whole)/2],
		"an archive of a page": archiveOf(t, map[string]string{"index.html": "x"}),
		"half a document":      archiveOf(t, map[string]string{"f.iflw": iflw[:len(iflw)/2]}),
		"a bomb":               archiveOf(t, map[string]string{"f.iflw": iflw, "s.groovy": strings.Repeat("\x00", maxFile+1)}),
	} {
		if _, err := ReadDesign(archive); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReadDesign: whatever stands in a design, it is read in bounded memory or refused.
func FuzzReadDesign(f *testing.F) {
	f.Add([]byte(iflw), "a=b\n\\u00")
	f.Add([]byte("<a>"), `x\`)
	f.Fuzz(func(t *testing.T, flow []byte, properties string) {
		archive := archiveOf(t, map[string]string{"f.iflw": string(flow), "parameters.prop": properties, "parameters.propdef": string(flow)})
		design, err := ReadDesign(archive)
		if err != nil {
			return
		}
		references, _ := Resolve("f", design, map[string]string{"p": "x"})
		for _, r := range references {
			if r.Flow != "f" || r.Field == "" || r.Class == Exact && r.Alias == "" {
				t.Errorf("%+v", r)
			}
		}
	})
}
