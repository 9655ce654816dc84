// Package streams is the one room that knows NATS. It keeps facts: it appends
// them with an expectation, reads them in their one order, hands them out as
// durable work, and carries live announcements.
//
// Its promises:
//
//   - [Log.Append] returns nil only after JetStream acknowledged the event:
//     fsynced under [Strict], within 100 ms of an fsync under [Interval], and
//     whatever the servers are configured for when the log is external.
//   - An append is one publish with an expected last sequence of its subject.
//     A lost acknowledgement is settled by reading the log, never by guessing.
//   - Readers see one log in the order of its positions, archived or hot,
//     without a gap, or stop with [ErrGap]: nothing is deleted in the middle,
//     so a gap is data loss.
//   - [Archiver] copies each event once, whoever else archives and wherever it
//     is killed. An event leaves the hot log from the front only, when it is
//     archived on disk, old, and done with.
//   - [Broker.Work] hands each lane to one of any number of processes. What a
//     process took and did not finish comes again, in order, to whoever is next:
//     from the lane, from a [Backlog], or from the schedule.
//   - Personal parts are sealed before they leave the process and opened after
//     they come back. No subject, header or error carries them.
//
// The check order of JetStream differs by replica count (one node tests the
// expectation first, three nodes the message id first), so no code here relies
// on which of the two answers comes; errors.go is the one table of answers.
package streams
