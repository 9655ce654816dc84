package streams

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// goldenEntry is one stored event of the journal of tenants as some version of
// this program wrote it, and what it must still be read as.
type goldenEntry struct {
	Subject string          `json:"subject"`
	Stored  json.RawMessage `json:"stored"`
	Type    string          `json:"type"`
	Facts   json.RawMessage `json:"facts"`
}

// entries are a life in which every type of the journal happens, every field
// set.
func entries() []domain.Fact {
	hash := strings.Repeat("ab", 32)
	return []domain.Fact{
		&tenant.Registered{Name: "Ann's", Number: "1", WABA: "w1", Simulated: true, DataKey: []byte("data key"), KEK: "key-0123456789ab",
			Token: []byte("sealed"), KeyID: "abcdefgh", KeyHash: hash},
		&tenant.NumberAdded{Number: "2", WABA: "w2", Simulated: true, Token: []byte("sealed 2")},
		&tenant.TokenSealed{Number: "2", Simulated: true, Token: []byte("sealed 3")},
		&tenant.KeyIssued{KeyID: "ijklmnop", KeyHash: hash, Scopes: tenant.AllScopes, Test: true, ExpiresAt: time.Date(2027, 1, 2, 3, 4, 5, 6, time.UTC)},
		&tenant.KeyRevoked{KeyID: "ijklmnop"},
		&tenant.QuotaSet{PerSecond: 5, PerDay: 1000},
		&tenant.Paused{Number: "2", Reason: "why"},
		&tenant.Resumed{Number: "2", Reason: "because"},
		&tenant.NumberBlocked{Numbers: []domain.NumberID{"1", "2"}, Block: tenant.Block{Cause: tenant.ByToken, Code: 190, Event: "PARTNER_REMOVED", Reason: "why",
			Until: time.Date(2027, 1, 2, 3, 4, 5, 6, time.UTC), Told: time.Date(2026, 11, 3, 12, 0, 0, 8, time.UTC), Probe: true}},
		&tenant.NumberUnblocked{Numbers: []domain.NumberID{"2"}, Causes: []tenant.Cause{tenant.ByToken}, Told: time.Date(2026, 11, 3, 12, 0, 0, 9, time.UTC), Reason: "because", Probed: true},
		&tenant.SendingSet{OnUnknown: "park", UnknownWait: 5 * time.Minute},
		&tenant.NumberPaced{Number: "2", PerSecond: 1000, Learnt: true},
		&tenant.DataKeyRewrapped{DataKey: []byte("data keys"), KEK: "keyset-0000002a", Tokens: map[domain.NumberID][]byte{"1": []byte("a"), "2": []byte("b")}},
	}
}

// Every version of every event of the journal that was ever written is still
// read as what it was, and folded. The files of a released version are never
// changed.
func TestGoldenJournal(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("testdata", "journal")
	if *update {
		writeGoldenJournal(t, dir)
	}
	versions, err := filepath.Glob(filepath.Join(dir, "v*"))
	if err != nil || len(versions) == 0 {
		t.Fatal("no golden journal", err)
	}
	j := &Journal{&Broker{}}
	for _, version := range versions {
		d := tenant.NewDirectory()
		for i, f := range entries() {
			path := filepath.Join(version, f.EventType()+".json")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Errorf("%v: run go test ./streams -run Golden -update", err)
				continue
			}
			var g goldenEntry
			if err := json.Unmarshal(b, &g); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			e, err := j.open(g.Subject, uint64(i+1), g.Stored)
			if err != nil || e.Type != g.Type || !bytes.Equal(compact(t, e.Facts), compact(t, g.Facts)) {
				t.Errorf("%s is read as %s %s, %v", path, e.Type, e.Facts, err)
				continue
			}
			if err := d.Apply(e); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			again, err := domain.NewEvent(e.Key, e.At, e.Actor, f)
			if err != nil || !bytes.Equal(compact(t, again.Facts), compact(t, g.Facts)) {
				t.Errorf("%s comes back as %s, %v", path, again.Facts, err)
			}
			if _, err := tenant.Audit(e); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		if v, ok := d.Get("ten_a"); !ok || len(v.Numbers) != 2 || v.Quota.PerDay != 1000 || len(d.Keys("ten_a")) != 1 || v.Numbers[0].Status != tenant.Halted ||
			v.Numbers[1].Status != tenant.Active || v.Numbers[1].PerSecond != 1000 || v.Sending.OnUnknown != "park" || d.KEK("ten_a") != "keyset-0000002a" {
			t.Errorf("%s is folded to %+v", version, v)
		}
	}
}

func writeGoldenJournal(t *testing.T, dir string) {
	t.Helper()
	for _, f := range entries() {
		path := filepath.Join(dir, "v1", f.EventType()+".json")
		if _, err := os.Stat(path); err == nil {
			continue
		}
		k := tenant.Key("ten_a")
		k.ID = strings.ToLower(f.EventType())
		e, err := domain.NewEvent(k, time.Date(2026, 11, 3, 12, 0, 0, 7, time.UTC), "admin", f)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := codec{}.encode(e)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.MarshalIndent(goldenEntry{tenantSubject(k.Tenant, k.ID), stored, e.Type, e.Facts}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
