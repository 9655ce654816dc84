package message_test

import (
	"strings"
	"testing"
)

const (
	aBody   = `"body":{"text":"b"}`
	aHeader = `"header":{"type":"text","text":"h"}`
	aFile   = `"header":{"type":"image","image":{"id":"1"}}`
	aFooter = `"footer":{"text":"f"}`
)

// in writes an interactive message of a kind with some parts.
func in(kind string, parts ...string) string {
	return `{"type":"interactive","interactive":{"type":"` + kind + `",` + strings.Join(parts, ",") + `}}`
}

// Each kind of interactive message has the parts it has: with all of them it
// is accepted, and each one that it does not have, or needs and lacks, is a
// fault with its place.
func TestInteractiveParts(t *testing.T) {
	t.Parallel()
	type kind struct {
		body, header, footer string // "must", "may" or ""; a header "text" may be text only, "must text" has to be there
		action               string
	}
	const section = `{"title":"s","rows":[{"id":"1","title":"r"}]}`
	const card = `{"card_index":%d,"type":"cta_url","header":{"type":"image","image":{"id":"1"}},"body":{"text":"c"},"action":{"name":"cta_url","parameters":{"display_text":"d","url":"https://x.example"}}}`
	rows := map[string]row{}
	for name, k := range map[string]kind{
		"address_message":          {"must", "may", "may", `{"name":"address_message","parameters":{"country":"IN","values":{"name":"A"},"saved_addresses":[],"validation_errors":{}}}`},
		"button":                   {"must", "may", "may", `{"buttons":[{"type":"reply","reply":{"id":"a","title":"A"}}]}`},
		"call_permission_request":  {"may", "", "may", `{"name":"call_permission_request"}`},
		"carousel":                 {"must", "", "", `{"cards":[` + strings.Replace(card, "%d", "0", 1) + `,` + strings.Replace(card, "%d", "1", 1) + `]}`},
		"catalog_message":          {"must", "", "may", `{"name":"catalog_message","parameters":{"thumbnail_product_retailer_id":"t"}}`},
		"cta_url":                  {"must", "may", "may", `{"name":"cta_url","parameters":{"display_text":"d","url":"https://x.example"}}`},
		"flow":                     {"must", "may", "may", `{"name":"flow","parameters":{"flow_message_version":"3","flow_id":"1","flow_cta":"Book"}}`},
		"list":                     {"must", "text", "may", `{"button":"Open","sections":[` + section + `]}`},
		"location_request_message": {"must", "", "", `{"name":"send_location"}`},
		"order_details":            {"must", "may", "may", `{"name":"review_and_pay","parameters":{"reference_id":"1"}}`},
		"order_status":             {"must", "may", "may", `{"name":"review_order","parameters":{"reference_id":"1"}}`},
		"product":                  {"may", "", "may", `{"catalog_id":"c","product_retailer_id":"p"}`},
		"product_list":             {"must", "must text", "may", `{"catalog_id":"c","sections":[{"title":"s","product_items":[{"product_retailer_id":"p"}]}]}`},
		"request_contact_info":     {"must", "", "may", `{"name":"request_contact_info"}`},
		"voice_call":               {"must", "text", "", `{"name":"voice_call","parameters":{"display_text":"Call","ttl_minutes":43200,"payload":"p"}}`},
	} {
		parts := func(leave string, more ...string) []string {
			all := more
			if k.body != "" && leave != "body" {
				all = append(all, aBody)
			}
			if k.header == "must text" && leave != "header" {
				all = append(all, aHeader)
			}
			if leave != "action" {
				all = append(all, `"action":`+k.action)
			}
			return append(all, `"type":"`+name+`"`)
		}
		fault := func(there bool, at string) string {
			if there {
				return ""
			}
			return "/interactive/" + at
		}
		rows[name] = row{in(name, parts("")...), ""}
		rows[name+" without action"] = row{in(name, parts("action")...), "/interactive/action"}
		rows[name+" with a stranger"] = row{in(name, parts("", `"shiny":1`)...), "/interactive/shiny"}
		rows[name+" with a footer"] = row{in(name, parts("", aFooter)...), fault(k.footer != "", "footer")}
		rows[name+" without a body"] = row{in(name, parts("body")...), fault(k.body != "must", "body")}
		if k.header != "must text" {
			rows[name+" with a header"] = row{in(name, parts("", aHeader)...), fault(k.header != "", "header")}
		} else {
			rows[name+" without a header"] = row{in(name, parts("header")...), "/interactive/header"}
		}
		at := "header"
		if strings.Contains(k.header, "text") {
			at = "header/type"
		}
		rows[name+" with a picture above"] = row{in(name, parts("header", aFile)...), fault(k.header == "may", at)}
		if k.footer != "" {
			rows[name+" with 60 below"] = row{in(name, parts("", `"footer":{"text":"`+x(60)+`"}`)...), ""}
			rows[name+" with 61 below"] = row{in(name, parts("", `"footer":{"text":"`+x(61)+`"}`)...), "/interactive/footer/text"}
		}
		if k.body == "must" {
			longest := 1024
			if name == "list" {
				longest = 4096
			}
			rows[name+" with the longest body"] = row{in(name, parts("body", `"body":{"text":"`+smiles(longest)+`"}`)...), ""}
			rows[name+" with a longer one"] = row{in(name, parts("body", `"body":{"text":"`+smiles(longest)+`x"}`)...), "/interactive/body/text"}
		}
	}
	rows["unknown"] = row{in("hologram", aBody), "/interactive/type"}
	rows["untyped"] = row{`{"type":"interactive","interactive":{"body":{"text":"b"}}}`, "/interactive/type"}
	rows["no object"] = row{`{"type":"interactive","interactive":"button"}`, "/interactive"}
	rows["header of 60"] = row{in("cta_url", aBody, `"header":{"type":"text","text":"`+x(60)+`"}`, `"action":{"name":"cta_url","parameters":{"display_text":"d","url":"https://x.example"}}`), ""}
	rows["header of 61"] = row{in("cta_url", aBody, `"header":{"type":"text","text":"`+x(61)+`"}`, `"action":{"name":"cta_url","parameters":{"display_text":"d","url":"https://x.example"}}`), "/interactive/header/text"}
	judge(t, rows)
}

