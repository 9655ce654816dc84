package streams

import (
	"crypto/rand"

	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sendlog/sendlog/domain"
)

// Durability is when an acknowledged append survives a power cut.
type Durability string

// The durabilities of the embedded log.
const (
	Strict   Durability = "strict"   // fsynced before the answer
	Interval Durability = "interval" // fsynced within 100 ms; a killed process still loses nothing
)

const (
	syncInterval = 100 * time.Millisecond

	// startTimeout bounds opening the store: an unclean stop re-reads the hot
	// log at about 300 MB/s.
	startTimeout = 10 * time.Minute
	// readyStep is how often a starting server is asked why it is not ready.
	readyStep = 250 * time.Millisecond

	// maxClients bounds the connections of the listener, ours included.
	maxClients = 4096
)

// Authenticator tells which tenant an API key may listen to now.
type Authenticator interface {
	Authenticate(key string) (domain.TenantID, bool)
}

// Embedded is a nats-server inside this process, the only owner of its store
// directory.
type Embedded struct {
	server *server.Server
	gate   *gate
	lock   *flock.Flock
	secret string
	dir    string
	strict bool // appends are fsynced before they are answered
}

// EmbeddedConfig configures [StartEmbedded].
type EmbeddedConfig struct {
	Dir        string     // store directory; created with mode 0700
	Durability Durability // required
	Listen     string     // host:port where tenants may subscribe to live.<tenant>.>; empty: no listener at all
	Tenants    Authenticator
	Log        *slog.Logger
}

// internalUser is the name of this process's own connections.
const internalUser = "sendlog"

// StartEmbedded opens the store and returns when the log is ready. A directory
// that another process holds is refused.
func StartEmbedded(c EmbeddedConfig) (*Embedded, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create log directory: %w", err)
	}
	lock := flock.New(filepath.Join(c.Dir, "sendlog.lock"))
	if held, err := lock.TryLock(); err != nil {
		return nil, fmt.Errorf("lock log directory: %w", err)
	} else if !held {
		return nil, fmt.Errorf("the log directory %s is in use by another sendlog process; stop it, or set DATA_DIR to another directory", c.Dir)
	}
	e := &Embedded{lock: lock, secret: randomSecret(), dir: c.Dir, strict: c.Durability == Strict}
	if err := mend(e.stream(""), c.Log); err != nil {
		_ = lock.Unlock()
		return nil, err
	}
	opts, err := e.options(c)
	if err != nil {
		_ = lock.Unlock()
		return nil, err
	}
	if e.server, err = server.NewServer(opts); err != nil {
		_ = lock.Unlock()
		return nil, fmt.Errorf("make embedded nats-server: %w", err)
	}
	fatal := make(chan string, 1)
	e.server.SetLoggerV2(natsLogger{log: c.Log, fatal: fatal, clients: new(atomic.Uint64)}, false, false, false)
	e.server.Start()
	for deadline := time.Now().Add(startTimeout); !e.server.ReadyForConnections(readyStep); {
		select {
		case why := <-fatal:
			e.Shutdown()
			return nil, fmt.Errorf("start embedded nats-server: %s", why)
		default:
		}
		if time.Now().After(deadline) {
			e.Shutdown()
			return nil, fmt.Errorf("the embedded log did not become ready within %s", startTimeout)
		}
	}
	return e, nil
}

func (e *Embedded) options(c EmbeddedConfig) (*server.Options, error) {
	room, err := storeRoom(c.Dir)
	if err != nil {
		return nil, err
	}
	o := &server.Options{
		ServerName:         "sendlog-embedded", // stable: JetStream ties its store to the name
		JetStream:          true,
		StoreDir:           c.Dir,
		JetStreamMaxStore:  room,
		MaxConn:            maxClients,
		JetStreamMaxMemory: 64 << 20, // memory streams only; we have none
		MaxPayload:         1 << 20,
		// By default a stream has at most 1,000 consumers: fewer than numbers may
		// have an outcome in doubt, each with a reader, when Meta is away.
		JetStreamLimits: server.JSLimitOpts{DefaultMaxConsumers: -1},
		SyncInterval:    syncInterval, // Strict is kept by our own group commit (commit.go)
		NoSigs:          true,         // signals belong to cmd/sendlog
		DontListen:      c.Listen == "",
	}
	if c.Durability != Strict && c.Durability != Interval {
		return nil, fmt.Errorf("durability %q: want %q or %q", c.Durability, Strict, Interval)
	}
	e.gate = &gate{secret: e.secret, tenants: c.Tenants, guests: map[uint64]string{}}
	o.CustomClientAuthentication = e.gate
	if c.Listen != "" {
		host, port, err := net.SplitHostPort(c.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen address for live subscriptions: %w", err)
		}
		if o.Host = host; host == "" {
			o.Host = "127.0.0.1"
		}
		if o.Port, err = strconv.Atoi(port); err != nil {
			return nil, fmt.Errorf("listen address for live subscriptions: %w", err)
		}
		if o.Port == 0 {
			o.Port = server.RANDOM_PORT
		}
	}
	return o, nil
}

