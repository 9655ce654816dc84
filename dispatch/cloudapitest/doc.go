// Package cloudapitest is a pretend Meta: a real HTTP server that answers as
// the Cloud API does, reports statuses by signed webhooks, writes as a person
// would, and makes the faults it is told to make.
//
// Its law:
//
//   - It judges requests and writes webhooks by the reference (REFERENCE) and
//     its fixtures alone. It shares no code with the client it tests, because
//     shared code would share mistakes.
//   - It keeps a ledger of every call: what was really accepted, whatever the
//     caller was told. A test compares its own books with it.
//   - Webhooks of one business number leave in order, one at a time, and are
//     repeated whole until they are answered 200, for [Config.RetryFor]; the
//     app may be down for hours and misses nothing.
//   - The same seed gives the same ids, and [Faults] the same faults to the
//     same message and attempt, in whatever order calls arrive.
//   - A client of the Cloud API cannot tell it from Meta on send; a public one
//     tries in internal/cloudclient.
//   - Everything is in memory and bounded by the limits in server.go. When no
//     webhook can be queued any more, sends are refused with Meta's own
//     throughput error instead of losing one.
//
// New builds, Start runs, Close stops every goroutine. It is a tool for
// development: it has no secrets and protects none.
package cloudapitest
