package domain_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

// facts makes an empty fact of every type there is.
var facts = []func() domain.Fact{
	func() domain.Fact { return &message.SendRequested{} },
	func() domain.Fact { return &message.SendAttempted{} },
	func() domain.Fact { return &message.SendAccepted{} },
	func() domain.Fact { return &message.SendRefused{} },
	func() domain.Fact { return &message.OutcomeUnknown{} },
	func() domain.Fact { return &message.SendDeadLettered{} },
	func() domain.Fact { return &message.SendRedriven{} },
	func() domain.Fact { return &message.SendCancelled{} },
	func() domain.Fact { return &message.SendExpired{} },
	func() domain.Fact { return &message.InboundReceived{} },
	func() domain.Fact { return &message.StatusReceived{} },
	func() domain.Fact { return &message.AccountNotice{} },
	func() domain.Fact { return &tenant.Registered{} },
	func() domain.Fact { return &tenant.NumberAdded{} },
	func() domain.Fact { return &tenant.TokenSealed{} },
	func() domain.Fact { return &tenant.KeyIssued{} },
	func() domain.Fact { return &tenant.KeyRevoked{} },
	func() domain.Fact { return &tenant.QuotaSet{} },
	func() domain.Fact { return &tenant.Paused{} },
	func() domain.Fact { return &tenant.Resumed{} },
	func() domain.Fact { return &tenant.NumberBlocked{} },
	func() domain.Fact { return &tenant.NumberUnblocked{} },
	func() domain.Fact { return &tenant.SendingSet{} },
	func() domain.Fact { return &tenant.NumberPaced{} },
	func() domain.Fact { return &tenant.DataKeyRewrapped{} },
}

// The list above is complete: a fact type that is not in it is not tested.
func TestEveryFactTypeIsListed(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, fresh := range facts {
		listed[reflect.TypeOf(fresh()).Elem().Name()] = true
	}
	method := regexp.MustCompile(`func \((?:\w+ )?\*(\w+)\) EventType\(\)`)
	files, err := filepath.Glob("*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range method.FindAllSubmatch(source, -1) {
			if !listed[string(found[1])] {
				t.Errorf("%s: fact %s is not listed", file, found[1])
			}
		}
	}
}

// Any fact comes back from its event as it went in.
func TestEventRoundTrip(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 3, 12, 30, 0, 5, time.FixedZone("", 3600))
	for _, fresh := range facts {
		t.Run(fresh().EventType(), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				want, got := fresh(), fresh()
				fill(t, reflect.ValueOf(want).Elem())
				key := domain.Key{Kind: domain.KindMessage, Tenant: "ten_a", Number: "1", ID: "x"}
				e, err := domain.NewEvent(key, at, "test", want)
				if err != nil {
					t.Fatal(err)
				}
				if e.Version != 1 || e.Key != key || e.Actor != "test" || e.ID == "" || !e.At.Equal(at) || e.At.Location() != time.UTC {
					t.Fatalf("envelope %+v", e)
				}
				if err := e.Decode(got); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(want, got) {
					t.Fatalf("went in as\n%+v\ncame back as\n%+v", want, got)
				}
			})
		})
	}
}

// What a fact calls personal is nowhere in the part anyone may read.
func TestFactsHoldNothingPersonal(t *testing.T) {
	t.Parallel()
	const canary = "CANARY+14155550100"
	whole := func() domain.Fact { return &message.SendRedriven{Original: &message.Original{}} }
	for _, fresh := range append(slices.Clone(facts), whole) {
		f := fresh()
		personal := f.Personal()
		if personal != nil {
			mark(reflect.ValueOf(personal).Elem(), canary)
		}
		e, err := domain.NewEvent(domain.Key{}, time.Now(), "test", f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(e.Facts, []byte(canary)) {
			t.Errorf("%s shows its personal part: %s", e.Type, e.Facts)
		}
		if (personal != nil) != bytes.Contains(e.Personal, []byte(canary)) {
			t.Errorf("%s: personal part is %s", e.Type, e.Personal)
		}
	}
}

// Provider JSON inside a fact keeps its own spelling.
func TestRawJSONIsNotRespelled(t *testing.T) {
	t.Parallel()
	raw := json.RawMessage(`{"a":"<b>&\u00e9 \u2028","n":1.50,"big":12345678901234567890,"a":2}`)
	e, err := domain.NewEvent(domain.Key{}, time.Now(), "meta", &message.AccountNotice{Notice: message.Notice{Raw: raw}})
	if err != nil {
		t.Fatal(err)
	}
	var back message.AccountNotice
	if err := e.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.Raw, raw) {
		t.Errorf("came back as %s", back.Raw)
	}
}

