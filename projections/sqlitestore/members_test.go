package sqlitestore

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// What is found without decoding a document is what decoding it finds.
func FuzzMembers(f *testing.F) {
	for _, body := range []string{
		`{}`, `{"id":"a","tenant":"t","position":12,"last_position":13,"status":"queued"}`,
		`{"tenant":"a\"b\\","status":"é\n","position":-1}`, `{ "tenant" : "spaced", "position": 7 }`,
		`{"x":{"tenant":"inner","y":[1,{"position":2},"]}"]},"tenant":"outer","position":9223372036854775807}`,
		`{"x":[],"y":{},"z":"","n":null,"b":true,"e":1e3,"tenant":5,"position":"no"}`, `{"tenant":"t","tenant":"u"}`, `{"ten\u0061nt":"t"}`,
	} {
		f.Add([]byte(body))
	}
	names := []string{"tenant", "status", "position"}
	f.Fuzz(func(t *testing.T, body []byte) {
		var all map[string]json.RawMessage
		if !utf8.Valid(body) || json.Unmarshal(body, &all) != nil || all == nil {
			return
		}
		if again, err := json.Marshal(all); err != nil || len(again) != len(body) {
			return // members twice, or spelled in a way that encoding/json does not write
		}
		found, err := members(body, names)
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			var want string
			isText := all[name] != nil && json.Unmarshal(all[name], &want) == nil && all[name][0] == '"'
			got, ok := text(found[i])
			if string(found[i]) != string(all[name]) || ok != isText || got != want {
				t.Errorf("%s of %s: got %s, %q; want %s, %q", name, body, found[i], got, all[name], want)
			}
		}
	})
}
