package main

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/cloudfoundry"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/servicemanagersim"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// What a workload reads out of its Secret is served, is what the ledger calls the binding, and
// is not served any more when the binding has ended and the workload has restarted.
func TestBindingsOfASubaccountAreUsedAsWorkloadsDo(t *testing.T) {
	h := &serviceManagerHouse{}
	if _, err := h.open(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	if err := h.sim.Adjust(func(b *servicemanagersim.Behaviour) { b.Async = false }); err != nil {
		t.Fatal(err)
	}
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
			container, err := account.Locate(t.Context(), parameters)
			if err != nil {
				t.Fatal(err)
			}
			r := upstream.Request{Parameters: parameters, Container: container, Name: c.Name, Mark: upstream.Mark(fmt.Sprintf("%032x", i))}
			issued, err := account.Issue(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			p := h.show(&corev1.Secret{Data: map[string][]byte{cfDocument: []byte(issued.Material.Document.Reveal())}}, c)
			var v version
			for _, record := range h.sim.Ledger().Live() {
				if found, ours := h.read(record.Kind, record.Attrs); ours && found.mark == string(r.Mark) {
					v = found
				}
			}
			if v.held == "" || v.held != p.held || v.place != h.place(c) {
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

// account opens the issuer of a team as the operator does.
func (*serviceManagerHouse) account(t *testing.T, team *team) upstream.Upstream {
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
			parameters, err := json.Marshal(o.Spec.SAPServiceManager)
			if err != nil {
				t.Fatal(err)
			}
			s.Parameters = parameters
		}
	}
	account, err := cloudfoundry.NewManagerDriver(time.Now).Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return account
}
