package vault

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// KeySize is the size of a master key given as bytes.
const KeySize = 32

// KEK is a master key (key encryption key), or a keyset of them: one seals, all
// of them open. The zero KEK is none.
type KEK struct {
	name   string          // of the one that seals
	names  map[string]bool // of all that open
	aead   tink.AEAD
	secret []byte // what other keys are derived from
}

// NewKEK returns the master key of [KeySize] bytes.
func NewKEK(key []byte) (KEK, error) {
	a, err := subtle.NewAESGCM(key)
	if err != nil {
		return KEK{}, fmt.Errorf("open master key: %w", err)
	}
	k := KEK{aead: a, secret: key}
	fingerprint, err := k.Derive("sendlog master key name", 6)
	if err != nil {
		return KEK{}, err
	}
	k.name = "key-" + hex.EncodeToString(fingerprint)
	k.names = map[string]bool{k.name: true}
	return k, nil
}

// ReadKeyset returns the master keys of a Tink keyset in JSON, in the clear
// (`tinkey create-keyset --key-template AES256_GCM`). Its primary key seals; a
// rotation adds a new primary and keeps the others until nothing is wrapped by
// them.
func ReadKeyset(text []byte) (KEK, error) {
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(text)))
	if err != nil {
		return KEK{}, errors.New("is not a Tink keyset in JSON") // the library's words may quote it
	}
	a, err := aead.New(h)
	if err != nil {
		return KEK{}, errors.New("is a Tink keyset of another kind than AEAD")
	}
	info := h.KeysetInfo()
	k := KEK{aead: a, secret: text, name: keysetName(info.GetPrimaryKeyId()), names: map[string]bool{}}
	for _, one := range info.GetKeyInfo() {
		k.names[keysetName(one.GetKeyId())] = true
	}
	return k, nil
}

func keysetName(id uint32) string { return fmt.Sprintf("keyset-%08x", id) }

// Name names the master key that seals. It tells nothing about the key, but it
// is the same for the same key.
func (k KEK) Name() string { return k.name }

// Derive returns n bytes for another purpose, from which the master key cannot
// be found (HKDF-SHA-256).
func (k KEK) Derive(purpose string, n int) ([]byte, error) {
	b, err := hkdf.Key(sha256.New, k.secret, nil, purpose, n)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return b, nil
}

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
