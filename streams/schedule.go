package streams

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// A request that is to be sent much later is copied into the SCHED stream with
// its time. The server keeps it there, for years if need be, and at its time
// turns it into work of the lane: a delivery that is Due (ADR 0011).

// Headers of the server's message scheduling (nats-server 2.12).
const (
	headerSchedule       = "Nats-Schedule"
	headerScheduleTarget = "Nats-Schedule-Target"
)

// Schedule has a delivery's event handed out again at a time, to whoever owns
// its lane then, with Due set. When it returns nil the copy is as durable as an
// append, and the delivery may be finished: the copy does not need the log. A
// time that has passed is due at once. It replaces what was scheduled for the
// message before, so repeating it is harmless.
//
// The event comes with its position and key, although the hot log may have let
// go of it. Whoever works it folds it before what [Log.Load] still finds of the
// message, unless that begins with the event itself. When nothing of the message
// is hot, the next append expects [domain.First]; otherwise it comes after the
// last event found. Everything recorded since the event became due stays hot
// until its delivery is done. What ended the message before that does not: so
// whoever acknowledges the end of a message calls [Broker.Unschedule] first.
func (b *Broker) Schedule(ctx context.Context, d Delivery, at time.Time) error {
	k := d.Event.Key
	subject, err := scheduleSubject(k)
	if err != nil {
		return err
	}
	m, err := copied(d, subject)
	if err != nil {
		return err
	}
	m.Header.Set(headerSchedule, "@at "+at.UTC().Format(time.RFC3339Nano))
	m.Header.Set(headerScheduleTarget, dueSubject(k.Number))
	_, err = b.settle(ctx, streamSchedule, publish{js: b.publisher(k.Number), msg: m, meter: b.meter})
	return err
}

// Unschedule forgets what is scheduled of a message, if anything is. What is due
// already is handed out nevertheless.
func (b *Broker) Unschedule(ctx context.Context, k domain.Key) error {
	subject, err := scheduleSubject(k)
	if err != nil {
		return err
	}
	s, err := b.reader.Stream(ctx, streamSchedule)
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject(subject))
	}
	if err != nil {
		return unavailable(fmt.Errorf("forget a schedule: %w", err))
	}
	return nil
}

// dueSince returns since when what is recorded of scheduled messages that are not
// done must stay hot, and false when there is none: since the oldest became due,
// was put on a shelf, or a while before it was parked.
func (b *Broker) dueSince(ctx context.Context) (since time.Time, any bool, err error) {
	s, err := b.reader.Stream(ctx, streamSchedule)
	if err != nil {
		return since, false, unreadable(fmt.Errorf("look at %s: %w", streamSchedule, err))
	}
	for _, subject := range []string{dueAll, shelfAll, waitAll} { // in the order in which they move
		m, err := s.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subject))
		switch {
		case notFound(err):
		case err != nil:
			return since, false, unreadable(fmt.Errorf("look for what is due: %w", err))
		default:
			at := m.Time
			if subject == waitAll {
				at = at.Add(-parkMargin)
			}
			if !any || at.Before(since) {
				since, any = at, true
			}
		}
	}
	return since, any, nil
}
