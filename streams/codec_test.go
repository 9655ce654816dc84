package streams

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/internal/vault"
)

// ring holds the data keys of two tenants.
type ring map[domain.TenantID][]byte

func (r ring) DataKey(t domain.TenantID) ([]byte, bool) { k, ok := r[t]; return k, ok }

func newCodec(t testing.TB) codec {
	t.Helper()
	keys := ring{}
	v, err := vault.New([]byte("0123456789abcdef0123456789abcdef"), keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []domain.TenantID{"ten_a", "ten_b"} {
		if keys[id], err = v.NewDataKey(id); err != nil {
			t.Fatal(err)
		}
	}
	return codec{sealer: v}
}

func sample() (domain.Event, string) {
	e := domain.Event{
		ID: "evt_1", Type: "SendRequested", Version: 1, At: time.Date(2026, 11, 3, 12, 0, 0, 7, time.UTC), Position: 9,
		Key:       domain.Key{Kind: domain.KindMessage, Tenant: "ten_a", Number: "106540352242922", ID: "msg_a"},
		Causation: "evt_0", Correlation: "c", Actor: "api", Trace: "00-1-2-01",
		Facts: []byte(`{"type":"<text> & more"}`), Personal: []byte(`{"to":"+14155550100"}`),
	}
	return e, "evt.02.msg.ten_a.msg_a"
}

// Any event comes back as it went in, facts and personal part letter by
// letter.
func TestCodecRoundTrip(t *testing.T) {
	t.Parallel()
	c := newCodec(t)
	rapid.Check(t, func(t *rapid.T) {
		e, subject := sample()
		e.Actor = rapid.StringMatching(`[a-z<>&" ]*`).Draw(t, "actor")
		e.Facts = draw(t, "facts")
		if e.Personal = nil; rapid.Bool().Draw(t, "personal?") {
			e.Personal = draw(t, "personal")
		}
		data, err := c.encode(e)
		if err != nil {
			t.Fatal(err)
		}
		back, err := c.decode(subject, uint64(e.Position), data)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprintf("%+v", back), fmt.Sprintf("%+v", e); got != want {
			t.Fatalf("went in as\n%s\ncame back as\n%s", want, got)
		}
	})
}

func draw(t *rapid.T, label string) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(rapid.MapOf(rapid.String(), rapid.String()).Draw(t, label)); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(b.Bytes())
}

// An event that was moved or changed is refused.
func TestTamperedEventIsRefused(t *testing.T) {
	t.Parallel()
	c := newCodec(t)
	e, subject := sample()
	data, err := c.encode(e)
	if err != nil {
		t.Fatal(err)
	}
	swap := func(old, new string) []byte {
		if !bytes.Contains(data, []byte(old)) {
			t.Fatalf("%s is not in %s", old, data)
		}
		return bytes.Replace(data, []byte(old), []byte(new), 1)
	}
	var env envelope
	if err := json.Unmarshal(data, &env); err != nil {
		t.Fatal(err)
	}
	env.Sealed[len(env.Sealed)/2] ^= 1
	flipped, err := json.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		subject string
		data    []byte
	}{
		"another tenant's subject":     {"evt.02.msg.ten_b.msg_a", data},
		"another lane":                 {"evt.03.msg.ten_a.msg_a", data},
		"a foreign subject":            {"tenant.ten_a.registered", data},
		"another tenant in both":       {"evt.02.msg.ten_b.msg_a", swap(`"tenant":"ten_a"`, `"tenant":"ten_b"`)},
		"another number":               {subject, swap(`"106540352242922"`, `"106540352242923"`)},
		"another event's sealed part":  {subject, swap(`"id":"evt_1"`, `"id":"evt_2"`)},
		"one bit of the sealed part":   {subject, flipped},
		"a version from next year":     {subject, swap(`"v":1`, `"v":2`)},
		"a version before all":         {subject, swap(`"v":1`, `"v":0`)},
		"half of it":                   {subject, data[:len(data)/2]},
		"nothing":                      {subject, nil},
		"something that is not events": {subject, []byte("hello")},
	} {
		if got, err := c.decode(test.subject, 9, test.data); !errors.Is(err, errUndecodable) {
			t.Errorf("%s: %+v, %v", name, got, err)
		} else if strings.Contains(err.Error(), "+14155550100") {
			t.Errorf("%s: the error shows the personal part", name)
		}
	}
	// A tenant nobody knows may be one whose news has not come yet.
	if _, err := c.decode("evt.02.msg.ten_c.msg_a", 9, swap(`"tenant":"ten_a"`, `"tenant":"ten_c"`)); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("a tenant nobody knows: %v", err)
	}
	if _, err := c.decode(subject, 9, data); err != nil {
		t.Error(err)
	}
}