// storeRoom is how large the log may grow (bytes): what it takes now and three
// quarters of what is free. Past it appends are refused and reading goes on; a
// disk that is really full would make the server give up instead.
func storeRoom(dir string) (int64, error) {
	free, err := freeBytes(dir)
	if err != nil {
		return 0, fmt.Errorf("ask for free disk space: %w", err)
	}
	used := int64(0)
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			used += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measure the log: %w", err)
	}
	return used + free/4*3, nil
}

// connect opens one in-process connection.
func (e *Embedded) connect(opts ...nats.Option) (*nats.Conn, error) {
	opts = append(opts, nats.InProcessServer(e.server), nats.UserInfo(internalUser, e.secret))
	return nats.Connect("", opts...)
}

// blocks returns the directory in which the server keeps the message blocks of
// a stream (nats-server 2.15: <store>/jetstream/<account>/streams/<stream>/msgs).
func (e *Embedded) blocks(stream string) string {
	return filepath.Join(e.stream(stream), "msgs")
}

func (e *Embedded) stream(name string) string {
	return filepath.Join(e.dir, "jetstream", "$G", "streams", name)
}

// room returns how large the log may grow, as it was found at start, and what
// is free on its disk now (bytes).
func (e *Embedded) room() (most, free int64, err error) {
	if js := e.server.JetStreamConfig(); js != nil {
		most = js.MaxStore
	}
	if free, err = freeBytes(e.dir); err != nil {
		return most, 0, fmt.Errorf("ask for free disk space: %w", err)
	}
	return most, free, nil
}

// ListenURL returns the address tenants may connect to, or "".
func (e *Embedded) ListenURL() string {
	if a := e.server.Addr(); a != nil {
		return "nats://" + a.String()
	}
	return ""
}

// Shutdown stops the server, waits until its files are closed, and releases
// the directory.
func (e *Embedded) Shutdown() {
	e.server.Shutdown()
	e.server.WaitForShutdown()
	_ = e.lock.Unlock() // the process may hold it until exit; nothing depends on the result
}

func randomSecret() string {
	b := make([]byte, 24)
	if _, err := rand.Read(b); err != nil {
		panic(err) // crypto/rand never fails on the systems we run on
	}
	return hex.EncodeToString(b)
}

// natsLogger passes the server's warnings and errors on. Its chatter is left
// out.
type natsLogger struct {
	log     *slog.Logger
	fatal   chan<- string  // the first reason why the server cannot run
	clients *atomic.Uint64 // lines about clients so far
}

func (natsLogger) Noticef(string, ...any) {}
func (natsLogger) Debugf(string, ...any)  {}
func (natsLogger) Tracef(string, ...any)  {}

// Warnf implements server.Logger.
func (l natsLogger) Warnf(f string, a ...any) { l.say(fmt.Sprintf(f, a...)) }

// Errorf implements server.Logger. Its lines are warnings: strangers cause them
// too, and what matters to us fails our own calls.
func (l natsLogger) Errorf(f string, a ...any) { l.say(fmt.Sprintf(f, a...)) }

// Fatalf implements server.Logger.
func (l natsLogger) Fatalf(f string, a ...any) {
	why := fmt.Sprintf(f, a...)
	l.log.Error("nats: fatal", "detail", why)
	select {
	case l.fatal <- why:
	default:
	}
}

// say leaves out what a client wrote: its name, its subjects and even a key in
// the wrong field stand in such lines. They thin out, because a client can
// cause as many as it likes.
func (l natsLogger) say(text string) {
	if !strings.Contains(text, "cid:") {
		l.log.Warn("nats: warning", "detail", text)
		return
	}
	if n := l.clients.Add(1); n&(n-1) == 0 {
		l.log.Warn("nats: a client was refused or broke off", "so_far", n)
	}
}
