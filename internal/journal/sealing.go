package journal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/internal/material"
)

// SealingSecret is the name of the Secret, in the operator's namespace, that holds the keys
// which secret handles are sealed with.
const SealingSecret = "claviger-sealing"

// ErrSealed means that a handle is sealed with a key that is not there.
var ErrSealed = errors.New("the handle is sealed")

// Keys seal what a revocation needs and the team that owns the version must not have: with a
// refresh token or a registration token of a shared account one can do more than with the
// credential itself (hazard H7). Version Secrets of such accounts are in the team's
// namespace, the keys in the operator's.
//
// The keys are read when one is needed and made when the first is. The Secret may hold
// several: new handles are sealed with the one of the last name, all others still open.
type Keys struct {
	Client    client.Client
	Live      client.Reader
	Namespace string

	mu   sync.Mutex
	open map[string]cipher.AEAD
	last string
}

// format of a sealed handle: "v1.", the key's id, ".", base64 of nonce and ciphertext.
const sealedFormat = "v1"

// Seal encrypts a handle for one version: another version's Secret gives nothing back.
func (k *Keys) Seal(ctx context.Context, version string, handle material.Secret) ([]byte, error) {
	id, aead, err := k.forSealing(ctx)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("seal a handle: %w", err)
	}
	sealed := aead.Seal(nonce, nonce, []byte(handle.Reveal()), []byte(version))
	return []byte(sealedFormat + "." + id + "." + base64.RawStdEncoding.EncodeToString(sealed)), nil
}

// Open decrypts what Seal made for the same version. ErrSealed means that nobody can until
// the right key is put back.
func (k *Keys) Open(ctx context.Context, version string, sealed []byte) (material.Secret, error) {
	var none material.Secret
	parts := strings.Split(string(sealed), ".")
	if len(parts) != 3 || parts[0] != sealedFormat {
		return none, fmt.Errorf("%w in a format that this operator does not know", ErrSealed)
	}
	content, err := base64.RawStdEncoding.DecodeString(parts[2])
	if err != nil {
		return none, fmt.Errorf("%w and unreadable", ErrSealed)
	}
	aead, err := k.forOpening(ctx, parts[1])
	if err != nil {
		return none, err
	}
	if len(content) < aead.NonceSize() {
		return none, fmt.Errorf("%w and unreadable", ErrSealed)
	}
	plain, err := aead.Open(nil, content[:aead.NonceSize()], content[aead.NonceSize():], []byte(version))
	if err != nil {
		return none, fmt.Errorf("%w for another version, or was edited", ErrSealed)
	}
	return material.New(string(plain)), nil
}

func (k *Keys) forSealing(ctx context.Context) (id string, aead cipher.AEAD, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last == "" {
		if err := k.read(ctx); err != nil {
			return "", nil, err
		}
	}
	if k.last == "" {
		if err := k.create(ctx); err != nil {
			return "", nil, err
		}
		// Read back: another process may have been faster, and its key is the one that stays.
		if err := k.read(ctx); err != nil {
			return "", nil, err
		}
	}
	if k.last == "" {
		return "", nil, fmt.Errorf("secret %s/%s holds no key of 32 bytes", k.Namespace, SealingSecret)
	}
	return k.last, k.open[k.last], nil
}

func (k *Keys) forOpening(ctx context.Context, id string) (cipher.AEAD, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if aead, known := k.open[id]; known {
		return aead, nil
	}
	if err := k.read(ctx); err != nil {
		return nil, err
	}
	if aead, known := k.open[id]; known {
		return aead, nil
	}
	return nil, fmt.Errorf("%w with the key %s, which Secret %s/%s does not hold", ErrSealed, id, k.Namespace, SealingSecret)
}

// read takes over the keys that the Secret holds. One that is gone from it and was known
// goes on to be known: nothing is gained by forgetting what opens handles.
func (k *Keys) read(ctx context.Context) error {
	secret := &corev1.Secret{}
	err := k.Live.Get(ctx, types.NamespacedName{Namespace: k.Namespace, Name: SealingSecret}, secret)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the sealing keys: %w", err)
	}
	if k.open == nil {
		k.open = map[string]cipher.AEAD{}
	}
	for _, name := range slices.Sorted(maps.Keys(secret.Data)) {
		aead, err := aeadOf(secret.Data[name])
		if err != nil {
			continue // what is no key seals nothing and opens nothing
		}
		sum := sha256.Sum256(secret.Data[name])
		k.last = hex.EncodeToString(sum[:6])
		k.open[k.last] = aead
	}
	return nil
}

func (k *Keys) create(ctx context.Context) error {
	key := make([]byte, sealingKeyBytes)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("make a sealing key: %w", err)
	}
	err := k.Client.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: SealingSecret},
		Data:       map[string][]byte{"key-1": key},
	}, client.FieldOwner(FieldManager))
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("write the sealing key: %w", err)
	}
	return nil
}

const sealingKeyBytes = 32

func aeadOf(key []byte) (cipher.AEAD, error) {
	if len(key) != sealingKeyBytes {
		return nil, fmt.Errorf("a key has %d bytes", sealingKeyBytes)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
