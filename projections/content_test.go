package projections_test

import (
	"testing"

	"github.com/sendlog/sendlog/domain/message"
)

// Of every type of message the words are shown that a person would read
// first, what it refers to, and whom it is to.
func TestFoldEveryType(t *testing.T) {
	t.Parallel()
	const phone, group, wamid = "+15550001111", "Y2FwaV9ncm91cDox", "wamid.1"
	for name, c := range map[string]struct {
		kind, to, content string
		text, replyTo     string
	}{
		"a text":                 {"text", phone, `{"text":{"body":"hi"},"context":{"message_id":"wamid.1"}}`, "hi", wamid},
		"a text to a user":       {"text", "US.1", `{"text":{"body":"hi"}}`, "hi", ""},
		"a text to a parent":     {"text", "US.ENT.1", `{"text":{"body":"hi"}}`, "hi", ""},
		"a text to a group":      {"text", group, `{"text":{"body":"hi"}}`, "hi", ""},
		"a picture":              {"image", phone, `{"image":{"id":"1","caption":"look"}}`, "look", ""},
		"a sticker":              {"sticker", phone, `{"sticker":{"id":"1"}}`, "", ""},
		"a paper":                {"document", phone, `{"document":{"id":"1","filename":"a.pdf"}}`, "a.pdf", ""},
		"a paper, explained":     {"document", phone, `{"document":{"id":"1","filename":"a.pdf","caption":"the bill"}}`, "the bill", ""},
		"a place":                {"location", phone, `{"location":{"latitude":"1","longitude":"2","name":"Philz"}}`, "Philz", ""},
		"contacts":               {"contacts", phone, `{"contacts":[{"name":{"formatted_name":"Ann"}},{"name":{"formatted_name":"Bob"}}]}`, "Ann", ""},
		"a reaction":             {"reaction", phone, `{"reaction":{"message_id":"wamid.1","emoji":"😀"}}`, "😀", wamid},
		"buttons":                {"interactive", phone, `{"interactive":{"type":"button","body":{"text":"Yes or no?"},"action":{}}}`, "Yes or no?", ""},
		"a template":             {"template", phone, `{"template":{"name":"order_ready","language":{"code":"en"}}}`, "order_ready", ""},
		"of a type nobody knows": {"hologram", phone, `{"hologram":["x"],"context":["y"]}`, "", ""},
		"read":                   {message.ReadReceipt, "", `{"status":"read","message_id":"wamid.1"}`, "", wamid},
		"typing":                 {message.Typing, "", `{"status":"read","message_id":"wamid.1","typing_indicator":{"type":"text"}}`, "", wamid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			l := w.library()
			id := message.InboundID(numA, "wamid.1", false)
			w.log.add(
				w.event(out("msg_a"), &message.SendRequested{Type: c.kind, Group: c.to == group, Unvalidated: c.kind == "hologram",
					SendWords: message.SendWords{To: c.to, Content: []byte(c.content)}}),
				w.attempt("msg_a", 1),
				w.event(out("msg_a"), &message.SendAccepted{Attempt: 1, Via: "answer"}), // without an id of Meta's
				w.event(message.InboundKey(tenA, numA, id), &message.InboundReceived{Message: id, Type: "text",
					InboundWords: message.InboundWords{Wamid: "wamid.1", Person: message.Person{Phone: "15550002222"}}}),
			)
			w.wait(l)
			v, err := l.Message(t.Context(), tenA, "msg_a")
			must(t, err)
			want := map[string]message.Person{
				phone: {Phone: "15550001111"}, "US.1": {UserID: "US.1"}, "US.ENT.1": {ParentID: "US.ENT.1"},
			}[c.to]
			if v.Text != c.text || v.ReplyTo != c.replyTo || v.Type != c.kind || v.To != c.to || v.Status != message.Accepted || len(v.Wamids) != 0 {
				t.Errorf("shown as %+v", v)
			}
			if v.Person != want || (v.GroupID == c.to) != (c.to == group || c.to == "") {
				t.Errorf("to %+v, group %q", v.Person, v.GroupID)
			}
		})
	}
}
