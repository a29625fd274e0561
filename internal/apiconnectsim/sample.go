package apiconnectsim

// Sample is a small world to try things in: the organization acme with the catalog
// production, in it the consumer organization retail with the app billing, and
// three logins of the realm provider/default-idp-2. svc-rotator may do everything,
// svc-viewer may only look, svc-nobody may do nothing. Nothing here is a secret of
// anything but a simulator.
func Sample() Seed {
	const realm = "provider/default-idp-2"
	return Seed{
		Toolkits: []Toolkit{{ClientID: "toolkit", ClientSecret: "toolkit-secret"}},
		Logins: []Login{
			{Username: "svc-rotator", Password: "rotator-password", Realm: realm},
			{Username: "svc-viewer", Password: "viewer-password", Realm: realm, Rights: []Right{ViewConsumerOrgs, ViewApps}},
			{Username: "svc-nobody", Password: "nobody-password", Realm: realm, Rights: []Right{}},
		},
		Orgs: []SeedOrg{{
			Name: "acme", Title: "Acme",
			Catalogs: []SeedCatalog{{
				Name: "production", Title: "Production",
				ConsumerOrgs: []SeedConsumerOrg{{
					Name: "retail", Title: "Retail",
					Owner: &Owner{Username: "jo", Email: "jo@acme.example", FirstName: "Jo", LastName: "Doe"},
					Apps:  []SeedApp{{Name: "billing", Title: "Billing"}},
				}},
			}},
		}},
	}
}
