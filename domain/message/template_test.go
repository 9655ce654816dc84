package message_test

import (
	"strconv"
	"testing"
)

// Templates: name and language, and each component with its parameters.
func TestTemplate(t *testing.T) {
	t.Parallel()
	template := func(in string) string { return `{"type":"template","template":{` + in + `}}` }
	named := func(name string) string { return template(`"name":"` + name + `","language":{"code":"en_US"}`) }
	spoken := func(in string) string { return template(`"name":"n","language":{` + in + `}`) }
	with := func(components string) string {
		return template(`"name":"n","language":{"code":"en"},"components":` + components)
	}
	header := func(parameter string) string {
		return with(`[{"type":"header","parameters":[` + parameter + `]}]`)
	}
	body := func(parameters string) string { return with(`[{"type":"body","parameters":` + parameters + `}]`) }
	words := func(text string) string { return body(`[{"type":"text","text":"` + text + `"}]`) }
	const at, of = "/template/components/0", "/template/components/0/parameters/0"
	judge(t, map[string]row{
		"the least":             {template(`"name":"order_ready_2","language":{"code":"pt_BR","policy":"deterministic"}`), ""},
		"nothing":               {template(``), "/template/name /template/language"},
		"name of 512":           {named(x(512)), ""},
		"name of 513":           {named(x(513)), "/template/name"},
		"name in capitals":      {named("Order"), "/template/name"},
		"name with a line feed": {named(`order\n`), "/template/name"},
		"no language":           {spoken(``), "/template/language/code"},
		"a language of words":   {spoken(`"code":"English (US)"`), "/template/language/code"},
		"another policy":        {spoken(`"code":"en","policy":"fallback"`), "/template/language/policy"},
		"a namespace":           {template(`"name":"n","language":{"code":"en"},"namespace":"x"`), "/template/namespace"},
		"marketing":             {`{"type":"template","template":{"name":"n","language":{"code":"en"}},"product_policy":"STRICT","message_activity_sharing":true}`, ""},
		"another policy of it":  {`{"type":"template","template":{"name":"n","language":{"code":"en"}},"product_policy":"MAYBE"}`, "/product_policy"},

		"no components":        {with(`[]`), ""},
		"15 components":        {with(times(15, `{"type":"button","sub_type":"catalog"}`)), "/template/components"},
		"14 components":        {with(times(14, `{"type":"button","sub_type":"catalog"}`)), ""},
		"an unknown component": {with(`[{"type":"hologram"}]`), at + "/type"},
		"one in capitals":      {with(`[{"type":"BODY","parameters":[{"type":"text","text":"a"}]}]`), ""},
		"one without a type":   {with(`[{"parameters":[]}]`), at + "/type"},
		"a body of nothing":    {with(`[{"type":"body"}]`), at + "/parameters"},

		"header of text":        {header(`{"type":"text","text":"` + x(60) + `"}`), ""},
		"header of 61":          {header(`{"type":"text","text":"` + x(61) + `"}`), of + "/text"},
		"header of a picture":   {header(`{"type":"image","image":{"link":"https://x.example/a"}}`), ""},
		"header of a film":      {header(`{"type":"video","video":{"id":"1"}}`), ""},
		"header of a paper":     {header(`{"type":"document","document":{"id":"1","filename":"a.pdf"}}`), ""},
		"header with a caption": {header(`{"type":"image","image":{"id":"1","caption":"c"}}`), of + "/image/caption"},
		"header of a place":     {header(`{"type":"location","location":{"latitude":"1","longitude":"2","name":"n","address":"a"}}`), ""},
		"header of a product":   {header(`{"type":"product","product":{"product_retailer_id":"p","catalog_id":"c"}}`), ""},
		"header of money":       {header(`{"type":"currency","currency":{}}`), of + "/type"},
		"header of nothing":     {header(``), ""},
		"two headers":           {with(`[{"type":"header","parameters":[]},{"type":"HEADER","parameters":[]}]`), "/template/components/1/type"},
		"header of two":         {header(`{"type":"text","text":"a"},{"type":"text","text":"b"}`), at + "/parameters"},

		"1024":                   {words(x(1024)), ""},
		"1025":                   {words(x(1025)), of + "/text"},
		"a line break":           {words(`a\nb`), of + "/text"},
		"a tab":                  {words(`a\tb`), of + "/text"},
		"4 spaces":               {words(`a    b`), ""},
		"5 spaces":               {words(`a     b`), of + "/text"},
		"empty":                  {words(``), of + "/text"},
		"by name":                {body(`[{"type":"text","parameter_name":"day","text":"a"},{"type":"text","parameter_name":"time","text":"b"}]`), ""},
		"by name and by order":   {body(`[{"type":"text","parameter_name":"day","text":"a"},{"type":"text","text":"b"}]`), at + "/parameters"},
		"one name twice":         {body(`[{"type":"text","parameter_name":"day","text":"a"},{"type":"text","parameter_name":"day","text":"b"}]`), at + "/parameters/1/parameter_name"},
		"a name in braces":       {body(`[{"type":"text","parameter_name":"{{day}}","text":"a"}]`), of + "/parameter_name"},
		"money":                  {body(`[{"type":"currency","currency":{"fallback_value":"$1","code":"USD","amount_1000":1000}}]`), ""},
		"money without amount":   {body(`[{"type":"currency","currency":{"fallback_value":"$1","code":"usd"}}]`), of + "/currency/code " + of + "/currency/amount_1000"},
		"a date":                 {body(`[{"type":"date_time","date_time":{"fallback_value":"today","day_of_week":5,"calendar":"GREGORIAN"}}]`), ""},
		"a date of nothing":      {body(`[{"type":"date_time","date_time":{}}]`), of + "/date_time/fallback_value"},
		"a picture in the words": {body(`[{"type":"image","image":{"id":"1"}}]`), of + "/type"},

		"an offer":           {with(`[{"type":"limited_time_offer","parameters":[{"type":"limited_time_offer","limited_time_offer":{"expiration_time_ms":1795435602000}}]}]`), ""},
		"an offer for words": {with(`[{"type":"limited_time_offer","parameters":[{"type":"limited_time_offer","limited_time_offer":{"expiration_time_ms":"soon"}}]}]`), of + "/limited_time_offer/expiration_time_ms"},
		"an order":           {with(`[{"type":"order_status","parameters":[{"type":"order_status","order_status":{"reference_id":"1"}}]}]`), ""},
	})
}

