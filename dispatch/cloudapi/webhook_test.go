package cloudapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// change wraps a value the way Meta does.
func change(field, value string) []byte {
	return fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":"W1","changes":[{"field":%q,"value":%s}]}]}`, field, value)
}

// value is a messages value of number 111 with these members.
func value(members string) string {
	return `{"messaging_product":"whatsapp","metadata":{"display_phone_number":"1555","phone_number_id":"111"},` + members + `}`
}

// lines parses a body and describes its items.
func lines(t *testing.T, body []byte) []string {
	t.Helper()
	var out []string
	for _, c := range parse(t, body).Changes {
		for _, i := range c.Items {
			out = append(out, describe(i))
		}
	}
	return out
}

// TestParseWebhookOddities states what becomes of bodies that Meta was seen to
// send, or might: nothing fails, nothing is lost, neighbours are not disturbed.
func TestParseWebhookOddities(t *testing.T) {
	t.Parallel()
	const from = `"messages":[{"from":"4917","id":"wamid.1","timestamp":"1795435200","type":"text","text":{"body":"hi"}}]`
	tests := []struct {
		name string
		body []byte
		want []string
	}{
		{"the proof of concept's example",
			[]byte(`{"entry":[{"changes":[{"value":{"metadata":{"phone_number_id":"111111111111111"},"messages":[{"from":"+919111111111","id":"wamid.123","type":"text","text":{"body":"hi"}}]}}]}]}`),
			[]string{"in text at=never phone=919111111111 text=hi"}},
		{"dummy of the dashboard's test button", change("messages", value(`"contacts":[{"profile":{"name":"T"},"wa_id":"16315551181"}],"messages":[{"from":"16315551181","id":"ABGGFlA5Fpa","timestamp":"1504902988","type":"text","text":{"body":"this is a text message"}}]`)),
			[]string{"in text at=1504902988 phone=16315551181 name=T text=this is a text message"}},
		{"timestamp as a number", change("messages", value(`"statuses":[{"id":"wamid.1","status":"sent","timestamp":1795435200,"recipient_id":4917}]`)),
			[]string{"st sent at=1795435200 phone=4917"}},
		{"timestamp that cannot be written down", change("messages", value(`"statuses":[{"id":"wamid.1","status":"sent","timestamp":"999999999999999"}]`)),
			[]string{"st sent at=never"}},
		{"empty from, null wa_id", change("messages", value(`"contacts":[{"wa_id":null,"user_id":"US.1"}],"messages":[{"from":"","from_user_id":"US.1","id":"wamid.1","type":"text","text":{"body":""}}]`)),
			[]string{"in text at=never user=US.1"}},
		{"user id inside from and wa_id", change("messages", value(`"contacts":[{"profile":{"name":"N"},"wa_id":"US.1"}],"messages":[{"from":"US.1","id":"wamid.1","type":"sticker"}]`)),
			[]string{"in sticker at=never user=US.1 name=N"}},
		{"contacts in another order and the phone only there", change("messages", value(`"contacts":[{"profile":{"name":"B"},"wa_id":"2","user_id":"US.2"},{"profile":{"name":"A"},"wa_id":"1","user_id":"US.1"}],"messages":[{"from_user_id":"US.1","id":"wamid.1","type":"sticker"},{"from":"2","id":"wamid.2","type":"sticker"}]`)),
			[]string{"in sticker at=never phone=1 user=US.1 name=A", "in sticker at=never phone=2 user=US.2 name=B"}},
		{"same phone, another user id: not the same person", change("messages", value(`"contacts":[{"profile":{"name":"A"},"wa_id":"1","user_id":"US.1"}],"messages":[{"from":"1","from_user_id":"US.9","id":"wamid.1","type":"sticker"}]`)),
			[]string{"in sticker at=never phone=1 user=US.9", "acct messages at=never waba=W1"}},
		{"nobody named, but one card only", change("messages", value(`"contacts":[{"profile":{"name":"A"},"user_id":"US.1"}],"messages":[{"id":"wamid.1","type":"sticker"}]`)),
			[]string{"in sticker at=never user=US.1 name=A"}},
		{"nobody named at all", change("messages", value(`"messages":[{"id":"wamid.1","type":"sticker"}]`)),
			[]string{"acct messages at=never waba=W1"}},
		{"a message without id beside a good one", change("messages", value(`"messages":[{"from":"1","type":"text"},{"from":"4917","id":"wamid.1","type":"text","text":{"body":"hi"}}]`)),
			[]string{"in text at=never phone=4917 text=hi", "acct messages at=never waba=W1"}},
		{"elements that are no objects", change("messages", value(`"messages":[null,7,"x",[]],"statuses":"none"`)),
			[]string{"acct messages at=never waba=W1"}},
		{"user_actions beside messages", change("messages", value(from+`,"user_actions":[{"action_type":"marketing_messages_link_click"}]`)),
			[]string{"in text at=1795435200 phone=4917 text=hi", "acct messages at=never waba=W1"}},
		{"errors beside messages", change("messages", value(from+`,"errors":[{"code":131000}]`)),
			[]string{"in text at=1795435200 phone=4917 text=hi", "acct messages at=never waba=W1"}},
		{"empty arrays beside messages say nothing", change("messages", value(from+`,"errors":[],"statuses":[],"contacts":[]`)),
			[]string{"in text at=1795435200 phone=4917 text=hi"}},
		{"empty messages", change("messages", value(`"messages":[]`)), []string{"acct messages at=never waba=W1"}},
		{"type unknown, a word from the future", change("messages", value(`"messages":[{"from":"1","id":"wamid.1","type":"hologram"}]`)),
			[]string{"in hologram at=never phone=1"}},
		{"type missing", change("messages", value(`"messages":[{"from":"1","id":"wamid.1","text":{"body":"hi"}}]`)),
			[]string{"in text at=never phone=1 text=hi"}},
		{"type that must not stand unsealed", change("messages", value(`"messages":[{"from":"1","id":"wamid.1","type":"call +49 17"}]`)),
			[]string{"in other at=never phone=1"}},
		{"interactive without its object", change("messages", value(`"messages":[{"from":"1","id":"wamid.1","type":"interactive"}]`)),
			[]string{"in interactive at=never phone=1"}},
		{"text of the wrong type", change("messages", value(`"messages":[{"from":"1","id":"wamid.1","type":"text","text":"hi"}]`)),
			[]string{"in text at=never phone=1"}},
		{"legacy change of number", change("messages", value(`"messages":[{"from":"1","id":"wamid.1","type":"system","system":{"type":"customer_changed_number","body":"moved","new_wa_id":"2"}}]`)),
			[]string{"in system at=never phone=2 was=1 text=moved"}},
		{"group status of one participant", change("messages", value(`"statuses":[{"id":"wamid.1","status":"read","recipient_type":"group","recipient_id":"Y2Fw","recipient_participant_id":"4917","conversation":{"pricing":{"category":"group_service"}}}]`)),
			[]string{"st read at=never phone=4917 category=group_service"}},
		{"foreign callback data", change("messages", value(`"statuses":[{"id":"wamid.1","status":"sent","biz_opaque_callback_data":"order 7"}]`)),
			[]string{"st sent at=never"}},
		{"error code as text", change("messages", value(`"statuses":[{"id":"wamid.1","status":"failed","errors":[{"code":"131026"},{"code":1}]}]`)),
			[]string{"st failed at=never code=131026"}},
		{"call status without a field", []byte(`{"entry":[{"id":"W1","changes":[{"value":` + value(`"statuses":[{"id":"wacid.1","type":"call","status":"RINGING"}]`) + `}]}]}`),
			[]string{"acct  at=never waba=W1"}},
		{"no number: cannot be placed", change("messages", `{`+from+`}`), []string{"acct messages at=never waba=W1"}},
		{"number that is no token", change("messages", `{"metadata":{"phone_number_id":"1.>.*"},`+from+`}`), []string{"acct messages at=never waba=W1"}},
		{"messages under a field that must not be answered", change("standby", value(from)), []string{"acct standby at=never waba=W1"}},
		{"echo of an edit", change("smb_message_echoes", value(`"message_echoes":[{"from":"1555","to":"US.1","id":"wamid.1","type":"edit","edit":{"original_message_id":"wamid.0","message":{"type":"text","text":{"body":"new"}}}}]`)),
			[]string{"in edit echo=true at=never user=US.1 text=new to=wamid.0"}},
		{"empty change", []byte(`{"entry":[{"id":"W1","changes":[{}]}]}`), []string{"acct  at=never waba=W1"}},
		{"change of another kind", []byte(`{"entry":[{"id":"W1","changes":[null,[1],"x"]}]}`),
			[]string{"acct  at=never waba=W1", "acct  at=never waba=W1", "acct  at=never waba=W1"}},
		{"entry of another product", []byte(`{"object":"page","entry":[{"id":7,"time":1795435200000,"messaging":[{"text":"x"}]},3]}`),
			[]string{"acct  at=1795435200 waba=7", "acct  at=never"}},
		{"entry without anything", []byte(`{"entry":[{"id":"W1","changes":[]}]}`), nil},
		{"no entries", []byte(`{"entry":[]}`), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := lines(t, test.body); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", test.want) {
				t.Errorf("got\n%q\nwant\n%q", got, test.want)
			}
		})
	}
}

