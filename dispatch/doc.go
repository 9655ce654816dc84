// Package dispatch is the one room that talks outward. It turns each due
// message into one provider call and one recorded outcome, no more and no
// less, and each webhook of the provider into facts.
//
// Its promises:
//
//   - The fence: SendAttempted is appended before the call, expecting the last
//     event the worker has seen. A second worker loses that append and drops
//     the job, so no attempt number is ever called twice.
//   - The outcome is appended after the call and before the work is
//     acknowledged. An attempt without an outcome is an unknown outcome.
//   - An unknown outcome waits for a status that carries its id, and only then
//     is sent again, under a new attempt number that says why.
//   - Messages of one number and priority to one recipient are worked one after
//     another, in the order of the log, through all their retries. An interactive
//     one may overtake a bulk one, and be called at the same time.
//   - Stopping lets running calls finish and records their outcomes.
//
// Errors of the log are never an outcome: the work is kept and tried again.
package dispatch
