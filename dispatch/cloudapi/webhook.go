package cloudapi

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// maxElements bounds the entries of a body, and the changes and items made of
// it. Meta sends up to 1000 updates in a POST (section 4.3); a body of empty
// objects could hold a million. What is beyond it is kept in bulk, unsplit.
const maxElements = 20_000

// The webhook fields whose elements become facts of their own (section 5.5).
const (
	fieldMessages = "messages"
	fieldEchoes   = "smb_message_echoes"
)

// Delivery is one POST body of Meta, taken apart.
type Delivery struct {
	Changes []Change
}

// Change is one change of one entry, or an entry as a whole where it has no
// changes we can read. It always has at least one item.
type Change struct {
	Number domain.NumberID // metadata.phone_number_id; "" if absent or not a token
	WABA   string          // the account to route by when Number is "" (section 4.5)
	Field  string          // as Meta wrote it; "" if absent
	Raw    json.RawMessage // the whole change verbatim, for quarantine
	Entry  string          // entry.id: the account, or a business portfolio for partner events
	Time   time.Time       // entry.time; zero when absent
	Items  []Item
}

// Item is one future event of a change, not yet tied to a tenant.
type Item struct {
	Kind domain.Kind
	Key  string         // the wamid of a message or status, else ""
	ID   domain.EventID // the same whenever Meta tells the same again (section 4.4)
	Fact domain.Fact    // *message.InboundReceived, *message.StatusReceived or *message.AccountNotice
	// OpaqueTenant is the tenant named in the callback data of a status. The
	// fact's Message and Attempt are ours only if this is the tenant whose
	// number it came to: other apps may serve the number too (section 12).
	OpaqueTenant domain.TenantID
}

// ParseWebhook takes a body apart. Verify its signature first ([Verify]).
//
// Every change gives at least one item, and everything in it is in some item:
// messages of people and of the phone app, statuses, and for all the rest one
// account notice with the change's value verbatim. Messages and statuses
// without a business number cannot be placed in the log and count as rest.
//
// The error is of kind [domain.Malformed] when the body is not JSON with an
// array of entries, and [domain.TooLarge] when that array is absurd; one odd
// element is never an error.
func ParseWebhook(body []byte) (Delivery, error) {
	root, ok := parseObject(body)
	if !ok {
		return Delivery{}, domain.Errorf(domain.Malformed, nil, "the webhook is not a JSON object")
	}
	entries, ok := parseList(root["entry"])
	if !ok {
		return Delivery{}, domain.Errorf(domain.Malformed, nil, "the webhook has no array of entries")
	}
	if len(entries) > maxElements {
		return Delivery{}, domain.Errorf(domain.TooLarge, nil, "the webhook has more than %d entries", maxElements)
	}
	p := parser{left: maxElements}
	for _, raw := range entries {
		p.entry(raw)
	}
	return Delivery{Changes: p.changes}, nil
}

type parser struct {
	changes []Change
	left    int // elements that may still be split off
}

func (p *parser) entry(raw json.RawMessage) {
	e, _ := parseObject(raw)
	id, at := e.text("id"), e.text("time")
	changes, ok := parseList(e["changes"])
	if !ok || len(changes) > p.left || hasOther(e, "id", "time", "changes") {
		whole := Change{Entry: id, WABA: id, Time: moment(at), Raw: raw}
		whole.Items = []Item{whole.notice(at, "", raw)}
		p.changes = append(p.changes, whole)
	}
	if len(changes) > p.left {
		return
	}
	p.left -= len(changes)
	for _, c := range changes {
		p.changes = append(p.changes, p.change(id, at, c))
	}
}

