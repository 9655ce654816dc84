package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections/storetest"
)

// Sixty-four clients and three processes, all under one idempotency key: one
// message, one call at Meta, and everybody is told the same id; the same key
// with another body is refused by all of them.
func TestOneKeyThreeProcesses(t *testing.T) {
	t.Parallel()
	mongoURI := withDatabase(storetest.MongoURI(t), storetest.MongoDatabase(t))
	pretend, env := meta(t, alone(t).with("NATS_URL", externalNATS(t), "MONGO_URI", mongoURI), 0)
	processes := []*process{spawn(t, env, "serve")} // it has all roles and takes Meta's webhooks
	for range 2 {
		processes = append(processes, spawn(t, env.with("PORT", "0", "ROLES", "api", "DATA_DIR", t.TempDir()), "serve"))
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	a, err := request(t.Context(), client, "POST", processes[0].url+"/tenants/register", `{"name":"A","phoneNumberId":"106540352242922","accessToken":"EAAtoken"}`, "")
	if err != nil || a.status != 201 {
		t.Fatalf("register: %d %s %v", a.status, a.body, err)
	}
	tenant := a.json(t)["id"].(string)
	for _, p := range processes {
		eventually(t, "every process to know the tenant", func() bool {
			a, err := request(t.Context(), client, "GET", p.url+"/tenants/"+tenant, "", "")
			return err == nil && a.status == 200
		})
	}
	var (
		mu  sync.Mutex
		ids = map[string]int{}
		all sync.WaitGroup
	)
	for c := range 64 {
		for _, p := range processes {
			all.Go(func() {
				text, want := "the same", 202
				if c%8 == 7 { // of these the first few may win: then the others are refused
					text = "another"
				}
				a, err := request(t.Context(), client, "POST", p.url+"/tenants/"+tenant+"/send",
					fmt.Sprintf(`{"to":"+14155550100","text":%q,"idempotency_key":"one"}`, text), "")
				if err != nil || (a.status != want && a.status != 422) {
					t.Errorf("%d %s %v", a.status, a.body, err)
					return
				}
				if a.status == 202 {
					mu.Lock()
					ids[a.json(t)["id"].(string)+" "+text]++
					mu.Unlock()
				}
			})
		}
	}
	all.Wait()
	if len(ids) != 1 {
		t.Fatalf("answers %v, want one id of one text", ids)
	}
	for answer, n := range ids {
		id, _, _ := strings.Cut(answer, " ")
		eventually(t, "the message to be read", func() bool {
			a, err := request(t.Context(), client, "GET", processes[2].url+"/tenants/"+tenant+"/messages/"+id, "", "")
			return err == nil && a.status == 200 && a.json(t)["status"] == message.Read
		})
		if calls := pretend.Accepted(domain.MessageID(id)); calls != 1 || len(pretend.Ledger()) != 1 {
			t.Errorf("%d accepted calls, %d in all; %d clients were told %s", calls, len(pretend.Ledger()), n, id)
		}
	}
}
