package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/api"
	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/logtest"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
	"github.com/sendlog/sendlog/streams"
)

// redrive asks for a redrive below a base (a listener, or a tenant's path) and
// returns it when it has ended.
func (r *running) redrive(base, body string) redriveRow {
	r.t.Helper()
	job := r.beginRedrive(base, body)
	eventually(r.t, "the redrive to end", func() bool {
		job = r.redriving(base, job.ID)
		return job.State != "running"
	})
	return job
}

func (r *running) beginRedrive(base, body string) (job redriveRow) {
	r.t.Helper()
	decodeAs(r.t, r.want(202, "POST", base+"/dlq/redrive", body).body, &job)
	return job
}

func (r *running) redriving(base, id string) (job redriveRow) {
	r.t.Helper()
	decodeAs(r.t, r.want(200, "GET", base+"/dlq/redrives/"+id, "").body, &job)
	return job
}

func decodeAs(t testing.TB, body []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(body, v); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
}

// refuseAll makes the pretend Meta refuse everything for good.
func refuseAll(cloudapitest.Call) cloudapitest.Fault {
	return cloudapitest.Fault{Answer: cloudapitest.Refuse, Code: 131026}
}

// A message that cannot be sent is dead-lettered with words, listed, shown with
// all its attempts, counted by a dry run that touches nothing, redriven, and
// sent; who did that is in its timeline; nothing but a redrive sends it again.
func TestDeadLettersAndRedrive(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, env settings) {
		pretend, env := meta(t, env, 0)
		r := start(t, env, quick)
		tenant, _ := r.register("A", "106540352242922", "EAAtoken")
		pretend.Script(refuseAll)
		id := r.want(202, "POST", "/tenants/"+tenant+"/send", `{"to":"+14155550100","text":"x"}`).json(t)["id"].(string)
		m := r.awaitStatus(tenant, id, message.Failed)
		r.settle() // readers may see the message before its letter
		if e, ok := m["error"].(map[string]any); !ok || e["code"] != float64(131026) || e["reason"] == "" {
			t.Errorf("failed with %v", m["error"])
		}
		admin, own := "http://"+r.adminAddr, "/tenants/"+tenant
		for _, path := range []string{own + "/dlq", admin + "/dlq?code=131026&number=106540352242922&reason=refused&tenant=" + tenant} {
			if dead := r.list(path); len(dead) != 1 || dead[0]["id"] != id || dead[0]["attempts"] != float64(1) || dead[0]["detail"] == nil {
				t.Errorf("dead letters at %s: %v", path, dead)
			}
		}
		if dead := r.list(admin + "/dlq?code=1"); len(dead) != 0 {
			t.Errorf("dead letters with another code: %v", dead)
		}
		pretend.Script(nil)
		dry := r.redrive(admin, `{"filter":{"code":131026},"dry_run":true}`)
		if dry.Matched != 1 || dry.Would != 1 || dry.Redriven != 0 || len(dry.Counts) != 1 || *dry.Counts[0].Tenant != tenant || dry.Counts[0].Code != 131026 || dry.Counts[0].Count != 1 {
			t.Errorf("the dry run says %+v", dry)
		}
		r.settle()
		if dead, listed := r.list(admin+"/dlq"), r.list(admin+"/dlq/redrives"); len(dead) != 1 || len(listed) != 0 {
			t.Errorf("after a dry run: %v, among the redrives %v", dead, listed)
		}
		job := r.redrive(admin, fmt.Sprintf(`{"ids":[%q,"msg_nobody"]}`, id))
		if job.State != "done" || job.Matched != 1 || job.Redriven != 1 || len(job.Skipped) != 1 || job.Skipped[0].Example != "msg_nobody" {
			t.Errorf("redrive answered %+v", job)
		}
		r.awaitStatus(tenant, id, message.Read)
		r.settle()
		if dead := r.list(admin + "/dlq"); len(dead) != 0 {
			t.Errorf("still dead: %v", dead)
		}
		if settled := r.list(own + "/dlq?state=settled"); len(settled) != 1 || settled[0]["redrives"] != float64(1) {
			t.Errorf("settled: %v", settled)
		}
		var story letterStory
		decodeAs(t, r.want(200, "GET", own+"/dlq/"+id, "").body, &story)
		if len(story.Tried) != 2 || story.Tried[0].Outcome != "refused" || story.Tried[0].Code != 131026 || story.Tried[0].TraceID == nil || story.Tried[1].Outcome != "accepted" {
			t.Errorf("tried: %+v", story.Tried)
		}
		if len(story.Redriven) != 1 || *story.Redriven[0].Redrive != job.ID {
			t.Errorf("redriven: %+v, want by %s", story.Redriven, job.ID)
		}
		if again := r.redrive(admin, fmt.Sprintf(`{"ids":[%q]}`, id)); again.Redriven != 0 || !strings.Contains(again.Skipped[0].Reason, "accepted it after all") {
			t.Errorf("a delivered message was redriven: %+v", again)
		}
		if n := len(r.list(own + "/dlq/redrives")); n != 0 {
			t.Errorf("the tenant sees %d redrives of the operator", n)
		}
	})
}

