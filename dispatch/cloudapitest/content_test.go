package cloudapitest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
)

const messages = "/v25.0/" + string(number) + "/messages"

// requests are the reference's samples of requests, which every room that sends
// is held to.
const requests = "../../domain/message/testdata/send-requests"

// fixture reads one of the reference's samples.
func fixture(t *testing.T, name string) string {
	t.Helper()
	dir := "testdata"
	if strings.HasPrefix(name, "send-requests/") {
		dir = filepath.Dir(requests)
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every sample of a request is accepted as it is, in the ledger with its type,
// and told of; marking as read and typing are done and are no message.
func TestAcceptsEverySample(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(requests + "/*.json")
	if err != nil || len(files) < 38 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t)
			s := start(t, a, nil)
			body := fixture(t, "send-requests/"+name)
			var asked struct{ Type, Status string }
			if err := json.Unmarshal([]byte(body), &asked); err != nil {
				t.Fatal(err)
			}
			to := s.URL() + messages
			if strings.HasPrefix(name, "marketing") {
				to = s.URL() + "/v25.0/" + string(number) + "/marketing_messages"
			}
			status, _, answer := post(t, to, "Bearer "+token, body)
			settle(t, s)
			if asked.Status == "read" {
				if status != 200 || string(answer) != `{"success":true}` || len(s.Ledger()) != 0 {
					t.Errorf("%d %s", status, answer)
				}
				return
			}
			calls := s.Ledger()
			if status != 200 || len(calls) != 1 || calls[0].Type != asked.Type || !strings.Contains(string(answer), calls[0].Wamid) {
				t.Fatalf("%d %s: %+v", status, answer, calls)
			}
			told := 3
			if asked.Type == "reaction" {
				told = 1
			}
			if got := len(a.items(t)); got != told {
				t.Errorf("%d statuses", got)
			}
		})
	}
}

// Answers look like the samples in all but what is new each time.
func TestAnswersLikeTheSamples(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	for request, response := range map[string]string{
		"text": "ok_text", "text_to_bsuid": "ok_to_bsuid", "text_to_group": "ok_group",
		"template_authentication": "ok_template_accepted", "mark_read": "ok_mark_read",
	} {
		var want struct {
			Headers map[string]string
			Body    map[string]any
		}
		if err := json.Unmarshal([]byte(fixture(t, "send-responses/"+response+".json")), &want); err != nil {
			t.Fatal(err)
		}
		_, header, body := post(t, s.URL()+messages, "Bearer "+token, fixture(t, "send-requests/"+request+".json"))
		var got map[string]any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		for name, value := range want.Headers {
			if have := header.Get(name); have == "" || (!strings.HasPrefix(name, "x-fb-") && !strings.HasPrefix(name, "x-app") && have != value) {
				t.Errorf("%s: header %s is %q", request, name, have)
			}
		}
		for _, answer := range []map[string]any{got, want.Body} {
			if list, ok := answer["messages"].([]any); ok {
				id := list[0].(map[string]any)["id"].(string)
				if !strings.HasPrefix(id, "wamid.HBg") {
					t.Errorf("%s: id %s", request, id)
				}
				list[0].(map[string]any)["id"] = "fresh"
			}
		}
		if !reflect.DeepEqual(got, want.Body) {
			t.Errorf("%s: %v, want %v", request, got, want.Body)
		}
	}
}

// Meta spells some phones otherwise than their owners do; the answer shows
// both spellings, statuses Meta's alone.
func TestSpellsPhonesItsOwnWay(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := start(t, a, nil)
	for to, want := range map[string]string{
		"+5511912345678": "551112345678", "+55 (11) 3123-4567": "551131234567", "+525512345678": "5215512345678", "+5215512345678": "5215512345678",
		"+1 650-555-1234": "16505551234",
	} {
		_, _, answer := post(t, s.URL()+messages, "Bearer "+token, `{"messaging_product":"whatsapp","to":"`+to+`","text":{"body":"x"}}`)
		if !strings.Contains(string(answer), `{"input":"`+to+`","wa_id":"`+want+`"}`) {
			t.Errorf("%s: %s", to, answer)
		}
		settle(t, s)
		if last := string(a.bodies[len(a.bodies)-1]); !strings.Contains(last, `"recipient_id":"`+want+`"`) {
			t.Errorf("%s: %s", to, last)
		}
	}
}

