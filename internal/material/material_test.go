package material

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const canary = "canary-9f2c"

// misfit is a variable, so that vet does not see what is wrong with it.
var misfit = "%d %t"

func TestASecretShowsItselfNowhere(t *testing.T) {
	m := Material{ClientID: "id", ClientSecret: New(canary)}
	asJSON, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", m.ClientSecret, "material", m)
	for name, got := range map[string]string{
		"%v": fmt.Sprintf("%v", m), "%+v": fmt.Sprintf("%+v", m), "%#v": fmt.Sprintf("%#v", m),
		"%s": fmt.Sprintf("%10s", m.ClientSecret), "%q": fmt.Sprintf("%q", m.ClientSecret), "%x": fmt.Sprintf("%x", m.ClientSecret),
		"pointer": fmt.Sprintf("%+v", &m), "a verb that does not fit": fmt.Sprintf(misfit, m, &m), "error": fmt.Errorf("failed with %v", m.ClientSecret).Error(),
		"JSON": string(asJSON), "slog": log.String(),
	} {
		if strings.Contains(got, canary) || strings.Contains(got, fmt.Sprintf("%x", canary)) {
			t.Errorf("%s shows the secret: %s", name, got)
		}
	}
}

func TestFieldsHoldWhatIsThereAndNothingElse(t *testing.T) {
	want := map[string]string{"clientID": "id", "clientSecret": canary}
	if diff := cmp.Diff(want, Material{ClientID: "id", ClientSecret: New(canary)}.Fields()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{}, Material{}.Fields()); diff != "" {
		t.Error(diff)
	}
}

func TestMaterialIsEqualOnlyIfIDAndSecretAre(t *testing.T) {
	a := Material{ClientID: "id", ClientSecret: New("s")}
	for name, tc := range map[string]struct {
		other Material
		want  bool
	}{
		"the same":        {Material{ClientID: "id", ClientSecret: New("s")}, true},
		"another secret":  {Material{ClientID: "id", ClientSecret: New("t")}, false},
		"another id":      {Material{ClientID: "di", ClientSecret: New("s")}, false},
		"a longer secret": {Material{ClientID: "id", ClientSecret: New("ss")}, false},
		"nothing":         {Material{}, false},
	} {
		if got := a.Equal(tc.other); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
