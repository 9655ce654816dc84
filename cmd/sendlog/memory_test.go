package main

import "testing"

// A small heap gathers as much garbage as a large one before it is collected; a
// large one as much as Go's default says. A heap nobody has looked at yet is a
// small one: it is collected as well.
func TestRoomForGarbage(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int{
		0: 3200, 1 << 20: 3200, 4 << 20: 3200, 32 << 20: 400, 128 << 20: 100, 2 << 30: 100,
	} {
		if got := gcPercent(live); got != want {
			t.Errorf("beside %d MiB: %d %%, want %d %%", live>>20, got, want)
		}
	}
}
