package venafi_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
	"github.com/claviger-dev/claviger/internal/venafi"
	"github.com/claviger-dev/claviger/internal/venafisim"
)

const account = "system:serviceaccount:payments:claviger-tpp"

// minted makes tokens of a cluster that a platform trusts.
func minted(t *testing.T, sim *venafisim.Sim, clock simkit.Clock) func(audience string) material.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	point, encode := public.Bytes()[1:], base64.RawURLEncoding.EncodeToString
	keys := fmt.Sprintf(`{"keys": [{"kty": "EC", "kid": "k", "crv": "P-256", "x": %q, "y": %q}]}`, encode(point[:32]), encode(point[32:]))
	if err := sim.Seed(venafisim.Seed{
		JWTIssuers: []venafisim.JWTIssuer{{Issuer: "https://cluster", Purpose: "tpp", Keys: json.RawMessage(keys)}},
		Identities: []venafisim.Identity{{Name: "cluster", Subjects: []string{account}}},
	}); err != nil {
		t.Fatal(err)
	}
	return func(audience string) material.Secret {
		claims := fmt.Sprintf(`{"iss":"https://cluster","sub":%q,"aud":[%q],"exp":%d}`, account, audience, clock.Now().Add(10*time.Minute).Unix())
		text := encode([]byte(`{"alg":"ES256","kid":"k"}`)) + "." + encode([]byte(claims))
		digest := sha256.Sum256([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			t.Error(err)
		}
		return material.New(text + "." + encode(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)))
	}
}

// byJWT are settings with a login by tokens.
func byJWT(sim *venafisim.Sim, token func(context.Context) (material.Secret, error)) upstream.Settings {
	s := settings(sim, "Tokens", func(p map[string]any) { p["login"] = map[string]any{"method": "JWT"} })
	s.Login, s.Token = nil, token
	return s
}

func TestATokenOfAServiceAccountIsTheLogin(t *testing.T) {
	clock := simkit.NewManual(dawn)
	sim := start(t, clock, nil)
	mint := minted(t, sim, clock)
	asked := 0
	driver := venafi.NewDriver(clock.Now)
	a, err := driver.Open(byJWT(sim, func(context.Context) (material.Secret, error) { asked++; return mint("tpp"), nil }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	parameters := json.RawMessage(`{"token":{"clientID":"team-a-pipeline","scope":"certificate:manage"}}`)
	container, err := a.Locate(t.Context(), parameters)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := a.Issue(t.Context(), upstream.Request{Parameters: parameters, Container: container, Name: "cl-a", Mark: upstream.Mark(strings.Repeat("a", 32))})
	if err != nil || !sim.AcceptsToken(issued.Material.Token.Reveal()) {
		t.Errorf("%v", err)
	}
	if calls := sim.Calls(); asked != 2 || calls.Total("auth.jwt") != 2 || calls.Total("auth.password") != 0 {
		t.Errorf("%d tokens were asked for, for %d logins by JWT and %d by password", asked, calls.Total("auth.jwt"), calls.Total("auth.password"))
	}
}

func TestWhatIsWrongWithATokenIsSaidWithoutIt(t *testing.T) {
	clock := simkit.NewManual(dawn)
	sim := start(t, clock, nil)
	mint := minted(t, sim, clock)
	wrong := mint("vault")
	for name, tc := range map[string]struct {
		token func(context.Context) (material.Secret, error)
		class upstream.ErrorClass
		words string
	}{
		"for another audience": {func(context.Context) (material.Secret, error) { return wrong, nil }, upstream.LoginFailed, "meant for another purpose"},
		"none can be had": {func(context.Context) (material.Secret, error) {
			return material.Secret{}, upstream.Errorf(upstream.LoginFailed, "no token of ServiceAccount x could be had")
		}, upstream.LoginFailed, "ServiceAccount x"},
		"the API server does not answer": {func(context.Context) (material.Secret, error) {
			return material.Secret{}, upstream.Errorf(upstream.Retryable, "no token")
		}, upstream.Retryable, "no token"},
	} {
		a, err := venafi.NewDriver(clock.Now).Open(byJWT(sim, tc.token))
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Check(t.Context())
		if upstream.ClassOf(err) != tc.class || !strings.Contains(err.Error(), tc.words) || strings.Contains(err.Error(), wrong.Reveal()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
