package dispatch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sendlog/sendlog/domain"
)

// A line knows its oldest job, whatever comes and ends in what order.
func TestOldestOfALine(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	n := &line{}
	var jobs []*job
	for range 2000 {
		if len(jobs) > 0 && rng.IntN(2) == 0 {
			i := rng.IntN(len(jobs))
			n.remove(jobs[i])
			jobs = slices.Delete(jobs, i, i+1)
		} else {
			j := &job{handle: handle{at: domain.Position(rng.IntN(1_000_000) + 1), due: rng.IntN(4) == 0}}
			if slices.ContainsFunc(jobs, func(other *job) bool { return other.handle == j.handle }) {
				continue
			}
			n.add(j)
			jobs = append(jobs, j)
		}
		var want domain.Position
		for _, j := range jobs {
			if !j.handle.due && (want == 0 || j.handle.at < want) {
				want = j.handle.at
			}
		}
		if n.oldest() != want || n.jobs != len(jobs) {
			t.Fatalf("seed %d: the oldest of %d is %d, want %d of %d", seed, n.jobs, n.oldest(), want, len(jobs))
		}
	}
}

// seeded runs a test with so many seeds, each of which its name tells.
func seeded(t *testing.T, runs int, test func(t *testing.T, rng *rand.Rand, run int)) {
	first := rand.Uint64()
	for run := range runs {
		seed := first + uint64(run)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			test(t, rand.New(rand.NewPCG(seed, 1)), run)
		})
	}
}
