package cloudapitest

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// request is what matters of a body; check says what is wrong with it.
type request struct {
	RecipientType string
	To            string
	Recipient     string
	Type          string
	Opaque        string
	Read          bool // marks as read instead of sending
	Marketing     bool // came by the Marketing Messages API
}

// envelope is a body beside the object named by its type (section 2.1).
var envelope = map[string]shape{
	"messaging_product": text(64), "recipient_type": text(64), "to": text(512), "recipient": text(512), "type": text(64),
	"context":                     object(map[string]shape{"message_id": text(512).must()}),
	"biz_opaque_callback_data":    text(512).lax(),
	"recipient_identity_key_hash": text(512), "messaging_account_id": text(64), "paid_messaging_account_id": text(64),
	"category": oneOf("utility", "authentication", "marketing"), "direct_send_config": object(map[string]shape{"template_name": text(512).must()}),
}

// bodies is the whole body of each type; marketingBody that of the Marketing
// Messages API (section 2.9).
var (
	bodies = func() map[string]shape {
		all := map[string]shape{}
		for name, content := range messageTypes {
			fields := maps.Clone(envelope)
			fields[name] = content.must()
			all[name] = object(fields)
		}
		return all
	}()
	marketingBody = func() shape {
		fields := maps.Clone(bodies["template"].fields)
		fields["product_policy"], fields["message_activity_sharing"] = oneOf("CLOUD_API_FALLBACK", "STRICT"), flag()
		return object(fields)
	}()
)

// markRead is the body that marks a message as read (section 2.5).
var markRead = object(map[string]shape{
	"messaging_product": text(64), "status": oneOf("read"), "message_id": text(512),
	"typing_indicator": object(map[string]shape{"type": oneOf("text").must()}),
})

const group = "group" // the recipient_type

var (
	phoneShape = regexp.MustCompile(`^\+?[0-9][0-9 ()-]{4,24}$`)
	bsuidShape = regexp.MustCompile(`^[A-Z]{2}\.[A-Za-z0-9.]{1,256}$`)
)

// whom returns the recipient: to wins over recipient.
func (q request) whom() string {
	if q.To != "" {
		return q.To
	}
	return q.Recipient
}

// marksRead reports a request that sends nothing (section 2.5).
func (q request) marksRead() bool { return q.Read }

func invalid(format string, args ...any) *problem {
	return &problem{code: invalidParameter, details: fmt.Sprintf(format, args...)}
}

// check judges a body as section 2 does, the first fault found. What could be
// read of the request is returned even so.
func check(body []byte, marketing bool) (request, *problem) {
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return request{}, invalid("The body is not a JSON object.")
	}
	q := requestOf(fields)
	q.Marketing = marketing
	switch {
	case fields["messaging_product"] != "whatsapp":
		return q, invalid("The parameter messaging_product is required.")
	case q.Read && (fields["message_id"] == nil || fields["message_id"] == ""):
		return q, invalid("The parameter message_id is required.")
	case q.Read:
		return q, markRead.judge("message", fields)
	}
	whole, known := bodies[q.Type]
	switch {
	case !known:
		return q, invalid("Param type must be one of {%s} - got %q.", typeNames, q.Type)
	case marketing && q.Type != "template":
		return q, &problem{code: wrongMethod}
	case q.RecipientType == group && q.Type == "interactive":
		return q, &problem{code: unsupportedType, details: "Interactive messages are not supported in groups."}
	}
	if marketing {
		whole = marketingBody
	}
	if p := whole.judge("message", fields); p != nil {
		return q, p
	}
	if p := checkRecipient(q); p != nil {
		return q, p
	}
	if q.To == "" && authenticates(fields["template"]) {
		return q, &problem{code: phoneNeeded}
	}
	return q, nil
}

// authenticates reports a template that gives a code: it shows the same text
// in its body and behind its button (section 2.4).
func authenticates(template any) bool {
	t, _ := template.(map[string]any)
	components, _ := t["components"].([]any)
	texts := map[string]any{}
	for _, c := range components {
		component := c.(map[string]any)
		if parameters, _ := component["parameters"].([]any); len(parameters) == 1 {
			texts[strings.ToLower(component["type"].(string))] = parameters[0].(map[string]any)["text"]
		}
	}
	return texts["body"] != nil && texts["body"] == texts["button"]
}

func requestOf(fields map[string]any) request {
	word := func(name string) string { s, _ := fields[name].(string); return s }
	q := request{
		RecipientType: word("recipient_type"), To: word("to"), Recipient: word("recipient"), Type: word("type"),
		Opaque: word("biz_opaque_callback_data"), Read: word("status") == "read",
	}
	if fields["type"] == nil {
		q.Type = "text"
	}
	return q
}

func checkRecipient(q request) *problem {
	switch to := q.whom(); {
	case to == "":
		return invalid("The parameter to is required.")
	case q.RecipientType != "" && q.RecipientType != "individual" && q.RecipientType != group:
		return invalid("Param recipient_type must be one of {INDIVIDUAL, GROUP}.")
	case q.RecipientType == group && (q.To == "" || phoneShape.MatchString(q.To)):
		return &problem{code: invalidValue, details: "The recipient is not a group."}
	case q.RecipientType == group:
		return nil
	case q.To != "" && !phoneShape.MatchString(q.To), q.To == "" && !bsuidShape.MatchString(q.Recipient):
		return &problem{code: invalidValue, details: "The recipient is not a valid WhatsApp user."}
	}
	return nil
}

var typeNames = func() string {
	var names []string
	for name := range messageTypes {
		names = append(names, strings.ToUpper(name))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}()
