package sqlitestore

import (
	"bytes"
	"encoding/json"
)

// members returns the values of some members of a document, in the order of
// their names; nil for one it does not have. Documents begin with what they are
// listed by, so this seldom looks at more than their beginning.
func members(body []byte, names []string) ([]json.RawMessage, error) {
	found := make([]json.RawMessage, len(names))
	missing := len(names)
	for i := 1; missing > 0 && i < len(body) && body[i] != '}'; i++ { // past "{" or ","
		colon := endOfText(body, i)
		if colon < 0 || colon >= len(body) || body[colon] != ':' {
			return membersOfAny(body, names)
		}
		end := endOfValue(body, colon+1)
		if end < 0 || end >= len(body) {
			return membersOfAny(body, names)
		}
		for n, name := range names {
			if string(body[i+1:colon-1]) == name {
				found[n] = body[colon+1 : end]
				missing--
			}
		}
		i = end
	}
	return found, nil
}

// membersOfAny is members of a document that is spelled in another way than
// encoding/json does.
func membersOfAny(body []byte, names []string) ([]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, err
	}
	found := make([]json.RawMessage, len(names))
	for n, name := range names {
		found[n] = all[name]
	}
	return found, nil
}

// endOfText returns where a text in quotes ends, or -1 when there is none.
func endOfText(body []byte, i int) int {
	if i >= len(body) || body[i] != '"' {
		return -1
	}
	for i++; i < len(body); i++ {
		switch body[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// endOfValue returns where a value ends, or -1 when it does not.
func endOfValue(body []byte, i int) int {
	for depth := 0; i < len(body); {
		switch body[i] {
		case '"':
			if i = endOfText(body, i); i < 0 {
				return -1
			}
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case ',':
			if depth == 0 {
				return i
			}
			i++
		case ' ', '\t', '\r', '\n':
			return -1
		default:
			i++
		}
	}
	return -1
}

// text is a member that is a text, or false when it is none.
func text(value json.RawMessage) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	if plain := value[1 : len(value)-1]; bytes.IndexByte(plain, '\\') < 0 {
		return string(plain), true
	}
	var s string
	err := json.Unmarshal(value, &s)
	return s, err == nil
}
