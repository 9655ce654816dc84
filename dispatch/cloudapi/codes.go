package cloudapi

import (
	"net/http"
	"time"

	"github.com/sendlog/sendlog/domain/tenant"
)

// Class says what a code means for the message and its queue (section 7.2).
type Class string

// The classes.
const (
	// Retry: refused before it was processed; safe to repeat after the wait.
	Retry Class = "retry"
	// Ambiguous: it may have been sent.
	Ambiguous Class = "ambiguous"
	// Defer: not now, and trying again by itself does harm.
	Defer Class = "defer"
	// Permanent: this message cannot be sent as it is.
	Permanent Class = "permanent"
	// Account: the tenant's account, number or token cannot send; its queue
	// waits until that is repaired ([Row.Halt]).
	Account Class = "account"
)

// Brake says who is too fast, and waits while the message does.
type Brake string

// The brakes. The zero value is none: the message waits alone.
const (
	// BrakePair: one number to one recipient.
	BrakePair Brake = "pair"
	// BrakeNumber: the number; it is also slower for a while.
	BrakeNumber Brake = "number"
	// BrakeRest: nothing leaves from the number. Others of its account, or of
	// the app, find out by themselves.
	BrakeRest Brake = "rest"
)

// Culprit says whose fault a refusal is.
type Culprit string

// The culprits.
const (
	ByTenant    Culprit = "tenant"
	ByMeta      Culprit = "meta"
	ByRecipient Culprit = "recipient"
	ByUs        Culprit = "us"
)

// Row is what we know of one of Meta's codes, or of a range of them.
type Row struct {
	Code    int
	Last    int // last code of a range; 0 for a single code
	Subcode int // error_subcode the row is about; 0 for any
	Class   Class
	Wait    time.Duration // not before this; 0 = the caller's own backoff
	Grow    int           // factor on Wait for each further attempt; 0 = none
	Brake   Brake         // who waits with the message
	Fault   Culprit
	Words   string // a sentence for the tenant, without personal data
	Halt    Halt   // of class Account, and no other
	Ends    bool   // of class Account: the message that met it is given up all the same
}

// Halt says what of an account stops its messages, and which.
type Halt struct {
	Cause   tenant.Cause
	Account bool          // all numbers of the account; else the one alone
	For     time.Duration // it passes by itself; 0: when it is mended
}

// Block returns the halt as a number's block, told at a time.
func (h Halt) Block(code int, words string, told time.Time) tenant.Block {
	b := tenant.Block{Cause: h.Cause, Code: code, Reason: words, Told: told.UTC()}
	if h.For > 0 {
		b.Until = b.Told.Add(h.For)
	}
	return b
}

// The halts of the table. Where a code does not say whether the number or its
// account is meant, it is the number: another one finds out with one message.
var (
	haltToken     = Halt{Cause: tenant.ByToken}
	haltAccess    = Halt{Cause: tenant.ByAccess}
	haltNumber    = Halt{Cause: tenant.ByNumber}
	haltAccount   = Halt{Cause: tenant.ByAccount, Account: true}
	haltTemplates = Halt{Cause: tenant.ByTemplates}
)

// Lookup returns the row of a code. A code nobody listed is [Permanent]: it is
// never repeated blindly (section 7.3, "any other").
func Lookup(code int) Row {
	r, _ := lookup(code, 0)
	return r
}

// lookup prefers the row of the very subcode, then of the code, then of a
// range, and says whether there was any.
func lookup(code, subcode int) (Row, bool) {
	best, found := unlisted, false
	for _, r := range codes {
		switch {
		case r.Last == 0 && r.Code == code && r.Subcode == subcode:
			return r, true
		case r.Last == 0 && r.Code == code && r.Subcode == 0:
			best, found = r, true
		case !found && r.Code <= code && code <= r.Last:
			best, found = r, true
		}
	}
	best.Code = code
	return best, found
}

// wait returns how long to wait after the given attempt (1 or more).
func (r Row) wait(attempt int) time.Duration {
	w := r.Wait
	for n := 1; n < attempt && r.Grow > 1 && w < maxWait; n++ {
		w *= time.Duration(r.Grow)
	}
	return min(w, maxWait)
}

