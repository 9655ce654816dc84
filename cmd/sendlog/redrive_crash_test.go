package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/api"
	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/logtest"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
	"github.com/sendlog/sendlog/projections/storetest"
	"github.com/sendlog/sendlog/streams"
)

// outside speaks to processes of their own.
type outside struct {
	t      *testing.T
	client *http.Client
}

func (o outside) want(status int, method, url, body string) answer {
	o.t.Helper()
	a, err := request(o.t.Context(), o.client, method, url, body, "")
	if err != nil || a.status != status {
		o.t.Fatalf("%s %s: %d %s %v, want %d", method, url, a.status, a.body, err, status)
	}
	return a
}

func (o outside) redriving(base, id string) (job redriveRow) {
	o.t.Helper()
	decodeAs(o.t, o.want(200, "GET", base+"/dlq/redrives/"+id, "").body, &job)
	return job
}

// bury sends so many messages that Meta refuses, below a tenant's path, and
// returns their ids when all are dead letters.
func (o outside) bury(pretend *cloudapitest.Server, base string, n int) (ids []string) {
	o.t.Helper()
	pretend.Script(refuseAll)
	for i := range n {
		ids = append(ids, o.want(202, "POST", base+"/send", fmt.Sprintf(`{"to":"+1415555%04d","text":"x"}`, i)).json(o.t)["id"].(string))
	}
	eventually(o.t, "all to be dead letters", func() bool {
		return len(o.want(200, "GET", base+"/dlq?limit=200", "").json(o.t)["data"].([]any)) == n
	})
	pretend.Script(nil)
	return ids
}

// accepted is how many messages Meta has.
func accepted(pretend *cloudapitest.Server) (n int) {
	for _, times := range pretend.AcceptedByMessage() {
		n += min(times, 1)
	}
	return n
}

// A redrive whose process is killed -9, again and again, goes on in the one
// that starts next: in the end every letter was redriven and counted, once, and
// Meta has every message once, at the pace asked for. It is told of after further restarts, and cannot
// be cancelled any more.
func TestRedriveSurvivesKillNine(t *testing.T) {
	t.Parallel()
	const letters = 40
	pretend, env := meta(t, alone(t).with("DURABILITY", "strict"), 0)
	p := spawn(t, env, "serve")
	o := outside{t, &http.Client{Timeout: 30 * time.Second}}
	tenant := o.want(201, "POST", p.url+"/tenants/register", `{"name":"A","phoneNumberId":"106540352242922","accessToken":"EAAtoken"}`).json(t)["id"].(string)
	base := p.url + "/tenants/" + tenant // the same after every restart
	ids := o.bury(pretend, base, letters)
	var job redriveRow
	began := time.Now()
	decodeAs(t, o.want(202, "POST", base+"/dlq/redrive", `{"all":true,"rate":10}`).body, &job)
	for _, sent := range []int{14, 25, 33} { // not when it has just been recorded how far it is
		eventually(t, "some to be sent", func() bool { return accepted(pretend) >= sent })
		p.kill()
		p = spawn(t, env, "serve")
	}
	eventually(t, "the redrive to end", func() bool {
		job = o.redriving(base, job.ID)
		return job.State != "running"
	})
	if job.State != "done" || job.Matched != letters || job.Redriven != letters || len(job.Skipped) != 0 {
		t.Errorf("it ended as %+v", job)
	}
	// each process sends its first at once, and a tenth of a second may be made up for
	if least := (letters - 4*2) * time.Second / 10; time.Since(began) < least {
		t.Errorf("%d took %s at 10 a second", letters, time.Since(began))
	}
	for _, id := range ids {
		eventually(t, id+" to be read", func() bool {
			return o.want(200, "GET", base+"/messages/"+id, "").json(t)["status"] == message.Read
		})
		var story letterStory
		decodeAs(t, o.want(200, "GET", base+"/dlq/"+id, "").body, &story)
		if n := pretend.Accepted(domain.MessageID(id)); n != 1 || len(story.Redriven) != 1 || *story.Redriven[0].Redrive != job.ID {
			t.Errorf("%s was accepted %d times, redriven %+v", id, n, story.Redriven)
		}
	}
	p.kill()
	p = spawn(t, env, "serve")
	if again := o.redriving(base, job.ID); again.State != "done" || again.Redriven != letters {
		t.Errorf("after a restart: %+v", again)
	}
	o.want(409, "POST", base+"/dlq/redrives/"+job.ID+"/cancel", "")
	if n := len(o.want(200, "GET", base+"/dlq/redrives", "").json(t)["data"].([]any)); n != 1 {
		t.Errorf("%d redrives are listed", n)
	}
	if err := p.interrupt(); err != nil {
		t.Errorf("Ctrl-C: %v\n%s", err, p.said)
	}
}