// The limits inside the action of each kind.
func TestInteractiveActions(t *testing.T) {
	t.Parallel()
	act := func(kind, action string) string {
		parts := []string{aBody, `"action":` + action}
		if kind == "product_list" {
			parts = append(parts, aHeader)
		}
		return in(kind, parts...)
	}
	buttons := func(list string) string { return act("button", `{"buttons":`+list+`}`) }
	button := func(id, title string) string {
		return `{"type":"reply","reply":{"id":"` + id + `","title":"` + title + `"}}`
	}
	link := func(in string) string { return act("cta_url", `{"name":"cta_url","parameters":{`+in+`}}`) }
	sections := func(list string) string { return act("list", `{"button":"Open","sections":`+list+`}`) }
	rows := func(list string) string { return sections(`[{"rows":` + list + `}]`) }
	products := func(list string) string {
		return act("product_list", `{"catalog_id":"c","sections":`+list+`}`)
	}
	flow := func(in string) string { return act("flow", `{"name":"flow","parameters":{`+in+`}}`) }
	const aFlow = `"flow_message_version":"3","flow_id":"1","flow_cta":"Book"`
	call := func(in string) string { return act("voice_call", `{"name":"voice_call","parameters":{`+in+`}}`) }
	const at = "/interactive/action"
	judge(t, map[string]row{
		"3 buttons":       {buttons(times(3, button("%", "%"))), ""},
		"4 buttons":       {buttons(times(4, button("%", "%"))), at + "/buttons"},
		"no buttons":      {buttons(`[]`), at + "/buttons"},
		"one id twice":    {buttons(`[` + button("a", "A") + `,` + button("a", "B") + `]`), at + "/buttons/1/reply"},
		"one title twice": {buttons(`[` + button("a", "A") + `,` + button("b", "A") + `]`), at + "/buttons/1/reply"},
		"all that is wrong": {buttons(`[` + button("a", "A") + `,` + button("b", x(30)) + `,` + button("a", "C") + `,` + button("d", "A") + `]`),
			at + "/buttons " + at + "/buttons/1/reply/title " + at + "/buttons/2/reply " + at + "/buttons/3/reply"},
		"two without an id":        {buttons(`[` + button("", "A") + `,` + button("", "B") + `]`), at + "/buttons/0/reply/id " + at + "/buttons/1/reply/id"},
		"title of 20":              {buttons(`[` + button("a", smiles(20)) + `]`), ""},
		"title of 21":              {buttons(`[` + button("a", x(21)) + `]`), at + "/buttons/0/reply/title"},
		"title of two lines":       {buttons(`[` + button("a", `A\nB`) + `]`), at + "/buttons/0/reply/title"},
		"id of 256":                {buttons(`[` + button(x(256), "A") + `]`), ""},
		"id of 257":                {buttons(`[` + button(x(257), "A") + `]`), at + "/buttons/0/reply/id"},
		"a link among the buttons": {buttons(`[{"type":"cta_url","cta_url":{}}]`), at + "/buttons/0/type"},

		"a link":                {link(`"display_text":"` + x(20) + `","url":"http://x.example"`), ""},
		"a link of 21":          {link(`"display_text":"` + x(21) + `","url":"https://x.example"`), at + "/parameters/display_text"},
		"a link to nowhere":     {link(`"display_text":"d","url":"javascript:alert(1)"`), at + "/parameters/url"},
		"the action of another": {act("cta_url", `{"name":"flow","parameters":{"display_text":"d","url":"https://x.example"}}`), at + "/name"},

		"10 rows":                {rows(times(10, `{"id":"%","title":"r"}`)), ""},
		"11 rows":                {rows(times(11, `{"id":"%","title":"r"}`)), at + "/sections/0/rows"},
		"11 rows in 2 sections":  {sections(`[{"title":"a","rows":` + times(10, `{"id":"%","title":"r"}`) + `},{"title":"b","rows":[{"id":"z","title":"r"}]}]`), at + "/sections"},
		"10 sections":            {sections(times(10, `{"title":"%","rows":[{"id":"%","title":"r"}]}`)), ""},
		"11 sections":            {sections(times(11, `{"title":"%","rows":[{"id":"%","title":"r"}]}`)), at + "/sections " + at + "/sections"}, // too many of both
		"2 without a title":      {sections(`[{"rows":[{"id":"a","title":"r"}]},{"title":"","rows":[{"id":"b","title":"r"}]}]`), at + "/sections/0/title " + at + "/sections/1/title"},
		"section title of 24":    {sections(`[{"title":"` + x(24) + `","rows":[{"id":"a","title":"r"}]}]`), ""},
		"section title of 25":    {sections(`[{"title":"` + x(25) + `","rows":[{"id":"a","title":"r"}]}]`), at + "/sections/0/title"},
		"one row id twice":       {sections(`[{"title":"a","rows":[{"id":"a","title":"r"}]},{"title":"b","rows":[{"id":"a","title":"r"}]}]`), at + "/sections"},
		"the longest row":        {rows(`[{"id":"` + x(200) + `","title":"` + x(24) + `","description":"` + x(72) + `"}]`), ""},
		"a longer row":           {rows(`[{"id":"` + x(201) + `","title":"` + x(25) + `","description":"` + x(73) + `"}]`), at + "/sections/0/rows/0/id " + at + "/sections/0/rows/0/title " + at + "/sections/0/rows/0/description"},
		"list button of 20":      {act("list", `{"button":"`+x(20)+`","sections":[{"rows":[{"id":"a","title":"r"}]}]}`), ""},
		"list button of 21":      {act("list", `{"button":"`+x(21)+`","sections":[{"rows":[{"id":"a","title":"r"}]}]}`), at + "/button"},
		"a list without a label": {act("list", `{"sections":[{"rows":[]}]}`), at + "/button " + at + "/sections/0/rows"},

		"30 products":               {products(`[{"product_items":` + times(30, `{"product_retailer_id":"%"}`) + `}]`), ""},
		"31 products":               {products(`[{"product_items":` + times(31, `{"product_retailer_id":"%"}`) + `}]`), at + "/sections/0/product_items"},
		"31 products in 2 sections": {products(`[{"title":"a","product_items":` + times(30, `{"product_retailer_id":"%"}`) + `},{"title":"b","product_items":[{"product_retailer_id":"z"}]}]`), at + "/sections"},
		"a product of no catalog":   {act("product", `{"product_retailer_id":"p"}`), at + "/catalog_id"},

		"another country": {act("address_message", `{"name":"address_message","parameters":{"country":"US"}}`), at + "/parameters/country"},
		"no country":      {act("address_message", `{"name":"address_message","parameters":{}}`), at + "/parameters/country"},

		"a flow by name":            {flow(`"flow_message_version":"3","flow_name":"n","flow_token":"t","flow_cta":"Book","mode":"draft"`), ""},
		"a flow by both":            {flow(aFlow + `,"flow_name":"n"`), at + "/parameters"},
		"a flow by neither":         {flow(`"flow_message_version":"3","flow_cta":"Book"`), at + "/parameters"},
		"a button of 30":            {flow(`"flow_message_version":"3","flow_id":"1","flow_cta":"` + x(30) + `"`), ""},
		"a button of 31":            {flow(`"flow_message_version":"3","flow_id":"1","flow_cta":"` + x(31) + `"`), at + "/parameters/flow_cta"},
		"an emoji on it":            {flow(`"flow_message_version":"3","flow_id":"1","flow_cta":"Book 📅"`), at + "/parameters/flow_cta"},
		"another mode":              {flow(aFlow + `,"mode":"test"`), at + "/parameters/mode"},
		"to a screen":               {flow(aFlow + `,"flow_action":"navigate","flow_action_payload":{"screen":"A","data":{"a":[{"b":null}]}}`), ""},
		"to no screen":              {flow(aFlow + `,"flow_action":"navigate","flow_action_payload":{}`), at + "/parameters/flow_action_payload/screen"},
		"with empty data":           {flow(aFlow + `,"flow_action_payload":{"screen":"A","data":{}}`), at + "/parameters/flow_action_payload/data"},
		"exchange":                  {flow(aFlow + `,"flow_action":"data_exchange"`), ""},
		"exchange with a payload":   {flow(aFlow + `,"flow_action":"data_exchange","flow_action_payload":{"screen":"A"}`), at + "/parameters/flow_action_payload"},
		"a flow without everything": {flow(``), at + "/parameters/flow_message_version " + at + "/parameters " + at + "/parameters/flow_cta"},

		"the shortest call":          {act("voice_call", `{"name":"voice_call"}`), ""},
		"a call of 0 minutes":        {call(`"ttl_minutes":0`), at + "/parameters/ttl_minutes"},
		"43201 minutes":              {call(`"ttl_minutes":43201`), at + "/parameters/ttl_minutes"},
		"a minute and a half":        {call(`"ttl_minutes":1.5`), at + "/parameters/ttl_minutes"},
		"minutes in a string":        {call(`"ttl_minutes":"1"`), at + "/parameters/ttl_minutes"},
		"a call button of 21":        {call(`"display_text":"` + x(21) + `"`), at + "/parameters/display_text"},
		"a payload of 512":           {call(`"payload":"` + x(512) + `"`), ""},
		"a payload of 513":           {call(`"payload":"` + x(513) + `"`), at + "/parameters/payload"},
		"a product with a wide name": {act("product", `{"catalog_id":"c","product_retailer_id":"Blue Aloe 12 cm"}`), ""},
		"a product without a name":   {act("product", `{"catalog_id":"c","product_retailer_id":""}`), at + "/product_retailer_id"},
		"a catalog, unadorned":       {act("catalog_message", `{"name":"catalog_message"}`), ""},
	})
}

