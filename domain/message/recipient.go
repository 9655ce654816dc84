package message

import (
	"regexp"
	"strings"
)

// Kinds of recipients, as Meta's recipient_type names them.
const (
	individual = "individual"
	group      = "group"
)

var (
	filler      = strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", ".", "", "\u00a0", "")
	phone       = regexp.MustCompile(`^\+[1-9][0-9]{7,14}$`)
	placeholder = regexp.MustCompile(`^\+[1-9][0-9]*[xX]{1,14}$`)
	// bsuid is a business-scoped user id, or a parent's (REFERENCE section 6).
	bsuid   = regexp.MustCompile(`^[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,256}$`)
	groupID = regexp.MustCompile(`^[!-~]{1,256}$`)
)

// recipient returns whom a request is to, and whether that is a group.
//
// As at Meta, `to` wins over `recipient` when both are there; unlike there, it
// may be a user id too. What only marks a message as read is to nobody: Meta
// knows from the message.
func (r Request) recipient(c *check, kind string) (to string, toGroup bool) {
	toGroup = r.RecipientType == group
	if r.RecipientType != "" && r.RecipientType != individual && !toGroup {
		c.faultAt("recipient_type", "must be %s or %s", individual, group)
	}
	if !Addressed(kind) {
		for _, given := range []struct{ name, value string }{{"to", r.To}, {"recipient", r.Recipient}} {
			if given.value != "" {
				c.faultAt(given.name, "has no place here: WhatsApp knows from the message whom it is about")
			}
		}
		return "", false
	}
	if toGroup {
		switch {
		case r.Recipient != "":
			c.faultAt("recipient", "is the id of a person; a group goes into to")
		case r.To == "":
			c.faultAt("to", "is required: the id of a group")
		case !groupID.MatchString(r.To):
			c.faultAt("to", "is not the id of a group")
		}
		return r.To, true
	}
	if r.Recipient != "" && !bsuid.MatchString(r.Recipient) {
		c.faultAt("recipient", "is not a business-scoped user id, such as US.13491208655302741918")
	}
	if strings.TrimSpace(r.To) == "" && r.Recipient != "" {
		return r.Recipient, false
	}
	if bsuid.MatchString(r.To) {
		return r.To, false
	}
	to, ok := phoneNumber(r.To, r.Simulated)
	switch {
	case strings.TrimSpace(r.To) == "":
		c.faultAt("to", "is required: a phone number in international form, such as +14155550100")
	case !ok && phone.MatchString("+"+filler.Replace(r.To)):
		c.faultAt("to", "is not a phone number in international form: write + before its digits, also before a wa_id of a webhook")
	case !ok:
		c.faultAt("to", "is not a phone number: write + and 8 to 15 digits, such as +14155550100")
	}
	return to, false
}

// Addressee is whom a request is to, spelled as it is recorded: the same words
// for the same person. What cannot be read stays as it was written.
func (r Request) Addressee() string {
	r.Simulated = true // which number it leaves from may not be known yet
	if to, _ := r.recipient(&check{}, textType); to != "" {
		return to
	}
	return r.To + r.Recipient
}

// phoneNumber brings a phone number to "+" and digits, the only form Meta reads
// the same way for every business (REFERENCE section 2.1).
func phoneNumber(to string, simulated bool) (string, bool) {
	to = filler.Replace(to)
	if phone.MatchString(to) {
		return to, true
	}
	if simulated && len(to) >= 9 && len(to) <= 16 && placeholder.MatchString(to) {
		return strings.ToLower(to), true
	}
	return "", false
}
