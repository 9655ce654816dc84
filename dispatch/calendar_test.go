package dispatch

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// calendar keeps schedules and shelves in memory, and hands out what is due
// while it is on. Like the log's it hands out to each owner whatever is not
// done, oldest first.
type calendar struct {
	on      bool
	pending int // how many copies of a lane are handed out and not done; 0: any number
	// loses says of some acknowledgements that they are lost, so that the copy is
	// handed out again; nil: of none.
	loses func() bool
	// parks is called with what is parked after its copy was made; nil: nobody is.
	parks func(domain.Key)

	mu    sync.Mutex
	due   map[domain.Position]entry // by message; to be due
	order uint64
	out   map[int][]Delivery // due and not done, by lane
	shelf []Delivery
	wait  []Delivery
}

type entry struct {
	key  domain.Key
	at   time.Time
	copy Delivery
}

func newCalendar() *calendar {
	return &calendar{due: map[domain.Position]entry{}, out: map[int][]Delivery{}}
}

func (c *calendar) Schedule(ctx context.Context, v Delivery, at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() == nil {
		c.due[v.Event.Position] = entry{v.Event.Key, at, v}
	}
	return ctx.Err()
}

func (c *calendar) Unschedule(_ context.Context, k domain.Key) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, e := range c.due {
		if e.key == k {
			delete(c.due, p)
		}
	}
	return nil
}

// fire makes due whose time has come. The caller holds the lock.
func (c *calendar) fire() {
	var now []entry
	for p, e := range c.due {
		if !e.at.After(time.Now()) {
			now = append(now, e)
			delete(c.due, p)
		}
	}
	slices.SortFunc(now, func(a, b entry) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.copy.Event.Position, b.copy.Event.Position))
	})
	for _, e := range now {
		c.order++
		v := Delivery{Event: e.copy.Event, Raw: e.copy.Raw, Due: true, Order: c.order, Deliveries: 1}
		lane := domain.Lane(v.Event.Key.Number)
		v.Done = func() error { c.finish(lane, v.Order); return nil }
		v.Hold = func() error { return nil }
		v.Reject = func(string) error { c.finish(lane, v.Order); return nil }
		c.out[lane] = append(c.out[lane], v)
	}
}

func (c *calendar) finish(lane int, order uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.out[lane]
	i := slices.IndexFunc(out, func(v Delivery) bool { return v.Order == order })
	switch {
	case i < 0:
	case c.loses != nil && c.loses():
		out[i].Deliveries++
	default:
		c.out[lane] = slices.Delete(out, i, i+1)
	}
}

// lane hands out what is due of a lane to one owner.
func (c *calendar) lane(ctx context.Context, lane int, take func(Delivery)) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	handed := map[uint64]int{}
	for {
		c.mu.Lock()
		c.fire()
		var next []Delivery
		working := 0
		for _, v := range c.out[lane] {
			if c.pending > 0 && working+len(next) == c.pending {
				break
			}
			switch {
			case handed[v.Order] == v.Deliveries:
				working++
			default:
				next = append(next, v)
			}
		}
		c.mu.Unlock()
		for _, v := range next {
			handed[v.Order] = v.Deliveries
			if ctx.Err() == nil {
				take(v)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *calendar) Shelve(ctx context.Context, _ Shelf, due []Delivery) (places []uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range due {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		c.shelf = append(c.shelf, c.placed(v))
		places = append(places, c.order)
	}
	return places, nil
}

// placed is a copy at the next place. The caller holds the lock.
func (c *calendar) placed(v Delivery) Delivery {
	c.order++
	return Delivery{Event: v.Event, Raw: v.Raw, Due: true, Order: v.Order, Place: c.order, Deliveries: 1,
		Done: func() error { return nil }, Hold: func() error { return nil }, Reject: func(string) error { return nil }}
}

func (c *calendar) Park(ctx context.Context, v Delivery) (uint64, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	c.mu.Lock()
	copied := c.placed(v)
	c.wait = append(c.wait, copied)
	c.mu.Unlock()
	if c.parks != nil {
		c.parks(v.Event.Key)
	}
	return copied.Place, nil
}

func (c *calendar) Parked(_ context.Context, lane int, after uint64, most int) (page []Delivery, end bool, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.wait {
		if domain.Lane(v.Event.Key.Number) != lane || v.Place <= after {
			continue
		}
		if len(page) == most {
			return page, false, nil
		}
		page = append(page, v)
	}
	return page, true, nil
}

// parked counts what is parked.
func (c *calendar) parked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.wait)
}

func (c *calendar) Unshelve(ctx context.Context, place uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() == nil {
		c.shelf = slices.DeleteFunc(c.shelf, func(v Delivery) bool { return v.Place == place })
		c.wait = slices.DeleteFunc(c.wait, func(v Delivery) bool { return v.Place == place })
	}
	return ctx.Err()
}

func shelfFor(v Delivery) Shelf {
	k := lineOf(v.Event)
	return Shelf{Tenant: v.Event.Key.Tenant, Number: k.number, Bulk: k.bulk}
}

func (c *calendar) Shelves(_ context.Context, lane int) (out []Shelf, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.shelf {
		s := shelfFor(v)
		if domain.Lane(s.Number) != lane || slices.ContainsFunc(out, func(o Shelf) bool { return o.Number == s.Number && o.Bulk == s.Bulk }) {
			continue
		}
		s.First = v.Order
		for _, d := range c.out[lane] {
			if shelfFor(d) == shelfFor(v) && d.Order < s.First {
				s.Older = max(s.Older, d.Order)
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func (c *calendar) ReadShelf(_ context.Context, s Shelf, after uint64, most int) (page []Delivery, end bool, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.shelf {
		if f := shelfFor(v); f.Number != s.Number || f.Bulk != s.Bulk || v.Place <= after {
			continue
		}
		if len(page) == most {
			return page, false, nil
		}
		page = append(page, v)
	}
	return page, true, nil
}

// left counts what is scheduled, due and on shelves.
func (c *calendar) left() (scheduled, due, shelved int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, out := range c.out {
		due += len(out)
	}
	return len(c.due), due, len(c.shelf)
}
