package message_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// row is a message object and the pointers of all its faults, in order and
// separated by spaces; none: it is accepted.
type row struct{ content, faults string }

// judge runs rows, each as a request to somebody.
func judge(t *testing.T, rows map[string]row) {
	t.Helper()
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := message.Request{Tenant: "ten_a", Number: "106540352242922", To: somebody, Content: []byte(r.content), Actor: "api"}
			if strings.Contains(r.content, `"status"`) {
				q.To = ""
			}
			a, log := newAccepter()
			_, err := a.Accept(t.Context(), q)
			if got := pointers(err); got != r.faults {
				t.Errorf("faults %q, want %q: %+v", got, r.faults, err)
			}
			if err != nil && (domain.KindOf(err) != domain.Invalid || len(log.All()) != 0) {
				t.Errorf("kind %s, %d events recorded", domain.KindOf(err), len(log.All()))
			}
		})
	}
}

// pointers joins the pointers of an error's faults.
func pointers(err error) string {
	var all []string
	if e, ok := errors.AsType[*domain.Error](err); ok {
		for _, f := range e.Faults {
			if f.Pointer == "" {
				f.Pointer = "(all)"
			}
			all = append(all, f.Pointer)
		}
	}
	return strings.Join(all, " ")
}

// x is a text of n letters, and smiles one of n UTF-16 units made of emoji.
func x(n int) string      { return strings.Repeat("x", n) }
func smiles(n int) string { return strings.Repeat("\U0001f600", n/2) }

// times writes an element n times, with its index where it says %.
func times(n int, element string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = strings.ReplaceAll(element, "%", string(rune('a'+i%26))+x(i/26))
	}
	return "[" + strings.Join(all, ",") + "]"
}

const aWamid = "wamid.HBgLMTY1MDU1NTEyMzQVAgASGBQzQTdGN0VGOUM5QTg4RkQwQTlDNAA="

// Text in both forms, and what may stand beside the content of any type.
func TestText(t *testing.T) {
	t.Parallel()
	text := func(in string) string { return `{"type":"text","text":{` + in + `}}` }
	with := func(in string) string { return `{"text":{"body":"hi"},` + in + `}` }
	judge(t, map[string]row{
		"a body":                 {text(`"body":"hi"`), ""},
		"the short form":         {`{"text":"hi"}`, ""},
		"the short form, typed":  {`{"type":"text","text":"hi"}`, ""},
		"4096":                   {text(`"body":"` + smiles(4096) + `"`), ""},
		"4097":                   {text(`"body":"` + smiles(4096) + `x"`), "/text/body"},
		"4097, short":            {`{"text":"` + x(4097) + `"}`, "/text"},
		"empty":                  {text(`"body":""`), "/text/body"},
		"blank":                  {text(`"body":"\n "`), "/text/body"},
		"no body":                {text(``), "/text/body"},
		"no text":                {`{"type":"text"}`, "/text"},
		"a type forgotten":       {`{"image":{"id":"1"}}`, "/type"},
		"and more that is wrong": {`{"image":{"id":"1","alt":"x"}}`, "/type /image/alt"},
		"a picture beside":       {`{"text":"hi","image":{"id":"1"}}`, "/image"},
		"a number":               {`{"text":5}`, "/text"},
		"a null":                 {`{"text":null}`, "/text"},
		"preview":                {text(`"body":"hi","preview_url":true`), ""},
		"preview in words":       {text(`"body":"hi","preview_url":"yes"`), "/text/preview_url"},
		"a stranger inside":      {text(`"body":"hi","Body":"x","a/b":1`), "/text/Body /text/a~1b"},
		"another type's content": {`{"type":"text","text":{"body":"hi"},"image":{"id":"1"}}`, "/image"},
		"unknown type":           {`{"type":"hologram","hologram":{}}`, "/type"},
		"type in capitals":       {`{"type":"TEXT","text":{"body":"hi"}}`, "/type"},
		"type is a list":         {`{"type":["text"],"text":{"body":"hi"}}`, "/type"},
		"nothing":                {`{}`, "/text"},
		"a list":                 {`[]`, "(all)"},
		"a null for all":         {`null`, "(all)"},
		"two objects":            {`{"text":"hi"}{}`, "(all)"},
		"not UTF-8":              {"{\"text\":\"\xff\"}", "(all)"},

		"the product":              {with(`"messaging_product":"whatsapp"`), ""},
		"another product":          {with(`"messaging_product":"sms"`), "/messaging_product"},
		"an answer":                {with(`"context":{"message_id":"` + aWamid + `"}`), ""},
		"an answer to nothing":     {with(`"context":{}`), "/context/message_id"},
		"an answer to another id":  {with(`"context":{"message_id":"gBGG"}`), "/context/message_id"},
		"an id of 512":             {with(`"context":{"message_id":"wamid.` + x(506) + `"}`), ""},
		"an id of 513":             {with(`"context":{"message_id":"wamid.` + x(507) + `"}`), "/context/message_id"},
		"accounts and a key":       {with(`"messaging_account_id":"1","paid_messaging_account_id":"1","recipient_identity_key_hash":"Zm9v="`), ""},
		"an account as a number":   {with(`"messaging_account_id":1`), "/messaging_account_id"},
		"our callback data":        {with(`"biz_opaque_callback_data":"mine"`), "/biz_opaque_callback_data"},
		"a recipient inside":       {with(`"to":"+14155550100","recipient":"US.1","recipient_type":"individual"`), "/recipient /recipient_type /to"},
		"a policy of templates":    {with(`"product_policy":"STRICT"`), "/product_policy"},
		"an ordinary category":     {with(`"category":"service"`), ""},
		"faults are many, not all": {`{"text":"hi",` + strings.Trim(times(200, `"%%":1`), "[]") + `}`, strings.TrimSpace(many(100))},
	})
}

