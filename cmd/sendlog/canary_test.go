package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
)

// A person's number, name and words are in no byte of the log's files and of
// any output; tokens and API keys are in no byte of anything. Looked for
// plainly, in hex, and in base64 at each of its three alignments.
func TestNoCanaryInAnyByte(t *testing.T) {
	t.Parallel()
	const (
		phone, name, words = "447700900199", "Zebedee Quux", "the canary sings at midnight"
		token, second      = "EAAsecretCanaryToken", "mock_secretCanaryToken"
	)
	pretend, env := meta(t, alone(t), 0)
	r := start(t, env, quick)
	tenant, key := r.register("A", "106540352242922", token)
	_, otherKey := r.register("B", "241938562345019", second)
	answers := []cloudapitest.Fault{{}, {Answer: cloudapitest.LoseAnswer}, {Answer: cloudapitest.Refuse, Code: 131026}, {Answer: cloudapitest.HTML502}}
	pretend.Script(func(c cloudapitest.Call) cloudapitest.Fault { return answers[c.Seq%len(answers)] })
	for i := range 8 {
		r.want(202, "POST", "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+%s","text":"%s","idempotency_key":"%s-%d"}`, phone, words, phone, i))
	}
	person := fmt.Sprintf(`"contacts":[{"profile":{"name":%q},"wa_id":%q}],"messages":[{"from":%q,"id":"wamid.%s","timestamp":"1795435602","type":"text","text":{"body":%q}}]`,
		name, phone, phone, base64.StdEncoding.EncodeToString([]byte("xx"+phone)), words)
	for _, number := range []string{"106540352242922", "999999999999999"} { // one of them is nobody's
		r.want(200, "POST", "/whatsapp/webhook", fmt.Sprintf(
			`{"entry":[{"id":"1","changes":[{"field":"messages","value":{"metadata":{"phone_number_id":%q},%s}}]}]}`, number, person))
	}
	eventually(t, "dead letters", func() bool { return len(r.list("/tenants/"+tenant+"/dlq")) > 0 })
	r.settle()
	metrics := r.want(200, "GET", "http://"+r.adminAddr+"/metrics", "")
	r.stop()

	people := []string{phone, name, words}
	secrets := []string{token, second, key, otherKey, env["MASTER_KEY"]}
	files := 0
	err := filepath.WalkDir(env["DATA_DIR"], func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		look := secrets
		if strings.HasPrefix(path, filepath.Join(env["DATA_DIR"], "log")) {
			look = append(look, people...) // read models hold what people read
		}
		hunt(t, path, b, look...)
		if info, err := d.Info(); err == nil && strings.Contains(path, "read") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil || files < 5 {
		t.Fatalf("%d files looked at, %v", files, err)
	}
	hunt(t, "the log lines", []byte(r.log.String()), append(secrets, people...)...)
	hunt(t, "the metrics", metrics.body, append(secrets, people...)...)
}

// hunt fails when b holds a canary in any of the forms bytes travel in.
func hunt(t *testing.T, where string, b []byte, canaries ...string) {
	t.Helper()
	for _, c := range canaries {
		for form, trace := range traces(c) {
			if bytes.Contains(b, []byte(trace)) {
				t.Errorf("%s holds %q, as %s", where, c, form)
			}
		}
	}
}

func traces(c string) map[string]string {
	out := map[string]string{"plain": c, "hex": hex.EncodeToString([]byte(c)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(c)))}
	for shift := range 3 {
		// The characters that depend on c alone: without those shared with its
		// neighbours.
		enc := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + c))
		from, to := (shift*8+5)/6, (shift+len(c))*8/6
		out[fmt.Sprintf("base64 shifted by %d", shift)] = enc[from:to]
	}
	return out
}

// The hunt finds what it is for.
func TestHuntFindsCanaries(t *testing.T) {
	t.Parallel()
	for shift := range 3 {
		b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a", shift) + "447700900199 and more"))
		found := false
		for _, trace := range traces("447700900199") {
			found = found || strings.Contains(b, trace)
		}
		if !found {
			t.Errorf("not found at alignment %d in %s", shift, b)
		}
	}
}
