package journal

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// rolled is the intent of a version that is to be rolled out.
func rolled() Intent {
	i := intent()
	i.Rolls = true
	return i
}

func TestARolloutIsNotedAndReadBack(t *testing.T) {
	secret := rolled().Secret()
	read := func() Version {
		t.Helper()
		v, err := Parse(secret)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := read(); v.Wave != "7.00010203" || v.Restarted != nil || !v.RolledOut.IsZero() {
		t.Errorf("at first it has the wave %q, restarted %v, and was rolled out at %s", v.Wave, v.Restarted, v.RolledOut)
	}
	Restarted("Deployment/billing", noon)(secret)
	Restarted("StatefulSet/ledger.eu", noon.Add(time.Minute))(secret)
	second := noon.Truncate(time.Second)
	want := map[string]time.Time{"Deployment/billing": second, "StatefulSet/ledger.eu": second.Add(time.Minute)}
	if diff := cmp.Diff(want, read().Restarted); diff != "" {
		t.Errorf("restarted workloads (-want +got):\n%s", diff)
	}
	RolledOut(noon)(secret)
	if at := read().RolledOut; !at.Equal(noon) {
		t.Errorf("rolled out at %s", at)
	}

	before := read()
	givenUp := Version{Number: 8, Nonce: "aabbccddeeff00112233"}
	again := RolledBack(&before, &givenUp)
	again(secret)
	if v := read(); v.Wave != "7.00010203.8.aabbccdd" || v.Restarted != nil || !v.RolledOut.IsZero() {
		t.Errorf("after a rollback it has the wave %q, restarted %v, and was rolled out at %s", v.Wave, v.Restarted, v.RolledOut)
	}
	// A process that died after the mark marks it again, and restarts nothing for that.
	Restarted("Deployment/billing", noon)(secret)
	again(secret)
	if v := read(); len(v.Restarted) != 1 {
		t.Errorf("the same rollback once more forgot what was restarted: %v", v.Restarted)
	}
}

func TestAVersionThatIsNotToBeRolledOutHasNoWave(t *testing.T) {
	if wave, ok := intent().Secret().Annotations[AnnotationRollout]; ok {
		t.Errorf("the wave is %q", wave)
	}
}

func TestRestartsThatCannotBeReadAreNamed(t *testing.T) {
	for _, text := range []string{"Deployment/billing", "@2026-03-04T12:00:00Z", "Deployment/billing@yesterday", "Deployment/a@2026-03-04T12:00:00Z,"} {
		secret := rolled().Secret()
		metav1.SetMetaDataAnnotation(&secret.ObjectMeta, AnnotationRestarted, text)
		if v, err := Parse(secret); err == nil {
			t.Errorf("%q is read as %v", text, v.Restarted)
		}
	}
}