// many returns the first n pointers of the row with 200 strangers.
func many(n int) string {
	names := map[string]bool{}
	for i := range 200 {
		s := string(rune('a'+i%26)) + x(i/26)
		names[s+s] = true
	}
	return sorted(names, n)
}

func sorted(names map[string]bool, n int) string {
	var all []string
	for len(all) < n {
		least := ""
		for name := range names {
			if least == "" || name < least {
				least = name
			}
		}
		delete(names, least)
		all = append(all, "/"+least)
	}
	return strings.Join(all, " ")
}

// Every kind of media: one of id and link, and what else it may have.
func TestMedia(t *testing.T) {
	t.Parallel()
	rows := map[string]row{}
	has := map[string]string{"audio": "voice", "document": "caption filename", "image": "caption", "sticker": "", "video": "caption"}
	values := map[string]string{"voice": `true`, "caption": `"c"`, "filename": `"f.pdf"`}
	for kind, fields := range has {
		media := func(in string) string { return `{"type":"` + kind + `","` + kind + `":{` + in + `}}` }
		at := "/" + kind
		rows[kind+" by id"] = row{media(`"id":"1013859600285441"`), ""}
		rows[kind+" by link"] = row{media(`"link":"https://x.example/a?b=c#d"`), ""}
		rows[kind+" by both"] = row{media(`"id":"1","link":"https://x.example/a"`), at}
		rows[kind+" by neither"] = row{media(``), at}
		rows[kind+" by nothing"] = row{`{"type":"` + kind + `"}`, at}
		rows[kind+" as a string"] = row{`{"type":"` + kind + `","` + kind + `":"1"}`, at}
		rows[kind+", number for an id"] = row{media(`"id":1`), at + "/id"}
		rows[kind+", empty id"] = row{media(`"id":""`), at + "/id"}
		rows[kind+", id of 257"] = row{media(`"id":"` + x(257) + `"`), at + "/id"}
		for bad, link := range map[string]string{"ftp": "ftp://x.example/a", "no host": "https:///a", "a path": "/a.png", "a space": "https://x.example/a b", "8193": "https://x.example/" + x(8175)} {
			rows[kind+", link: "+bad] = row{media(`"link":"` + link + `"`), at + "/link"}
		}
		for field, value := range values {
			r := row{media(`"id":"1","` + field + `":` + value), at + "/" + field}
			if strings.Contains(fields, field) {
				r.faults = ""
			}
			rows[kind+" with "+field] = r
		}
		if strings.Contains(fields, "caption") {
			rows[kind+", caption of 1024"] = row{media(`"id":"1","caption":"` + smiles(1024) + `"`), ""}
			rows[kind+", caption of 1025"] = row{media(`"id":"1","caption":"` + smiles(1024) + `x"`), at + "/caption"}
		}
	}
	rows["voice in words"] = row{`{"type":"audio","audio":{"id":"1","voice":"true"}}`, "/audio/voice"}
	judge(t, rows)
}

