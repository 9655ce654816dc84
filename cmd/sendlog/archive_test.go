package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

// tomorrow is a clock to which everything recorded now is old.
type tomorrow struct{ domain.SystemClock }

func (tomorrow) Now() time.Time { return time.Now().Add(24 * time.Hour) }

// shorten archives everything and purges the hot log down to its newest event.
func (r *running) shorten() {
	r.t.Helper()
	a := r.broker.Archiver(streams.ArchiverConfig{Clock: tomorrow{}, Hot: time.Hour, Keep: 1, Part: 50})
	defer a.Close()
	eventually(r.t, "the hot log to be short", func() bool {
		ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
		defer cancel()
		// The house's own archiver is at work as well; and acknowledgements of
		// finished work have no answer to wait for.
		if _, err := a.Copy(ctx); err != nil && domain.KindOf(err) != domain.Unavailable {
			r.t.Fatal(err)
		}
		if _, err := a.Purge(ctx); err != nil && domain.KindOf(err) != domain.Unavailable {
			r.t.Fatal(err)
		}
		e, err := r.broker.Extent(ctx)
		return err == nil && e.First == e.Last && e.Archived == e.Last
	})
}

// Read models built from archive and hot log are those that were folded live,
// by a rebuild and by a start with an empty store.
func TestRebuildFromTheArchive(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, env settings) {
		_, env = meta(t, env.with("LOG_HOT", "1m"), 0)
		r := start(t, env, quick)
		tenant, _ := r.register("A", "106540352242922", "EAAtoken")
		for name, body := range fixtures(t) {
			if name != "verification_get.json" && name != "signature_vectors.json" {
				r.want(200, "POST", "/whatsapp/webhook", string(body))
			}
		}
		send := func(from, to int) {
			var ids []string
			for i := from; i < to; i++ {
				ids = append(ids, r.want(202, "POST", "/tenants/"+tenant+"/send",
					fmt.Sprintf(`{"to":"+1415555%04d","text":"n %d","idempotency_key":"k%d"}`, i, i, i)).json(t)["id"].(string))
			}
			for _, id := range ids {
				r.awaitStatus(tenant, id, message.Read)
			}
			r.settle()
		}
		send(0, 20)
		r.shorten()
		send(20, 25) // these are in both
		before := r.documents()
		for _, m := range r.library.Health() {
			if err := r.library.Rebuild(t.Context(), m.Model, nil); err != nil {
				t.Fatalf("rebuild %s: %v", m.Model, err)
			}
		}
		if after := r.documents(); after != before {
			t.Errorf("rebuilding from the archive changed documents:\n%s", firstDifference(before, after))
		}
		send(25, 27)
		metrics := string(r.want(200, "GET", "http://"+r.adminAddr+"/metrics", "").body)
		for _, gauge := range []string{"sendlog_hot_first_position", "sendlog_hot_last_position", "sendlog_archived_position", "sendlog_archive_lag"} {
			if !strings.Contains(metrics, "\n"+gauge+" ") || strings.Contains(metrics, "\n"+gauge+" -1") {
				t.Errorf("no %s in the metrics", gauge)
			}
		}
	})
}

