package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/venafi"
)

// What a workload reads out of its Secret is served, is what the ledger calls the version,
// and is not served any more, on the same connection, when the version has ended.
func TestTokensAndCertificatesAreUsedAsWorkloadsDo(t *testing.T) {
	h := &venafiHouse{}
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
	for i, c := range teams[0].credentials {
		t.Run(c.Name, func(t *testing.T) {
			account := h.account(t, teams[0], c.Spec.IssuerRef.Name)
			parameters, err := json.Marshal(c.Spec.Venafi)
			if err != nil {
				t.Fatal(err)
			}
			r := upstream.Request{Parameters: parameters, Name: "cl-" + c.Name, Mark: upstream.Mark(fmt.Sprintf("%032x", i))}
			if r.Container, err = account.Locate(t.Context(), parameters); err != nil {
				t.Fatal(err)
			}
			if drafter, ok := account.(upstream.Drafter); ok {
				if r.Material, err = drafter.Draft(r, rand.Reader); err != nil {
					t.Fatal(err)
				}
			}
			issued := eventuallyIssued(t, account, r)
			p := h.show(&corev1.Secret{Data: map[string][]byte{
				venafiTokenKey: []byte(issued.Material.Token.Reveal()), corev1.TLSPrivateKeyKey: []byte(issued.Material.PrivateKey.Reveal()),
				corev1.TLSCertKey: []byte(issued.Material.Certificate + issued.Material.Chain),
			}}, c)
			var v version
			for _, record := range h.sim.Ledger().Live() {
				if found, ours := h.read(record.Kind, record.Attrs); ours && found.place == h.place(c) {
					v = found
				}
			}
			mark := string(r.Mark)
			if c.Spec.Venafi.Token != nil {
				mark = p.held
			}
			if v.held != p.held || v.held == "" || v.mark != mark {
				t.Errorf("the Secret shows %q with mark %q, the ledger %q with mark %q", p.held, mark, v.held, v.mark)
			}
			w := h.caller(c)
			defer w.rest()
			if err := w.call(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if err := account.Revoke(t.Context(), upstream.Handle{
				Parameters: parameters, Container: r.Container, Name: r.Name, Mark: r.Mark, ID: issued.ID, Material: issued.Material, SecretHandle: issued.SecretHandle,
			}); err != nil {
				t.Fatal(err)
			}
			if err := w.call(t.Context(), p); err == nil {
				t.Error("what has ended is served")
			}
		})
	}
}

// eventuallyIssued repeats a request until the platform has worked on it.
func eventuallyIssued(t *testing.T, account upstream.Upstream, r upstream.Request) upstream.Issued {
	t.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for range 100 {
		issued, err := account.Issue(t.Context(), r)
		if err == nil {
			return issued
		}
		if upstream.ClassOf(err) != upstream.Pending {
			t.Fatal(err)
		}
		r.ID, r.SecretHandle, r.Repeat = issued.ID, issued.SecretHandle, true
		<-look.C
	}
	t.Fatal("it was never issued")
	return upstream.Issued{}
}

// account opens an issuer of a team as the operator does.
func (*venafiHouse) account(t *testing.T, team *team, issuer string) upstream.Upstream {
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
			if o.Name != issuer {
				continue
			}
			wanted := o.Spec.Venafi.DeepCopy()
			wanted.Login.Method = "Password" // a certificate of the platform's own comes later
			parameters, err := json.Marshal(wanted)
			if err != nil {
				t.Fatal(err)
			}
			s.Parameters = parameters
		}
	}
	account, err := venafi.NewDriver(time.Now).Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return account
}
