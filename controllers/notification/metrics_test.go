package notification

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/notify"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// tallied are counters that a test reads.
type tallied map[string]int

func (c tallied) Notified(event, channelType, result string) {
	c[event+" "+channelType+" "+result]++
}

// answering sends to nobody and answers by the recipient.
type answering map[string]error

func (a answering) Check(context.Context) error { return nil }
func (a answering) send(_ context.Context, to string, _ []notify.Delivery, _ time.Time) error {
	return a[to]
}

func TestWhatBecameOfMessagesIsCounted(t *testing.T) {
	delivery := func(to string, event notify.Event, age time.Duration) notify.Delivery {
		m := notify.Message{Key: fmt.Sprint(to, event, age), Event: event, At: noon.Add(-age)}
		return notify.Delivery{Channel: "mail", To: to, Message: m}
	}
	gone := upstream.Errorf(upstream.Rejected, "no such mailbox")
	dead := upstream.Errorf(upstream.Retryable, "it does not answer")
	for name, tc := range map[string]struct {
		pending []notify.Delivery
		answers answering
		limit   int32
		deleted bool
		want    tallied
		left    int
	}{
		"each is taken": {
			[]notify.Delivery{delivery("a@x.com", notify.Issued, 0), delivery("b@x.com", notify.Issued, 0)},
			nil, 0, false,
			tallied{"Issued smtp delivered": 2},
			0,
		},
		"a digest counts what is in it": {
			[]notify.Delivery{delivery("a@x.com", notify.Issued, 0), delivery("a@x.com", notify.Renewed, 0)},
			nil, 1, false,
			tallied{"Issued smtp delivered": 1, "Renewed smtp delivered": 1},
			0,
		},
		"a mailbox does not exist": {
			[]notify.Delivery{delivery("a@x.com", notify.Issued, 0), delivery("b@x.com", notify.Issued, 0)},
			answering{"a@x.com": gone},
			0, false,
			tallied{"Issued smtp refused": 1, "Issued smtp delivered": 1},
			0,
		},
		"a server is dead, and it is tried again": {
			[]notify.Delivery{delivery("a@x.com", notify.Issued, 0)}, answering{"a@x.com": dead}, 0, false, tallied{}, 1,
		},
		"nobody took it for three days": {
			[]notify.Delivery{delivery("a@x.com", notify.Issued, 73*time.Hour)}, nil, 0, false, tallied{"Issued smtp dropped": 1}, 0,
		},
		"the channel is gone": {
			[]notify.Delivery{delivery("a@x.com", notify.Issued, 0)}, nil, 0, true, tallied{"Issued gone dropped": 1}, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := fake.NewClientBuilder().Build()
			store := records{client: c, live: c, namespace: "claviger-system"}
			record := notify.Record{Subject: notify.Subject{Namespace: "payments", Credential: "billing", UID: "u"}, Pending: tc.pending}
			if err := store.write(t.Context(), nil, record); err != nil {
				t.Fatal(err)
			}
			read := func() *stored {
				t.Helper()
				object := &corev1.ConfigMap{}
				if err := c.Get(t.Context(), types.NamespacedName{Namespace: store.namespace, Name: recordName + "u"}, object); err != nil {
					t.Fatal(err)
				}
				s, err := decode(object)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			got, now := tallied{}, clocktesting.NewFakePassiveClock(noon.Time)
			courier := &Courier{Client: c, Server: now, Local: now, Metrics: got, records: store}
			channel := &v1alpha1.NotificationChannel{Spec: v1alpha1.NotificationChannelSpec{SMTP: &v1alpha1.SMTPChannel{}, DigestAfter: tc.limit}}
			channel.Name = "mail"
			if tc.deleted {
				if err := courier.drop(t.Context(), "mail", []*stored{read()}); err != nil {
					t.Fatal(err)
				}
			} else if _, err := courier.carry(t.Context(), channel, courier.line("mail"), tc.answers, []*stored{read()}); (err != nil) != (tc.left > 0) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			if left := len(read().Pending); left != tc.left {
				t.Errorf("%d wait, want %d", left, tc.left)
			}
		})
	}
}
