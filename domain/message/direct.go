package message

// Direct Send (beta 2026) sends text and buttons outside the service window:
// Meta makes a template of them (REFERENCE section 2.9). A category asks for
// it, except that of an ordinary message.

const ordinary = "service"

func directSend(o map[string]any) bool {
	_, configured := o["direct_send_config"]
	category, categorised := o["category"]
	return configured || categorised && category != ordinary
}

var directRule = kinds("type", withEnvelope(map[string][]part{
	"interactive": append([]part{must("interactive", kinds("type", map[string][]part{
		"button":     {optionalHeader, body, footer, must("action", object(must("buttons", directButtons)))},
		"cta_url":    {optionalHeader, body, footer, ctaURL},
		"voice_call": {textHeader, body, named("voice_call", may("parameters", voiceCall))},
	}))}, directParts...),
	"text": append([]part{must("text", directText)}, directParts...),
}))

var directParts = []part{
	must("category", word("authentication", "utility")),
	may("direct_send_config", object(must("template_name", templateName))),
	may("ttl_seconds", number(minDirectTTL, maxDirectTTL)),
}

// directText has no preview of its links.
var (
	directWords = text(1, maxBody)
	directText  = shortOr(directWords, object(must("body", directWords)))
)

// directButtons are links first, replies after them.
var directButtons = allOf(list(1, maxDirectButtons, kinds("type", map[string][]part{
	"cta_url": {must("cta_url", linkButton)},
	"reply":   {must("reply", reply)},
})), unique("reply", "id"), linksFirst)

func linksFirst(c *check, v any) {
	buttons, _ := v.([]any)
	links := 0
	for i, b := range buttons {
		if dig(b, "type") != "cta_url" {
			continue
		}
		if links != i {
			c.element(i, "type", "comes after a reply; links come first")
		}
		links++
	}
	if links > maxDirectLinks {
		c.fault("has %d links; WhatsApp takes %d", links, maxDirectLinks)
	}
}
