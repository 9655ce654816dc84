// Package vault seals what only this house may read. It is the one place that
// knows the cryptography library.
//
// Two levels: a master key (the KEK) wraps one data key per tenant; data keys
// seal personal parts of events and secrets such as access tokens. All are
// AES-256-GCM with associated data, so that a ciphertext opens only under the
// tenant and the place it was sealed for. Every ciphertext of a data key begins
// with five bytes that name the key inside its keyset, so that a keyset holds
// former keys beside the current one.
//
// While master keys are rotated a vault has several: it seals under the current
// one and opens under any.
//
// A Vault is safe for concurrent use. Errors never contain plaintext or keys.
package vault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/sendlog/sendlog/domain"
)

// Keyring finds the wrapped data key of a tenant.
type Keyring interface {
	DataKey(domain.TenantID) (wrapped []byte, ok bool)
}

// Patience is a [Keyring] of which others know more: it can wait for the data
// key that came after one it has shown.
type Patience interface {
	// NextDataKey returns a tenant's data key as soon as it is another than
	// wrapped, or false after a moment.
	NextDataKey(t domain.TenantID, wrapped []byte) (next []byte, ok bool)
}

// Vault seals and opens.
type Vault struct {
	keks []KEK // the current one, then former ones
	keys Keyring

	mu     sync.RWMutex
	opened map[domain.TenantID]*dataKey // the newest one used of each tenant, about 1 KiB each
}

// dataKey is a tenant's data key, unwrapped.
type dataKey struct {
	wrapped string
	aead    tink.AEAD
	ids     map[uint32]bool // of the keys in its keyset
}

// ErrWrongKey says that a data key does not open under this master key.
var ErrWrongKey = errors.New("the master key does not open this data key")

// New returns a vault under a master key of [KeySize] bytes.
func New(master []byte, keys Keyring) (*Vault, error) {
	kek, err := NewKEK(master)
	if err != nil {
		return nil, err
	}
	return Under(keys, kek), nil
}

// Under returns a vault that seals under the current master key and opens under
// former ones too.
func Under(keys Keyring, current KEK, former ...KEK) *Vault {
	return &Vault{keks: append([]KEK{current}, former...), keys: keys, opened: map[domain.TenantID]*dataKey{}}
}

// KEK names the master key that seals.
func (v *Vault) KEK() string { return v.keks[0].name }

// Knows reports whether this vault has the master key of a name.
func (v *Vault) Knows(kek string) bool {
	for _, k := range v.keks {
		if k.names[kek] {
			return true
		}
	}
	return false
}

// NewDataKey makes a data key for a tenant and returns it wrapped.
func (v *Vault) NewDataKey(t domain.TenantID) ([]byte, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make data key: %w", err)
	}
	return v.wrap(h, t)
}

// RotateDataKey puts a fresh data key in front of a tenant's former ones and
// wraps all of them under the current master key.
func (v *Vault) RotateDataKey(wrapped []byte, t domain.TenantID) ([]byte, error) {
	h, err := v.read(wrapped, t)
	if err != nil {
		return nil, err
	}
	m := keyset.NewManagerFromHandle(h)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make data key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("make data key: %w", err)
	}
	if h, err = m.Handle(); err != nil {
		return nil, fmt.Errorf("make data key: %w", err)
	}
	return v.wrap(h, t)
}

// Check returns nil when a tenant's wrapped data key opens. It keeps nothing.
func (v *Vault) Check(wrapped []byte, t domain.TenantID) error {
	_, err := v.read(wrapped, t)
	return err
}

func (v *Vault) wrap(h *keyset.Handle, t domain.TenantID) ([]byte, error) {
	var b bytes.Buffer
	if err := h.WriteWithAssociatedData(keyset.NewBinaryWriter(&b), v.keks[0].aead, wrapData(t)); err != nil {
		return nil, fmt.Errorf("wrap data key: %w", err)
	}
	return b.Bytes(), nil
}

func (v *Vault) read(wrapped []byte, t domain.TenantID) (*keyset.Handle, error) {
	for _, k := range v.keks {
		h, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(wrapped)), k.aead, wrapData(t))
		if err == nil {
			return h, nil
		}
	}
	return nil, fmt.Errorf("tenant %s: %w", t, ErrWrongKey)
}

// Seal seals the personal part of an event.
func (v *Vault) Seal(t domain.TenantID, id domain.EventID, plain []byte) ([]byte, error) {
	wrapped, ok := v.keys.DataKey(t)
	if !ok {
		return nil, noKey(t)
	}
	return v.SealSecret(wrapped, t, "event:"+string(id), plain)
}

