package notification

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/delivery"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/notify"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// eventType is what the types of CloudEvents begin with.
const eventType = "dev.claviger.credentials.v1alpha1."

// sender carries messages over one channel.
type sender interface {
	// Check looks whether the channel works, without a message.
	Check(ctx context.Context) error
	// send carries some deliveries to one receiver, several as a digest.
	send(ctx context.Context, to string, deliveries []notify.Delivery, now time.Time) error
}

// errSecret is about what a channel refers to.
var errSecret = errors.New("not usable")

// opener makes senders.
type opener struct {
	live          client.Reader
	cache         client.Reader
	namespace     string
	allowInsecure bool
	userAgent     string
}

// open reads what a channel refers to. weakness is what does not keep it from working.
func (o opener) open(ctx context.Context, channel *v1alpha1.NotificationChannel) (s sender, weakness, err error) {
	templates, weakness := o.templates(ctx, channel)
	spec := channel.Spec
	switch {
	case spec.SMTP != nil:
		server := delivery.SMTP{
			Host: spec.SMTP.Host, Port: int(spec.SMTP.Port), Encryption: spec.SMTP.Encryption, From: spec.SMTP.From,
			CABundle: []byte(spec.SMTP.CABundle), AllowLoopback: o.allowInsecure,
		}
		if ref := spec.SMTP.SecretRef; ref != nil {
			login, err := o.secret(ctx, ref.Name, "username", "password")
			if err != nil {
				return nil, weakness, err
			}
			server.Username, server.Password = login["username"].Reveal(), login["password"]
		}
		return mailer{server, templates}, weakness, nil
	case spec.Webhook != nil:
		secret, err := o.secret(ctx, spec.Webhook.SecretRef.Name, "secret")
		if err != nil {
			return nil, weakness, err
		}
		return poster{o.post(delivery.CloudEvents, material.New(spec.Webhook.URL), secret["secret"], spec.Webhook.CABundle), templates}, weakness, nil
	case spec.Slack != nil:
		return o.chat(ctx, delivery.Slack, spec.Slack, templates, weakness)
	case spec.Teams != nil:
		return o.chat(ctx, delivery.Teams, spec.Teams, templates, weakness)
	}
	return nil, weakness, upstream.Errorf(upstream.InvalidSpec, "the channel has no way that this operator knows")
}

func (o opener) chat(ctx context.Context, format string, chat *v1alpha1.ChatChannel, templates map[string]string, weakness error) (sender, error, error) {
	secret, err := o.secret(ctx, chat.SecretRef.Name, "url")
	if err != nil {
		return nil, weakness, err
	}
	return poster{o.post(format, secret["url"], material.Secret{}, chat.CABundle), templates}, weakness, nil
}

func (o opener) post(format string, url, secret material.Secret, bundle string) delivery.Post {
	return delivery.Post{URL: url, Format: format, Secret: secret, CABundle: []byte(bundle), AllowInsecure: o.allowInsecure, UserAgent: o.userAgent}
}

// secret reads a Secret of the operator's namespace that was made for channels.
func (o opener) secret(ctx context.Context, name string, keys ...string) (map[string]material.Secret, error) {
	secret := &corev1.Secret{}
	if err := o.live.Get(ctx, types.NamespacedName{Namespace: o.namespace, Name: name}, secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("%w: Secret %s does not exist in namespace %s", errSecret, name, o.namespace)
		}
		return nil, fmt.Errorf("read the channel's Secret: %w", err)
	}
	if secret.Type != v1alpha1.NotificationSecretType {
		return nil, fmt.Errorf("%w: Secret %s in namespace %s is not of type %s, so it is not read", errSecret, name, o.namespace, v1alpha1.NotificationSecretType)
	}
	found := map[string]material.Secret{}
	for _, key := range keys {
		if len(secret.Data[key]) == 0 {
			return nil, fmt.Errorf("%w: Secret %s in namespace %s has no key %s", errSecret, name, o.namespace, key)
		}
		found[key] = material.New(strings.TrimRight(string(secret.Data[key]), "\r\n"))
	}
	return found, nil
}

// templates reads templates of one's own. Without them there are the defaults.
func (o opener) templates(ctx context.Context, channel *v1alpha1.NotificationChannel) (map[string]string, error) {
	ref := channel.Spec.Templates
	if ref == nil {
		return nil, nil
	}
	object := &corev1.ConfigMap{}
	if err := o.cache.Get(ctx, types.NamespacedName{Namespace: o.namespace, Name: ref.Name}, object); err != nil {
		return nil, fmt.Errorf("ConfigMap %s cannot be read in namespace %s", ref.Name, o.namespace)
	}
	return object.Data, notify.CheckTemplates(object.Data)
}

// mailer sends mail.
type mailer struct {
	delivery.SMTP
	templates map[string]string
}

func (m mailer) send(ctx context.Context, to string, deliveries []notify.Delivery, now time.Time) error {
	key, text := rendered(deliveries, m.templates)
	return m.Send(ctx, delivery.Mail{To: to, Key: key, At: now, Rendered: text})
}

// poster posts to webhooks and chats.
type poster struct {
	delivery.Post
	templates map[string]string
}

func (p poster) send(ctx context.Context, _ string, deliveries []notify.Delivery, now time.Time) error {
	key, text := rendered(deliveries, p.templates)
	payload := delivery.Payload{Key: key, At: now, Title: text.Subject, Text: text.Text}
	if len(deliveries) == 1 {
		m := deliveries[0].Message
		payload.Type, payload.Subject, payload.Data, payload.At = eventType+string(m.Event), m.Name(), m, m.At
		return p.Send(ctx, payload, now)
	}
	var messages []notify.Message
	for _, d := range deliveries {
		messages = append(messages, d.Message)
	}
	payload.Type, payload.Subject, payload.Data = eventType+"Digest", "credentials", map[string]any{"messages": messages}
	return p.Send(ctx, payload, now)
}

// rendered is one message of one or many, and its key. What cannot be rendered has the default,
// and the channel's condition says so.
func rendered(deliveries []notify.Delivery, templates map[string]string) (key string, text notify.Rendered) {
	if len(deliveries) == 1 {
		text, _ = notify.Render(deliveries[0].Message, templates)
		return deliveries[0].ID(), text
	}
	ids := []string{"digest"}
	for _, d := range deliveries {
		ids = append(ids, d.ID())
	}
	return strings.Join(ids, "|"), notify.RenderDigest(deliveries)
}
