package message

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Templates (REFERENCE section 2.4). How many parameters a template takes,
// and of which kind, only the template knows; what each may be is known here.
var template = object(
	must("name", templateName),
	must("language", object(must("code", language), may("policy", word("deterministic")))),
	may("components", allOf(list(0, maxComponents, component), unique("index"), onceEach)),
)

var (
	templateName = text(1, maxTemplateName, shape(`^[a-z0-9_]+$`, "must be lower-case letters a to z, digits and _"))
	language     = text(2, maxLanguage, shape(`^[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8})*$`, "must be the code of a language as it was approved, such as en_US"))
)

func shape(pattern, words string) demand {
	return demand{regexp.MustCompile(pattern).MatchString, words}
}

// component is a part of a template that takes parameters.
var component = anyCaseKinds("type", map[string][]part{
	"body":               {must("parameters", bodyParameters)},
	"button":             templateButton,
	"carousel":           {must("cards", allOf(list(minCards, maxCards, templateCard), unique("card_index")))},
	"header":             {must("parameters", list(0, 1, headerParameter))},
	"limited_time_offer": {must("parameters", list(1, 1, offer))},
	"order_status":       {must("parameters", list(1, 1, anyObject))}, // payments, for Meta to judge
})

// onceEach demands that no component but a button is there twice.
func onceEach(c *check, v any) {
	components, _ := v.([]any)
	seen := map[string]bool{}
	for i, e := range components {
		kind, _ := dig(e, "type").(string)
		kind = strings.ToLower(kind)
		if seen[kind] && kind != "" && kind != "button" {
			c.element(i, "type", "is there already; a template has one %s", kind)
		}
		seen[kind] = true
	}
}

var headerParameter = anyCaseKinds("type", map[string][]part{
	"document": {must("document", headerDocument)},
	"image":    {must("image", headerFile)},
	"location": {must("location", location)},
	"product":  {must("product", object(must("product_retailer_id", retailerID), must("catalog_id", metaID)))},
	"text":     {must("text", text(1, maxHeader, filling)), parameterName},
	"video":    {must("video", headerFile)},
})

var bodyParameters = allOf(list(0, maxParameters, anyCaseKinds("type", map[string][]part{
	"currency": {must("currency", object(
		must("fallback_value", text(1, maxBody)),
		must("code", text(3, 3, shape(`^[A-Z]{3}$`, "must be a currency such as USD"))),
		must("amount_1000", number(-maxAmount, maxAmount)),
	)), parameterName},
	"date_time": {must("date_time", dateTime), parameterName},
	"text":      {must("text", text(1, maxBody, filling)), parameterName},
})), allOrNoneNamed, unique("parameter_name"))

// dateTime shows its fallback; the older parts of a date are still taken.
var dateTime = object(must("fallback_value", text(1, maxBody)),
	may("calendar", anything), may("day_of_month", anything), may("day_of_week", anything),
	may("hour", anything), may("minute", anything), may("month", anything), may("year", anything))

var parameterName = may("parameter_name", text(1, maxParameterName, shape(`^[a-z0-9_]+$`, "must be lower-case letters a to z, digits and _")))

// allOrNoneNamed demands that parameters go by name or by order, not by both.
func allOrNoneNamed(c *check, v any) {
	parameters, _ := v.([]any)
	named := 0
	for _, p := range parameters {
		if dig(p, "parameter_name") != nil {
			named++
		}
	}
	if named != 0 && named != len(parameters) {
		c.fault("has parameters with a name and without; a template takes one kind")
	}
}

// filling is a text that is put into another one.
var filling = demand{
	func(s string) bool { return !strings.ContainsAny(s, "\n\r\t") && !strings.Contains(s, "     ") },
	"must not have a line break, a tab, or more than 4 spaces in a row",
}

// buttonIndex is the place of a button in its template, as a number or in a
// string.
func buttonIndex(c *check, v any) {
	s, ok := v.(string)
	if !ok {
		s = literal(v)
	}
	if n, err := strconv.Atoi(s); err != nil || n < 0 || n > maxTemplateButton {
		c.fault("must be the place of the button in the template, from 0 to %d", maxTemplateButton)
	}
}

// buttonParameters demands the parameters that a kind of button takes.
func buttonParameters(c *check, o map[string]any) {
	said, there := o["sub_type"]
	if !there {
		return // and that is a fault already
	}
	kind, _ := said.(string)
	button, known := buttons[strings.ToLower(kind)]
	if !known {
		c.faultAt("sub_type", "must be one of %s", strings.Join(slices.Sorted(maps.Keys(buttons)), ", "))
		return
	}
	parameters, there := o["parameters"]
	switch {
	case there:
		c.in("parameters", button.parameters, parameters)
	case !button.bare:
		c.faultAt("parameters", "is required")
	}
	if _, there := o["index"]; !there && !button.bare {
		c.faultAt("index", "is required")
	}
}

// buttons are the kinds of buttons of a template. A bare one may go without
// parameters and place.
var buttons = map[string]struct {
	bare       bool
	parameters rule
}{
	"catalog":       {bare: true, parameters: actions(object(thumbnail))},
	"copy_code":     {parameters: one("coupon_code", text(1, maxCoupon, oneLine))},
	"flow":          {bare: true, parameters: actions(object(may("flow_token", text(1, maxFree)), may("flow_action_data", anyObject)))},
	"mpm":           {parameters: actions(object(thumbnail, must("sections", productSections)))},
	"order_details": {parameters: actions(object(must("order_details", anyObject)))},
	"quick_reply":   {parameters: one("payload", text(1, maxPayload))},
	"url":           {parameters: one("text", text(1, maxFree))},
	"voice_call": {bare: true, parameters: allOf(list(0, 2, kinds("type", map[string][]part{
		"payload":     {must("payload", text(0, maxCallPayload))},
		"ttl_minutes": {must("ttl_minutes", number(1, maxCallMinutes))},
	})), unique("type"))},
}

// one is the single parameter of a button.
func one(kind string, r rule) rule {
	return list(1, 1, kinds("type", map[string][]part{kind: {must(kind, r)}}))
}

func actions(r rule) rule { return one("action", r) }

var offer = kinds("type", map[string][]part{
	"limited_time_offer": {must("limited_time_offer", object(must("expiration_time_ms", number(0, maxAmount))))},
})

// templateCard is a card of a carousel, with components of its own.
var templateCard = object(
	must("card_index", number(0, maxCards-1)),
	must("components", allOf(list(0, maxComponents, anyCaseKinds("type", map[string][]part{
		"body":   {must("parameters", bodyParameters)},
		"button": templateButton,
		"header": {must("parameters", list(0, 1, headerParameter))},
	})), unique("index"), onceEach)),
)

var templateButton = []part{must("sub_type", anything), may("index", buttonIndex), may("parameters", anything), whole(buttonParameters)}
