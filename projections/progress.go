package projections

import (
	"context"
	"sync"

	"github.com/sendlog/sendlog/domain"
)

// progress is how far a model is, and lets readers wait for it. The zero
// value is nowhere yet.
type progress struct {
	mu      sync.Mutex
	ready   bool // there is a generation to read, folded up to at
	at      domain.Position
	changed chan struct{} // closed at the next change; nil while nobody waits
	err     error         // what stands in the way at present
	stopped bool          // and it will not go away by itself
}

// set moves to a position: forward, or anywhere after a rebuild.
func (p *progress) set(at domain.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready, p.at, p.err, p.stopped = true, at, nil, false
	p.wake()
}

// lose says that there is nothing to read any more.
func (p *progress) lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready, p.at = false, 0
}

// well says that what stood in the way does so no more, wherever the model is.
func (p *progress) well() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil && !p.stopped {
		p.err = nil
		p.wake()
	}
}

// trouble records a failure that is being retried, stop one that is not.
func (p *progress) trouble(err error) { p.fail(err, false) }
func (p *progress) stop(err error)    { p.fail(err, true) }

func (p *progress) fail(err error, stopped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.stopped = err, stopped
	p.wake()
}

func (p *progress) wake() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

func (p *progress) state() (domain.Position, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at, p.err
}

// wait returns nil once the model can be read and has folded everything up to
// pos, or an error of kind domain.Unavailable when ctx ends first or the model
// stopped.
func (p *progress) wait(ctx context.Context, pos domain.Position) error {
	for {
		p.mu.Lock()
		ready, at, stopped, cause := p.ready, p.at, p.stopped, p.err
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		switch {
		case ready && at >= pos:
			return nil
		case stopped:
			return domain.Errorf(domain.Unavailable, cause, "what you read is not being updated at present")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return domain.Errorf(domain.Unavailable, ctx.Err(), "what you read is not up to date yet; try again")
		}
	}
}
