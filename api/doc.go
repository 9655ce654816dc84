// Package api is how the world speaks to sendlog: the one room that knows
// HTTP and Fiber.
//
// There are two listeners. The public one serves tenants and Meta; the admin
// one, on loopback unless told otherwise, serves everything the public one
// does and what only an operator may see. Each is an [http.Server] in spirit:
// give it a net.Listener, and call [Server.Shutdown] to drain.
//
// Its promises:
//
//   - A request is copied at this border. Nothing that a port receives shares
//     memory with a request buffer, which the next request on the connection
//     overwrites.
//   - Every answer that is not a success is application/problem+json
//     (RFC 9457) with a sentence that helps; its kinds and statuses stand in
//     one table (problem.go).
//   - The tenant of a request is the tenant in its path, and a credential
//     reaches no other: somebody else's tenant answers exactly as one that
//     does not exist.
//   - Webhooks are handed on byte for byte, after their signature was checked
//     over those bytes, and are answered 200 only when they are recorded.
//   - Bodies, headers, pages, waits and streams have named limits (limits.go).
//   - Log lines carry ids, route patterns and error kinds; never a path, a
//     query, a body, a header, a phone number or a token.
//
// What it needs from other rooms it declares in ports.go, in its own words.
package api
