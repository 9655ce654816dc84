package main

import (
	"slices"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
	"github.com/sendlog/sendlog/domain"
)

// A one-time password does not wait for a campaign of the same number: accepted
// after 1,500 bulk messages, three times of what memory holds of a number, an
// interactive one is called before most of them, and then none of them is
// missing or called twice.
func TestInteractiveOvertakesACampaign(t *testing.T) {
	t.Parallel()
	const campaign = 1500
	w := newFairWorld(t)
	busy := w.register("Busy", floodedNumber)
	number := "/tenants/" + busy + "/numbers/" + string(floodedNumber)
	w.want(200, "POST", number+"/pause", `{"reason":"all of them are to wait"}`)
	ids := w.flood(busy, `"text":"flood","priority":"bulk"`, campaign)
	urgent := domain.MessageID(w.want(202, "POST", "/tenants/"+busy+"/send", `{"to":"+14155570000","text":"Your code is 123456"}`).json(t)["id"].(string))
	began := time.Now()
	w.want(200, "POST", number+"/resume", `{"reason":"now they leave"}`)
	place := -1
	eventually(t, "the interactive message at Meta", func() bool {
		place = slices.IndexFunc(w.calls(floodedNumber), func(e cloudapitest.Entry) bool { return e.Message == urgent })
		return place >= 0
	})
	t.Logf("called after %d of %d bulk ones, %s after the number was resumed", place, campaign, time.Since(began).Round(time.Millisecond))
	if place >= campaign/2 {
		t.Errorf("the interactive message was called after %d of %d bulk ones", place, campaign)
	}
	w.want(200, "PUT", number+"/throughput", `{"per_second":1000}`)
	eventually(t, "the campaign at Meta", func() bool {
		accepted := w.pretend.AcceptedByMessage()
		return !slices.ContainsFunc(ids, func(id domain.MessageID) bool { return accepted[id] == 0 })
	})
	for call, times := range w.pretend.CallsByAttempt() {
		if times != 1 {
			t.Errorf("%s was called %d times as attempt %d", call.Message, times, call.Attempt)
		}
	}
}
