package dispatch

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// Behind more templates than a lane holds in memory, which Meta restricts,
// replies are sent, however many, also to the same persons; when the restriction
// is over the templates are, each once, in their order, and before what is
// requested from then on to the same person. The same of what is bulk.
func TestRepliesPassRestrictedTemplates(t *testing.T) {
	t.Parallel()
	for name, priority := range map[string]string{"interactive": "", "bulk": message.Bulk} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			n := inLane(3, 1)[0]
			d := w.small(w.dispatcher())
			d.Config.Gate = templateGate{w.gate}
			w.gate.set(true)
			to := func(i int) string { return fmt.Sprintf("+1415555%04d", i%10) }
			o := message.Options{Priority: priority}
			var templates []domain.Key
			want := map[string][]domain.MessageID{}
			template := func(i int) {
				k := w.requestOf(message.Template, n, to(i), "template", o)
				templates = append(templates, k)
				want[to(i)] = append(want[to(i)], domain.MessageID(k.ID))
			}
			for i := range 100 {
				template(i)
			}
			stop := w.run(d)
			for i := range 40 { // more than fit in memory
				w.await(w.requestOf("text", n, to(i), "reply", o), message.TypeSendAccepted)
				template(i)
			}
			for _, k := range templates {
				wantTypes(t, w, k, message.TypeSendRequested)
			}
			stop() // the next owner goes on with it
			d = w.small(w.dispatcher())
			d.Config.Gate = templateGate{w.gate}
			w.run(d)
			w.await(w.requestOf("text", n, to(0), "reply", o), message.TypeSendAccepted)
			w.gate.set(false)
			w.await(templates[0], message.TypeSendAccepted)
			for i := range 10 {
				k := w.requestOf("text", n, to(i), "afterwards", o)
				want[to(i)] = append(want[to(i)], domain.MessageID(k.ID))
				w.await(k, message.TypeSendAccepted)
			}
			for to, ids := range want {
				var called []domain.MessageID
				for _, c := range w.provider.made() {
					if c.To == to && slices.Contains(ids, c.Message) {
						called = append(called, c.Message)
					}
				}
				if !slices.Equal(called, ids) {
					t.Errorf("%s: called %v, accepted %v", to, called, ids)
				}
			}
			w.calledOnce()
			w.awaitNoBacklog()
		})
	}
}

// A template whose own time has come while templates are restricted is scheduled
// anew, and holds up nothing to the same person.
func TestDueTemplateIsScheduledAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.gate.set(true)
	w.d.Gate = templateGate{w.gate}
	template := w.requestOf(message.Template, number, "+14155550100", "template", message.Options{})
	due := w.due(template)
	ended := make(chan struct{})
	due.Done = func() error { close(ended); return nil }
	reply := w.requestOf("text", number, "+14155550100", "reply", message.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	l := w.d.begin(domain.Lane(number), ctx, ctx)
	defer l.end()
	defer cancel()
	before := time.Now()
	l.take(due)
	l.take(w.work.delivery(w.log.All()[1]))
	w.await(reply, message.TypeSendAccepted)
	<-ended
	if at, ok := w.schedule.scheduled(template); !ok || at.Before(before.Add(asideFor)) {
		t.Errorf("scheduled for %s, %v", at, ok)
	}
	wantTypes(t, w, template, message.TypeSendRequested)
}