func TestParseWebhookRefusesOnlyWhatIsNoWebhook(t *testing.T) {
	t.Parallel()
	for _, body := range []string{``, `x`, `[]`, `null`, `{}`, `{"entry":null}`, `{"entry":{}}`, `{"entry":[}`, `{"entry":[]} {}`,
		`{"entry":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`} {
		if _, err := cloudapi.ParseWebhook([]byte(body)); domain.KindOf(err) != domain.Malformed {
			t.Errorf("%.20q: got %v, want malformed", body, err)
		}
	}
	if _, err := cloudapi.ParseWebhook([]byte(`{"entry":[` + strings.Repeat("0,", 30_000) + `0]}`)); domain.KindOf(err) != domain.TooLarge {
		t.Errorf("an absurd number of entries: got %v", err)
	}
}

// An absurd number of elements is kept in bulk: still everything, still cheap.
func TestParseWebhookKeepsAbsurdBodiesInBulk(t *testing.T) {
	t.Parallel()
	many := strings.Repeat(`{"from":"1","id":"wamid.1"},`, 20_001)
	for _, body := range [][]byte{
		change("messages", value(`"messages":[`+strings.TrimSuffix(many, ",")+`]`)),
		[]byte(`{"entry":[{"id":"W1","changes":[` + strings.TrimSuffix(strings.Repeat("{},", 20_001), ",") + `]}]}`),
	} {
		d := parse(t, body)
		if len(d.Changes) != 1 || len(d.Changes[0].Items) != 1 {
			t.Fatalf("got %d changes", len(d.Changes))
		}
		notice := d.Changes[0].Items[0].Fact.(*message.AccountNotice)
		if len(notice.Raw) < len(body)/2 {
			t.Error("the notice does not hold what was sent")
		}
	}
}

