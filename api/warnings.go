package api

import (
	"encoding/json"

	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

// warningJSON is a reason why a message will probably be refused by the
// provider, or has to wait.
type warningJSON struct {
	Code   message.Warning `json:"code"`
	Detail string          `json:"detail"`
}

// Warnings that are about the present and not about the message: they are not
// recorded with it.
const (
	numberPaused        message.Warning = "number_paused"
	templatesRestricted message.Warning = "templates_restricted"
)

// heldBack says why nothing of what a tenant wishes is sent at the moment, and
// nil when it is.
func heldBack(own tenant.View, wish message.Request) []warningJSON {
	n, _ := own.Number(wish.Number)
	switch {
	case own.Status == tenant.Halted:
		return []warningJSON{{numberPaused, "this tenant is paused, and nothing is sent until it is resumed: " + own.Reason}}
	case n.Status == tenant.Halted && n.Paused:
		return []warningJSON{{numberPaused, "this number is paused, and nothing is sent from it until it is resumed: " + n.Reason}}
	case n.Status == tenant.Halted:
		return []warningJSON{{numberPaused, "this number is blocked, and nothing is sent from it until that is mended: " + n.Reason}}
	case n.Status == tenant.Restricted && kindOf(wish) == message.Template:
		return []warningJSON{{templatesRestricted, "the templates of this number wait while WhatsApp restricts them: " + n.Reason}}
	}
	return nil
}

// kindOf is the type of an accepted wish, as it was written.
func kindOf(wish message.Request) string {
	var said struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(wish.Content, &said) // the short form of a text has no content
	return said.Type
}
