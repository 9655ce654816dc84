package streams_test

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/internal/vault"
	"github.com/sendlog/sendlog/streams"
)

const (
	tenantA domain.TenantID = "ten_a"
	tenantB domain.TenantID = "ten_b"
	number  domain.NumberID = "106540352242922"
)

// ring holds the data keys of the test tenants.
type ring map[domain.TenantID][]byte

func (r ring) DataKey(t domain.TenantID) ([]byte, bool) { k, ok := r[t]; return k, ok }

func newVault(t testing.TB) *vault.Vault {
	t.Helper()
	return sealerOf(t, "0123456789abcdef0123456789abcdef")
}

// sealerOf returns a vault under a master key, with fresh keys for the test
// tenants.
func sealerOf(t testing.TB, master string) *vault.Vault {
	t.Helper()
	keys := ring{}
	v, err := vault.New([]byte(master), keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []domain.TenantID{tenantA, tenantB} {
		if keys[id], err = v.NewDataKey(id); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// embed starts an embedded log in dir.
func embed(t testing.TB, dir string, d streams.Durability) *streams.Embedded {
	t.Helper()
	e, err := streams.StartEmbedded(streams.EmbeddedConfig{Dir: dir, Durability: d, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// oneNode opens a log on an embedded server of the test's own.
func oneNode(t testing.TB, d streams.Durability) *streams.Broker {
	t.Helper()
	e := embed(t, t.TempDir(), d)
	t.Cleanup(e.Shutdown)
	return open(t, streams.Config{Embedded: e, Sealer: newVault(t)})
}

func open(t testing.TB, c streams.Config) *streams.Broker {
	t.Helper()
	c.Log, c.Meter = quiet(), domain.NoMeter{}
	b, err := streams.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// threeNodes starts a real cluster on loopback and opens a log on it.
func threeNodes(t testing.TB) *streams.Broker {
	t.Helper()
	_, url := cluster(t)
	return open(t, streams.Config{URL: url, Sealer: newVault(t)})
}

// cluster starts three servers on loopback that are one JetStream.
func cluster(t testing.TB) (servers []*server.Server, url string) {
	t.Helper()
	ports := freePorts(t, 3)
	dir := t.TempDir()
	for i := range ports {
		conf := filepath.Join(dir, fmt.Sprintf("n%d.conf", i))
		text := fmt.Sprintf(`server_name: n%d
listen: 127.0.0.1:-1
jetstream { store_dir: %q, max_mem: 64MB, max_file: 4GB, sync_interval: always }
cluster { name: test, listen: 127.0.0.1:%d, routes: [nats://127.0.0.1:%d, nats://127.0.0.1:%d, nats://127.0.0.1:%d] }
`, i, filepath.Join(dir, fmt.Sprint(i)), ports[i], ports[0], ports[1], ports[2])
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		opts, err := server.ProcessConfigFile(conf)
		if err != nil {
			t.Fatal(err)
		}
		opts.NoSigs, opts.NoLog = true, true
		s, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		servers = append(servers, s)
	}
	urls := ""
	for _, s := range servers {
		if !s.ReadyForConnections(30 * time.Second) {
			t.Fatal("a node did not start")
		}
		urls += s.ClientURL() + ","
	}
	waitFor(t, "a JetStream leader", func() bool {
		for _, s := range servers {
			if s.JetStreamIsLeader() {
				return s.JetStreamClusterPeers() != nil && len(s.JetStreamClusterPeers()) == len(servers)
			}
		}
		return false
	})
	return servers, urls[:len(urls)-1]
}

// freePorts finds loopback ports that are free now: below the range from which
// the system takes the ports of connections, one of which could take it first.
func freePorts(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range 100 * n {
		port := 10_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer l.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatal("no ports are free")
	return nil
}

// oneAndThree tests on a log of one node, and on one of three.
func oneAndThree(t *testing.T, test func(*testing.T, *streams.Broker)) {
	for name, open := range map[string]func(*testing.T) *streams.Broker{
		"one node":    func(t *testing.T) *streams.Broker { return oneNode(t, streams.Strict) },
		"three nodes": func(t *testing.T) *streams.Broker { return threeNodes(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// waitFor polls a fact that has no signal of its own.
func waitFor(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
