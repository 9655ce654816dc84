package domain

import (
	"context"
	"time"
)

// Clock is where time comes from. Production uses [SystemClock]; tests hand in
// their own.
type Clock interface {
	// Now returns the current wall time.
	Now() time.Time
	// Sleep waits for d or until ctx ends, and returns the context's error in
	// that case.
	Sleep(ctx context.Context, d time.Duration) error
}

// SystemClock is the machine's clock.
type SystemClock struct{}

// Now implements [Clock].
func (SystemClock) Now() time.Time { return time.Now() }

// Sleep implements [Clock].
func (SystemClock) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
