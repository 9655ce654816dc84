package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sendlog/sendlog/api"
	"github.com/sendlog/sendlog/dispatch"
	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/customer"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
	"github.com/sendlog/sendlog/projections"
	"github.com/sendlog/sendlog/streams"
)

// This file translates between the words of two rooms. No rule lives here.

// verifier checks webhooks against the app's secrets; without any, every
// webhook is believed (the configuration allows that on loopback only).
type verifier []string

// Verify implements api.Verifier.
func (v verifier) Verify(body []byte, signature string) bool {
	return len(v) == 0 || cloudapi.Verify(body, signature, v...)
}

// work hands the log's lanes to dispatch.
type work struct{ broker *streams.Broker }

// Work implements dispatch.Work.
func (w work) Work(ctx context.Context, begin func(context.Context, int) (func(dispatch.Delivery), func())) error {
	return w.broker.Work(ctx, func(tenure context.Context, lane int) (func(streams.Delivery), func()) {
		take, finish := begin(tenure, lane)
		return func(d streams.Delivery) { take(delivery(d)) }, finish
	})
}

func delivery(d streams.Delivery) dispatch.Delivery {
	return dispatch.Delivery{Event: d.Event, Err: d.Err, Raw: d.Raw, Deliveries: d.Deliveries, Due: d.Due, Order: d.Order, Place: d.Place,
		Done: d.Done, Hold: d.Hold, Reject: d.Reject}
}

// schedule lets dispatch hand on what is to be sent much later.
type schedule struct{ *streams.Broker }

// Schedule implements dispatch.Schedule.
func (s schedule) Schedule(ctx context.Context, d dispatch.Delivery, at time.Time) error {
	return s.Broker.Schedule(ctx, streams.Delivery{Event: d.Event, Raw: d.Raw}, at)
}

// Shelve implements dispatch.Schedule.
func (s schedule) Shelve(ctx context.Context, on dispatch.Shelf, due []dispatch.Delivery) ([]uint64, error) {
	copies := make([]streams.Delivery, len(due))
	for i, d := range due {
		copies[i] = streams.Delivery{Event: d.Event, Raw: d.Raw, Order: d.Order}
	}
	return s.Broker.Shelve(ctx, streams.Shelf(on), copies)
}

// Shelves implements dispatch.Schedule.
func (s schedule) Shelves(ctx context.Context, lane int) ([]dispatch.Shelf, error) {
	full, err := s.Broker.Shelves(ctx, lane)
	out := make([]dispatch.Shelf, len(full))
	for i, f := range full {
		out[i] = dispatch.Shelf(f)
	}
	return out, err
}

// ReadShelf implements dispatch.Schedule.
func (s schedule) ReadShelf(ctx context.Context, on dispatch.Shelf, after uint64, most int) ([]dispatch.Delivery, bool, error) {
	read, end, err := s.Broker.ReadShelf(ctx, streams.Shelf(on), after, most)
	return deliveries(read), end, err
}

// Park implements dispatch.Schedule.
func (s schedule) Park(ctx context.Context, d dispatch.Delivery) (uint64, error) {
	return s.Broker.Park(ctx, streams.Delivery{Event: d.Event, Raw: d.Raw})
}

// Parked implements dispatch.Schedule.
func (s schedule) Parked(ctx context.Context, lane int, after uint64, most int) ([]dispatch.Delivery, bool, error) {
	read, end, err := s.Broker.Parked(ctx, lane, after, most)
	return deliveries(read), end, err
}

// backlogs lets dispatch remember what waits in the log.
type backlogs struct{ broker *streams.Broker }

// Backlogs implements dispatch.Backlogs.
func (b backlogs) Backlogs(ctx context.Context, lane int) ([]dispatch.Backlog, error) {
	open, err := b.broker.Backlogs(ctx, lane)
	out := make([]dispatch.Backlog, len(open))
	for i, l := range open {
		out[i] = dispatch.Backlog(l)
	}
	return out, err
}

// OpenBacklog implements dispatch.Backlogs.
func (b backlogs) OpenBacklog(ctx context.Context, l dispatch.Backlog) (uint64, error) {
	return b.broker.OpenBacklog(ctx, streams.Backlog(l))
}

// AdvanceBacklog implements dispatch.Backlogs.
func (b backlogs) AdvanceBacklog(ctx context.Context, l dispatch.Backlog) (uint64, error) {
	return b.broker.AdvanceBacklog(ctx, streams.Backlog(l))
}

