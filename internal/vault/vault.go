// Package vault seals what only this house may read. It is the one place that
// knows the cryptography library.
//
// Two levels: one master key (the KEK) wraps one data key per tenant; data
// keys seal personal parts of events and secrets such as access tokens. All
// are AES-256-GCM with associated data, so that a ciphertext opens only under
// the tenant and the place it was sealed for. Every ciphertext of a data key
// begins with five bytes that name the key inside its keyset, so that a keyset
// may hold former keys beside the current one.
//
// A Vault is safe for concurrent use. Errors never contain plaintext or keys.
package vault

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/sendlog/sendlog/domain"
)

// KeySize is the size of the master key (bytes).
const KeySize = 32

// Keyring finds the wrapped data key of a tenant.
type Keyring interface {
	DataKey(domain.TenantID) (wrapped []byte, ok bool)
}

// Vault seals and opens.
type Vault struct {
	kek  tink.AEAD
	keys Keyring

	mu     sync.RWMutex
	opened map[string]tink.AEAD // by wrapped key; one per tenant, about 1 KiB each
}

// ErrWrongKey says that a data key does not open under this master key.
var ErrWrongKey = errors.New("the master key does not open this data key")

// ParseMasterKey reads a master key: 32 raw characters, 64 hex digits, or
// base64 (standard or URL alphabet) of 32 bytes.
func ParseMasterKey(s string) ([]byte, error) {
	if len(s) == KeySize {
		return []byte(s), nil
	}
	if b, err := hex.DecodeString(s); err == nil && len(b) == KeySize {
		return b, nil
	}
	plain := strings.TrimRight(s, "=")
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := enc.DecodeString(plain); err == nil && len(b) == KeySize {
			return b, nil
		}
	}
	return nil, errors.New("must be 32 characters, 64 hex digits, or base64 of 32 bytes")
}

// New returns a vault under a master key of [KeySize] bytes.
func New(master []byte, keys Keyring) (*Vault, error) {
	kek, err := subtle.NewAESGCM(master)
	if err != nil {
		return nil, fmt.Errorf("open master key: %w", err)
	}
	return &Vault{kek: kek, keys: keys, opened: map[string]tink.AEAD{}}, nil
}

// NewDataKey makes a data key for a tenant and returns it wrapped.
func (v *Vault) NewDataKey(t domain.TenantID) ([]byte, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make data key: %w", err)
	}
	var b bytes.Buffer
	if err := h.WriteWithAssociatedData(keyset.NewBinaryWriter(&b), v.kek, wrapData(t)); err != nil {
		return nil, fmt.Errorf("wrap data key: %w", err)
	}
	return b.Bytes(), nil
}

// Seal seals the personal part of an event.
func (v *Vault) Seal(t domain.TenantID, id domain.EventID, plain []byte) ([]byte, error) {
	wrapped, ok := v.keys.DataKey(t)
	if !ok {
		return nil, noKey(t)
	}
	return v.SealSecret(wrapped, t, "event:"+string(id), plain)
}

// Open is the inverse of Seal.
func (v *Vault) Open(t domain.TenantID, id domain.EventID, sealed []byte) ([]byte, error) {
	wrapped, ok := v.keys.DataKey(t)
	if !ok {
		return nil, noKey(t)
	}
	return v.OpenSecret(wrapped, t, "event:"+string(id), sealed)
}

// noKey says that the news of a tenant, and its data key, has not come yet: in
// a process of several it may be a moment behind the tenant's events.
func noKey(t domain.TenantID) error {
	return domain.Errorf(domain.Unavailable, nil, "the data key of %s is not known here yet", t)
}

// SealSecret seals plain under a wrapped data key, bound to tenant and label.
func (v *Vault) SealSecret(wrapped []byte, t domain.TenantID, label string, plain []byte) ([]byte, error) {
	a, err := v.unwrap(wrapped, t)
	if err != nil {
		return nil, err
	}
	sealed, err := a.Encrypt(plain, associated(t, label))
	if err != nil {
		return nil, fmt.Errorf("seal for %s: %w", t, err)
	}
	return sealed, nil
}

// OpenSecret is the inverse of SealSecret.
func (v *Vault) OpenSecret(wrapped []byte, t domain.TenantID, label string, sealed []byte) ([]byte, error) {
	a, err := v.unwrap(wrapped, t)
	if err != nil {
		return nil, err
	}
	plain, err := a.Decrypt(sealed, associated(t, label))
	if err != nil {
		return nil, fmt.Errorf("open for %s: %w", t, err)
	}
	return plain, nil
}

// SealOwn seals what belongs to no tenant, directly under the master key.
func (v *Vault) SealOwn(label string, plain []byte) ([]byte, error) {
	return v.kek.Encrypt(plain, associated("", label))
}

// OpenOwn is the inverse of SealOwn.
func (v *Vault) OpenOwn(label string, sealed []byte) ([]byte, error) {
	return v.kek.Decrypt(sealed, associated("", label))
}

func (v *Vault) unwrap(wrapped []byte, t domain.TenantID) (tink.AEAD, error) {
	slot := string(t) + "\x00" + string(wrapped)
	v.mu.RLock()
	a, ok := v.opened[slot]
	v.mu.RUnlock()
	if ok {
		return a, nil
	}
	h, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(wrapped)), v.kek, wrapData(t))
	if err != nil {
		return nil, fmt.Errorf("tenant %s: %w", t, ErrWrongKey)
	}
	if a, err = aead.New(h); err != nil {
		return nil, fmt.Errorf("tenant %s: use data key: %w", t, err)
	}
	v.mu.Lock()
	v.opened[slot] = a
	v.mu.Unlock()
	return a, nil
}

func wrapData(t domain.TenantID) []byte { return []byte("datakey:" + string(t)) }

func associated(t domain.TenantID, label string) []byte {
	return fmt.Appendf(nil, "%d:%s|%s", len(t), t, label)
}
