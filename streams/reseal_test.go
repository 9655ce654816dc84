package streams_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/internal/vault"
	"github.com/sendlog/sendlog/streams"
)

// Sealing the quarantine anew keeps every payload once, under the new master
// key alone, for what is left of its time; what is over goes, what nobody can
// open stays, and doing it again changes nothing.
func TestResealQuarantine(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	kek := func(master string) vault.KEK {
		k, err := vault.NewKEK([]byte(master))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	old, fresh, alien := kek("0123456789abcdef0123456789abcdef"), kek("fedcba9876543210fedcba9876543210"), kek("alien master key of 32 characters"[:32])
	large := bytes.Repeat([]byte("large"), streams.QuarantineChunk/2)
	before := b.Quarantine(vault.Under(ring{}, old))
	keep(t, before, "unknown_number", []byte("small"))
	keep(t, before, "unknown_number", large)
	keep(t, b.Quarantine(vault.Under(ring{}, alien)), "unknown_number", []byte("alien"))
	if err := before.Keep(t.Context(), "unknown_number", []byte("over"), keptAt.Add(-91*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	both := b.Quarantine(vault.Under(ring{}, fresh, old))
	keep(t, both, "unknown_account", []byte("new"))

	reseal := func() (n int, err error) {
		err = both.Reseal(t.Context(), keptAt.Add(time.Hour), func() { n++ })
		return n, err
	}
	if n, err := reseal(); n != 3 || domain.KindOf(err) != domain.Bug {
		t.Errorf("%d sealed anew, %v", n, err)
	}
	if n, err := reseal(); n != 0 || domain.KindOf(err) != domain.Bug {
		t.Errorf("the second time %d sealed anew, %v", n, err)
	}
	after := b.Quarantine(vault.Under(ring{}, fresh))
	found := map[string]bool{}
	for _, k := range list(t, after, 0, 100) {
		whole, err := after.Get(t.Context(), k.Position)
		if domain.KindOf(err) == domain.Bug && err != nil {
			found["closed"] = true
			continue
		}
		if err != nil || !k.At.Equal(keptAt) {
			t.Errorf("%d: kept at %s, %v", k.Position, k.At, err)
		}
		text := string(whole.Payload[:min(5, len(whole.Payload))])
		if found[text] || text == "large" && !bytes.Equal(whole.Payload, large) {
			t.Errorf("%s is there twice, or not whole", text)
		}
		found[text] = true
		m, err := stream(t, b, "QUARANTINE").GetMsg(t.Context(), uint64(k.Position))
		if err != nil {
			t.Fatal(err)
		}
		if ttl := m.Header.Get("Nats-TTL"); text != "new" && ttl != "7772400" { // 90 days less one hour, in seconds
			t.Errorf("%s lives for %q s", text, ttl)
		}
	}
	if len(found) != 4 || !found["small"] || !found["large"] || !found["new"] || !found["closed"] {
		t.Errorf("kept afterwards: %v", found)
	}
}