func TestParseWebhookRoutes(t *testing.T) {
	t.Parallel()
	c := parse(t, read(t, "webhooks/account_partner_added.json")).Changes[0]
	if c.Entry != "2949482758682047" || c.WABA != "980198427658004" || c.Number != "" || c.Field != "account_update" ||
		!c.Time.Equal(time.Unix(1795000800, 0)) {
		t.Errorf("a partner event names its account inside: %+v", c)
	}
	c = parse(t, read(t, "webhooks/text_basic.json")).Changes[0]
	if c.Entry != "102290129340398" || c.WABA != c.Entry || c.Number != "106540352242922" || c.Field != "messages" || !c.Time.IsZero() {
		t.Errorf("a message names number and account: %+v", c)
	}
}

// What is sealed and what may be read by anyone who may read the log: ids,
// texts and names never stand in the open part of an event.
func TestFactsKeepPeopleSealed(t *testing.T) {
	t.Parallel()
	for _, name := range names(t, "webhooks") {
		for _, c := range parse(t, read(t, "webhooks/"+name)).Changes {
			for _, i := range c.Items {
				e, err := domain.NewEvent(domain.Key{Kind: i.Kind, Number: c.Number}, time.Unix(0, 0), "meta", i.Fact)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				for _, person := range []string{"wamid", "1650555", "US.1", "Sheena", "hello"} {
					if bytes.Contains(e.Facts, []byte(person)) {
						t.Errorf("%s: %q stands unsealed in %s", name, person, e.Facts)
					}
				}
			}
		}
	}
}

