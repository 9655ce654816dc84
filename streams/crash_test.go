package streams_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

// Environment of the process that gets killed.
const (
	doomedDir        = "SENDLOG_TEST_DOOMED_DIR"
	doomedDurability = "SENDLOG_TEST_DOOMED_DURABILITY"
	doomedArchives   = "SENDLOG_TEST_DOOMED_ARCHIVES" // not empty: it archives and purges as well
)

// unsealed seals nothing: both processes can read what the other wrote.
type unsealed struct{}

func (unsealed) Seal(_ domain.TenantID, _ domain.EventID, b []byte) ([]byte, error) { return b, nil }
func (unsealed) Open(_ domain.TenantID, _ domain.EventID, b []byte) ([]byte, error) { return b, nil }

// doomed appends as fast as it can from several sides, and prints position and
// id of each event once it is acknowledged, until it is killed.
func doomed(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	e, err := streams.StartEmbedded(streams.EmbeddedConfig{Dir: dir, Log: quiet(),
		Durability: streams.Durability(os.Getenv(doomedDurability))})
	if err != nil {
		fail(err)
	}
	b, err := streams.Open(context.Background(), streams.Config{Embedded: e, Sealer: unsealed{}, Log: quiet(), Meter: domain.NoMeter{}})
	if err != nil {
		fail(err)
	}
	archives, purged := os.Getenv(doomedArchives) != "", make(chan struct{})
	if archives {
		go shorten(b, purged, fail)
	}
	for side := range 16 {
		go func() {
			for i := 0; ; i++ {
				if archives && i == 50 {
					<-purged // a fast log would be killed before the archiver has had its turn
				}
				n := domain.NumberID(fmt.Sprint(side))
				k, x := message.OutgoingKey(tenantA, n, domain.OutgoingID(tenantA, "")), domain.First()
				if archives { // nobody works the lanes here, and unfinished work is never purged
					k, x = message.StatusKey(tenantA, n), domain.Any()
				}
				event, err := domain.NewEvent(k, time.Now(), "doomed", &message.SendAttempted{Attempt: 1})
				if err != nil {
					fail(err)
				}
				at, err := b.Events().Append(context.Background(), event, x)
				if err != nil {
					fail(err)
				}
				fmt.Fprintln(os.Stdout, at, event.ID) // one write: whole lines
			}
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent, should it die first
}

// shorten archives and purges without a rest, and closes purged after the first
// time.
func shorten(b *streams.Broker, purged chan<- struct{}, fail func(error)) {
	var once sync.Once
	ctx := context.Background() // ends with the process
	a := b.Archiver(streams.ArchiverConfig{Clock: later{ahead: old}, Hot: hotTime, Keep: 20, Part: 300})
	for {
		if _, err := a.Copy(ctx); err != nil {
			fail(err)
		}
		first, err := a.Purge(ctx)
		if err != nil {
			fail(err)
		}
		if first > 1 {
			once.Do(func() { close(purged) })
		}
	}
}

// promised runs the doomed process until it has acknowledged some events,
// kills it, and returns all that it had acknowledged.
func promised(t *testing.T, dir string, d streams.Durability, some int, env ...string) map[domain.Position]domain.EventID {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self)
	child.Env = append(append(os.Environ(), doomedDir+"="+dir, doomedDurability+"="+string(d)), env...)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	acked := map[domain.Position]domain.EventID{}
	out := bufio.NewReader(stdout)
	for {
		line, err := out.ReadString('\n')
		if err != nil {
			break // killed; half a line is no promise
		}
		var at domain.Position
		var id domain.EventID
		if _, err := fmt.Sscan(line, &at, &id); err != nil {
			t.Fatalf("the doomed process printed %q", line)
		}
		acked[at] = id
		if len(acked) == some {
			_ = child.Process.Kill() // fails only if it is dead already: then it said why
		}
	}
	_ = child.Wait() // killed
	if len(acked) < some {
		t.Fatalf("it died by itself after %d events", len(acked))
	}
	return acked
}

// What was acknowledged survives kill -9 at any moment, under its position,
// without a gap, however often it happens.
func TestAcknowledgedEventsSurviveKill(t *testing.T) {
	t.Parallel()
	for _, d := range []streams.Durability{streams.Strict, streams.Interval} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			random := rand.New(rand.NewPCG(seed, 0))
			dir, acked := t.TempDir(), map[domain.Position]domain.EventID{}
			for round := range 5 {
				some := 1 + random.IntN(1000)
				for at, id := range promised(t, dir, d, some) {
					acked[at] = id
				}
				survivors(t, dir, d, acked, fmt.Sprintf("seed %d, round %d, killed after %d", seed, round, some))
			}
		})
	}
}

// survivors fails unless every acknowledged event is where it was promised. It
// returns how far the log reaches.
func survivors(t *testing.T, dir string, d streams.Durability, acked map[domain.Position]domain.EventID, when string) streams.Extent {
	t.Helper()
	e := embed(t, dir, d)
	defer e.Shutdown()
	b, err := streams.Open(t.Context(), streams.Config{Embedded: e, Sealer: unsealed{}, Log: quiet(), Meter: domain.NoMeter{}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Ready(t.Context()); err != nil {
		t.Errorf("%s: %v", when, err)
	}
	tail, err := b.Reader().Tail(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	there := map[domain.Position]domain.EventID{}
	for _, e := range read(t, b, 0, int(tail)) {
		there[e.Position] = e.ID
	}
	lost := 0
	for at, id := range acked {
		if there[at] != id {
			lost++
		}
	}
	if lost > 0 {
		t.Fatalf("%s: %d of %d acknowledged events are lost", when, lost, len(acked))
	}
	x, err := b.Extent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return x
}
