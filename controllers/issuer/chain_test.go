package issuer

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

func TestCirclesOfLogins(t *testing.T) {
	at := func(name string) node {
		kind := "CredentialIssuer"
		if name[0] == 'c' {
			kind = "APIClientCredential"
		}
		return node{kind, types.NamespacedName{Namespace: "payments", Name: name}}
	}
	for name, tc := range map[string]struct {
		needs map[string]string
		want  []string
	}{
		"a login of a person":              {map[string]string{}, nil},
		"a chain":                          {map[string]string{"a": "c1", "c1": "b", "b": "c2", "c2": "d"}, nil},
		"a chain to what does not exist":   {map[string]string{"a": "c1"}, nil},
		"an issuer that makes its login":   {map[string]string{"a": "c1", "c1": "a"}, []string{"CredentialIssuer a", "APIClientCredential c1", "CredentialIssuer a"}},
		"two that make each other's login": {map[string]string{"a": "c1", "c1": "b", "b": "c2", "c2": "a"}, []string{"CredentialIssuer a", "APIClientCredential c1", "CredentialIssuer b", "APIClientCredential c2", "CredentialIssuer a"}},
		"one that leads into a circle":     {map[string]string{"a": "c1", "c1": "b", "b": "c2", "c2": "b"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := cycle(at("a"), func(n node) (node, bool, error) {
				next, more := tc.needs[n.key.Name]
				if !more {
					return node{}, false, nil
				}
				return at(next), true, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("cycle (-want +got):\n%s", diff)
			}
		})
	}
	unread := errors.New("the cache has not started")
	if _, err := cycle(at("a"), func(node) (node, bool, error) { return node{}, false, unread }); !errors.Is(err, unread) {
		t.Errorf("%v", err)
	}
}