// Every kind of button of a template, and what it is filled with.
func TestTemplateButtons(t *testing.T) {
	t.Parallel()
	with := func(components string) string {
		return `{"type":"template","template":{"name":"n","language":{"code":"en"},"components":` + components + `}}`
	}
	button := func(kind, parameters string) string {
		return with(`[{"type":"button","sub_type":"` + kind + `","index":"0","parameters":[` + parameters + `]}]`)
	}
	placed := func(index string) string {
		return with(`[{"type":"button","sub_type":"url","index":` + index + `,"parameters":[{"type":"text","text":"a"}]}]`)
	}
	const at, of = "/template/components/0", "/template/components/0/parameters/0"
	judge(t, map[string]row{
		"quick reply":             {button("quick_reply", `{"type":"payload","payload":"`+x(128)+`"}`), ""},
		"quick reply of 129":      {button("quick_reply", `{"type":"payload","payload":"`+x(129)+`"}`), of + "/payload"},
		"quick reply with a text": {button("quick_reply", `{"type":"text","text":"a"}`), of + "/type"},
		"link":                    {button("url", `{"type":"text","text":"suffix"}`), ""},
		"link in capitals":        {button("URL", `{"type":"text","text":"suffix"}`), ""},
		"link of nothing":         {button("url", ``), at + "/parameters"},
		"coupon":                  {button("copy_code", `{"type":"coupon_code","coupon_code":"`+x(15)+`"}`), ""},
		"coupon of 16":            {button("COPY_CODE", `{"type":"coupon_code","coupon_code":"`+x(16)+`"}`), of + "/coupon_code"},
		"flow":                    {button("flow", `{"type":"action","action":{"flow_token":"t","flow_action_data":{"a":1}}}`), ""},
		"flow with words":         {button("flow", `{"type":"action","action":{"flow_action_data":"a"}}`), of + "/action/flow_action_data"},
		"catalog":                 {button("catalog", `{"type":"action","action":{"thumbnail_product_retailer_id":"t"}}`), ""},
		"products":                {button("mpm", `{"type":"action","action":{"thumbnail_product_retailer_id":"t","sections":[{"title":"s","product_items":[{"product_retailer_id":"p"}]}]}}`), ""},
		"no products":             {button("mpm", `{"type":"action","action":{}}`), of + "/action/sections"},
		"call":                    {button("voice_call", `{"type":"ttl_minutes","ttl_minutes":1440},{"type":"payload","payload":"p"}`), ""},
		"call without anything":   {with(`[{"type":"button","sub_type":"voice_call"}]`), ""},
		"call for too long":       {button("voice_call", `{"type":"ttl_minutes","ttl_minutes":43201}`), of + "/ttl_minutes"},
		"order":                   {button("order_details", `{"type":"action","action":{"order_details":{"reference_id":"1"}}}`), ""},
		"an unknown kind":         {button("hologram", ``), at + "/sub_type"},
		"no kind":                 {with(`[{"type":"button","index":0,"parameters":[]}]`), at + "/sub_type"},
		"no parameters, no place": {with(`[{"type":"button","sub_type":"url"}]`), at + "/parameters " + at + "/index"},
		"place 9":                 {placed(`9`), ""},
		"place 10":                {placed(`"10"`), at + "/index"},
		"place -1":                {placed(`-1`), at + "/index"},
		"place one":               {placed(`"one"`), at + "/index"},
		"one place twice": {with(`[{"type":"button","sub_type":"url","index":"0","parameters":[{"type":"text","text":"a"}]},{"type":"button","sub_type":"url","index":0,"parameters":[{"type":"text","text":"a"}]}]`),
			"/template/components/1/index"},
	})
}

