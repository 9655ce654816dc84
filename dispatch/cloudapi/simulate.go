package cloudapi

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// simulatedAccount is the WABA id of simulated webhooks: the one Meta's own
// dashboard uses for its test bodies (section 4.3).
const simulatedAccount = "0"

// Simulate answers a call under a mock_ token in the provider's place: nobody
// is called, everything is accepted, and the same attempt always gets the same
// wamid. A call that could not be sent is refused as [Client.Send] would.
func Simulate(call Call) Outcome {
	what, err := newRequest(call)
	if err != nil {
		return refused(unusable, call)
	}
	if what.read {
		return Outcome{Kind: Accepted, Raw: encoded(map[string]any{"success": true})}
	}
	o := Outcome{
		Kind:  Accepted,
		Wamid: "wamid.MOCK" + strings.ToUpper(domain.Digest("mock", string(call.Message), strconv.Itoa(call.Attempt))),
	}
	contact := map[string]string{"input": call.To}
	switch {
	case call.Group:
		o.WaID, contact["wa_id"] = call.To, call.To
	case bsuid.MatchString(call.To):
		contact["user_id"] = call.To
	default:
		o.WaID = digits(call.To)
		contact["wa_id"] = o.WaID
	}
	o.Raw = encoded(map[string]any{
		"messaging_product": "whatsapp",
		"contacts":          []any{contact},
		"messages":          []any{map[string]string{"id": o.Wamid}},
	})
	return o
}

// SimulatedStatuses returns the body of a webhook that reports an accepted
// call as sent, delivered and read at the given time, as Meta would POST it,
// so that simulated messages take the same way in as real ones. It returns nil
// for an outcome that is not accepted, and for one that no status follows.
func SimulatedStatuses(call Call, o Outcome, at time.Time) []byte {
	if o.Kind != Accepted || o.Wamid == "" {
		return nil
	}
	callback, err := FormatOpaque(call.Tenant, call.Message, call.Attempt)
	if err != nil {
		return nil
	}
	var statuses []any
	for _, word := range []string{"sent", "delivered", "read"} {
		s := map[string]any{
			"id": o.Wamid, "status": word, "timestamp": strconv.FormatInt(at.Unix(), 10),
			"biz_opaque_callback_data": callback,
			"pricing":                  map[string]any{"billable": false, "pricing_model": "PMP", "type": "free_customer_service", "category": "service"},
		}
		switch {
		case call.Group:
			s["recipient_id"], s["recipient_type"] = call.To, "group"
		case bsuid.MatchString(call.To):
			s["recipient_user_id"] = call.To
		default:
			s["recipient_id"] = o.WaID
		}
		statuses = append(statuses, s)
	}
	return encoded(map[string]any{
		"object": "whatsapp_business_account",
		"entry": []any{map[string]any{
			"id": simulatedAccount,
			"changes": []any{map[string]any{
				"field": fieldMessages,
				"value": map[string]any{
					"messaging_product": "whatsapp",
					"metadata":          map[string]any{"display_phone_number": "mock", "phone_number_id": string(call.Number)},
					"statuses":          statuses,
				},
			}},
		}},
	})
}

// encoded is v as JSON; v is made of maps, lists, strings and truths only.
func encoded(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("cloudapi: encode: " + err.Error())
	}
	return b
}
