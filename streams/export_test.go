package streams

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// JetStream lets a test look behind the log, and do to it what only an
// operator or a disk would.
func (b *Broker) JetStream() jetstream.JetStream { return b.reader.JetStream }

// Lane works one lane whether it is this process's or not, as two do for a
// while when one of them does not know better.
func (b *Broker) Lane(ctx context.Context, lane int, take func(Delivery)) error {
	return b.supply(streamEvents, laneConsumer(lane).Durable, b.handed).run(ctx, take)
}

// Marks counts the positions that are remembered of backlogs.
func (b *Broker) Marks() int {
	b.marks.mu.Lock()
	defer b.marks.mu.Unlock()
	return len(b.marks.known)
}

// Understood tells servers that know what is asked of them from those that do
// not.
var Understood = understood

// StreamConfigs is the inventory of streams on one node.
func StreamConfigs() []jetstream.StreamConfig { return streamConfigs(1) }

// Limits that tests count against.
const (
	ArchivePart     = archivePart
	BacklogLook     = backlogLook
	LiveBuffer      = liveBuffer
	PinnedTTL       = lanePinnedTTL
	PresenceLife    = presenceLife
	QuarantineChunk = quarantineChunk
)

// FailSyncs makes every further fsync of the streams of this broker fail, as a
// dying disk does.
func (b *Broker) FailSyncs(err error) {
	for _, c := range streamConfigs(1) {
		b.disk.of(c.Name)
	}
	for _, f := range b.disk.streams {
		f.mu.Lock()
		f.failed = err
		f.mu.Unlock()
	}
}

// SyncedBlock returns the file that the group commit of a stream holds for the
// newest. Call it when nothing is being appended.
func (b *Broker) SyncedBlock(stream string) string {
	return b.disk.of(stream).block.Name()
}

// FailSync makes every further fsync of one stream fail.
func (b *Broker) FailSync(stream string, err error) {
	f := b.disk.of(stream)
	f.mu.Lock()
	f.failed = err
	f.mu.Unlock()
}

// HoldsNewest reports whether the file that the group commit of a stream syncs
// is the one of that name. Call it when nothing is being appended.
func (b *Broker) HoldsNewest(stream string) (bool, error) {
	return b.disk.of(stream).current()
}

// Following names the stream behind another one.
func Following(newest string, at time.Time) string { return month{name: newest}.following(at) }

// Before reports whether one archive stream is older than another.
func Before(a, b string) bool { return month{name: a}.compare(month{name: b}) < 0 }

// Upgrade makes a broker one of a build that has, and writes, version 2 of a
// type. Call it before the broker is used.
func (b *Broker) Upgrade(eventType string) {
	b.codec.history = upcasts{{eventType, 1}: func(facts, personal json.RawMessage) (json.RawMessage, json.RawMessage, error) {
		return facts, personal, nil
	}}
}
