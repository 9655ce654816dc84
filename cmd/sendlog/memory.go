package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go collects garbage whenever the heap has doubled. A house with a short hot
// log has a heap of some 30 MiB and doubles it many times a second under load,
// and a fifth of its time goes into that.

const (
	// garbageRoom is how much garbage may gather before it is collected, however
	// small the heap (bytes).
	garbageRoom = 128 << 20
	// garbageLook is how often the room is fitted to the heap.
	garbageLook = time.Second
	// leastHeap is the least heap that counts (bytes): it is Go's own for 100
	// percent, and what is there before the first collection tells about one.
	leastHeap = 4 << 20
	// gcDefault is Go's own: as much garbage as there is heap, in percent.
	gcDefault = 100
)

// roomForGarbage fits the collector to the heap until ctx ends. An operator who
// sets GOGC decides instead; GOMEMLIMIT goes on top of either.
func roomForGarbage(ctx context.Context) error {
	defer debug.SetGCPercent(gcDefault)
	tick := time.NewTicker(garbageLook)
	defer tick.Stop()
	for percent := gcDefault; ; {
		if next := gcPercent(liveHeap()); next > percent*11/10 || next < percent*9/10 { // setting it stops the world for a moment
			percent = next
			debug.SetGCPercent(percent)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gcPercent is how much garbage may gather beside a heap, in percent of it.
func gcPercent(live uint64) int {
	return max(gcDefault, int(gcDefault*garbageRoom/max(live, leastHeap)))
}

// liveHeap is what the last collection left (bytes).
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return garbageRoom
	}
	return sample[0].Value.Uint64()
}
