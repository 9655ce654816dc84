package cloudapitest

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// shape says what a JSON value of a body must be. Shapes are made by the
// functions below and read like the tables of section 2.
type shape struct {
	kind     kind
	required bool
	empty    bool // a text may be ""
	softer   bool // a fault of length is 100 instead of 131009
	least    int  // elements of a list
	most     int  // UTF-16 units of a text, elements of a list; 0 = no limit
	words    []string
	fields   map[string]shape // of an object; nil = any
	item     *shape           // of a list
	also     func(v any) *problem
}

type kind int

const (
	textKind kind = iota
	flagKind
	numberKind
	wordKind // a text or a number
	objectKind
	listKind
)

func text(most int) shape                  { return shape{kind: textKind, most: most} }
func oneOf(words ...string) shape          { return shape{kind: textKind, words: words} }
func flag() shape                          { return shape{kind: flagKind} }
func number() shape                        { return shape{kind: numberKind} }
func word() shape                          { return shape{kind: wordKind} }
func object(fields map[string]shape) shape { return shape{kind: objectKind, fields: fields} }
func list(least, most int, item shape) shape {
	return shape{kind: listKind, least: least, most: most, item: &item}
}

// must makes a value required, blank allows "", lax answers a wrong length
// with 100, and with judges further.
func (s shape) must() shape                       { s.required = true; return s }
func (s shape) blank() shape                      { s.empty = true; return s }
func (s shape) lax() shape                        { s.softer = true; return s }
func (s shape) with(f func(v any) *problem) shape { s.also = f; return s }

func missing(name string) *problem {
	return &problem{code: missingParameter, details: "Required parameter is missing: " + name}
}

func unfit(format string, args ...any) *problem {
	p := invalid(format, args...)
	p.code = invalidValue
	return p
}

// judge returns what is wrong with a value; name says where it stands.
func (s shape) judge(name string, v any) *problem {
	if v == nil {
		if s.required {
			return missing(name)
		}
		return nil
	}
	var p *problem
	switch s.kind {
	case textKind:
		p = s.judgeText(name, v)
	case flagKind:
		if _, ok := v.(bool); !ok {
			p = invalid("Param %s must be a boolean.", name)
		}
	case numberKind:
		if _, ok := v.(float64); !ok {
			p = invalid("Param %s must be a number.", name)
		}
	case wordKind:
		switch v.(type) {
		case string, float64:
		default:
			p = invalid("Param %s must be a string.", name)
		}
	case objectKind:
		p = s.judgeObject(name, v)
	case listKind:
		p = s.judgeList(name, v)
	}
	if p == nil && s.also != nil {
		p = s.also(v)
	}
	return p
}

func (s shape) judgeText(name string, v any) *problem {
	t, ok := v.(string)
	if !ok {
		return invalid("Param %s must be a string.", name)
	}
	if len(s.words) > 0 {
		if !slices.ContainsFunc(s.words, func(w string) bool { return strings.EqualFold(w, t) }) {
			return unfit("Param %s must be one of {%s}.", name, strings.Join(s.words, ", "))
		}
		return nil
	}
	least := 1
	if s.empty || !s.required {
		least = 0
	}
	switch n := units(t); {
	case n < least && s.softer:
		return invalid("Invalid parameter: %s must be a non-empty string", name)
	case s.softer && n > s.most:
		return invalid("Param %s must be at most %d characters long.", name, s.most)
	case n < least || s.most > 0 && n > s.most:
		return unfit("%s length invalid. Min length: %d, Max length: %d", name, least, s.most)
	}
	return nil
}

// units counts UTF-16 units.
func units(t string) int {
	n := 0
	for _, r := range t {
		n++
		if r > 0xffff && r <= utf8.MaxRune {
			n++
		}
	}
	return n
}

func (s shape) judgeObject(name string, v any) *problem {
	o, ok := v.(map[string]any)
	if !ok {
		return invalid("Invalid parameter: %s must be an object", name)
	}
	if s.fields == nil {
		return nil
	}
	// Of several faults the one of the first field by name is told, so that
	// the same body always has the same answer.
	var first string
	var fault *problem
	found := func(field string, p *problem) {
		if p != nil && (fault == nil || field < first) {
			first, fault = field, p
		}
	}
	for field := range o {
		if _, known := s.fields[field]; !known {
			found(field, invalid("Unexpected key %q on param %q.", field, name))
		}
	}
	for field, inner := range s.fields {
		if v := o[field]; v != nil || inner.required {
			found(field, inner.judge(place(name, field), v))
		}
	}
	return fault
}

// place is where a field stands; fields of the body itself stand alone.
func place(name, field string) string {
	if name == "message" {
		return field
	}
	return name + "." + field
}

func (s shape) judgeList(name string, v any) *problem {
	l, ok := v.([]any)
	switch {
	case !ok:
		return invalid("Invalid parameter: %s must be a list", name)
	case len(l) == 0 && s.required:
		return missing(name)
	case len(l) < s.least || s.most > 0 && len(l) > s.most:
		return unfit("%s must have %d to %d elements", name, s.least, s.most)
	}
	for _, element := range l {
		if p := s.item.must().judge(name, element); p != nil {
			return p
		}
	}
	return nil
}
