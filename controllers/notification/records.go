package notification

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/notify"
)

const (
	// roleRecord is the value of the label journal.LabelRole on records.
	roleRecord = "notification-record"
	recordName = "claviger-notified-"
	recordKey  = "record"

	// Indices of the cache.
	indexCredential = "notification.credential"
	indexChannel    = "notification.channel"
)

// records are the ConfigMaps that say what was told.
type records struct {
	client    client.Client
	live      client.Reader
	namespace string
}

// stored is a record with the object that it stands in; object is nil if there is none yet.
type stored struct {
	notify.Record
	object *corev1.ConfigMap
}

// isRecord tells records from other ConfigMaps of the namespace.
func isRecord(o client.Object) bool { return o.GetLabels()[journal.LabelRole] == roleRecord }

func decode(object *corev1.ConfigMap) (*stored, error) {
	s := &stored{object: object}
	if err := json.Unmarshal([]byte(object.Data[recordKey]), &s.Record); err != nil {
		return nil, fmt.Errorf("the record %s cannot be read: %w", object.Name, err)
	}
	return s, nil
}

// list returns the records that an index finds. One that cannot be read is an error: telling
// everything anew would be worse than telling nothing.
func (r records) list(ctx context.Context, index, value string) ([]*stored, error) {
	var list corev1.ConfigMapList
	if err := r.client.List(ctx, &list, client.InNamespace(r.namespace), client.MatchingFields{index: value}); err != nil {
		return nil, fmt.Errorf("list the records: %w", err)
	}
	var found []*stored
	for i := range list.Items {
		s, err := decode(&list.Items[i])
		if err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	return found, nil
}

// write makes or replaces a record, if it changed; the resource version that was read is its
// precondition.
func (r records) write(ctx context.Context, object *corev1.ConfigMap, record notify.Record) error {
	text, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("write a record: %w", err)
	}
	if object == nil {
		return r.client.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: r.namespace, Name: recordName + record.UID,
				Labels:      map[string]string{journal.LabelRole: roleRecord},
				Annotations: map[string]string{journal.AnnotationCredential: record.Namespace + "/" + record.Credential},
			},
			Data: map[string]string{recordKey: string(text)},
		}, client.FieldOwner(journal.FieldManager))
	}
	if object.Data[recordKey] == string(text) {
		return nil
	}
	changed := object.DeepCopy()
	changed.Data = map[string]string{recordKey: string(text)}
	return r.client.Update(ctx, changed, client.FieldOwner(journal.FieldManager))
}

func (r records) remove(ctx context.Context, object *corev1.ConfigMap) error {
	version := object.ResourceVersion
	return client.IgnoreNotFound(r.client.Delete(ctx, object, client.Preconditions{UID: &object.UID, ResourceVersion: &version}))
}

// settle takes deliveries out of a record. The other controller may write it at the same time;
// then it is read anew.
func (r records) settle(ctx context.Context, s *stored, ids map[string]bool) error {
	const attempts = 5
	for range attempts {
		if !s.Remove(ids) {
			return nil
		}
		err := r.write(ctx, s.object, s.Record)
		if !apierrors.IsConflict(err) {
			return client.IgnoreNotFound(err)
		}
		fresh := &corev1.ConfigMap{}
		if err := r.live.Get(ctx, types.NamespacedName{Namespace: r.namespace, Name: s.object.Name}, fresh); err != nil {
			return client.IgnoreNotFound(err)
		}
		if s, err = decode(fresh); err != nil {
			return err
		}
	}
	return fmt.Errorf("the record of %s/%s changes too often", s.Namespace, s.Credential)
}

func credentialOfRecord(o client.Object) []string {
	if name := o.GetAnnotations()[journal.AnnotationCredential]; isRecord(o) && name != "" {
		return []string{name}
	}
	return nil
}

func channelsOfRecord(o client.Object) []string {
	object, ok := o.(*corev1.ConfigMap)
	if !ok || !isRecord(o) {
		return nil
	}
	s, err := decode(object)
	if err != nil {
		return nil
	}
	var found []string
	for _, d := range s.Pending {
		if !slices.Contains(found, d.Channel) {
			found = append(found, d.Channel)
		}
	}
	return found
}
