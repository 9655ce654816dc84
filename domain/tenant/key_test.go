package tenant_test

import (
	"fmt"
	"hash/crc32"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sendlog/sendlog/domain/tenant"
)

// A fresh key has its format, names its public id and keeps neither id nor
// secret in its hash.
func TestNewAPIKey(t *testing.T) {
	t.Parallel()
	format := regexp.MustCompile(`^sl_live_[0-9A-Za-z]{46}$`)
	keys, ids := map[string]bool{}, map[string]bool{}
	for range 200 {
		key, id, hash := tenant.NewAPIKey()
		got, ok := tenant.ParseAPIKey(key)
		if !format.MatchString(key) || !ok || got != id || len(id) != 8 {
			t.Fatalf("key %q with id %q parses as %q, %v", key, id, got, ok)
		}
		if len(hash) != 64 || strings.Contains(hash, key[16:48]) {
			t.Fatalf("hash %q of %q", hash, key)
		}
		if keys[key] || ids[id] {
			t.Fatal("a key or id was given out twice")
		}
		keys[key], ids[id] = true, true
	}
}

// The checksum is CRC-32 in base62, so that scanners outside this house can
// check a leaked key.
func TestChecksumIsCRC32(t *testing.T) {
	t.Parallel()
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	key, _, _ := tenant.NewAPIKey()
	var sum uint64
	for _, c := range key[len(key)-6:] {
		sum = sum*62 + uint64(strings.IndexRune(digits, c))
	}
	if want := crc32.ChecksumIEEE([]byte(key[:len(key)-6])); sum != uint64(want) {
		t.Errorf("checksum of %s is %d, want %d", key, sum, want)
	}
}

// A key with one character changed, or cut, or grown, is refused without
// asking anybody.
func TestTamperedKeyIsRefused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key, _, _ := tenant.NewAPIKey()
		i := rapid.IntRange(0, len(key)-1).Draw(t, "at")
		c := rapid.SampledFrom([]byte("0aZ_ü\x00. ")).Draw(t, "letter")
		for _, forged := range []string{
			key[:i] + string(rune(c)) + key[i+1:], key[:i], key + "0", key[:i] + key[i+1:], " " + key, strings.ToLower(key),
		} {
			if id, ok := tenant.ParseAPIKey(forged); ok && forged != key {
				t.Fatalf("%q passes for a key with id %q", forged, id)
			}
		}
	})
}

// Nothing anybody may send makes parsing panic, and what parses has the shape.
func FuzzParseAPIKey(f *testing.F) {
	key, _, _ := tenant.NewAPIKey()
	for _, s := range []string{"", "sl_live_", key, key[:53], strings.Repeat("0", 54), fmt.Sprintf("sl_live_%046d", 0)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := tenant.ParseAPIKey(s); ok && (len(s) != 54 || s[8:16] != id) {
			t.Errorf("%q parses as %q", s, id)
		}
	})
}
