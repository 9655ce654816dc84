package api

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/sendlog/sendlog/domain"
)

// What wellFormed lets pass is valid JSON, and its members are those that
// encoding/json finds.
func FuzzFields(f *testing.F) {
	for _, seed := range []string{
		`{"to":"+14155550100","text":"hi"}`, ` { "a" : [ 1 , {"b":"}\"]" } , [] ] , "\u0063\\" : -1.5e3 , "d":null,"e":true } `, `[]`, `"x"`, `1`, `{}`,
		`{"a":{"b":1,"b":2}}`, `{"a":1,"\u0061":2}`, `{"a":"\ud83d\ude00"}`, `{"a":[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]}`, `{"a":1`, `{"a":1}x`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := wellFormed(body); err != nil {
			if domain.KindOf(err) != domain.Malformed {
				t.Errorf("kind %s for %q", domain.KindOf(err), body)
			}
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(body, &want); err != nil {
			want = nil // not an object
		}
		got := fields(body)
		if len(got) != len(want) || (got == nil) != (want == nil) {
			t.Fatalf("%q has members %q, want %q", body, got, want)
		}
		for name, value := range want {
			if !bytes.Equal(got[name], value) {
				t.Errorf("%q: %q is %q, want %q", body, name, got[name], value)
			}
		}
	})
}

// The same name twice is found wherever it is, however it is written.
func TestUnambiguous(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}`: "",
		`{"a":1,"b":2,"a":3}`:                       "/a",
		`{"a":{"x/y":1,"x\u002fy":2}}`:              "/a/x~1y",
		`{"a":[0,[],{"b":[1,{"c":1,"c":1}]}]}`:      "/a/2/b/1/c",
		`[1,{"":1,"":2}]`:                           "/1/",
	} {
		err := unambiguous([]byte(body))
		if want == "" && err == nil {
			continue
		}
		e, ok := err.(*domain.Error)
		if !ok || len(e.Faults) != 1 || e.Faults[0].Pointer != want {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}
