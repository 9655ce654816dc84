package tenant_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

var start = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// registered makes the journal's event at a position.
func registered(t *testing.T, at domain.Position, id domain.TenantID, f tenant.Registered) domain.Event {
	t.Helper()
	e, err := domain.NewEvent(tenant.Key(id), start, "admin", &f)
	if err != nil {
		t.Fatal(err)
	}
	e.Position = at
	return e
}

func folded(t *testing.T, events ...domain.Event) *tenant.Directory {
	t.Helper()
	d := tenant.NewDirectory()
	for _, e := range events {
		if err := d.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// The directory knows of a tenant all that its event says.
func TestDirectoryFolds(t *testing.T) {
	t.Parallel()
	d := folded(t,
		registered(t, 1, "ten_a", tenant.Registered{Name: "Ann's", Number: "1", WABA: "w", Simulated: true,
			DataKey: []byte("key a"), Token: []byte("sealed a")}),
		registered(t, 2, "ten_b", tenant.Registered{Name: "Bob's", Number: "2", WABA: "w", DataKey: []byte("key b")}),
	)
	want := tenant.View{ID: "ten_a", Name: "Ann's", Status: tenant.Active, CreatedAt: start,
		Numbers: []tenant.Number{{ID: "1", WABA: "w", Simulated: true, Status: tenant.Active, PerSecond: 80}}}
	if got, ok := d.Get("ten_a"); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("tenant %+v", got)
	}
	if got, ok := d.Owner("2"); !ok || got != "ten_b" {
		t.Errorf("number 2 belongs to %q", got)
	}
	if got := d.OwnersOfAccount("w"); !slices.Equal(got, []domain.TenantID{"ten_a", "ten_b"}) {
		t.Errorf("the account belongs to %q, want both of its tenants", got)
	}
	if got, ok := d.DataKey("ten_b"); !ok || string(got) != "key b" {
		t.Errorf("data key %q", got)
	}
	if id, sealed, ok := d.SealedToken("1"); !ok || id != "ten_a" || string(sealed) != "sealed a" {
		t.Errorf("token %q of %q", sealed, id)
	}
	if d.Position() != 2 {
		t.Errorf("position %d", d.Position())
	}
}

// What nobody registered is not there, under any question.
func TestDirectoryKnowsNobodyElse(t *testing.T) {
	t.Parallel()
	d := folded(t, registered(t, 1, "ten_a", tenant.Registered{Number: "1"}))
	if _, ok := d.Get("ten_b"); ok {
		t.Error("unknown tenant found")
	}
	if _, ok := d.Owner("2"); ok {
		t.Error("unknown number found")
	}
	if len(d.OwnersOfAccount("")) > 0 {
		t.Error("the empty account belongs to somebody")
	}
	if _, ok := d.DataKey("ten_b"); ok {
		t.Error("unknown data key found")
	}
	if _, _, ok := d.SealedToken("2"); ok {
		t.Error("unknown token found")
	}
}

// An event applied before is passed over; one nobody knows stops the fold
// where it is.
func TestDirectoryAppliesEachEventOnce(t *testing.T) {
	t.Parallel()
	first := registered(t, 1, "ten_a", tenant.Registered{Name: "first", Number: "1"})
	d := folded(t, first)
	first.Facts = []byte(`{"name":"changed"}`)
	if err := d.Apply(first); err != nil {
		t.Fatal(err)
	}
	if v, _ := d.Get("ten_a"); v.Name != "first" {
		t.Error("an event was applied twice")
	}
	foreign := registered(t, 2, "ten_b", tenant.Registered{})
	foreign.Type = "TenantTeleported"
	if err := d.Apply(foreign); err == nil || d.Position() != 1 {
		t.Errorf("an unknown event was folded: %v, position %d", err, d.Position())
	}
}

// Wait returns as soon as a position is folded, not before, and gives up with
// its context.
func TestDirectoryWait(t *testing.T) {
	t.Parallel()
	d := folded(t, registered(t, 1, "ten_a", tenant.Registered{Number: "1"}))
	if err := d.Wait(t.Context(), 1); err != nil {
		t.Errorf("waited for the past: %v", err)
	}
	done := make(chan error)
	go func() { done <- d.Wait(t.Context(), 3) }()
	if err := d.Apply(registered(t, 2, "ten_b", tenant.Registered{Number: "2"})); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	if err := d.Apply(registered(t, 3, "ten_c", tenant.Registered{Number: "3"})); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- d.Wait(ctx, 9) }()
	cancel()
	if err := <-done; domain.KindOf(err) != domain.Unavailable {
		t.Errorf("got %v, want unavailable", err)
	}
}

// A key speaks for its tenant only, and only whole.
func TestAuthenticate(t *testing.T) {
	t.Parallel()
	keyA, idA, hashA := tenant.NewAPIKey()
	keyB, idB, hashB := tenant.NewAPIKey()
	d := folded(t,
		registered(t, 1, "ten_a", tenant.Registered{Number: "1", KeyID: idA, KeyHash: hashA}),
		registered(t, 2, "ten_b", tenant.Registered{Number: "2", KeyID: idB, KeyHash: hashB}),
	)
	for key, want := range map[string]domain.TenantID{keyA: "ten_a", keyB: "ten_b"} {
		if got, ok := d.Authenticate(key, start); !ok || got.Tenant != want || got.Scopes != tenant.AllScopes {
			t.Errorf("a key of %s speaks for %+v", want, got)
		}
	}
	unknown, _, _ := tenant.NewAPIKey()
	for name, key := range map[string]string{
		"empty": "", "unknown": unknown, "the hash": hashA, "the id": idA, "cut": keyA[:53],
		"one's id with another's secret": keyA[:16] + keyB[16:],
	} {
		if got, ok := d.Authenticate(key, start); ok || got != (tenant.Principal{}) {
			t.Errorf("%s: speaks for %+v", name, got)
		}
	}
	// A well-formed key with a known id and another secret: only the hash
	// tells them apart.
	forged := folded(t, registered(t, 1, "ten_a", tenant.Registered{Number: "1", KeyID: idB, KeyHash: hashA}))
	if _, ok := forged.Authenticate(keyB, start); ok {
		t.Error("the id alone opened the door")
	}
}

// Paging visits every tenant once, in order of id, whatever the page size.
func TestListPages(t *testing.T) {
	t.Parallel()
	d := tenant.NewDirectory()
	const n = 23
	for i := range n {
		id := domain.TenantID(fmt.Sprintf("ten_%02d", (i*7)%n)) // not in order
		e := registered(t, domain.Position(i+1), id, tenant.Registered{Number: domain.NumberID(fmt.Sprint(i))})
		if err := d.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int{1, 2, 7, n, n + 1} {
		var seen []domain.TenantID
		for after := domain.TenantID(""); ; {
			page := d.List(after, size)
			if len(page) == 0 {
				break
			}
			if len(page) > size {
				t.Fatalf("a page of %d holds %d", size, len(page))
			}
			for _, v := range page {
				seen = append(seen, v.ID)
			}
			after = page[len(page)-1].ID
		}
		if len(seen) != n {
			t.Fatalf("pages of %d show %d tenants, want %d", size, len(seen), n)
		}
		for i, id := range seen {
			if want := domain.TenantID(fmt.Sprintf("ten_%02d", i)); id != want {
				t.Errorf("pages of %d: %s at %d, want %s", size, id, i, want)
			}
		}
	}
	if got := d.List("", 0); len(got) != 0 {
		t.Errorf("a page of 0 holds %d", len(got))
	}
}
