package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

func TestWhatKeepsAPolicyFromTelling(t *testing.T) {
	payments, sandbox := Place{Name: "payments", Labels: map[string]string{"mail": "yes"}}, Place{Name: "sandbox"}
	channel := func(choice v1alpha1.NamespaceChoice) *v1alpha1.NotificationChannel {
		return &v1alpha1.NotificationChannel{Spec: v1alpha1.NotificationChannelSpec{AllowedNamespaces: choice}}
	}
	channels := map[string]*v1alpha1.NotificationChannel{
		"mail": channel(v1alpha1.NamespaceChoice{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"mail": "yes"}}}),
		"chat": channel(v1alpha1.NamespaceChoice{Names: []string{"payments", "sandbox"}}),
	}
	many := make([]string, 0, 10)
	for _, digit := range "0987654321" {
		many = append(many, "c"+string(digit))
	}
	for name, tc := range map[string]struct {
		names  []string
		places []Place
		want   mute
	}{
		"it tells nothing":                         {places: []Place{payments}},
		"every channel exists and allows it":       {names: []string{"mail", "chat"}, places: []Place{payments}},
		"it applies nowhere yet":                   {names: []string{"mail"}},
		"a channel does not exist":                 {names: []string{"mail", "mial"}, places: []Place{payments}, want: mute{"ChannelNotFound", "nothing is told over channels that do not exist: mial"}},
		"a missing one is named once":              {names: []string{"mial", "mial"}, places: []Place{payments}, want: mute{"ChannelNotFound", "nothing is told over channels that do not exist: mial"}},
		"a missing one goes before a refusing one": {names: []string{"mail", "mial"}, places: []Place{sandbox}, want: mute{"ChannelNotFound", "nothing is told over channels that do not exist: mial"}},
		"a channel does not allow one of two":      {names: []string{"mail", "chat"}, places: []Place{sandbox, payments}, want: mute{"ChannelNotAllowed", "nothing is told over channels that do not allow it: mail does not allow namespace sandbox"}},
		"more are missing than a message names":    {names: many, places: []Place{payments}, want: mute{"ChannelNotFound", "nothing is told over channels that do not exist: c0, c1, c2, c3, c4, c5, c6, c7 and 2 more"}},
	} {
		t.Run(name, func(t *testing.T) {
			var notifications []v1alpha1.Notification
			for _, n := range tc.names {
				notifications = append(notifications, v1alpha1.Notification{Channel: n})
			}
			if diff := cmp.Diff(tc.want, muteOf(notifications, channels, tc.places), cmp.AllowUnexported(mute{})); diff != "" {
				t.Errorf("what keeps it from telling (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPolicySaysThatItsChannelDoesNotExist(t *testing.T) {
	w := newWorld(t)
	p := rotation("quarterly", &metav1.LabelSelector{})
	p.Spec.Notifications = []v1alpha1.Notification{{Channel: "chat", Events: []v1alpha1.NotificationEvent{"Issued"}}}
	w.create(p)
	w.attention("quarterly", v1alpha1.ReasonChannelNotFound)
	channel := &v1alpha1.NotificationChannel{ObjectMeta: metav1.ObjectMeta{Name: "chat"}, Spec: v1alpha1.NotificationChannelSpec{
		AllowedNamespaces: v1alpha1.NamespaceChoice{Names: []string{"elsewhere"}},
		Slack:             &v1alpha1.ChatChannel{SecretRef: v1alpha1.SecretReference{Name: "chat"}},
	}}
	if err := w.client.Create(t.Context(), channel); err != nil {
		t.Fatal(err)
	}
	w.attention("quarterly", v1alpha1.ReasonChannelNotAllowed)
	channel.Spec.AllowedNamespaces.Names = []string{"default"}
	if err := w.client.Update(t.Context(), channel); err != nil {
		t.Fatal(err)
	}
	w.attention("quarterly", "")
	if err := w.client.Delete(t.Context(), channel); err != nil {
		t.Fatal(err)
	}
	w.attention("quarterly", v1alpha1.ReasonChannelNotFound)
}
