package message

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Request is a tenant's command to send one message, or to mark one as read.
type Request struct {
	Tenant    domain.TenantID
	Number    domain.NumberID
	Among     []Sender // the tenant's numbers, when it has several and the request names none: Number is empty then
	Simulated bool     // the number has a mock_ token: nobody is called, and placeholder digits ("x") are allowed

	To            string // "+" and 8 to 15 digits; spaces, hyphens, dots and parentheses are dropped. Or a user id, or a group
	Recipient     string // a business-scoped user id; To wins over it
	RecipientType string // "individual", which empty means, or "group"

	Content     json.RawMessage // Meta's message object: {"type":"image","image":{…}}, nil for a text; pointers of faults go into it
	Text        string          // short for "text":{"body":Text} in Content: 1..4096 UTF-16 units
	Beside      []string        // what the caller reads beside Content, for the words of faults
	Unvalidated bool            // Content may be of a type unknown here: all but its outside is left to Meta
	Wanted

	IdempotencyKey string // 1..255 visible ASCII characters, or empty for none
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
	Warnings []Warning       // why the provider will probably refuse it, as known when it was accepted first
}

// Accepter turns requests into facts.
type Accepter struct {
	Log   domain.Log
	Clock domain.Clock
	Meter domain.Meter
	Past  Past // nil when the log keeps every key for ever
	// Contacts may be nil: then nothing is known against any message.
	Contacts Contacts
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
	wish, err := r.wish(a.Clock.Now())
	if err != nil {
		return Receipt{}, err
	}
	fingerprint := wish.fact.Fingerprint
	id := domain.OutgoingID(r.Tenant, r.IdempotencyKey)
	key := OutgoingKey(r.Tenant, r.Number, id)
	if past != nil {
		return a.replay(ctx, key, id, fingerprint, past)
	}
	objection := wish.objection
	if objection == nil {
		if wish.fact.Warnings, err = a.warn(ctx, r, wish); err != nil {
			return Receipt{}, err
		}
		if r.EnforceWindow && len(wish.fact.Warnings) > 0 {
			objection = unwelcome(wish.fact.Warnings)
		}
	}
	if objection != nil { // a repeat of a request from when there was none is still its repeat
		events, err := a.Log.Load(ctx, key)
		if err != nil {
			return Receipt{}, err
		}
		if len(events) > 0 {
			return a.replay(ctx, key, id, fingerprint, nil)
		}
		return Receipt{}, objection
	}
	e, err := domain.NewEvent(key, a.Clock.Now(), r.Actor, &wish.fact)
	if err != nil {
		return Receipt{}, err
	}
	e.Trace, e.Correlation = r.Trace, string(id)
	pos, err := a.Log.Append(ctx, e, domain.First())
	if errors.Is(err, domain.ErrConflict) {
		return a.replay(ctx, key, id, fingerprint, nil)
	}
	if err != nil {
		return Receipt{}, err
	}
	a.Meter.Add(domain.SendsAccepted, 1)
	return Receipt{ID: id, Position: pos, Warnings: wish.fact.Warnings}, nil
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

// wish is a valid request.
type wish struct {
	fact      SendRequested
	direct    bool  // Meta makes a template of it: the service window does not matter
	objection error // why it is refused although nothing is wrong with it
}

// wish validates a request completely and locally, every fault with a pointer
// to its place.
func (r Request) wish(now time.Time) (*wish, error) {
	c := &check{beside: r.Beside}
	said := r.content(c)
	if said == nil {
		return nil, refused(c.faults)
	}
	to, toGroup := r.recipient(c, said.kind)
	said.check(c, r.Unvalidated)
	options, over := r.Wanted.options(c, now)
	if !validKey(r.IdempotencyKey) {
		c.faultAt("idempotency_key", "must be 1 to %d visible ASCII characters", domain.MaxIdempotencyKey)
	}
	if len(c.faults) > 0 {
		return nil, refused(c.faults)
	}
	content, err := said.encode()
	if err != nil {
		return nil, err
	}
	if n := len(content); n > maxContent {
		c.fault("has %d bytes; a message object has at most %d", n, maxContent)
		return nil, refused(c.faults)
	}
	fingerprint, err := r.fingerprint(to, toGroup, content)
	if err != nil {
		return nil, err
	}
	var objection error
	if over {
		objection = refused([]domain.Fault{{Pointer: "/expires_at", Detail: "is over"}})
	}
	return &wish{objection: objection, direct: directSend(said.object), fact: SendRequested{
		Type: said.kind, Keyed: r.IdempotencyKey != "", Group: toGroup, Unvalidated: r.Unvalidated, Options: options,
		SendWords: SendWords{To: to, Content: content, IdempotencyKey: r.IdempotencyKey, Fingerprint: fingerprint, Reference: r.Reference},
	}}, nil
}

func refused(faults []domain.Fault) error {
	return &domain.Error{Kind: domain.Invalid, Message: "the message cannot be sent as it is", Faults: faults}
}

// fingerprint tells a repeat from another request. What it covers is written
// as the first version wrote it, because requests of its days are repeated
// today: new kinds of wishes are appended, and only when there are some.
func (r Request) fingerprint(to string, toGroup bool, content []byte) (string, error) {
	wanted, err := r.Wanted.print(toGroup)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	b.Grow(128 + len(content))
	b.WriteString(strconv.Itoa(len(r.Number)) + ":" + string(r.Number) + strconv.Itoa(len(to)) + ":" + to)
	json.HTMLEscape(&b, content)
	b.Write(wanted)
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:]), nil
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