// The commands show a dead letter with its attempts, count before they act,
// and tell how it went.
func TestDeadLetterCommands(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), 0)
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	pretend.Script(refuseAll)
	id := r.want(202, "POST", "/tenants/"+tenant+"/send", `{"to":"+14155550100","text":"x"}`).json(t)["id"].(string)
	r.awaitStatus(tenant, id, message.Failed)
	r.settle()
	pretend.Script(nil)
	for _, c := range []struct {
		args  string
		wants []string
	}{
		{"dlq list --code 131026 --tenant " + tenant, []string{id, "106540352242922", "dead"}},
		{"dlq show " + id, []string{id, "refused", "131026", "ATTEMPT"}},
		{"dlq redrive --code 131026 --dry-run", []string{tenant + "  131026  1", "1 of 1 would be tried again"}},
		{"dlq redrive --code 131026 --yes", []string{"1 of 1 would be tried again", "1 of 1 are being tried again"}},
		{"dlq redrives", []string{"done", "api"}},
		{"dlq redrive " + id, []string{"1 left alone"}},
		{"dlq show " + id, []string{"settled", "accepted", "by api (redrive_"}},
	} {
		out, err := r.command(c.args)
		if idle := c.args == "dlq redrive "+id; (err != nil) != idle { // which does nothing of what was named
			t.Fatalf("sendlog %s: %v", c.args, err)
		}
		for _, want := range c.wants {
			if !strings.Contains(out, want) {
				t.Errorf("sendlog %s: no %q in\n%s", c.args, want, out)
			}
		}
		if strings.HasSuffix(c.args, "--yes") {
			r.awaitStatus(tenant, id, message.Read)
			r.settle()
		}
	}
}

// A redrive keeps its pace, is cancelled in the middle, and one that is started
// again goes on where it was: each message is sent once. A tenant redrives its
// own letters only.
func TestRedriveIsPacedAndGoesOn(t *testing.T) {
	t.Parallel()
	const each = 15
	pretend, env := meta(t, alone(t), 0)
	r := start(t, env, quick)
	a, _ := r.register("A", "106540352242922", "EAAtokenA")
	b, _ := r.register("B", "106540352242923", "EAAtokenB")
	pretend.Script(refuseAll)
	ids := map[string][]string{}
	for _, tenant := range []string{a, b} {
		for i := range each {
			ids[tenant] = append(ids[tenant], r.want(202, "POST", "/tenants/"+tenant+"/send", fmt.Sprintf(`{"to":"+1415555%04d","text":"x"}`, i)).json(t)["id"].(string))
		}
	}
	for tenant, all := range ids {
		for _, id := range all {
			r.awaitStatus(tenant, id, message.Failed)
		}
	}
	r.settle()
	pretend.Script(nil)
	base := "/tenants/" + a
	job := r.beginRedrive(base, `{"all":true,"rate":5}`)
	r.want(409, "POST", base+"/dlq/redrive", `{"all":true}`)
	eventually(t, "three to be redriven", func() bool { return r.redriving(base, job.ID).Redriven >= 3 })
	a1 := r.want(200, "POST", base+"/dlq/redrives/"+job.ID+"/cancel", "")
	decodeAs(t, a1.body, &job)
	if job.State != "cancelled" || job.Matched != each || job.Redriven < 3 || job.Redriven >= each {
		t.Errorf("cancelled: %+v", job)
	}
	r.want(409, "POST", base+"/dlq/redrives/"+job.ID+"/cancel", "")
	r.settle()
	began := time.Now()
	second := r.redrive(base, `{"all":true,"rate":10}`)
	if second.State != "done" || second.Redriven+job.Redriven != each {
		t.Errorf("first %+v, then %+v: want %d in all", job, second, each)
	}
	// the first goes at once, and a tenth of a second may be made up for
	if least := time.Duration(second.Redriven-2) * time.Second / 10; time.Since(began) < least {
		t.Errorf("%d took %s at 10 a second", second.Redriven, time.Since(began))
	}
	for _, id := range ids[a] {
		r.awaitStatus(a, id, message.Read)
		if n := pretend.Accepted(domain.MessageID(id)); n != 1 {
			t.Errorf("%s was accepted %d times", id, n)
		}
	}
	if dead := r.list("http://" + r.adminAddr + "/dlq"); len(dead) != each {
		t.Errorf("%d letters of the other tenant are left, want %d", len(dead), each)
	}
	if jobs := r.list(base + "/dlq/redrives"); len(jobs) != 2 || jobs[0]["id"] != second.ID {
		t.Errorf("redrives %v", jobs)
	}
}

