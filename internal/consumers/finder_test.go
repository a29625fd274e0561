package consumers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// server answers lists of pods in pages, as an API server does. What such a server really
// does is the subject of test/integration.
type server struct {
	client.Reader
	pods  int
	calls int
	err   error
}

func (s *server) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	s.calls++
	if s.err != nil {
		return s.err
	}
	o := client.ListOptions{}
	o.ApplyOptions(options)
	from, _ := strconv.Atoi(o.Continue) // empty is the first page
	to := min(from+int(o.Limit), s.pods)
	pods, ok := list.(*corev1.PodList)
	if !ok || o.Namespace != "payments" || o.Limit == 0 {
		return fmt.Errorf("a list of %T in %q with limit %d", list, o.Namespace, o.Limit)
	}
	for i := from; i < to; i++ {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("pod-", i)}}
		if i%2 == 0 {
			p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "s"}}
		}
		if i%4 == 0 {
			p.Status.Phase = corev1.PodSucceeded
		}
		pods.Items = append(pods.Items, p)
	}
	if to < s.pods {
		pods.Continue = strconv.Itoa(to)
	}
	return nil
}

type fixed struct{ now time.Time }

func (f *fixed) Now() time.Time { return f.now }

func TestOneListServesEverybodyWhoWaits(t *testing.T) {
	clock := &fixed{made.Time}
	s := &server{pods: 1100}
	f := NewFinder(s, clock)
	look := func(notBefore time.Time, wantCalls int, wantBegan time.Time) {
		t.Helper()
		before := s.calls
		pods, began, err := f.List(t.Context(), "payments", notBefore)
		if err != nil {
			t.Fatal(err)
		}
		if s.calls-before != wantCalls || !began.Equal(wantBegan) || len(pods) != 275 {
			t.Errorf("%d calls for %d pods of a list that began at %s; want %d, 275 and %s", s.calls-before, len(pods), began, wantCalls, wantBegan)
		}
	}
	look(made.Time, 3, made.Time)
	clock.now = made.Add(time.Minute)
	look(made.Time, 0, made.Time)
	look(made.Add(-time.Hour), 0, made.Time)
	look(made.Add(time.Second), 3, clock.now)
	look(made.Time, 0, clock.now)
}

func TestAListThatFailsIsNoList(t *testing.T) {
	s := &server{err: errors.New("out of reach")}
	f := NewFinder(s, &fixed{made.Time})
	if _, _, err := f.List(t.Context(), "payments", made.Time); !errors.Is(err, s.err) {
		t.Fatalf("the error is %v", err)
	}
	s.err, s.pods = nil, 3
	pods, _, err := f.List(t.Context(), "payments", made.Time)
	if err != nil || len(pods) != 1 {
		t.Errorf("after a failure: %v, %v", pods, err)
	}
}

func TestWhatNobodyAsksForIsForgotten(t *testing.T) {
	clock := &fixed{made.Time}
	f := NewFinder(&server{}, clock)
	f.namespace("payments")
	clock.now = made.Add(kept + time.Second)
	f.namespace("other")
	if diff := cmp.Diff(1, len(f.namespaces)); diff != "" {
		t.Errorf("namespaces that are kept (-want +got):\n%s", diff)
	}
}
