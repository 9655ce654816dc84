package streams_test

import (
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

// Burying the same again is one grave; another one is another, and what was
// buried is kept as it was.
func TestBuryTwiceIsOnce(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	bury := func(k domain.Key, id, raw string, want uint64) {
		t.Helper()
		if err := b.Dead().Bury(t.Context(), k, id, []byte(raw), "refused"); err != nil {
			t.Fatal(err)
		}
		if n, err := b.Dead().Count(t.Context()); err != nil || n != want {
			t.Fatalf("%d dead letters, want %d, %v", n, want, err)
		}
	}
	k := outgoing(number)
	bury(k, k.ID, "raw", 1)
	bury(k, k.ID, "raw", 1)
	bury(k, k.ID, "raw, but later", 1)
	bury(k, k.ID+"-2", "raw", 2)
	other := k
	other.Tenant = tenantB
	bury(other, k.ID, "raw", 3)

	m, err := stream(t, b, "DLQ").GetLastMsgForSubject(t.Context(), "dlq.msg.ten_a."+k.ID)
	if err != nil {
		t.Fatal(err)
	}
	if string(m.Data) != "raw" || m.Header.Get("Sendlog-Reason") != "refused" {
		t.Errorf("kept %q, %v", m.Data, m.Header)
	}
}

// What fits no subject is not buried under another one.
func TestBuryRefusesBadKeys(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	k := outgoing(number)
	for name, bury := range map[string]func() error{
		"a phone for an id": func() error { return b.Dead().Bury(t.Context(), k, "+14155550100", nil, "") },
		"any tenant": func() error {
			k := k
			k.Tenant = "*"
			return b.Dead().Bury(t.Context(), k, k.ID, nil, "")
		},
		"no kind": func() error { return b.Dead().Bury(t.Context(), domain.Key{Tenant: tenantA}, k.ID, nil, "") },
	} {
		if err := bury(); domain.KindOf(err) != domain.Bug {
			t.Errorf("%s: %v", name, err)
		}
	}
}
