package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sendlog/sendlog/api"
	"github.com/sendlog/sendlog/dispatch"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

// bind takes the addresses of the listeners. Whoever connects before
// openDoors is answered from then on.
func (h *house) bind() (err error) {
	if h.admin, err = listen("ADMIN_ADDR", h.config.AdminAddr); err != nil {
		return err
	}
	h.adminAddr = h.admin.Addr().String()
	if h.config.has(roleAPI) {
		if h.public, err = listen("PORT", h.config.Listen); err != nil {
			return errors.Join(err, h.admin.Close())
		}
		h.publicAddr = h.public.Addr().String()
	}
	h.closers = append(h.closers, func() { // they are closed already if they were served
		_ = h.admin.Close()
		if h.public != nil {
			_ = h.public.Close()
		}
	})
	return nil
}

func (h *house) openDoors(ctx context.Context) error {
	cursorKey, err := h.config.KEK.Derive("sendlog cursors", api.CursorKeySize)
	if err != nil {
		return err
	}
	ledger, err := h.broker.Ledger(ctx)
	if err != nil {
		return err
	}
	others := h.broker.Presence(roleAPI)
	if h.config.has(roleAPI) {
		h.services.start("presence of doors", others.Run)
	}
	rotation := newRotation(h.registry, h.broker.Quarantine(h.vault), h.clock, h.log)
	h.services.start("rotation", rotation.run)
	past, err := h.past(ctx)
	if err != nil {
		return err
	}
	lib := reading{h.library}
	proofs := dispatch.Proofs{Facts: h.broker.Reader()}
	redriving, err := h.openRedrives(ctx, proofs)
	if err != nil {
		return err
	}
	h.server = api.New(api.Config{
		AdminKey: h.config.AdminKey, Clock: h.clock, CursorKey: cursorKey, Log: h.log, Meter: h.meter,
		RequireKey: h.config.RequireKey, VerifyToken: h.config.VerifyToken,
		Ports: api.Ports{
			Audit: audit{h.broker.Tenants()}, Canceller: &message.Canceller{Clock: h.clock, Log: h.broker.Events(), Past: past, Proofs: proofs},
			Checks: h.checks(), Customers: lib, Doctor: h, DeadLetters: lib,
			Directory: h.directory, Feed: feed{h.broker.Live(), h.library.Hurry}, Freshness: lib,
			Governor: h.registry, Inbox: h.inbox, Issuer: h.registry, Messages: lib,
			Metrics: h.meter.handler(), Notices: lib, Quarantine: quarantine{h.broker.Quarantine(h.vault)},
			Rebuilds: newRebuilds(h.library), Redrives: redriving, Registrar: h.registry, Rotation: rotation,
			Sender: &message.Accepter{Log: h.broker.Events(), Clock: h.clock, Meter: h.meter, Past: past,
				Contacts: contacts{h.library}},
			Throttle: &tenant.Throttle{Clock: h.clock, Ledger: ledger, Shares: others.Count},
			Verifier: verifier(h.config.AppSecrets),
		},
	})
	h.gauges()
	doors := []func() error{func() error { return h.server.Admin().Serve(h.admin) }}
	if h.public != nil {
		doors = append(doors, func() error { return h.server.Public().Serve(h.public) })
	}
	h.services.start("listeners", func(ctx context.Context) error { return h.serve(ctx, doors) })
	return nil
}

// openRedrives begins to work redrives, once all there are are known.
func (h *house) openRedrives(ctx context.Context, proofs message.Proofs) (*redrives, error) {
	all := lives{h.library, h.broker.Reader()}
	c := redriveConfig{letters: letterBox{all}, jobs: h.broker.Jobs("redrive"), clock: h.clock, log: h.log, patience: redrivePatience,
		redriver: &message.Redriver{Clock: h.clock, Log: h.broker.Events(), Proofs: proofs, Archive: all}}
	if h.config.NATSURL != "" { // there may be other processes
		c.lease = redriveLease
	}
	r := newRedrives(c)
	h.services.start("redrives", r.run)
	select {
	case <-r.ready:
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case s := <-h.services.failed:
		return nil, fmt.Errorf("%s: %w", s.name, s.err)
	}
}

func listen(variable, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, configError{variable, "cannot be listened on: " + err.Error(), "stop what is using it, or choose another port"}
	}
	return ln, nil
}

// serve answers requests until ctx ends, then until the running ones are
// answered.
func (h *house) serve(ctx context.Context, doors []func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	for _, door := range doors {
		g.Go(func() error {
			defer cancel() // one that fails takes the other with it
			return door()
		})
	}
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), drainRequests) // outlives the service's own context on purpose
		defer cancel()
		_ = h.server.Shutdown(grace) // the doors return either way
	})
	defer stop()
	return g.Wait()
}

// drainRequests bounds how long running requests may take when stopping.
const drainRequests = 10 * time.Second

// checks is what readiness asks.
func (h *house) checks() []api.Check {
	return []api.Check{
		{Name: "log", Ready: func(ctx context.Context) error {
			if err := h.broker.Ready(ctx); err != nil {
				return domain.Errorf(domain.Unavailable, err, "%s", err.Error())
			}
			return nil
		}},
		{Name: "read_models", Ready: func(context.Context) error { return h.readModels() }},
	}
}
