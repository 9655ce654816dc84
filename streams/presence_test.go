package streams_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sendlog/sendlog/streams"
)

// Processes of one role count each other, at once when one comes and when one
// leaves; other roles are not counted.
func TestPresence(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	join := func(role string) (*streams.Presence, func()) {
		p := b.Presence(role)
		if n := p.Count(); n != 1 {
			t.Errorf("before it runs it counts %d", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		leave := func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
		}
		return p, leave
	}
	first, leaveFirst := join("api")
	defer leaveFirst()
	other, leaveOther := join("dispatch")
	defer leaveOther()
	second, leaveSecond := join("api")
	third, leaveThird := join("api")
	for _, p := range []*streams.Presence{first, second, third} {
		waitFor(t, "three processes to know each other", func() bool { return p.Count() == 3 })
	}
	leaveThird()
	leaveSecond()
	waitFor(t, "the first to be alone", func() bool { return first.Count() == 1 })
	if n := other.Count(); n != 1 {
		t.Errorf("another role counts %d", n)
	}
}
