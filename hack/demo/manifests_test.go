package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/interval"
)

const testFolder = "../../config/samples"

func TestTheSamplesAreSpreadOverTwoTeams(t *testing.T) {
	sample, err := readSamples(testFolder, apiConnectSamples...)
	if err != nil {
		t.Fatal(err)
	}
	upstream := &simulator{url: "https://127.0.0.1:1", gateway: "https://127.0.0.1:2", ca: []byte("pem")}
	teams, err := sample.teams(7, upstream)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, team := range teams {
		for _, c := range team.credentials {
			names = append(names, c.Namespace+"/"+c.Name+" app "+c.Spec.IBMAPIConnect.App+" secret "+c.Spec.Secret.Name)
			if _, _, ok := keys(c); !ok {
				t.Errorf("the workloads of %s would not find its keys", c.Name)
			}
			if !cmp.Equal(c.Labels, sample.policy.Spec.Selector.MatchLabels) {
				t.Errorf("the policy does not select %s with labels %v", c.Name, c.Labels)
			}
		}
	}
	want := []string{
		"payments/billing app billing secret billing-api", "payments/invoices app invoices secret invoices-api",
		"payments/refunds app refunds secret refunds-api", "payments/service-7 app service-7 secret service-7-api",
		"shipping/tracking app tracking secret tracking-api", "shipping/orders app orders secret orders-api",
		"shipping/returns app returns secret returns-api",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
}

func TestOneCredentialNeedsOneTeam(t *testing.T) {
	sample, err := readSamples(testFolder, apiConnectSamples...)
	if err != nil {
		t.Fatal(err)
	}
	teams, err := sample.teams(1, &simulator{})
	if err != nil {
		t.Fatal(err)
	}
	if len(teams) != 1 || teams[0].namespace != "payments" {
		t.Errorf("%d teams", len(teams))
	}
}

func TestThePolicyIsQuickAndItsWindowIsAlwaysOpen(t *testing.T) {
	sample, err := readSamples(testFolder, apiConnectSamples...)
	if err != nil {
		t.Fatal(err)
	}
	policy := sample.quick("payments")
	after, err := interval.Parse(string(policy.Spec.RotateAfter))
	if err != nil || after.Min() != rotateAfter {
		t.Errorf("rotateAfter is %s: %v", policy.Spec.RotateAfter, err)
	}
	kept, err := interval.Parse(string(policy.Spec.Overlap))
	if err != nil || kept.Min() != overlap {
		t.Errorf("overlap is %s: %v", policy.Spec.Overlap, err)
	}
	for _, w := range policy.Spec.Windows {
		window, err := interval.ParseWindow(w.Schedule, w.Duration.Duration.String(), w.TimeZone)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int64{0, 12345, 1_000_000_007} {
			if !(interval.Windows{window}).Open(time.Unix(at, 0)) {
				t.Errorf("window %v is closed at %d", w, at)
			}
		}
	}
	if slowest >= overlap {
		t.Errorf("workloads take %s, longer than the overlap of %s", slowest, overlap)
	}
}

func TestTheIssuerAndItsLoginFitTheSimulator(t *testing.T) {
	sample, err := readSamples(testFolder, apiConnectSamples...)
	if err != nil {
		t.Fatal(err)
	}
	team, err := sample.team("payments", &simulator{url: "https://127.0.0.1:1", gateway: "https://127.0.0.1:2", ca: []byte("pem")})
	if err != nil {
		t.Fatal(err)
	}
	login, toolkit, err := accounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range team.objects {
		switch o := object.(type) {
		case *corev1.Secret:
			want := map[string]string{"username": login.Username, "password": login.Password, "client_id": toolkit.ClientID, "client_secret": toolkit.ClientSecret}
			if diff := cmp.Diff(want, o.StringData); diff != "" {
				t.Errorf("login Secret (-want +got):\n%s", diff)
			}
		case *v1alpha1.CredentialIssuer:
			got := o.Spec.IBMAPIConnect
			if got.URL != "https://127.0.0.1:1" || got.GatewayURL != "https://127.0.0.1:2" || got.CABundle != "pem" || got.Login.Realm != login.Realm {
				t.Errorf("issuer %+v", got)
			}
		}
	}
	text, err := manifests(team.objects...)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("status:")) || bytes.Count(text, []byte("\nkind: ")) != len(team.objects) {
		t.Errorf("manifests are not as one writes them:\n%s", text)
	}
}
