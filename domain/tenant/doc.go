// Package tenant knows what a tenant is: a name, its business numbers, the
// credentials it shows us and those we keep for it, and what it may do.
//
// Tenants live in a journal of their own, small and with one total order, so
// that rules over all tenants (a business number belongs to one of them) are
// decided by one optimistic append against the newest event. [Directory] is
// its fold, kept in memory by every process.
//
// Every change is an event with its actor, so the journal is the audit trail.
//
// Its promises: an access token leaves this package sealed or not at all; an
// API key is shown once and kept as a hash; a revoked one opens nothing once
// the event is folded; a number belongs to one tenant; what is paused is not
// sent and not lost; a day's quota is never exceeded (ADR 0008).
package tenant
