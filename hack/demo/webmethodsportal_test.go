package main

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/webmethodsportal"
)

// What a workload reads out of its Secret is served, is what the ledger calls the
// application, and is not served any more when that has ended.
func TestApplicationsOfThePortalAreUsedAsWorkloadsDo(t *testing.T) {
	h := &portalHouse{}
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
			r := upstream.Request{Name: c.Name, Mark: upstream.Mark(fmt.Sprintf("%032x", i+1))}
			if r.Parameters, err = json.Marshal(c.Spec.WebMethodsPortal); err != nil {
				t.Fatal(err)
			}
			if r.Container, err = account.Locate(t.Context(), r.Parameters); err != nil {
				t.Fatal(err)
			}
			issued := issueApplication(t, account, r)
			p := h.show(&corev1.Secret{Data: map[string][]byte{
				portalKey: []byte(issued.Material.APIKey.Reveal()), "client_id": []byte(issued.Material.ClientID), "client_secret": []byte(issued.Material.ClientSecret.Reveal()),
			}}, c)
			for _, record := range h.sim.Ledger().Live() {
				v, ours := h.read(record.Kind, record.Attrs)
				if !ours || v.mark != string(r.Mark) || v.held != p.held || v.place != h.place(c) {
					t.Errorf("the Secret shows %q of %s, the ledger %+v", p.held, h.place(c), v)
				}
			}
			w := h.caller(c)
			defer w.rest()
			if err := w.call(t.Context(), p); err != nil {
				t.Error(err)
			}
			handle := upstream.Handle{Parameters: r.Parameters, Container: r.Container, Name: r.Name, Mark: r.Mark, ID: issued.ID}
			if err := account.Revoke(t.Context(), handle); err != nil {
				t.Fatal(err)
			}
			if err := w.call(t.Context(), p); err == nil {
				t.Error("an application that has ended is served")
			}
		})
	}
}

func issueApplication(t *testing.T, account upstream.Upstream, r upstream.Request) upstream.Issued {
	t.Helper()
	for range 10 {
		issued, err := account.Issue(t.Context(), r)
		if err == nil {
			return issued
		}
		if upstream.ClassOf(err) != upstream.Pending {
			t.Fatal(err)
		}
		r.ID = issued.ID
	}
	t.Fatal("it is still under way after ten calls")
	return upstream.Issued{}
}

// account opens the one that the manifests of a team name.
func (h *portalHouse) account(t *testing.T, team *team) upstream.Upstream {
	t.Helper()
	s := upstream.Settings{Transport: upstream.TransportOptions{AllowLoopback: true, PerSecond: 1e3, Burst: 1e3, Timeout: 10 * time.Second}}
	for _, o := range team.objects {
		switch o := o.(type) {
		case *corev1.Secret:
			s.Login = map[string]material.Secret{}
			for key, value := range o.StringData {
				s.Login[key] = material.New(value)
			}
		case *v1alpha1.CredentialIssuer:
			s.Parameters, _ = json.Marshal(o.Spec.WebMethodsPortal) // plain texts always marshal
		}
	}
	account, err := webmethodsportal.NewDriver().Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return account
}
