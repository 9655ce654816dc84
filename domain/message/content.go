package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sendlog/sendlog/domain"
)

// Types of requests that send nothing: they tell WhatsApp that a message was
// read, and that an answer is being written. Meta's body for both has no type
// and no recipient (REFERENCE section 2.5). To repeat them does no harm.
const (
	ReadReceipt = "read"
	Typing      = "typing"
)

const textType = "text"

// Addressed reports whether requests of a type are to somebody, and so get an
// id of Meta's and statuses.
func Addressed(kind string) bool { return kind != ReadReceipt && kind != Typing }

// Line names the line that a request of a number stands in: those to one
// recipient share a pace, and of one priority they leave in the order they were
// accepted. What is to nobody waits for nobody.
func (e *SendRequested) Line(id string) string {
	if !Addressed(e.Type) {
		return id
	}
	return e.To
}

// content is what a request says: Meta's message object without the envelope
// that names the recipient, decoded.
type content struct {
	kind   string
	object map[string]any
}

// content decodes what a request says. It returns nil, with a fault noted,
// when that is no object.
func (r Request) content(c *check) *content {
	object := map[string]any{}
	if r.Content != nil {
		var err error
		if object, err = decodeObject(r.Content); err != nil {
			c.fault("%s", err.Error())
			return nil
		}
	}
	if r.Text != "" || r.Content == nil {
		object[textType] = r.Text
	}
	s := &content{object: object}
	said, typed := object["type"]
	kind, _ := said.(string)
	status, told := object["status"]
	switch {
	case told && (!r.Unvalidated || status == "read" && !typed):
		s.kind = ReadReceipt
		if _, typing := object["typing_indicator"]; typing {
			s.kind = Typing
		}
	case !typed && !r.Unvalidated && meant(object) != "":
		s.kind = meant(object)
		object["type"] = s.kind // what else is wrong is told with it
		c.faultAt("type", `is required: write "type":%q beside %s`, s.kind, s.kind)
	case !typed:
		// As at Meta. Said explicitly, it is the same request either way.
		s.kind, object["type"] = textType, textType
	case Addressed(kind): // the names of ours are none of Meta's
		s.kind = kind
	}
	return s
}

// meant is the type that an object without one is of by the member it has; none
// when it has a text, which is the type it has then, or no member of any type.
func meant(object map[string]any) string {
	if _, there := object[textType]; there {
		return ""
	}
	for _, kind := range slices.Sorted(maps.Keys(messageKinds)) {
		if _, there := object[kind]; there {
			return kind
		}
	}
	return ""
}

func decodeObject(raw []byte) (map[string]any, error) {
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // a number leaves as it came
	var object map[string]any
	if err := dec.Decode(&object); err != nil || object == nil {
		return nil, fmt.Errorf("must be a JSON object")
	}
	if rest := raw[dec.InputOffset():]; len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("must be one JSON object")
	}
	return object, nil
}

// literal returns a number as it was written, or "".
func literal(v any) string {
	n, _ := v.(json.Number)
	return string(n)
}

// ours are members of Meta's body that are not for a tenant to write: who the
// message is to is said beside it, and the callback data is how an answer that
// was lost is found again.
var ours = []struct{ name, why string }{
	{"biz_opaque_callback_data", "is used by sendlog itself, to find a message whose answer was lost; put your own words into reference, which is shown with the message"},
	{"recipient", "is not part of the message object"},
	{"recipient_type", "is not part of the message object"},
	{"to", "is not part of the message object"},
}

// check notes everything that Meta would refuse.
func (s *content) check(c *check, unvalidated bool) {
	for _, m := range ours {
		if _, there := s.object[m.name]; there {
			c.faultAt(m.name, "%s", m.why)
			delete(s.object, m.name)
		}
	}
	switch {
	case unvalidated:
		s.checkOutside(c)
	case !Addressed(s.kind):
		readRule(c, s.object)
	case directSend(s.object):
		directRule(c, s.object)
	default:
		messageRule(c, s.object)
	}
}

// checkOutside is all that can be said of a type nobody here knows.
func (s *content) checkOutside(c *check) {
	if !domain.ValidToken(s.kind) {
		c.faultAt("type", "must be the name of a message type: letters, digits, - and _")
	}
	if product, there := s.object["messaging_product"]; there {
		c.in("messaging_product", whatsapp, product)
	}
}

// encode brings the content into the form in which it is recorded, and returns
// that: one canonical form, whatever order and spacing the members came in.
func (s *content) encode() (json.RawMessage, error) {
	delete(s.object, "messaging_product")
	if body, short := s.object[textType].(string); short && s.kind == textType {
		s.object[textType] = map[string]any{"body": body}
	}
	b, err := domain.JSON(s.object)
	if err != nil {
		return nil, fmt.Errorf("encode content: %w", err)
	}
	return b, nil
}

var whatsapp = word("whatsapp")

// readRule is the body that marks a message as read (REFERENCE section 2.5).
var readRule = object(
	may("messaging_product", whatsapp),
	must("status", word("read")),
	must("message_id", wamid),
	may("typing_indicator", object(must("type", word("text")))),
)

// messageRule is any message object (REFERENCE section 2.1). The member named
// by the type is where it says what it says.
var messageRule = kinds("type", messageKinds)

var messageKinds = withEnvelope(map[string][]part{
	"audio":       {must("audio", audio)},
	"contacts":    {must("contacts", contacts)},
	"document":    {must("document", document)},
	"image":       {must("image", image)},
	"interactive": {must("interactive", interactiveRule), may("category", word(ordinary))},
	"location":    {must("location", location)},
	"reaction":    {must("reaction", reaction)},
	"sticker":     {must("sticker", sticker)},
	"template":    {must("template", template), may("product_policy", word("CLOUD_API_FALLBACK", "STRICT")), may("message_activity_sharing", boolean)},
	"text":        {must("text", textRule), may("category", word(ordinary))},
	"video":       {must("video", video)},
})

// withEnvelope adds what may stand beside the content of any type.
func withEnvelope(table map[string][]part) map[string][]part {
	for kind := range table {
		table[kind] = append(table[kind],
			may("messaging_product", whatsapp),
			may("messaging_account_id", metaID),
			may("paid_messaging_account_id", metaID),
			may("recipient_identity_key_hash", text(1, maxID, visible)),
		)
		if kind != "reaction" { // a reaction names its message itself
			table[kind] = append(table[kind], may("context", object(must("message_id", wamid))))
		}
	}
	return table
}

var (
	metaID = text(1, maxID, visible)
	wamid  = text(1, maxWamid, visible, demand{
		func(s string) bool { return strings.HasPrefix(s, "wamid.") },
		"must be the id of a message as WhatsApp gives it, which begins with wamid.",
	})
)
