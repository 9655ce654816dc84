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
	"github.com/sendlog/sendlog/internal/durable"
)

// Group commit of the embedded log (ADR 0006).
//
// JetStream on one node either fsyncs every message by itself or answers
// before any fsync. We let it answer early, its writes being in the kernel by
// then, and hold our own answer until an fsync that began afterwards: all who
// wait meanwhile share the next one. One fsync of the newest message block
// covers every event before it, because a stream only ever appends.

// disk is where the log of this process lies.
type disk struct {
	blocks func(stream string) string // the directory of a stream's message blocks

	mu      sync.Mutex
	streams map[string]*fsyncs
}

func (d *disk) of(stream string) *fsyncs {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.streams[stream]
	if f == nil {
		f = newFsyncs(d.blocks(stream))
		d.streams[stream] = f
	}
	return f
}

// forget lets go of a stream that was deleted.
func (d *disk) forget(stream string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.streams, stream)
}

// broken returns which stream cannot be made durable any more and why, or nil.
func (d *disk) broken() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for stream, f := range d.streams {
		if err := f.broken(); err != nil {
			return fmt.Errorf("%s cannot be made durable any more: %w; mend the disk and start again", stream, err)
		}
	}
	return nil
}

// fsyncs makes what one stream has written durable.
type fsyncs struct {
	dir string // of the stream's message blocks: <number>.blk

	mu     sync.Mutex
	next   *round // gathers those who wait for the next fsync; nil when nobody does
	busy   bool   // an fsync is in flight
	failed error  // an fsync failed: nothing can be promised until a restart

	block  *os.File // the newest block known, nil before the first; only the goroutine that syncs touches it
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
		if err := syncData(f.block); err != nil {
			return fmt.Errorf("fsync log: %w", err)
		}
		// The server writes a block anew when it compresses it, or when most
		// of it was purged: then what we hold is no longer the log's file.
		if same, err := f.current(); err != nil {
			return err
		} else if !same {
			_ = f.block.Close()
			if err := f.open(); err != nil {
				return err
			}
			continue
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
		if err := durable.SyncDir(f.dir); err != nil {
			return err
		}
	}
}

// current reports whether the block we hold is the file of that name.
func (f *fsyncs) current() (bool, error) {
	ours, err := f.block.Stat()
	if err != nil {
		return false, fmt.Errorf("look at log block: %w", err)
	}
	theirs, err := os.Stat(f.path(f.number))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // purged whole
	}
	if err != nil {
		return false, fmt.Errorf("look at log block: %w", err)
	}
	return os.SameFile(ours, theirs), nil
}

// open finds the newest block. The stream's settings, all blocks and their
// directory entries are synced first, so that the stream is found again, and
// what an earlier process left is durable too; syncing what is on disk already
// costs next to nothing.
func (f *fsyncs) open() error {
	f.block = nil
	stream := filepath.Dir(f.dir)
	if err := errors.Join(syncFile(filepath.Join(stream, metaFile)), syncFile(filepath.Join(stream, metaSum)),
		durable.SyncDir(stream), durable.SyncDir(filepath.Dir(stream))); err != nil {
		return err
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return fmt.Errorf("find log blocks: %w", err)
	}
	newest := 0
	for _, e := range entries {
		name, isBlock := strings.CutSuffix(e.Name(), ".blk")
		n, err := strconv.Atoi(name)
		if !isBlock || err != nil {
			continue
		}
		newest = max(newest, n)
		if err := syncFile(f.path(n)); err != nil {
			return err
		}
	}
	if newest == 0 {
		return errors.New("find log blocks: the log has none")
	}
	f.number = newest
	if f.block, err = os.OpenFile(f.path(newest), os.O_RDWR, 0); err != nil {
		return fmt.Errorf("open log block: %w", err)
	}
	return durable.SyncDir(f.dir)
}

// syncFile syncs a file of the log. A block that is purged meanwhile needs no
// sync.
func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open log file: %w", err)
	}
	defer file.Close()
	if err := file.Sync(); err != nil {
		return fmt.Errorf("fsync log: %w", err)
	}
	return nil
}

func (f *fsyncs) path(number int) string {
	return filepath.Join(f.dir, strconv.Itoa(number)+".blk")
}

// undurable turns a sync's failure into the answer for a caller.
func undurable(err error) error {
	if err == nil {
		return nil
	}
	return &domain.Error{Kind: domain.Unavailable, Cause: err, RetryAfter: time.Second,
		Message: "the request could not be made durable; nothing was promised, try again with the same idempotency key"}
}
