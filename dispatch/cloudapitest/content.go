package cloudapitest

import (
	"maps"
	"net/url"
	"strings"
)

// messageTypes is what may be sent: the object named by the type (sections 2.2
// to 2.4). Limits of length count UTF-16 units.
var messageTypes = map[string]shape{
	"text": object(map[string]shape{"body": text(4096).must().lax(), "preview_url": flag()}),

	"image":    media(map[string]shape{"caption": text(1024)}),
	"video":    media(map[string]shape{"caption": text(1024)}),
	"audio":    media(map[string]shape{"voice": flag()}),
	"document": media(map[string]shape{"caption": text(1024), "filename": text(240)}),
	"sticker":  media(nil),

	"location": location,
	"reaction": object(map[string]shape{"message_id": text(512).must(), "emoji": text(64).must().blank()}),
	"contacts": list(1, 257, contact),

	"interactive": object(nil).with(judgeInteractive),
	"template":    template,
}

var location = object(map[string]shape{
	"latitude": word().must(), "longitude": word().must(), "name": text(1000), "address": text(1000),
})

// media is by id or by link, never both.
func media(more map[string]shape) shape {
	fields := map[string]shape{"id": text(512), "link": text(2048).with(judgeURL)}
	maps.Copy(fields, more)
	return object(fields).with(func(v any) *problem {
		o := v.(map[string]any)
		if (o["id"] == nil) == (o["link"] == nil) {
			return missing("exactly one of id and link")
		}
		return nil
	})
}

func judgeURL(v any) *problem {
	u, err := url.Parse(v.(string))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return unfit("Param link is not a valid URL.")
	}
	return nil
}

var contact = object(map[string]shape{
	"name": object(map[string]shape{
		"formatted_name": text(1000).must(), "first_name": text(1000), "last_name": text(1000),
		"middle_name": text(1000), "suffix": text(1000), "prefix": text(1000),
	}).must().with(func(v any) *problem {
		if len(v.(map[string]any)) < 2 {
			return missing("contacts.name.first_name")
		}
		return nil
	}),
	"birthday":  text(10),
	"org":       object(texts("company", "department", "title")),
	"phones":    list(0, 0, object(texts("phone", "type", "wa_id"))),
	"emails":    list(0, 0, object(texts("email", "type"))),
	"addresses": list(0, 0, object(texts("street", "city", "state", "zip", "country", "country_code", "type"))),
	"urls":      list(0, 0, object(texts("url", "type"))),
})

func texts(names ...string) map[string]shape {
	fields := map[string]shape{}
	for _, n := range names {
		fields[n] = text(1000)
	}
	return fields
}

// Templates (section 2.4). What stands in the template itself is not known
// here, so the number of parameters is not judged.
var template = object(map[string]shape{
	"name":       text(512).must(),
	"language":   object(map[string]shape{"code": text(16).must(), "policy": oneOf("deterministic")}).must(),
	"components": list(0, 0, object(componentFields(true)).with(judgeComponent)),
})

func componentFields(cards bool) map[string]shape {
	fields := map[string]shape{
		"type":       oneOf("header", "body", "button", "carousel", "limited_time_offer").must(),
		"sub_type":   oneOf("quick_reply", "url", "copy_code", "flow", "catalog", "mpm", "spm", "voice_call", "order_details", "phone_number", "request_contact_info"),
		"index":      word(),
		"parameters": list(0, 0, parameter),
	}
	if cards {
		fields["cards"] = list(1, 10, object(map[string]shape{
			"card_index": word().must(),
			"components": list(0, 0, object(componentFields(false)).with(judgeComponent)).must(),
		}))
	}
	return fields
}

func judgeComponent(v any) *problem {
	c := v.(map[string]any)
	switch strings.ToLower(c["type"].(string)) {
	case "button":
		if c["sub_type"] == nil {
			return missing("components.sub_type")
		}
		if c["index"] == nil {
			return missing("components.index")
		}
	case "carousel":
		if c["cards"] == nil {
			return missing("components.cards")
		}
	}
	return nil
}

// parameter is one value of a template: an object, or text, under the name of
// its type.
var parameter = object(map[string]shape{
	"type": text(64).must(), "parameter_name": text(512), "text": text(4096), "payload": text(512), "coupon_code": text(15),
	"image": media(nil), "video": media(nil), "document": media(map[string]shape{"filename": text(240)}), "location": location,
	"currency":  object(map[string]shape{"fallback_value": text(100).must(), "code": text(3).must(), "amount_1000": number().must()}),
	"date_time": object(nil), "product": object(texts("product_retailer_id", "catalog_id")), "action": object(nil),
	"limited_time_offer": object(map[string]shape{"expiration_time_ms": number().must()}), "order_status": object(nil), "order_details": object(nil),
	"ttl_minutes": word(),
}).with(func(v any) *problem {
	p := v.(map[string]any)
	name := strings.ToLower(p["type"].(string))
	if _, known := parameterTypes[name]; !known {
		return invalid("Param type of a template parameter is not known: %q.", name)
	}
	if p[name] == nil {
		return missing("parameters." + name)
	}
	return nil
})

var parameterTypes = map[string]bool{
	"text": true, "payload": true, "coupon_code": true, "image": true, "video": true, "document": true, "location": true, "currency": true,
	"date_time": true, "product": true, "action": true, "limited_time_offer": true, "order_status": true, "order_details": true, "ttl_minutes": true,
}