// Places and reactions.
func TestLocationAndReaction(t *testing.T) {
	t.Parallel()
	location := func(in string) string { return `{"type":"location","location":{` + in + `}}` }
	reaction := func(in string) string {
		return `{"type":"reaction","reaction":{"message_id":"` + aWamid + `"` + in + `}}`
	}
	judge(t, map[string]row{
		"strings":            {location(`"latitude":"37.44216251868683","longitude":"-122.16153582049394"`), ""},
		"numbers":            {location(`"latitude":-90,"longitude":180.0,"name":"N","address":"A"`), ""},
		"too far north":      {location(`"latitude":90.1,"longitude":0`), "/location/latitude"},
		"too far west":       {location(`"latitude":"0","longitude":"-180.01"`), "/location/longitude"},
		"nowhere":            {location(``), "/location/latitude /location/longitude"},
		"not a number":       {location(`"latitude":"NaN","longitude":"east"`), "/location/latitude /location/longitude"},
		"a name of 4097":     {location(`"latitude":0,"longitude":0,"name":"` + x(4097) + `"`), "/location/name"},
		"a reaction":         {reaction(`,"emoji":"😀"`), ""},
		"escaped":            {reaction(`,"emoji":"\ud83d\ude00"`), ""},
		"a keycap":           {reaction(`,"emoji":"1️⃣"`), ""},
		"a family":           {reaction(`,"emoji":"👩🏽‍❤️‍💋‍👨🏿"`), ""},
		"taken back":         {reaction(`,"emoji":""`), ""},
		"no emoji":           {reaction(``), "/reaction/emoji"},
		"words":              {reaction(`,"emoji":"ok"`), "/reaction/emoji"},
		"two, with a space":  {reaction(`,"emoji":"😀 😀"`), "/reaction/emoji"},
		"far too many":       {reaction(`,"emoji":"` + smiles(66) + `"`), "/reaction/emoji"},
		"an answering one":   {`{"type":"reaction","reaction":{"message_id":"` + aWamid + `","emoji":"😀"},"context":{"message_id":"` + aWamid + `"}}`, "/context"},
		"to nothing":         {`{"type":"reaction","reaction":{"emoji":"😀"}}`, "/reaction/message_id"},
		"to an id with stop": {`{"type":"reaction","reaction":{"message_id":"wamid.a b","emoji":"😀"}}`, "/reaction/message_id"},
	})
}

