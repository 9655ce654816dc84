// Package projections folds the log into what people read, and answers their
// questions. It is the one room that knows databases; which one it has, only
// its stores know ([Store]; packages sqlitestore and mongostore).
//
// Its law:
//
//   - A read model ([Model]) is a name, a version and a pure fold. It can be
//     thrown away and rebuilt: documents depend on the events and their order
//     and on nothing else, so two builds up to one position are equal byte for
//     byte.
//   - A fold causes nothing. It may record a [Notice]; only the live runner
//     hands notices to the [Announcer], after its write, at most once each.
//   - The checkpoint is the truth about how far a generation is, and it moves
//     together with the documents: a batch of events is in the documents
//     completely, or a crash leaves none of it.
//   - No event is skipped in silence. An event type or version that a model
//     does not know stops that model with an error of kind domain.Bug, which
//     [Library.Health] shows; the others go on.
//   - Documents of one tenant are never joined with facts of another: [Docs]
//     shows a fold only the documents of its event's tenant.
//   - A rebuild works beside the live generation and switches atomically. A
//     checkpoint that does not belong to this log (other incarnation, other
//     fold version, ahead of its tail) is not trusted; the model is then
//     rebuilt from the beginning and is not ready until that is done.
//
// One process at a time should run a model ([Library.Run]); others follow
// ([Library.Follow]). Two that run it by mistake do not corrupt it: a store
// refuses a batch that does not begin at the checkpoint ([ErrMoved]).
//
// Errors never carry document contents, ids of people or query values.
package projections
