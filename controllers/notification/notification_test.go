package notification

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/notify"
	"github.com/claviger-dev/claviger/internal/upstream"
)

var noon = metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))

func TestAChannelSaysWhetherItWorks(t *testing.T) {
	for name, tc := range map[string]struct {
		weakness, problem error
		want              string
	}{
		"it works":                         {nil, nil, "Ready=True Delivers"},
		"a template cannot be used":        {errors.New("template Issued.text: broken"), nil, "Ready=True Delivers"},
		"a Secret is missing":              {nil, fmt.Errorf("%w: Secret x does not exist", errSecret), "Ready=False SecretNotUsable Stalled=True SecretNotUsable"},
		"settings that cannot work":        {nil, upstream.Errorf(upstream.InvalidSpec, "x"), "Ready=False InvalidSettings Stalled=True InvalidSettings"},
		"a login that is refused":          {nil, upstream.Errorf(upstream.LoginFailed, "x"), "Ready=False LoginFailed Stalled=True LoginFailed"},
		"a server that takes nothing":      {nil, upstream.Errorf(upstream.Forbidden, "x"), "Ready=False DeliveryRefused Stalled=True DeliveryRefused"},
		"a server that is dead":            {nil, upstream.Errorf(upstream.Retryable, "x"), "Ready=False Unreachable"},
		"an answer that never came":        {nil, upstream.Errorf(upstream.OutcomeUnknown, "x"), "Ready=False Unreachable"},
		"an API server that does not help": {nil, errors.New("etcd is away"), "Ready=False Unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			// Whatever was said before, the last word counts.
			status := v1alpha1.NotificationChannelStatus{}
			verdict(&status, 1, nil, upstream.Errorf(upstream.LoginFailed, "before"), noon)
			verdict(&status, 2, tc.weakness, tc.problem, noon)
			var got []string
			for _, c := range status.Conditions {
				got = append(got, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
				if c.ObservedGeneration != 2 || c.Message == "" || strings.Contains(c.Message, "before") {
					t.Errorf("%+v", c)
				}
			}
			if strings.Join(got, " ") != tc.want || status.ObservedGeneration != 2 {
				t.Errorf("got %v, want %s", got, tc.want)
			}
		})
	}
}

func TestWhatMayLiveUpstreamIsKnownByItsName(t *testing.T) {
	mine, others := journal.UpstreamPrefix("cluster", "mine"), journal.UpstreamPrefix("cluster", "others")
	issuer, shared := &v1alpha1.CredentialIssuer{}, &v1alpha1.ClusterCredentialIssuer{}
	issuer.Status.Unresolved.Newest = []v1alpha1.SuspectedOrphan{
		{Name: mine + "c", Reason: "Version 3 of credential payments/billing: its answer was lost."},
		{Name: others + "b", Reason: "Version 2 of credential payments/billing: its answer was lost."},
		{Name: mine + "a", Container: "org/catalog", Reason: "Version 1 of credential payments/billing: its answer was lost."},
	}
	shared.Status.Unresolved.Newest = []v1alpha1.SuspectedOrphan{{Name: mine + "d", Reason: "R."}}
	want := []notify.Orphan{
		{Name: mine + "a", Detail: "Version 1 of credential payments/billing: its answer was lost. Upstream it is called " + mine + "a, in org/catalog."},
		{Name: mine + "c", Detail: "Version 3 of credential payments/billing: its answer was lost. Upstream it is called " + mine + "c."},
		{Name: mine + "d", Detail: "R. Upstream it is called " + mine + "d."},
	}
	if diff := cmp.Diff(want, orphans([]v1alpha1.Issuer{issuer, shared}, mine)); diff != "" {
		t.Error(diff)
	}
}

func TestACredentialIsDescribedByItsStatus(t *testing.T) {
	version := func(number int64, state v1alpha1.VersionState) v1alpha1.VersionStatus {
		return v1alpha1.VersionStatus{Number: number, State: state, IssuedAt: noon}
	}
	condition := func(kind, reason string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: "m", LastTransitionTime: noon}
	}
	trouble := func(event notify.Event, reason string) notify.Trouble {
		return notify.Trouble{Event: event, Reason: reason, Detail: "m", Since: noon.Time}
	}
	for name, tc := range map[string]struct {
		status v1alpha1.APIClientCredentialStatus
		want   notify.Facts
	}{
		"a version that is being made": {
			v1alpha1.APIClientCredentialStatus{Versions: []v1alpha1.VersionStatus{version(1, v1alpha1.VersionIssuing)}}, notify.Facts{},
		},
		"a successor in its overlap": {
			v1alpha1.APIClientCredentialStatus{Version: 2, Versions: []v1alpha1.VersionStatus{version(1, v1alpha1.VersionOverlapping), version(2, v1alpha1.VersionPublished), version(3, v1alpha1.VersionIssuing)}},
			notify.Facts{Published: 2, IssuedAt: noon.Time, Serving: []int64{1, 2}},
		},
		"one that failed, and one that was never published and is revoked": {
			v1alpha1.APIClientCredentialStatus{Version: 1, Versions: []v1alpha1.VersionStatus{version(1, v1alpha1.VersionPublished), version(2, v1alpha1.VersionFailed), version(3, v1alpha1.VersionRetiring)}},
			notify.Facts{Published: 1, IssuedAt: noon.Time, Serving: []int64{1}},
		},
		"trouble": {
			v1alpha1.APIClientCredentialStatus{Conditions: []metav1.Condition{
				condition(v1alpha1.ConditionAttention, "UpstreamFull"), condition(v1alpha1.ConditionExpiringSoon, "Expires"), condition(v1alpha1.ConditionUptakeStalled, "UptakeDeadlinePassed"),
				condition(v1alpha1.ConditionRotating, "Overlap"),
			}},
			notify.Facts{Troubles: []notify.Trouble{trouble(notify.Failing, "UpstreamFull"), trouble(notify.Expiring, "Expires"), trouble(notify.UptakeStalled, "UptakeDeadlinePassed")}},
		},
		"what has a message of its own": {
			v1alpha1.APIClientCredentialStatus{Conditions: []metav1.Condition{condition(v1alpha1.ConditionAttention, v1alpha1.ReasonApprovalRejected)}}, notify.Facts{},
		},
		"what a person has brought about": {
			v1alpha1.APIClientCredentialStatus{Conditions: []metav1.Condition{condition(v1alpha1.ConditionStalled, v1alpha1.ReasonSuspended)}}, notify.Facts{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &v1alpha1.APIClientCredential{Status: tc.status}
			c.Spec.Secret.Name = "billing-api"
			tc.want.Exists, tc.want.Secret = true, "billing-api"
			var got notify.Facts
			describe(&got, c)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
