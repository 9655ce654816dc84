package cloudapi

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

// BenchmarkCall is what a call costs this end, and a host that does next to
// nothing.
func BenchmarkCall(b *testing.B) {
	const body = `{"messaging_product":"whatsapp","contacts":[{"input":"+16505551234","wa_id":"16505551234"}],` +
		`"messages":[{"id":"wamid.HBgLMTY1MDU1NTEyMzQVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA"}]}`
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for request := make([]byte, 4096); err == nil; { // it comes in one piece
					if _, err = conn.Read(request); err == nil {
						_, err = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
					}
				}
			}()
		}
	}()
	c, err := New(Config{BaseURL: "http://" + l.Addr().String(), Version: "v25.0"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	b.SetParallelism(16)
	b.ReportAllocs()
	before := processorTime(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			o := c.Send(b.Context(), Call{Number: "1", Token: "EAAG-token", To: "+16505551234", Tenant: "ten_1", Message: "msg_1", Attempt: 1,
				Content: []byte(`{"type":"text","text":{"body":"x"}}`)})
			if o.Kind != Accepted {
				b.Errorf("got %v", o)
			}
		}
	})
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// processorTime is what the process has used, which a busy neighbour does not
// change.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
