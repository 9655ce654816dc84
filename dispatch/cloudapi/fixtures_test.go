package cloudapi_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain/message"
)

// read returns a file of testdata.
func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// names returns the files of a folder of testdata.
func names(t testing.TB, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join("testdata", folder))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	if len(list) == 0 {
		t.Fatalf("no fixtures in %s", folder)
	}
	return list
}

func parse(t testing.TB, body []byte) cloudapi.Delivery {
	t.Helper()
	d, err := cloudapi.ParseWebhook(body)
	if err != nil {
		t.Fatalf("parse webhook: %v", err)
	}
	return d
}

// describe writes an item in one line, leaving out what is empty.
func describe(i cloudapi.Item) string {
	var b strings.Builder
	add := func(key string, value any) {
		if s := fmt.Sprint(value); s != "" && s != "0" && s != "false" {
			fmt.Fprintf(&b, " %s=%s", key, strings.ReplaceAll(s, "\n", `\n`))
		}
	}
	at := func(when time.Time) any {
		if when.IsZero() {
			return "never"
		}
		return when.Unix()
	}
	person := func(p message.Person) {
		add("phone", p.Phone)
		add("user", p.UserID)
		add("parent", p.ParentID)
		add("name", p.Name)
		add("username", p.Username)
		add("was", p.FormerPhone)
		add("wasuser", p.FormerUserID)
	}
	switch f := i.Fact.(type) {
	case *message.InboundReceived:
		b.WriteString("in " + f.Type)
		add("echo", f.Echo)
		add("group", f.Group)
		add("at", at(f.SaidAt))
		person(f.Person)
		add("text", f.Text)
		add("to", short(f.ReplyTo))
	case *message.StatusReceived:
		b.WriteString("st " + f.Status)
		add("at", at(f.SaidAt))
		person(f.Person)
		add("category", f.Category)
		add("pricing", f.PricingType)
		add("code", f.Code)
		add("owner", i.OpaqueTenant)
		add("message", f.Message)
		add("attempt", f.Attempt)
	case *message.AccountNotice:
		b.WriteString("acct " + f.Field)
		add("event", f.Event)
		add("at", at(f.SaidAt))
		add("waba", f.WABA)
	}
	return b.String()
}

// short is enough of a wamid to tell it from others.
func short(wamid string) string {
	if len(wamid) < 12 {
		return wamid
	}
	return "…" + strings.TrimRight(wamid[len(wamid)-12:], "=")
}

// envelope is one file of errors/ or send-responses/.
type envelope struct {
	Status  int               `json:"http_status"`
	Headers map[string]string `json:"headers"`
	Body    json.RawMessage   `json:"body"`
}

func readEnvelope(t testing.TB, path string) envelope {
	t.Helper()
	var e envelope
	if err := json.Unmarshal(read(t, path), &e); err != nil {
		t.Fatal(err)
	}
	return e
}