// Contacts.
func TestContacts(t *testing.T) {
	t.Parallel()
	contacts := func(in string) string { return `{"type":"contacts","contacts":` + in + `}` }
	const ann = `{"name":{"formatted_name":"Ann","first_name":"A"}}`
	with := func(in string) string {
		return contacts(`[{"name":{"formatted_name":"Ann","suffix":"Jr"},` + in + `}]`)
	}
	judge(t, map[string]row{
		"one":                  {contacts(`[` + ann + `]`), ""},
		"none":                 {contacts(`[]`), "/contacts"},
		"257":                  {contacts(times(257, ann)), ""},
		"258":                  {contacts(times(258, ann)), "/contacts"},
		"no list":              {contacts(ann), "/contacts"},
		"no name":              {contacts(`[` + ann + `,{}]`), "/contacts/1/name"},
		"one name only":        {contacts(`[{"name":{"formatted_name":"Ann","last_name":""}}]`), "/contacts/0/name"},
		"no formatted name":    {contacts(`[{"name":{"first_name":"A"}}]`), "/contacts/0/name/formatted_name"},
		"a birthday":           {with(`"birthday":"1999-01-23"`), ""},
		"an impossible one":    {with(`"birthday":"1999-02-30"`), "/contacts/0/birthday"},
		"everything":           {with(`"org":{"company":"","department":"","title":""},"phones":[{"phone":"+1","type":"Mobile","wa_id":"1"}],"emails":[{"email":"","type":"Work"}],"addresses":[{"street":"","city":"","state":"","zip":"","country":"","country_code":"US","type":"Home"}],"urls":[{"url":"","type":"Company"}]`), ""},
		"a stranger in a list": {with(`"phones":[{"phone":"1"},{"fax":"1"}]`), "/contacts/0/phones/1/fax"},
		"a phone as a number":  {with(`"phones":[{"phone":1}]`), "/contacts/0/phones/0/phone"},
	})
}

// Marking as read, and the typing indicator, are to nobody and have a type of
// their own.
func TestReadAndTyping(t *testing.T) {
	t.Parallel()
	judge(t, map[string]row{
		"read":             {`{"status":"read","message_id":"` + aWamid + `"}`, ""},
		"typing":           {`{"messaging_product":"whatsapp","status":"read","message_id":"` + aWamid + `","typing_indicator":{"type":"text"}}`, ""},
		"typing what":      {`{"status":"read","message_id":"` + aWamid + `","typing_indicator":{"type":"audio"}}`, "/typing_indicator/type"},
		"another status":   {`{"status":"delivered","message_id":"` + aWamid + `"}`, "/status"},
		"of what":          {`{"status":"read"}`, "/message_id"},
		"and a text":       {`{"status":"read","message_id":"` + aWamid + `","text":"hi"}`, "/text"},
		"with a type":      {`{"status":"read","message_id":"` + aWamid + `","type":"text"}`, "/type"},
		"with our opaque":  {`{"status":"read","message_id":"` + aWamid + `","biz_opaque_callback_data":"x"}`, "/biz_opaque_callback_data"},
		"a type of ours":   {`{"type":"read","message_id":"` + aWamid + `"}`, "/type"},
		"status is a list": {`{"status":[],"message_id":"` + aWamid + `"}`, "/status"},
	})
	for kind, content := range map[string]string{
		message.ReadReceipt: `{"status":"read","message_id":"` + aWamid + `"}`,
		message.Typing:      `{"status":"read","message_id":"` + aWamid + `","typing_indicator":{"type":"text"}}`,
	} {
		a, log := newAccepter()
		q := request(func(q *message.Request) { q.Text, q.Content, q.Recipient = "", []byte(content), "US.1" })
		if _, err := a.Accept(t.Context(), q); pointers(err) != "/to /recipient" {
			t.Errorf("%s to somebody: %v", kind, err)
		}
		q.To, q.Recipient = "", ""
		if _, err := a.Accept(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		var f message.SendRequested
		if err := log.All()[0].Decode(&f); err != nil || f.Type != kind || f.To != "" || message.Addressed(f.Type) {
			t.Errorf("recorded %+v, %v", f, err)
		}
	}
}

// Each of Meta's own samples is accepted, and recorded as it is but for its
// envelope.
func TestSamplesAreAccepted(t *testing.T) {
	t.Parallel()
	for name, sample := range samples(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q, opaque := requestOf(t, sample)
			a, log := newAccepter()
			_, err := a.Accept(t.Context(), q)
			if opaque {
				if pointers(err) != "/biz_opaque_callback_data" {
					t.Fatalf("callback data of the tenant: %v", err)
				}
				delete(sample, "biz_opaque_callback_data")
				q, _ = requestOf(t, sample)
				_, err = a.Accept(t.Context(), q)
			}
			if err != nil {
				t.Fatal(pointers(err), err)
			}
			var f message.SendRequested
			if err := log.All()[0].Decode(&f); err != nil {
				t.Fatal(err)
			}
			want, err := json.Marshal(without(sample, "to", "recipient", "recipient_type", "messaging_product"))
			if err != nil {
				t.Fatal(err)
			}
			if !sameJSON(t, f.Content, want) {
				t.Errorf("recorded %s\nwant %s", f.Content, want)
			}
		})
	}
}

