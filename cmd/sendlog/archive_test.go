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

	"github.com/sendlog/sendlog/dispatch/cloudapi"
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

// A dead letter that has left the hot log is redriven all the same, with what
// the archive has of it, once: under its id, with the next attempt number, and
// its whole timeline. One whose lost answer a status has explained since is not.
func TestRedriveAfterTheHotLog(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t).with("LOG_HOT", "1m"), 0)
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	own, admin := "/tenants/"+tenant, "http://"+r.adminAddr
	send := func(text string, more string) string {
		return r.want(202, "POST", own+"/send", fmt.Sprintf(`{"to":"+14155550100","text":%q%s}`, text, more)).json(t)["id"].(string)
	}
	pretend.Script(refuseAll)
	refused := send("refused", "")
	r.awaitStatus(tenant, refused, message.Failed)
	pretend.Script(func(cloudapitest.Call) cloudapitest.Fault {
		return cloudapitest.Fault{Answer: cloudapitest.LoseRequest}
	})
	lost := []string{send("lost", `,"on_unknown":"park","unknown_wait":1`), send("explained", `,"on_unknown":"park","unknown_wait":1`)}
	r.settle()
	eventually(t, "all to be given up", func() bool { return len(r.list(own+"/dlq")) == 3 })
	pretend.Script(nil)
	r.shorten()
	ours, err := cloudapi.FormatOpaque(domain.TenantID(tenant), domain.MessageID(lost[1]), 1)
	if err != nil {
		t.Fatal(err)
	}
	r.want(200, "POST", "/whatsapp/webhook", `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{
		"messaging_product":"whatsapp","metadata":{"display_phone_number":"1","phone_number_id":"106540352242922"},"statuses":[{"id":"wamid.x","status":"delivered",
		"timestamp":"1700000000","recipient_id":"14155550100","biz_opaque_callback_data":`+fmt.Sprintf("%q", ours)+`}]}}]}]}`)
	r.settle()
	r.shorten()
	dry := r.redrive(admin, `{"all":true,"dry_run":true}`)
	if dry.Would != 2 || len(dry.Skipped) != 1 || dry.Skipped[0].Example != lost[1] {
		t.Errorf("the dry run says %+v", dry)
	}
	job := r.redrive(admin, `{"all":true}`)
	if job.Redriven != 2 || len(job.Skipped) != 1 || job.Skipped[0].Example != lost[1] || !strings.Contains(job.Skipped[0].Reason, "accepted it after all") {
		t.Errorf("the redrive says %+v", job)
	}
	for _, id := range []string{refused, lost[0]} {
		r.awaitStatus(tenant, id, message.Read)
		if n := pretend.Accepted(domain.MessageID(id)); n != 1 {
			t.Errorf("%s was accepted %d times", id, n)
		}
		var story letterStory
		r.settle()
		decodeAs(t, r.want(200, "GET", own+"/dlq/"+id, "").body, &story)
		if story.State != message.LetterSettled || len(story.Tried) != 2 || story.Tried[1].Attempt != 2 || len(story.Redriven) != 1 || *story.Redriven[0].Redrive != job.ID {
			t.Errorf("the story of %s: %+v", id, story)
		}
	}
	if n := pretend.Accepted(domain.MessageID(lost[1])); n != 0 {
		t.Errorf("what was proven was sent %d times", n)
	}
	if dead := r.list(own + "/dlq"); len(dead) != 0 {
		t.Errorf("still dead: %v", dead)
	}
	before := r.documents()
	if err := r.library.Rebuild(t.Context(), "messages", nil); err != nil {
		t.Fatal(err)
	}
	if after := r.documents(); after != before {
		t.Errorf("rebuilding changed documents:\n%s", firstDifference(before, after))
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
