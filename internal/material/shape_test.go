package material

import "testing"

func TestAShapeTellsWhatMaterialLacksAndWhatNobodyAnnounced(t *testing.T) {
	shape := Shape{Always: []string{FieldClientID, FieldClientSecret}, Sometimes: []string{AttributeURL}}
	for name, tc := range map[string]struct {
		m    Material
		want string
	}{
		"all of it":             {Material{ClientID: "id", ClientSecret: New(canary), Attributes: map[string]string{"url": "u"}}, ""},
		"what is always there":  {Material{ClientID: "id", ClientSecret: New(canary)}, ""},
		"a field is missing":    {Material{ClientID: "id"}, "it lacks clientSecret"},
		"a field is too many":   {Material{ClientID: "id", ClientSecret: New(canary), Token: New(canary)}, "token was not announced"},
		"both, without a value": {Material{ClientID: "id", APIKey: New(canary)}, "apiKey was not announced, it lacks clientSecret"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := shape.Unfit(tc.m); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	if (Shape{}).Known() || !shape.Known() || shape.Has(AttributeURL) || !shape.May(AttributeURL) || shape.May(FieldToken) {
		t.Error("a shape knows more or less than it was told")
	}
}

func TestWhatIsPEMEndsWithALineBreak(t *testing.T) {
	fields := Material{Certificate: "C", Chain: "I\n", PrivateKey: New("K"), Document: New("{}")}.Fields()
	for field, want := range map[string]string{FieldCertificate: "C\n", FieldChain: "I\n", FieldPrivateKey: "K\n", FieldDocument: "{}"} {
		if fields[field] != want {
			t.Errorf("%s is %q, want %q", field, fields[field], want)
		}
	}
}
