package cloudfoundry

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/claviger-dev/claviger/internal/material"
)

// FuzzManagerAnswers lets Service Manager say anything: what is read has ids that can stand in a
// path, a count that fits, and words without secrets.
func FuzzManagerAnswers(f *testing.F) {
	f.Add([]byte(`{"num_items":1,"items":[{"id":"a","labels":{"_claviger_mark":["x"]},"last_operation":{"state":"failed","errors":{"error":"BrokerError"}}}]}`))
	f.Add([]byte(`{"error":"BrokerError","description":"canary-key","broker_error":{"StatusCode":400,"Description":"canary-key"}}`))
	f.Add([]byte(`{"state":"in progress"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if p, err := decodeEntityPage(body); err == nil {
			if *p.Total < len(p.Items) {
				t.Errorf("%d of %d", len(p.Items), *p.Total)
			}
			for _, one := range p.Items {
				if !segment.MatchString(one.ID) {
					t.Errorf("id %q", one.ID)
				}
				_, _ = one.last(), one.created()
			}
		}
		if one, err := decodeEntity(body, ""); err == nil && !segment.MatchString(one.ID) {
			t.Errorf("id %q", one.ID)
		}
		if op, err := decodeOperation(body); err == nil && op.State == "" {
			t.Error("an operation without a state")
		}
		if form, said := refused(body); said {
			m := &manager{keys: &keys{own: []material.Secret{material.New("canary-key")}}}
			words := m.brokerRefusal(form, credentialParameters{}).Error()
			if strings.Contains(words, "canary-key") || len([]rune(words)) > 500 || strings.ContainsAny(words, "\n\r\x1b") {
				t.Errorf("%q", words)
			}
		}
		if _, err := parseManagerDocument(string(body)); err == nil && !json.Valid(body) {
			t.Error("what is no JSON was read")
		}
	})
}

// FuzzLocation holds that ids out of a Location can stand in a path, whatever it says.
func FuzzLocation(f *testing.F) {
	f.Add("/v1/service_bindings/b/operations/o")
	f.Add("https://sm.example/v1/service_bindings/..%2fb/operations/o?x=y")
	f.Fuzz(func(t *testing.T, location string) {
		binding, operation := readLocation(location)
		if (binding == "") != (operation == "") || binding != "" && (!segment.MatchString(binding) || !segment.MatchString(operation)) {
			t.Errorf("%q and %q", binding, operation)
		}
		if got := literal(location); strings.Count(strings.ReplaceAll(got, "''", ""), "'") != 2 && !strings.Contains(location, "'") {
			t.Errorf("%q", got)
		}
	})
}