// CloseBacklog implements dispatch.Backlogs.
func (b backlogs) CloseBacklog(ctx context.Context, l dispatch.Backlog) error {
	return b.broker.CloseBacklog(ctx, streams.Backlog(l))
}

// ReadBacklog implements dispatch.Backlogs.
func (b backlogs) ReadBacklog(ctx context.Context, l dispatch.Backlog, most int) ([]dispatch.Delivery, domain.Position, bool, error) {
	read, next, end, err := b.broker.ReadBacklog(ctx, streams.Backlog(l), most)
	return deliveries(read), next, end, err
}

func deliveries(read []streams.Delivery) []dispatch.Delivery {
	page := make([]dispatch.Delivery, len(read))
	for i, d := range read {
		page[i] = delivery(d)
	}
	return page
}

// source lets the read models read the log.
type source struct{ *streams.Reader }

// Open implements projections.Source.
func (s source) Open(ctx context.Context, after domain.Position) (projections.Cursor, error) {
	return s.Reader.Open(ctx, after)
}

// publicEvent is a CloudEvent (CloudEvents 1.0, JSON format).
type publicEvent struct {
	SpecVersion string           `json:"specversion"`
	ID          domain.EventID   `json:"id"`
	Source      string           `json:"source"`
	Type        string           `json:"type"`
	Subject     domain.MessageID `json:"subject,omitempty"`
	Time        time.Time        `json:"time"`
	Position    domain.Position  `json:"position"`
	Data        any              `json:"data"`
}

// announcer tells the world what the read models noticed.
type announcer struct{ live *streams.Live }

// Announce implements projections.Announcer.
func (a announcer) Announce(ctx context.Context, notices []projections.Notice) error {
	out := make([]streams.Announcement, 0, len(notices))
	for _, n := range notices {
		data, err := json.Marshal(publicEvent{SpecVersion: "1.0", ID: n.ID, Source: "/tenants/" + string(n.Tenant),
			Type: n.Kind, Subject: n.Subject, Time: n.At.UTC(), Position: n.Position, Data: n.Data})
		if err != nil {
			return fmt.Errorf("encode announcement: %w", err)
		}
		about := string(n.Subject)
		if about == "" {
			about = string(n.ID)
		}
		out = append(out, streams.Announcement{Tenant: n.Tenant, Type: n.Kind, Subject: about, ID: n.ID, Data: data})
	}
	return a.live.Announce(ctx, out)
}

// feed gives the API what is announced.
type feed struct {
	live  *streams.Live
	hurry func() (done func()) // says that somebody waits for it
}

// Subscribe implements api.Feed.
func (f feed) Subscribe(ctx context.Context, t domain.TenantID) (<-chan api.Live, error) {
	in, err := f.live.Subscribe(ctx, t)
	if err != nil {
		return nil, err
	}
	return passed(ctx, in), nil
}

// About implements api.Feed.
func (f feed) About(ctx context.Context, t domain.TenantID, id domain.MessageID) (<-chan api.Live, error) {
	in, err := f.live.About(ctx, t, id)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, f.hurry())
	return passed(ctx, in), nil
}

