package journal

import (
	"context"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Previous is what stands in the target beside the published version.
type Previous struct {
	// Nonce is the version's; empty if there is none.
	Nonce string
	// Rendering tells how it was rendered: one of another rendering is written anew.
	Rendering string
	// Hidden is the nonce of the version that was taken away last.
	Hidden string
	// Data are the keys to write.
	Data Data
}

func (p Previous) String() string {
	switch {
	case p.Nonce != "":
		return p.Nonce + "." + p.Rendering
	case p.Hidden != "":
		return "-" + p.Hidden
	}
	return ""
}

func parsePrevious(text string) Previous {
	if hidden, ok := strings.CutPrefix(text, "-"); ok {
		return Previous{Hidden: hidden}
	}
	nonce, rendering, _ := strings.Cut(text, ".")
	return Previous{Nonce: nonce, Rendering: rendering}
}

// Beside returns the target with other keys beside the published version's: what stood
// there before is removed, everything else is as it was.
func (p Previous) Beside(existing *corev1.Secret) *corev1.Secret {
	secret := existing.DeepCopy()
	before := ReadTarget(existing)
	for _, key := range before.PreviousKeys {
		delete(secret.Data, key)
	}
	if len(p.Data) > 0 && secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	maps.Copy(secret.Data, p.Data)
	delete(secret.Annotations, AnnotationPrevious)
	if text := p.String(); text != "" {
		set(&secret.Annotations, AnnotationPrevious, text)
	}
	return secret
}

// ShowPrevious writes what stands beside the published version, over exactly what was read.
func (s Store) ShowPrevious(ctx context.Context, p Previous, existing *corev1.Secret) (*corev1.Secret, error) {
	secret := p.Beside(existing)
	if err := s.Client.Update(ctx, secret, client.FieldOwner(PreviousManager)); err != nil {
		return nil, fmt.Errorf("write Secret %s: %w", existing.Name, err)
	}
	return secret, nil
}
