package api

import (
	"bytes"
	"context"
	"encoding/json"
	"hash/maphash"
	"strconv"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

const batchPath = "/send/batch"

// batchJSON answers a batch: one result per message, in the order of the
// request.
type batchJSON struct {
	Accepted int          `json:"accepted"`
	Refused  int          `json:"refused"`
	Data     []resultJSON `json:"data"`
}

// resultJSON is what a request of its own would have been answered: a receipt
// or a problem.
type resultJSON struct {
	Receipt  *receiptJSON `json:"receipt,omitempty"`
	Replayed bool         `json:"replayed,omitempty"` // the receipt is that of an earlier request under the same key
	Problem  *problem     `json:"problem,omitempty"`
}

// batched is one message of a batch on its way.
type batched struct {
	wish    message.Request
	receipt message.Receipt
	quota   tenant.Allowance // what was left of it then
	err     error
}

// sendBatch records many requests to send, each for itself: one that is
// refused does not touch its neighbours, and each may have its own idempotency
// key. Messages to one recipient are recorded in the order of the batch.
//
// It answers 200 when it has a result for each, also when all are refused. When
// some may come again, Retry-After says when the last of them may.
func (s *Server) sendBatch(ctx context.Context, r request) error {
	if err := requireJSON(r.c.Get(fiber.HeaderContentType)); err != nil {
		return err
	}
	if len(r.c.Request().Header.Peek(headerIdempotencyKey)) > 0 {
		return invalid("a batch has no idempotency key of its own; give each message one, as idempotency_key")
	}
	items, err := batchOf(bytes.Clone(r.c.BodyRaw()))
	if err != nil {
		return err
	}
	all := make([]batched, len(items))
	var lanes [batchWorkers][]*batched
	seed := maphash.MakeSeed()
	for i, item := range items {
		b := &all[i]
		if b.wish, b.err = wishOf(r, item); b.err == nil {
			b.err = s.requireKey(b.wish.IdempotencyKey)
		}
		if b.err != nil {
			continue
		}
		// One recipient, one worker: that keeps their order.
		n := maphash.String(seed, b.wish.Addressee()) % batchWorkers
		lanes[n] = append(lanes[n], b)
	}
	id := requestID(r.c) // the workers must not ask for it
	var working sync.WaitGroup
	for _, lane := range lanes {
		if len(lane) > 0 {
			working.Go(func() {
				for _, b := range lane {
					b.err = s.guarded(id, func() (err error) {
						b.receipt, b.quota, err = s.accept(ctx, r, b.wish)
						return err
					})
				}
			})
		}
	}
	working.Wait()

	out := batchJSON{Data: make([]resultJSON, len(all))}
	var left tenant.Allowance
	again := time.Duration(-1)
	for i, b := range all {
		left = left.Least(b.quota)
		if b.err != nil {
			e, p := problemOf(r.c, b.err)
			s.tellOperator(r.route, e, p, b.err)
			if e.Kind == domain.Limited || e.Kind == domain.Unavailable {
				again = max(again, e.RetryAfter)
			}
			for j := range p.Errors {
				p.Errors[j].Pointer = "/messages/" + strconv.Itoa(i) + p.Errors[j].Pointer
			}
			out.Data[i].Problem = &p
			out.Refused++
			continue
		}
		receipt := viewReceipt(r.tenant, b.wish, b.receipt)
		out.Data[i] = resultJSON{Receipt: &receipt, Replayed: b.receipt.Replayed}
		out.Accepted++
	}
	showQuota(r.c, left)
	if again >= 0 {
		r.c.Set(fiber.HeaderRetryAfter, seconds(again))
	}
	return answer(r.c, fiber.StatusOK, out)
}

// batchOf splits the body of a batch into its messages.
func batchOf(body []byte) ([]json.RawMessage, error) {
	var items []json.RawMessage
	if err := decodeObject(body, []member{{"messages", &items, "a list of messages"}}); err != nil {
		return nil, err
	}
	if n := len(items); n == 0 || n > maxBatch {
		return nil, &domain.Error{Kind: domain.Invalid, Message: "a batch has 1 to " + strconv.Itoa(maxBatch) + " messages",
			Faults: []domain.Fault{{Pointer: "/messages", Detail: "has " + strconv.Itoa(n) + " messages"}}}
	}
	return items, nil
}
