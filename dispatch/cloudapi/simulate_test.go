package cloudapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain/message"
)

// A simulated attempt has one wamid for ever, and another attempt another.
func TestSimulate(t *testing.T) {
	t.Parallel()
	call := aCall()
	o := cloudapi.Simulate(call)
	if o.Kind != cloudapi.Accepted || !strings.HasPrefix(o.Wamid, "wamid.MOCK") || o.WaID != "16505551234" || len(o.Raw) == 0 {
		t.Fatalf("got %v", o)
	}
	if again := cloudapi.Simulate(call); again.Wamid != o.Wamid {
		t.Error("the same attempt got another wamid")
	}
	call.Attempt = 2
	if other := cloudapi.Simulate(call); other.Wamid == o.Wamid {
		t.Error("another attempt got the same wamid")
	}
	call.To = "+919xxxxxxxxx"
	if o := cloudapi.Simulate(call); o.Kind != cloudapi.Accepted || o.WaID != "919xxxxxxxxx" {
		t.Errorf("placeholder digits: %v", o)
	}
}

var at = time.Unix(1795435200, 0).UTC()

// Simulated statuses take the normal way in and name the attempt they are of.
func TestSimulatedStatuses(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"+16505551234", "US.13491208655302741918"} {
		call := aCall()
		call.To = to
		o := cloudapi.Simulate(call)
		d := parse(t, cloudapi.SimulatedStatuses(call, o, at))
		if len(d.Changes) != 1 || len(d.Changes[0].Items) != 3 || d.Changes[0].Number != call.Number {
			t.Fatalf("got %+v", d)
		}
		for n, want := range []string{"sent", "delivered", "read"} {
			i := d.Changes[0].Items[n]
			f := i.Fact.(*message.StatusReceived)
			if f.Status != want || i.Key != o.Wamid || f.Message != call.Message || f.Attempt != 1 || i.OpaqueTenant != call.Tenant || !f.SaidAt.Equal(at) {
				t.Errorf("got %+v", f)
			}
			if strings.TrimPrefix(to, "+") != f.Person.Phone+f.Person.UserID {
				t.Errorf("about %+v", f.Person)
			}
		}
	}
	group := aCall()
	group.To, group.Group = "Y2FwaV9ncm91cDox", true
	d := parse(t, cloudapi.SimulatedStatuses(group, cloudapi.Simulate(group), at))
	if len(d.Changes) != 1 || len(d.Changes[0].Items) != 3 || d.Changes[0].Items[0].Fact.(*message.StatusReceived).Message != group.Message {
		t.Errorf("to a group: %+v", d)
	}
	if b := cloudapi.SimulatedStatuses(aCall(), cloudapi.Outcome{Kind: cloudapi.Refused}, at); b != nil {
		t.Errorf("a refusal has statuses: %s", b)
	}
}