// A sample with one thing wrong is refused with the code Meta has for it.
func TestRefusesWhatIsWrongInASample(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	long := strings.Repeat("x", 5000)
	for _, test := range []struct {
		sample, old, new string
		code             int
	}{
		{"text", `"preview_url": false`, `"preview": false`, 100},
		{"text", `"preview_url": false`, `"preview_url": "no"`, 100},
		{"text", `"text": {`, `"text": {"mentions":[],`, 100},
		{"text_reply_preview_opaque", `"message_id"`, `"id"`, 100},
		{"text_to_bsuid", `"US.13491208655302741918"`, `"US-13"`, 131009},
		{"template_authentication", `"to": "+16505551234"`, `"recipient": "US.13491208655302741918"`, 131062},
		{"text_to_group", `"recipient_type": "group"`, `"recipient_type": "individual"`, 131009},
		{"text", `"recipient_type": "individual"`, `"recipient_type": "group"`, 131009},
		{"image_by_id", `"id"`, `"link":"https://x.example/a.png","id"`, 131008},
		{"image_by_id", `"caption": "`, `"caption": "` + long, 131009},
		{"image_by_link", `https://`, `ftp://`, 131009},
		{"audio_voice", `"voice"`, `"caption":"x","voice"`, 100},
		{"sticker", `"id"`, `"caption":"x","id"`, 100},
		{"document", `"filename": "`, `"filename": "` + long, 131009},
		{"location", `"latitude"`, `"lat"`, 100},
		{"location", `"37.44216251868683"`, `true`, 100},
		{"reaction", `"emoji"`, `"emojis"`, 131008},
		{"contacts", `"formatted_name": "Barbara J. Johnson",`, ``, 131008},
		{"contacts", `"phones"`, `"telephones"`, 100},
		{"interactive_button", `"Change"`, `"A title of one too many"`, 131009},
		{"interactive_button", `"Change"`, `"Cancel"`, 131009},
		{"interactive_button", `"type": "reply"`, `"type": "url"`, 131009},
		{"interactive_button", `"body"`, `"bodies"`, 100},
		{"interactive_button", `"type": "button"`, `"type": "buttons"`, 100},
		{"interactive_list", `"button": "Shipping Options"`, `"button": "Shipping options of all kinds"`, 131009},
		{"interactive_list", `"title": "I can wait a bit",`, ``, 131008},
		{"interactive_list", `"id": "priority_mail"`, `"id": "` + long + `"`, 131009},
		{"interactive_cta_url", `https://`, `tel:`, 131009},
		{"interactive_cta_url", `"display_text": "See Dates",`, ``, 131008},
		{"interactive_location_request", `"send_location"`, `"send"`, 131009},
		{"interactive_product", `"body"`, `"header":{"type":"text","text":"x"},"body"`, 100},
		{"interactive_product_list", `"header"`, `"heading"`, 131008},
		{"interactive_flow", `"flow_cta": "Open",`, ``, 131008},
		{"interactive_carousel_media", `"type": "cta_url"`, `"type": "cta"`, 131009},
		{"template_positional_buttons", `"en_US"`, `""`, 131009},
		{"template_positional_buttons", `"sub_type": "quick_reply",`, ``, 131008},
		{"template_positional_buttons", `"type": "header"`, `"type": "head"`, 131009},
		{"template_positional_buttons", `"text": "Ryan Lewis"`, `"body": "Ryan Lewis"`, 100},
		{"template_currency_date", `"amount_1000": 100990`, `"amount_1000": "100990"`, 100},
		{"template_coupon_code", `"coupon_code": "25OFF"`, `"coupon_code": "25OFF-25OFF-25OFF"`, 131009},
		{"direct_send_utility", `"utility"`, `"useful"`, 131009},
		{"marketing_messages_api", `"product_policy"`, `"product_policies"`, 100},
		{"typing_indicator", `"typing_indicator"`, `"typing"`, 100},
	} {
		t.Run(test.sample+" "+test.old, func(t *testing.T) {
			t.Parallel()
			body := fixture(t, "send-requests/"+test.sample+".json")
			wrong := strings.Replace(body, test.old, test.new, 1)
			if wrong == body {
				t.Fatalf("the sample has no %s", test.old)
			}
			status, _, answer := post(t, s.URL()+messages, "Bearer "+token, wrong)
			var got struct{ Error struct{ Code int } }
			if err := json.Unmarshal(answer, &got); err != nil || status != 400 || got.Error.Code != test.code {
				t.Errorf("%d %s", status, answer)
			}
		})
	}
}

// The Marketing Messages API takes templates only, and fields of its own that
// the other does not know; its statuses are priced as its own.
func TestMarketingMessages(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := start(t, a, nil)
	marketing := s.URL() + "/v25.0/" + string(number) + "/marketing_messages"
	sample := fixture(t, "send-requests/marketing_messages_api.json")
	for _, test := range []struct {
		url, body string
		status    int
	}{{marketing, sample, 200}, {s.URL() + messages, sample, 400}, {marketing, fixture(t, "send-requests/text.json"), 400}} {
		if status, _, answer := post(t, test.url, "Bearer "+token, test.body); status != test.status {
			t.Errorf("%d %s", status, answer)
		}
	}
	settle(t, s)
	if !strings.Contains(string(a.bodies[0]), `"category":"marketing_lite"`) {
		t.Errorf("told %s", a.bodies[0])
	}
	calls := s.Calls(cloudapitest.Query{})
	if len(calls) != 3 || calls[1].Code != 100 || calls[2].Code != 131055 {
		t.Errorf("the ledger says %+v", calls)
	}
}
