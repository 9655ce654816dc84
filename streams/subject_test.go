package streams

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sendlog/sendlog/domain"
)

// token draws what may be one token of a subject.
func token() *rapid.Generator[string] { return rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`) }

// The subject of a key says all of it but the number, of which it says the
// lane.
func TestSubjectRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		k := domain.Key{
			Kind:   rapid.SampledFrom([]domain.Kind{domain.KindMessage, domain.KindInbound, domain.KindStatus, domain.KindAccount}).Draw(t, "kind"),
			Tenant: domain.TenantID(token().Draw(t, "tenant")),
			Number: domain.NumberID(rapid.String().Draw(t, "number")), // never shown
			ID:     token().Draw(t, "id"),
		}
		subject, err := subjectOf(k)
		if err != nil {
			t.Fatal(err)
		}
		lane, kind, tenant, id, err := parseSubject(subject)
		if err != nil || lane != domain.Lane(k.Number) || kind != k.Kind || tenant != k.Tenant || id != k.ID {
			t.Fatalf("%+v became %s, read as %d %s %s %s, %v", k, subject, lane, kind, tenant, id, err)
		}
	})
}

// A key that could be read as more than its own tokens never becomes a
// subject.
func TestBadKeysAreRefused(t *testing.T) {
	t.Parallel()
	good := domain.Key{Kind: domain.KindMessage, Tenant: "ten_a", Number: "1", ID: "msg_a"}
	for name, change := range map[string]func(*domain.Key){
		"no kind":           func(k *domain.Key) { k.Kind = "" },
		"an unknown kind":   func(k *domain.Key) { k.Kind = "tenant" },
		"no tenant":         func(k *domain.Key) { k.Tenant = "" },
		"any tenant":        func(k *domain.Key) { k.Tenant = "*" },
		"a tenant of two":   func(k *domain.Key) { k.Tenant = "ten_a.msg_b" },
		"a long tenant":     func(k *domain.Key) { k.Tenant = domain.TenantID(strings.Repeat("t", 65)) },
		"no id":             func(k *domain.Key) { k.ID = "" },
		"all ids":           func(k *domain.Key) { k.ID = ">" },
		"an id with space":  func(k *domain.Key) { k.ID = "msg a" },
		"an id with header": func(k *domain.Key) { k.ID = "a\r\nNats-Msg-Id: b" },
		"a phone":           func(k *domain.Key) { k.ID = "+14155550100" },
	} {
		k := good
		change(&k)
		if subject, err := subjectOf(k); domain.KindOf(err) != domain.Bug || subject != "" {
			t.Errorf("%s: %q, %v", name, subject, err)
		}
	}
	if _, err := subjectOf(good); err != nil {
		t.Error(err)
	}
}

// The subject of a backlog says its number and urgency, and no other subject is
// read as one.
func TestSpillRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		number, bulk := domain.NumberID(token().Draw(t, "number")), rapid.Bool().Draw(t, "bulk")
		if n, is, err := parseSpill(spillSubject(number, bulk)); err != nil || n != number || is != bulk {
			t.Fatalf("%s, %t is read as %s, %t, %v", number, bulk, n, is, err)
		}
	})
	for _, s := range []string{"", "spill", "spill.", ".bulk", "spill.bulk", "spill.00.bulk.bulk", "spill.00.1.bulk.bulk", "spill.99.1", "spill.00..bulk",
		spillSubject("1", false) + ".later", spillSubject("1", true) + ".bulk", "spill.1." + spillSubject("1", false)} {
		if n, bulk, err := parseSpill(s); err == nil {
			t.Errorf("%q is read as %s, %t", s, n, bulk)
		}
	}
}

// What is read as a subject of an event is one, letter by letter: no two
// spellings name one key.
func FuzzParseSubject(f *testing.F) {
	for _, s := range []string{"", "evt", "evt.00.msg.ten_a.msg_a", "evt.15.acct.t.account", "evt.16.msg.t.i", "evt.+1.msg.t.i",
		"evt.-0.msg.t.i", "evt.01.msg..i", "evt.01.msg.*.i", "evt.01.msg.t.>", "evt.01.tenant.t.i", "evt.1.msg.t.i", "evt.01.msg.t.i.j"} {
		f.Add(s)
	}
	// One number of each lane.
	numbers := map[int]domain.NumberID{}
	for n := domain.NumberID("1"); len(numbers) < domain.Lanes; n += "1" {
		numbers[domain.Lane(n)] = n
	}
	f.Fuzz(func(t *testing.T, s string) {
		lane, kind, tenant, id, err := parseSubject(s)
		if err != nil {
			return
		}
		back, err := subjectOf(domain.Key{Kind: kind, Tenant: tenant, Number: numbers[lane], ID: id})
		if err != nil || back != s {
			t.Errorf("%q is read as %q, %v", s, back, err)
		}
	})
}
