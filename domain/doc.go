// Package domain is the vocabulary of sendlog: identifiers, positions, events,
// limits, the three-reader error and the ports every other room satisfies.
//
// Its law:
//
//   - A fact is an [Event]. It is appended once, never changed and never
//     deleted in the middle of the log. Everything a person reads is folded
//     from events and can be thrown away.
//   - Every fact belongs to exactly one tenant, named explicitly in its [Key].
//     Nothing fetches a tenant out of a context.
//   - Personal data (phone numbers, names, texts, raw provider JSON) travels in
//     the personal part of an event only. The log seals that part under the
//     tenant's data key; keys, subjects, logs and metrics never carry it.
//   - Time is handed in ([Clock]); nothing here reads a clock, a file or the
//     environment, and nothing here knows NATS, a database, HTTP or Meta.
//
// The sub-packages hold one noun each (message, tenant, customer) and may
// import this package, but not each other.
package domain
