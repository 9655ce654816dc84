package tenant

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"hash/crc32"
	"math/big"
	"strings"
)

// An API key reads sl_live_<id><secret><checksum>: 8, 32 and 6 characters of
// base62; one for simulated numbers begins with sl_test_. The secret holds 190
// bits; the checksum (CRC-32 of all before it) lets scanners and the edge refuse
// garbage without asking anybody.
const (
	keyPrefix     = "sl_live_"
	keyTestPrefix = "sl_test_" // as long as keyPrefix
	keyIDLen      = 8
	keySecretLen  = 32
	keySumLen     = 6
	keyLen        = len(keyPrefix) + keyIDLen + keySecretLen + keySumLen
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewAPIKey returns a fresh key, its public id and the hash to keep.
func NewAPIKey() (key, id, hash string) { return newKey(keyPrefix) }

// NewTestKey is [NewAPIKey] for a key that reaches simulated numbers only.
func NewTestKey() (key, id, hash string) { return newKey(keyTestPrefix) }

func newKey(prefix string) (key, id, hash string) {
	id = random62(keyIDLen)
	body := prefix + id + random62(keySecretLen)
	key = body + checksum(body)
	return key, id, hashKey(key)
}

// ParseAPIKey returns the public id of a well-formed key.
func ParseAPIKey(key string) (id string, ok bool) {
	if len(key) != keyLen || !strings.HasPrefix(key, keyPrefix) && !strings.HasPrefix(key, keyTestPrefix) {
		return "", false
	}
	body, sum := key[:keyLen-keySumLen], key[keyLen-keySumLen:]
	if checksum(body) != sum {
		return "", false
	}
	return body[len(keyPrefix) : len(keyPrefix)+keyIDLen], true
}

// digest is a hash of an API key as it is kept.
type digest [sha256.Size]byte

// readDigest reads what hashKey wrote.
func readDigest(hash string) (d digest, ok bool) {
	b, err := hex.DecodeString(hash)
	if err != nil || len(b) != len(d) {
		return digest{}, false
	}
	return digest(b), true
}

// of compares a shown key with a kept digest in constant time.
func (d digest) of(key string) bool {
	sum := sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(sum[:], d[:]) == 1
}

// hashKey is a plain SHA-256: the secret has far more than the 112 bits that
// make a fast hash sufficient.
func hashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func random62(n int) string {
	limit := big.NewInt(int64(len(base62)))
	b := make([]byte, n)
	for i := range b {
		d, err := rand.Int(rand.Reader, limit)
		if err != nil {
			panic(err) // crypto/rand never fails on the systems we run on
		}
		b[i] = base62[d.Int64()]
	}
	return string(b)
}

func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	b := make([]byte, keySumLen)
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = base62[sum%62]
		sum /= 62
	}
	return string(b)
}
