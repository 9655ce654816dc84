package cloudapi

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object read one level at a time, so that an odd member
// costs nobody but itself: a member of the wrong type reads as absent, and
// missing, null and "" are one (section 4.5 and 6). Its methods work on nil.
// Ids keep every digit because numbers are never turned into floats.
type object map[string]json.RawMessage

// parseObject reports whether raw is a JSON object, and opens it.
func parseObject(raw json.RawMessage) (object, bool) {
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, false
	}
	var o object
	if json.Unmarshal(raw, &o) != nil {
		return nil, false
	}
	return o, true
}

// parseList reports whether raw is a JSON array, and opens it.
func parseList(raw json.RawMessage) ([]json.RawMessage, bool) {
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '[' {
		return nil, false
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil, false
	}
	return list, true
}

// text returns a string or the digits of a number.
func (o object) text(key string) string { return scalar(o[key]) }

// object returns a member object, or nil.
func (o object) object(key string) object {
	member, _ := parseObject(o[key])
	return member
}

// list returns the elements of a member array, or nil.
func (o object) list(key string) []json.RawMessage {
	list, _ := parseList(o[key])
	return list
}

// first returns the first element of a member array if it is an object.
func (o object) first(key string) object {
	list := o.list(key)
	if len(list) == 0 {
		return nil
	}
	element, _ := parseObject(list[0])
	return element
}

// integer returns a whole number, or a string that holds one.
func (o object) integer(key string) (n int, ok bool) {
	n, err := strconv.Atoi(o.text(key))
	return n, err == nil
}

// isTrue reports a literal true.
func (o object) isTrue(key string) bool { return string(o[key]) == "true" }

// scalar is the text of a JSON string or number, and "" of anything else.
func scalar(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	switch c := raw[0]; {
	case c == '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return ""
		}
		return s
	case c == '-', '0' <= c && c <= '9':
		return string(raw)
	}
	return ""
}

// isEmpty reports a value that says nothing: absent, null, "", {} or [].
func isEmpty(raw json.RawMessage) bool {
	var compact bytes.Buffer
	if len(raw) > 64 || json.Compact(&compact, raw) != nil {
		return len(raw) == 0
	}
	switch compact.String() {
	case "null", `""`, "{}", "[]":
		return true
	}
	return false
}

// moment reads Unix seconds, as a string or a number (section 4.5), and also
// milliseconds, which Meta's other products use. Anything outside 1970..5138
// reads as the zero time: it could not be written down again.
func moment(text string) time.Time {
	const milliseconds = 100_000_000_000
	whole, _, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	switch {
	case err != nil, n <= 0, n >= milliseconds*1000:
		return time.Time{}
	case n >= milliseconds:
		return time.UnixMilli(n).UTC()
	}
	return time.Unix(n, 0).UTC()
}

// canonical returns the value with sorted keys and no white space, so that the
// same content always gives the same bytes (section 4.4).
func canonical(raw json.RawMessage) string {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return string(raw)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return string(raw)
	}
	return string(b)
}

// firstOf returns the first text that is not empty.
func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
