package message

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sendlog/sendlog/domain"
)

// A rule says what one value of a decoded JSON text must be, and notes a fault
// for everything that is otherwise. Rules are made once, of each other, and
// read as the tables of Meta's documentation do:
//
//	object(
//		may("id", mediaID),
//		may("link", link),
//		may("caption", text(0, maxCaption)),
//		oneOf("id", "link"),
//	)
type rule func(c *check, v any)

// check is one walk over one request: where it is, and what it found.
type check struct {
	path   []string // steps from the body down to the value being looked at
	beside []string // members that stand beside those of the outermost object, where others read them
	faults []domain.Fault
}

// fault notes what is wrong with the value being looked at.
func (c *check) fault(format string, args ...any) { c.faultAt("", format, args...) }

// faultAt notes what is wrong with a member of it, or with itself when name is
// empty.
func (c *check) faultAt(name, format string, args ...any) {
	if len(c.faults) == maxFaults {
		return
	}
	var b strings.Builder
	for _, step := range c.path {
		b.WriteString("/" + escapePointer.Replace(step))
	}
	if name != "" {
		b.WriteString("/" + escapePointer.Replace(name))
	}
	c.faults = append(c.faults, domain.Fault{Pointer: b.String(), Detail: fmt.Sprintf(format, args...)})
}

// escapePointer writes a name as a step of a JSON pointer (RFC 6901).
var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")

// in looks at a value one step further down.
func (c *check) in(step string, r rule, v any) {
	c.path = append(c.path, step)
	r(c, v)
	c.path = c.path[:len(c.path)-1]
}

// element notes what is wrong with a member of an element of the list being
// looked at.
func (c *check) element(i int, name, format string, args ...any) {
	c.in(strconv.Itoa(i), func(c *check, _ any) { c.faultAt(name, format, args...) }, nil)
}

// part is something an object has: a member, or a demand on the whole of it.
type part struct {
	name  string
	must  bool
	rule  rule
	whole func(c *check, o map[string]any)
}

// must is a member that has to be there.
func must(name string, r rule) part { return part{name: name, must: true, rule: r} }

// may is a member that may be left out.
func may(name string, r rule) part { return part{name: name, rule: r} }

// whole is a demand on an object beyond its members one by one.
func whole(f func(c *check, o map[string]any)) part { return part{whole: f} }

// oneOf demands that exactly one of some members is there.
func oneOf(names ...string) part {
	return whole(func(c *check, o map[string]any) {
		n := 0
		for _, name := range names {
			if _, there := o[name]; there {
				n++
			}
		}
		if n != 1 {
			c.fault("must have exactly one of %s", strings.Join(names, ", "))
		}
	})
}

// object is an object with these members and no others.
func object(parts ...part) rule {
	known := make([]string, 0, len(parts))
	for _, p := range parts {
		if p.name != "" {
			known = append(known, p.name)
		}
	}
	return func(c *check, v any) {
		o, ok := v.(map[string]any)
		if !ok {
			c.fault("must be an object")
			return
		}
		for _, p := range parts {
			switch value, there := o[p.name]; {
			case p.whole != nil:
				p.whole(c, o)
			case there:
				c.in(p.name, p.rule, value)
			case p.must:
				c.faultAt(p.name, "is required")
			}
		}
		for _, name := range strangers(o, known) {
			all := known
			if len(c.path) == 0 {
				all = slices.Concat(known, c.beside)
			}
			c.faultAt(name, "is not a field here; it takes %s", strings.Join(all, ", "))
		}
	}
}

