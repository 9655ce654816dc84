package projections_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/customer"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
)

// Given what webhooks show, these are the people a tenant writes with.
func TestFoldCustomers(t *testing.T) {
	t.Parallel()
	const phone, phone2, user, user2, parent = "15550001111", "15550002222", "US.1", "US.2", "US.ENT.1"
	status := func(w *world, p message.Person) domain.Event {
		return w.event(message.StatusKey(tenA, numA), &message.StatusReceived{
			Status: "sent", SaidAt: noon(1), StatusNames: message.StatusNames{Wamid: "wamid.1", Person: p}})
	}
	echo := func(w *world, p message.Person, group bool) domain.Event {
		id := message.InboundID(numA, "wamid.echo", true)
		return w.event(message.InboundKey(tenA, numA, id), &message.InboundReceived{Message: id, Type: "text", Echo: true, Group: group,
			InboundWords: message.InboundWords{Wamid: "wamid.echo", Person: p}})
	}
	for _, c := range []struct {
		name   string
		events func(w *world) []domain.Event
		want   []string // newest first: "phones|user ids|wa id|user id|name|messages|last seen"
	}{
		{"written to, never heard of", func(w *world) []domain.Event {
			return []domain.Event{w.request("msg_1", "+"+phone, "hi"), w.request("msg_2", "+"+phone, "hi")}
		}, []string{"15550001111||15550001111|||0|-"}},
		{"written to by user id", func(w *world) []domain.Event { return []domain.Event{w.request("msg_1", user, "hi")} },
			[]string{"|US.1||US.1||0|-"}},
		{"a group, and a message that was read, are no person", func(w *world) []domain.Event {
			return []domain.Event{
				w.event(out("msg_1"), &message.SendRequested{Type: "text", Group: true, SendWords: message.SendWords{To: "120363404694233802"}}),
				w.event(out("msg_2"), &message.SendRequested{Type: message.ReadReceipt}),
			}
		}, nil},
		{"written to by a parent's id", func(w *world) []domain.Event { return []domain.Event{w.request("msg_1", parent, "hi")} },
			[]string{"|US.ENT.1||||0|-"}},
		{"two messages, a phone and then only a user id", func(w *world) []domain.Event {
			return []domain.Event{
				w.inbound("1", message.Person{Phone: phone, UserID: user, ParentID: parent, Name: "Ada"}, 5, "a"),
				w.inbound("2", message.Person{UserID: user, Name: "Ada L."}, 7, "b"),
			}
		}, []string{"15550001111|US.1 US.ENT.1|15550001111|US.1|Ada L.|2|7"}},
		{"the newest name is by the provider's time", func(w *world) []domain.Event {
			return []domain.Event{
				w.inbound("2", message.Person{Phone: phone, Name: "New"}, 7, "b"),
				w.inbound("1", message.Person{Phone: phone, Name: "Old"}, 5, "a"),
			}
		}, []string{"15550001111||15550001111||New|2|7"}},
		{"one webhook shows two customers to be one", func(w *world) []domain.Event {
			return []domain.Event{
				w.request("msg_1", "+"+phone, "hi"),
				w.inbound("1", message.Person{UserID: user, Name: "Ada"}, 5, "a"),
				w.inbound("2", message.Person{Phone: phone, UserID: user}, 7, "b"),
			}
		}, []string{"15550001111|US.1|15550001111|US.1|Ada|2|7"}},
		{"a changed number links the former", func(w *world) []domain.Event {
			return []domain.Event{
				w.inbound("1", message.Person{Phone: phone, UserID: user}, 5, "a"),
				w.inbound("2", message.Person{Phone: phone2, UserID: user2, FormerPhone: phone, FormerUserID: user}, 7, "b"),
				w.request("msg_1", "+"+phone, "to the old number"),
			}
		}, []string{"15550001111 15550002222|US.1 US.2|15550002222|US.2||2|7"}},
		{"a status adds an alias to whom we know, and makes nobody", func(w *world) []domain.Event {
			return []domain.Event{
				w.request("msg_1", "+"+phone, "hi"), status(w, message.Person{Phone: phone, UserID: user}), status(w, message.Person{Phone: phone2}),
			}
		}, []string{"15550001111|US.1|15550001111|US.1||0|-"}},
		{"the provider spells the number otherwise", func(w *world) []domain.Event {
			accepted := w.event(out("msg_1"), &message.SendAccepted{Attempt: 1, Via: "answer",
				AcceptNames: message.AcceptNames{Wamid: "wamid.1", WaID: "551187654321"}})
			return []domain.Event{
				w.request("msg_1", "+5511987654321", "oi"), accepted,
				w.inbound("1", message.Person{Phone: "551187654321", Name: "Ana"}, 5, "oi"),
			}
		}, []string{"5511987654321 551187654321||551187654321||Ana|1|5"}},
		{"the answer came before the spelling", func(w *world) []domain.Event {
			return []domain.Event{
				w.request("msg_1", "+5511987654321", "oi"), w.inbound("1", message.Person{Phone: "551187654321", Name: "Ana"}, 5, "oi"),
				w.event(out("msg_1"), &message.SendAccepted{Attempt: 1, AcceptNames: message.AcceptNames{Wamid: "wamid.1", WaID: "551187654321"}}),
			}
		}, []string{"5511987654321 551187654321||551187654321||Ana|1|5"}},
		{"an echo to a person, and one into a group", func(w *world) []domain.Event {
			return []domain.Event{echo(w, message.Person{Phone: phone}, false), echo(w, message.Person{Phone: phone2}, true)}
		}, []string{"15550001111||15550001111|||0|-"}},
		{"a user id in a phone's place is no phone", func(w *world) []domain.Event {
			return []domain.Event{w.inbound("1", message.Person{Phone: "US.77", UserID: user}, 5, "a")}
		}, []string{"|US.1||US.1||1|5"}},
		{"the same phone under two tenants is two customers", func(w *world) []domain.Event {
			id := message.InboundID(numB, "1", false)
			return []domain.Event{
				w.inbound("1", message.Person{Phone: phone}, 5, "a"),
				w.event(message.InboundKey(tenB, numB, id), &message.InboundReceived{Message: id, Type: "text", SaidAt: noon(9),
					InboundWords: message.InboundWords{Wamid: "1", Person: message.Person{Phone: phone, Name: "B's"}}}),
			}
		}, []string{"15550001111||15550001111|||1|5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.log.add(c.events(w)...)
			people, _, err := w.library().Customers(t.Context(), tenA, projections.Page{})
			must(t, err)
			var got []string
			for _, p := range people {
				seen := "-"
				if !p.LastSeenAt.IsZero() {
					seen = fmt.Sprint(p.LastSeenAt.Second())
				}
				got = append(got, fmt.Sprintf("%s|%s|%s|%s|%s|%d|%s", strings.Join(p.Phones, " "), strings.Join(p.UserIDs, " "),
					p.WaID, p.UserID, p.Name, p.MessageCount, seen))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// Whoever kept the id of a customer that was merged still finds the person,
// through any number of merges, and all their messages.
func TestMergedCustomerStillResolves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var ids []customer.ID
	for i := range 4 {
		w.log.add(w.inbound(fmt.Sprint(i), message.Person{UserID: fmt.Sprint("US.", i)}, i, "hi"))
		ids = append(ids, customer.ID("cus_"+domain.Digest("customer", string(tenA), fmt.Sprint("US.", i))))
	}
	l := w.library()
	for i := len(ids) - 1; i > 0; i-- { // 3 into 2, 2 into 1, 1 into 0
		w.log.add(w.inbound(fmt.Sprint("link", i), message.Person{UserID: fmt.Sprint("US.", i), FormerUserID: fmt.Sprint("US.", i-1)}, 10, "hi"))
	}
	w.wait(l)
	for _, id := range ids {
		v, err := l.Customer(t.Context(), tenA, id)
		must(t, err)
		if v.ID != ids[0] || len(v.UserIDs) != 4 || v.MessageCount != 7 || v.Position != 1 {
			t.Errorf("%s resolves to %+v", id, v)
		}
		all, _, err := l.Messages(t.Context(), tenA, projections.MessageFilter{Customer: id}, projections.Page{})
		must(t, err)
		if len(all) != 7 {
			t.Errorf("%d messages with %s, want 7", len(all), id)
		}
	}
	if people, _, err := l.Customers(t.Context(), tenA, projections.Page{}); err != nil || len(people) != 1 {
		t.Errorf("%d people (%v)", len(people), err)
	}
}
