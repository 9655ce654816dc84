package streams

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Group commit of the embedded log (ADR 0006).
//
// JetStream on one node either fsyncs every message by itself or answers
// before any fsync. We let it answer early, its writes being in the kernel by
// then, and hold our own answer until an fsync that began afterwards: all who
// wait meanwhile share the next one. One fsync of the newest message block
// covers every event before it, because a stream only ever appends.

// fsyncs makes what one stream has written durable.
type fsyncs struct {
	dir string // of the stream's message blocks: <number>.blk

	mu     sync.Mutex
	next   *round // gathers those who wait for the next fsync; nil when nobody does
	busy   bool   // an fsync is in flight
	failed error  // an fsync failed: nothing can be promised until a restart

	block  *os.File // the newest block known; only the goroutine that syncs touches it
	number int
}

// round is everybody who waits for one fsync.
type round struct {
	done chan struct{}
	err  error // valid once done is closed
}

func newFsyncs(dir string) *fsyncs { return &fsyncs{dir: dir} }

// wait returns nil once everything the server had acknowledged before the call
// is on disk.
func (f *fsyncs) wait(ctx context.Context) error {
	f.mu.Lock()
	if f.next == nil {
		f.next = &round{done: make(chan struct{})}
	}
	r := f.next
	if !f.busy {
		f.busy = true
		go f.run()
	}
	f.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// broken returns why nothing can be promised any more, or nil.
func (f *fsyncs) broken() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// run syncs round after round until nobody waits.
func (f *fsyncs) run() {
	for {
		f.mu.Lock()
		r, failed := f.next, f.failed
		if f.next = nil; r == nil {
			f.busy = false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		if r.err = failed; r.err == nil {
			r.err = f.sync()
		}
		if r.err != nil {
			f.mu.Lock()
			f.failed = r.err // the kernel may have dropped the pages: asking again would lie
			f.mu.Unlock()
		}
		close(r.done)
	}
}

// sync makes every block durable that was written since the last call: the one
// known as newest, and all after it.
func (f *fsyncs) sync() error {
	if f.block == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	for {
		if err := f.block.Sync(); err != nil {
			return fmt.Errorf("fsync log: %w", err)
		}
		// A block is complete before its successor is made, so a look after
		// the sync misses nothing.
		next, err := os.OpenFile(f.path(f.number+1), os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("open log block: %w", err)
		}
		_ = f.block.Close()
		f.block, f.number = next, f.number+1
		if err := syncDir(f.dir); err != nil {
			return err
		}
	}
}

// open finds the newest block. It and its directory entry are synced, so that
// what an earlier process left is durable too.
func (f *fsyncs) open() error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return fmt.Errorf("find log blocks: %w", err)
	}
	newest := 0
	for _, e := range entries {
		name, isBlock := strings.CutSuffix(e.Name(), ".blk")
		if n, err := strconv.Atoi(name); isBlock && err == nil {
			newest = max(newest, n)
		}
	}
	if newest == 0 {
		return errors.New("find log blocks: the log has none")
	}
	f.number = newest
	if f.block, err = os.OpenFile(f.path(newest), os.O_RDWR, 0); err != nil {
		return fmt.Errorf("open log block: %w", err)
	}
	return syncDir(f.dir)
}

func (f *fsyncs) path(number int) string {
	return filepath.Join(f.dir, strconv.Itoa(number)+".blk")
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open log directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("fsync log directory: %w", err)
	}
	return nil
}

// durable turns a sync's failure into the answer for a caller.
func durable(err error) error {
	if err == nil {
		return nil
	}
	return &domain.Error{Kind: domain.Unavailable, Cause: err, RetryAfter: time.Second,
		Message: "the request could not be made durable; nothing was promised, try again with the same idempotency key"}
}