// A key whose message has left the hot log, over a restart too, answers the
// first receipt, and 422 for another request; Meta is called once.
func TestKeyOutlivesTheHotLog(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t).with("LOG_HOT", "1m"), 0)
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	send := func(r *running, text string) answer {
		return r.do("POST", "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+14155550100","text":%q,"idempotency_key":"order-17"}`, text))
	}
	first := send(r, "hello")
	id := first.json(t)["id"].(string)
	r.awaitStatus(tenant, id, message.Read)
	last := r.want(202, "POST", "/tenants/"+tenant+"/send", `{"to":"+14155550101","text":"another"}`).json(t)["id"].(string)
	r.awaitStatus(tenant, last, message.Read)
	r.settle()
	r.shorten()
	check := func(r *running) {
		t.Helper()
		if a := send(r, "hello"); a.status != 202 || string(a.body) != string(first.body) {
			t.Errorf("the same again: %d %s, first %s", a.status, a.body, first.body)
		}
		if a := send(r, "other"); a.status != http.StatusUnprocessableEntity {
			t.Errorf("another request: %d %s", a.status, a.body)
		}
		if n := len(pretend.Ledger()); n != 2 {
			t.Errorf("Meta was called %d times", n)
		}
	}
	check(r)
	r.stop()
	env["PORT"] = r.publicAddr[strings.LastIndexByte(r.publicAddr, ':')+1:]
	r = start(t, env, quick)
	r.settle()
	check(r)
}

// A dead letter whose request has left the hot log is not redriven, and the
// operator is told why; it stays among the dead letters.
func TestRedriveAfterTheHotLog(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t).with("LOG_HOT", "1m"), 0)
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	pretend.Script(func(cloudapitest.Call) cloudapitest.Fault {
		return cloudapitest.Fault{Answer: cloudapitest.Refuse, Code: 131026}
	})
	id := r.want(202, "POST", "/tenants/"+tenant+"/send", `{"to":"+14155550100","text":"x"}`).json(t)["id"].(string)
	r.awaitStatus(tenant, id, message.Failed)
	pretend.Script(nil)
	r.shorten()
	for _, how := range []string{fmt.Sprintf(`{"ids":[%q]}`, id), `{"all":true,"dry_run":true}`} {
		if job := r.redrive("http://"+r.adminAddr, how); job.Redriven+job.Would != 0 || len(job.Skipped) != 1 || !strings.Contains(job.Skipped[0].Reason, "left the hot log") {
			t.Errorf("redrive of %s answered %+v", how, job)
		}
	}
	if dead := r.list("/tenants/" + tenant + "/dlq"); len(dead) != 1 {
		t.Errorf("dead letters %v", dead)
	}
	if n := len(pretend.Ledger()); n != 1 {
		t.Errorf("Meta was called %d times", n)
	}
}

// A hole in the archive turns readiness off, which names the place and the
// remedy, and a rebuild stops in front of it; what is served stays as it is.
func TestHoleInTheArchive(t *testing.T) {
	t.Parallel()
	url := externalNATS(t)
	r := start(t, alone(t).with("NATS_URL", url, "LOG_HOT", "1m"), quick)
	tenant, _ := r.register("A", "106540352242922", "mock_a")
	for i := range 60 {
		r.want(202, "POST", "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+1415555%04d","text":"n"}`, i))
	}
	eventually(t, "every message to be sent", func() bool {
		return len(r.list("/tenants/"+tenant+"/messages?limit=200&status=queued")) == 0
	})
	r.shorten()
	r.settle()
	r.want(200, "GET", "/readyz", "")

	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	month := "ARCHIVE_" + time.Now().UTC().Format("2006_01")
	if err := js.DeleteStream(t.Context(), month); err != nil {
		t.Fatal(err)
	}
	if a := r.do("GET", "/readyz", ""); a.status != 503 || !strings.Contains(string(a.body), "backup") {
		t.Errorf("readiness: %d %s", a.status, a.body)
	}
	if err := r.library.Rebuild(t.Context(), "messages", nil); !errors.Is(err, streams.ErrGap) {
		t.Errorf("rebuild: %v", err)
	}
	if got := r.list("/tenants/" + tenant + "/messages?limit=200"); len(got) != 60 {
		t.Errorf("%d messages are shown", len(got))
	}
}

// Taking a request back answers the same when its events have left the hot log:
// that it was taken back, that nobody knows, that it is too late.
func TestCancelAfterTheHotLog(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t).with("LOG_HOT", "1m"), 0)
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	send := func(more string) string {
		return r.want(202, "POST", "/tenants/"+tenant+"/send", `{"to":"+14155550100","text":"x"`+more+`}`).json(t)["id"].(string)
	}
	cancel := func(id string) answer { return r.do("POST", "/tenants/"+tenant+"/messages/"+id+"/cancel", "") }
	ids := []string{send(`,"send_at":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"`), send(""), "msg_nobody"}
	r.awaitStatus(tenant, ids[1], message.Read)
	pretend.Script(refuseAll)
	ids = append(ids, send(""))
	r.awaitStatus(tenant, ids[3], message.Failed)
	pretend.Script(func(cloudapitest.Call) cloudapitest.Fault {
		return cloudapitest.Fault{Answer: cloudapitest.LoseRequest}
	})
	ids = append(ids, send(`,"unknown_wait":2`))
	r.awaitStatus(tenant, ids[4], message.Unknown)
	var first []answer
	for i, status := range []int{200, 409, 404, 409, 202} {
		first = append(first, cancel(ids[i]))
		if first[i].status != status {
			t.Errorf("%d %s, want %d", first[i].status, first[i].body, status)
		}
	}
	r.settle()
	r.shorten()
	for i, id := range ids {
		if again := cancel(id); again.status != first[i].status || again.json(t)["result"] != first[i].json(t)["result"] ||
			again.json(t)["position"] != first[i].json(t)["position"] || again.json(t)["detail"] != first[i].json(t)["detail"] {
			t.Errorf("%d %s, first %d %s", again.status, again.body, first[i].status, first[i].body)
		}
	}
}
