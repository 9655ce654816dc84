package streams

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// ask puts a question to the servers until one of them answers it, within the
// deadline of ctx, or [domain.AppendTimeout] when it has none. An answer is
// lost when the server that owes it dies or steps down, and nobody says so: one
// try may not use up the caller's time. Each has twice the time of the one
// before, so that a server that is only slow is heard in the end. The question
// must be one that may be asked twice.
func ask[T any](ctx context.Context, question func(context.Context) (T, error)) (T, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, domain.AppendTimeout)
		defer cancel()
	}
	wait, patience := retryFirst, tryTimeout
	for {
		try, done := context.WithTimeout(ctx, patience)
		answer, err := question(try)
		done()
		if judge(err) != askAgain {
			return answer, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return answer, err
		}
		wait, patience = min(2*wait, retryMost), 2*patience
	}
}

// asker is JetStream as this room uses it: whatever is read, or made in a way
// that may be repeated, is asked for until it is answered ([ask]). The rest, as
// publishing, is handed on as it is.
type asker struct{ jetstream.JetStream }

func (a asker) Stream(ctx context.Context, name string) (askedStream, error) {
	return ask(ctx, func(ctx context.Context) (askedStream, error) {
		s, err := a.JetStream.Stream(ctx, name)
		return askedStream{s}, err
	})
}

func (a asker) Consumer(ctx context.Context, stream, name string) (jetstream.Consumer, error) {
	return ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return a.JetStream.Consumer(ctx, stream, name)
	})
}

// OrderedConsumer is made under a name of its own with each try; the server
// forgets one whose answer was lost.
func (a asker) OrderedConsumer(ctx context.Context, stream string, c jetstream.OrderedConsumerConfig) (jetstream.Consumer, error) {
	return ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return a.JetStream.OrderedConsumer(ctx, stream, c)
	})
}

func (a asker) CreateOrUpdateStream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	return ask(ctx, func(ctx context.Context) (jetstream.Stream, error) {
		return a.JetStream.CreateOrUpdateStream(ctx, c)
	})
}

func (a asker) CreateOrUpdateConsumer(ctx context.Context, stream string, c jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	return ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return a.JetStream.CreateOrUpdateConsumer(ctx, stream, c)
	})
}

// names lists the streams whose name begins with prefix and that take a
// subject.
func (a asker) names(ctx context.Context, prefix, subject string) ([]string, error) {
	return ask(ctx, func(ctx context.Context) ([]string, error) {
		var names []string
		lister := a.StreamNames(ctx, jetstream.WithStreamListSubject(subject))
		for name := range lister.Name() {
			if strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
		return names, lister.Err()
	})
}

// askedStream is a stream in the way of [asker].
type askedStream struct{ jetstream.Stream }

func (s askedStream) Info(ctx context.Context, opts ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	return ask(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) {
		return s.Stream.Info(ctx, opts...)
	})
}

func (s askedStream) GetMsg(ctx context.Context, seq uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	return ask(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return s.Stream.GetMsg(ctx, seq, opts...)
	})
}

func (s askedStream) GetLastMsgForSubject(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	return ask(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return s.Stream.GetLastMsgForSubject(ctx, subject)
	})
}

// purgePatience bounds one purge: of a hot log of millions it takes seconds.
const purgePatience = time.Minute

// purge forgets what is before a sequence.
func (s askedStream) purge(ctx context.Context, before uint64) error {
	ctx, cancel := context.WithTimeout(ctx, purgePatience)
	defer cancel()
	_, err := ask(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.Purge(ctx, jetstream.WithPurgeSequence(before))
	})
	return err
}

// consumers lists the consumers of a stream.
func (s askedStream) consumers(ctx context.Context) ([]*jetstream.ConsumerInfo, error) {
	return ask(ctx, func(ctx context.Context) ([]*jetstream.ConsumerInfo, error) {
		var infos []*jetstream.ConsumerInfo
		lister := s.ListConsumers(ctx)
		for info := range lister.Info() {
			infos = append(infos, info)
		}
		return infos, lister.Err()
	})
}
