// Package plain is JetStream without us, for benchmarks to stand beside.
package plain

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Server is a nats-server in this process with a stream RAW of everything below
// "raw.", as our embedded one is: it syncs every 100 ms, or every message.
type Server struct {
	tb testing.TB
	s  *server.Server
}

// Start starts one that ends with the test. It listens on a loopback port.
func Start(tb testing.TB, always bool) *Server {
	tb.Helper()
	s, err := server.NewServer(&server.Options{ServerName: "plain", JetStream: true, StoreDir: tb.TempDir(), Host: "127.0.0.1", Port: server.RANDOM_PORT,
		NoSigs: true, NoLog: true, SyncInterval: 100 * time.Millisecond, SyncAlways: always})
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	tb.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	p := &Server{tb: tb, s: s}
	if _, err := p.Connect(1)[0].CreateStream(tb.Context(), jetstream.StreamConfig{Name: "RAW", Subjects: []string{"raw.>"}}); err != nil {
		tb.Fatal(err)
	}
	return p
}

// URL is where others connect.
func (p *Server) URL() string { return p.s.ClientURL() }

// Connect returns n connections inside the process.
func (p *Server) Connect(n int) []jetstream.JetStream {
	p.tb.Helper()
	all := make([]jetstream.JetStream, n)
	for i := range all {
		nc, err := nats.Connect("", nats.InProcessServer(p.s))
		if err != nil {
			p.tb.Fatal(err)
		}
		p.tb.Cleanup(nc.Close)
		if all[i], err = jetstream.New(nc); err != nil {
			p.tb.Fatal(err)
		}
	}
	return all
}
