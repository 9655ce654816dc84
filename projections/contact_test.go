package projections_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
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
			check := func(l *projections.Library) {
				t.Helper()
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
			}
			check(w.library())
			// Who has the store alone remembers who has spoken, heard or read.
			w.store = openStore(t, t.TempDir())
			for range 2 {
				c := w.config()
				c.Alone = true
				l, stop := w.start(c)
				w.wait(l)
				check(l)
				stop()
			}
		})
	}
}

// countedReads counts the documents asked for.
type countedReads struct {
	projections.Store
	count atomic.Int64
}

func (c *countedReads) Get(ctx context.Context, collection string, ids []string) (map[string]projections.Doc, error) {
	c.count.Add(1)
	return c.Store.Get(ctx, collection, ids)
}

// Who has the store alone asks it about those only who have ever told
// something: also of a generation that an earlier process wrote, or that is
// rebuilt, and at once about somebody who speaks.
func TestContactOfTheSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &countedReads{Store: w.store}
	asked := func(l *projections.Library, recipient string) bool {
		t.Helper()
		before := store.count.Load()
		if _, err := l.Contact(t.Context(), tenA, numA, recipient); err != nil {
			t.Fatal(err)
		}
		return store.count.Load() > before
	}
	start := func() (*projections.Library, func()) {
		c := w.config()
		c.Store, c.Alone = store, true
		l, stop := w.start(c)
		w.wait(l)
		return l, stop
	}
	for i := range 1200 { // more than are read at once
		w.log.add(w.request(domain.MessageID(fmt.Sprintf("msg_%d", i)), fmt.Sprintf("+1555%07d", i), "hi"))
	}
	w.log.add(w.inbound("1", message.Person{Phone: "15550000700", UserID: "US.7"}, 5, "a"))
	l, stop := start()
	for recipient, want := range map[string]bool{"+15550000001": false, "+15559999999": false, "US.8": false, "+15550000700": true, "US.7": true} {
		if asked(l, recipient) != want {
			t.Errorf("a fresh store is asked about %s: %v", recipient, !want)
		}
	}
	stop()

	l, _ = start()
	until(t, "what was written before to be learnt", func() bool { return !asked(l, "+15550000001") })
	if !asked(l, "+15550000700") || !asked(l, "US.7") {
		t.Error("who spoke in another life is forgotten")
	}
	w.log.add(w.inbound("2", message.Person{Phone: "15550000001"}, 6, "b"))
	w.wait(l)
	if c, err := l.Contact(t.Context(), tenA, numA, "+15550000001"); err != nil || !c.WroteAt.Equal(noon(6)) {
		t.Errorf("somebody spoke: %+v, %v", c, err)
	}
	must(t, l.Rebuild(t.Context(), "customers", nil))
	if asked(l, "+15550000002") || !asked(l, "US.7") || !asked(l, "+15550000001") {
		t.Error("the rebuilt generation does not know who is silent")
	}
	w.log.add(w.inbound("3", message.Person{Phone: "15550000002"}, 7, "c"))
	w.wait(l)
	if !asked(l, "+15550000002") {
		t.Error("who spoke after the rebuild is not asked about")
	}
}

// When more have spoken than may be remembered, the store is asked about
// everybody.
func TestTooManySpeakers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.config()
	c.Alone = true
	l, err := projections.NewLibrary(c)
	must(t, err)
	l.RememberSpeakers(3)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	defer func() { cancel(); must(t, <-done) }()
	for i := range 5 {
		w.log.add(w.inbound(fmt.Sprint(i), message.Person{Phone: fmt.Sprintf("1555000000%d", i)}, i+1, "a"))
	}
	w.wait(l)
	for i := range 5 {
		if c, err := l.Contact(t.Context(), tenA, numA, fmt.Sprintf("+1555000000%d", i)); err != nil || !c.WroteAt.Equal(noon(i+1)) {
			t.Errorf("%d: %+v, %v", i, c, err)
		}
	}
}
