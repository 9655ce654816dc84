package api

import (
	"bytes"
	"encoding/json"
	"net/url"
	"testing"

	"github.com/sendlog/sendlog/domain"
)

var testCursors = newCursors(bytes.Repeat([]byte{7}, CursorKeySize))

// A cursor opens for the list it was made for and for no other, and no
// character of it can be changed.
func TestCursorIsBoundAndWhole(t *testing.T) {
	t.Parallel()
	sealed := testCursors.seal("index 2", "/messages", "ten_a", "status", "sent")
	if next, ok := testCursors.open(sealed, "/messages", "ten_a", "status", "sent"); !ok || next != "index 2" {
		t.Fatalf("opened %q, %t", next, ok)
	}
	for _, list := range [][]string{
		{"/messages", "ten_b", "status", "sent"}, {"/customers", "ten_a", "status", "sent"}, {"/messages", "ten_a", "status", "read"},
		{"/messages", "ten_a", "status"}, {"/messages", "ten_a", "statuss", "ent"}, {},
	} {
		if _, ok := testCursors.open(sealed, list...); ok {
			t.Errorf("opens for %q", list)
		}
	}
	if _, ok := newCursors(bytes.Repeat([]byte{8}, CursorKeySize)).open(sealed, "/messages", "ten_a", "status", "sent"); ok {
		t.Error("opens with another key")
	}
	for i := range sealed {
		for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \n") {
			changed := []byte(sealed)
			if changed[i] == c {
				continue
			}
			changed[i] = c
			if _, ok := testCursors.open(string(changed), "/messages", "ten_a", "status", "sent"); ok {
				t.Errorf("opens with character %d as %c", i, c)
			}
		}
	}
	first, second := testCursors.seal("x"), testCursors.seal("x")
	if first == second {
		t.Error("two cursors for the same place look the same")
	}
	if longest := testCursors.seal(string(make([]byte, maxNext))); len(longest) > maxCursor {
		t.Errorf("the longest cursor has %d characters, %d are let in", len(longest), maxCursor)
	}
}

// A cursor of one list is a wrong cursor for every other list.
func TestCursorOfAnotherList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.do(t, ask{method: "GET", path: "/tenants/$A/messages?limit=1&direction=OUT"})
	var got struct {
		NextCursor string `json:"next_cursor"`
	}
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || got.NextCursor == "" {
		t.Fatal(r.body)
	}
	cursor := "cursor=" + url.QueryEscape(got.NextCursor)
	for path, status := range map[string]int{
		"/tenants/$A/messages?direction=OUT&limit=3&":     200,
		"/tenants/$A/messages?direction=IN&":              400,
		"/tenants/$A/messages?":                           400,
		"/tenants/$A/messages?direction=OUT&status=sent&": 400,
		"/tenants/$B/messages?direction=OUT&":             400,
		"/tenants/$A/customers?":                          400,
	} {
		r := w.do(t, ask{method: "GET", path: path + cursor})
		if r.StatusCode != status {
			t.Errorf("%s: %d, want %d", path, r.StatusCode, status)
		}
		if status == 400 {
			checkProblem(t, r, 400, domain.Invalid)
		}
	}
}

func FuzzCursorOpen(f *testing.F) {
	f.Add(testCursors.seal("index 2", "a"), "a")
	f.Add("", "")
	f.Add("AAAA", "a")
	f.Fuzz(func(t *testing.T, cursor, list string) {
		next, ok := testCursors.open(cursor, list)
		if !ok {
			return
		}
		// Whatever opens was sealed by us: the seed, as it is.
		if next != "index 2" || list != "a" {
			t.Errorf("%q opened for %q as %q", cursor, list, next)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"to":"+14155550100","text":"hi"}`, `{"to":1}`, `{"to":"a","to":"b"}`, `{"x":[{"y":{}}]}`, `[]`, `{"text":"\ud83d\ude00"}`,
		`{"text":"\ud83d"}`, `{"text":"\\ud83d"}`, "{\"text\":\"\xff\"}", `{} {}`, `{"a":1,,}`, `{"A":1}`, ` {"to" : null } `, `{"text":"\u0000"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var to, words string
		var ids []string
		var all bool
		err := decodeObject(bytes.Clone(body), []member{text("to", &to), text("text", &words), texts("ids", &ids), flag("all", &all)})
		if err != nil {
			switch domain.KindOf(err) {
			case domain.Malformed, domain.Invalid:
			default:
				t.Errorf("kind %s for %q", domain.KindOf(err), body)
			}
			return
		}
		// What is accepted means to a lenient reader what it means to us.
		var lenient struct {
			To, Text string
			IDs      []string
			All      bool
		}
		if err := json.Unmarshal(body, &lenient); err != nil {
			t.Fatalf("accepted %q, which is not JSON: %v", body, err)
		}
		if lenient.To != to || lenient.Text != words || len(lenient.IDs) != len(ids) || lenient.All != all {
			t.Errorf("%q read as %q %q %q %t", body, to, words, ids, all)
		}
	})
}
