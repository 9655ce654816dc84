package cloudapi

import (
	"encoding/json"
	"time"

	"github.com/sendlog/sendlog/domain/tenant"
)

// Effect is what a notice of Meta's changes about sending. The zero value is
// that of most: nothing.
type Effect struct {
	Blocks   []tenant.Block // of the number it came to, or else of all numbers of the account
	Ends     []tenant.Cause // of blocks told before it, likewise
	Upgraded bool           // a number of the account may send faster; which one, and how fast, it does not say
	Coexists bool           // the number is used by a phone app as well (section 8)
}

// accountEvent is what we know of one event of account_update (section 5.6).
// Events that are not in the table change nothing about sending.
type accountEvent struct {
	cause tenant.Cause // of the block it begins
	words string
	ends  tenant.Cause // of the block it ends
}

var accountEvents = map[string]accountEvent{
	"PARTNER_REMOVED":         {cause: tenant.ByAccess, words: "The business has ended the access of the app to its account; connect it again."},
	"PARTNER_APP_UNINSTALLED": {cause: tenant.ByAccess, words: "The app was removed from the account; connect it again."},
	"ACCOUNT_DELETED":         {cause: tenant.ByAccess, words: "The WhatsApp business account was deleted."},
	"ACCOUNT_OFFBOARDED":      {cause: tenant.ByAccess, words: "The phone app has disconnected the number from the Cloud API; connect it again."},
	"ACCOUNT_RECONNECTED":     {ends: tenant.ByAccess},
}

// Words of the events whose meaning is in their details.
const (
	wordsDisabled   = "WhatsApp has disabled the business account."
	wordsTemplates  = "WhatsApp lets this account send no templates until the restriction ends; replies leave."
	wordsRestricted = "WhatsApp lets this account send nothing until the restriction ends."
)

// ReadNotice returns what a notice changes about sending, told at a time.
func ReadNotice(field string, value json.RawMessage, told time.Time) Effect {
	v, _ := parseObject(value)
	switch field {
	case "account_update":
		return accountUpdate(v, told)
	case "phone_number_quality_update":
		return Effect{Upgraded: v.text("event") == "THROUGHPUT_UPGRADE"}
	case "history", "smb_app_state_sync", fieldEchoes:
		return Effect{Coexists: true}
	case fieldMessages: // errors without a message are the account's (section 5.3)
		code, ok := v.first("errors").integer("code")
		if b, halted := StatusBlock(code, told); ok && halted {
			return Effect{Blocks: []tenant.Block{b}}
		}
	}
	return Effect{}
}

func accountUpdate(v object, told time.Time) Effect {
	event := v.text("event")
	block := func(cause tenant.Cause, words string) tenant.Block {
		return tenant.Block{Cause: cause, Event: event, Reason: words, Told: told.UTC()}
	}
	switch event {
	case "DISABLED_UPDATE":
		switch v.object("ban_info").text("waba_ban_state") {
		case "DISABLE":
			return Effect{Blocks: []tenant.Block{block(tenant.ByAccount, wordsDisabled)}}
		case "REINSTATE":
			return Effect{Ends: []tenant.Cause{tenant.ByAccount}}
		}
	case "ACCOUNT_RESTRICTION":
		return restrictions(v, block)
	}
	switch e := accountEvents[event]; {
	case e.cause != "":
		return Effect{Blocks: []tenant.Block{block(e.cause, e.words)}}
	case e.ends != "":
		return Effect{Ends: []tenant.Cause{e.ends}}
	}
	return Effect{}
}

func restrictions(v object, block func(tenant.Cause, string) tenant.Block) Effect {
	var out Effect
	for _, raw := range v.list("restriction_info") {
		r, _ := parseObject(raw)
		var b tenant.Block
		switch r.text("restriction_type") {
		case "RESTRICTED_BIZ_INITIATED_MESSAGING":
			b = block(tenant.ByTemplates, wordsTemplates)
		case "RESTRICTED_CUSTOMER_INITIATED_MESSAGING":
			b = block(tenant.ByRestriction, wordsRestricted)
		default:
			continue
		}
		b.Until = moment(r.text("expiration"))
		out.Blocks = append(out.Blocks, b)
	}
	return out
}

// StatusBlock returns what the error of a failed status says about the number
// the message left from.
func StatusBlock(code int, told time.Time) (b tenant.Block, halted bool) {
	row := Lookup(code)
	if row.Halt.Cause == "" {
		return tenant.Block{}, false
	}
	return row.Halt.Block(code, row.Words, told), true
}
