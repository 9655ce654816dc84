package streams

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	facts "github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/internal/vault"
)

var update = flag.Bool("update", false, "write golden files of the current version that do not exist yet; one that exists is never changed")

// goldenKey is the master key of the golden files.
const goldenKey = "golden master key of sendlog 32!"

// golden is one stored event as some version of this program wrote it, and
// what it must still be read as.
type golden struct {
	Subject  string          `json:"subject"`
	Stored   json.RawMessage `json:"stored"`
	DataKey  []byte          `json:"data_key"` // wrapped under goldenKey
	Type     string          `json:"type"`
	Facts    json.RawMessage `json:"facts"`
	Personal json.RawMessage `json:"personal,omitempty"`
}

// samples has one event of every type, with every field set. What was added to
// a type since its golden file was written is in a further sample of it.
func samples() []domain.Fact {
	said := time.Date(2026, 11, 3, 11, 59, 58, 0, time.UTC)
	person := facts.Person{Phone: "14155550100", UserID: "US.1", ParentID: "US.ENT.1", Name: "Ada", Username: "ada", FormerPhone: "1", FormerUserID: "US.0"}
	return []domain.Fact{
		&facts.SendRequested{Type: "text", Keyed: true, SendWords: facts.SendWords{To: "+14155550100", IdempotencyKey: "k", Fingerprint: "f",
			Content: []byte(`{"type":"text","text":{"body":"héllo </b> \u00e1"}}`)}},
		&facts.SendRequested{Type: "hologram", Keyed: true, Group: true, Unvalidated: true, Options: facts.Options{Priority: facts.Bulk,
			SendAt: said, ExpiresAt: said.Add(time.Hour), OnUnknown: facts.Park, UnknownWait: time.Minute}, Warnings: []facts.Warning{facts.WindowClosed},
			SendWords: facts.SendWords{To: "Y2FwaV9ncm91cDox", IdempotencyKey: "k", Fingerprint: "f", Reference: "order 17",
				Content: []byte(`{"hologram":{"depth":3},"type":"hologram"}`)}},
		&facts.SendAttempted{Attempt: 2, After: "unknown"},
		&facts.SendAccepted{Attempt: 2, Via: "status", State: "accepted", AcceptNames: facts.AcceptNames{Wamid: "wamid.1", WaID: "14155550100"}},
		&facts.SendRefused{Attempt: 1, Code: 130429, Class: "retry", Reason: "too fast", Retry: true, Wait: time.Second, TraceID: "A",
			Provider: facts.Provider{Raw: []byte(`{"error":{"code":130429}}`)}},
		&facts.SendRefused{Attempt: 1, Code: 100, Class: "permanent", Reason: "no", Hold: true,
			Provider: facts.Provider{Raw: []byte(`{"error":{"code":100}}`), Details: "+14155550100 is no parameter"}},
		&facts.OutcomeUnknown{Attempt: 1, Reason: "timeout"},
		&facts.OutcomeUnknown{Attempt: 1, Reason: "error 131000", Code: 131000},
		&facts.SendDeadLettered{Attempts: 5, Reason: "attempts_exhausted", Code: 130429, Detail: "too fast"},
		&facts.SendRedriven{By: "admin"},
		&facts.SendRedriven{By: "admin", Batch: "redrive_1", Original: &facts.Original{At: said, Attempts: 3, Doubts: []int{2}, Looked: 17,
			SendRequested: facts.SendRequested{Type: "text", Keyed: true, Options: facts.Options{Priority: facts.Bulk}, SendWords: facts.SendWords{
				To: "+14155550100", IdempotencyKey: "k", Fingerprint: "f", Content: []byte(`{"type":"text","text":{"body":"hello"}}`)}}}},
		&facts.SendCancelled{},
		&facts.SendExpired{Attempts: 1},
		&facts.InboundReceived{Message: "in_1", Type: "text", Echo: true, Group: true, SaidAt: said, InboundWords: facts.InboundWords{
			Wamid: "wamid.2", Person: person, GroupID: "g", Text: "hi", ReplyTo: "wamid.1", Raw: []byte(`{"id":"wamid.2"}`), Contact: []byte(`{"wa_id":"14155550100"}`)}},
		&facts.StatusReceived{Status: "failed", SaidAt: said, Message: "msg_1", Attempt: 1, Code: 131026, Reason: "no", Category: "utility", PricingType: "regular",
			StatusNames: facts.StatusNames{Wamid: "wamid.1", Person: person, Raw: []byte(`{"id":"wamid.1"}`)}},
		&facts.StatusReceived{Status: "failed", SaidAt: said, Code: 131026, Reason: "no",
			StatusNames: facts.StatusNames{Wamid: "wamid.1", Person: person, Raw: []byte(`{"id":"wamid.1"}`), Details: "+14155550100 cannot be reached"}},
		&facts.AccountNotice{Field: "account_update", Event: "PARTNER_ADDED", SaidAt: said, Notice: facts.Notice{Entry: "1", WABA: "2", Raw: []byte(`{"event":"PARTNER_ADDED"}`)}},
	}
}