// Carousels: 2 to 10 cards, all alike.
func TestCarousel(t *testing.T) {
	t.Parallel()
	cards := func(list ...string) string {
		return in("carousel", aBody, `"action":{"cards":[`+strings.Join(list, ",")+`]}`)
	}
	const digits = "0123456789"
	card := func(index int, parts ...string) string {
		return `{"card_index":` + digits[index:index+1] + `,` + strings.Join(parts, ",") + `}`
	}
	const picture, film = `"header":{"type":"image","image":{"link":"https://x.example/a"}}`, `"header":{"type":"video","video":{"id":"1"}}`
	const link = `"type":"cta_url","action":{"name":"cta_url","parameters":{"display_text":"d","url":"https://x.example"}}`
	replies := func(n int) string {
		return `"action":{"buttons":` + times(n, `{"type":"quick_reply","quick_reply":{"id":"%","title":"t"}}`) + `}`
	}
	const product = `"type":"product","action":{"catalog_id":"c","product_retailer_id":"p"}`
	body := func(text string) string { return `"body":{"text":"` + text + `"}` }
	ten := make([]string, 10)
	for i := range ten {
		ten[i] = card(i, picture, link)
	}
	const at = "/interactive/action/cards"
	judge(t, map[string]row{
		"ten":                      {cards(ten...), ""},
		"eleven":                   {cards(append(ten, card(1, picture, link))...), at + " " + at + "/10/card_index"},
		"one":                      {cards(ten[0]), at},
		"one index twice":          {cards(ten[0], ten[0]), at + "/1/card_index"},
		"index 10":                 {cards(ten[0], strings.Replace(ten[1], `:1,`, `:10,`, 1)), at + "/1/card_index"},
		"quick replies":            {cards(card(0, picture, replies(2)), card(1, picture, replies(2))), ""},
		"unequal replies":          {cards(card(0, picture, replies(2)), card(1, picture, replies(1))), at + "/1/action"},
		"products":                 {cards(card(0, product), card(1, product)), ""},
		"a picture and a film":     {cards(card(0, picture, link), card(1, film, link)), at + "/1/header"},
		"links and products":       {cards(card(0, picture, link), card(1, product)), at + "/1/type"},
		"text above":               {cards(card(0, aHeader, link), card(1, aHeader, link)), at + "/0/header/type " + at + "/1/header/type"},
		"a card without a picture": {cards(ten[0], card(1, link)), at + "/1/header"},
		"160":                      {cards(card(0, picture, link, body(x(160))), ten[1]), ""},
		"161":                      {cards(card(0, picture, link, body(x(161))), ten[1]), at + "/0/body/text"},
		"three lines":              {cards(card(0, picture, link, body(`a\nb\nc`)), ten[1]), ""},
		"four lines":               {cards(card(0, picture, link, body(`a\nb\nc\nd`)), ten[1]), at + "/0/body/text"},
	})
}