// samples reads Meta's samples of bodies to send.
func samples(t testing.TB) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "send-requests", "*.json"))
	if err != nil || len(files) != 38 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	all := map[string]map[string]any{}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var body map[string]any
		if err := json.Unmarshal(b, &body); err != nil {
			t.Fatal(path, err)
		}
		all[filepath.Base(path)] = body
	}
	return all
}

// requestOf makes a request of a body of Meta's, and says whether it has
// callback data.
func requestOf(t testing.TB, body map[string]any) (message.Request, bool) {
	t.Helper()
	q := message.Request{Tenant: "ten_a", Number: "106540352242922", Actor: "api"}
	q.To, _ = body["to"].(string)
	q.Recipient, _ = body["recipient"].(string)
	q.RecipientType, _ = body["recipient_type"].(string)
	content, err := json.Marshal(without(body, "to", "recipient", "recipient_type"))
	if err != nil {
		t.Fatal(err)
	}
	q.Content = content
	_, opaque := body["biz_opaque_callback_data"]
	return q, opaque
}

func without(body map[string]any, names ...string) map[string]any {
	rest := map[string]any{}
	for name, value := range body {
		rest[name] = value
	}
	for _, name := range names {
		delete(rest, name)
	}
	return rest
}

func sameJSON(t testing.TB, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatal(err)
	}
	ax, _ := json.Marshal(x)
	by, _ := json.Marshal(y)
	return string(ax) == string(by)
}

// A type nobody here knows is sent when the tenant wants it unseen, and only
// its outside is looked at.
func TestUnvalidated(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		`{"type":"hologram","hologram":{"depth":[null,1e400]},"new":true}`: "",
		`{"text":{"body":"","shiny":1}}`:                                   "",
		`{"type":"text","text":{},"context":{}}`:                           "",
		`{"status":"read","message_id":"x","new":1}`:                       "/to",
		`{"type":"a b"}`:    "/type",
		`{"type":""}`:       "/type",
		`{"type":1}`:        "/type",
		`{"type":"read"}`:   "/type",
		`{"type":"typing"}`: "/type",
		`{"type":"x","biz_opaque_callback_data":"y"}`: "/biz_opaque_callback_data",
		`{"type":"x","to":"y"}`:                       "/to",
		`{"type":"x","messaging_product":"y"}`:        "/messaging_product",
		`{"type":"x","x":"` + x(384<<10) + `"}`:       "(all)",
		`[]`:                                          "(all)",
	} {
		a, log := newAccepter()
		_, err := a.Accept(t.Context(), request(func(q *message.Request) {
			q.Text, q.Content, q.Unvalidated = "", []byte(content), true
		}))
		if got := pointers(err); got != want {
			t.Errorf("%.80s: faults %q, want %q", content, got, want)
		}
		if want != "" {
			continue
		}
		var f message.SendRequested
		if err := log.All()[0].Decode(&f); err != nil || !f.Unvalidated {
			t.Errorf("%s: %+v, %v", content, f, err)
		}
	}
}