// Redrives are everybody's: what one process works another shows and cancels,
// takes over when the first is killed, and at once when it stops in order.
func TestRedriveInSeveralProcesses(t *testing.T) {
	t.Parallel()
	const letters = 30
	mongoURI := withDatabase(storetest.MongoURI(t), storetest.MongoDatabase(t))
	pretend, env := meta(t, alone(t).with("NATS_URL", externalNATS(t), "MONGO_URI", mongoURI), 0)
	whole := start(t, env, quick)
	front := env.with("ROLES", "api", "DATA_DIR", t.TempDir(), "PORT", "0")
	p := spawn(t, front, "serve")
	o := outside{t, &http.Client{Timeout: 30 * time.Second}}
	tenant, _ := whole.register("A", "106540352242922", "EAAtoken")
	here, there := whole.url+"/tenants/"+tenant, p.url+"/tenants/"+tenant
	eventually(t, "the other process to know the tenant", func() bool {
		a, err := request(t.Context(), o.client, "GET", there, "", "")
		return err == nil && a.status == 200
	})
	ids := o.bury(pretend, here, letters)
	begin := func(base, body string) (job redriveRow) {
		t.Helper()
		decodeAs(t, o.want(202, "POST", base+"/dlq/redrive", body).body, &job)
		return job
	}
	job := begin(there, `{"all":true,"rate":1}`)
	eventually(t, "this process to know it", func() bool {
		a, err := request(t.Context(), o.client, "GET", here+"/dlq/redrives/"+job.ID, "", "")
		return err == nil && a.status == 200
	})
	decodeAs(t, o.want(200, "POST", here+"/dlq/redrives/"+job.ID+"/cancel", "").body, &job)
	if job.State != "cancelled" || job.Redriven >= letters {
		t.Errorf("cancelled from another process: %+v", job)
	}
	eventually(t, "the other process to hear of the end", func() bool { return o.redriving(there, job.ID).State == "cancelled" })
	first := job.Redriven
	job = begin(there, `{"all":true,"rate":4}`)
	eventually(t, "some to be redriven", func() bool { return accepted(pretend) >= first+7 })
	p.kill()
	ended := func(id string) redriveRow {
		t.Helper()
		var job redriveRow
		eventually(t, "the redrive to end", func() bool {
			job = o.redriving(here, id)
			return job.State != "running"
		})
		return job
	}
	if job = ended(job.ID); job.State != "done" || job.Redriven != letters-first || len(job.Skipped) != 0 {
		t.Errorf("after the kill: %+v, and %d before", job, first)
	}
	for _, id := range ids {
		eventually(t, id+" to be read", func() bool {
			return o.want(200, "GET", here+"/messages/"+id, "").json(t)["status"] == message.Read
		})
		if n := pretend.Accepted(domain.MessageID(id)); n != 1 {
			t.Errorf("%s was accepted %d times", id, n)
		}
	}
	more := o.bury(pretend, here, letters)
	p = spawn(t, front, "serve")
	there = p.url + "/tenants/" + tenant
	job = begin(there, `{"all":true,"rate":20}`)
	if err := p.interrupt(); err != nil {
		t.Errorf("Ctrl-C: %v\n%s", err, p.said)
	}
	if job = ended(job.ID); job.State != "done" || job.Redriven != len(more) {
		t.Errorf("after the stop: %+v", job)
	}
}

