package cloudapitest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Whatever the body, it is judged: no panic, the same judgement twice, a code
// with every refusal, and nothing is accepted that names nobody.
func FuzzCheck(f *testing.F) {
	files, err := filepath.Glob("../../domain/message/testdata/send-requests/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no samples: %v", err)
	}
	for _, file := range files {
		sample, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sample, false)
		f.Add(sample, true)
	}
	f.Add([]byte(`{"messaging_product":"whatsapp","to":"+16505551234","type":"template","template":{"name":"n","language":{"code":"en"},"components":[null]}}`), false)
	f.Fuzz(func(t *testing.T, body []byte, marketing bool) {
		q, p := check(body, marketing)
		again, same := check(body, marketing)
		switch {
		case q != again || (p == nil) != (same == nil) || p != nil && *p != *same:
			t.Errorf("%+v %v, then %+v %v", q, p, again, same)
		case p != nil && p.code == 0:
			t.Errorf("refused without a code: %+v", p)
		case p == nil && !q.marksRead() && q.whom() == "":
			t.Error("accepted for nobody")
		case p == nil && !json.Valid(body):
			t.Error("accepted, and no JSON")
		}
	})
}
