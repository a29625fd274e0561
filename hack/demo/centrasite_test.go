package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/centrasite"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// What a workload reads out of its Secret is served, is what the ledger calls the version, and
// is not served any more when the version has ended. What needs an approval gets one.
func TestKeysOfCentraSiteAreUsedAsWorkloadsDo(t *testing.T) {
	h := &centraSiteHouse{}
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
	places := map[string]bool{}
	for i, c := range teams[0].credentials {
		if places[h.place(c)] {
			t.Errorf("%s has the place of another", c.Name)
		}
		places[h.place(c)] = true
		parameters, err := json.Marshal(c.Spec.CentraSite)
		if err != nil {
			t.Fatal(err)
		}
		r := upstream.Request{Parameters: parameters, Name: "cl-" + c.Name, Mark: upstream.Mark(fmt.Sprintf("%032x", i+1))}
		if r.Container, err = account.Locate(t.Context(), parameters); err != nil {
			t.Fatal(err)
		}
		if r.Material, err = account.(upstream.Drafter).Draft(r, rand.Reader); err != nil {
			t.Fatal(err)
		}
		issued := untilApproved(t, account, r)
		p := h.show(&corev1.Secret{Data: map[string][]byte{
			"api_key": []byte(issued.Material.APIKey.Reveal()), "client_id": []byte(issued.Material.ClientID), "client_secret": []byte(issued.Material.ClientSecret.Reveal()),
		}}, c)
		var v version
		for _, record := range h.sim.Ledger().Live() {
			if found, ours := h.read(record.Kind, record.Attrs); ours && found.place == h.place(c) {
				v = found
			}
		}
		if v.held != p.held || v.held == "" || v.mark != string(r.Mark) {
			t.Errorf("the Secret shows %q with mark %q, the ledger %q with mark %q", p.held, r.Mark, v.held, v.mark)
		}
		w := h.caller(c)
		if err := w.call(t.Context(), p); err != nil {
			t.Error(err)
		}
		if err := account.Revoke(t.Context(), upstream.Handle{
			Parameters: parameters, Container: r.Container, Name: r.Name, Mark: r.Mark, ID: issued.ID, Material: issued.Material,
		}); err != nil {
			t.Error(err)
		}
		if err := w.call(t.Context(), p); err == nil {
			t.Error("what has ended is served")
		}
		w.rest()
	}
}

// untilApproved repeats a request until the reviewer has agreed.
func untilApproved(t *testing.T, account upstream.Upstream, r upstream.Request) upstream.Issued {
	t.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for range 100 {
		issued, err := account.Issue(t.Context(), r)
		if err == nil {
			return issued
		}
		if upstream.ClassOf(err) != upstream.AwaitingUpstreamApproval {
			t.Fatal(err)
		}
		r.ID = issued.ID
		<-look.C
	}
	t.Fatal("nobody agreed")
	return upstream.Issued{}
}

// account opens the issuer of a team as the operator does.
func (*centraSiteHouse) account(t *testing.T, team *team) upstream.Upstream {
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
			parameters, err := json.Marshal(o.Spec.CentraSite)
			if err != nil {
				t.Fatal(err)
			}
			s.Parameters = parameters
		}
	}
	account, err := centrasite.NewDriver(time.Now).Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return account
}
