package cloudapi

import (
	"errors"
	"regexp"
	"strings"

	"github.com/sendlog/sendlog/domain"
)

// bsuid matches a business-scoped user id, parent or not (section 6).
var bsuid = regexp.MustCompile(`^[A-Z]{2}\.`)

// request is a call as it goes over the wire.
type request struct {
	edge string // of the number: "messages", or "marketing_messages"
	body []byte
	read bool // it sends nothing: the answer is {"success":true} (section 2.5)
}

// newRequest merges the envelope (section 2.1) with the message object. The
// envelope wins: what the tenant wrote cannot change recipient or callback
// data.
func newRequest(call Call) (request, error) {
	switch {
	case !domain.ValidToken(string(call.Number)):
		return request{}, errors.New("number is not a token")
	case call.Token == "" || strings.ContainsFunc(call.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return request{}, errors.New("the access token cannot travel in a header")
	}
	fields, ok := parseObject(call.Content)
	if !ok {
		return request{}, errors.New("content is not a JSON object")
	}
	for _, name := range []string{"to", "recipient", "recipient_type", "biz_opaque_callback_data"} {
		delete(fields, name)
	}
	_, typed := fields["type"]
	r := request{edge: "messages", read: !typed && fields.text("status") == "read"}
	envelope := map[string]string{"messaging_product": "whatsapp"}
	if !r.read {
		if err := address(envelope, call); err != nil {
			return request{}, err
		}
	}
	// Only the Marketing Messages API knows this field (section 2.9).
	if _, marketing := fields["product_policy"]; marketing {
		r.edge = "marketing_messages"
	}
	for k, v := range envelope {
		fields[k] = encoded(v)
	}
	body, err := domain.JSON(fields)
	if err != nil {
		return request{}, err
	}
	r.body = body
	return r, nil
}

// address writes on the envelope whom it is to, and how we find it again.
func address(envelope map[string]string, call Call) error {
	callback, err := FormatOpaque(call.Tenant, call.Message, call.Attempt)
	if err != nil {
		return err
	}
	envelope["biz_opaque_callback_data"] = callback
	envelope["recipient_type"] = "individual"
	switch {
	case call.To == "":
		return errors.New("no recipient")
	case call.Group:
		envelope["recipient_type"], envelope["to"] = "group", call.To
	case bsuid.MatchString(call.To):
		envelope["recipient"] = call.To
	default:
		envelope["to"] = call.To
	}
	return nil
}
