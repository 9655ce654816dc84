package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain/message"
)

// command runs a subcommand against a server, and returns what it printed.
func (r *running) command(args string) (string, error) {
	r.t.Helper()
	var out, errOut lockedBuffer
	root := newRoot(settings{"SENDLOG_URL": "http://" + r.adminAddr}.get, &out, &errOut)
	root.SetArgs(strings.Fields(args))
	err := root.ExecuteContext(r.t.Context())
	return out.String(), err
}

// A dead letter that may have been delivered is counted as such by a dry run
// and by a redrive, however it was chosen, and a command asks before it is sent
// again. Whoever says so redrives it.
func TestRedriveCountsWhatMayBeDelivered(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), 0)
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	own := "/tenants/" + tenant
	r.want(200, "PUT", own+"/settings", `{"on_unknown":"park","unknown_wait":1}`)
	refused, lost := "", ""
	for _, c := range []struct {
		fault cloudapitest.Fault
		id    *string
	}{
		{cloudapitest.Fault{Answer: cloudapitest.Refuse, Code: 131026}, &refused},
		{cloudapitest.Fault{Answer: cloudapitest.LoseAnswer, Drop: true}, &lost},
	} {
		pretend.Script(func(cloudapitest.Call) cloudapitest.Fault { return c.fault })
		*c.id = r.send(tenant, "+14155550100", "x")
		eventually(t, "it to be dead-lettered", func() bool { return r.do("GET", own+"/dlq/"+*c.id, "").status == 200 })
	}
	r.settle()
	pretend.Script(nil)
	for body, want := range map[string]int{
		`{"all":true,"dry_run":true}`:                                  1,
		`{"filter":{"reason":"outcome_unknown"},"dry_run":true}`:       1,
		`{"filter":{"code":131026},"dry_run":true}`:                    0,
		fmt.Sprintf(`{"ids":[%q,%q],"dry_run":true}`, refused, lost):   1,
		fmt.Sprintf(`{"ids":[%q,"msg_nobody"],"dry_run":true}`, lost):  1,
		fmt.Sprintf(`{"ids":[%q],"dry_run":true,"rate":100}`, refused): 0,
	} {
		if dry := r.redrive(own, body); dry.InDoubt != want {
			t.Errorf("%s: %d in doubt, want %d", body, dry.InDoubt, want)
		}
	}
	const said = "1 of them may already have been delivered"
	for _, c := range []struct {
		args string
		fail string // "" = it does it
	}{
		{"dlq redrive --reason outcome_unknown --dry-run", ""},
		{"dlq redrive --all", "add --yes"}, // there is nobody at the terminal to ask
		{"dlq redrive " + lost, "add --yes"},
	} {
		out, err := r.command(c.args)
		if !strings.Contains(out, said) || (err == nil) != (c.fail == "") || err != nil && !strings.Contains(err.Error(), c.fail) {
			t.Errorf("sendlog %s: %v\n%s", c.args, err, out)
		}
	}
	r.settle()
	if dead := r.list(own + "/dlq"); len(dead) != 2 {
		t.Fatalf("dead letters %v, and nobody said yes", dead)
	}
	if out, err := r.command("dlq redrive " + lost + " --yes"); err != nil || !strings.Contains(out, "1 of 1 are being tried again") || !strings.Contains(out, said) {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := r.command("dlq redrive " + refused); err != nil || !strings.Contains(out, "1 of 1 are being tried again") || strings.Contains(out, said) {
		t.Errorf("%v\n%s", err, out) // nothing to ask
	}
	for _, id := range []string{refused, lost} {
		r.awaitStatus(tenant, id, message.Read)
	}
	r.settle()
	if settled := r.list(own + "/dlq?state=settled"); len(settled) != 2 || settled[0]["attempts"] != 2.0 || settled[1]["attempts"] != 2.0 {
		t.Errorf("settled %v, want two attempts each", settled)
	}
	if jobs := r.list("http://" + r.adminAddr + "/dlq/redrives"); len(jobs) != 2 || jobs[0]["in_doubt"] != 0.0 || jobs[1]["in_doubt"] != 1.0 {
		t.Errorf("redrives %v", jobs)
	}
	for args, want := range map[string]string{"dlq list --state settled": "outcome_unknown  -  ", "dlq show " + refused: "accepted  -  "} {
		if out, err := r.command(args); err != nil || !strings.Contains(out, want) {
			t.Errorf("sendlog %s: %v, no %q in\n%s", args, err, want, out)
		}
	}
}

// A message that WhatsApp took and failed afterwards is no dead letter. Who looks
// for it there, or redrives it, reads what it is and what to do; another tenant
// reads nothing of it. A command that redrives nothing of what was named fails.
func TestFailedAfterwardsIsNoDeadLetter(t *testing.T) {
	t.Parallel()
	pretend, env := meta(t, alone(t), 0)
	r := start(t, env, quick)
	tenant, _ := r.register("A", "106540352242922", "EAAtoken")
	other, _ := r.register("B", "106540352242923", "EAAother")
	pretend.Script(func(cloudapitest.Call) cloudapitest.Fault { return cloudapitest.Fault{FailWith: 131026} })
	id := r.send(tenant, "+14155550100", "x")
	r.awaitStatus(tenant, id, message.Failed)
	r.settle()
	const said = "it was accepted by WhatsApp and failed afterwards; send it anew"
	for path, tells := range map[string]bool{
		"/tenants/" + tenant + "/dlq/" + id:        true,
		"http://" + r.adminAddr + "/dlq/" + id:     true,
		"/tenants/" + other + "/dlq/" + id:         false,
		"/tenants/" + tenant + "/dlq/msg_nobodyxx": false,
	} {
		if a := r.want(404, "GET", path, ""); strings.Contains(string(a.body), said) != tells {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	for _, dry := range []string{"true", "false"} {
		for base, tells := range map[string]bool{"/tenants/" + tenant: true, "/tenants/" + other: false} {
			job := r.redrive(base, fmt.Sprintf(`{"ids":[%q],"dry_run":%s}`, id, dry))
			if len(job.Skipped) != 1 || strings.Contains(job.Skipped[0].Reason, said) != tells || job.Redriven+job.Would != 0 {
				t.Errorf("%s, dry_run %s: %+v", base, dry, job)
			}
		}
	}
	if out, err := r.command("dlq redrive " + id); err == nil || !strings.Contains(out, said) {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := r.command("dlq show " + id); err == nil || !strings.Contains(err.Error(), said) {
		t.Errorf("dlq show: %v", err)
	}
}
