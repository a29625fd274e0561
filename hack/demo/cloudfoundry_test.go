package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/cloudfoundry"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// What a workload reads out of its Secret is served, is what the ledger calls the key, and
// is not served any more when the key has ended and the workload has restarted.
func TestServiceKeysOfEachTypeAreUsedAsWorkloadsDo(t *testing.T) {
	h := &cloudFoundryHouse{}
	if _, err := h.open(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	teams, err := h.teams(t.Context(), settings{})
	if err != nil {
		t.Fatal(err)
	}
	account := h.account(t, teams[0])
	for i, c := range teams[0].credentials {
		t.Run(c.Name, func(t *testing.T) {
			parameters, err := json.Marshal(c.Spec.CloudFoundry)
			if err != nil {
				t.Fatal(err)
			}
			container := located(t, account, parameters)
			r := upstream.Request{Parameters: parameters, Container: container, Name: c.Name, Mark: upstream.Mark(fmt.Sprintf("%032x", i))}
			if r.Material, err = account.(upstream.Drafter).Draft(r, rand.Reader); err != nil {
				t.Fatal(err)
			}
			issued, err := account.Issue(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			p := h.show(&corev1.Secret{Data: map[string][]byte{
				cfDocument: []byte(issued.Material.Document.Reveal()), cfPrivateKey: []byte(issued.Material.PrivateKey.Reveal()),
			}}, c)
			var v version
			for _, record := range h.sim.Ledger().Live() {
				if found, ours := h.read(record.Kind, record.Attrs); ours && found.mark == string(r.Mark) {
					v = found
				}
			}
			if v.held != p.held || v.place != h.place(c) {
				t.Errorf("the Secret shows %q of %s, the ledger %q of %s", p.held, h.place(c), v.held, v.place)
			}
			w := h.caller(c)
			defer w.rest()
			eventuallyServed(t, w, p)
			if err := account.Revoke(t.Context(), upstream.Handle{Parameters: parameters, Container: container, Name: r.Name, Mark: r.Mark, ID: issued.ID}); err != nil {
				t.Fatal(err)
			}
			w.rest()
			if err := w.call(t.Context(), p); err == nil {
				t.Error("an ended key is served")
			}
		})
	}
}

// located is where the keys of some parameters live. An instance that is to be made is made, as the
// operator does.
func located(t *testing.T, account upstream.Upstream, parameters json.RawMessage) string {
	t.Helper()
	provisioner, ok := account.(upstream.Provisioner)
	if !ok {
		t.Fatal("the account makes no instances")
	}
	if provisioner.Managed(parameters) == "" {
		container, err := account.Locate(t.Context(), parameters)
		if err != nil {
			t.Fatal(err)
		}
		return container
	}
	place := upstream.Place{Parameters: parameters, Owner: "0123456789abcdef", Name: "logs-aaaabbbbccccd"}
	if err := provisioner.Provision(t.Context(), place); err != nil {
		t.Fatal(err)
	}
	found, err := provisioner.Find(t.Context(), place)
	if err != nil || !found.Usable || found.Differs {
		t.Fatalf("the instance is %+v: %v", found, err)
	}
	return found.Container
}

// eventuallyServed waits until the token endpoint knows a new key.
func eventuallyServed(t *testing.T, w caller, p pair) {
	t.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	var err error
	for range 200 {
		if err = w.call(t.Context(), p); err == nil {
			return
		}
		<-look.C
	}
	t.Fatal(err)
}

// account opens the issuer of a team as the operator does.
func (*cloudFoundryHouse) account(t *testing.T, team *team) upstream.Upstream {
	t.Helper()
	s := upstream.Settings{Login: map[string]material.Secret{}, Transport: upstream.TransportOptions{
		AllowLoopback: true, PerSecond: 100, Burst: 100, Timeout: 10 * time.Second, UserAgent: "test",
	}}
	for _, object := range team.objects {
		switch o := object.(type) {
		case *corev1.Secret:
			for name, value := range o.StringData {
				s.Login[name] = material.New(value)
			}
		case *v1alpha1.CredentialIssuer:
			parameters, err := json.Marshal(o.Spec.CloudFoundry)
			if err != nil {
				t.Fatal(err)
			}
			s.Parameters = parameters
		}
	}
	account, err := cloudfoundry.NewDriver(time.Now).Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return account
}
