package cloudapitest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sendlog/sendlog/domain"
)

// A webhook body (section 4.5), in the order Meta writes it.
type hookBody struct {
	Object string      `json:"object"`
	Entry  []hookEntry `json:"entry"`
}

type hookEntry struct {
	ID      string       `json:"id"`
	Changes []hookChange `json:"changes"`
}

type hookChange struct {
	Value hookValue `json:"value"`
	Field string    `json:"field"`
}

type hookValue struct {
	Product  string        `json:"messaging_product"`
	Metadata hookMetadata  `json:"metadata"`
	Contacts []hookContact `json:"contacts,omitempty"`
	Messages []hookMessage `json:"messages,omitempty"`
	Statuses []hookStatus  `json:"statuses,omitempty"`
}

type hookMetadata struct {
	Display string `json:"display_phone_number"`
	Number  string `json:"phone_number_id"`
}

type hookContact struct {
	Profile struct {
		Name string `json:"name,omitempty"`
	} `json:"profile"`
	WaID   string `json:"wa_id,omitempty"`
	UserID string `json:"user_id,omitempty"`
}

type hookMessage struct {
	From       string            `json:"from,omitempty"`
	FromUserID string            `json:"from_user_id,omitempty"`
	ID         string            `json:"id"`
	Timestamp  string            `json:"timestamp"`
	Type       string            `json:"type"`
	Text       map[string]string `json:"text"`
}

type hookStatus struct {
	ID              string       `json:"id"`
	Status          string       `json:"status"`
	Timestamp       string       `json:"timestamp"`
	RecipientID     string       `json:"recipient_id,omitempty"`
	RecipientUserID string       `json:"recipient_user_id,omitempty"`
	RecipientType   string       `json:"recipient_type,omitempty"`
	Opaque          string       `json:"biz_opaque_callback_data,omitempty"`
	Pricing         *hookPricing `json:"pricing,omitempty"`
	Errors          []hookError  `json:"errors,omitempty"`
}

type hookPricing struct {
	Billable bool   `json:"billable"`
	Model    string `json:"pricing_model"`
	Type     string `json:"type"`
	Category string `json:"category"`
}

type hookError struct {
	Code    int               `json:"code"`
	Title   string            `json:"title"`
	Message string            `json:"message"`
	Data    map[string]string `json:"error_data"`
	Href    string            `json:"href"`
}

// hook wraps a value; number and account are filled in.
func (s *Server) hook(n domain.NumberID, v hookValue) []byte {
	v.Product = "whatsapp"
	v.Metadata = hookMetadata{Display: displayNumber(n), Number: string(n)}
	return metaJSON(hookBody{
		Object: "whatsapp_business_account",
		Entry:  []hookEntry{{ID: s.cfg.Account, Changes: []hookChange{{Value: v, Field: "messages"}}}},
	})
}

// statuses returns what will be told about an accepted message, each status a
// POST of its own, with the time it is due. The times inside follow the true
// order even when they are told in another.
func (s *Server) statuses(call Call, q request, wamid string, now time.Time, f Fault) []*delivery {
	if f.Drop || s.cfg.WebhookURL == "" {
		return nil
	}
	words := []string{"sent", "delivered", "read"}
	if f.FailWith != 0 {
		words = []string{"failed"}
	}
	var told []*delivery
	for i, word := range words {
		at := now.Add(time.Duration(i+1) * s.cfg.StatusDelay)
		body := s.hook(call.Number, hookValue{Statuses: []hookStatus{s.status(q, wamid, word, at, f)}})
		told = append(told, newDelivery(body, at))
		if f.Duplicate {
			told = append(told, newDelivery(body, at))
		}
	}
	if f.Reorder {
		for i, j := 0, len(told)-1; i < j; i, j = i+1, j-1 {
			told[i].body, told[j].body = told[j].body, told[i].body
		}
	}
	if f.First {
		for _, d := range told {
			d.due = now
		}
	}
	return told
}

func (s *Server) status(q request, wamid, word string, at time.Time, f Fault) hookStatus {
	st := hookStatus{ID: wamid, Status: word, Timestamp: strconv.FormatInt(at.Unix(), 10), Opaque: q.Opaque}
	switch {
	case q.RecipientType == "group":
		st.RecipientID, st.RecipientType = q.To, "group"
	case q.To == "":
		st.RecipientUserID = q.Recipient
	default:
		st.RecipientID = digits(q.To)
	}
	if word == "failed" {
		e := s.refusal(problem{code: f.FailWith}).Body.Error
		details := e.Message
		if e.Data != nil {
			details = e.Data.Details
		}
		st.Errors = []hookError{{Code: f.FailWith, Title: e.Message, Message: e.Message,
			Data: map[string]string{"details": details}, Href: "/documentation/business-messaging/whatsapp/support/error-codes"}}
		return st
	}
	if word != "read" { // pricing comes with sent and with one of the others
		st.Pricing = &hookPricing{Model: "PMP", Type: "free_customer_service", Category: "service"}
		if q.Type == "template" {
			st.Pricing = &hookPricing{Billable: true, Model: "PMP", Type: "regular", Category: "utility"}
		}
	}
	return st
}

// metaJSON encodes the way Meta does and signs: compact, non-ASCII as
// lower-case \uXXXX with surrogate pairs, "/" as "\/" (section 4.2).
func metaJSON(v any) []byte {
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("cloudapitest: encode: " + err.Error()) // only our own structs and strings come here
	}
	var b bytes.Buffer
	for _, r := range strings.TrimSuffix(plain.String(), "\n") {
		switch {
		case r == '/':
			b.WriteString(`\/`)
		case r < utf8.RuneSelf:
			b.WriteByte(byte(r))
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		}
	}
	return b.Bytes()
}

// outgoingWamid and incomingWamid build ids with the anatomy of real ones: the
// person's number and a random part in base64.
func outgoingWamid(to, unique string) string {
	return wamid(to, 0x11, strings.ToUpper(unique[:18]))
}

func incomingWamid(from, unique string) string {
	return wamid(from, 0x12, "3A"+strings.ToUpper(unique[:18]))
}

func wamid(person string, direction byte, unique string) string {
	person = digits(person)
	person = person[:min(len(person), 64)]
	b := slices.Concat([]byte{0x1c, 0x18, byte(len(person))}, []byte(person),
		[]byte{0x15, 0x02, 0x00, direction, 0x18, byte(len(unique))}, []byte(unique), []byte{0})
	return "wamid." + base64.StdEncoding.EncodeToString(b)
}

// digits is a phone as Meta spells it: without "+" and what stands between.
func digits(phone string) string {
	return strings.NewReplacer("+", "", " ", "", "-", "", "(", "", ")", "").Replace(phone)
}

// displayNumber invents the phone of a business number.
func displayNumber(n domain.NumberID) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(n))
	return fmt.Sprintf("1555%07d", h.Sum32()%10_000_000)
}