// A tenant without a data key, and an event larger than the log takes, are
// refused before anything is written.
func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	c := newCodec(t)
	e, _ := sample()
	e.Key.Tenant = "ten_c"
	if _, err := c.encode(e); err == nil {
		t.Error("sealed for a tenant without a key")
	}
	for size, fits := range map[int]bool{domain.MaxEvent / 2: true, domain.MaxEvent: false} {
		e, _ := sample()
		e.Facts = fmt.Appendf(nil, "%q", strings.Repeat("a", size))
		if _, err := c.encode(e); (err == nil) != fits || err != nil && domain.KindOf(err) != domain.TooLarge {
			t.Errorf("facts of %d bytes: %v", size, err)
		}
	}
}

// An envelope is written as encoding/json writes it.
func TestEnvelopeIsJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := func(label string) string { return rapid.String().Draw(t, label) }
		env := envelope{
			ID: domain.EventID(text("id")), Type: text("type"), Version: rapid.Int().Draw(t, "version"), Tenant: domain.TenantID(text("tenant")),
			Key: text("key"), Number: domain.NumberID(text("number")), At: time.Unix(rapid.Int64Range(0, 1<<35).Draw(t, "at"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")),
			Causation: domain.EventID(text("causation")), Correlation: text("correlation"), Actor: text("actor"), Trace: text("trace"),
			Facts: draw(t, "facts"), Sealed: rapid.SliceOf(rapid.Byte()).Draw(t, "sealed"),
		}
		got, err := env.encode()
		if err != nil {
			t.Fatal(err)
		}
		if want, err := domain.JSON(env); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("written as\n%s\nwant\n%s (%v)", got, want, err)
		}
	})
	for name, env := range map[string]envelope{
		"facts that are no JSON":        {Facts: []byte(`{"a":`)},
		"no facts":                      {},
		"a time that cannot be written": {Facts: []byte(`{}`), At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if b, err := env.encode(); err == nil {
			t.Errorf("%s: %s", name, b)
		}
	}
}

// What a server answers to a publish is read as what it says.
func TestAcknowledged(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]uint64{
		`{"stream":"EVENTS","seq":7}`:                                   7,
		`{"stream":"EVENTS","domain":"hub","seq":18446744073709551615}`: 18446744073709551615,
		`{"stream":"EVENTS","seq":7,"duplicate": true}`:                 7,
		`{"stream": "EVENTS", "seq": 12, "x": {"seq": 3}}`:              12,
	} {
		if got, err := acknowledged([]byte(answer)); err != nil || got != want {
			t.Errorf("%s: %d, %v", answer, got, err)
		}
	}
	_, err := acknowledged([]byte(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"EVENTS","seq":0}`))
	if judge(err) != conflict {
		t.Errorf("an error: %v", err)
	}
	for _, answer := range []string{"", "+OK", `{"stream":"EVENTS","seq":0}`, `{"stream":"EVENTS","seq":-1}`, `{"stream":"EVENTS"}`, `{"stream":"EVENTS","seq":7`, `[]`} {
		if seq, err := acknowledged([]byte(answer)); err == nil || judge(err) != askAgain {
			t.Errorf("%q: %d, %v", answer, seq, err)
		}
	}
}

// Nothing anybody may store makes a reader panic.
func FuzzDecode(f *testing.F) {
	c := newCodec(f)
	e, subject := sample()
	data, err := c.encode(e)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(subject, data)
	f.Add(subject, []byte(`{"v":1,"tenant":"ten_a","sealed":"AAAA"}`))
	f.Add("evt.05.acct.ten_a.account", []byte(`{"v":1,"tenant":"ten_a"}`))
	f.Fuzz(func(t *testing.T, subject string, data []byte) {
		e, err := c.decode(subject, 1, data)
		if err == nil && (e.Version != 1 || !strings.Contains(subject, "."+string(e.Key.Tenant)+".")) {
			t.Errorf("%s decodes as %+v", subject, e)
		}
	})
}
