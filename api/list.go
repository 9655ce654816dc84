package api

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
)

// listJSON is what every list answers.
type listJSON[J any] struct {
	Data       []J     `json:"data"`
	NextCursor *string `json:"next_cursor"` // null at the end
}

// query is the parameters of a request's URL.
type query map[string]string

// parseQuery reads the URL's parameters and refuses those that are not
// allowed: a filter with a spelling mistake must not answer everything.
func parseQuery(c *fiber.Ctx, allowed ...string) (query, error) {
	values, err := url.ParseQuery(string(c.Request().URI().QueryString()))
	if err != nil {
		return nil, invalid("the query of the URL is not well formed")
	}
	q := query{}
	for name, v := range values {
		switch {
		case !slices.Contains(allowed, name) && len(allowed) == 0:
			return nil, invalid("this path takes no query parameters")
		case !slices.Contains(allowed, name):
			return nil, invalid("a query parameter is not known here; this list takes %s", strings.Join(allowed, ", "))
		case len(v) > 1:
			return nil, invalid("the query parameter %s is given twice", name)
		case !utf8.ValidString(v[0]):
			return nil, invalid("the query parameter %s is not valid UTF-8", name)
		}
		q[name] = v[0]
	}
	return q, nil
}

// fetch reads one part of a list.
type fetch[T any] func(context.Context, Page) (Part[T], error)

// list answers one part of a list. filters are the query parameters it takes
// besides limit and cursor; choose checks their values.
func list[T, J any](ctx context.Context, s *Server, r request, filters []string,
	choose func(query) (fetch[T], error), view func(T) J,
) error {
	q, err := parseQuery(r.c, append([]string{"limit", "cursor"}, filters...)...)
	if err != nil {
		return err
	}
	bound := []string{r.route, string(r.tenant.ID)}
	for _, f := range filters {
		bound = append(bound, f, q[f])
	}
	page, err := s.page(q, bound)
	if err != nil {
		return err
	}
	load, err := choose(q)
	if err != nil {
		return err
	}
	if err := s.await(ctx, r.c); err != nil {
		return err
	}
	part, err := load(ctx, page)
	if err != nil {
		return err
	}
	out := listJSON[J]{Data: make([]J, len(part.Items))}
	for i, item := range part.Items {
		out.Data[i] = view(item)
	}
	if len(part.Next) > maxNext {
		return domain.Errorf(domain.Bug, fmt.Errorf("a cursor of %d bytes", len(part.Next)), "something broke on our side")
	}
	if part.Next != "" {
		sealed := s.cursors.seal(part.Next, bound...)
		out.NextCursor = &sealed
	}
	return answer(r.c, fiber.StatusOK, out)
}

// always is the choice of a list without filters.
func always[T any](load fetch[T]) func(query) (fetch[T], error) {
	return func(query) (fetch[T], error) { return load, nil }
}

func (s *Server) page(q query, bound []string) (Page, error) {
	p := Page{Limit: domain.DefaultPage}
	if v, given := q["limit"]; given {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > domain.MaxPage {
			return Page{}, invalid("limit must be a number from 1 to %d", domain.MaxPage)
		}
		p.Limit = n
	}
	if v, given := q["cursor"]; given {
		next, ok := s.cursors.open(v, bound...)
		if !ok {
			return Page{}, invalid("this cursor does not belong to this list; " +
				"send next_cursor unchanged, with the same filters, or begin again without cursor")
		}
		p.After = next
	}
	return p, nil
}

// await holds a read until the read models have what the caller has seen: the
// position of a send, in the header Sendlog-Min-Position.
func (s *Server) await(ctx context.Context, c *fiber.Ctx) error {
	shown := c.Get(headerMinPosition)
	if shown == "" {
		return nil
	}
	n, err := strconv.ParseUint(shown, 10, 63)
	if err != nil {
		return invalid("%s must be a position: the number a send answered", headerMinPosition)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ReadWait)
	defer cancel()
	if err := s.ports.Freshness.Await(ctx, domain.Position(n)); err != nil {
		return &domain.Error{Kind: domain.Unavailable, Cause: err, RetryAfter: time.Second,
			Message: fmt.Sprintf("what is read has not reached position %d yet; ask again, or read without %s", n, headerMinPosition)}
	}
	return nil
}
