package main

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// BenchmarkDeadLetters is what an operator does with a hundred thousand dead
// letters of ten tenants, in a process that sends nothing meanwhile: list them
// all, find a rare code, count them in a dry run, and redrive them as fast as
// is allowed. It runs once whatever b.N is; go test -bench DeadLetters -benchtime 1x.
func BenchmarkDeadLetters(b *testing.B) {
	const letters, tenants = 100_000, 10
	c, err := readConfig(alone(b).get)
	if err != nil {
		b.Fatal(err)
	}
	c.Roles = []string{roleAPI, roleProject}
	r := startConfig(b, c, quick)
	var ids []string
	for i := range tenants {
		id, _ := r.register(fmt.Sprint("Tenant ", i), fmt.Sprint(106540352242900+i), "mock_bench")
		ids = append(ids, id)
	}
	load(b, letters, func(i int) error { return bury(b.Context(), r, domain.TenantID(ids[i%tenants]), i) })
	r.settle()
	b.Logf("%d letters are there", letters)
	admin := "http://" + r.adminAddr
	began := time.Now()
	took := func(what string) {
		b.ReportMetric(time.Since(began).Seconds(), what)
		b.Logf("%s %.1f", what, time.Since(began).Seconds())
		began = time.Now()
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if n := len(r.list(admin + "/dlq?limit=200")); n != letters {
		b.Fatalf("%d letters", n)
	}
	took("s/list")
	if n := len(r.list(admin + "/dlq?limit=200&code=131042&tenant=" + ids[0])); n != letters/1000 {
		b.Fatalf("%d rare letters", n)
	}
	took("s/rare-list")
	ended := func(body string) redriveRow {
		job := r.beginRedrive(admin, body)
		for job.State == "running" {
			if err := (domain.SystemClock{}).Sleep(b.Context(), time.Second); err != nil {
				b.Fatalf("after %d of %d: %v", job.Redriven, job.Matched, err)
			}
			job = r.redriving(admin, job.ID)
		}
		return job
	}
	if job := ended(`{"all":true,"dry_run":true}`); job.Matched != letters || job.Would != letters {
		b.Fatalf("dry run: %+v", job)
	}
	took("s/dry-run")
	if job := ended(`{"all":true,"rate":1000}`); job.Redriven != letters {
		b.Fatalf("redrive: %+v", job)
	}
	took("s/redrive")
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(int64(after.HeapInuse)-int64(before.HeapInuse))/(1<<20), "MiB-kept")
	r.settle()
	if n := len(r.list(admin + "/dlq?limit=200")); n != 0 {
		b.Fatalf("%d are still dead", n)
	}
}

// bury records a message that was given up.
func bury(ctx context.Context, r *running, t domain.TenantID, i int) error {
	code := 131026
	if i%1000 == 0 {
		code = 131042
	}
	key := message.OutgoingKey(t, "106540352242900", domain.MessageID(fmt.Sprint("msg_", i)))
	expect := domain.First()
	for _, f := range []domain.Fact{
		&message.SendRequested{Type: "text", SendWords: message.SendWords{To: "+14155550100", Content: []byte(`{"type":"text","text":{"body":"x"}}`)}},
		&message.SendDeadLettered{Attempts: 1, Reason: "refused", Code: code, Detail: "not on WhatsApp"},
	} {
		e, err := domain.NewEvent(key, time.Now(), "bench", f)
		if err != nil {
			return err
		}
		at, err := r.broker.Events().Append(ctx, e, expect)
		if err != nil {
			return err
		}
		expect = domain.After(at)
	}
	return nil
}