// Rows for answers without a code we know, by HTTP status alone (section 7.1),
// and for calls that never reached Meta.
var (
	unlisted    = Row{Class: Permanent, Fault: ByTenant, Words: "WhatsApp refused the message for a reason we do not know; see the details of its answer."}
	transient   = Row{Class: Retry, Wait: 10 * time.Second, Fault: ByMeta, Words: "WhatsApp could not take the message just now."}
	uncertain   = Row{Class: Ambiguous, Fault: ByMeta, Words: "WhatsApp did not say whether it took the message."}
	throttled   = Row{Class: Retry, Wait: 5 * time.Second, Brake: BrakeNumber, Fault: ByUs, Words: "WhatsApp is receiving too many requests."}
	locked      = Row{Class: Account, Halt: haltToken, Fault: ByTenant, Words: "WhatsApp does not let this account send; check the access token and its permissions."}
	unreachable = Row{Class: Retry, Wait: time.Second, Fault: ByMeta, Words: "WhatsApp could not be reached."}
	unusable    = Row{Class: Permanent, Fault: ByUs, Words: "The message could not be put into a request to WhatsApp."}
)

// byHTTP judges a refusal without a listed code. A 408 is the one 4xx of a
// gateway that gave up in the middle, so it proves nothing; nor does a
// redirect, which nobody asked for.
func byHTTP(status int, isTransient bool) Row {
	refused := status >= 400 && status < 500 && status != http.StatusRequestTimeout
	switch {
	case status == http.StatusTooManyRequests:
		return throttled
	case !refused:
		return uncertain
	case isTransient:
		return transient
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return locked
	}
	return unlisted
}

