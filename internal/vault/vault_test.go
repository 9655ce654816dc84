package vault_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"

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

// waitingRing is a keyring that can wait for the next data key.
type waitingRing struct {
	ring
	next map[domain.TenantID][]byte
}

func (r waitingRing) NextDataKey(t domain.TenantID, wrapped []byte) ([]byte, bool) {
	k, ok := r.next[t]
	return k, ok && !bytes.Equal(k, wrapped)
}

// While master keys are rotated both open; only the current one seals.
func TestTwoMasterKeys(t *testing.T) {
	t.Parallel()
	old, err := vault.NewKEK([]byte(master))
	if err != nil {
		t.Fatal(err)
	}
	current, err := vault.NewKEK(bytes.Repeat([]byte{1}, vault.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	if old.Name() == current.Name() || strings.Contains(old.Name(), master[:4]) {
		t.Errorf("names %q and %q", old.Name(), current.Name())
	}
	keys := ring{}
	before, both, after := vault.Under(keys, old), vault.Under(keys, current, old), vault.Under(keys, current)
	if keys["ten_a"], err = before.NewDataKey("ten_a"); err != nil {
		t.Fatal(err)
	}
	own, err := before.SealOwn("quarantine", []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := before.Seal("ten_a", "evt_1", []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		v     *vault.Vault
		opens bool
	}{"before": {before, true}, "both": {both, true}, "after": {after, false}} {
		plain, err := c.v.OpenOwn("quarantine", own)
		if (err == nil && string(plain) == "payload") != c.opens {
			t.Errorf("%s: payload %q, %v", name, plain, err)
		}
		plain, err = c.v.Open("ten_a", "evt_1", sealed)
		if (err == nil && string(plain) == "plain") != c.opens || !c.opens && !errors.Is(err, vault.ErrWrongKey) {
			t.Errorf("%s: event %q, %v", name, plain, err)
		}
		if c.v.Check(keys["ten_a"], "ten_a") == nil != c.opens {
			t.Errorf("%s: the check disagrees", name)
		}
	}
	if both.KEK() != current.Name() || !both.Knows(old.Name()) || after.Knows(old.Name()) {
		t.Error("a vault does not know its master keys")
	}
	if own, err = both.SealOwn("quarantine", []byte("payload")); err != nil {
		t.Fatal(err)
	}
	if _, err := before.OpenOwn("quarantine", own); err == nil {
		t.Error("it sealed under the former key")
	}
	rotated, err := both.RotateDataKey(keys["ten_a"], "ten_a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := both.RotateDataKey(keys["ten_a"], "ten_b"); err == nil {
		t.Error("a data key was rotated for another tenant")
	}
	if after.Check(rotated, "ten_a") != nil || before.Check(rotated, "ten_a") == nil {
		t.Error("the rotated data key is not under the current master key alone")
	}
}

// An event sealed with a data key whose news has not come waits for it, and is
// not taken for a broken one when it does not come.
func TestOpenWaitsForTheNextDataKey(t *testing.T) {
	t.Parallel()
	kek, err := vault.NewKEK([]byte(master))
	if err != nil {
		t.Fatal(err)
	}
	keys := waitingRing{ring{}, map[domain.TenantID][]byte{}}
	v := vault.Under(keys, kek)
	first, err := v.NewDataKey("ten_a")
	if err != nil {
		t.Fatal(err)
	}
	second, err := v.RotateDataKey(first, "ten_a")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := v.SealSecret(second, "ten_a", "event:evt_1", []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	keys.ring["ten_a"] = first
	if _, err := v.Open("ten_a", "evt_1", sealed); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("without the news: %v, want unavailable", err)
	}
	keys.next["ten_a"] = second
	if plain, err := v.Open("ten_a", "evt_1", sealed); err != nil || string(plain) != "plain" {
		t.Errorf("with the news: %q, %v", plain, err)
	}
	// A ciphertext of a key that is known, and broken, is broken.
	sealed[len(sealed)-1] ^= 1
	if _, err := v.Open("ten_a", "evt_1", sealed); err == nil || domain.KindOf(err) == domain.Unavailable {
		t.Errorf("broken: %v", err)
	}
}

// A Tink keyset is a master key whose former keys still open.
func TestKeyset(t *testing.T) {
	t.Parallel()
	m := keyset.NewManager()
	var texts [2][]byte
	for i := range texts {
		id, err := m.Add(aead.AES256GCMKeyTemplate())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.SetPrimary(id); err != nil {
			t.Fatal(err)
		}
		h, err := m.Handle()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)); err != nil {
			t.Fatal(err)
		}
		texts[i] = b.Bytes()
	}
	one, err := vault.ReadKeyset(texts[0])
	if err != nil {
		t.Fatal(err)
	}
	two, err := vault.ReadKeyset(texts[1])
	if err != nil {
		t.Fatal(err)
	}
	keys := ring{}
	if keys["ten_a"], err = vault.Under(keys, one).NewDataKey("ten_a"); err != nil {
		t.Fatal(err)
	}
	v := vault.Under(keys, two)
	if err := v.Check(keys["ten_a"], "ten_a"); err != nil {
		t.Errorf("a former key of the set does not open: %v", err)
	}
	if !v.Knows(one.Name()) || v.KEK() != two.Name() || one.Name() == two.Name() {
		t.Errorf("names %q, %q", one.Name(), two.Name())
	}
	if keys["ten_a"], err = v.RotateDataKey(keys["ten_a"], "ten_a"); err != nil {
		t.Fatal(err)
	}
	if vault.Under(keys, one).Check(keys["ten_a"], "ten_a") == nil {
		t.Error("it was wrapped by a former key of the set")
	}
	if a, err := one.Derive("x", 32); err != nil || len(a) != 32 {
		t.Errorf("derived %d bytes, %v", len(a), err)
	}
	secret := string(texts[0])
	for name, text := range map[string]string{"empty": "", "no JSON": "{", "no keyset": "{}", "cut": secret[:len(secret)-9]} {
		if _, err := vault.ReadKeyset([]byte(text)); err == nil || len(text) > 20 && strings.Contains(err.Error(), text[10:20]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
