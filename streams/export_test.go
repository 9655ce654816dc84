package streams

import "github.com/nats-io/nats.go/jetstream"

// JetStream lets a test look behind the log, and do to it what only an
// operator or a disk would.
func (b *Broker) JetStream() jetstream.JetStream { return b.reader }

// Limits that tests count against.
const (
	LiveBuffer      = liveBuffer
	QuarantineChunk = quarantineChunk
)

// FailSyncs makes every further fsync of this broker fail, as a dying disk
// does.
func (b *Broker) FailSyncs(err error) {
	for _, f := range b.fsyncs {
		f.mu.Lock()
		f.failed = err
		f.mu.Unlock()
	}
}

// SyncedBlock returns the file that the group commit of a stream holds for the
// newest. Call it when nothing is being appended.
func (b *Broker) SyncedBlock(stream string) string {
	return b.fsyncs[stream].block.Name()
}