// codes is every code of section 7.3, by number; a range stands after its own
// members. Learnt from the list of 11 September 2026; a row that was learnt
// later says so. The classes ADMIN and USER are folded into Permanent: for the
// one message at hand that is what they are. So is Defer where it is not
// repeated: see each row. An answer and a failed status share the table; a
// failed status is final for its message, whatever the class.
// The number that HTTP gives each code is not here because it cannot be
// relied on.
var codes = []Row{
	{Code: 0, Class: Account, Halt: haltToken, Fault: ByTenant, Words: "The access token of this number cannot be used; connect the number again."},
	{Code: 1, Class: Ambiguous, Fault: ByMeta, Words: "WhatsApp met an error and did not say whether it took the message."},
	{Code: 2, Class: Ambiguous, Fault: ByMeta, Words: "WhatsApp is down or overloaded and did not say whether it took the message."},
	{Code: 3, Class: Account, Halt: haltAccess, Fault: ByTenant, Words: "The app lacks a capability or permission to send for this account."},
	{Code: 4, Class: Retry, Wait: time.Minute, Brake: BrakeRest, Fault: ByUs, Words: "The app has made too many calls to WhatsApp."},
	{Code: 10, Class: Account, Halt: haltAccess, Fault: ByTenant, Words: "The permission to send for this account was not granted, or was removed."},
	{Code: 33, Class: Account, Halt: haltToken, Fault: ByTenant, Words: "The phone number id does not exist, or the access token cannot see it."},
	{Code: 100, Class: Permanent, Fault: ByTenant, Words: "WhatsApp found an invalid parameter in the message; see the details of its answer."},
	{Code: 100, Subcode: 33, Class: Account, Halt: haltToken, Fault: ByTenant, Words: "The phone number id does not exist, or the access token cannot see it."},
	{Code: 190, Class: Account, Halt: haltToken, Fault: ByTenant, Words: "The access token has expired or is invalid; connect the number again."},
	{Code: 190, Subcode: 458, Class: Account, Halt: haltToken, Fault: ByTenant, Words: "The app was removed from this account; connect the number again."},
	{Code: 190, Subcode: 460, Class: Account, Halt: haltToken, Fault: ByTenant, Words: "The access token ended with a change of password; connect the number again."},
	{Code: 190, Subcode: 463, Class: Account, Halt: haltToken, Fault: ByTenant, Words: "The access token has expired; connect the number again."},
	{Code: 190, Subcode: 467, Class: Account, Halt: haltToken, Fault: ByTenant, Words: "The access token is invalid; connect the number again."},
	{Code: 200, Last: 299, Class: Account, Halt: haltAccess, Fault: ByTenant, Words: "The access token lacks a permission needed to send for this account."},
	{Code: 368, Class: Account, Halt: haltAccount, Fault: ByTenant, Words: "WhatsApp has blocked this account for a while for violating a policy."},
	{Code: 613, Class: Retry, Wait: time.Minute, Brake: BrakeRest, Fault: ByUs, Words: "Too many calls of this kind were made to WhatsApp."},
	{Code: 1026, Class: Permanent, Fault: ByRecipient, Words: "The recipient's device cannot receive this message."},
	{Code: 80007, Class: Retry, Wait: 5 * time.Minute, Brake: BrakeRest, Fault: ByTenant, Words: "The WhatsApp business account has reached its rate limit."},
	{Code: 130403, Class: Permanent, Fault: ByRecipient, Words: "The business has blocked this recipient; unblock them before writing to them."},
	{Code: 130429, Class: Retry, Wait: time.Second, Brake: BrakeNumber, Fault: ByTenant, Words: "This number sends faster than WhatsApp allows."},
	{Code: 130472, Class: Defer, Wait: 24 * time.Hour, Fault: ByMeta, Words: "WhatsApp does not deliver marketing messages to this recipient, who is part of one of its experiments."},
	{Code: 130497, Class: Permanent, Fault: ByTenant, Words: "This business may not write to people in the recipient's country."},
	// As an answer it proves nothing. As the error of a failed status it is
	// final: the message failed, and the tenant may send it anew (section 7.3).
	{Code: 131000, Class: Ambiguous, Fault: ByMeta, Words: "Something went wrong at WhatsApp; it gave no reason."},
	{Code: 131005, Class: Account, Halt: haltAccess, Fault: ByTenant, Words: "Access was denied: a permission was not granted, or was removed."},
	{Code: 131008, Class: Permanent, Fault: ByTenant, Words: "The message lacks a required parameter; see the details of WhatsApp's answer."},
	{Code: 131009, Class: Permanent, Fault: ByTenant, Words: "A parameter of the message is not valid, such as the recipient or the target of a reaction."},
	{Code: 131016, Class: Ambiguous, Fault: ByMeta, Words: "A service of WhatsApp was not available, and it did not say whether it took the message."},
	{Code: 131020, Class: Permanent, Fault: ByTenant, Words: "The group has no other member."},
	{Code: 131021, Class: Permanent, Fault: ByTenant, Words: "The recipient is the sending number itself."},
	{Code: 131026, Class: Permanent, Fault: ByRecipient, Words: "The message cannot be delivered: the recipient may not use WhatsApp, may use an old version of it, or may not accept messages from this business."},
	{Code: 131030, Class: Permanent, Fault: ByTenant, Words: "A test number may only write to recipients on its allow list; add the recipient there."},
	{Code: 131031, Class: Account, Halt: haltAccount, Fault: ByTenant, Words: "The WhatsApp business account is locked."},
	{Code: 131037, Class: Account, Halt: haltNumber, Fault: ByTenant, Words: "The display name of this number is not approved yet."},
	{Code: 131041, Class: Permanent, Fault: ByTenant, Words: "WhatsApp does not know this group."},
	{Code: 131042, Class: Account, Halt: haltAccount, Fault: ByTenant, Words: "There is a problem with the payment method of the WhatsApp business account."},
	// Calls only (section 7.3): no reason to hold back messages.
	{Code: 131044, Class: Permanent, Fault: ByTenant, Words: "The WhatsApp business account has no valid payment method for calls."},
	{Code: 131045, Class: Account, Halt: haltNumber, Fault: ByTenant, Words: "This number is not registered properly; register it again."},
	{Code: 131047, Class: Permanent, Fault: ByTenant, Words: "More than 24 hours have passed since the recipient last wrote; use a template message."},
	// Section 7.3: stop marketing, do not retry. The message ends; the number's
	// other templates wait for a person, because more of them make it worse.
	// What Meta calls marketing cannot be told at this place, so all templates do.
	{Code: 131048, Class: Account, Halt: haltTemplates, Ends: true, Fault: ByTenant, Words: "WhatsApp restricts this number because earlier messages were blocked or reported as spam. This message is not tried again; other templates of the number wait until it is resumed, replies leave."},
	// Since 30 April 2026 accounts that keep repeating it are restricted.
	{Code: 131049, Class: Defer, Wait: 24 * time.Hour, Fault: ByMeta, Words: "WhatsApp chose not to deliver this marketing message; do not send it again before a day has passed."},
	{Code: 131050, Class: Permanent, Fault: ByRecipient, Words: "The recipient has stopped marketing messages from this business."},
	{Code: 131051, Class: Permanent, Fault: ByTenant, Words: "WhatsApp does not support this type of message."},
	{Code: 131052, Class: Permanent, Fault: ByMeta, Words: "The media the person sent could not be fetched; ask them to send it another way."},
	// One more try might mend a download (section 7.3), but only free text tells.
	{Code: 131053, Class: Permanent, Fault: ByTenant, Words: "The media of the message could not be used: check its type, its size and that its address can be fetched."},
	{Code: 131055, Class: Permanent, Fault: ByTenant, Words: "WhatsApp does not allow this kind of message by this way."},
	// Section 7.3: 4^X seconds, for this recipient only.
	{Code: 131056, Class: Retry, Wait: time.Second, Grow: 4, Brake: BrakePair, Fault: ByTenant, Words: "Too many messages to this recipient in a short time."},
	{Code: 131057, Class: Retry, Wait: time.Minute, Brake: BrakeRest, Fault: ByMeta, Words: "WhatsApp is maintaining this account."},
	{Code: 131059, Class: Permanent, Fault: ByTenant, Words: "The paging cursor has expired; start from the first page."},
	{Code: 131060, Class: Permanent, Fault: ByMeta, Words: "WhatsApp could not show this incoming message."},
	{Code: 131062, Class: Permanent, Fault: ByTenant, Words: "This message needs the recipient's phone number; a user id is not enough."},
	{Code: 131063, Class: Permanent, Fault: ByTenant, Words: "Marketing templates are switched off for this account; use the Marketing Messages API."},
	{Code: 131064, Class: Account, Halt: Halt{Cause: tenant.ByTemplates, Account: true, For: 24 * time.Hour}, Fault: ByTenant, Words: "The account has reached a limit because templates were given a wrong category; templates wait for a day at a time until WhatsApp lifts it, replies leave."},
	{Code: 131201, Class: Permanent, Fault: ByTenant, Words: "The request about the group was carried out in part only."},
	{Code: 131202, Class: Permanent, Fault: ByTenant, Words: "The request about the group names somebody twice."},
	{Code: 131204, Class: Permanent, Fault: ByTenant, Words: "The request about the group names too many people."},
	{Code: 131207, Class: Permanent, Fault: ByTenant, Words: "WhatsApp has suspended this group."},
	{Code: 131208, Class: Retry, Wait: time.Minute, Fault: ByTenant, Words: "Too many requests about groups."},
	{Code: 131209, Class: Permanent, Fault: ByTenant, Words: "The group's picture could not be used."},
	{Code: 131210, Class: Permanent, Fault: ByTenant, Words: "The group's picture could not be used."},
	{Code: 131211, Class: Permanent, Fault: ByTenant, Words: "The number has reached its limit of groups."},
	{Code: 131212, Class: Permanent, Fault: ByTenant, Words: "The person is not a participant of the group."},
	{Code: 131213, Class: Permanent, Fault: ByTenant, Words: "There is no such request to join the group."},
	{Code: 131214, Class: Permanent, Fault: ByTenant, Words: "This number may not create groups at present."},
	{Code: 131215, Class: Permanent, Fault: ByTenant, Words: "This number may not use groups."},
	{Code: 131201, Last: 131215, Class: Permanent, Fault: ByTenant, Words: "WhatsApp refused the request about the group."},
	{Code: 132000, Class: Permanent, Fault: ByTenant, Words: "The number of parameters does not match the template."},
	{Code: 132001, Class: Permanent, Fault: ByTenant, Words: "The template does not exist in this language, or is not approved."},
	{Code: 132005, Class: Permanent, Fault: ByTenant, Words: "The template's text is too long once its parameters are filled in."},
	{Code: 132007, Class: Permanent, Fault: ByTenant, Words: "The template's content violates a policy of WhatsApp."},
	{Code: 132012, Class: Permanent, Fault: ByTenant, Words: "A parameter does not have the format the template asks for."},
	{Code: 132015, Class: Permanent, Fault: ByTenant, Words: "The template is paused for low quality; wait until it is resumed, or use another."},
	{Code: 132016, Class: Permanent, Fault: ByTenant, Words: "The template was paused too often and is disabled for good."},
	{Code: 132018, Class: Permanent, Fault: ByTenant, Words: "A parameter of the template message is not valid."},
	{Code: 132021, Class: Permanent, Fault: ByTenant, Words: "The name chosen for the generated template is taken."},
	{Code: 132068, Class: Permanent, Fault: ByTenant, Words: "The flow of this message is blocked."},
	// Not repeated by itself: everything to that person would wait behind it
	// for hours, and only ten an hour get through.
	{Code: 132069, Class: Defer, Wait: time.Hour, Fault: ByTenant, Words: "The flow of this message is throttled to ten messages an hour; send it again after an hour."},
	{Code: 133000, Class: Permanent, Fault: ByTenant, Words: "An earlier deregistration of this number failed; deregister it again."},
	{Code: 133004, Class: Retry, Wait: 30 * time.Second, Fault: ByMeta, Words: "WhatsApp is not available for a moment."},
	// 133005 and 133016 tell of a number that is not registered: nothing can
	// leave it until an operator has acted.
	{Code: 133005, Class: Account, Halt: haltNumber, Fault: ByTenant, Words: "The PIN of the number's two-step verification is wrong; do not guess it."},
	{Code: 133006, Class: Account, Halt: haltNumber, Fault: ByTenant, Words: "This number must be verified again before it can be registered."},
	{Code: 133008, Class: Permanent, Fault: ByTenant, Words: "The PIN was guessed too often; wait as long as WhatsApp's answer says."},
	{Code: 133009, Class: Permanent, Fault: ByTenant, Words: "The PIN was entered too fast; wait as long as WhatsApp's answer says."},
	{Code: 133010, Class: Account, Halt: haltNumber, Fault: ByTenant, Words: "This number is not registered with WhatsApp; register it first."},
	{Code: 133015, Class: Permanent, Fault: ByTenant, Words: "This number was deleted a moment ago; register it again in five minutes."},
	{Code: 133016, Class: Account, Halt: haltNumber, Fault: ByTenant, Words: "This number was registered and deregistered too often; it can be registered again after 72 hours."},
	// Payments only (section 7.3): no reason to hold back other messages.
	{Code: 134011, Class: Permanent, Fault: ByTenant, Words: "The terms of WhatsApp payments have not been accepted."},
	{Code: 134100, Class: Permanent, Fault: ByTenant, Words: "The Marketing Messages API takes marketing templates only."},
	{Code: 134101, Class: Retry, Wait: 10 * time.Minute, Fault: ByMeta, Words: "The template is not ready for the Marketing Messages API yet."},
	{Code: 134102, Class: Permanent, Fault: ByTenant, Words: "The template is not available for the Marketing Messages API."},
	{Code: 134103, Class: Permanent, Fault: ByTenant, Words: "The template or account cannot be used with the Marketing Messages API."},
	{Code: 135000, Class: Permanent, Fault: ByTenant, Words: "WhatsApp refused the message without a closer reason; check its parameters."},
	{Code: 136024, Class: Permanent, Fault: ByTenant, Words: "The verification code could not be requested."},
	{Code: 136025, Class: Permanent, Fault: ByTenant, Words: "The verification code could not be verified."},
	{Code: 137000, Class: Permanent, Fault: ByRecipient, Words: "The recipient's identity has changed; confirm who they are before writing again."},
	{Code: 138000, Class: Permanent, Fault: ByTenant, Words: "Calling is not enabled for this number."},
	{Code: 138001, Class: Permanent, Fault: ByRecipient, Words: "The recipient cannot be called."},
	{Code: 138002, Class: Retry, Wait: time.Minute, Fault: ByTenant, Words: "Too many calls at once."},
	{Code: 138003, Class: Permanent, Fault: ByTenant, Words: "A call with this person is running already."},
	{Code: 138005, Class: Retry, Wait: time.Minute, Fault: ByTenant, Words: "Too many requests about calls."},
	{Code: 138006, Class: Permanent, Fault: ByRecipient, Words: "The recipient has not permitted calls from this business."},
	{Code: 138009, Class: Permanent, Fault: ByTenant, Words: "The recipient was asked for permission to call too often."},
	{Code: 138012, Class: Permanent, Fault: ByTenant, Words: "The number of calls to this person for one day is reached."},
	{Code: 138014, Class: Permanent, Fault: ByTenant, Words: "Calling is disabled for this number because of low quality."},
	{Code: 138015, Class: Permanent, Fault: ByTenant, Words: "Calling cannot be enabled for this number."},
	{Code: 138017, Class: Permanent, Fault: ByTenant, Words: "The recipient has permitted calls for good already."},
	{Code: 138018, Class: Permanent, Fault: ByTenant, Words: "Calling cannot be enabled for this number."},
	{Code: 138019, Last: 138023, Class: Permanent, Fault: ByMeta, Words: "The sound of the call could not be carried."},
	{Code: 138000, Last: 138023, Class: Permanent, Fault: ByTenant, Words: "WhatsApp refused the request about the call."},
	{Code: 139000, Last: 139004, Class: Permanent, Fault: ByTenant, Words: "WhatsApp refused the request about the flow."},
	{Code: 139100, Last: 139103, Class: Permanent, Fault: ByTenant, Words: "WhatsApp refused the request to block or unblock people."},
	// Concerns Direct Send alone: other messages of the tenant may leave.
	{Code: 139200, Class: Permanent, Fault: ByTenant, Words: "This account may not use Direct Send at present."},
	{Code: 141000, Last: 141099, Class: Permanent, Fault: ByTenant, Words: "WhatsApp reports a problem with the health of the account; see the details of its answer."},
	{Code: 147001, Last: 147005, Class: Permanent, Fault: ByTenant, Words: "WhatsApp refused the request about the username."},
	{Code: 200005, Last: 200007, Class: Permanent, Fault: ByTenant, Words: "Template analytics are not available, not enabled, or cannot be disabled."},
	{Code: 1752041, Class: Permanent, Fault: ByTenant, Words: "The Marketing Messages API was requested for this account already."},
	{Code: 2388001, Class: Permanent, Fault: ByTenant, Words: "The number cannot be migrated."},
	{Code: 2388012, Class: Permanent, Fault: ByTenant, Words: "The number cannot be migrated."},
	{Code: 2388019, Class: Permanent, Fault: ByTenant, Words: "The account has reached its limit of templates."},
	{Code: 2388039, Class: Permanent, Fault: ByTenant, Words: "The template is too long."},
	{Code: 2388040, Class: Permanent, Fault: ByTenant, Words: "A part of the template is too long."},
	{Code: 2388047, Class: Permanent, Fault: ByTenant, Words: "The header of the template is not formed as WhatsApp asks."},
	{Code: 2388072, Class: Permanent, Fault: ByTenant, Words: "The body of the template is not formed as WhatsApp asks."},
	{Code: 2388073, Class: Permanent, Fault: ByTenant, Words: "The footer of the template is not formed as WhatsApp asks."},
	{Code: 2388091, Class: Permanent, Fault: ByTenant, Words: "The number cannot be migrated."},
	{Code: 2388093, Class: Permanent, Fault: ByTenant, Words: "The number cannot be migrated."},
	{Code: 2388103, Class: Permanent, Fault: ByTenant, Words: "The number cannot be migrated."},
	{Code: 2388293, Class: Permanent, Fault: ByTenant, Words: "The template has too many variables for its length."},
	{Code: 2388299, Class: Permanent, Fault: ByTenant, Words: "The template must not start or end with a variable."},
	{Code: 2388318, Class: Permanent, Fault: ByTenant, Words: "The content of the message does not fit Direct Send."},
	{Code: 2388330, Class: Permanent, Fault: ByTenant, Words: "The category of the message does not fit Direct Send."},
	{Code: 2494100, Class: Retry, Wait: 5 * time.Minute, Brake: BrakeRest, Fault: ByMeta, Words: "WhatsApp is maintaining this number."},
	{Code: 2494164, Last: 2494179, Class: Permanent, Fault: ByTenant, Words: "The signup inside the app did not succeed."},
	{Code: 2593079, Class: Permanent, Fault: ByTenant, Words: "This kind of migration no longer exists."},
	{Code: 2593085, Class: Permanent, Fault: ByTenant, Words: "This kind of migration no longer exists."},
	{Code: 2593107, Class: Permanent, Fault: ByTenant, Words: "Contacts and history can be synchronised once only."},
	{Code: 2593108, Class: Permanent, Fault: ByTenant, Words: "Contacts and history can be synchronised within 24 hours of signup only."},
	{Code: 2593109, Class: Permanent, Fault: ByTenant, Words: "The business does not share its history from the phone app."},
}
