package vault_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/internal/vault"
)

type ring map[domain.TenantID][]byte

func (r ring) DataKey(t domain.TenantID) ([]byte, bool) { k, ok := r[t]; return k, ok }

func open(t *testing.T, master string) (*vault.Vault, ring) {
	t.Helper()
	keys := ring{}
	v, err := vault.New([]byte(master), keys)
	if err != nil {
		t.Fatal(err)
	}
	return v, keys
}

const master = "0123456789abcdef0123456789abcdef"

// A sealed part opens only for the tenant and event it was sealed for.
func TestSealedPartIsBoundToItsPlace(t *testing.T) {
	t.Parallel()
	v, keys := open(t, master)
	for _, id := range []domain.TenantID{"ten_a", "ten_b"} {
		k, err := v.NewDataKey(id)
		if err != nil {
			t.Fatal(err)
		}
		keys[id] = k
	}
	plain := []byte("+14155550100 says hello")
	sealed, err := v.Seal("ten_a", "evt_1", plain)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("hello")) {
		t.Fatal("the ciphertext shows the plaintext")
	}
	got, err := v.Open("ten_a", "evt_1", sealed)
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("open: %q, %v", got, err)
	}
	if _, err := v.Open("ten_a", "evt_2", sealed); err == nil {
		t.Error("it opened for another event")
	}
	if _, err := v.Open("ten_b", "evt_1", sealed); err == nil {
		t.Error("it opened for another tenant")
	}
	keys["ten_b"] = keys["ten_a"]
	if _, err := v.Open("ten_b", "evt_1", sealed); !errors.Is(err, vault.ErrWrongKey) {
		t.Errorf("another tenant's data key unwrapped: %v", err)
	}
	if _, err := v.Seal("ten_nobody", "evt_1", plain); err == nil {
		t.Error("sealed for a tenant without a key")
	}
}

// Another master key opens nothing.
func TestWrongMasterKeyIsNamed(t *testing.T) {
	t.Parallel()
	v, keys := open(t, master)
	k, err := v.NewDataKey("ten_a")
	if err != nil {
		t.Fatal(err)
	}
	keys["ten_a"] = k
	other, otherKeys := open(t, strings.ToUpper(master))
	otherKeys["ten_a"] = k
	if _, err := other.Seal("ten_a", "evt_1", nil); !errors.Is(err, vault.ErrWrongKey) || !strings.Contains(err.Error(), "ten_a") {
		t.Fatalf("got %v, want ErrWrongKey naming the tenant", err)
	}
	own, err := v.SealOwn("quarantine:1", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.OpenOwn("quarantine:1", own); err != nil || string(got) != "x" {
		t.Fatalf("own: %q %v", got, err)
	}
	if _, err := v.OpenOwn("quarantine:2", own); err == nil {
		t.Error("own ciphertext opened under another label")
	}
}

// A master key is read in the three forms the environment allows, and a wrong
// one says what is allowed.
func TestParseMasterKey(t *testing.T) {
	t.Parallel()
	raw := []byte{0xfb, 0xff, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31}
	for _, form := range []string{
		string(raw), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
		base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw),
	} {
		if got, err := vault.ParseMasterKey(form); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%q: %x, %v", form, got, err)
		}
	}
	for _, bad := range []string{"", "short", strings.Repeat("x", 31), strings.Repeat("z", 64), strings.Repeat("a", 65)} {
		if _, err := vault.ParseMasterKey(bad); err == nil || !strings.Contains(err.Error(), "64 hex digits") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
