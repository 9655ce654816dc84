package api

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

const (
	headerPrefer  = "Prefer"
	headerApplied = "Preference-Applied"
)

// preferredWait returns how long a request wants its answer held (RFC 7240,
// section 4.3), at most maxWait; 0 when it does not say. A preference that
// cannot be read is ignored, as section 2 demands.
func preferredWait(c *fiber.Ctx) time.Duration {
	for _, field := range c.Request().Header.PeekAll(headerPrefer) {
		if wait := preferred(string(field)); wait > 0 {
			return wait
		}
	}
	return 0
}

func preferred(field string) time.Duration {
	for preference := range strings.SplitSeq(field, ",") {
		preference, _, _ = strings.Cut(preference, ";") // parameters of a preference
		name, value, _ := strings.Cut(preference, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		n, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`))
		if err != nil || n <= 0 {
			return 0
		}
		return min(time.Duration(n), maxWait/time.Second) * time.Second
	}
	return 0
}

// outcomeJSON answers a send whose outcome was waited for.
type outcomeJSON struct {
	receiptJSON
	Wamid          *string    `json:"wamid"`
	Error          *errorJSON `json:"error"`
	DeadLetteredAt *time.Time `json:"dead_lettered_at"`
}

// answerSettled answers a send that is due at a time, or at once when that is
// zero, with its outcome: 200 when it is known in time, and otherwise 202 with
// what is known.
func (s *Server) answerSettled(ctx context.Context, r request, receipt receiptJSON, due time.Time, wait time.Duration) error {
	leave, ok := s.waits.enter(r.tenant.ID)
	if !ok { // a preference may be left aside; the request is in the log
		return answer(r.c, fiber.StatusAccepted, receipt)
	}
	defer leave()
	v, known := s.settled(ctx, r.tenant.ID, receipt.ID, due, wait)
	out := outcomeJSON{receiptJSON: receipt, Error: viewError(v), DeadLetteredAt: when(v.DeadAt)}
	if v.Status != "" {
		out.Status, out.Position = v.Status, v.LastPosition
	}
	if len(v.Wamids) > 0 {
		out.Wamid = orNull(v.Wamids[0])
	}
	r.c.Set(headerApplied, "wait="+strconv.Itoa(int(wait.Seconds())))
	if known {
		return answer(r.c, fiber.StatusOK, out)
	}
	return answer(r.c, fiber.StatusAccepted, out)
}

// settled waits until the outcome of a message is known, for at most a time,
// and only as long as one may still come: not for what is given up, nor for what
// is due later. It returns the message as it is then, and whether its outcome is
// known. An error of the read models ends the wait only: the request is in the log.
func (s *Server) settled(ctx context.Context, t domain.TenantID, id domain.MessageID, due time.Time, most time.Duration) (message.View, bool) {
	later := due.After(s.cfg.Clock.Now().Add(most))
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	// Listening before the first look, so that nothing falls in between.
	news, err := s.ports.Feed.About(ctx, t, id)
	if err != nil {
		return message.View{}, false
	}
	var seen message.View
	for {
		v, err := s.ports.Messages.Message(ctx, t, id)
		switch {
		case err == nil && v.Settled():
			return v, v.Status != message.Unknown // a parked one is settled, and still nobody knows
		case err == nil:
			seen = v
		case domain.KindOf(err) != domain.Unknown: // one that is not folded yet is announced when it is
			return seen, false
		}
		if later {
			return seen, false
		}
		if _, more := <-news; !more { // the time is over, or the feed broke
			return seen, false
		}
	}
}
