package streams

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sendlog/sendlog/domain"
)

// Presence tells how many processes do the same thing at this moment, by what
// they say on core NATS. It is an estimate: one that ends without a word is
// counted until it has been silent for [presenceLife].
type Presence struct {
	b    *Broker
	role string
	id   string

	mu    sync.Mutex
	heard map[string]time.Time // by process, this one included
}

const (
	// presenceBeat is how often a process says that it is there.
	presenceBeat = time.Second
	// presenceLife is how long a silent process is believed to be there.
	presenceLife = 3 * time.Second
)

// leaving begins the last word of a process.
const leaving = "-"

// Presence returns this process's place among those of a role.
func (b *Broker) Presence(role string) *Presence {
	return &Presence{b: b, role: role, id: domain.NewUUID(), heard: map[string]time.Time{}}
}

// Count returns how many processes of the role there are, this one included.
// While this process does not hear even itself, it keeps to what it heard last:
// being cut off is no sign that the others are gone.
func (p *Presence) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.heard[p.id]) < presenceLife {
		for id, at := range p.heard {
			if now.Sub(at) >= presenceLife {
				delete(p.heard, id)
			}
		}
	}
	n := len(p.heard)
	if _, ok := p.heard[p.id]; !ok {
		n++
	}
	return n
}

// Run announces this process and listens to the others until ctx ends; then it
// says that it leaves.
func (p *Presence) Run(ctx context.Context) error {
	nc, subject := p.b.conns[publishers+1], presenceSubject(p.role)
	sub, err := nc.Subscribe(subject, func(m *nats.Msg) { p.hear(nc, string(m.Data)) })
	if err != nil {
		return fmt.Errorf("listen to other processes: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed: then it is gone as well
	beat := time.NewTicker(presenceBeat)
	defer beat.Stop()
	for {
		// A word that is lost is followed by the next; without a connection
		// nobody needs it.
		_ = nc.Publish(subject, []byte(p.id))
		select {
		case <-beat.C:
		case <-ctx.Done():
			_ = nc.Publish(subject, []byte(leaving+p.id))
			_ = nc.FlushTimeout(presenceBeat)
			return ctx.Err()
		}
	}
}

// hear notes what a process said. A new one is answered at once, so that it
// need not wait for everybody's next beat.
func (p *Presence) hear(nc *nats.Conn, said string) {
	id, left := strings.CutPrefix(said, leaving)
	p.mu.Lock()
	_, known := p.heard[id]
	if left {
		delete(p.heard, id)
	} else {
		p.heard[id] = time.Now()
	}
	p.mu.Unlock()
	if !known && !left && id != p.id {
		_ = nc.Publish(presenceSubject(p.role), []byte(p.id))
	}
}
