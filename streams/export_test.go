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