// cemetery has dead letters in a log of its own, told as a read model would.
type cemetery struct {
	*logtest.Memory
	died []message.DeadLetter // newest first
}

func newCemetery(t *testing.T, n int) *cemetery {
	c := &cemetery{Memory: logtest.NewMemory()}
	for i := range n {
		l := message.DeadLetter{Message: domain.MessageID(fmt.Sprint("msg_", i)), Tenant: "ten_a", Number: "1"}
		k := message.OutgoingKey(l.Tenant, l.Number, l.Message)
		for _, f := range []domain.Fact{&message.SendRequested{Type: "text"}, &message.SendDeadLettered{Reason: "refused"}} {
			e, err := domain.NewEvent(k, time.Now(), "test", f)
			if err != nil {
				t.Fatal(err)
			}
			if l.Position, err = c.Append(t.Context(), e, domain.After(l.Position)); err != nil {
				t.Fatal(err)
			}
		}
		c.died = append(c.died, l)
	}
	slices.Reverse(c.died)
	return c
}

// accept records that the provider has a message after all.
func (c *cemetery) accept(t *testing.T, id string) {
	k := message.OutgoingKey("ten_a", "1", domain.MessageID(id))
	all, err := c.Load(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	e, err := domain.NewEvent(k, time.Now(), "test", &message.SendAccepted{Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Append(t.Context(), e, domain.After(all[len(all)-1].Position)); err != nil {
		t.Fatal(err)
	}
}

// redriven counts the redrives recorded of each message.
func (c *cemetery) redriven() map[string]int {
	of := map[string]int{}
	for _, e := range c.All() {
		if e.Type == message.TypeSendRedriven {
			of[e.Key.ID]++
		}
	}
	return of
}

func (c *cemetery) DeadLetters(_ context.Context, f message.LetterFilter, p projections.Page) (all []message.DeadLetter, next *projections.Mark, err error) {
	of := c.redriven()
	for _, l := range c.died {
		l.State = message.LetterDead
		if of[string(l.Message)] > 0 {
			l.State = message.LetterRedriven
		}
		if p.After != nil && int64(l.Position) >= p.After.Value || !f.Accepts(l) {
			continue
		}
		if len(all) == p.Limit {
			last := all[p.Limit-1]
			return all, &projections.Mark{Value: int64(last.Position), ID: string(last.Message)}, nil
		}
		all = append(all, l)
	}
	return all, nil, nil
}

func (c *cemetery) DeadLettersByID(_ context.Context, _ domain.TenantID, ids []string) (map[string]message.DeadLetter, error) {
	found := map[string]message.DeadLetter{}
	for _, l := range c.died {
		if slices.Contains(ids, string(l.Message)) {
			found[string(l.Message)] = l
		}
	}
	return found, nil
}

func (c *cemetery) Corpses(context.Context, []string) (map[string]message.Corpse, error) {
	return nil, nil
}
func (*cemetery) CaughtUp(context.Context) error { return nil }

// worker runs redrives over a cemetery as one process does.
func worker(t *testing.T, c *cemetery, jobs jobStore, lease time.Duration) (r *redrives, stop func()) {
	return working(t, redriveConfig{letters: c, redriver: &message.Redriver{Clock: domain.SystemClock{}, Log: c}, jobs: jobs,
		clock: domain.SystemClock{}, log: slog.New(slog.DiscardHandler), lease: lease})
}

// line is a process's way to a desk, to be cut.
type line struct {
	*desk
	mu  sync.Mutex
	cut bool
}

func (l *line) Write(ctx context.Context, job streams.Job) (uint64, error) {
	l.mu.Lock()
	cut := l.cut
	l.mu.Unlock()
	if cut {
		return 0, domain.Errorf(domain.Unavailable, errors.New("cut"), "away")
	}
	return l.desk.Write(ctx, job)
}

func (l *line) Follow(ctx context.Context, take func(streams.Job), caughtUp func()) error {
	return l.desk.Follow(ctx, func(job streams.Job) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.cut {
			take(job)
		}
	}, caughtUp)
}

// However a redrive is cut off between two of its records, and although the one
// who worked it goes on for a while without knowing, whoever takes it over
// comes to the same end: each letter is redriven once and counted once. One that
// turns out meanwhile to have been sent is left alone.
func TestRedriveIsTakenOver(t *testing.T) {
	t.Parallel()
	const letters = 450
	for name, ids := range map[string][]string{"all": nil, "named": names(letters)} {
		for _, goesOn := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", goes on ", goesOn), func(t *testing.T) {
				t.Parallel()
				c, d := newCemetery(t, letters), newDesk()
				l := &line{desk: d}
				first, stop := worker(t, c, l, redriveLease)
				id, err := first.start(t.Context(), api.RedriveWish{IDs: ids, Rate: 100, By: "admin",
					Filter: message.LetterFilter{Tenant: "ten_a", State: message.LetterDead}})
				if err != nil {
					t.Fatal(err)
				}
				eventually(t, "it to be in the second portion", func() bool { return len(c.redriven()) > 230 })
				l.mu.Lock()
				l.cut = true
				l.mu.Unlock()
				cut := len(c.redriven())
				c.accept(t, "msg_0") // the last it comes to
				eventually(t, "some not to be recorded", func() bool { return len(c.redriven()) > cut+10 })
				if !goesOn {
					stop()
				}
				second, _ := worker(t, c, d, 0)
				eventually(t, "it to end", func() bool {
					v, err := second.Redrive("ten_a", id)
					return err == nil && v.State != redriveRunning
				})
				v, err := second.Redrive("ten_a", id)
				if err != nil || v.State != redriveDone || v.Matched != letters || v.Redriven != letters-1 || len(v.Skipped) != 1 || v.Skipped[0].Example != "msg_0" || v.By != "admin" {
					t.Errorf("%+v, %v", v, err)
				}
				for id, n := range c.redriven() {
					if n != 1 {
						t.Errorf("%s was redriven %d times", id, n)
					}
				}
			})
		}
	}
}

