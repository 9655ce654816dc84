package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/sendlog/sendlog/api"
	"github.com/sendlog/sendlog/dispatch"
	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
	"github.com/sendlog/sendlog/internal/vault"
	"github.com/sendlog/sendlog/projections"
	"github.com/sendlog/sendlog/projections/mongostore"
	"github.com/sendlog/sendlog/projections/sqlitestore"
	"github.com/sendlog/sendlog/streams"
)

// house is the whole system of one process, built room by room from the
// innermost to the outermost. It is started by open and stopped by close, in
// reverse.
type house struct {
	config config
	log    *slog.Logger
	clock  domain.Clock
	meter  *meter
	policy dispatch.Policy

	directory *tenant.Directory
	vault     *vault.Vault
	registry  *tenant.Registry
	broker    *streams.Broker
	store     projections.Store
	library   *projections.Library
	inbox     *dispatch.Inbox
	server    *api.Server

	admin, public         net.Listener // public is nil without the role api
	publicAddr, adminAddr string       // where they are, with real ports
	liveURL               string       // where tenants may subscribe, or empty

	services *group
	closers  []func() // in the order of opening
}

// openHouse starts everything the configuration asks for and returns when it
// takes requests. On an error nothing is left running.
func openHouse(ctx context.Context, c config, policy dispatch.Policy, log *slog.Logger) (*house, error) {
	h := &house{config: c, log: log, clock: domain.SystemClock{}, meter: newMeter(), policy: policy,
		directory: tenant.NewDirectory(), services: newGroup(log)}
	if err := h.bind(); err != nil { // first: nothing is opened for a port that is taken
		return nil, err
	}
	if os.Getenv("GOGC") == "" {
		h.services.start("memory", roomForGarbage)
	}
	for _, step := range []func(context.Context) error{
		h.openVault, h.openLog, h.openTenants, h.openReadModels, h.openArchive, h.openDispatch, h.openDoors,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, h.close())
		}
	}
	return h, nil
}

// wait returns when ctx ends (nil) or a part of the house fails (its error).
func (h *house) wait(ctx context.Context) error { return h.services.wait(ctx) }

// close stops the house: no new requests, running calls finish, read models
// write what they have, files are closed.
func (h *house) close() error {
	err := h.services.stop()
	for i := len(h.closers) - 1; i >= 0; i-- {
		h.closers[i]()
	}
	h.closers = nil
	return err
}

func (h *house) openVault(context.Context) error {
	h.vault = vault.Under(keyring{h.directory}, h.config.KEK, h.config.FormerKEKs...)
	return nil
}

// keyring finds data keys. An event of a tenant can be read before the news of
// the tenant itself has arrived in this process: then it waits for it.
type keyring struct{ directory *tenant.Directory }

// keyPatience bounds that wait.
const keyPatience = time.Second

// DataKey implements vault.Keyring.
func (k keyring) DataKey(t domain.TenantID) ([]byte, bool) {
	if key, ok := k.directory.DataKey(t); ok {
		return key, true
	}
	ctx, cancel := context.WithTimeout(context.Background(), keyPatience) // asked deep inside a codec: no caller's context reaches here
	defer cancel()
	for {
		at := k.directory.Position() // before the look: news that comes in between ends the wait
		if key, ok := k.directory.DataKey(t); ok {
			return key, true
		}
		if k.directory.Wait(ctx, at+1) != nil {
			return k.directory.DataKey(t)
		}
	}
}

// NextDataKey implements vault.Patience.
func (k keyring) NextDataKey(t domain.TenantID, wrapped []byte) ([]byte, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), keyPatience) // as in DataKey
	defer cancel()
	for {
		at := k.directory.Position()
		if key, ok := k.directory.DataKey(t); ok && !bytes.Equal(key, wrapped) {
			return key, true
		}
		if k.directory.Wait(ctx, at+1) != nil {
			return nil, false
		}
	}
}

func (h *house) openLog(ctx context.Context) error {
	c := streams.Config{URL: h.config.NATSURL, Sealer: h.vault, Log: h.log, Meter: h.meter}
	if c.URL == "" {
		embedded, err := streams.StartEmbedded(streams.EmbeddedConfig{
			Dir: filepath.Join(h.config.DataDir, "log"), Durability: h.config.Durability,
			Listen: h.config.NATSListen, Tenants: listeners{h.directory, h.clock}, Log: h.log,
		})
		if err != nil {
			return err
		}
		h.closers = append(h.closers, embedded.Shutdown)
		h.liveURL = embedded.ListenURL()
		c.Embedded = embedded
		if h.config.NATSListen != "" {
			h.services.start("keys of listeners", func(ctx context.Context) error { return h.recheckListeners(ctx, embedded) })
		}
	}
	broker, err := streams.Open(ctx, c)
	if err != nil && c.Embedded == nil {
		return configError{"NATS_URL", "cannot be used: " + err.Error(), "check the address and that JetStream is on, or leave it out for the embedded log"}
	}
	if err != nil {
		return err
	}
	h.closers = append(h.closers, broker.Close)
	h.broker = broker
	return nil
}

