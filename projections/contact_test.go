package projections_test

import (
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// What a person told a number, found under any of their names: when they wrote
// last by the provider's time, whatever the order of arrival, and whether they
// want marketing messages.
func TestContact(t *testing.T) {
	t.Parallel()
	const phone, user = "15550001111", "US.1"
	ada := message.Person{Phone: phone, UserID: user}
	said := func(w *world, wamid, kind string, at int, group bool) domain.Event {
		id := message.InboundID(numA, wamid, false)
		return w.event(message.InboundKey(tenA, numA, id), &message.InboundReceived{Message: id, Type: kind, Group: group, SaidAt: noon(at),
			InboundWords: message.InboundWords{Wamid: wamid, Person: ada}})
	}
	wants := func(w *world, value string, at int) domain.Event {
		return w.event(message.AccountKey(tenA, numA), &message.AccountNotice{Field: message.FieldPreferences, Event: value, SaidAt: noon(at),
			Notice: message.Notice{Person: ada, Raw: []byte(`{}`)}})
	}
	stopped := func(w *world, at int) domain.Event {
		return w.event(message.StatusKey(tenA, numA), &message.StatusReceived{Status: "failed", Code: 131050, SaidAt: noon(at),
			StatusNames: message.StatusNames{Wamid: "wamid.1", Person: ada}})
	}
	for name, test := range map[string]struct {
		events func(w *world) []domain.Event
		want   message.Contact
	}{
		"nobody":          {func(*world) []domain.Event { return nil }, message.Contact{}},
		"written to only": {func(w *world) []domain.Event { return []domain.Event{w.request("msg_1", "+"+phone, "hi")} }, message.Contact{}},
		"the newest counts": {func(w *world) []domain.Event {
			return []domain.Event{said(w, "2", "image", 7, false), said(w, "1", "text", 5, false)}
		}, message.Contact{WroteAt: noon(7)}},
		"a reaction renews nothing": {func(w *world) []domain.Event {
			return []domain.Event{said(w, "1", "text", 5, false), said(w, "2", "reaction", 9, false), said(w, "3", "system", 9, false), said(w, "4", "revoke", 9, false)}
		}, message.Contact{WroteAt: noon(5)}},
		"nor what is written in a group": {func(w *world) []domain.Event { return []domain.Event{said(w, "1", "text", 5, true)} }, message.Contact{}},
		"stop":                           {func(w *world) []domain.Event { return []domain.Event{wants(w, "stop", 5)} }, message.Contact{OptedOut: true}},
		"stop and resume":                {func(w *world) []domain.Event { return []domain.Event{wants(w, "stop", 5), wants(w, "resume", 6)} }, message.Contact{}},
		"resume, then the older stop":    {func(w *world) []domain.Event { return []domain.Event{wants(w, "resume", 6), wants(w, "stop", 5)} }, message.Contact{}},
		"both in one second":             {func(w *world) []domain.Event { return []domain.Event{wants(w, "resume", 5), wants(w, "stop", 5)} }, message.Contact{OptedOut: true}},
		"the other way round":            {func(w *world) []domain.Event { return []domain.Event{wants(w, "stop", 5), wants(w, "resume", 5)} }, message.Contact{OptedOut: true}},
		"a status says it": {func(w *world) []domain.Event {
			return []domain.Event{w.request("msg_1", "+"+phone, "hi"), stopped(w, 4)}
		}, message.Contact{OptedOut: true}},
		"two customers, merged": {func(w *world) []domain.Event {
			return []domain.Event{
				w.inbound("1", message.Person{UserID: user}, 5, "a"), w.inbound("2", message.Person{Phone: phone}, 8, "b"),
				wants(w, "signup", 2), w.inbound("3", ada, 6, "c"),
			}
		}, message.Contact{WroteAt: noon(8)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.log.add(test.events(w)...)
			l := w.library()
			for _, recipient := range []string{"+" + phone, user} {
				got, err := l.Contact(t.Context(), tenA, numA, recipient)
				if err != nil || !got.WroteAt.Equal(test.want.WroteAt) || got.OptedOut != test.want.OptedOut {
					t.Errorf("%s: %+v, %v; want %+v", recipient, got, err, test.want)
				}
			}
			if got, err := l.Contact(t.Context(), tenA, numB, "+"+phone); err != nil || !got.WroteAt.Equal(time.Time{}) {
				t.Errorf("another number: %+v, %v", got, err)
			}
			if got, err := l.Contact(t.Context(), tenB, numA, "+"+phone); err != nil || got != (message.Contact{}) {
				t.Errorf("another tenant: %+v, %v", got, err)
			}
		})
	}
}