// Every version of every event that was ever written is still read as what it
// was. The files of a released version are never changed.
func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("testdata", "events")
	if *update {
		writeGolden(t, dir)
	}
	files, err := filepath.Glob(filepath.Join(dir, "v*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, path := range files {
		g := readGolden(t, path)
		seen = append(seen, g.Type)
		e, err := goldenCodec(t, g.DataKey).decode(g.Subject, 7, g.Stored)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if e.Type != g.Type || !bytes.Equal(compact(t, e.Facts), compact(t, g.Facts)) || !bytes.Equal(compact(t, e.Personal), compact(t, g.Personal)) {
			t.Errorf("%s is read as %s %s %s", path, e.Type, e.Facts, e.Personal)
		}
		// The folds of this build read it whole: nothing in it is unknown to them.
		i := slices.IndexFunc(samples(), func(f domain.Fact) bool { return f.EventType() == g.Type })
		if i < 0 {
			t.Errorf("%s: this build does not know %s", path, g.Type)
			continue
		}
		f := reflect.New(reflect.TypeOf(samples()[i]).Elem()).Interface().(domain.Fact)
		if err := e.Decode(f); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		again, err := domain.NewEvent(e.Key, e.At, e.Actor, f)
		if err != nil || !bytes.Equal(compact(t, again.Facts), compact(t, g.Facts)) || !bytes.Equal(compact(t, again.Personal), compact(t, g.Personal)) {
			t.Errorf("%s comes back as %s %s, %v", path, again.Facts, again.Personal, err)
		}
	}
	for _, f := range samples() {
		if !slices.Contains(seen, f.EventType()) {
			t.Errorf("%s has no golden file: run go test ./streams -run Golden -update", f.EventType())
		}
	}
}

func readGolden(t *testing.T, path string) golden {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return g
}

func goldenCodec(t *testing.T, wrapped []byte) codec {
	t.Helper()
	v, err := vault.New([]byte(goldenKey), ring{"ten_a": wrapped})
	if err != nil {
		t.Fatal(err)
	}
	return codec{sealer: v}
}

func writeGolden(t *testing.T, dir string) {
	t.Helper()
	maker, err := vault.New([]byte(goldenKey), ring{})
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := maker.NewDataKey("ten_a")
	if err != nil {
		t.Fatal(err)
	}
	c := goldenCodec(t, wrapped)
	of := map[string]int{}
	for _, f := range samples() {
		k := domain.Key{Kind: domain.KindMessage, Tenant: "ten_a", Number: "106540352242922", ID: "msg_1"}
		e, err := domain.NewEvent(k, time.Date(2026, 11, 3, 12, 0, 0, 7, time.UTC), "test", f)
		if err != nil {
			t.Fatal(err)
		}
		e.Causation, e.Correlation, e.Trace = "evt_cause", "corr", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		name := e.Type
		if of[e.Type]++; of[e.Type] > 1 {
			name += fmt.Sprintf("-%d", of[e.Type])
		}
		path := filepath.Join(dir, fmt.Sprintf("v%d", e.Version), name+".json")
		if _, err := os.Stat(path); err == nil {
			continue
		}
		subject, err := subjectOf(k)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := c.encode(e)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(golden{subject, stored, wrapped, e.Type, e.Facts, e.Personal}); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func compact(t *testing.T, b []byte) []byte {
	t.Helper()
	if len(b) == 0 {
		return nil
	}
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