// graves is a read model of dead letters that are given up, in a log where
// nothing of them is left, or whose answers fail.
type graves struct {
	n     int
	kinds int // how many tenants they are of; 0: each has its own
	err   error
}

func (g graves) DeadLetters(_ context.Context, _ message.LetterFilter, p projections.Page) ([]message.DeadLetter, *projections.Mark, error) {
	at := 0
	if p.After != nil {
		at = int(p.After.Value)
	}
	if at > 0 && g.err != nil {
		return nil, nil, g.err
	}
	var all []message.DeadLetter
	for ; at < g.n && len(all) < p.Limit; at++ {
		tenant := at
		if g.kinds > 0 {
			tenant %= g.kinds
		}
		all = append(all, message.DeadLetter{Message: domain.MessageID(fmt.Sprint("msg_", at)), Tenant: domain.TenantID(fmt.Sprint("ten_", tenant)), Number: "1", Position: domain.Position(g.n - at), State: message.LetterDead})
	}
	if at == g.n {
		return all, nil, nil
	}
	return all, &projections.Mark{Value: int64(at)}, nil
}

func (g graves) DeadLettersByID(context.Context, domain.TenantID, []string) (map[string]message.DeadLetter, error) {
	return nil, g.err
}

// Corpses tells of messages that nothing is kept of.
func (g graves) Corpses(context.Context, []string) (map[string]message.Corpse, error) {
	return nil, g.err
}

func (graves) CaughtUp(context.Context) error { return nil }

// desk is a jobStore in memory.
type desk struct {
	mu      sync.Mutex
	written []streams.Job
	newest  map[string]uint64
	more    chan struct{}
	away    error // what Write answers
}

func newDesk() *desk { return &desk{newest: map[string]uint64{}, more: make(chan struct{})} }

func (d *desk) Write(_ context.Context, job streams.Job) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away != nil {
		return 0, d.away
	}
	if d.newest[job.ID] != job.Version {
		return 0, domain.ErrConflict
	}
	job.Version = uint64(len(d.written) + 1)
	d.newest[job.ID] = job.Version
	d.written = append(d.written, job)
	close(d.more)
	d.more = make(chan struct{})
	return job.Version, nil
}

