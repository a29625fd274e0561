package v1alpha1

import (
	"reflect"
	"testing"
)

// TestEveryLoginMayBeACredentials: an upstream that is added must not be forgotten where logins are
// asked for, or Claviger would revoke what it logs in with.
func TestEveryLoginMayBeACredentials(t *testing.T) {
	count := 0
	spec := reflect.TypeFor[CredentialIssuerSpec]()
	for i := range spec.NumField() {
		field := spec.Field(i)
		if field.Type.Kind() != reflect.Pointer || field.Type.Elem().Kind() != reflect.Struct {
			continue
		}
		if _, ok := field.Type.Elem().FieldByName("Login"); !ok {
			continue
		}
		count++
		s := CredentialIssuerSpec{}
		member := reflect.New(field.Type.Elem())
		reflect.ValueOf(&s).Elem().Field(i).Set(member)
		login := member.Elem().FieldByName("Login")
		login.FieldByName("SecretRef").FieldByName("Name").SetString("login")
		if name := s.LoginCredential(); name != "" {
			t.Errorf("%s: %q without a credential", field.Name, name)
		}
		member.Elem().FieldByName("CABundle").SetString("authorities")
		if bundle := s.CABundle(); bundle != "authorities" {
			t.Errorf("%s: the authorities are %q", field.Name, bundle)
		}
		ref := login.FieldByName("CredentialRef")
		if !ref.IsValid() {
			t.Errorf("%s has no credentialRef", field.Name)
			continue
		}
		ref.Set(reflect.ValueOf(&CredentialReference{Name: "keeper"}))
		if name := s.LoginCredential(); name != "keeper" {
			t.Errorf("%s: the credential of the login is %q", field.Name, name)
		}
		if name := s.LoginSecret(); name != "login" {
			t.Errorf("%s: the Secret of the login is %q", field.Name, name)
		}
	}
	if count < 8 {
		t.Errorf("only %d upstreams were found", count)
	}
}
