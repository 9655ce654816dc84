package cloudapitest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapitest"
)

// BenchmarkSend is what the pretend Meta costs its neighbours in a benchmark:
// calls by a client that does next to nothing, without and with the statuses.
// `-cpu 1` shows what one core takes, that client and the app that hears the
// statuses included.
func BenchmarkSend(b *testing.B) {
	for _, batch := range []int{0, 1000} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			cfg := cloudapitest.Config{AppSecret: secret, Seed: 1, Batch: batch}
			if batch > 0 {
				app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
				b.Cleanup(app.Close)
				cfg.WebhookURL = app.URL
			}
			s, err := cloudapitest.New(cfg)
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Start(""); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			var sent atomic.Int64
			b.SetParallelism(16)
			b.ReportAllocs()
			before := cpuTime(b)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				c := dialRaw(b, strings.TrimPrefix(s.URL(), "http://"))
				defer c.conn.Close()
				for pb.Next() {
					c.send(b, sent.Add(1))
				}
			})
			b.StopTimer()
			if err := s.Settle(b.Context()); err != nil {
				b.Fatal(err)
			}
			if _, accepted := s.Totals(); int64(accepted) != sent.Load() {
				b.Fatalf("%d of %d accepted", accepted, sent.Load())
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpuTime is what the process has used of the machine, which a busy neighbour
// does not change.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rawClient writes requests and skips answers.
type rawClient struct {
	conn net.Conn
	in   *bufio.Reader
	buf  []byte
}

func dialRaw(b *testing.B, addr string) *rawClient {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	return &rawClient{conn: conn, in: bufio.NewReader(conn)}
}

func (c *rawClient) send(b *testing.B, n int64) {
	body := fmt.Sprintf(`{"biz_opaque_callback_data":"{\"t\":\"ten_01jdc8q7v9yb6k3m5n2p4r8s0t\",\"m\":\"msg_%026d\",\"a\":1}","messaging_product":"whatsapp",`+
		`"recipient_type":"individual","text":{"body":"Your order has left our house and will be with you tomorrow."},"to":"+1415%07d","type":"text"}`, n, n%100_000)
	c.buf = fmt.Appendf(c.buf[:0], "POST /v25.0/%d/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		1000+n%50, len(body), body)
	if _, err := c.conn.Write(c.buf); err != nil {
		b.Error(err)
		return
	}
	length, status := 0, ""
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			b.Error(err)
			return
		}
		if status == "" {
			status = string(line)
		}
		if value, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
		if len(line) == 2 {
			break
		}
	}
	if _, err := c.in.Discard(length); err != nil || !strings.HasPrefix(status, "HTTP/1.1 200") {
		b.Errorf("%q %v", status, err)
	}
}
