package streams

import (
	"bytes"
	"sync/atomic"
	"time"

	"github.com/sendlog/sendlog/domain"
)

const (
	// recentEvents is how many of the newest events are kept open: what the
	// lanes and the read models are about to read, when they keep up.
	recentEvents = 8192
	// recentSize bounds one of them (bytes, stored form); larger ones are opened
	// anew by each reader.
	recentSize = 4 << 10
)

// recent keeps the newest events of EVENTS as they were opened, or written
// here: every event is read by a lane and by each read model, and opening it
// costs more than all they do with it. It never answers anything but what
// opening would: the subject and the stored bytes must be the same.
type recent struct {
	slots [recentEvents]atomic.Pointer[opened]
}

// opened is one event beside the form it was opened from.
type opened struct {
	position uint64
	subject  string
	data     []byte
	event    domain.Event
}

// keep remembers an event, unless a newer one is in its place.
func (r *recent) keep(subject string, position uint64, data []byte, e domain.Event) {
	if len(data) > recentSize {
		return
	}
	slot := &r.slots[position%recentEvents]
	for {
		before := slot.Load()
		if before != nil && before.position >= position {
			return
		}
		if slot.CompareAndSwap(before, &opened{position, subject, data, e}) {
			return
		}
	}
}

// wrote remembers an event of this process as others will read it.
func (r *recent) wrote(subject string, position uint64, data []byte, e domain.Event) {
	if !bytes.Contains(data, e.Facts) || e.At.Location() != time.UTC {
		return // it was spelled anew
	}
	e.Position, e.At = domain.Position(position), e.At.Round(0) // without the reading of this process's clock
	if len(e.Personal) == 0 {
		e.Personal = nil
	}
	r.keep(subject, position, data, e.Shared())
}

// find returns the event that is stored at a position.
func (r *recent) find(subject string, position uint64, data []byte) (domain.Event, bool) {
	o := r.slots[position%recentEvents].Load()
	if o == nil || o.position != position || o.subject != subject || !bytes.Equal(o.data, data) {
		return domain.Event{}, false
	}
	return o.event, true
}

// decode is [codec.decode] for events of EVENTS.
func (b *Broker) decode(subject string, position uint64, data []byte) (domain.Event, error) {
	if e, ok := b.recent.find(subject, position, data); ok {
		return e, nil
	}
	e, err := b.codec.decode(subject, position, data)
	if err == nil {
		e = e.Shared()
		b.recent.keep(subject, position, data, e)
	}
	return e, err
}
