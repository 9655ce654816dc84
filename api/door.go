package api

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
)

// Door is one listener of a [Server].
type Door struct {
	app *fiber.App

	mu     sync.Mutex
	closed bool
	ln     net.Listener
}

// Serve answers requests from ln, which it closes, until [Server.Shutdown];
// then it returns nil. It may be called once.
func (d *Door) Serve(ln net.Listener) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return ln.Close()
	}
	d.ln = ln
	d.mu.Unlock()
	return d.app.Listener(lingerListener{ln})
}

// shutdown drains the door. The listener is closed here and not only by
// fasthttp, which does not know it yet when Serve has just been called.
func (d *Door) shutdown(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	ln := d.ln
	d.mu.Unlock()
	if ln == nil {
		return nil
	}
	if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	if err := d.app.Server().ShutdownWithContext(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// lingerListener hands out connections that can close politely.
type lingerListener struct{ net.Listener }

func (l lingerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lingerConn{Conn: c}, nil
}

// lingerConn is a connection whose Close may wait for a sender who is still
// talking. A request is refused while its body is on the way; closing with
// unread bytes makes the kernel send a reset, and many clients then never see
// the answer that says why.
type lingerConn struct {
	net.Conn
	patient atomic.Bool
}

// linger makes Close patient, for at most lingerTimeout and maxLinger bytes.
func (c *lingerConn) linger() { c.patient.Store(true) }

func (c *lingerConn) Close() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !c.patient.Swap(false) || !ok {
		return c.Conn.Close()
	}
	// The deadline is for the kernel: it has to be the machine's time.
	if half.CloseWrite() == nil && c.Conn.SetReadDeadline(time.Now().Add(lingerTimeout)) == nil {
		_, _ = io.CopyN(io.Discard, c.Conn, maxLinger) // whatever it says, the answer is given
	}
	return c.Conn.Close()
}
