package apiconnectsim

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRenamingMovesPathsAndKeepsIDs(t *testing.T) {
	for name, tc := range map[string]struct {
		path    Path
		moved   string // the path by names, after the rename
		leads   string // what leads to it still, by ids
		nowhere string
	}{
		"a consumer organization": {
			path:    Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail"},
			moved:   "/api/apps/acme/production/renamed/billing/credentials/one",
			nowhere: "/api/apps/acme/production/retail/billing/credentials/one",
		},
		"an app": {
			path:    billing,
			moved:   "/api/apps/acme/production/retail/renamed/credentials/one",
			nowhere: credentials + "/one",
		},
		"a credential": {
			path:    Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail", App: "billing", Credential: "one"},
			moved:   credentials + "/renamed",
			nowhere: credentials + "/one",
		},
		"a catalog": {
			path:    Path{Org: "acme", Catalog: "production"},
			moved:   "/api/apps/acme/renamed/retail/billing/credentials/one",
			nowhere: credentials + "/one",
		},
		"an organization": {
			path:    Path{Org: "acme"},
			moved:   "/api/apps/renamed/production/retail/billing/credentials/one",
			nowhere: credentials + "/one",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			c := s.seeded(billing, SeedCredential{Name: "one"})
			ids, err := s.IDs(Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail", App: "billing", Credential: "one"})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Rename(tc.path, "renamed"); err != nil {
				t.Fatal(err)
			}
			byIDs := "/api/apps/" + ids.Org + "/" + ids.Catalog + "/" + ids.ConsumerOrg + "/" + ids.App + "/credentials/" + ids.Credential
			for _, path := range []string{tc.moved, byIDs} {
				if found := s.want(200, http.MethodGet, path, nil); found.str("id") != c.ID || found.str("client_id") != c.ClientID {
					t.Errorf("%s: %s", path, found.text)
				}
			}
			s.want(404, http.MethodGet, tc.nowhere, nil)
			// The 404 proves nothing about the credential.
			if status := s.through(c.ClientID, c.ClientSecret); status != 200 {
				t.Errorf("the gateway after the rename: %d", status)
			}
			s.balanced()
		})
	}
}

func TestARenameNeedsAFreeName(t *testing.T) {
	s := newStand(t)
	s.seeded(billing, SeedCredential{Name: "one"})
	s.seeded(billing, SeedCredential{Name: "two"})
	if _, err := s.Add(Path{Org: "acme", Catalog: "production", ConsumerOrg: "wholesale"}); err != nil {
		t.Fatal(err)
	}
	one := billing
	one.Credential = "one"
	for name, rename := range map[string]struct {
		path Path
		name string
	}{
		"of another credential":            {one, "two"},
		"of another consumer organization": {Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail"}, "wholesale"},
		"that is none":                     {one, "a/b"},
		"of nothing":                       {Path{}, "x"},
		"of what does not exist":           {Path{Org: "x"}, "y"},
	} {
		if err := s.Rename(rename.path, rename.name); err == nil {
			t.Errorf("a name %s was given", name)
		}
	}
}

func TestDeletingAnAppRevokesWhatItHolds(t *testing.T) {
	for name, path := range map[string]Path{
		"the app itself":            billing,
		"its consumer organization": {Org: "acme", Catalog: "production", ConsumerOrg: "retail"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			c := s.seeded(billing, SeedCredential{Name: "one"})
			if err := s.Delete(path); err != nil {
				t.Fatal(err)
			}
			s.want(404, http.MethodGet, credentials+"/"+c.ID, nil)
			if answer := s.want(200, http.MethodGet, catalogWide, nil); answer.body["total_results"] != float64(0) {
				t.Errorf("%s", answer.text)
			}
			if status := s.through(c.ClientID, c.ClientSecret); status != 401 {
				t.Errorf("the gateway: %d", status)
			}
			if revoked := s.Ledger().Revoked(); len(revoked) != 1 || revoked[0].RevokedHow != "app-deleted" {
				t.Errorf("ledger %+v", revoked)
			}
			s.balanced()
		})
	}
	s := newStand(t)
	if err := s.Delete(Path{Org: "acme"}); err == nil {
		t.Error("an organization was deleted")
	}
}

func TestAPersonsHandsOnACredential(t *testing.T) {
	s := newStand(t)
	c := s.seeded(billing, SeedCredential{Name: "one"})
	one := billing
	one.Credential = "one"
	reset, err := s.ResetSecret(one)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Material{ID: c.ID, Name: "one", ClientID: c.ClientID, ClientSecret: reset.ClientSecret}, reset); diff != "" || reset.ClientSecret == c.ClientSecret {
		t.Errorf("%+v %s", reset, diff)
	}
	// The hash in a plain list gives the reset away.
	if listed := s.want(200, http.MethodGet, catalogWide, nil).results()[0]; listed["client_secret_hashed"] != hashed(reset.ClientSecret) {
		t.Errorf("%v", listed)
	}
	if old, fresh := s.through(c.ClientID, c.ClientSecret), s.through(c.ClientID, reset.ClientSecret); old != 401 || fresh != 200 {
		t.Errorf("the old %d, the new %d", old, fresh)
	}
	if err := s.Delete(one); err != nil {
		t.Fatal(err)
	}
	if revoked := s.Ledger().Revoked(); len(revoked) != 1 || revoked[0].RevokedHow != "human" {
		t.Errorf("ledger %+v", revoked)
	}
	if event := s.await(EventHuman); event.Attrs["what"] != "reset-secret" || event.Attrs["app"] != "billing" {
		t.Errorf("event %+v", event)
	}
	for name, err := range map[string]error{
		"a reset of an app":             func() error { _, err := s.ResetSecret(billing); return err }(),
		"a subscription of a catalog":   s.Subscribe(Path{Org: "acme", Catalog: "production"}, true),
		"predecessors of no app":        func() error { _, err := s.RevokePredecessors(Path{Org: "acme"}); return err }(),
		"a deletion of what is gone":    s.Delete(one),
		"a subscription of what is not": s.Subscribe(Path{Org: "acme", Catalog: "production", ConsumerOrg: "retail", App: "x"}, true),
	} {
		if err == nil {
			t.Errorf("%s was done", name)
		}
	}
}
