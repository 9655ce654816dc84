package cloudapitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
)

// request is what matters of a body, read leniently; check says what is wrong
// with it.
type request struct {
	Product       string `json:"messaging_product"`
	RecipientType string `json:"recipient_type"`
	To            string `json:"to"`
	Recipient     string `json:"recipient"`
	Type          string `json:"type"`
	Opaque        string `json:"biz_opaque_callback_data"`
	Status        string `json:"status"`
	MessageID     string `json:"message_id"`
}

// Fields of a body beside the object named by its type (section 2.1).
var envelopeFields = []string{
	"messaging_product", "recipient_type", "to", "recipient", "type", "context", "biz_opaque_callback_data",
	"recipient_identity_key_hash", "messaging_account_id", "paid_messaging_account_id", "category", "direct_send_config",
}

// Types of messages (section 2.2 to 2.4).
var messageTypes = []string{
	"text", "image", "video", "audio", "document", "sticker", "location", "contacts", "reaction", "interactive", "template",
}

var (
	phoneShape = regexp.MustCompile(`^\+?[0-9][0-9 ()-]{4,24}$`)
	bsuidShape = regexp.MustCompile(`^[A-Z]{2}\.[A-Za-z0-9.]{1,256}$`)
)

const (
	maxOpaque = 512  // characters
	maxText   = 4096 // UTF-16 units
	maxTitle  = 20   // of a reply button, UTF-16 units
)

// whom returns the recipient: to wins over recipient.
func (q request) whom() string {
	if q.To != "" {
		return q.To
	}
	return q.Recipient
}

// marksRead reports a request that sends nothing (section 2.5).
func (q request) marksRead() bool { return q.Status == "read" }

// check judges a body as section 2 does, the first fault found.
func check(body []byte) (request, *problem) {
	invalid := func(format string, args ...any) *problem {
		return &problem{code: invalidParameter, details: fmt.Sprintf(format, args...)}
	}
	var q request
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return q, invalid("The body is not a JSON object.")
	}
	if err := json.Unmarshal(body, &q); err != nil {
		return q, invalid("A parameter has the wrong type.")
	}
	if q.Product != "whatsapp" {
		return q, invalid("The parameter messaging_product is required.")
	}
	if q.marksRead() {
		if q.MessageID == "" {
			return q, invalid("The parameter message_id is required.")
		}
		return q, unexpected(fields, "messaging_product", "status", "message_id", "typing_indicator")
	}
	if q.Type == "" {
		q.Type = "text"
	}
	if !slices.Contains(messageTypes, q.Type) {
		return q, invalid("Param type must be one of {%s} - got %q.", strings.ToUpper(strings.Join(messageTypes, ", ")), q.Type)
	}
	if p := unexpected(fields, append(envelopeFields, q.Type)...); p != nil {
		return q, p
	}
	if p := checkRecipient(q); p != nil {
		return q, p
	}
	if len(utf16.Encode([]rune(q.Opaque))) > maxOpaque {
		return q, invalid("Param biz_opaque_callback_data must be at most %d characters long.", maxOpaque)
	}
	return q, checkContent(q.Type, fields[q.Type])
}

func unexpected(fields map[string]json.RawMessage, known ...string) *problem {
	for name := range fields {
		if !slices.Contains(known, name) {
			return &problem{code: invalidParameter, details: fmt.Sprintf("Unexpected key %q on param %q.", name, "message")}
		}
	}
	return nil
}

func checkRecipient(q request) *problem {
	switch to := q.whom(); {
	case to == "":
		return &problem{code: invalidParameter, details: "The parameter to is required."}
	case q.RecipientType != "" && q.RecipientType != "individual" && q.RecipientType != "group":
		return &problem{code: invalidParameter, details: "Param recipient_type must be one of {INDIVIDUAL, GROUP}."}
	case q.RecipientType == "group":
		return nil
	case q.To != "" && !phoneShape.MatchString(q.To), q.To == "" && !bsuidShape.MatchString(q.Recipient):
		return &problem{code: invalidValue, details: "The recipient is not a valid WhatsApp user."}
	}
	return nil
}

// checkContent judges the object named by the type: its presence, and of the
// commonest types what is required in it (section 2.2 to 2.4).
func checkContent(kind string, raw json.RawMessage) *problem {
	missing := func(what string) *problem {
		return &problem{code: missingParameter, details: fmt.Sprintf("Parameter of type %s is missing %s value", kind, what)}
	}
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return missing(kind)
	}
	var c struct {
		Body, ID, Link, Name, Emoji string
		MessageID                   string `json:"message_id"`
		Latitude, Longitude         any
		Language                    struct{ Code string }
		Type                        string
		Action                      struct {
			Buttons []struct {
				Reply struct{ ID, Title string }
			}
		}
	}
	if kind == "contacts" {
		var list []any
		if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
			return missing("contacts")
		}
		return nil
	}
	if json.Unmarshal(raw, &c) != nil && kind != "interactive" {
		return &problem{code: invalidParameter, details: fmt.Sprintf("Invalid parameter: %s must be an object", kind)}
	}
	switch kind {
	case "text":
		switch n := len(utf16.Encode([]rune(c.Body))); {
		case n == 0:
			return &problem{code: invalidParameter, details: "Invalid parameter: text.body must be a non-empty string"}
		case n > maxText:
			return &problem{code: invalidParameter, details: fmt.Sprintf("Param text['body'] must be at most %d characters long.", maxText)}
		}
	case "image", "video", "audio", "document", "sticker":
		if (c.ID == "") == (c.Link == "") {
			return missing("id or link")
		}
	case "location":
		if c.Latitude == nil || c.Longitude == nil {
			return missing("latitude or longitude")
		}
	case "reaction":
		if c.MessageID == "" {
			return missing("message_id")
		}
	case "template":
		if c.Name == "" || c.Language.Code == "" {
			return missing("name or language")
		}
	case "interactive":
		if c.Type == "" {
			return missing("type")
		}
		for _, b := range c.Action.Buttons {
			if n := len(utf16.Encode([]rune(b.Reply.Title))); c.Type == "button" && (n == 0 || n > maxTitle) {
				return &problem{code: invalidValue, details: "Button title length invalid. Min length: 1, Max length: 20"}
			}
		}
	}
	return nil
}
