package streams_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

// statuses makes facts of one number; their texts are from, from+1 ….
func statuses(t *testing.T, from, count int) []domain.Event {
	t.Helper()
	events := make([]domain.Event, count)
	for i := range events {
		events[i] = newEvent(t, message.StatusKey(tenantA, number), fmt.Sprint(from+i))
	}
	return events
}

// inbounds makes facts of a key each, as one webhook tells them. Told again,
// they have the same keys and other event ids.
func inbounds(t *testing.T, from, count int) []domain.Event {
	t.Helper()
	events := make([]domain.Event, count)
	for i := range events {
		id := message.InboundID(number, fmt.Sprint("wamid.", from+i), false)
		events[i] = newEvent(t, message.InboundKey(tenantA, number, id), fmt.Sprint(from+i))
	}
	return events
}

func record(t *testing.T, b *streams.Broker, events ...domain.Event) {
	t.Helper()
	if err := b.Events().Record(t.Context(), events); err != nil {
		t.Fatalf("record %d events: %v", len(events), err)
	}
}

// recorded fails unless the log holds the texts from 0 to count-1 in order,
// and nothing else.
func recorded(t *testing.T, b *streams.Broker, count int) {
	t.Helper()
	tail, err := b.Reader().Tail(t.Context())
	if err != nil || tail != domain.Position(count) {
		t.Fatalf("the log holds %d events, want %d, %v", tail, count, err)
	}
	for i, e := range read(t, b, 0, count) {
		if got := textOf(t, e); got != fmt.Sprint(i) {
			t.Fatalf("event %d is %s", i, got)
		}
	}
}

// A thousand facts told at once are stored in the order they were told.
func TestRecordKeepsOrder(t *testing.T) {
	t.Parallel()
	for _, d := range []streams.Durability{streams.Strict, streams.Interval} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			b := oneNode(t, d)
			record(t, b, slices.Concat(inbounds(t, 0, 500), statuses(t, 500, 500))...)
			recorded(t, b, 1000)
		})
	}
}

// Facts told again are no news, whether all of them or some.
func TestRecordTakesRepeats(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	record(t, b) // nothing at all
	old := slices.Concat(inbounds(t, 0, 20), statuses(t, 20, 20))
	record(t, b, old...)
	record(t, b, old...)
	recorded(t, b, 40)
	record(t, b, slices.Concat(old[:10], inbounds(t, 40, 5), old[10:], statuses(t, 45, 5))...)
	recorded(t, b, 50)
	record(t, b, inbounds(t, 0, 20)...) // told again under new event ids: their keys are known
	recorded(t, b, 50)
}

// A fact that fits no subject is refused, and said so.
func TestRecordRefusesBadKeys(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	e := statuses(t, 0, 1)[0]
	e.Key.ID = "+14155550100"
	if err := b.Events().Record(t.Context(), []domain.Event{e}); domain.KindOf(err) != domain.Bug {
		t.Errorf("got %v", err)
	}
}
