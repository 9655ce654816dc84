package main

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
)

// Replies of a number leave while Meta restricts its templates and more of them
// wait than memory holds of a number, also to persons for whom one waits and after
// kill -9. When the restriction is over the templates leave, in order, none missing and none
// called twice under one attempt number.
func TestRepliesPassARestrictedCampaign(t *testing.T) {
	t.Parallel()
	const campaign = 1500
	w := newFairWorld(t)
	busy := w.register("Busy", floodedNumber)
	number := "/tenants/" + busy + "/numbers/" + string(floodedNumber)
	var restricted atomic.Bool
	restricted.Store(true)
	w.pretend.Script(func(c cloudapitest.Call) cloudapitest.Fault {
		if c.Type == "template" && restricted.Load() {
			return cloudapitest.Fault{Answer: cloudapitest.Refuse, Code: 131064}
		}
		return cloudapitest.Fault{}
	})
	ids := w.flood(busy, `"type":"template","template":{"name":"offer","language":{"code":"en"}}`, campaign)
	replies := func(text string) {
		t.Helper()
		var want []domain.MessageID
		for i := range 20 {
			want = append(want, w.insist("/tenants/"+busy+"/send", fmt.Sprintf(`{"to":"+1415556%04d","text":%q,"idempotency_key":"%s-%d"}`, i, text, text, i)))
		}
		eventually(t, "the replies at Meta", func() bool {
			accepted := w.pretend.AcceptedByMessage()
			return !slices.ContainsFunc(want, func(id domain.MessageID) bool { return accepted[id] == 0 })
		})
	}
	replies("hello")
	w.p.kill()
	w.p = spawn(t, w.env, "serve")
	replies("again")
	accepted := w.pretend.AcceptedByMessage()
	if slices.ContainsFunc(ids, func(id domain.MessageID) bool { return accepted[id] != 0 }) {
		t.Error("Meta accepted a template")
	}

	restricted.Store(false)
	w.want(200, "PUT", number+"/throughput", `{"per_second":1000}`)
	w.want(200, "POST", number+"/resume", `{"reason":"they leave again"}`)
	eventually(t, "the campaign at Meta", func() bool {
		accepted := w.pretend.AcceptedByMessage()
		return !slices.ContainsFunc(ids, func(id domain.MessageID) bool { return accepted[id] == 0 })
	})
	for call, n := range w.pretend.CallsByAttempt() {
		if n != 1 {
			t.Errorf("%s was called %d times as attempt %d", call.Message, n, call.Attempt)
		}
	}
	w.inOrder(ids)
}
