package cloudapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Kind says which of the three ends a call came to.
type Kind string

// The ends of a call. There are no others; the zero value is none of them.
const (
	Accepted Kind = "accepted" // Meta took it: Wamid is set, unless it only marked a message as read
	Refused  Kind = "refused"  // it was not sent: Class, Reason, Retry and Wait say what now
	Unknown  Kind = "unknown"  // it may or may not have been sent: Detail says how we lost sight of it
)

// Outcome is what is known after one call.
type Outcome struct {
	Kind Kind

	Wamid string // accepted: Meta's id of the message; holds the recipient's number
	WaID  string // accepted: the recipient as Meta spells it, if it gave a phone
	State string // accepted: message_status of templates (section 2.7)

	Code   int           // Meta's error.code; 0 when there was none
	Class  Class         // refused and unknown
	Reason string        // refused and unknown: words for the tenant, from the code table
	Retry  bool          // refused: another attempt may succeed
	Wait   time.Duration // refused: not before this; 0 = the caller's own backoff
	Brake  Brake         // refused: who waits with the message
	Hold   bool          // refused: the message waits until its account is mended
	Halt   Halt          // refused: what of the account stops it; zero: nothing does

	Details string          // Meta's own words for its error, up to maxDetails; may quote a person: never logged
	Detail  string          // unknown: "timeout", "connection lost", "cancelled", "http 502", "unreadable answer", "error 131000"
	TraceID string          // Meta's handle for its support
	Version string          // version of the API that answered, to notice when it is not ours
	Raw     json.RawMessage // the verbatim answer without our token; nil when it was not JSON
}

// String says what happened in words without personal data.
func (o Outcome) String() string {
	s := string(o.Kind)
	if o.Kind != Accepted {
		s += fmt.Sprintf(" code=%d class=%s", o.Code, o.Class)
	}
	if o.Detail != "" {
		s += " (" + o.Detail + ")"
	}
	return s
}

// GoString implements fmt.GoStringer: an Outcome holds personal data.
func (o Outcome) GoString() string { return o.String() }

// LogValue implements slog.LogValuer for the same reason.
func (o Outcome) LogValue() slog.Value { return slog.StringValue(o.String()) }

// refused is a refusal that no answer of Meta stands behind.
func refused(r Row, call Call) Outcome {
	o := Outcome{Kind: Refused}
	o.refuse(r, call)
	return o
}

// refuse notes what a row says about a refusal.
func (o *Outcome) refuse(r Row, call Call) {
	o.Kind, o.Class, o.Reason = Refused, r.Class, r.Words
	o.Retry, o.Wait, o.Brake = r.Class == Retry, r.wait(call.Attempt), r.Brake
	o.Halt, o.Hold = r.Halt, r.Class == Account && !r.Ends
}

func unknown(detail string) Outcome {
	return Outcome{Kind: Unknown, Class: uncertain.Class, Reason: uncertain.Words, Detail: detail}
}

// conclude applies the outcome table of section 3 to a whole answer. read says
// that the call marked a message as read.
func conclude(status int, header http.Header, body []byte, call Call, read bool) Outcome {
	o := Outcome{TraceID: word(header.Get("X-Fb-Trace-Id"), call.Token)}
	if v := header.Get("Facebook-Api-Version"); versionShape.MatchString(v) {
		o.Version = v
	}
	var answer object
	if len(body) <= maxAnswer {
		var whole bool
		if answer, whole = parseObject(body); whole || json.Valid(body) {
			o.Raw = scrub(body, call.Token)
		}
	}
	if status >= 200 && status < 300 {
		if read && answer.isTrue("success") {
			o.Kind = Accepted
			return o
		}
		return accept(o, answer)
	}
	row, code := judge(status, answer.object("error"))
	if trace := word(answer.object("error").text("fbtrace_id"), call.Token); trace != "" {
		o.TraceID = trace
	}
	o.Code, o.Class, o.Reason = code, row.Class, row.Words
	o.Details = detailsOf(answer.object("error"), call.Token)
	if row.Class == Ambiguous {
		o.Kind, o.Detail = Unknown, "http "+strconv.Itoa(status)
		if code != 0 {
			o.Detail = "error " + strconv.Itoa(code)
		}
		return o
	}
	o.refuse(row, call)
	if told := waitTold(header); o.Retry && told > 0 {
		o.Wait = told
	}
	return o
}

