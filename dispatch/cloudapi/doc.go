// Package cloudapi knows everything of Meta's WhatsApp Cloud API: request
// bodies, webhook bodies, signatures and error codes. Sections named in its
// comments are those of the reference (REFERENCE) the project keeps.
//
// Its law:
//
//   - One call, one [Outcome]. [Client.Send] never retries, never follows a
//     redirect and never guesses: what is not proven to be accepted or refused
//     is [Unknown], because a blind resend can reach a person twice (section 3).
//   - The error code decides, the HTTP status only where there is no code we
//     know (section 7.1). Every code lives in one table, codes.go.
//   - [ParseWebhook] loses nothing: each change of a body becomes at least one
//     [Item], and what is not understood becomes an account notice with its
//     verbatim JSON. One odd element never costs its neighbours (section 4.5).
//   - Event ids of what Meta tells are derived from what it tells, so a POST
//     delivered twice gives the same ids (section 4.4).
//   - No error, reason, detail or String result holds a token, a phone number,
//     a text or a URL. Those travel in Outcome.Raw and in the personal part of
//     facts only.
//
// The package reads no clock, keeps no state but a connection pool, and does
// not know tenants: whose number it is, whether to try again and when are
// decided by its callers. All of it is safe for concurrent use.
package cloudapi