// The carousel of a template.
func TestTemplateCarousel(t *testing.T) {
	t.Parallel()
	carousel := func(cards string) string {
		return `{"type":"template","template":{"name":"n","language":{"code":"en"},"components":[{"type":"carousel","cards":` + cards + `}]}}`
	}
	const at = "/template/components/0/cards"
	const first = `{"card_index":0,"components":[{"type":"header","parameters":[{"type":"image","image":{"id":"1"}}]}]}`
	second := func(component string) string {
		return carousel(`[` + first + `,{"card_index":1,"components":[` + component + `]}]`)
	}
	again := "" // the same card, ten times more
	for i := range 10 {
		again += " " + at + "/" + strconv.Itoa(i+1) + "/card_index"
	}
	judge(t, map[string]row{
		"two":                     {second(`{"type":"button","sub_type":"quick_reply","index":"0","parameters":[{"type":"payload","payload":"p"}]}`), ""},
		"one":                     {carousel(`[` + first + `]`), at},
		"eleven":                  {carousel(times(11, first)), at + again},
		"one index twice":         {carousel(`[` + first + `,` + first + `]`), at + "/1/card_index"},
		"a carousel in it":        {second(`{"type":"carousel","cards":[]}`), at + "/1/components/0/type"},
		"a fault at the far end":  {second(`{"type":"button","sub_type":"url","index":"1","parameters":[{"type":"text","text":""}]}`), at + "/1/components/0/parameters/0/text"},
		"a card of nothing":       {carousel(`[` + first + `,{}]`), at + "/1/card_index " + at + "/1/components"},
		"a card with a wide name": {second(`{"type":"body","parameters":[{"type":"text","parameter_name":"A B","text":"a"}]}`), at + "/1/components/0/parameters/0/parameter_name"},
	})
}
