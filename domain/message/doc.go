// Package message knows what may happen to one message and what may be said
// about it.
//
// An outgoing message is an aggregate: its events share one key and one
// optimistic lock, and [State] is their fold. The life is
//
//	SendRequested → SendAttempted(1) → SendAccepted(1)
//	                                 → SendRefused(1)    → SendAttempted(2) … or SendDeadLettered
//	                                 → OutcomeUnknown(1) → SendAccepted(1) by a status, or SendAttempted(2)
//	SendDeadLettered → SendRedriven → SendAttempted(n+1) …
//	SendCancelled or SendExpired instead of a next SendAttempted
//
// Its promises:
//
//   - An attempt is recorded before the provider is called, so a call without
//     a recorded attempt cannot happen, and an attempt without an outcome
//     means the outcome is unknown.
//   - No attempt follows an acceptance, and none follows an unknown outcome
//     without the recorded decision to send again ([SendAttempted.After]).
//   - Statuses of the provider are facts kept as a set. The headline is
//     derived from the set ([Headline]) and does not depend on arrival order.
//
// What a request says is Meta's own message object. It is judged whole before
// it becomes a fact ([Request]): each type has a table of rules, and every
// fault is named with its place. One canonical form of it is recorded.
//
// An incoming message, a status and an account notice are facts told by the
// provider; they are recorded as they came and never refused.
package message