// accept reads a 2xx answer. Without messages[0].id it says nothing, whatever
// else it holds (section 2.7): an error object inside a 200 too.
func accept(o Outcome, answer object) Outcome {
	message := answer.first("messages")
	if wamid := message.text("id"); wamid != "" {
		o.Kind, o.Wamid = Accepted, wamid
		o.WaID, o.State = answer.first("contacts").text("wa_id"), word(message.text("message_status"), "")
		return o
	}
	o.Kind, o.Class, o.Reason, o.Detail = Unknown, uncertain.Class, uncertain.Words, "unreadable answer"
	if answer != nil {
		o.Detail = "answer without a message id"
		o.Code, _ = answer.object("error").integer("code")
	}
	return o
}

// judge picks the row of a refusal: by its code when the table has it, else by
// the HTTP status (section 7.1).
func judge(status int, e object) (Row, int) {
	code, ok := e.integer("code")
	if !ok {
		return byHTTP(status, false), 0
	}
	subcode, _ := e.integer("error_subcode")
	if row, listed := lookup(code, subcode); listed {
		return row, code
	}
	return byHTTP(status, e.isTrue("is_transient")), code
}

// waitTold returns how long Meta asks to wait: a Retry-After (none is
// documented, section 2.8), else the longest estimate among its usage headers.
func waitTold(header http.Header) time.Duration {
	if after := header.Get("Retry-After"); after != "" {
		if seconds, err := strconv.ParseInt(after, 10, 32); err == nil {
			return min(time.Duration(max(seconds, 0))*time.Second, maxWait)
		}
		// A date is read against the answer's own date, so that a wrong clock
		// on either side does not matter.
		until, err1 := http.ParseTime(after)
		now, err2 := http.ParseTime(header.Get("Date"))
		if err1 == nil && err2 == nil {
			return min(max(until.Sub(now), 0), maxWait)
		}
	}
	var usage map[string][]struct {
		Minutes int32 `json:"estimated_time_to_regain_access"`
	}
	if json.Unmarshal([]byte(header.Get("X-Business-Use-Case-Usage")), &usage) != nil {
		return 0
	}
	var longest int32
	for _, kinds := range usage {
		for _, k := range kinds {
			longest = max(longest, k.Minutes)
		}
	}
	return min(time.Duration(longest)*time.Minute, maxWait)
}

// detailsOf returns what an error of Meta's says in detail, in an answer or in a
// status, at most maxDetails bytes of it. error_data may be a text (section 7.1);
// without it the message is all there is.
func detailsOf(e object, secret string) string {
	said := firstOf(e.object("error_data").text("details"), e.text("error_data"), e.text("message"))
	if secret != "" {
		said = strings.ReplaceAll(said, secret, "[token]") // before it is cut: half a token is one too
	}
	if len(said) > maxDetails {
		said = said[:maxDetails]
	}
	return strings.ToValidUTF8(said, "")
}

// word returns s if it is a plain short token and not our secret, else "".
// What passes may stand in unsealed facts and log lines.
func word(s, secret string) string {
	if !domain.ValidToken(s) || (secret != "" && strings.Contains(s, secret)) {
		return ""
	}
	return s
}

// scrub returns raw, with every occurrence of the token taken out should Meta
// echo it: in plain, or hidden behind JSON escapes.
func scrub(raw []byte, token string) json.RawMessage {
	if token == "" || (!bytes.Contains(raw, []byte(token)) && !bytes.ContainsRune(raw, '\\')) {
		return raw
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil
	}
	found := false
	v = without(v, token, &found)
	if !found {
		return raw
	}
	clean, err := json.Marshal(v)
	if err != nil || bytes.Contains(clean, []byte(token)) {
		return nil
	}
	return clean
}

// without replaces the token in all strings and keys of a decoded value.
func without(v any, token string, found *bool) any {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, token) {
			*found = true
			return strings.ReplaceAll(v, token, "[token]")
		}
	case json.Number:
		if strings.Contains(v.String(), token) {
			*found = true
			return "[token]"
		}
	case []any:
		for i := range v {
			v[i] = without(v[i], token, found)
		}
	case map[string]any:
		clean := make(map[string]any, len(v))
		for k, member := range v {
			clean[without(k, token, found).(string)] = without(member, token, found)
		}
		return clean
	}
	return v
}
