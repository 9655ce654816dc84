package streams

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// publishers is the number of publishing connections: each is one read loop
// in the server, and four carry twice what one does.
const publishers = 4

// recorderPending bounds webhook facts awaiting their acknowledgement (events).
const recorderPending = 16384

// Broker is the connected log with all it offers: [Broker.Events],
// [Broker.Reader], [Broker.Work], [Broker.Tenants], [Broker.Quarantine],
// [Broker.Dead], [Broker.Live], [Broker.Archiver].
type Broker struct {
	conns    []*nats.Conn // publishers, then the recorder, the reader and the copier
	js       []jetstream.JetStream
	recorder jetstream.JetStream
	reader   asker
	copier   jetstream.JetStream // of the archiver: its bulk must not delay anybody's answer
	events   askedStream
	replicas int
	disk     *disk                                // of the log in this process; nil for servers elsewhere
	strict   bool                                 // an append is on disk before it is answered
	room     func() (most, free int64, err error) // of the log in this process (bytes); nil as disk is
	codec    codec
	marks    marks
	archived atomic.Pointer[months] // the archive, as it was when it was last looked up
	recent   recent
	newer    newer
	away     breaks // of the reader's connection
	workers  *Presence
	log      *slog.Logger
	meter    domain.Meter
}

// Config configures [Open].
type Config struct {
	Embedded *Embedded // the log in this process, or nil
	URL      string    // of external servers, when Embedded is nil
	Sealer   Sealer
	Log      *slog.Logger
	Meter    domain.Meter
}

// connectTimeout bounds reaching external servers at start.
const connectTimeout = 10 * time.Second

// Open connects and makes sure that every stream and consumer exists.
func Open(ctx context.Context, c Config) (*Broker, error) {
	b := &Broker{codec: codec{sealer: c.Sealer, history: history}, log: c.Log, meter: c.Meter}
	b.workers = b.Presence(roleDispatch)
	for range publishers + 3 {
		nc, err := c.dial()
		if err != nil {
			b.Close()
			return nil, err
		}
		b.conns = append(b.conns, nc)
		js, err := jetstream.New(nc,
			jetstream.WithPublishAsyncMaxPending(recorderPending),
			jetstream.WithPublishAsyncTimeout(domain.AppendTimeout))
		if err != nil {
			b.Close()
			return nil, fmt.Errorf("use JetStream: %w", err)
		}
		b.js = append(b.js, js)
	}
	b.recorder, b.reader, b.copier = b.js[publishers], asker{b.js[publishers+1]}, b.js[publishers+2]
	b.conns[publishers+1].SetDisconnectErrHandler(func(*nats.Conn, error) { b.away.happen() })
	b.js = b.js[:publishers]
	b.replicas = 1
	if b.conns[0].ConnectedClusterName() != "" {
		b.replicas = 3
	}
	if err := ensureTopology(ctx, b.reader, b.replicas); err != nil {
		b.Close()
		return nil, err
	}
	var err error
	if b.events, err = b.reader.Stream(ctx, streamEvents); err != nil {
		b.Close()
		return nil, fmt.Errorf("open stream %s: %w", streamEvents, err)
	}
	if c.Embedded != nil {
		b.disk, b.strict = &disk{blocks: c.Embedded.blocks, streams: map[string]*fsyncs{}}, c.Embedded.strict
		b.room = c.Embedded.room
	}
	return b, nil
}

// settle publishes a message to a stream and returns its sequence once it is as
// durable as was promised.
func (b *Broker) settle(ctx context.Context, stream string, p publish) (uint64, error) {
	p.msg.Header.Set(jetstream.ExpectedStreamHeader, stream)
	seq, err := p.settle(ctx)
	if err != nil {
		return 0, err
	}
	return seq, b.sync(ctx, stream)
}

// sync waits until all that was acknowledged before is as durable as was
// promised.
func (b *Broker) sync(ctx context.Context, stream string) error {
	if !b.strict {
		return nil
	}
	return b.onDisk(ctx, stream)
}

// onDisk waits until all that a stream acknowledged before is on disk. Servers
// elsewhere keep their own promise.
func (b *Broker) onDisk(ctx context.Context, stream string) error {
	if b.disk == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, domain.AppendTimeout)
	defer cancel()
	return undurable(b.disk.of(stream).wait(ctx))
}

func (c Config) dial() (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name("sendlog"),
		nats.MaxReconnects(-1),
		nats.PingInterval(20 * time.Second),
		nats.Timeout(connectTimeout),
		// Never keep a publish for later: its caller has been told it failed.
		nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			c.Log.Warn("streams: connection error", "error", err.Error())
		}),
	}
	if c.Embedded != nil {
		return c.Embedded.connect(opts...)
	}
	nc, err := nats.Connect(c.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return nc, nil
}

// publisher returns the connection for a number, so that the facts of one
// number stay in order.
func (b *Broker) publisher(n domain.NumberID) jetstream.JetStream {
	return b.js[domain.Lane(n)%len(b.js)]
}

// Events returns the log of facts.
func (b *Broker) Events() *Log { return &Log{b} }

// Close closes all connections.
func (b *Broker) Close() {
	for _, nc := range b.conns {
		nc.Close()
	}
}

// notFound reports whether err says that a message does not exist.
func notFound(err error) bool { return errors.Is(err, jetstream.ErrMsgNotFound) }
