package credential

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/rotation"
)

func annotated(annotation, value string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Annotations: map[string]string{annotation: value}}
}

func TestHowAChangeRanks(t *testing.T) {
	plain := &v1alpha1.APIClientCredential{}
	compromised := &v1alpha1.APIClientCredential{ObjectMeta: annotated(v1alpha1.AnnotationCompromisedAt, "2026-03-01T12:00:00Z")}
	fleet := &v1alpha1.RotationPolicy{ObjectMeta: annotated(v1alpha1.AnnotationCompromisedAt, "2026-03-01T12:00:00Z")}
	now := metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	deleted := &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}}
	asked := func(annotation string) client.Object {
		return &v1alpha1.APIClientCredential{ObjectMeta: annotated(annotation, "2026-03-01T12:00:00Z")}
	}
	for name, c := range map[string]struct{ got, want rotation.Urgency }{
		"a new credential":                         {created(plain, false), rotation.OnRequest},
		"one that was there when we started":       {created(plain, true), rotation.ByRoutine},
		"one that was being deleted then":          {created(deleted, true), rotation.OnRequest},
		"one that was declared compromised before": {created(compromised, true), rotation.Emergency},
		"a new policy":                             {created(&v1alpha1.RotationPolicy{}, false), rotation.ByRoutine},
		"a policy whose fleet was":                 {created(fleet, true), rotation.Emergency},
		"declared compromised":                     {updated(plain, compromised), rotation.Emergency},
		"on a policy":                              {updated(&v1alpha1.RotationPolicy{}, fleet), rotation.Emergency},
		"declared before":                          {updated(compromised, compromised), rotation.ByRoutine},
		"the word is taken back":                   {updated(compromised, plain), rotation.ByRoutine},
		"a rotation is requested":                  {updated(plain, asked(v1alpha1.AnnotationRotateRequestedAt)), rotation.OnRequest},
		"a rollback is requested":                  {updated(plain, asked(v1alpha1.AnnotationRollbackRequestedAt)), rotation.OnRequest},
		"deleted":                                  {updated(plain, deleted), rotation.OnRequest},
		"changed after that":                       {updated(deleted, deleted), rotation.ByRoutine},
		"anything else":                            {updated(plain, asked("team")), rotation.ByRoutine},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", name, c.got, c.want)
		}
	}
}
