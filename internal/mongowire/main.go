// Command mongowire is the stand-in for MongoDB in tests: FerretDB v1 on its
// SQLite backend, listening on loopback only, telemetry off.
//
// It prints its URI as the first line of standard output, serves until
// standard input closes, and then removes everything it stored. A test that
// holds the other end of standard input therefore leaves nothing behind,
// however it dies. It is for small data: FerretDB scans whole tables.
//
// FerretDB v1 reads, decides and writes in separate steps, so two updates of
// one document can both win. MongoDB does each in one step; to keep that
// promise, all commands pass one at a time ([gate]).
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mongowire:", err)
		os.Exit(1)
	}
}

// run serves until stdin ends.
func run(stdin io.Reader, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "mongowire-")
	if err != nil {
		return fmt.Errorf("make a data directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // best effort: the system clears its temporary directory too

	db, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		Handler:   "sqlite",
		SQLiteURL: "file:" + dir + "/",
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return fmt.Errorf("open the embedded database: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	behind, err := url.Parse(db.MongoDBURI())
	if err != nil {
		return fmt.Errorf("read the embedded database's address: %w", err)
	}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	g := gate{behind: behind.Host}
	go g.serve(front)
	if _, err := fmt.Fprintf(stdout, "mongodb://%s/\n", front.Addr()); err != nil {
		return fmt.Errorf("print the address: %w", err)
	}
	_, _ = io.Copy(io.Discard, stdin) // whatever ends the pipe ends the service
	_ = front.Close()
	cancel()
	return <-done
}