// An event is read as its own type or not at all.
func TestDecodeRefusesAnotherType(t *testing.T) {
	t.Parallel()
	for _, fresh := range facts {
		e, err := domain.NewEvent(domain.Key{}, time.Now(), "test", fresh())
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range facts {
			f := other()
			if err := e.Decode(f); (err == nil) != (f.EventType() == e.Type) {
				t.Errorf("decode %s as %s: %v", e.Type, f.EventType(), err)
			}
		}
	}
}

// Stored bytes that are no JSON are an error, not a half-filled fact's secret.
func TestDecodeRefusesBrokenJSON(t *testing.T) {
	t.Parallel()
	for _, e := range []domain.Event{
		{Type: message.TypeSendRequested, Facts: []byte(`{`)},
		{Type: message.TypeSendRequested, Facts: nil},
		{Type: message.TypeSendRequested, Facts: []byte(`{}`), Personal: []byte(`{"to":5}`)},
	} {
		if err := e.Decode(&message.SendRequested{}); err == nil {
			t.Errorf("decoded facts %q, personal %q", e.Facts, e.Personal)
		}
	}
}

// fill draws a value for every field that is stored.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999).Draw(t, "ns")).UTC()))
		return
	case json.RawMessage:
		text, err := json.Marshal(rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "json"))
		if err != nil {
			t.Fatal(err)
		}
		v.SetBytes(text)
		return
	case tenant.Scopes:
		v.SetUint(uint64(rapid.Uint8Range(0, uint8(tenant.AllScopes)).Draw(t, "scopes")))
		return
	case map[domain.NumberID][]byte:
		v.Set(reflect.ValueOf(rapid.MapOf(rapid.Custom(func(t *rapid.T) domain.NumberID {
			return domain.NumberID(rapid.StringMatching("[0-9]{1,17}").Draw(t, "number"))
		}), rapid.SliceOfN(rapid.Byte(), 1, 40)).Draw(t, "map")))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem())
		}
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint"))
	case reflect.String:
		v.SetString(rapid.String().Draw(t, "string"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "bytes"))
			return
		}
		if n := rapid.IntRange(0, 3).Draw(t, "length"); n > 0 { // an empty one is written as none
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(t, v.Index(i))
			}
		}
	default:
		t.Fatalf("a fact has a field of kind %s: teach fill about it", v.Kind())
	}
}

// mark puts a canary into every text of a personal part.
func mark(v reflect.Value, canary string) {
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			mark(v.Field(i), canary)
		}
	case v.Type() == reflect.TypeFor[json.RawMessage]():
		v.SetBytes([]byte(`{"x":"` + canary + `"}`))
	case v.Kind() == reflect.String:
		v.SetString(canary)
	}
}

// A shared event is decoded once, whoever asks for it; asking for another type
// is refused as before.
func TestSharedEventDecodesOnce(t *testing.T) {
	t.Parallel()
	e, err := domain.NewEvent(domain.Key{}, time.Now(), "", &message.SendRequested{Type: "text", SendWords: message.SendWords{To: "+14155550100", Content: []byte(`{"type":"text"}`)}})
	if err != nil {
		t.Fatal(err)
	}
	var alone, first, again message.SendRequested
	if err := e.Decode(&alone); err != nil {
		t.Fatal(err)
	}
	e = e.Shared()
	copied := e
	if err := e.Decode(&first); err != nil {
		t.Fatal(err)
	}
	copied.Facts, copied.Personal = nil, nil // whoever decoded them now would fail
	if err := copied.Decode(&again); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(first, alone) || !reflect.DeepEqual(again, alone) {
		t.Errorf("shared %+v, then %+v; alone %+v", first, again, alone)
	}
	if err := e.Decode(&message.SendAccepted{}); err == nil {
		t.Error("decoded as another type")
	}
}
