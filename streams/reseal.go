package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// Reseal brings everything that was kept before the call under the master key
// that seals now: a copy is stored first, for what is left of its 90 days, and
// the original erased then. Cut off anywhere, the next call goes on; what was
// copied and not yet erased is then kept twice. A copy has a new position. told
// is called after each payload that was copied. One that cannot be opened stays
// as it is and keeps no other from it; the error tells of the last of them.
func (q *Quarantine) Reseal(ctx context.Context, now time.Time, told func()) error {
	s, err := q.b.reader.Stream(ctx, streamQuarantine)
	if err != nil {
		return unreadable(err)
	}
	var closed error
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq > 0 && seq <= state.LastSeq; seq++ {
		k, env, err := read(ctx, s, seq)
		if err != nil {
			return err
		}
		if k == nil {
			continue
		}
		did, err := q.reseal(ctx, s, *k, env, now)
		switch {
		case err == nil && did:
			told()
		case domain.KindOf(err) == domain.Unavailable:
			return err
		case err != nil:
			closed = domain.Errorf(domain.Bug, err, "the payload at %d of the quarantine cannot be opened by any master key that is set", seq)
		}
	}
	return closed
}

func (q *Quarantine) reseal(ctx context.Context, s jetstream.Stream, k Kept, env keptEnvelope, now time.Time) (bool, error) {
	current := q.sealer.OwnIsCurrent("quarantine:"+env.part(len(env.Parts)), env.Sealed)
	for i, seq := range env.Parts {
		m, err := s.GetMsg(ctx, seq)
		if notFound(err) {
			return false, nil // the 90 days of its first parts are over: nobody can read it
		}
		if err != nil {
			return false, unreadable(err)
		}
		current = current && q.sealer.OwnIsCurrent("quarantine:"+env.part(i), m.Data)
	}
	if current {
		return false, nil
	}
	if life := quarantineAge - now.Sub(k.At); life > 0 {
		whole, err := q.Get(ctx, k.Position)
		if err != nil {
			return false, err
		}
		mark := fmt.Sprintf("-copy-of-%d", k.Position) // its own copy answers a lost acknowledgement
		if err := q.store(ctx, k.Reason, whole.Payload, k.At, copying{mark: mark, life: life}); err != nil {
			return false, err
		}
	}
	for _, seq := range append(env.Parts, uint64(k.Position)) {
		if err := s.SecureDeleteMsg(ctx, seq); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			return false, unavailable(fmt.Errorf("erase from quarantine: %w", err))
		}
	}
	return true, nil
}
