package cloudapitest_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"reflect"
	"sync"
	"testing"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/logtest"
	"github.com/sendlog/sendlog/domain/message"
)

// Each sample of a request goes all the way: it is accepted from a tenant,
// called, and taken by Meta as the very body it was, but for the callback data
// that is ours. What a tenant puts there is refused.
func TestSamplesGoAllTheWay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(requests + "/*.json")
	if err != nil || len(files) < 38 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sample map[string]any
			if err := json.Unmarshal([]byte(fixture(t, "send-requests/"+name)), &sample); err != nil {
				t.Fatal(err)
			}
			if _, opaque := sample["biz_opaque_callback_data"]; opaque {
				if _, err := accept(t, sample); domain.KindOf(err) != domain.Invalid {
					t.Fatalf("callback data of the tenant: %v", err)
				}
				delete(sample, "biz_opaque_callback_data")
			}
			f, err := accept(t, sample)
			if err != nil {
				t.Fatal(err)
			}
			outcome, body := deliver(t, f)
			if outcome.Kind != cloudapi.Accepted || (outcome.Wamid != "") != message.Addressed(f.Type) {
				t.Fatalf("%v, %q", outcome, outcome.Wamid)
			}
			if !message.Addressed(f.Type) { // Meta's own answer to it is all there is to see
				return
			}
			opaque, err := cloudapi.FormatOpaque("ten_a", "msg_1", 1)
			if err != nil {
				t.Fatal(err)
			}
			sample["biz_opaque_callback_data"] = opaque
			if !reflect.DeepEqual(body, sample) {
				t.Errorf("Meta got %v\nwant %v", body, sample)
			}
		})
	}
}

// accept records a body of Meta's as a tenant's request.
func accept(t *testing.T, body map[string]any) (f message.SendRequested, err error) {
	t.Helper()
	q := message.Request{Tenant: "ten_a", Number: number, Actor: "test"}
	content := map[string]any{}
	for name, value := range body {
		switch name {
		case "to":
			q.To = value.(string)
		case "recipient":
			q.Recipient = value.(string)
		case "recipient_type":
			q.RecipientType = value.(string)
		default:
			content[name] = value
		}
	}
	if q.Content, err = json.Marshal(content); err != nil {
		t.Fatal(err)
	}
	log := logtest.NewMemory()
	a := message.Accepter{Log: log, Clock: domain.SystemClock{}, Meter: domain.NoMeter{}}
	if _, err := a.Accept(t.Context(), q); err != nil {
		return f, err
	}
	return f, log.All()[0].Decode(&f)
}

// deliver sends a recorded request to a pretend Meta, and returns what came of it
// and what arrived.
func deliver(t *testing.T, f message.SendRequested) (cloudapi.Outcome, map[string]any) {
	t.Helper()
	s := start(t, nil, nil)
	var mu sync.Mutex
	var body map[string]any
	s.Script(func(c cloudapitest.Call) cloudapitest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if err := json.Unmarshal(c.Body, &body); err != nil {
			t.Error(err)
		}
		return cloudapitest.Fault{}
	})
	client, err := cloudapi.New(cloudapi.Config{BaseURL: s.URL(), Version: "v25.0"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	o := client.Send(context.WithoutCancel(t.Context()), cloudapi.Call{
		Number: number, Token: token, To: f.To, Group: f.Group, Content: f.Content, Tenant: "ten_a", Message: "msg_1", Attempt: 1,
	})
	mu.Lock()
	defer mu.Unlock()
	return o, body
}