// strangers returns the names in o that are not known, in order.
func strangers(o map[string]any, known []string) []string {
	var all []string
	for name := range o {
		if !slices.Contains(known, name) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// kinds is an object that says in the member tag of which kind it is: each
// kind has members of its own beside it. An optional tag is of the kind "".
func kinds(tag string, table map[string][]part) rule {
	return namedKinds(tag, func(s string) string { return s }, table)
}

// anyCaseKinds is kinds where the name may be written in capitals: Meta's own
// samples of templates do both.
func anyCaseKinds(tag string, table map[string][]part) rule {
	return namedKinds(tag, strings.ToLower, table)
}

func namedKinds(tag string, name func(string) string, table map[string][]part) rule {
	rules := make(map[string]rule, len(table))
	for kind, parts := range table {
		rules[kind] = object(append([]part{may(tag, anything)}, parts...)...)
	}
	known := slices.DeleteFunc(slices.Sorted(maps.Keys(table)), func(kind string) bool { return kind == "" })
	words := strings.Join(known, ", ")
	return func(c *check, v any) {
		o, ok := v.(map[string]any)
		if !ok {
			c.fault("must be an object")
			return
		}
		value, there := o[tag]
		kind, isText := value.(string)
		r, found := rules[name(kind)]
		switch {
		case there && (!isText || kind == "" || !found):
			c.faultAt(tag, "must be one of %s", words)
		case !found:
			c.faultAt(tag, "is required: one of %s", words)
		default:
			r(c, o)
		}
	}
}

// allOf is what each of some rules says: all that is wrong is told at once.
func allOf(rules ...rule) rule {
	return func(c *check, v any) {
		for _, r := range rules {
			r(c, v)
		}
	}
}

// list is a list of min to max elements, with further demands on all of them
// that make sense only once each is right by itself. What does not wait for that
// stands beside it, in [allOf].
func list(min, max int, each rule, all ...func(c *check, elements []any)) rule {
	return func(c *check, v any) {
		elements, ok := v.([]any)
		if !ok {
			c.fault("must be a list")
			return
		}
		before := len(c.faults)
		if n := len(elements); n < min || n > max {
			c.fault("has %d elements; WhatsApp takes %s", n, span(min, max))
		}
		for i, e := range elements {
			c.in(strconv.Itoa(i), each, e)
		}
		for _, f := range all {
			if len(c.faults) == before {
				f(c, elements)
			}
		}
	}
}

// span says a range in words.
func span(min, max int) string {
	if min == max {
		return strconv.Itoa(min)
	}
	return fmt.Sprintf("%d to %d", min, max)
}

// unique demands that what is found under a path differs in each element.
func unique(path ...string) rule {
	return func(c *check, v any) {
		elements, _ := v.([]any)
		seen := map[string]bool{}
		for i, e := range elements {
			v := dig(e, path...)
			if v == nil || v == "" {
				continue // that it has none is told by itself
			}
			if seen[fmt.Sprint(v)] {
				c.element(i, path[0], "has the same %s as another one", path[len(path)-1])
			}
			seen[fmt.Sprint(v)] = true
		}
	}
}

// dig returns what lies under a path of member names, or nil.
func dig(v any, path ...string) any {
	for _, name := range path {
		o, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = o[name]
	}
	return v
}

// demand is a property of a text beyond its length.
type demand struct {
	holds func(s string) bool
	words string
}

// text is a string of min to max UTF-16 units: the stricter reading of
// REFERENCE section 2.1. One that must not be empty must not be blank either.
func text(min, max int, demands ...demand) rule {
	return func(c *check, v any) {
		s, ok := v.(string)
		if !ok {
			c.fault("must be a string")
			return
		}
		switch n := units(s); {
		case !utf8.ValidString(s):
			c.fault("is not valid UTF-8")
			return
		case min > 0 && strings.TrimSpace(s) == "":
			c.fault("must not be empty")
			return
		case n > max:
			c.fault("has %d characters; WhatsApp allows %d", n, max)
			return
		case n < min:
			c.fault("has %d characters; WhatsApp wants at least %d", n, min)
			return
		}
		for _, d := range demands {
			if !d.holds(s) {
				c.fault("%s", d.words)
				return
			}
		}
	}
}

// units counts UTF-16 units.
func units(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

// word is one of some fixed words.
func word(words ...string) rule {
	must := "must be one of " + strings.Join(words, ", ")
	if len(words) == 1 {
		must = "must be " + words[0]
	}
	return func(c *check, v any) {
		if s, ok := v.(string); !ok || !slices.Contains(words, s) {
			c.fault("%s", must)
		}
	}
}

// boolean is true or false.
func boolean(c *check, v any) {
	if _, ok := v.(bool); !ok {
		c.fault("must be true or false")
	}
}

// number is a whole number from min to max.
func number(min, max int64) rule {
	return func(c *check, v any) {
		n, err := strconv.ParseInt(literal(v), 10, 64)
		if err != nil || n < min || n > max {
			c.fault("must be a whole number from %d to %d", min, max)
		}
	}
}

// anything is for what only Meta knows the shape of.
func anything(*check, any) {}

// anyObject and anyList are for what Meta documents no further.
func anyObject(c *check, v any) {
	if _, ok := v.(map[string]any); !ok {
		c.fault("must be an object")
	}
}

func anyList(c *check, v any) {
	if _, ok := v.([]any); !ok {
		c.fault("must be a list")
	}
}

// visible demands ASCII without spaces, as ids and tokens are.
var visible = demand{
	func(s string) bool {
		return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= utf8.RuneSelf-1 })
	},
	"must be visible ASCII characters without spaces",
}

var (
	oneLine = demand{func(s string) bool { return !strings.ContainsAny(s, "\n\r") }, "must not have a line break"}
	noEmoji = demand{func(s string) bool { return !strings.ContainsFunc(s, isEmoji) }, "must not have an emoji"}
)

// isEmoji reports whether a character is one of the pictographs: the blocks
// they come from, and what joins and colours them.
func isEmoji(r rune) bool {
	return r >= 0x1f000 && r <= 0x1faff || r >= 0x2600 && r <= 0x27bf || r == 0x200d || r == 0xfe0f || r == 0x20e3
}