func (d *desk) Follow(ctx context.Context, take func(streams.Job), caughtUp func()) error {
	for at, ready := 0, false; ; ready = true {
		d.mu.Lock()
		news, more := d.written[at:], d.more
		d.mu.Unlock()
		for _, job := range news {
			take(job)
		}
		at += len(news)
		if !ready {
			caughtUp()
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// overGraves runs redrives over letters whose messages the log has forgotten.
func overGraves(t *testing.T, g graves, d *desk, lease time.Duration) (r *redrives, stop func()) {
	return working(t, redriveConfig{letters: g, redriver: &message.Redriver{Clock: domain.SystemClock{}, Log: logtest.NewMemory()},
		jobs: d, clock: domain.SystemClock{}, log: slog.New(slog.DiscardHandler), lease: lease})
}

// working runs redrives as one process does.
func working(t *testing.T, c redriveConfig) (r *redrives, stop func()) {
	r = newRedrives(c)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(stop)
	<-r.ready
	return r, stop
}

func (r *redrives) finished(t *testing.T, w api.RedriveWish) api.Redriving {
	t.Helper()
	v, err := r.StartRedrive(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the redrive to end", func() bool {
		v, err = r.Redrive("", v.ID)
		return err == nil && v.State != "running"
	})
	return v
}

// What a redrive remembers is bounded: beyond a thousand kinds of letters they
// are summed up, reasons are counted, and old redrives are forgotten, dry runs
// first, and those of the tenant who begins ever more; in every process.
func TestRedriveMemoryIsBounded(t *testing.T) {
	t.Parallel()
	d := newDesk()
	r, _ := overGraves(t, graves{n: 2500}, d, redriveLease)
	v := r.finished(t, api.RedriveWish{DryRun: true, Rate: 1})
	if v.State != "done" || v.Matched != 2500 || v.Redriven != 0 || len(v.Skipped) != 1 || v.Skipped[0].Count != 2500 {
		t.Errorf("%s, %d matched, %d redriven, skipped %+v", v.State, v.Matched, v.Redriven, v.Skipped)
	}
	if len(v.Counts) != maxLetterCounts+1 || v.Counts[0] != (api.LetterCount{Count: 1500}) {
		t.Errorf("%d lines of counts, the first %+v", len(v.Counts), v.Counts[0])
	}
	other := r.finished(t, api.RedriveWish{IDs: []string{"msg_x"}, Rate: 1, Filter: message.LetterFilter{Tenant: "ten_b"}})
	for range keptOfTenant {
		r.finished(t, api.RedriveWish{IDs: []string{"msg_x"}, Rate: 1})
	}
	second, _ := overGraves(t, graves{}, d, redriveLease)
	for _, r := range []*redrives{r, second} {
		if all := r.Redrives(""); len(all) != keptOfTenant+1 {
			t.Errorf("%d are remembered", len(all))
		}
		if _, err := r.Redrive("", v.ID); domain.KindOf(err) != domain.Unknown {
			t.Errorf("the first is still known: %v", err)
		}
		if got, err := r.Redrive("ten_b", other.ID); err != nil || !reflect.DeepEqual(got, other) {
			t.Errorf("another tenant's: %+v, %v; want %+v", got, err, other)
		}
	}
}

// What was written of a redrive before it was forgotten may be told afterwards:
// it stays forgotten, and nothing of it is kept once all is told.
func TestForgottenRedriveStaysSo(t *testing.T) {
	t.Parallel()
	r := newRedrives(redriveConfig{clock: domain.SystemClock{}, log: slog.New(slog.DiscardHandler)})
	old := redriveRecord{ID: "redrive_x", State: "done", EndedAt: time.Now(), counts: map[letterKind]int{}}
	data, err := old.encode()
	if err != nil {
		t.Fatal(err)
	}
	r.take(streams.Job{ID: old.ID, Record: data, Version: 1})
	r.take(streams.Job{ID: old.ID}) // as forget does before it writes
	r.take(streams.Job{ID: old.ID, Record: data, Version: 2})
	if all := r.Redrives(""); len(all) != 0 {
		t.Errorf("it came back: %+v", all)
	}
	r.take(streams.Job{ID: old.ID, Version: 3})
	if len(r.known)+len(r.gone) != 0 {
		t.Errorf("known %v, gone %v", r.known, r.gone)
	}
}

// A redrive that loses the read models, or the log, fails with words that tell
// nothing of the inside, and the next one may begin.
func TestRedriveFails(t *testing.T) {
	t.Parallel()
	r, _ := overGraves(t, graves{n: 500, err: domain.Errorf(domain.Unavailable, fmt.Errorf("secret address"), "the read models do not answer")}, newDesk(), 0)
	for range 2 {
		v := r.finished(t, api.RedriveWish{Rate: 1, Filter: message.LetterFilter{Tenant: "ten_a"}})
		if v.State != "failed" || !strings.Contains(v.Error, "start it again") || strings.Contains(v.Error, "secret") {
			t.Errorf("%s: %q", v.State, v.Error)
		}
	}
}

// slow is a wish for a redrive of a tenant's letters that takes a while.
func slow(tenant string, code int) api.RedriveWish {
	return api.RedriveWish{Rate: 1, Filter: message.LetterFilter{Tenant: domain.TenantID(tenant), Code: &code, State: message.LetterDead}}
}

// Redrives run beside each other: of one tenant up to a number, which keeps
// nobody else from theirs, and of the same letters one; all together up to
// another number. Each is cancelled at once.
func TestRedrivesAtOnce(t *testing.T) {
	t.Parallel()
	r, _ := overGraves(t, graves{n: 1000, kinds: 1}, newDesk(), redriveLease)
	patience, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := func(w api.RedriveWish) error {
		_, err := r.start(patience, w)
		return err
	}
	for i := range redrivesAtOnce / redrivesOfTenant {
		for code := range redrivesOfTenant {
			if err := began(slow(fmt.Sprint("ten_", i), code)); err != nil {
				t.Fatal(err)
			}
		}
		if i > 2 {
			continue
		}
		if err := began(slow(fmt.Sprint("ten_", i), 0)); domain.KindOf(err) != domain.Taken {
			t.Errorf("the same letters twice: %v", err)
		}
		if err := began(slow(fmt.Sprint("ten_", i), 99)); domain.KindOf(err) != domain.Limited {
			t.Errorf("one too many of a tenant: %v", err)
		}
	}
	if err := began(slow("ten_new", 0)); domain.KindOf(err) != domain.Limited {
		t.Errorf("one too many: %v", err)
	}
	mine := r.Redrives("ten_0")[0]
	if _, err := r.CancelRedrive(patience, "ten_1", mine.ID); domain.KindOf(err) != domain.Unknown {
		t.Errorf("another tenant cancels it: %v", err)
	}
	for _, v := range r.Redrives("")[:8] {
		if got, err := r.CancelRedrive(patience, "", v.ID); err != nil || got.State != "cancelled" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if err := began(slow("ten_new", 0)); err != nil {
		t.Error(err)
	}
}
