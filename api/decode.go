package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
)

// member is one member of a JSON object that a request may have.
type member struct {
	name string
	into any    // *string, *[]string, *bool, *int, **int or **string; left alone when the member is absent or null
	kind string // what it must be, for the person who wrote something else
}

func text(name string, into *string) member       { return member{name, into, "a string"} }
func texts(name string, into *[]string) member    { return member{name, into, "a list of strings"} }
func flag(name string, into *bool) member         { return member{name, into, "true or false"} }
func whole(name string, into *int) member         { return member{name, into, "a whole number"} }
func maybe(name string, into **int) member        { return member{name, into, "a whole number"} }
func maybeText(name string, into **string) member { return member{name, into, "a string"} }

// decode reads the JSON object of a request into its members. What it fills
// shares no memory with the request.
//
// It is stricter than encoding/json, because two readers who understand one
// body differently are how a check is passed by: unknown and repeated names,
// names in other cases, anything after the object, text that is not Unicode
// and deep nesting are refused, each with the place.
func decode(c *fiber.Ctx, members ...member) error {
	if err := requireJSON(c.Get(fiber.HeaderContentType)); err != nil {
		return err
	}
	return decodeObject(bytes.Clone(c.BodyRaw()), members)
}

// decodeAny is decode for a request that may have no body at all.
func decodeAny(c *fiber.Ctx, members ...member) error {
	if len(c.BodyRaw()) == 0 {
		return nil
	}
	return decode(c, members...)
}

func decodeObject(body []byte, members []member) error {
	if err := wellFormed(body); err != nil {
		return err
	}
	rest, faults, err := take(body, members...)
	if err != nil {
		return err
	}
	for name := range rest {
		faults = append(faults, domain.Fault{Pointer: pointer(name), Detail: "is not a field of this request; it takes " + names(members)})
	}
	if len(faults) > 0 {
		return misshapen(faults)
	}
	return nil
}

// take reads the members of a well-formed JSON object, and returns the others.
func take(body []byte, members ...member) (rest map[string]json.RawMessage, faults []domain.Fault, err error) {
	if rest = fields(body); rest == nil {
		return nil, nil, malformed("", "must be a JSON object")
	}
	for _, m := range members {
		value, there := rest[m.name]
		delete(rest, m.name)
		if there && string(value) != "null" && !m.read(value) {
			faults = append(faults, domain.Fault{Pointer: pointer(m.name), Detail: "must be " + m.kind})
		}
	}
	return rest, faults, nil
}

// read fills the member, and reports whether the value is of its kind.
func (m member) read(value json.RawMessage) bool {
	into, isText := m.into.(*string)
	if maybe, ok := m.into.(**string); ok {
		into, isText = new(string), true
		*maybe = into
	}
	if !isText {
		return json.Unmarshal(value, m.into) == nil
	}
	if value[0] != '"' {
		return false
	}
	*into = unquote(value)
	return true
}

func misshapen(faults []domain.Fault) error {
	sort.SliceStable(faults, func(i, j int) bool { return faults[i].Pointer < faults[j].Pointer })
	return &domain.Error{Kind: domain.Invalid, Message: "the body is JSON, but not of the shape this request has", Faults: faults}
}

func names(members []member) string {
	all := make([]string, len(members))
	for i, m := range members {
		all[i] = m.name
	}
	return strings.Join(all, ", ")
}

// requireJSON refuses any content type but JSON in UTF-8.
func requireJSON(contentType string) error {
	if contentType == fiber.MIMEApplicationJSON {
		return nil
	}
	media, params, err := mime.ParseMediaType(contentType)
	charset, given := params["charset"]
	if err != nil || media != "application/json" || given && !strings.EqualFold(charset, "utf-8") {
		return domain.Errorf(badMediaType, nil, "send JSON, with the header Content-Type: application/json")
	}
	return nil
}

// wellFormed reports the first thing that keeps body from being exactly one
// JSON value with one meaning.
func wellFormed(body []byte) error {
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return malformed("", "is empty; send a JSON object")
	case !utf8.Valid(body):
		return malformed("", "is not valid UTF-8")
	}
	if !json.Valid(body) {
		e, _ := errors.AsType[*json.SyntaxError](json.Unmarshal(body, new(any)))
		if e.Offset == int64(len(body)) {
			return malformed("", "is not one complete JSON value")
		}
		return malformed("", "is not valid JSON, at byte "+strconv.FormatInt(e.Offset, 10))
	}
	if err := unambiguous(body); err != nil {
		return err
	}
	if place := loneSurrogate(body); place >= 0 {
		return malformed("", "has half of a surrogate pair at byte "+strconv.Itoa(place+1)+"; write the whole character")
	}
	return nil
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")

// pointer is one step of a JSON pointer (RFC 6901).
func pointer(name string) string {
	return "/" + escapePointer.Replace(name)
}

// loneSurrogate returns where a \u escape stands for half a character, or -1.
// Decoders replace it silently, and the message would not be the one that was
// written. body must be valid JSON.
func loneSurrogate(body []byte) int {
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		first, ok := escaped(body[i:])
		if !ok {
			i++ // whatever is escaped is no backslash that begins an escape
			continue
		}
		if !utf16.IsSurrogate(first) {
			i += 5
			continue
		}
		second, ok := escaped(body[i+6:])
		if !ok || utf16.DecodeRune(first, second) == utf8.RuneError {
			return i
		}
		i += 11
	}
	return -1
}

// escaped reads a \uXXXX at the beginning of b.
func escaped(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 32)
	return rune(n), err == nil
}

func malformed(pointer, detail string) error {
	return &domain.Error{Kind: domain.Malformed, Message: "the body cannot be read",
		Faults: []domain.Fault{{Pointer: pointer, Detail: detail}}}
}
