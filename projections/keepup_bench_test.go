package projections_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// BenchmarkKeepUp measures what both read models cost for one ordinary
// message (requested, attempted, accepted), when they get 20 or 1,000 events
// at once, and 300 messages are under way at a time.
func BenchmarkKeepUp(b *testing.B) {
	for _, chunk := range []int{100, 1000} {
		b.Run(fmt.Sprint(chunk), func(b *testing.B) {
			const underWay = 300
			w := newWorld(b)
			l := w.library()
			var events []domain.Event
			for i := range b.N + underWay {
				t := domain.TenantID("ten_" + domain.Digest("tenant", fmt.Sprint(i%128)))
				k := message.OutgoingKey(t, numA, domain.MessageID("msg_"+domain.Digest("message", fmt.Sprint(i))))
				if i < b.N {
					e := w.request("", fmt.Sprintf("+1415%07d", i), fmt.Sprint("Hello ", i))
					e.Key = k
					events = append(events, e)
				}
				if i >= underWay {
					i -= underWay
					t = domain.TenantID("ten_" + domain.Digest("tenant", fmt.Sprint(i%128)))
					k = message.OutgoingKey(t, numA, domain.MessageID("msg_"+domain.Digest("message", fmt.Sprint(i))))
					events = append(events, w.event(k, &message.SendAttempted{Attempt: 1}),
						w.event(k, &message.SendAccepted{Attempt: 1, Via: "answer", AcceptNames: message.AcceptNames{
							Wamid: "wamid." + domain.Digest("wamid", fmt.Sprint(i)), WaID: fmt.Sprintf("1415%07d", i)}}))
				}
			}
			for i, e := range events {
				events[i] = e.Shared()
			}
			b.ResetTimer()
			before := cpuTime()
			for len(events) > 0 {
				n := min(chunk, len(events))
				w.log.add(events[:n]...)
				w.wait(l)
				events = events[n:]
			}
			b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-us/msg")
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
