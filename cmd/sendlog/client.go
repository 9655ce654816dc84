package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// client talks to a running server's second listener. The embedded stores
// belong to the server's process, so subcommands never open them.
type client struct{ env func(string) string }

// requestTimeout bounds one request of a subcommand. Streams have none.
const requestTimeout = 30 * time.Second

// server returns where the server is, and the credential to show there. What
// SENDLOG_URL and SENDLOG_KEY do not say is what a server with these settings
// has; its key is shown to no other one.
func (c *client) server() (base, key string, err error) {
	key = strings.TrimSpace(c.env("SENDLOG_KEY"))
	if u := strings.TrimSpace(c.env("SENDLOG_URL")); u != "" {
		return strings.TrimRight(u, "/"), key, nil
	}
	if key == "" {
		key = strings.TrimSpace(c.env("ADMIN_KEY"))
	}
	addr := adminAddr(c.env)
	host, name, err := net.SplitHostPort(addr)
	if err != nil || !validPort(name) {
		return "", "", wrongAdminAddr(addr)
	}
	if ip := net.ParseIP(host); host == "" || ip.Equal(net.IPv4zero) {
		host = "127.0.0.1"
	} else if ip.Equal(net.IPv6unspecified) {
		host = "::1"
	}
	port, err := net.LookupPort("tcp", name)
	return "http://" + net.JoinHostPort(host, strconv.Itoa(port)), key, err
}

// unreachable says that no server answers.
type unreachable struct {
	base  string
	cause error
}

func (e unreachable) Error() string {
	return fmt.Sprintf("no sendlog answers at %s (%v); start one with `sendlog serve`, or say where it is: ADMIN_ADDR, or SENDLOG_URL", e.base, e.cause)
}

func (e unreachable) Unwrap() error { return e.cause }

// open sends a request and returns its answer, or the words of the problem.
func (c *client) open(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		payload = bytes.NewReader(b)
	}
	base, key, err := c.server()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, payload)
	if err != nil {
		return nil, fmt.Errorf("SENDLOG_URL is not an address: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(req)
	if ue, ok := errors.AsType[*url.Error](err); ok && !errors.Is(err, context.Canceled) {
		return nil, unreachable{base, ue.Err}
	}
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 400 {
		defer res.Body.Close()
		return nil, problem(res)
	}
	return res, nil
}

// problem reads the words of a problem answer.
func problem(res *http.Response) error {
	var p struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
		Errors []struct{ Pointer, Detail string }
	}
	b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if json.Unmarshal(b, &p) != nil || p.Title == "" {
		return fmt.Errorf("the server answered %s", res.Status)
	}
	words := p.Detail
	if words == "" {
		words = p.Title
	}
	for _, e := range p.Errors {
		words += "\n  " + e.Pointer + " " + e.Detail
	}
	if res.StatusCode == http.StatusUnauthorized {
		words += " (set SENDLOG_KEY to the server's ADMIN_KEY)"
	}
	return errors.New(words)
}

// call sends a request and decodes the answer into out, if there is one.
func (c *client) call(ctx context.Context, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := c.open(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// each walks all pages of a list.
func each[T any](ctx context.Context, c *client, path string, fn func(T) error) error {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	for cursor := ""; ; {
		page := path
		if cursor != "" {
			page += sep + "cursor=" + url.QueryEscape(cursor)
		}
		var answer struct {
			Data []T     `json:"data"`
			Next *string `json:"next_cursor"`
		}
		if err := c.call(ctx, http.MethodGet, page, nil, &answer); err != nil {
			return err
		}
		for _, v := range answer.Data {
			if err := fn(v); err != nil {
				return err
			}
		}
		if answer.Next == nil || *answer.Next == "" {
			return nil
		}
		cursor = *answer.Next
	}
}
