package message

import (
	"fmt"
	"slices"
	"strings"
)

// Interactive messages (REFERENCE section 2.3): each kind has the parts it
// has, and no others.
var interactiveRule = kinds("type", map[string][]part{
	"address_message":          {optionalHeader, body, footer, named("address_message", must("parameters", addressForm))},
	"button":                   {optionalHeader, body, footer, must("action", object(must("buttons", replyButtons(maxButtons))))},
	"call_permission_request":  {may("body", bodyText(maxBody)), footer, named("call_permission_request")},
	"carousel":                 {body, must("action", object(must("cards", cards)))},
	"catalog_message":          {body, footer, named("catalog_message", may("parameters", object(thumbnail)))},
	"cta_url":                  {optionalHeader, body, footer, ctaURL},
	"flow":                     {optionalHeader, body, footer, named("flow", must("parameters", flow))},
	"list":                     {textHeader, must("body", bodyText(maxListBody)), footer, must("action", object(must("button", text(1, maxTitle)), must("sections", rowSections)))},
	"location_request_message": {body, named("send_location")},
	"order_details":            {optionalHeader, body, footer, named("review_and_pay", must("parameters", anyObject))},
	"order_status":             {optionalHeader, body, footer, named("review_order", must("parameters", anyObject))},
	"product":                  {may("body", bodyText(maxBody)), footer, must("action", object(product...))},
	"product_list":             {must("header", header(false)), body, footer, must("action", object(must("catalog_id", metaID), must("sections", productSections)))},
	"request_contact_info":     {body, footer, named("request_contact_info")},
	"voice_call":               {textHeader, body, named("voice_call", may("parameters", voiceCall))},
})

var (
	body           = must("body", bodyText(maxBody))
	footer         = may("footer", object(must("text", text(1, maxFooter))))
	textHeader     = may("header", header(false))
	optionalHeader = may("header", header(true))
)

func bodyText(max int) rule { return object(must("text", text(1, max))) }

// header is a line of text, or a picture where that is allowed.
func header(files bool) rule {
	table := map[string][]part{"text": {must("text", text(1, maxHeader))}}
	if files {
		table["document"] = []part{must("document", headerDocument)}
		table["image"] = []part{must("image", headerFile)}
		table["video"] = []part{must("video", headerFile)}
	}
	return kinds("type", table)
}

// named is an action that says its name.
func named(name string, parts ...part) part {
	return must("action", object(append([]part{must("name", word(name))}, parts...)...))
}

func replyButtons(max int) rule {
	return allOf(list(1, max, kinds("type", map[string][]part{"reply": {must("reply", reply)}})),
		unique("reply", "id"), unique("reply", "title"))
}

var reply = object(must("id", text(1, maxButtonID)), must("title", text(1, maxTitle, oneLine)))

var (
	linkButton = object(must("display_text", text(1, maxTitle)), must("url", link))
	ctaURL     = named("cta_url", must("parameters", linkButton))
)

var rowSections = allOf(list(1, maxSections, object(
	may("title", text(0, maxSectionTitle)),
	must("rows", list(1, maxRows, object(
		must("id", text(1, maxRowID)),
		must("title", text(1, maxRowTitle)),
		may("description", text(0, maxRowText)),
	))),
)), sectionTitles, inAll("rows", maxRows), uniqueRows)

var productSections = allOf(list(1, maxSections, object(
	may("title", text(0, maxSectionTitle)),
	must("product_items", list(1, maxProducts, object(must("product_retailer_id", retailerID)))),
)), sectionTitles, inAll("product_items", maxProducts))

// sectionTitles demands a title of each section when there are several.
func sectionTitles(c *check, v any) {
	sections, _ := v.([]any)
	for i, s := range sections {
		if title, _ := dig(s, "title").(string); title == "" && len(sections) > 1 {
			c.element(i, "title", "is required when there is more than one section")
		}
	}
}

// inAll bounds the elements of all sections together, where no section has too
// many by itself.
func inAll(name string, max int) rule {
	return func(c *check, v any) {
		sections, _ := v.([]any)
		n := 0
		for _, s := range sections {
			elements, _ := dig(s, name).([]any)
			if len(elements) > max {
				return
			}
			n += len(elements)
		}
		if n > max {
			c.fault("has %d %s in all; WhatsApp takes %d", n, name, max)
		}
	}
}

