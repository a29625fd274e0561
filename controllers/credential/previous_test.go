package credential

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/render"
	"github.com/claviger-dev/claviger/internal/rotation"
)

func compiled(t *testing.T, spec render.Spec) *render.Template {
	t.Helper()
	template, err := render.Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

func TestWhatStandsBesideThePublishedVersion(t *testing.T) {
	template := compiled(t, render.Spec{})
	keys := []string{"client_id_old", "client_secret_old"}
	for name, tc := range map[string]struct {
		read journal.Target
		want rotation.Target
	}{
		"nothing":                           {journal.Target{}, rotation.Target{}},
		"a version as it is rendered today": {journal.Target{Previous: journal.Previous{Nonce: "n1", Rendering: template.Hash() + "_old"}, PreviousKeys: keys}, rotation.Target{Previous: 1}},
		"a version under another suffix": {
			journal.Target{Previous: journal.Previous{Nonce: "n1", Rendering: template.Hash() + "_before"}, PreviousKeys: []string{"client_id_before", "client_secret_before"}},
			rotation.Target{Previous: 1, PreviousStale: true},
		},
		"a version of which somebody else wrote a key": {
			journal.Target{Previous: journal.Previous{Nonce: "n1", Rendering: template.Hash() + "_old"}, PreviousKeys: keys[:1]}, rotation.Target{Previous: 1, PreviousStale: true},
		},
		"a version that is gone":            {journal.Target{Previous: journal.Previous{Nonce: "n0", Rendering: template.Hash() + "_old"}, PreviousKeys: keys}, rotation.Target{Previous: -1}},
		"keys without a word of whose":      {journal.Target{PreviousKeys: keys}, rotation.Target{Previous: -1, PreviousStale: true}},
		"the mark of one that is retired":   {journal.Target{Previous: journal.Previous{Hidden: "n1"}}, rotation.Target{Hidden: 1}},
		"the mark of one that is long gone": {journal.Target{Previous: journal.Previous{Hidden: "n0"}}, rotation.Target{Hidden: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			credential := &v1alpha1.APIClientCredential{}
			credential.Spec.Secret.Previous = &v1alpha1.PreviousKeys{Suffix: "_old"}
			s := &scope{credential: credential, template: template, target: tc.read, versions: []journal.Version{{Number: 1, Nonce: "n1"}, {Number: 2, Nonce: "n2"}}}
			var got rotation.Target
			s.observePrevious(&got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestKeysOfThePreviousVersionAreDistinct(t *testing.T) {
	pair := map[string]string{"id": "{{ .clientID }}", "id_old": "{{ .clientSecret }}"}
	long := map[string]string{strings.Repeat("k", 250): "{{ .clientID }}"}
	for name, tc := range map[string]struct {
		data   map[string]string
		suffix string
		hint   string
	}{
		"none are asked for":            {pair, "", ""},
		"all are others":                {pair, "_previous", ""},
		"one is the published one's":    {pair, "_old", "the key id_old would be the previous version's id"},
		"one is longer than keys may":   {long, "_old", "more than 253 characters"},
		"one is as long as keys may be": {long, "_o1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := distinct(compiled(t, render.Spec{Data: tc.data}), tc.suffix)
			if (err == nil) != (tc.hint == "") || err != nil && !strings.Contains(err.Error(), tc.hint) {
				t.Errorf("error %v, want %q", err, tc.hint)
			}
		})
	}
}
