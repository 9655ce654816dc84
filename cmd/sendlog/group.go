package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// service is one running part of the process.
type service struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid once done is closed
}

// group runs services: started in order, stopped in reverse, so that whoever
// is used stops after its users. One that fails stops them all.
type group struct {
	log      *slog.Logger
	services []*service
	failed   chan *service
}

// stopTimeout bounds how long one service may take to stop.
const stopTimeout = 45 * time.Second

func newGroup(log *slog.Logger) *group { return &group{log: log, failed: make(chan *service, 64)} }

// start runs fn until its context ends. The context is not derived from a
// parent: the group alone decides when each service stops.
func (g *group) start(name string, fn func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &service{name: name, cancel: cancel, done: make(chan struct{})}
	g.services = append(g.services, s)
	go func() {
		defer close(s.done)
		s.err = fn(ctx)
		if ctx.Err() == nil {
			if s.err == nil {
				s.err = errors.New("ended by itself")
			}
			g.failed <- s
		}
	}()
}

// wait returns when ctx ends (nil) or a service fails (its error).
func (g *group) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case s := <-g.failed:
		return fmt.Errorf("%s: %w", s.name, s.err)
	}
}

// stop stops all services in reverse order and returns the first error that is
// not a cancellation.
func (g *group) stop() error {
	var first error
	for i := len(g.services) - 1; i >= 0; i-- {
		s := g.services[i]
		s.cancel()
		select {
		case <-s.done:
			if s.err != nil && !errors.Is(s.err, context.Canceled) && first == nil {
				first = fmt.Errorf("%s: %w", s.name, s.err)
			}
		case <-time.After(stopTimeout):
			g.log.Error("sendlog: a service did not stop", "service", s.name)
			if first == nil {
				first = fmt.Errorf("%s did not stop within %s", s.name, stopTimeout)
			}
		}
	}
	g.services = nil
	return first
}