// uniqueRows demands that no two rows of any section have the same id.
func uniqueRows(c *check, v any) {
	sections, _ := v.([]any)
	var rows []any
	for _, s := range sections {
		more, _ := dig(s, "rows").([]any)
		rows = append(rows, more...)
	}
	seen := map[string]bool{}
	for _, row := range rows {
		id, ok := dig(row, "id").(string)
		if ok && id != "" && seen[id] {
			c.fault("has two rows with one id")
			return
		}
		seen[id] = true
	}
}

var addressForm = object(
	must("country", word("IN")), // the only country that has it
	may("values", anyObject),
	may("saved_addresses", anyList),
	may("validation_errors", anyObject),
)

var flow = object(
	must("flow_message_version", text(1, maxID, visible)),
	may("flow_id", metaID), may("flow_name", text(1, maxFree)), oneOf("flow_id", "flow_name"),
	may("flow_token", text(1, maxFree)),
	must("flow_cta", text(1, maxFlowButton, noEmoji)),
	may("mode", word("draft", "published")),
	may("flow_action", word("data_exchange", "navigate")),
	may("flow_action_payload", object(
		must("screen", text(1, maxFree)),
		may("data", someObject),
	)),
	whole(func(c *check, o map[string]any) {
		if _, there := o["flow_action_payload"]; there && o["flow_action"] == "data_exchange" {
			c.faultAt("flow_action_payload", "has no place beside data_exchange: the endpoint of the flow says where to begin")
		}
	}),
)

// someObject is an object with something in it.
func someObject(c *check, v any) {
	if o, ok := v.(map[string]any); !ok || len(o) == 0 {
		c.fault("must be an object that is not empty; leave it out instead")
	}
}

var voiceCall = object(
	may("display_text", text(1, maxTitle)),
	may("ttl_minutes", number(1, maxCallMinutes)),
	may("payload", text(0, maxCallPayload)),
)

// The retailer's own ids are of any letters.
var (
	retailerID = text(1, maxID)
	thumbnail  = may("thumbnail_product_retailer_id", text(0, maxID)) // none: Meta picks one
)

var product = []part{must("catalog_id", metaID), must("product_retailer_id", retailerID)}

// A carousel is of products, or of pictures with buttons. Meta's samples name
// no type for a card with quick replies.
var cards = allOf(list(minCards, maxCards, kinds("type", map[string][]part{
	"":        {cardIndex, cardHeader, cardBody, must("action", object(must("buttons", allOf(list(1, maxButtons, quickReply), unique("quick_reply", "id")))))},
	"cta_url": {cardIndex, cardHeader, cardBody, ctaURL},
	"product": {cardIndex, must("action", object(product...))},
}), alike("type"), alike("header", "type"), sameButtons), unique("card_index"))

var (
	cardIndex  = must("card_index", number(0, maxCards-1))
	cardHeader = must("header", kinds("type", map[string][]part{"image": {must("image", headerFile)}, "video": {must("video", headerFile)}}))
	cardBody   = may("body", object(must("text", text(1, maxCardBody, fewLines))))
	quickReply = kinds("type", map[string][]part{"quick_reply": {must("quick_reply", reply)}})
)

var fewLines = demand{func(s string) bool { return strings.Count(s, "\n") < maxCardLines }, "has too many lines; WhatsApp takes 3"}

// alike demands that all elements say the same under a path.
func alike(path ...string) func(c *check, elements []any) {
	return func(c *check, elements []any) {
		first := fmt.Sprint(dig(elements[0], path...))
		differs := slices.IndexFunc(elements, func(e any) bool { return fmt.Sprint(dig(e, path...)) != first })
		if differs > 0 {
			c.element(differs, path[0], "is of another kind than in the first card; all must be alike")
		}
	}
}

// sameButtons demands that all cards have as many buttons as the first.
func sameButtons(c *check, cards []any) {
	count := func(card any) int {
		buttons, _ := dig(card, "action", "buttons").([]any)
		return len(buttons)
	}
	for i, card := range cards {
		if count(card) != count(cards[0]) {
			c.element(i, "action", "has another number of buttons than the first card; all must be alike")
		}
	}
}