// What Meta says of a failure in its own words is kept, sealed.
func TestFailedStatusKeepsDetails(t *testing.T) {
	t.Parallel()
	for errors, want := range map[string]string{
		`[{"code":131026,"title":"Undeliverable","error_data":{"details":"16505551234 is not here"}},{"code":1,"error_data":{"details":"no"}}]`: "16505551234 is not here",
		`[{"code":131026,"title":"Undeliverable","message":"Message undeliverable"}]`:                                                           "Message undeliverable",
		`[]`: "",
	} {
		body := change("messages", value(`"statuses":[{"id":"wamid.1","status":"failed","timestamp":"1","recipient_id":"16505551234","errors":`+errors+`}]`))
		f := parse(t, body).Changes[0].Items[0].Fact.(*message.StatusReceived)
		e, err := domain.NewEvent(domain.Key{}, time.Unix(0, 0), "meta", f)
		if err != nil {
			t.Fatal(err)
		}
		if f.Details != want || want != "" && bytes.Contains(e.Facts, []byte(want)) {
			t.Errorf("%s: %q, facts %s", errors, f.Details, e.Facts)
		}
	}
}

var wamids = regexp.MustCompile(`wa[mc]id\.[A-Za-z0-9+/=_-]+`)

// Nothing is lost: every id of a body occurs in the facts made of it, and the
// verbatim JSON of every message is in its fact, byte for byte.
func TestParseWebhookLosesNothing(t *testing.T) {
	t.Parallel()
	for _, name := range names(t, "webhooks") {
		body := read(t, "webhooks/"+name)
		kept := ""
		for _, c := range parse(t, body).Changes {
			if !bytes.Contains(body, c.Raw) {
				t.Errorf("%s: the change is not verbatim", name)
			}
			if len(c.Items) == 0 {
				t.Errorf("%s: a change without an item", name)
			}
			for _, i := range c.Items {
				var raw json.RawMessage
				switch f := i.Fact.(type) {
				case *message.InboundReceived:
					raw = f.Raw
				case *message.StatusReceived:
					raw = f.Raw
				case *message.AccountNotice:
					raw = f.Raw
				}
				if !bytes.Contains(c.Raw, raw) {
					t.Errorf("%s: an item is not verbatim", name)
				}
				kept += string(raw)
			}
		}
		for _, id := range wamids.FindAllString(string(body), -1) {
			if !strings.Contains(kept, id) {
				t.Errorf("%s: %s is lost", name, id)
			}
		}
	}
}

