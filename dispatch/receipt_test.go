package dispatch

import (
	"testing"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// What marks messages as read is to nobody, and waits for nobody: one that
// hangs holds up no other. It is done without an id of Meta's.
func TestReadReceiptsWaitForNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	read := func(wamid string) domain.Key {
		a := message.Accepter{Log: w.log, Clock: domain.SystemClock{}, Meter: domain.NoMeter{}}
		r, err := a.Accept(t.Context(), message.Request{Tenant: tenantA, Number: number, Actor: "test",
			Content: []byte(`{"status":"read","message_id":"` + wamid + `"}`)})
		if err != nil {
			t.Fatal(err)
		}
		return message.OutgoingKey(tenantA, number, r.ID)
	}
	first, second := read("wamid.1"), read("wamid.2")
	hold := make(chan struct{})
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		if string(c.Message) == first.ID {
			<-hold
		}
		return cloudapi.Outcome{Kind: cloudapi.Accepted}
	})
	w.run(w.d)
	w.await(second, message.TypeSendAccepted)
	close(hold)
	w.await(first, message.TypeSendAccepted)
	for _, c := range w.provider.made() {
		if c.To != "" || c.Group {
			t.Errorf("called for %q", c.To)
		}
	}
}
