// Package tenant knows what a tenant is: a name, its business numbers, the
// credentials it shows us and those we keep for it.
//
// Tenants live in a journal of their own, small and with one total order, so
// that rules over all tenants (a business number belongs to one of them) are
// decided by one optimistic append against the newest event. [Directory] is
// its fold, kept in memory by every process.
//
// Its promises: an access token leaves this package sealed or not at all; an
// API key is shown once and kept as a hash; a number belongs to one tenant.
package tenant
