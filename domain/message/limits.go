package message

import "time"

// What a message may hold, in the order of REFERENCE section 2. Texts count in
// UTF-16 units, lists in elements. Each is Meta's, and what Meta would refuse
// later is refused before the request is accepted; where Meta names no limit,
// maxFree is ours.
const (
	maxFree = 4096 // any text without a limit of Meta's

	maxID       = 256 // an id of Meta's: media, catalog, product, flow, account, group
	maxWamid    = 512 // about 128 were seen
	maxURL      = 8192
	maxCaption  = 1024
	maxContacts = 257
	maxEmoji    = 64 // one emoji: the longest sequences of joined ones have about 40

	maxBody          = 1024 // of an interactive message, and of a parameter of a template
	maxListBody      = 4096
	maxHeader        = 60
	maxFooter        = 60
	maxButtons       = 3
	maxButtonID      = 256
	maxTitle         = 20 // of a button
	maxSections      = 10
	maxSectionTitle  = 24
	maxRows          = 10 // in all sections together
	maxRowID         = 200
	maxRowTitle      = 24
	maxRowText       = 72
	maxProducts      = 30 // in all sections together
	maxFlowButton    = 30
	minCards         = 2
	maxCards         = 10
	maxCardBody      = 160
	maxCardLines     = 3 // two line breaks
	maxCallMinutes   = 43_200
	maxCallPayload   = 512
	maxDirectButtons = 10
	maxDirectLinks   = 2
	minDirectTTL     = 30 // seconds
	maxDirectTTL     = 43_200

	maxTemplateName   = 512
	maxLanguage       = 15
	maxComponents     = 14 // header, body, carousel, offer and ten buttons
	maxTemplateButton = 9  // the highest index
	maxParameters     = 100
	maxPayload        = 128
	maxCoupon         = 15
	maxParameterName  = 256
	maxAmount         = 1 << 53 // what every reader of JSON reads alike
)

// What a request may ask beyond that.
const (
	// maxContent bounds a message object as it is recorded (bytes), so that its
	// event, sealed and encoded, stays far below domain.MaxEvent.
	maxContent = 384 << 10
	// maxFaults bounds the faults named in one answer.
	maxFaults = 100
	// maxReference bounds the tenant's own name for a message (UTF-16 units).
	maxReference = 128
	// maxAhead bounds how far ahead a message may be planned, and how long one
	// may wait to be sent (years).
	maxAhead = 10
	// maxTTL is maxAhead in seconds, for a time that is given as a length.
	maxTTL = maxAhead * 366 * 24 * 60 * 60
	// maxUnknownWait bounds how long one unknown outcome may wait for its
	// proof: Meta's statuses come within minutes, or with the phone's next
	// connection, which is no proof that is worth blocking a conversation for.
	maxUnknownWait = 24 * time.Hour
	// receiptWait is the pause before a read receipt is repeated whose answer
	// was lost.
	receiptWait = 5 * time.Second
)
