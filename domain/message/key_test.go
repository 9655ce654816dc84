package message_test

import (
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// Every key fits a subject and names its family; an incoming message has one
// id under one number, however often it is told, and an echo has its own.
func TestKeys(t *testing.T) {
	t.Parallel()
	const n = domain.NumberID("106540352242922")
	in := message.InboundID(n, "wamid.X", false)
	if in != "in_clyyj4oayrvs5fakunbkqtotkv" { // computed outside Go
		t.Errorf("inbound id %s", in)
	}
	others := []domain.MessageID{
		message.InboundID(n, "wamid.X", true), message.InboundID(n, "wamid.Y", false), message.InboundID("1", "wamid.X", false)}
	for _, other := range others {
		if other == in {
			t.Error("two incoming messages share an id")
		}
	}
	for kind, k := range map[domain.Kind]domain.Key{
		domain.KindMessage: message.OutgoingKey("ten_a", n, "msg_a"),
		domain.KindInbound: message.InboundKey("ten_a", n, in),
		domain.KindStatus:  message.StatusKey("ten_a", n),
		domain.KindAccount: message.AccountKey("ten_a", ""),
	} {
		if k.Kind != kind || k.Tenant != "ten_a" || !domain.ValidToken(k.ID) {
			t.Errorf("key %+v", k)
		}
	}
	if message.AccountKey("ten_a", n).ID != string(n) {
		t.Error("notices of a number are not kept under it")
	}
}