// Whatever the bytes are, they are judged and not stumbled over; what is
// accepted is recorded in one form that is accepted again, as the same.
func FuzzContent(f *testing.F) {
	for _, sample := range samples(f) {
		q, _ := requestOf(f, sample)
		f.Add([]byte(q.Content), false)
	}
	f.Add([]byte(`{"type":"interactive","interactive":{"type":"carousel","body":{"text":"x"},"action":{"cards":[{"type":{}},{"type":{}}]}}}`), false)
	f.Add([]byte(`{"type":"x","x":1e400}`), true)
	f.Fuzz(func(t *testing.T, content []byte, unvalidated bool) {
		recorded := func(content []byte) (message.SendRequested, bool) {
			a, log := newAccepter()
			q := message.Request{Tenant: "ten_a", Number: "1", Content: content, Unvalidated: unvalidated}
			if _, err := a.Accept(context.Background(), q); pointers(err) != "" {
				q.To = somebody
				if _, err := a.Accept(context.Background(), q); err != nil {
					return message.SendRequested{}, false
				}
			}
			var f message.SendRequested
			if err := log.All()[0].Decode(&f); err != nil {
				t.Fatal(err)
			}
			return f, true
		}
		first, ok := recorded(content)
		if !ok {
			return
		}
		again, ok := recorded(first.Content)
		if !ok || again.Fingerprint != first.Fingerprint || string(again.Content) != string(first.Content) || again.Type != first.Type {
			t.Fatalf("%q was accepted as\n%s\nbut then (%t) as\n%s", content, first.Content, ok, again.Content)
		}
	})
}

// BenchmarkAccept is the price of judging one request, beside a log that costs
// nothing.
func BenchmarkAccept(b *testing.B) {
	all := samples(b)
	for _, name := range []string{"text.json", "interactive_list.json", "template_carousel.json"} {
		q, _ := requestOf(b, all[name])
		b.Run(strings.TrimSuffix(name, ".json"), func(b *testing.B) {
			a, _ := newAccepter()
			a.Log = away{}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Accept(context.Background(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Nothing in a sample goes unseen: a value of the wrong kind is a fault in any
// place of it, and so is a member that Meta does not know, each with that very
// place. Only what a tenant hands to its own flow, and the values of an
// address, are its own.
func TestEveryPlaceIsJudged(t *testing.T) {
	t.Parallel()
	own := []string{"/flow_action_data/", "/flow_action_payload/data/", "/action/parameters/values/"}
	judged := 0
	for name, sample := range samples(t) {
		delete(sample, "biz_opaque_callback_data")
		wrong := func(at string) {
			q, _ := requestOf(t, sample)
			a, _ := newAccepter()
			_, err := a.Accept(t.Context(), q)
			judged++
			if !slices.Contains(strings.Fields(pointers(err)), at) {
				t.Errorf("%s: something is wrong at %s, and the faults are %q", name, at, pointers(err))
			}
		}
		places(sample, "", func(at string, object map[string]any, set func(any), was any) {
			if slices.ContainsFunc(own, func(s string) bool { return strings.Contains(at+"/", s) && !strings.HasSuffix(at+"/", s) }) {
				return
			}
			if object != nil && !slices.ContainsFunc(own, func(s string) bool { return strings.HasSuffix(at+"/", s) }) {
				object["shiny"] = 1
				wrong(at + "/shiny")
				delete(object, "shiny")
			}
			if set == nil || slices.Contains([]string{"/to", "/recipient", "/recipient_type"}, at) { // no part of the content
				return
			}
			for _, value := range []any{nil, 1e300, []any{}, map[string]any{}} {
				if reflect.TypeOf(value) != reflect.TypeOf(was) {
					set(value)
					wrong(at)
				}
			}
			set(was)
		})
	}
	if judged < 2000 {
		t.Errorf("%d places were judged", judged)
	}
}

// places visits every object and every value of a decoded JSON text; set
// replaces the value, except the outermost.
func places(v any, at string, visit func(at string, object map[string]any, set func(any), was any)) {
	step := func(name string, value any, set func(any)) {
		object, _ := value.(map[string]any)
		visit(at+"/"+name, object, set, value)
		places(value, at+"/"+name, visit)
	}
	switch v := v.(type) {
	case map[string]any:
		if at == "" {
			visit("", v, nil, nil)
		}
		for name, value := range v {
			step(name, value, func(other any) { v[name] = other })
		}
	case []any:
		for i, value := range v {
			step(strconv.Itoa(i), value, func(other any) { v[i] = other })
		}
	}
}
