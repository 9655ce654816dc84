package domain_test

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sendlog/sendlog/domain"
)

// The lane of a number never changes: it is part of every stored subject. The
// values were computed outside Go; streams compares with JetStream's own.
func TestLaneIsGolden(t *testing.T) {
	t.Parallel()
	for number, want := range map[domain.NumberID]int{
		"":                5,
		"0":               15,
		"a":               12,
		"b":               5,
		"foobar":          8,
		"106540352242922": 2,
		"109876543210987": 1,
		"123456123":       14,
		"PHONE_ID-1":      3,
	} {
		if got := domain.Lane(number); got != want {
			t.Errorf("Lane(%q) = %d, want %d", number, got, want)
		}
	}
}

// The lane is FNV-1a32 modulo 16, for any number.
func TestLaneIsFNV(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.String().Draw(t, "number")
		h := fnv.New32a()
		fmt.Fprint(h, number)
		if got, want := domain.Lane(domain.NumberID(number)), int(h.Sum32()%16); got != want {
			t.Fatalf("Lane = %d, want %d", got, want)
		}
	})
}

// Ids that were given out stay what they are: a repeat of an old idempotency
// key must find the old message. The values were computed outside Go.
func TestIDsAreGolden(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"4oymiquy7qobjgx36tejs35zeq":     domain.Digest(),
		"ipxgkvlz3ya4u443h6k4dqwt6r":     domain.Digest("ab", "c"),
		"tkfmzinwy3al57j7xr2wv3lclw":     domain.Digest("a", "bc"),
		"msg_vbucw2kvullapkvmigdcdmz6yu": string(domain.OutgoingID("ten_a", "order-17")),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// Where one part ends and the next begins is part of a digest.
func TestDigestSeparatesParts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.StringN(0, 4, -1)).Draw(t, "parts")
		others := rapid.SliceOf(rapid.StringN(0, 4, -1)).Draw(t, "others")
		same := fmt.Sprintf("%q", parts) == fmt.Sprintf("%q", others)
		if got := domain.Digest(parts...) == domain.Digest(others...); got != same {
			t.Fatalf("digests equal: %v, parts equal: %v", got, same)
		}
		// Moving a border keeps the letters and must still tell them apart.
		word := rapid.StringN(1, 8, -1).Draw(t, "word")
		runes := []rune(word)
		cut := rapid.IntRange(0, len(runes)-1).Draw(t, "cut")
		a, b := string(runes[:cut]), string(runes[cut:])
		if domain.Digest(a, b) == domain.Digest(word, "") {
			t.Fatalf("%q + %q is taken for %q", a, b, word)
		}
	})
}

// One key of one tenant names one message; another tenant's equal key names
// another; without a key every call names a new one.
func TestOutgoingID(t *testing.T) {
	t.Parallel()
	shape := regexp.MustCompile(`^msg_[a-z2-7]{26}$`)
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringN(1, 255, -1).Draw(t, "key")
		id := domain.OutgoingID("ten_a", key)
		if again := domain.OutgoingID("ten_a", key); again != id {
			t.Fatalf("one key named %s and %s", id, again)
		}
		if other := domain.OutgoingID("ten_b", key); other == id {
			t.Fatal("two tenants share a message id")
		}
		if other := domain.OutgoingID("ten_a", key+"x"); other == id {
			t.Fatal("two keys share a message id")
		}
		a, b := domain.OutgoingID("ten_a", ""), domain.OutgoingID("ten_a", "")
		if a == b || a == id {
			t.Fatal("an unkeyed message is not unique")
		}
		for _, id := range []domain.MessageID{id, a} {
			if !shape.MatchString(string(id)) {
				t.Fatalf("id %s", id)
			}
		}
	})
}

// Fresh ids differ, have their shape and fit a subject.
func TestFreshIDs(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		for prefix, id := range map[string]string{
			"ten_": string(domain.NewTenantID()),
			"evt_": string(domain.NewEventID()),
		} {
			if seen[id] {
				t.Fatalf("%s was given out twice", id)
			}
			seen[id] = true
			if len(id) != 30 || !strings.HasPrefix(id, prefix) || !domain.ValidToken(id) {
				t.Fatalf("id %s", id)
			}
		}
	}
}

// What happened elsewhere has one event id, however often it is told.
func TestFactID(t *testing.T) {
	t.Parallel()
	a := domain.FactID("status", "wamid.X", "read")
	if b := domain.FactID("status", "wamid.X", "read"); a != b {
		t.Errorf("one fact has ids %s and %s", a, b)
	}
	if b := domain.FactID("status", "wamid.Xread", ""); a == b {
		t.Error("two facts share an id")
	}
}

// A token of a subject holds nothing a broker could read as more than a token.
func TestValidToken(t *testing.T) {
	t.Parallel()
	for token, want := range map[string]bool{
		"a":                      true,
		"106540352242922":        true,
		"msg_abc-DEF_09":         true,
		strings.Repeat("x", 64):  true,
		"":                       false,
		strings.Repeat("x", 65):  false,
		"a.b":                    false,
		"*":                      false,
		">":                      false,
		"a b":                    false,
		"a\tb":                   false,
		"a\r\nb":                 false,
		"a\x00b":                 false,
		"+14155550100":           false,
		"ü":                      false,
		"\xff":                   false,
		"$JS":                    false,
		"a/b":                    false,
		"а":                      false, // Cyrillic
		strings.Repeat("é", 32):  false,
		strings.Repeat("-", 64):  true,
		strings.Repeat("_", 640): false,
	} {
		if got := domain.ValidToken(token); got != want {
			t.Errorf("ValidToken(%q) = %v, want %v", token, got, want)
		}
	}
}

// ValidToken agrees with its definition on any bytes.
func FuzzValidToken(f *testing.F) {
	definition := regexp.MustCompile(`\A[A-Za-z0-9_-]{1,64}\z`)
	for _, s := range []string{"", "a", "a.b", ">", "ü", strings.Repeat("x", 65), "a\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := domain.ValidToken(s), definition.MatchString(s); got != want {
			t.Errorf("ValidToken(%q) = %v, want %v", s, got, want)
		}
	})
}