func passed(ctx context.Context, in <-chan streams.Announcement) <-chan api.Live {
	out := make(chan api.Live)
	go func() {
		defer close(out)
		for a := range in {
			select {
			case out <- api.Live{ID: string(a.ID), Type: a.Type, Data: a.Data}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// reading gives the API the read models.
type reading struct{ *projections.Library }

// Await implements api.Freshness.
func (r reading) Await(ctx context.Context, p domain.Position) error { return r.WaitFor(ctx, p) }

// Messages implements api.Messages.
func (r reading) Messages(ctx context.Context, t domain.TenantID, f api.MessageFilter, p api.Page) (api.Part[message.View], error) {
	return part(p, func(page projections.Page) ([]message.View, *projections.Mark, error) {
		return r.Library.Messages(ctx, t, projections.MessageFilter{Status: f.Status, Direction: f.Direction, Customer: f.Customer}, page)
	})
}

// Customers implements api.Customers.
func (r reading) Customers(ctx context.Context, t domain.TenantID, p api.Page) (api.Part[customer.View], error) {
	return part(p, func(page projections.Page) ([]customer.View, *projections.Mark, error) {
		return r.Library.Customers(ctx, t, page)
	})
}

// Notices implements api.Notices.
func (r reading) Notices(ctx context.Context, t domain.TenantID, p api.Page) (api.Part[message.NoticeView], error) {
	return part(p, func(page projections.Page) ([]message.NoticeView, *projections.Mark, error) {
		return r.Library.Notices(ctx, t, page)
	})
}

// part asks for a page and turns its mark into words and back.
func part[T any](p api.Page, ask func(projections.Page) ([]T, *projections.Mark, error)) (api.Part[T], error) {
	page := projections.Page{Limit: p.Limit}
	if p.After != "" {
		value, id, _ := strings.Cut(p.After, " ")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return api.Part[T]{}, domain.Errorf(domain.Bug, err, "a cursor of ours cannot be read")
		}
		page.After = &projections.Mark{Value: n, ID: id}
	}
	items, next, err := ask(page)
	if err != nil {
		return api.Part[T]{}, err
	}
	out := api.Part[T]{Items: items}
	if next != nil {
		out.Next = fmt.Sprintf("%d %s", next.Value, next.ID)
	}
	return out, nil
}

// listeners lets keys with the scope for it listen over NATS.
type listeners struct {
	directory *tenant.Directory
	clock     domain.Clock
}

// Authenticate implements streams.Authenticator.
func (l listeners) Authenticate(key string) (domain.TenantID, bool) {
	return l.directory.Listener(key, l.clock.Now())
}

// audit gives the API what was done to a tenant.
type audit struct{ *streams.Journal }

// Audit implements api.Audit.
func (a audit) Audit(ctx context.Context, t domain.TenantID, p api.Page) (api.Part[tenant.Entry], error) {
	after := uint64(0)
	if p.After != "" {
		var err error
		if after, err = strconv.ParseUint(p.After, 10, 64); err != nil {
			return api.Part[tenant.Entry]{}, domain.Errorf(domain.Bug, err, "a cursor of ours cannot be read")
		}
	}
	events, err := a.Of(ctx, t, domain.Position(after), p.Limit+1) // one more tells whether there are more
	if err != nil {
		return api.Part[tenant.Entry]{}, err
	}
	var out api.Part[tenant.Entry]
	for i, e := range events {
		if i == p.Limit {
			out.Next = strconv.FormatUint(uint64(events[i-1].Position), 10)
			break
		}
		entry, err := tenant.Audit(e)
		if err != nil {
			return api.Part[tenant.Entry]{}, err
		}
		out.Items = append(out.Items, entry)
	}
	return out, nil
}

// quarantine gives the API what is kept.
type quarantine struct{ *streams.Quarantine }

// Quarantined implements api.Quarantine.
func (q quarantine) Quarantined(ctx context.Context, p api.Page) (api.Part[api.Kept], error) {
	before := uint64(0)
	if p.After != "" {
		var err error
		if before, err = strconv.ParseUint(p.After, 10, 64); err != nil {
			return api.Part[api.Kept]{}, domain.Errorf(domain.Bug, err, "a cursor of ours cannot be read")
		}
	}
	kept, err := q.List(ctx, domain.Position(before), p.Limit)
	if err != nil {
		return api.Part[api.Kept]{}, err
	}
	out := api.Part[api.Kept]{Items: make([]api.Kept, len(kept))}
	for i, k := range kept {
		out.Items[i] = api.Kept{ID: strconv.FormatUint(uint64(k.Position), 10), Reason: k.Reason, At: k.At, Size: k.Size}
	}
	if len(kept) == p.Limit {
		out.Next = out.Items[len(kept)-1].ID
	}
	return out, nil
}

// Payload implements api.Quarantine.
func (q quarantine) Payload(ctx context.Context, id string) ([]byte, error) {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return nil, domain.Errorf(domain.Unknown, nil, "nothing is kept under this id")
	}
	k, err := q.Get(ctx, domain.Position(n))
	return k.Payload, err
}

// DeadLetters implements api.DeadLetters.
func (r reading) DeadLetters(ctx context.Context, f message.LetterFilter, p api.Page) (api.Part[message.DeadLetter], error) {
	return part(p, func(page projections.Page) ([]message.DeadLetter, *projections.Mark, error) {
		return r.Library.DeadLetters(ctx, f, page)
	})
}

// DeadLetter implements api.DeadLetters.
func (r reading) DeadLetter(ctx context.Context, t domain.TenantID, id domain.MessageID) (message.DeadLetter, []message.Entry, error) {
	found, err := r.Library.DeadLettersByID(ctx, t, []string{string(id)})
	if err != nil {
		return message.DeadLetter{}, nil, err
	}
	letter, ok := found[string(id)]
	if !ok {
		known, err := r.Corpses(ctx, []string{string(id)}, 0)
		return message.DeadLetter{}, nil, cmp.Or(err, noLetter(t, known, id))
	}
	timeline, err := r.Timeline(ctx, letter.Tenant, id)
	return letter, timeline, err
}
