package streams

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sendlog/sendlog/domain"
)

// Presence tells which processes do the same thing at this moment, by what they
// say on core NATS. It is an estimate: one that ends without a word is counted
// until it has been silent for [presenceLife].
type Presence struct {
	b    *Broker
	role string
	id   string

	mu     sync.Mutex
	heard  map[string]peer // by process, this one included
	holds  uint32          // see word
	leaves bool
	lapses int       // how often this process had been silent for so long that the others took it for gone
	back   time.Time // the end of the last such time: what was heard before it is old
	news   breaks    // of what peers returns; what only time tells comes with the next beat
}

// peer is what a process said last.
type peer struct {
	word
	at time.Time
}

// word is what processes say.
type word struct {
	ID     string `json:"id"`
	Holds  uint32 `json:"holds,omitempty"`  // bit n: it works lane n, or still finishes what it began there
	Leaves bool   `json:"leaves,omitempty"` // it takes nothing more
	Left   bool   `json:"left,omitempty"`   // its last word
}

const (
	// presenceBeat is how often a process says that it is there.
	presenceBeat = time.Second
	// presenceLife is how long a silent process is believed to be there.
	presenceLife = 3 * time.Second
	// presenceSettle is how long a new process listens to the others before it
	// believes to know all of them.
	presenceSettle = 250 * time.Millisecond
)

// Presence returns this process's place among those of a role.
func (b *Broker) Presence(role string) *Presence {
	return &Presence{b: b, role: role, id: domain.NewUUID(), heard: map[string]peer{}}
}

// Count returns how many processes of the role there are, this one included.
// While this process does not hear even itself, it keeps to what it heard last:
// being cut off is no sign that the others are gone.
func (p *Presence) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.living())
	if _, ok := p.heard[p.id]; !ok {
		n++
	}
	return n
}

// living returns the processes that are there. The caller holds p.mu.
func (p *Presence) living() map[string]peer {
	now := time.Now()
	if now.Sub(p.heard[p.id].at) < presenceLife {
		for id, peer := range p.heard {
			if now.Sub(peer.at) >= presenceLife && now.Sub(p.back) >= presenceLife { // it had the time to be heard
				delete(p.heard, id)
			}
		}
	}
	return p.heard
}

// Run announces this process and listens to the others until ctx ends; then it
// says that it is gone.
func (p *Presence) Run(ctx context.Context) error {
	nc := p.b.conns[publishers+1]
	sub, err := nc.Subscribe(presenceSubject(p.role), p.hear)
	if err != nil {
		return fmt.Errorf("listen to other processes: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed: then it is gone as well
	beat := time.NewTicker(presenceBeat)
	defer beat.Stop()
	for {
		p.say(false)
		select {
		case <-beat.C:
			p.news.happen() // somebody may have been silent for too long
		case <-ctx.Done():
			p.say(true)
			_ = nc.FlushTimeout(presenceBeat)
			return ctx.Err()
		}
	}
}

// say tells the others about this process. A word that is lost is followed by
// the next; without a connection nobody needs it.
func (p *Presence) say(left bool) {
	p.mu.Lock()
	defer p.mu.Unlock() // words leave in the order in which they were true
	data, err := json.Marshal(word{ID: p.id, Holds: p.holds, Leaves: p.leaves, Left: left})
	if err == nil {
		_ = p.b.conns[publishers+1].Publish(presenceSubject(p.role), data)
	}
}

// hear notes what a process said. A new one is answered at once, so that it
// need not wait for everybody's next beat.
func (p *Presence) hear(m *nats.Msg) {
	var w word
	if json.Unmarshal(m.Data, &w) != nil || w.ID == "" {
		return
	}
	p.mu.Lock()
	before, known := p.heard[w.ID]
	now := time.Now()
	if w.Left {
		delete(p.heard, w.ID)
	} else {
		p.heard[w.ID] = peer{word: w, at: now}
	}
	lapse := w.ID == p.id && known && now.Sub(before.at) >= presenceLife
	if lapse {
		p.lapses++
		p.back = now
	}
	news := lapse || known == w.Left || before.word != w || before.at.Before(p.back)
	p.mu.Unlock()
	if news {
		p.news.happen()
	}
	if !known && !w.Left && w.ID != p.id {
		p.say(false)
	}
}

// hold says that this process works a lane, or has let go of it.
func (p *Presence) hold(lane int, holds bool) {
	p.mu.Lock()
	if p.holds |= 1 << lane; !holds {
		p.holds &^= 1 << lane
	}
	p.mu.Unlock()
	p.say(false)
}

// leave says that this process takes nothing more.
func (p *Presence) leave() {
	p.mu.Lock()
	p.leaves = true
	p.mu.Unlock()
	p.say(false)
	p.news.happen()
}

// share reports whether a lane is this process's, and whether no other one
// still holds it. Lanes are dealt out in the order of the processes' ids: the
// shares differ by one lane at most.
func (p *Presence) share(lane int) (mine, free bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaves {
		return false, false
	}
	ids := []string{p.id}
	free = true
	for id, peer := range p.living() {
		if id == p.id {
			continue
		}
		if peer.Holds&(1<<lane) != 0 || peer.at.Before(p.back) {
			free = false // or it has not said yet what it took meanwhile
		}
		if !peer.Leaves {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids[lane%len(ids)] == p.id, free
}

// lapsed returns how often the others may have taken this process for gone.
func (p *Presence) lapsed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lapses
}

// settle waits until this process is heard, and the others have had time to
// answer it.
func (p *Presence) settle(ctx context.Context) error {
	for {
		news := p.news.next()
		p.mu.Lock()
		_, heard := p.heard[p.id]
		p.mu.Unlock()
		if heard {
			return domain.SystemClock{}.Sleep(ctx, presenceSettle)
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
