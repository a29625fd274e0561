package apiconnectsim

import (
	"fmt"
	"net/http"
	"testing"
)

// crowd fills the sample app with ten thousand credentials.
func crowd(s *stand) {
	if _, err := s.Seed(Seed{Orgs: []SeedOrg{{Name: "acme", Catalogs: []SeedCatalog{{
		Name: "production", ConsumerOrgs: []SeedConsumerOrg{{Name: "retail", Apps: []SeedApp{{Name: "billing", Generate: 10_000}}}},
	}}}}}); err != nil {
		s.t.Fatal(err)
	}
}

func BenchmarkCreateAndDeleteAmongTenThousand(b *testing.B) {
	s := newStand(b)
	crowd(s)
	for i := 0; b.Loop(); i++ {
		made := s.want(201, http.MethodPost, credentials, map[string]string{"name": fmt.Sprintf("b-%d", i)})
		s.want(200, http.MethodDelete, credentials+"/"+made.str("id"), nil)
	}
}

func BenchmarkReadTenThousandInPagesOfFiveHundred(b *testing.B) {
	s := newStand(b)
	crowd(s)
	for b.Loop() {
		for offset := 0; offset < 10_000; offset += 500 {
			s.want(200, http.MethodGet, fmt.Sprintf("%s?limit=500&offset=%d", catalogWide, offset), nil)
		}
	}
}

func BenchmarkGatewayCall(b *testing.B) {
	s := newStand(b)
	crowd(s)
	c := s.seeded(billing, SeedCredential{Name: "one"})
	for b.Loop() {
		if status := s.through(c.ClientID, c.ClientSecret); status != 200 {
			b.Fatalf("%d", status)
		}
	}
}