// Open is the inverse of Seal. Another process may have sealed with a data key
// whose news has not come yet: then it waits for it, and answers
// [domain.Unavailable] when it does not come.
func (v *Vault) Open(t domain.TenantID, id domain.EventID, sealed []byte) ([]byte, error) {
	wrapped, ok := v.keys.DataKey(t)
	if !ok {
		return nil, noKey(t)
	}
	for {
		k, err := v.unwrap(wrapped, t)
		if err != nil {
			return nil, err
		}
		patient, ok := v.keys.(Patience)
		if !ok || k.sealed(sealed) {
			return k.open(t, "event:"+string(id), sealed)
		}
		if wrapped, ok = patient.NextDataKey(t, wrapped); !ok {
			return nil, noKey(t)
		}
	}
}

// noKey says that the news of a tenant, or of its data key, has not come yet:
// in a process of several it may be a moment behind the tenant's events.
func noKey(t domain.TenantID) error {
	return domain.Errorf(domain.Unavailable, nil, "the data key of %s is not known here yet", t)
}

// SealSecret seals plain under a wrapped data key, bound to tenant and label.
func (v *Vault) SealSecret(wrapped []byte, t domain.TenantID, label string, plain []byte) ([]byte, error) {
	k, err := v.unwrap(wrapped, t)
	if err != nil {
		return nil, err
	}
	sealed, err := k.aead.Encrypt(plain, associated(t, label))
	if err != nil {
		return nil, fmt.Errorf("seal for %s: %w", t, err)
	}
	return sealed, nil
}

// OpenSecret is the inverse of SealSecret.
func (v *Vault) OpenSecret(wrapped []byte, t domain.TenantID, label string, sealed []byte) ([]byte, error) {
	k, err := v.unwrap(wrapped, t)
	if err != nil {
		return nil, err
	}
	return k.open(t, label, sealed)
}

func (k *dataKey) open(t domain.TenantID, label string, sealed []byte) ([]byte, error) {
	plain, err := k.aead.Decrypt(sealed, associated(t, label))
	if err != nil {
		return nil, fmt.Errorf("open for %s: %w", t, err)
	}
	return plain, nil
}

// sealed reports whether a ciphertext names a key of this keyset.
func (k *dataKey) sealed(ciphertext []byte) bool {
	return len(ciphertext) >= 5 && k.ids[binary.BigEndian.Uint32(ciphertext[1:5])]
}

// SealOwn seals what belongs to no tenant, directly under the master key.
func (v *Vault) SealOwn(label string, plain []byte) ([]byte, error) {
	return v.keks[0].aead.Encrypt(plain, associated("", label))
}

// OpenOwn is the inverse of SealOwn.
func (v *Vault) OpenOwn(label string, sealed []byte) ([]byte, error) {
	for _, k := range v.keks {
		if plain, err := k.aead.Decrypt(sealed, associated("", label)); err == nil {
			return plain, nil
		}
	}
	return nil, ErrWrongKey
}

// OwnIsCurrent reports whether what SealOwn made is sealed under the master key
// that seals now, and not under a former one.
func (v *Vault) OwnIsCurrent(label string, sealed []byte) bool {
	_, err := v.keks[0].aead.Decrypt(sealed, associated("", label))
	return err == nil
}

func (v *Vault) unwrap(wrapped []byte, t domain.TenantID) (*dataKey, error) {
	v.mu.RLock()
	k := v.opened[t]
	v.mu.RUnlock()
	if k != nil && k.wrapped == string(wrapped) {
		return k, nil
	}
	h, err := v.read(wrapped, t)
	if err != nil {
		return nil, err
	}
	k = &dataKey{wrapped: string(wrapped), ids: map[uint32]bool{}}
	for _, one := range h.KeysetInfo().GetKeyInfo() {
		k.ids[one.GetKeyId()] = true
	}
	if k.aead, err = aead.New(h); err != nil {
		return nil, fmt.Errorf("tenant %s: use data key: %w", t, err)
	}
	v.mu.Lock()
	v.opened[t] = k
	v.mu.Unlock()
	return k, nil
}

func wrapData(t domain.TenantID) []byte { return []byte("datakey:" + string(t)) }

func associated(t domain.TenantID, label string) []byte {
	return []byte(strconv.Itoa(len(t)) + ":" + string(t) + "|" + label)
}