func names(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint("msg_", n-1-i))
	}
	return ids
}

// A redrive is left to its owner until that falls silent for the lease; one
// that its owner let go of is worked at once, and one that somebody wanted to
// end meanwhile is ended and not worked.
func TestRedriveOwners(t *testing.T) {
	t.Parallel()
	c, d := newCemetery(t, 5), newDesk()
	put := func(id, owner string, cancel bool) {
		rec := redriveRecord{ID: id, By: "admin", Filter: filterRecord{Tenant: "ten_a", State: message.LetterDead}, Rate: 1000,
			IDs: []string{"msg_" + id}, StartedAt: time.Now(), Owner: owner, Cancel: cancel, State: redriveRunning}
		data, err := rec.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Write(t.Context(), streams.Job{ID: id, Record: data}); err != nil {
			t.Fatal(err)
		}
	}
	put("0", "somebody", false)
	put("1", "", false)
	put("2", "", true)
	r, _ := worker(t, c, d, time.Hour)
	state := func(r *redrives, id string) string {
		v, err := r.Redrive("", id)
		if err != nil {
			t.Fatal(err)
		}
		return v.State
	}
	eventually(t, "what nobody has to end", func() bool { return state(r, "1") != redriveRunning && state(r, "2") != redriveRunning })
	if one, two, zero := state(r, "1"), state(r, "2"), state(r, "0"); one != redriveDone || two != redriveCancelled || zero != redriveRunning {
		t.Errorf("%s, %s and, somebody's, %s", one, two, zero)
	}
	other, _ := worker(t, c, d, time.Millisecond)
	eventually(t, "the silent one to be replaced", func() bool { return state(other, "0") == redriveDone && state(r, "0") == redriveDone })
	if of := c.redriven(); len(of) != 2 || of["msg_2"] != 0 {
		t.Errorf("redriven: %v", of)
	}
}