func (p *parser) change(entry, at string, raw json.RawMessage) Change {
	o, _ := parseObject(raw)
	v, _ := parseObject(o["value"])
	c := Change{Entry: entry, WABA: entry, Field: o.text("field"), Time: moment(at), Raw: raw}
	if number := v.object("metadata").text("phone_number_id"); domain.ValidToken(number) {
		c.Number = domain.NumberID(number)
	}
	// In partner events entry.id is a business portfolio (section 4.5).
	if waba := v.object("waba_info").text("waba_id"); waba != "" {
		c.WABA = waba
	}
	complete := p.split(&c, v)
	verbatim := o["value"]
	if verbatim == nil || hasOther(o, "field", "value") {
		verbatim, complete = raw, false
	}
	if !complete || len(c.Items) == 0 {
		c.Items = append(c.Items, c.notice(at, v.text("event"), verbatim))
	}
	return c
}

// reader turns the elements of one array into items.
type reader struct {
	key  string
	read func(raw json.RawMessage, people *contacts) (Item, bool)
}

// readers returns what can be split off from a value of this field. The proof
// of concept's example webhook has no field at all. The statuses of calls
// stand under a field of their own and are none of messages (section 5.5).
func (c *Change) readers(v object) []reader {
	switch {
	case c.Number == "":
		return nil
	case c.Field == fieldMessages, c.Field == "" && (v["messages"] != nil || v["statuses"] != nil):
		return []reader{{"messages", c.inbound}, {"statuses", c.status}}
	case c.Field == fieldEchoes:
		return []reader{{"message_echoes", c.echo}}
	case c.Field == message.FieldPreferences:
		return []reader{{"user_preferences", c.preference}}
	}
	return nil
}

// split turns messages, echoes and statuses into items and reports whether
// these hold everything the value says.
func (p *parser) split(c *Change, v object) bool {
	readers := c.readers(v)
	complete := len(readers) > 0
	lists := make([][]json.RawMessage, len(readers))
	known := []string{"messaging_product", "metadata", "contacts"}
	total := 0
	for i, r := range readers {
		list, isList := parseList(v[r.key])
		complete = complete && (isList || isEmpty(v[r.key]))
		lists[i], total, known = list, total+len(list), append(known, r.key)
	}
	if total > p.left {
		return false
	}
	p.left -= total
	people := readContacts(v, total)
	for i, r := range readers {
		for _, raw := range lists[i] {
			item, ok := r.read(raw, people)
			if !ok {
				complete = false
				continue
			}
			c.Items = append(c.Items, item)
		}
	}
	return complete && people.allKnown() && !hasOther(v, known...)
}

// notice keeps raw verbatim as what Meta told about the account or number. Its
// id follows the last row of section 4.4: the same words at another entry.time
// are another notice.
func (c *Change) notice(at, event string, raw json.RawMessage) Item {
	return Item{
		Kind: domain.KindAccount,
		ID:   domain.FactID("notice", c.Entry, at, c.Field, canonical(raw)),
		Fact: &message.AccountNotice{
			Field:  label(c.Field),
			Event:  label(event),
			SaidAt: c.Time,
			Notice: message.Notice{WABA: c.WABA, Raw: raw},
		},
	}
}

// preference reads one element of user_preferences (section 5.5): a person who
// does not want marketing messages any more, or again. Only that category is
// known; another is kept as a notice without a person.
func (c *Change) preference(raw json.RawMessage, people *contacts) (Item, bool) {
	o, _ := parseObject(raw)
	p := personIn(o, "wa_id", "user_id", "parent_user_id")
	if isNobody(p) || o.text("category") != "marketing_messages" || o.text("value") == "" {
		return Item{}, false
	}
	if contact := people.of(p); contact != nil {
		contact.fill(&p)
	}
	item := c.notice(o.text("timestamp"), o.text("value"), raw)
	f := item.Fact.(*message.AccountNotice)
	f.SaidAt, f.Person = moment(o.text("timestamp")), p
	return item, true
}

// hasOther reports whether o says anything under a key not listed.
func hasOther(o object, known ...string) bool {
	for key, raw := range o {
		if !slices.Contains(known, key) && !isEmpty(raw) {
			return true
		}
	}
	return false
}

// label makes a word of Meta's fit to stand unsealed in an event: a plain
// token, or "other". Nobody's name or number passes by accident.
func label(s string) string {
	if s == "" || domain.ValidToken(s) {
		return s
	}
	return "other"
}
