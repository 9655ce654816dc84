package streams_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

var keptAt = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

func keep(t *testing.T, q *streams.Quarantine, reason string, payload []byte) {
	t.Helper()
	if err := q.Keep(t.Context(), reason, payload, keptAt); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, q *streams.Quarantine, before domain.Position, limit int) []streams.Kept {
	t.Helper()
	kept, err := q.List(t.Context(), before, limit)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// A payload of any size comes back verbatim, as one entry of the list.
func TestQuarantineKeepsVerbatim(t *testing.T) {
	t.Parallel()
	const chunk = streams.QuarantineChunk
	b := oneNode(t, streams.Interval)
	q := b.Quarantine(newVault(t))
	noise := rand.NewChaCha8([32]byte{1})
	sizes := []int{0, 1, 1000, chunk, chunk + 1, 3 << 20}
	for _, size := range sizes {
		payload := make([]byte, size)
		_, _ = noise.Read(payload) // never fails
		keep(t, q, "unknown_number", payload)
		k := list(t, q, 0, 1)[0]
		if k.Reason != "unknown_number" || k.Size != size || !k.At.Equal(keptAt) || k.Payload != nil {
			t.Errorf("%d bytes: listed as %+v", size, k)
		}
		got, err := q.Get(t.Context(), k.Position)
		if err != nil || !bytes.Equal(got.Payload, payload) || got.Size != size || got.Position != k.Position {
			t.Errorf("%d bytes: %d came back, %v", size, len(got.Payload), err)
		}
	}
	if kept := list(t, q, 0, 100); len(kept) != len(sizes) {
		t.Errorf("the list has %d entries, want %d", len(kept), len(sizes))
	}
}

// The list is read newest first, page by page, every payload once, large ones
// among small ones.
func TestQuarantinePages(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	q := b.Quarantine(newVault(t))
	var want []string
	for i := range 7 {
		reason := fmt.Sprint("reason_", i)
		size := 10
		if i%3 == 1 {
			size = streams.QuarantineChunk + 10
		}
		keep(t, q, reason, bytes.Repeat([]byte{byte('a' + i)}, size))
		want = append([]string{reason}, want...)
	}
	for _, limit := range []int{1, 2, 7, 8} {
		var got []string
		for before := domain.Position(0); ; {
			page := list(t, q, before, limit)
			if len(page) == 0 {
				break
			}
			if len(page) > limit {
				t.Fatalf("a page of %d has %d entries", limit, len(page))
			}
			for _, k := range page {
				got = append(got, k.Reason)
			}
			before = page[len(page)-1].Position
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("pages of %d: %s", limit, got)
		}
	}
}

// The same payload for the same reason is kept once, also when a large one is
// told again; for another reason it is kept again.
func TestQuarantineKeepsRepeatsOnce(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	q := b.Quarantine(newVault(t))
	large := bytes.Repeat([]byte("x"), 3<<20)
	for range 3 {
		keep(t, q, "unknown_number", []byte("small"))
		keep(t, q, "unknown_number", large)
	}
	if kept := list(t, q, 0, 100); len(kept) != 2 {
		t.Errorf("%d entries, want 2", len(kept))
	}
	if n := stream(t, b, "QUARANTINE").CachedInfo().State.Msgs; n != 1+5 {
		t.Errorf("%d messages are stored, want 1 and 5 parts", n)
	}
	keep(t, q, "unknown_account", []byte("small"))
	if kept := list(t, q, 0, 100); len(kept) != 3 {
		t.Errorf("%d entries, want 3", len(kept))
	}
}

// Kept payloads are sealed, and open under their own master key only.
func TestQuarantineIsSealed(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	const secret = "+14155550100 says the secret words"
	payload := bytes.Repeat([]byte(secret), streams.QuarantineChunk/len(secret)+100)
	keep(t, b.Quarantine(newVault(t)), "unknown_number", payload)
	absent(t, stored(t, b, "QUARANTINE"), secret)
	other := b.Quarantine(sealerOf(t, "another-master-key-of-32-letters"))
	kept := list(t, other, 0, 1)
	if got, err := other.Get(t.Context(), kept[0].Position); domain.KindOf(err) != domain.Bug || got.Payload != nil {
		t.Errorf("another key opened it: %v", err)
	}
}

// What is not kept is not found: no position, a part, the future.
func TestQuarantineGetUnknown(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	q := b.Quarantine(newVault(t))
	if kept := list(t, q, 0, 10); len(kept) != 0 {
		t.Errorf("an empty quarantine lists %d", len(kept))
	}
	keep(t, q, "unknown_number", make([]byte, streams.QuarantineChunk+1))
	for _, at := range []domain.Position{0, 1, 3, 1 << 40} {
		if _, err := q.Get(t.Context(), at); domain.KindOf(err) != domain.Unknown {
			t.Errorf("position %d: %v", at, err)
		}
	}
	remove(t, b, "QUARANTINE", 1)
	if _, err := q.Get(t.Context(), 2); domain.KindOf(err) != domain.Unknown {
		t.Errorf("a payload without its first part: %v", err)
	}
	if err := q.Keep(t.Context(), "two words", nil, keptAt); domain.KindOf(err) != domain.Bug {
		t.Errorf("a reason that fits no subject: %v", err)
	}
}
