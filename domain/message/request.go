package message

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sendlog/sendlog/domain"
)

// Request is a tenant's command to send one message.
type Request struct {
	Tenant         domain.TenantID
	Number         domain.NumberID
	Among          []Sender // the tenant's numbers, when it has several and the request names none: Number is empty then
	Simulated      bool     // the number has a mock_ token: nobody is called, and placeholder digits ("x") are allowed
	To             string   // "+" and 8 to 15 digits; spaces, hyphens, dots and parentheses are dropped
	Text           string   // 1..4096 UTF-16 units
	IdempotencyKey string   // 1..255 visible ASCII characters, or empty for none
	Actor          string
	Trace          string
}

// Sender is a number a message may leave from.
type Sender struct {
	Number    domain.NumberID
	Simulated bool
}

// Receipt answers a Request.
type Receipt struct {
	ID       domain.MessageID
	Position domain.Position // read models at or past it contain the message
	Replayed bool            // the same request was accepted before
}

// Accepter turns requests into facts.
type Accepter struct {
	Log   domain.Log
	Clock domain.Clock
	Meter domain.Meter
	Past  Past // nil when the log keeps every key for ever
}

// Accept validates r and records it. When it returns nil the request is in the
// log, once: a repeat under the same idempotency key answers the first
// receipt, and another request under that key is refused with
// [domain.KeyReused]. That holds for ever, with [Accepter.Past]; while the past
// cannot be asked, it holds for as long as the log keeps a key at hand.
//
// A request that does not say from which of several numbers is refused, unless
// it repeats one: then it means the number that one left from. So the repeat of
// a request from the days of one number is still its repeat.
func (a *Accepter) Accept(ctx context.Context, r Request) (Receipt, error) {
	past, err := a.remember(ctx, r)
	if err != nil {
		return Receipt{}, err
	}
	if r.Number == "" {
		if err := a.choose(ctx, &r, past); err != nil {
			return Receipt{}, err
		}
	}
	wish, err := r.wish()
	if err != nil {
		return Receipt{}, err
	}
	id := domain.OutgoingID(r.Tenant, r.IdempotencyKey)
	key := OutgoingKey(r.Tenant, r.Number, id)
	if past != nil {
		return a.replay(ctx, key, id, wish.Fingerprint, past)
	}
	e, err := domain.NewEvent(key, a.Clock.Now(), r.Actor, wish)
	if err != nil {
		return Receipt{}, err
	}
	e.Trace, e.Correlation = r.Trace, string(id)
	pos, err := a.Log.Append(ctx, e, domain.First())
	if errors.Is(err, domain.ErrConflict) {
		return a.replay(ctx, key, id, wish.Fingerprint, nil)
	}
	if err != nil {
		return Receipt{}, err
	}
	a.Meter.Add(domain.SendsAccepted, 1)
	return Receipt{ID: id, Position: pos}, nil
}

// choose finds the number of a request that names none.
func (a *Accepter) choose(ctx context.Context, r *Request, past *PastRequest) error {
	if r.IdempotencyKey != "" && validKey(r.IdempotencyKey) {
		events, err := a.Log.Load(ctx, OutgoingKey(r.Tenant, "", domain.OutgoingID(r.Tenant, r.IdempotencyKey)))
		if err != nil {
			return err
		}
		var from domain.NumberID
		switch {
		case len(events) > 0:
			from = events[0].Key.Number
		case past != nil:
			from = past.Number
		}
		for _, s := range r.Among {
			if from != "" && from == s.Number {
				r.Number, r.Simulated = s.Number, s.Simulated
				return nil
			}
		}
	}
	return &domain.Error{Kind: domain.Invalid, Message: "it is not clear which number to send from", Faults: []domain.Fault{
		{Pointer: "/from", Detail: "is required: this tenant has several numbers; name one by its phone number id"}}}
}

// wish validates a request completely and locally, every fault with a pointer
// to its place.
func (r Request) wish() (*SendRequested, error) {
	var faults []domain.Fault
	fault := func(pointer, format string, args ...any) {
		faults = append(faults, domain.Fault{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
	}
	to, ok := recipient(r.To, r.Simulated)
	switch {
	case strings.TrimSpace(r.To) == "":
		fault("/to", "is required: a phone number in international form, such as +14155550100")
	case !ok:
		fault("/to", "is not a phone number: write + and 8 to 15 digits, such as +14155550100")
	}
	switch units := len(utf16.Encode([]rune(r.Text))); {
	case strings.TrimSpace(r.Text) == "":
		fault("/text", "is required and must not be empty")
	case !utf8.ValidString(r.Text):
		fault("/text", "is not valid UTF-8")
	case units > domain.MaxText:
		fault("/text", "has %d characters; WhatsApp allows %d", units, domain.MaxText)
	}
	if !validKey(r.IdempotencyKey) {
		fault("/idempotency_key", "must be 1 to %d visible ASCII characters", domain.MaxIdempotencyKey)
	}
	if len(faults) > 0 {
		return nil, &domain.Error{Kind: domain.Invalid, Message: "the message cannot be sent as it is", Faults: faults}
	}
	content, err := json.Marshal(map[string]any{"type": "text", "text": map[string]string{"body": r.Text}})
	if err != nil {
		return nil, fmt.Errorf("encode content: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%d:%s%s", len(r.Number), r.Number, len(to), to, content))
	return &SendRequested{Type: "text", Keyed: r.IdempotencyKey != "", SendWords: SendWords{
		To: to, Content: content, IdempotencyKey: r.IdempotencyKey, Fingerprint: hex.EncodeToString(sum[:]),
	}}, nil
}

var (
	filler      = strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", ".", "", "\u00a0", "")
	phone       = regexp.MustCompile(`^\+[1-9][0-9]{7,14}$`)
	placeholder = regexp.MustCompile(`^\+[1-9][0-9]*[xX]{1,14}$`)
)

// recipient brings a phone number to "+" and digits, the only form Meta reads
// the same way for every business (REFERENCE section 2.1).
func recipient(to string, simulated bool) (string, bool) {
	to = filler.Replace(to)
	if phone.MatchString(to) {
		return to, true
	}
	if simulated && len(to) >= 9 && len(to) <= 16 && placeholder.MatchString(to) {
		return strings.ToLower(to), true
	}
	return "", false
}

func validKey(k string) bool {
	if len(k) > domain.MaxIdempotencyKey {
		return false
	}
	for _, c := range []byte(k) {
		if c < 0x21 || c > 0x7e {
			return false
		}
	}
	return true
}
