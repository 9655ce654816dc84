// Package sqlitestore keeps read models in one embedded SQLite file
// (modernc.org/sqlite, no C).
//
// The file is in WAL mode with synchronous=NORMAL: readers never wait for the
// writer, and after a power cut the newest batches may be gone, documents and
// checkpoint together, so they are folded again. One connection writes; a
// small pool reads. A batch is one transaction. The directory is 0700 and the
// file 0600, because documents hold what people wrote.
//
// Every collection is a table of id, last position and JSON text. Beside them a
// row has numbers of eight bytes, made of the id and of what the declared
// indexes are over: the indexes are on those.
package sqlitestore
