// Package mongostore keeps read models in MongoDB, or in whatever speaks its
// wire: it uses only what MongoDB, DocumentDB and FerretDB v1 share. There are
// no transactions, so a batch is made atomic with a redo record:
//
//  1. The checkpoint, if it is where the batch begins, takes up the whole
//     batch as "pending". This is the moment the batch is decided.
//  2. The documents are written, each only over an older version of itself.
//  3. The checkpoint moves to the batch's end and drops the pending part.
//
// A writer that meets a pending batch (after a crash, or another writer's)
// finishes it first, so a fold never finds half a batch; a reader sees the
// checkpoint before it. Writing a batch again changes nothing.
//
// Documents are stored with their members as real fields, integers as int64,
// times as the RFC 3339 texts they are, in member order, so that an operator
// can read and search them; "_id" repeats "id". All writes ask for majority.
package mongostore
