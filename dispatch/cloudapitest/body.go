package cloudapitest

import (
	"bytes"
	"encoding/base64"
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

// hookInbound is what a webhook says of a message somebody wrote.
type hookInbound struct {
	Contacts [1]hookContact `json:"contacts"`
	Messages [1]hookMessage `json:"messages"`
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

// hookBody puts updates into one webhook (section 4.5), as Meta does: an entry
// of the account, in it a change for each number. What is told of one number
// keeps its order.
func hookBody(account string, batch []*delivery) []byte {
	type change struct {
		number   domain.NumberID
		statuses bool
		values   [][]byte
	}
	var changes []*change
	newest := map[domain.NumberID]*change{}
	size := 0
	for _, d := range batch {
		c := newest[d.number]
		if c == nil || !c.statuses || !d.status { // a person's message is a change of its own
			c = &change{number: d.number, statuses: d.status}
			newest[d.number], changes = c, append(changes, c)
		}
		c.values = append(c.values, d.value)
		size += len(d.value) + 1
	}
	b := make([]byte, 0, size+len(changes)*200+200)
	b = append(b, `{"object":"whatsapp_business_account","entry":[{"id":"`...)
	b = append(append(b, account...), `","changes":[`...)
	for i, c := range changes {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"`...)
		b = append(append(b, displayNumber(c.number)...), `","phone_number_id":"`...)
		b = append(append(b, c.number...), `"},`...)
		if c.statuses {
			b = append(append(b, `"statuses":[`...), bytes.Join(c.values, []byte{','})...)
			b = append(b, ']')
		} else {
			b = append(b, c.values[0][1:len(c.values[0])-1]...) // without its braces
		}
		b = append(b, `},"field":"messages"}`...)
	}
	return append(b, `]}]}`...)
}

// statuses returns what will be told about an accepted message, with the time
// each status is due. The times inside follow the true order even when they
// are told in another.
func (s *Server) statuses(call Call, q request, wamid string, now time.Time, f Fault) []*delivery {
	if f.Drop || s.cfg.WebhookURL == "" {
		return nil
	}
	words := []string{"sent", "delivered", "read"}
	switch {
	case f.FailWith != 0:
		words = []string{"failed"}
	case q.Type == "reaction": // nobody hears more of these (section 2.2)
		words = words[:1]
	}
	told := make([]*delivery, 0, 2*len(words))
	for i, word := range words {
		at := now.Add(f.StatusDelay + time.Duration(i+1)*s.cfg.StatusDelay)
		d := &delivery{number: call.Number, status: true, value: metaJSON(s.status(q, wamid, word, at, f)), due: at}
		told = append(told, d)
		if f.Duplicate {
			again := *d
			told = append(told, &again)
		}
	}
	if f.Reorder {
		for i, j := 0, len(told)-1; i < j; i, j = i+1, j-1 {
			told[i].value, told[j].value = told[j].value, told[i].value
		}
	}
	if f.First {
		for _, d := range told {
			d.due, d.done = now, make(chan struct{})
		}
	}
	return told
}

func (s *Server) status(q request, wamid, word string, at time.Time, f Fault) hookStatus {
	st := hookStatus{ID: wamid, Status: word, Timestamp: strconv.FormatInt(at.Unix(), 10), Opaque: q.Opaque}
	switch {
	case q.RecipientType == group:
		st.RecipientID, st.RecipientType = q.To, group
	case q.To == "":
		st.RecipientUserID = q.Recipient
	default:
		st.RecipientID = waID(q.To)
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
		if q.Marketing {
			st.Pricing.Category = "marketing_lite"
		}
	}
	return st
}

// metaJSON encodes the way Meta does and signs: compact, non-ASCII as
// lower-case \uXXXX with surrogate pairs, "/" as "\/" (section 4.2).
func metaJSON(v any) []byte {
	text, err := domain.JSON(v)
	if err != nil {
		panic("cloudapitest: encode: " + err.Error()) // only our own structs and strings come here
	}
	escaped := make([]byte, 0, len(text)+16)
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '/':
			escaped = append(escaped, `\/`...)
			i++
		case c < utf8.RuneSelf:
			escaped = append(escaped, c)
			i++
		default:
			r, size := utf8.DecodeRune(text[i:])
			for _, unit := range utf16.AppendRune(nil, r) {
				escaped = fmt.Appendf(escaped, `\u%04x`, unit)
			}
			i += size
		}
	}
	return escaped
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
	person = waID(person)
	person = person[:min(len(person), 64)]
	b := slices.Concat([]byte{0x1c, 0x18, byte(len(person))}, []byte(person),
		[]byte{0x15, 0x02, 0x00, direction, 0x18, byte(len(unique))}, []byte(unique), []byte{0})
	return "wamid." + base64.StdEncoding.EncodeToString(b)
}

// waID is a phone as Meta spells it (section 2.1): digits alone, in Brazil
// without the ninth digit of mobiles, in Mexico with the 1 that they once had.
func waID(phone string) string {
	d := spelling.Replace(phone)
	switch {
	case len(d) == 13 && strings.HasPrefix(d, "55") && d[4] == '9':
		return d[:4] + d[5:]
	case len(d) == 12 && strings.HasPrefix(d, "52"):
		return "521" + d[2:]
	}
	return d
}

var spelling = strings.NewReplacer("+", "", " ", "", "-", "", "(", "", ")", "")

// displayNumber invents the phone of a business number.
func displayNumber(n domain.NumberID) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(n))
	return fmt.Sprintf("1555%07d", h.Sum32()%10_000_000)
}
