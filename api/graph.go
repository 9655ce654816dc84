package api

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// graphPath is where the Cloud API takes messages (REFERENCE section 2). A
// client of Meta's that is given this server's address and an API key of ours
// for its access token sends through sendlog, and need not know it.
const graphPath = `/:version<regex(^v[0-9]+\.[0-9]+$)>/:numberId/messages`

// graphShape tells a path of graphPath also from what no route took.
var graphShape = regexp.MustCompile(`^/v[0-9]+\.[0-9]+/[^/]+/messages$`)

// graphAccepted is Meta's answer to a send (section 2.7). The id is ours: the
// provider's is known only later.
type graphAccepted struct {
	Product  string         `json:"messaging_product"`
	Contacts []graphContact `json:"contacts,omitempty"`
	Messages []graphMessage `json:"messages"`
}

type graphContact struct {
	Input  string `json:"input"`
	WaID   string `json:"wa_id,omitempty"`
	UserID string `json:"user_id,omitempty"`
}

type graphMessage struct {
	ID domain.MessageID `json:"id"`
}

// graphError is Meta's answer to what it refuses (section 7.1).
type graphError struct {
	Error struct {
		Message string        `json:"message"`
		Type    string        `json:"type"`
		Code    int           `json:"code"`
		Data    graphErrorSay `json:"error_data"`
		Trace   string        `json:"fbtrace_id"` // the request id
	} `json:"error"`
}

type graphErrorSay struct {
	Product string `json:"messaging_product"`
	Details string `json:"details"`
}

// graphCodes says our errors in Meta's codes; what is not here is 1, an
// unknown error.
var graphCodes = map[domain.ErrKind]int{
	badMediaType:       100,
	domain.Denied:      190,
	domain.Forbidden:   200,
	domain.Invalid:     100,
	domain.KeyReused:   100,
	domain.Limited:     130429,
	domain.Malformed:   100,
	domain.TooLarge:    100,
	domain.Unavailable: 2,
	domain.Unknown:     33,
	domain.Unwelcome:   131047,
}

// graphSend is send in the words of the Cloud API. The tenant is the one whose
// number is in the path, and whose key is shown.
func (s *Server) graphSend(ctx context.Context, r request) error {
	if err := requireJSON(r.c.Get(fiber.HeaderContentType)); err != nil {
		return err
	}
	body := bytes.Clone(r.c.BodyRaw())
	if err := wellFormed(body); err != nil {
		return err
	}
	wish, err := graphWish(body)
	if err != nil {
		return err
	}
	wish.Tenant, wish.Actor, wish.Trace = r.tenant.ID, r.actor, traceparent(r.c)
	if wish.IdempotencyKey, err = s.idempotencyKey(r.c, ""); err != nil {
		return err
	}
	if err := sendFrom(&wish, r, domain.NumberID(strings.Clone(r.c.Params("numberId")))); err != nil {
		return err
	}
	receipt, err := s.acceptOne(ctx, r, wish)
	if err != nil {
		return err
	}
	var said struct {
		Status string `json:"status"`
	}
	if json.Unmarshal(wish.Content, &said) == nil && said.Status != "" { // read receipts have no message (section 2.5)
		return answer(r.c, fiber.StatusOK, map[string]bool{"success": true})
	}
	out := graphAccepted{Product: "whatsapp", Messages: []graphMessage{{receipt.ID}}}
	switch {
	case wish.RecipientType == "group":
	case wish.To != "" && wish.To[0] >= 'A' && wish.To[0] <= 'Z': // here a user id may stand in to as well
		out.Contacts = []graphContact{{Input: wish.To, UserID: wish.To}}
	case wish.To != "":
		digits := strings.Map(func(r rune) rune {
			if r < '0' || r > '9' {
				return -1
			}
			return r
		}, wish.To)
		out.Contacts = []graphContact{{Input: wish.To, WaID: digits}}
	default:
		out.Contacts = []graphContact{{Input: wish.Recipient, UserID: wish.Recipient}}
	}
	return answer(r.c, fiber.StatusOK, out)
}

// graphWish reads Meta's body: the envelope of section 2.1 beside the message
// object.
func graphWish(body []byte) (message.Request, error) {
	var wish message.Request
	var product string
	rest, faults, err := take(body, text("messaging_product", &product),
		text("to", &wish.To), text("recipient", &wish.Recipient), text("recipient_type", &wish.RecipientType))
	if err != nil {
		return wish, err
	}
	if product != "whatsapp" {
		faults = append(faults, domain.Fault{Pointer: "/messaging_product", Detail: `must be "whatsapp"`})
	}
	if len(faults) > 0 {
		return wish, misshapen(faults)
	}
	if wish.To != "" && wish.RecipientType != "group" && wish.To[0] >= '0' && wish.To[0] <= '9' {
		wish.To = "+" + wish.To // clients of Meta leave it out, and mean the international form
	}
	wish.Beside = []string{"to", "recipient", "recipient_type"}
	if wish.Content, err = json.Marshal(rest); err != nil {
		return wish, domain.Errorf(domain.Bug, err, "something broke on our side")
	}
	return wish, nil
}

// graphProblem says a problem in Meta's shape.
func graphProblem(e *domain.Error, p problem) graphError {
	var out graphError
	code, known := graphCodes[e.Kind]
	if !known {
		code = 1
	}
	details := make([]string, len(p.Errors))
	for i, f := range p.Errors {
		details[i] = f.Pointer + " " + f.Detail
	}
	out.Error.Message, out.Error.Type, out.Error.Code, out.Error.Trace = e.Message, "OAuthException", code, p.Instance
	out.Error.Data = graphErrorSay{Product: "whatsapp", Details: strings.Join(details, "; ")}
	return out
}
