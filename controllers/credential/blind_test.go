package credential

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/rotation"
)

func TestPodsThatCannotBeListedAreToldAfterAMinute(t *testing.T) {
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	forbidden := fmt.Errorf("list the pods: %w", apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no")))
	silent := errors.New("connection refused")
	told := func(cause string, stalled bool) *rotation.Problem {
		return &rotation.Problem{Reason: "PodsUnreadable", Stalled: stalled, Message: "the pods of the namespace, or what makes them, cannot be listed: " + cause +
			". Until they can, nothing is revoked that one of them may use"}
	}
	s := &scope{memory: newMemory(), uid: "uid", credential: &v1alpha1.APIClientCredential{}}
	for _, step := range []struct {
		when  string
		after time.Duration
		err   error
		want  *rotation.Problem
	}{
		{"at first nothing is told", 0, unreadable{silent}, nil},
		{"something else fails", 70 * time.Second, silent, nil},
		{"after a minute the API server is silent", time.Minute, unreadable{silent}, told("the API server does not answer; see the operator's log", false)},
		{"after a minute a right is missing", time.Minute, fmt.Errorf("look: %w", unreadable{forbidden}), told("the operator has no right to; give it its role back", true)},
	} {
		if diff := cmp.Diff(step.want, s.blindness(step.err, noon.Add(step.after))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.when, diff)
		}
	}
	if got := s.blindness(unreadable{silent}, noon.Add(time.Hour)); got != nil {
		t.Errorf("it failed once, an hour after, and yet it is told: %+v", got)
	}
	s.memory.sees("uid")
	if got := s.blindness(unreadable{silent}, noon.Add(time.Hour+time.Minute)); got != nil {
		t.Errorf("they could be listed in between, and yet it is told: %+v", got)
	}
}
