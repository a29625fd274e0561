package main

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/webmethodsgateway"
)

// What a workload reads out of its Secret is served, is what the ledger calls the version,
// and is not served any more when the version has ended.
func TestKeysAndClientsAreUsedAsWorkloadsDo(t *testing.T) {
	h := &gatewayHouse{}
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
	issuer, err := json.Marshal(map[string]string{"url": h.sim.URL(), "gatewayURL": h.sim.RuntimeURL(), "caBundle": string(h.sim.CA())})
	if err != nil {
		t.Fatal(err)
	}
	account, err := webmethodsgateway.NewDriver().Open(upstream.Settings{
		Parameters: issuer,
		Login:      map[string]material.Secret{"username": material.New(gatewayUser), "password": material.New(gatewayPassword)},
		Transport:  upstream.TransportOptions{AllowLoopback: true, PerSecond: 100, Burst: 100, Timeout: 10 * time.Second, UserAgent: "test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range teams[0].credentials {
		t.Run(c.Name, func(t *testing.T) {
			parameters, err := json.Marshal(c.Spec.WebMethodsGateway)
			if err != nil {
				t.Fatal(err)
			}
			r := upstream.Request{Parameters: parameters, Name: "cl-" + c.Name, Mark: upstream.Mark(fmt.Sprintf("%032x", i))}
			if r.Container, err = account.Locate(t.Context(), parameters); err != nil {
				t.Fatal(err)
			}
			issued := eventuallyIssued(t, account, r)
			p := h.show(&corev1.Secret{Data: map[string][]byte{
				gatewayKey:  []byte(issued.Material.APIKey.Reveal()),
				"client_id": []byte(issued.Material.ClientID), "client_secret": []byte(issued.Material.ClientSecret.Reveal()),
			}}, c)
			var v version
			for _, record := range h.sim.Ledger().Live() {
				if found, ours := h.read(record.Kind, record.Attrs); ours && found.place == h.place(c) {
					v = found
				}
			}
			if v.held != p.held || v.held == "" || v.mark != string(r.Mark) {
				t.Errorf("the Secret shows %q, the ledger %q with mark %q", p.held, v.held, v.mark)
			}
			w := h.caller(c)
			defer w.rest()
			if err := w.call(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			// The second call deletes what the first has suspended.
			for range 2 {
				err = account.Revoke(t.Context(), upstream.Handle{Parameters: parameters, Container: r.Container, Name: r.Name, Mark: r.Mark, ID: issued.ID, Material: issued.Material})
				if upstream.ClassOf(err) != upstream.Pending {
					break
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := w.call(t.Context(), p); err == nil {
				t.Error("what has ended is served")
			}
		})
	}
}
