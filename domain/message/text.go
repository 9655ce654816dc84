package message

import (
	"strconv"
	"unicode/utf8"

	"github.com/sendlog/sendlog/domain"
)

// Plain messages: text, location and reaction (REFERENCE section 2.2).

var (
	textWords = text(1, domain.MaxText)
	textRule  = shortOr(textWords, object(must("body", textWords), may("preview_url", boolean)))
)

// shortOr is a text in Meta's form, or in the short one: the words alone.
func shortOr(words, long rule) rule {
	return func(c *check, v any) {
		if _, short := v.(string); short {
			words(c, v)
		} else {
			long(c, v)
		}
	}
}

var location = object(
	must("latitude", degrees(90)),
	must("longitude", degrees(180)),
	may("name", text(0, maxFree)),
	may("address", text(0, maxFree)),
)

// degrees is a decimal number from -limit to limit, written as a number or as
// a string: Meta documents the one and takes both.
func degrees(limit float64) rule {
	return func(c *check, v any) {
		s, ok := v.(string)
		if !ok {
			s = literal(v)
		}
		if f, err := strconv.ParseFloat(s, 64); err != nil || !(f >= -limit && f <= limit) {
			c.fault("must be degrees from -%g to %g", limit, limit)
		}
	}
}

var reaction = object(
	must("message_id", wamid),
	must("emoji", text(0, maxEmoji, demand{isReaction, "must be one emoji, or empty to take the reaction back"})),
)

// isReaction reports whether s can be an emoji at all: which ones there are
// changes with every year, but none is made of ASCII alone or has a space.
func isReaction(s string) bool {
	plain := true
	for _, r := range s {
		if r <= ' ' {
			return false
		}
		plain = plain && r < utf8.RuneSelf
	}
	return s == "" || !plain
}