// Whoever cannot record for half a lease how far it is stops by itself, in the
// middle of a portion: it may have been replaced.
func TestRedriveStopsUnheard(t *testing.T) {
	t.Parallel()
	c, l := newCemetery(t, 1000), &line{desk: newDesk()}
	r, _ := worker(t, c, l, redriveBeat)
	id, err := r.start(t.Context(), api.RedriveWish{Rate: 5, By: "admin", Filter: message.LetterFilter{Tenant: "ten_a", State: message.LetterDead}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "some to be redriven", func() bool { return len(c.redriven()) > 3 })
	r.mu.Lock()
	w := r.known[id].work
	r.mu.Unlock()
	l.mu.Lock()
	l.cut = true
	l.mu.Unlock()
	<-w.ctx.Done()
	if n := len(c.redriven()); n >= domain.MaxPage {
		t.Errorf("it went on to the end of its portion: %d", n)
	}
}

// moody is a cemetery that cannot be read every other time.
type moody struct {
	*cemetery
	mu    sync.Mutex
	asked int
}

func (m *moody) DeadLetters(ctx context.Context, f message.LetterFilter, p projections.Page) ([]message.DeadLetter, *projections.Mark, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked++; m.asked%2 == 0 {
		return nil, nil, domain.Errorf(domain.Unavailable, nil, "not now")
	}
	return m.cemetery.DeadLetters(ctx, f, p)
}

// What cannot be read or recorded for a while is tried again; the redrive goes on
// where it was, and tells each letter once.
func TestRedriveOutlivesTrouble(t *testing.T) {
	t.Parallel()
	c := newCemetery(t, 150)
	r, _ := working(t, redriveConfig{letters: &moody{cemetery: c}, redriver: &message.Redriver{Clock: domain.SystemClock{}, Log: c}, jobs: newDesk(),
		clock: domain.SystemClock{}, log: slog.New(slog.DiscardHandler), patience: time.Hour})
	v := r.finished(t, api.RedriveWish{Rate: 1000, By: "admin", Filter: message.LetterFilter{Tenant: "ten_a", State: message.LetterDead}})
	if v.State != redriveDone || v.Matched != 150 || v.Redriven != 150 || len(c.redriven()) != 150 {
		t.Errorf("%+v, %d in the log", v, len(c.redriven()))
	}
}

// What all redrives together may do is shared by tenants, and theirs by their
// redrives; what somebody does not need the others have.
func TestRedrivePace(t *testing.T) {
	t.Parallel()
	job := func(id, tenant string, rate int, dry bool) *redriveRecord {
		return &redriveRecord{ID: id, Filter: filterRecord{Tenant: domain.TenantID(tenant)}, Rate: rate, DryRun: dry}
	}
	for name, test := range map[string]struct {
		all  []*redriveRecord
		want []float64
	}{
		"alone":              {[]*redriveRecord{job("1", "a", 20, false)}, []float64{20}},
		"all there is":       {[]*redriveRecord{job("1", "a", 1000, false)}, []float64{1000}},
		"two tenants":        {[]*redriveRecord{job("1", "a", 1000, false), job("2", "b", 1000, false)}, []float64{500, 500}},
		"one needs little":   {[]*redriveRecord{job("1", "a", 20, false), job("2", "b", 1000, false)}, []float64{20, 980}},
		"one has two":        {[]*redriveRecord{job("1", "a", 1000, false), job("2", "a", 1000, false), job("3", "b", 1000, false)}, []float64{250, 250, 500}},
		"one has a slow one": {[]*redriveRecord{job("1", "a", 50, false), job("2", "a", 1000, false), job("3", "b", 1000, false)}, []float64{50, 450, 500}},
		"a dry run":          {[]*redriveRecord{job("1", "a", 1000, true), job("2", "b", 1000, false)}, []float64{1000, 1000}},
	} {
		for i, mine := range test.all {
			if got := pace(mine, test.all); got != test.want[i] {
				t.Errorf("%s: the redrive %s has %v, want %v", name, mine.ID, got, test.want[i])
			}
		}
	}
}