// Direct Send is text and buttons with a category.
func TestDirectSend(t *testing.T) {
	t.Parallel()
	direct := func(in string) string { return `{"category":"utility",` + in + `}` }
	text := func(in string) string { return direct(`"text":{"body":"hi"},` + in) }
	buttons := func(links, replies int) string {
		link, reply := `{"type":"cta_url","cta_url":{"display_text":"d","url":"https://x.example"}}`, `{"type":"reply","reply":{"id":"%","title":"t"}}`
		list := strings.Trim(times(links, link), "[]") + "," + strings.Trim(times(replies, reply), "[]")
		return direct(`"type":"interactive","interactive":{"type":"button",` + aBody + `,"action":{"buttons":[` + strings.Trim(list, ",") + `]}}`)
	}
	judge(t, map[string]row{
		"a text":                  {text(`"direct_send_config":{"template_name":"order_update"},"ttl_seconds":43200`), ""},
		"short":                   {direct(`"text":"hi"`), ""},
		"1024":                    {direct(`"text":{"body":"` + x(1024) + `"}`), ""},
		"1025":                    {direct(`"text":{"body":"` + x(1025) + `"}`), "/text/body"},
		"1025, short":             {direct(`"text":"` + x(1025) + `"`), "/text"},
		"a preview":               {direct(`"text":{"body":"hi","preview_url":true}`), "/text/preview_url"},
		"marketing":               {`{"category":"marketing","text":"hi"}`, "/category"},
		"no category":             {`{"text":"hi","direct_send_config":{"template_name":"a"}}`, "/category"},
		"a name in capitals":      {text(`"direct_send_config":{"template_name":"Order"}`), "/direct_send_config/template_name"},
		"29 seconds":              {text(`"ttl_seconds":29`), "/ttl_seconds"},
		"43201 seconds":           {text(`"ttl_seconds":43201`), "/ttl_seconds"},
		"2 links and 8 replies":   {buttons(2, 8), ""},
		"3 links":                 {buttons(3, 0), "/interactive/action/buttons"},
		"2 links and 9 replies":   {buttons(2, 9), "/interactive/action/buttons"},
		"a link after a reply":    {strings.Replace(buttons(0, 1), `}]}}`, `},{"type":"cta_url","cta_url":{"display_text":"d","url":"https://x.example"}}]}}`, 1), "/interactive/action/buttons/1/type"},
		"a picture":               {direct(`"type":"image","image":{"id":"1"}`), "/type"},
		"a list":                  {direct(`"type":"interactive","interactive":{"type":"list"}`), "/interactive/type"},
		"seconds, ordinary":       {`{"text":"hi","ttl_seconds":60}`, "/ttl_seconds"},
		"answers keep their bond": {text(`"context":{"message_id":"` + aWamid + `"}`), ""},
	})
}
