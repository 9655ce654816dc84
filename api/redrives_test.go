package api

import (
	"reflect"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain/message"
)

// A redrive names what it wants in one of three ways; under a tenant's path it
// is bound to the tenant whatever it says, it is of dead letters only, and who
// asked is known.
func TestRedriveWishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAuth)
	code := 131026
	tenant := w.a.Tenant.ID
	dead := message.LetterFilter{State: message.LetterDead}
	own := message.LetterFilter{State: message.LetterDead, Tenant: tenant}
	keyID, key := w.issue(t, adminKey, `{"scopes":["manage"]}`)
	operator := func(body string) ask {
		return ask{admin: true, method: "POST", path: "/dlq/redrive", body: body, key: adminKey}
	}
	itself := func(body string) ask {
		return ask{method: "POST", path: "/tenants/$A/dlq/redrive", body: body, key: key}
	}
	for _, c := range []struct {
		ask  ask
		want RedriveWish
	}{
		{operator(`{"ids":["msg_9","msg_8","msg_9"]}`), RedriveWish{IDs: []string{"msg_9", "msg_8"}, Filter: dead, Rate: 20, By: "admin"}},
		{operator(`{"all":true,"rate":1000,"dry_run":true}`), RedriveWish{Filter: dead, Rate: 1000, DryRun: true, By: "admin"}},
		{operator(`{"filter":{"tenant":"$A","number":"1","code":131026,"reason":"refused","since":"2026-01-01T00:00:00Z","until":"2026-02-01T00:00:00Z"},"ids":[]}`),
			RedriveWish{Rate: 20, By: "admin", Filter: message.LetterFilter{Tenant: tenant, Number: "1", Code: &code, Reason: "refused", State: message.LetterDead,
				Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)}}},
		{itself(`{"all":true}`), RedriveWish{Filter: own, Rate: 20, By: keyID}},
		{itself(`{"ids":["msg_9"],"filter":null}`), RedriveWish{IDs: []string{"msg_9"}, Filter: own, Rate: 20, By: keyID}},
		{itself(`{"filter":{"code":131026}}`), RedriveWish{Rate: 20, By: keyID,
			Filter: message.LetterFilter{State: message.LetterDead, Tenant: tenant, Code: &code}}},
	} {
		w.house.redrives = nil
		if r := w.do(t, c.ask); r.StatusCode != 202 {
			t.Errorf("%s: %d %s", c.ask.body, r.StatusCode, r.body)
			continue
		}
		if got := w.house.redrives[0]; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.ask.body, got, c.want)
		}
	}
}