// openTenants fills the directory and refuses a master key that is not the one
// the data was sealed with.
func (h *house) openTenants(ctx context.Context) error {
	ready := make(chan struct{})
	h.services.start("tenants", func(ctx context.Context) error {
		return h.broker.Tenants().Follow(ctx, h.directory.Apply, func() { close(ready) })
	})
	select {
	case <-ready:
	case <-ctx.Done():
		return ctx.Err()
	case s := <-h.services.failed:
		return fmt.Errorf("%s: %w", s.name, s.err)
	}
	if err := h.checkMasterKey(); err != nil {
		return err
	}
	h.registry = &tenant.Registry{Directory: h.directory, Journal: h.broker.Tenants(), Vault: h.vault, Clock: h.clock}
	return nil
}

func (h *house) openReadModels(ctx context.Context) (err error) {
	if h.config.MongoURI != "" {
		if h.store, err = mongostore.Open(ctx, h.config.MongoURI, ""); err != nil {
			return configError{"MONGO_URI", "cannot be used: " + err.Error(), "check the address, or leave it out for the embedded read models"}
		}
	} else if err = h.lockReadModels(); err == nil {
		h.store, err = sqlitestore.Open(ctx, filepath.Join(h.config.DataDir, "read"))
	}
	if err != nil {
		return err
	}
	h.closers = append(h.closers, func() {
		if err := h.store.Close(); err != nil {
			h.log.Warn("sendlog: closing the read models", "error", err.Error())
		}
	})
	h.library, err = projections.NewLibrary(projections.Config{
		Source: source{h.broker.Reader()}, Store: h.store, Announcer: announcer{h.broker.Live()},
		Clock: h.clock, Meter: h.meter, Log: h.log, Alone: h.config.MongoURI == "",
	})
	if err != nil {
		return err
	}
	if h.config.has(roleProject) {
		h.services.start("read models", h.library.Run)
	} else {
		h.services.start("read models", h.library.Follow)
	}
	return h.awaitReadModels(ctx)
}

// readPatience is how long a start waits for the read models. One that has to
// be built from a long log goes on without them: sending does not need them,
// and readiness says what is missing.
const readPatience = 5 * time.Second

func (h *house) awaitReadModels(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	for h.readModels() != nil {
		if err := h.clock.Sleep(ctx, 5*time.Millisecond); err != nil {
			h.log.Warn("sendlog: read models are still being built")
			return nil
		}
	}
	return nil
}

// readModels returns nil when every read model can be read.
func (h *house) readModels() error {
	for _, m := range h.library.Health() {
		if !m.Ready() {
			return domain.Errorf(domain.Unavailable, m.Err, "the read model %s is not up to date", m.Model)
		}
	}
	return nil
}

// lockReadModels keeps a second process away from the embedded read models.
func (h *house) lockReadModels() error {
	path := filepath.Join(h.config.DataDir, "read.lock")
	lock := flock.New(path)
	held, err := lock.TryLock()
	if err != nil {
		return configError{"DATA_DIR", "cannot be locked: " + err.Error(), "set DATA_DIR to a directory this user may write"}
	}
	if !held {
		return configError{"DATA_DIR", "(" + h.config.DataDir + ") is in use by another sendlog process", "stop it, or set another DATA_DIR"}
	}
	h.closers = append(h.closers, func() { _ = lock.Unlock() }) // the process's end releases it as well
	return nil
}

func (h *house) openDispatch(context.Context) error {
	meta, err := cloudapi.New(cloudapi.Config{BaseURL: h.config.GraphURL, Version: h.config.GraphVer})
	if err != nil {
		return configError{"GRAPH_URL", err.Error(), "leave it out for https://graph.facebook.com"}
	}
	policy := h.policy
	prober := &dispatch.Prober{Breaker: h.registry, Clock: h.clock, Every: policy.ProbeEvery, Logger: h.log, Meta: meta,
		Numbers: h.directory, Paces: h.registry, Shares: h.broker.Workers, Tokens: h.registry}
	h.inbox = &dispatch.Inbox{Breaker: h.registry, Clock: h.clock, Logger: h.log, Meter: h.meter, Owners: h.directory,
		Paces: h.registry, Quarantine: h.broker.Quarantine(h.vault), Recorder: h.broker.Events(), Throughput: prober}
	if !h.config.has(roleDispatch) {
		return nil
	}
	if h.config.NATSURL != "" { // another process may hold a lane, or have held it a moment ago
		policy.Patience = cloudapi.CallTimeout + 5*time.Second
	}
	d := dispatch.New(dispatch.Config{
		Backlogs: backlogs{h.broker}, Breaker: h.registry, Clock: h.clock, Facts: h.broker.Reader(), Gate: h.directory, Graveyard: h.broker.Dead(), Log: h.broker.Events(),
		Logger: h.log, Meter: h.meter, Policy: policy, HoldEvery: streams.HoldEvery,
		Provider: &dispatch.Providers{Inbox: h.inbox, Logger: h.log, Meta: meta},
		Rates:    h.directory, Schedule: schedule{h.broker}, Settings: h.directory, Tokens: h.registry, Work: work{h.broker},
	})
	h.services.start("dispatch", d.Run)
	h.services.start("prober", prober.Run)
	h.dispatchGauges(d)
	return nil
}
