package streams

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// The ledger of daily allowances: a key-value bucket with one number per tenant
// and day.
const (
	bucketQuota  = "quota"
	ledgerStream = "KV_" + bucketQuota // as the server names a bucket's stream
	// ledgerAge is how long a day's number is kept, past its end everywhere.
	ledgerAge = 48 * time.Hour
	// ledgerPause bounds the random pause after meeting another process's Take;
	// the append timeout bounds them all.
	ledgerPause = 20 * time.Millisecond
)

// Ledger keeps what was taken of daily allowances. It implements
// tenant.Ledger.
type Ledger struct {
	b  *Broker
	kv jetstream.KeyValue
}

// Ledger opens the ledger, which it creates when it is missing.
func (b *Broker) Ledger(ctx context.Context) (*Ledger, error) {
	kv, err := b.reader.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: bucketQuota, History: 1, TTL: ledgerAge, Replicas: b.replicas, Storage: jetstream.FileStorage,
	})
	if err != nil {
		return nil, fmt.Errorf("ensure bucket %s: %w", bucketQuota, err)
	}
	return &Ledger{b: b, kv: kv}, nil
}

// Take takes up to want of what is left of limit on a day, for good, and
// returns how many it got and how many are left after it. One update of the
// number, expecting the one that was read, decides between processes.
func (l *Ledger) Take(ctx context.Context, t domain.TenantID, day string, want, limit int) (got, left int, err error) {
	if !domain.ValidToken(string(t)) || !domain.ValidToken(day) {
		return 0, 0, domain.Errorf(domain.Bug, nil, "an allowance does not fit a key")
	}
	ctx, cancel := context.WithTimeout(ctx, domain.AppendTimeout)
	defer cancel()
	key := string(t) + "." + day
	for {
		taken, revision, err := l.read(ctx, key)
		if err != nil {
			return 0, 0, err
		}
		if got = min(want, limit-taken); got <= 0 {
			return 0, 0, nil
		}
		try, done := context.WithTimeout(ctx, tryTimeout)
		_, err = l.kv.Update(try, key, []byte(strconv.Itoa(taken+got)), revision)
		done()
		if err == nil {
			// A power cut must not hand out again what was taken.
			return got, limit - taken - got, l.b.sync(ctx, ledgerStream)
		}
		switch v := judge(err); {
		case v == conflict, errors.Is(err, jetstream.ErrKeyExists):
		case v == askAgain && ctx.Err() == nil:
			// What this try may have taken is lost to everybody: the sum stays
			// below the limit.
			l.b.meter.Add(domain.AppendRetries, 1)
		default:
			return 0, 0, unavailable(fmt.Errorf("take of an allowance: %w", err))
		}
		select {
		case <-time.After(rand.N(ledgerPause)):
		case <-ctx.Done():
			return 0, 0, unavailable(fmt.Errorf("take of an allowance: too many at once: %w", ctx.Err()))
		}
	}
}

// read returns what was taken and the revision that says so, 0 for none.
func (l *Ledger) read(ctx context.Context, key string) (taken int, revision uint64, err error) {
	e, err := ask(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) {
		e, err := l.kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil, nil // an answer, which the table does not know
		}
		return e, err
	})
	if err != nil {
		return 0, 0, unavailable(fmt.Errorf("read an allowance: %w", err))
	}
	if e == nil {
		return 0, 0, nil
	}
	if taken, err = strconv.Atoi(string(e.Value())); err != nil {
		return 0, 0, domain.Errorf(domain.Bug, err, "an allowance is no number")
	}
	return taken, e.Revision(), nil
}
