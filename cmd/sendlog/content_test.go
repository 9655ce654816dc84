package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain/message"
)

// Every sample of a request goes through the whole house as it is: what Meta
// gets is what the tenant wrote, but for the callback data, and the tenant sees
// it arrive.
func TestEveryTypeGoesThroughTheHouse(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../domain/message/testdata/send-requests/*.json")
	if err != nil || len(files) < 38 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	pretend, env := meta(t, alone(t).with("APP_SECRET", "app secret"), 0)
	var mu sync.Mutex
	got := map[string]map[string]any{} // by message id
	pretend.Script(func(c cloudapitest.Call) cloudapitest.Fault {
		var body map[string]any
		if err := json.Unmarshal(c.Body, &body); err != nil {
			t.Error(err)
		}
		delete(body, "biz_opaque_callback_data")
		mu.Lock()
		defer mu.Unlock()
		got[string(c.Message)] = body
		return cloudapitest.Fault{}
	})
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	ids, samples := map[string]string{}, map[string]map[string]any{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var body map[string]any
		if err := json.Unmarshal(raw, &body); err != nil {
			t.Fatal(err)
		}
		delete(body, "biz_opaque_callback_data") // ours
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		samples[name] = body
		sent, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = r.want(202, "POST", "/tenants/"+tenant+"/send", string(sent)).json(t)["id"].(string)
	}
	for name, id := range ids {
		status, kind := message.Read, samples[name]["type"]
		switch {
		case kind == "reaction": // Meta tells no more of it
			status = message.Sent
		case kind == nil: // marks as read
			status, kind = message.Accepted, message.ReadReceipt
			if samples[name]["typing_indicator"] != nil {
				kind = message.Typing
			}
		}
		m := r.awaitStatus(tenant, id, status)
		wordless := kind == "sticker" || kind == "audio" || name == "reaction_remove" || status == message.Accepted
		if m["type"] != kind || (m["text"] == nil) != wordless {
			t.Errorf("%s is shown as %v", name, m)
		}
		mu.Lock()
		if status != message.Accepted && !reflect.DeepEqual(got[id], samples[name]) {
			t.Errorf("%s: Meta got %v\nwant %v", name, got[id], samples[name])
		}
		mu.Unlock()
	}
	if n := len(pretend.Ledger()); n != len(files)-2 {
		t.Errorf("Meta has %d messages of %d", n, len(files)-2)
	}
}