// The ids of section 4.4: told again is the same event, told otherwise another.
func TestEventIDs(t *testing.T) {
	t.Parallel()
	id := func(body []byte) domain.EventID {
		t.Helper()
		items := parse(t, body).Changes[0].Items
		if len(items) != 1 {
			t.Fatalf("%d items", len(items))
		}
		return items[0].ID
	}
	status := func(members string) []byte { return change("messages", value(`"statuses":[{`+members+`}]`)) }
	sent := id(status(`"id":"wamid.1","status":"sent","timestamp":"1"`))
	same := map[string][]byte{
		"later, with a price": status(`"timestamp":2,"status":"sent","id":"wamid.1","pricing":{"category":"service"}`),
	}
	other := map[string][]byte{
		"another status":      status(`"id":"wamid.1","status":"read"`),
		"another message":     status(`"id":"wamid.2","status":"sent"`),
		"another participant": status(`"id":"wamid.1","status":"sent","recipient_participant_id":"1"`),
	}
	for name, body := range same {
		if id(body) != sent {
			t.Errorf("%s: another id", name)
		}
	}
	for name, body := range other {
		if id(body) == sent {
			t.Errorf("%s: the same id", name)
		}
	}
	inbound := id(change("messages", value(`"messages":[{"from":"1","id":"wamid.1"}]`)))
	if id(change("messages", value(`"messages":[{"from":"1","id":"wamid.1","type":"text"}]`))) != inbound {
		t.Error("the same message told again has another id")
	}
	if id(change("smb_message_echoes", value(`"message_echoes":[{"to":"1","id":"wamid.1"}]`))) == inbound {
		t.Error("an echo has the id of a message")
	}
	notice := id(change("flows", `{"a":1, "b":[1.0]}`))
	if id(change("flows", `{"b":[1.0],"a":1}`)) != notice {
		t.Error("the order of keys changes a notice's id")
	}
	if id(change("flows", `{"b":[1],"a":1}`)) == notice || id(change("security", `{"a":1,"b":[1.0]}`)) == notice {
		t.Error("another notice has the same id")
	}
}

func TestIdsKeepEveryDigit(t *testing.T) {
	t.Parallel()
	body := []byte(`{"entry":[{"id":102290129340398123,"time":1795435200,"changes":[{"field":"messages","value":{"metadata":{"phone_number_id":106540352242922987},"statuses":[{"id":"wamid.1","status":"sent","recipient_id":16505551234567891}]}}]}]}`)
	c := parse(t, body).Changes[0]
	person := c.Items[0].Fact.(*message.StatusReceived).Person
	if c.Entry != "102290129340398123" || c.Number != "106540352242922987" || person.Phone != "16505551234567891" {
		t.Errorf("digits were lost: %s %s %s", c.Entry, c.Number, person.Phone)
	}
}

func TestInboundNamesItsMessage(t *testing.T) {
	t.Parallel()
	c := parse(t, read(t, "webhooks/smb_message_echo_text.json")).Changes[0]
	f := c.Items[0].Fact.(*message.InboundReceived)
	if f.Message != message.InboundID(c.Number, f.Wamid, true) || c.Items[0].Key != f.Wamid || c.Items[0].Kind != domain.KindInbound {
		t.Errorf("got %+v", f)
	}
	c = parse(t, read(t, "webhooks/text_basic.json")).Changes[0]
	f = c.Items[0].Fact.(*message.InboundReceived)
	if f.Message != message.InboundID(c.Number, f.Wamid, false) || len(f.Contact) == 0 {
		t.Errorf("got %+v", f)
	}
}

// FuzzParseWebhook: any bytes give an error or changes that all have items
// with an id, a verbatim piece of the body, and facts that can be recorded.
func FuzzParseWebhook(f *testing.F) {
	for _, name := range names(f, "webhooks") {
		f.Add(read(f, "webhooks/"+name))
	}
	f.Add([]byte(`{"entry":[{"changes":[{"value":{"metadata":{"phone_number_id":"1"},"messages":[{"from":"+9","id":"w"}]}}]},{},[],null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := cloudapi.ParseWebhook(body)
		if err != nil {
			return
		}
		again, _ := cloudapi.ParseWebhook(body)
		for n, c := range d.Changes {
			if len(c.Items) == 0 || !bytes.Contains(body, c.Raw) {
				t.Fatalf("change %d: %d items", n, len(c.Items))
			}
			for k, i := range c.Items {
				if i.ID == "" || i.ID != again.Changes[n].Items[k].ID {
					t.Fatalf("item %d: id %q is not stable", k, i.ID)
				}
				if i.Kind != domain.KindAccount && c.Number == "" {
					t.Fatalf("item %d: %s without a number", k, i.Kind)
				}
				if _, err := domain.NewEvent(domain.Key{Kind: i.Kind}, time.Unix(0, 0), "meta", i.Fact); err != nil {
					t.Fatalf("item %d cannot be recorded: %v", k, err)
				}
			}
		}
	})
}
