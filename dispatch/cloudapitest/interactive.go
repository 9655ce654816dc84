package cloudapitest

import "strings"

// interactiveTypes is section 2.3. Each has the fields type and action, and
// those that stand here.
var interactiveTypes = map[string]shape{
	"button": interactive(1024, object(map[string]shape{"buttons": list(1, 3, object(map[string]shape{
		"type": oneOf("reply").must(), "reply": object(map[string]shape{"id": text(256).must(), "title": text(20).must()}).must(),
	})).must().with(distinct("reply", "title"))}), headers("text", "image", "video", "document")),
	"list": interactive(4096, object(map[string]shape{
		"button": text(20).must(), "sections": list(1, 10, section("rows", object(map[string]shape{
			"id": text(200).must(), "title": text(24).must(), "description": text(72),
		}))).must().with(judgeSections("rows", 10)),
	}), headers("text")),
	"cta_url": interactive(1024, action("cta_url", map[string]shape{
		"display_text": text(20).must(), "url": text(2000).must().with(judgeURL),
	}), headers("text", "image", "video", "document")),
	"location_request_message": interactive(1024, object(map[string]shape{"name": oneOf("send_location").must()}), nil),
	"address_message": interactive(1024, action("address_message", map[string]shape{
		"country": text(2).must(), "values": object(nil), "saved_addresses": list(0, 0, object(nil)), "validation_errors": object(nil),
	}), headers("text", "image", "video", "document")),
	"product": optionalBody(interactive(1024, object(map[string]shape{
		"catalog_id": text(64).must(), "product_retailer_id": text(512).must(),
	}), nil)),
	"product_list": interactive(1024, object(map[string]shape{
		"catalog_id": text(64).must(), "sections": list(1, 10, section("product_items", object(map[string]shape{
			"product_retailer_id": text(512).must(),
		}))).must().with(judgeSections("product_items", 30)),
	}), requiredHeader),
	"catalog_message": interactive(1024, optional(action("catalog_message", texts("thumbnail_product_retailer_id")), "parameters"), nil),
	"flow": interactive(1024, action("flow", map[string]shape{
		"flow_message_version": word().must(), "flow_id": text(64), "flow_name": text(200), "flow_token": text(512),
		"flow_cta": text(30).must(), "mode": oneOf("published", "draft"), "flow_action": oneOf("navigate", "data_exchange"),
		"flow_action_payload": object(map[string]shape{"screen": text(200), "data": object(nil)}),
	}), headers("text", "image", "video", "document")),
	"carousel":                interactive(1024, object(map[string]shape{"cards": list(2, 10, card).must()}), nil),
	"request_contact_info":    interactive(1024, object(map[string]shape{"name": oneOf("request_contact_info").must()}), nil),
	"call_permission_request": optionalBody(interactive(1024, object(map[string]shape{"name": oneOf("call_permission_request").must()}), nil)),
	"voice_call": interactive(1024, optional(action("voice_call", map[string]shape{
		"display_text": text(20), "ttl_minutes": number(), "payload": text(512),
	}), "parameters"), nil),
	"order_details": interactive(1024, object(nil), headers("text", "image", "video", "document")),
	"order_status":  interactive(1024, object(nil), nil),
}

func judgeInteractive(v any) *problem {
	o := v.(map[string]any)
	name, ok := o["type"].(string)
	if !ok || name == "" {
		return missing("interactive.type")
	}
	s, known := interactiveTypes[strings.ToLower(name)]
	if !known {
		return invalid("Param interactive.type is not known: %q.", name)
	}
	return s.judge("interactive", v)
}

// interactive is the frame of them all; a nil header = none is allowed.
func interactive(body int, action shape, header *shape) shape {
	fields := map[string]shape{
		"type": text(64).must(), "body": object(map[string]shape{"text": text(body).must()}).must(),
		"footer": object(map[string]shape{"text": text(60).must()}), "action": action.must(),
	}
	if header != nil {
		fields["header"] = *header
	}
	return object(fields)
}

func optionalBody(s shape) shape { return optional(s, "body") }

// optional makes a required field of an object optional.
func optional(s shape, field string) shape {
	f := s.fields[field]
	f.required = false
	s.fields[field] = f
	return s
}

// requiredHeader is the one of a product list.
var requiredHeader = func() *shape { s := headers("text").must(); return &s }()

// headers is a header of one of some kinds.
func headers(kinds ...string) *shape {
	s := object(map[string]shape{
		"type": oneOf(kinds...).must(), "text": text(60), "sub_text": text(60),
		"image": media(nil), "video": media(nil), "document": media(map[string]shape{"filename": text(240)}),
	}).with(func(v any) *problem {
		o := v.(map[string]any)
		if kind := strings.ToLower(o["type"].(string)); o[kind] == nil {
			return missing("header." + kind)
		}
		return nil
	})
	return &s
}

// action is named, and has parameters.
func action(name string, parameters map[string]shape) shape {
	return object(map[string]shape{"name": oneOf(name).must(), "parameters": object(parameters).must()})
}

func section(items string, item shape) shape {
	return object(map[string]shape{"title": text(24), items: list(1, 0, item).must()})
}

// judgeSections counts the items of all sections together, and asks for titles
// where there are several.
func judgeSections(items string, most int) func(any) *problem {
	return func(v any) *problem {
		sections, total := v.([]any), 0
		for _, s := range sections {
			o := s.(map[string]any)
			total += len(o[items].([]any))
			if len(sections) > 1 && (o["title"] == nil || o["title"] == "") {
				return missing("sections.title")
			}
		}
		if total > most {
			return unfit("sections have %d %s in total: at most %d", total, items, most)
		}
		return nil
	}
}

// distinct refuses buttons of which two say the same.
func distinct(holder, field string) func(any) *problem {
	return func(v any) *problem {
		seen := map[any]bool{}
		for _, b := range v.([]any) {
			value := b.(map[string]any)[holder].(map[string]any)[field]
			if seen[value] {
				return unfit("Button %s must be unique", field)
			}
			seen[value] = true
		}
		return nil
	}
}

// card is one of a carousel.
var card = object(map[string]shape{
	"card_index": number().must(), "type": oneOf("cta_url", "quick_reply", "button", "product").must(),
	"header": *headers("image", "video"), "body": object(map[string]shape{"text": text(160).must()}),
	"action": object(map[string]shape{
		"name": oneOf("cta_url"), "parameters": object(map[string]shape{"display_text": text(20).must(), "url": text(2000).must().with(judgeURL)}),
		"buttons": list(1, 3, object(nil)), "catalog_id": text(64), "product_retailer_id": text(512),
	}).must(),
})
