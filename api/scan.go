package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// What this file reads is valid JSON, so it looks for the bounds of things only.

// token returns where the next token at or after i begins and ends: a
// delimiter, a string or another scalar. At the end of the text it is empty.
func token(b []byte, i int) (start, end int) {
	for i < len(b) && strings.IndexByte(" \t\r\n", b[i]) >= 0 {
		i++
	}
	start = i
	switch {
	case i == len(b):
		return i, i
	case strings.IndexByte("{}[],:", b[i]) >= 0:
		return i, i + 1
	case b[i] == '"':
		for i++; b[i] != '"'; i++ {
			if b[i] == '\\' {
				i++
			}
		}
		return start, i + 1
	}
	for i < len(b) && strings.IndexByte(" \t\r\n{}[],:", b[i]) < 0 {
		i++
	}
	return start, i
}

// fields returns the members of an object, or nil when it is something else.
// The values are parts of b, without the spaces around them.
func fields(b []byte) map[string]json.RawMessage {
	start, i := token(b, 0)
	if b[start] != '{' {
		return nil
	}
	all := map[string]json.RawMessage{}
	for {
		start, end := token(b, i)
		switch b[start] {
		case '}':
			return all
		case ',':
			i = end
			continue
		}
		name := unquote(b[start:end])
		_, i = token(b, end) // the colon
		start, i = value(b, i)
		all[name] = b[start:i:i]
	}
}

// value returns where the next value begins and ends.
func value(b []byte, i int) (start, end int) {
	start, end = token(b, i)
	depth, at := 0, start
	for {
		switch b[at] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		if depth == 0 {
			return start, end
		}
		at, end = token(b, end)
	}
}

// unquote returns what a string says.
func unquote(b []byte) (s string) {
	if inner := b[1 : len(b)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	_ = json.Unmarshal(b, &s) // it is a string
	return s
}

// container is an object or a list that is open.
type container struct {
	object bool
	before int    // names of those around it
	name   []byte // of the present member
	value  bool   // a value comes next, not a name
	index  int    // of the present element
}

// unambiguous refuses names that appear twice in an object, which two readers
// may understand differently, and nesting that is deeper than anybody needs.
func unambiguous(b []byte) error {
	var open []container
	names := make([][]byte, 0, 32) // of the members so far of all that is open
	for start, end := token(b, 0); start < len(b); start, end = token(b, end) {
		c := b[start]
		if c == '{' || c == '[' {
			if len(open) == maxJSONDepth {
				return malformed("", fmt.Sprintf("is nested deeper than %d levels", maxJSONDepth))
			}
			open = append(open, container{object: c == '{', before: len(names)})
			continue
		}
		if len(open) == 0 {
			continue
		}
		in := &open[len(open)-1]
		switch {
		case c == '}' || c == ']':
			if name, twice := repeated(names[in.before:]); twice {
				return malformed(place(open[:len(open)-1])+pointer(string(name)), "appears twice")
			}
			names, open = names[:in.before], open[:len(open)-1]
		case c == ',':
			in.value = false
			in.index++
		case c == ':':
			in.value = true
		case c == '"' && in.object && !in.value:
			in.name = b[start+1 : end-1]
			if bytes.IndexByte(in.name, '\\') >= 0 {
				in.name = []byte(unquote(b[start:end]))
			}
			names = append(names, in.name)
		}
	}
	return nil
}

// repeated returns a name that is there twice. It keeps no order.
func repeated(names [][]byte) ([]byte, bool) {
	slices.SortFunc(names, bytes.Compare)
	for i := 1; i < len(names); i++ {
		if bytes.Equal(names[i], names[i-1]) {
			return names[i], true
		}
	}
	return nil, false
}

// place is the JSON pointer of what comes next in the innermost of some open
// containers.
func place(open []container) string {
	var b strings.Builder
	for _, c := range open {
		if c.object {
			b.WriteString(pointer(string(c.name)))
		} else {
			b.WriteString("/" + strconv.Itoa(c.index))
		}
	}
	return b.String()
}
