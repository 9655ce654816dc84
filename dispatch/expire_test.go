package dispatch

import (
	"fmt"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// What expires in a backlog that stands still, behind others that do not, is
// recorded while it stands, whether the number is paused or templates are
// restricted; the others are sent when it goes on.
func TestExpiresInAStandingBacklog(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]string{"paused": "text", "restricted": message.Template} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			n := inLane(3, 1)[0]
			d := w.small(w.dispatcher())
			w.gate.set(true)
			if kind == message.Template {
				d.Config.Gate = templateGate{w.gate}
			}
			var stay, expire []domain.Key
			for i := range 60 {
				to := fmt.Sprintf("+1415555%04d", i%20) // behind others to the same person, too
				stay = append(stay, w.requestOf(kind, n, to, "x", message.Options{}))
				expire = append(expire, w.requestOf(kind, n, to, "x", message.Options{ExpiresAt: time.Now()}))
			}
			w.run(d)
			for _, k := range expire {
				w.await(k, message.TypeSendExpired)
			}
			for _, k := range stay {
				wantTypes(t, w, k, message.TypeSendRequested)
			}
			w.gate.set(false)
			for _, k := range stay {
				w.await(k, message.TypeSendAccepted)
			}
			for _, k := range expire {
				wantTypes(t, w, k, message.TypeSendRequested, message.TypeSendExpired)
			}
			w.awaitNoBacklog()
		})
	}
}

// What stands behind a message of a paused number ends in time as well.
func TestExpiresBehindAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.gate.set(true)
	w.d.expireEvery = time.Millisecond
	first := w.request("+14155550100", "first")
	k := w.ask(tenantA, number, "+14155550100", aText, message.Options{ExpiresAt: time.Now().Add(50 * time.Millisecond)})
	w.run(w.d)
	w.await(k, message.TypeSendExpired)
	w.gate.set(false)
	w.await(first, message.TypeSendAccepted)
	wantTypes(t, w, k, message.TypeSendRequested, message.TypeSendExpired)
}
