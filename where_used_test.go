package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/cloudintegrationsim"
)

// tenantFor runs a tenant and returns the flags that reach it.
func tenantFor(t *testing.T, tenant cloudintegrationsim.Tenant) []string {
	t.Helper()
	const secret = "canary-tenant-secret"
	tenant.Clients = append(tenant.Clients, cloudintegrationsim.Client{ID: "reader", Secret: secret})
	sim := cloudintegrationsim.New(cloudintegrationsim.Options{Tenant: tenant})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	folder := t.TempDir()
	for name, text := range map[string]string{"client_id": "reader\n", "client_secret": secret, "ca.pem": string(sim.CA())} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"--url=" + sim.URL(), "--token-url=" + sim.TokenURL(), "--login=" + folder, "--ca-file=" + filepath.Join(folder, "ca.pem"), "--allow-insecure-upstreams"}
}

var tenant = cloudintegrationsim.Tenant{
	Flows: []cloudintegrationsim.Flow{
		{
			ID: "Orders", Package: "Sales", Version: "1.0.1", Deployed: "1.0.0", Steps: []map[string]string{{"credentialName": "{{Cred}}"}},
			Defaults: map[string]string{"Cred": "DEFAULT"}, Configured: map[string]string{"Cred": "ACME_ORDERS"},
		},
		{ID: "Mails", Package: "Sales", Version: "1.0.0", Deployed: "1.0.0", Steps: []map[string]string{{"credentialName": "FOREIGN"}, {"credentialName": "GONE"}}},
	},
	UserCredentials: []string{"ACME_ORDERS", "FOREIGN", "IDLE"},
}

func TestWhereUsedPrintsJSON(t *testing.T) {
	var out bytes.Buffer
	if err := whereUsed(t.Context(), append(tenantFor(t, tenant), "--output=json", "--managed=ACME_ORDERS,IDLE"), &out); err != nil {
		t.Fatal(err)
	}
	var got whereUsedReport
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := whereUsedReport{
		Flows: 2, Complete: true, Unmanaged: []string{"FOREIGN"}, Missing: []string{"GONE"}, Unused: []string{"IDLE"}, Differs: []string{"Orders"}, Unreadable: []unreadableFlow{},
		References: []reportedUse{
			{"ACME_ORDERS", "Orders", "ViaParameter", "credentialName"}, {"FOREIGN", "Mails", "Exact", "credentialName"}, {"GONE", "Mails", "Exact", "credentialName"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhereUsedPrintsATableAndSaysWhatItCouldNotSee(t *testing.T) {
	hiding := tenant
	hiding.Flows = append(hiding.Flows[:2:2], cloudintegrationsim.Flow{ID: "Bought", Package: "Sales", Version: "1", Deployed: "1", ConfigureOnly: true})
	var out bytes.Buffer
	if err := whereUsed(t.Context(), append(tenantFor(t, hiding), "--managed=ACME_ORDERS"), &out); err != nil {
		t.Fatal(err)
	}
	want := `ALIAS        FLOW    HOW           FIELD
ACME_ORDERS  Orders  ViaParameter  credentialName
FOREIGN      Mails   Exact         credentialName
GONE         Mails   Exact         credentialName

used, and not in the tenant: GONE
deployed in another version than designed: Orders
used, and managed by nobody: FOREIGN
INCOMPLETE: Bought: its design is refused for download (403), so only its parameters were looked at
3 flows are deployed; the answer is incomplete.
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestWhereUsedRefusesWhatCannotWork(t *testing.T) {
	good := tenantFor(t, tenant)
	wrong := t.TempDir()
	for name, text := range map[string]string{"client_id": "reader", "client_secret": "canary-wrong"} {
		if err := os.WriteFile(filepath.Join(wrong, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for words, arguments := range map[string][]string{
		"--login is missing":                     {"--url=https://h", "--token-url=https://h"},
		"--output is table or json":              append(good[:5:5], "--output=xml"),
		"url must be an https URL":               append(good[:5:5], "--url=h"),
		"only https is called":                   {good[0], good[1], good[2], good[3]},
		"check the client in the login":          append(good[:5:5], "--login="+wrong),
		"needs the keys client_id and":           append(good[:5:5], "--login="+t.TempDir()),
		"flag provided but not defined: -secret": append(good[:5:5], "--secret=x"),
	} {
		var out bytes.Buffer
		err := whereUsed(t.Context(), arguments, &out)
		if words == "only https is called" {
			words = "is refused" // loopback, without the flag for tests
		}
		if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "canary") {
			t.Errorf("want %q, got %v", words, err)
		}
	}
}
