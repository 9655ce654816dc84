package main

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/sendlog/sendlog/api"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/projections"
)

// States of a redrive.
const (
	redriveRunning   = "running"
	redriveDone      = "done"
	redriveCancelled = "cancelled"
	redriveFailed    = "failed"
)

// redriveRecord is all there is of a redrive, as it is kept in the log: what
// was asked for, who works it, and how far it is. What it did is in the log as
// well, one event a message.
type redriveRecord struct {
	ID        string       `json:"id"`
	By        string       `json:"by"`
	IDs       []string     `json:"ids,omitempty"` // those named, or else all that the filter selects
	Filter    filterRecord `json:"filter"`
	Rate      int          `json:"rate"`
	DryRun    bool         `json:"dry_run,omitempty"`
	StartedAt time.Time    `json:"started_at"`

	Owner   string    `json:"owner,omitempty"`  // the process that works it; empty: nobody does
	Cancel  bool      `json:"cancel,omitempty"` // somebody wants it to end
	State   string    `json:"state"`
	Error   string    `json:"error,omitempty"`
	EndedAt time.Time `json:"ended_at,omitzero"`

	// Letters are gone through newest death first. After is the newest that is
	// done; Until ends the portion that was begun: letters up to there may have
	// been redriven without being counted.
	Counted bool        `json:"counted,omitempty"` // the counts are whole
	After   *markRecord `json:"after,omitempty"`
	Until   *markRecord `json:"until,omitempty"`
	Named   int         `json:"named,omitempty"` // how many of IDs are done

	PerSecond float64 `json:"per_second,omitempty"` // messages, since its owner began; the log may be slower than the rate allows

	Matched  int             `json:"matched,omitempty"`
	Redriven int             `json:"redriven,omitempty"`
	InDoubt  int             `json:"in_doubt,omitempty"` // of those
	Skipped  []skippedRecord `json:"skipped,omitempty"`
	Counts   []countRecord   `json:"counts,omitempty"`
	counts   map[letterKind]int
}

// filterRecord is message.LetterFilter in a record.
type filterRecord struct {
	Tenant domain.TenantID `json:"tenant,omitempty"`
	Number domain.NumberID `json:"number,omitempty"`
	Code   *int            `json:"code,omitempty"`
	Reason string          `json:"reason,omitempty"`
	Since  time.Time       `json:"since,omitzero"`
	Until  time.Time       `json:"until,omitzero"`
	State  string          `json:"state,omitempty"`
}

// markRecord is projections.Mark in a record.
type markRecord struct {
	Value int64  `json:"value"`
	ID    string `json:"id"`
}

func markOf(l message.DeadLetter) *markRecord {
	return &markRecord{Value: int64(l.Position), ID: string(l.Message)}
}

func (m *markRecord) mark() *projections.Mark {
	if m == nil {
		return nil
	}
	out := projections.Mark(*m)
	return &out
}

type skippedRecord struct {
	Reason  string           `json:"reason"`
	Count   int              `json:"count"`
	Example domain.MessageID `json:"example"`
}

type countRecord struct {
	Tenant domain.TenantID `json:"tenant,omitempty"`
	Code   int             `json:"code"`
	Count  int             `json:"count"`
}

type letterKind struct {
	tenant domain.TenantID
	code   int
}

func (r *redriveRecord) encode() ([]byte, error) {
	r.Counts = r.sorted()
	return json.Marshal(r)
}

// sorted returns the counts, the largest first.
func (r *redriveRecord) sorted() []countRecord {
	all := make([]countRecord, 0, len(r.counts))
	for kind, n := range r.counts {
		all = append(all, countRecord{kind.tenant, kind.code, n})
	}
	slices.SortFunc(all, func(a, b countRecord) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Code, b.Code))
	})
	return all
}

func decodeRedrive(data []byte) (redriveRecord, error) {
	var r redriveRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return r, err
	}
	r.counts = map[letterKind]int{}
	for _, c := range r.Counts {
		r.counts[letterKind{c.Tenant, c.Code}] = c.Count
	}
	return r, nil
}

// clone copies a record, so that the copy may be read while the original is
// worked on.
func (r *redriveRecord) clone() redriveRecord {
	c := *r
	c.Skipped, c.counts = slices.Clone(r.Skipped), maps.Clone(r.counts)
	return c
}

func (r *redriveRecord) filter() message.LetterFilter { return message.LetterFilter(r.Filter) }

// same reports whether a redrive is for the very same letters.
func (r *redriveRecord) same(o *redriveRecord) bool {
	a, b := r.Filter, o.Filter
	code := (a.Code == nil) == (b.Code == nil) && (a.Code == nil || *a.Code == *b.Code)
	a.Code, b.Code = nil, nil
	since, until := a.Since.Equal(b.Since), a.Until.Equal(b.Until)
	a.Since, b.Since, a.Until, b.Until = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return code && since && until && a == b && slices.Equal(r.IDs, o.IDs) && r.DryRun == o.DryRun
}

// count notes a letter that matches.
func (r *redriveRecord) count(l message.DeadLetter) {
	if l.Position == 0 {
		return
	}
	r.Matched++
	kind := letterKind{l.Tenant, l.Code}
	if _, known := r.counts[kind]; !known && len(r.counts) >= maxLetterCounts {
		kind = letterKind{}
	}
	r.counts[kind]++
}

// note notes what became of one message.
func (r *redriveRecord) note(l message.DeadLetter, err error) {
	if err == nil {
		r.Redriven++
		if l.InDoubt {
			r.InDoubt++
		}
		return
	}
	why := reason(err)
	i := slices.IndexFunc(r.Skipped, func(s skippedRecord) bool { return s.Reason == why })
	if i < 0 {
		i = len(r.Skipped)
		r.Skipped = append(r.Skipped, skippedRecord{Reason: why, Example: l.Message})
	}
	r.Skipped[i].Count++
}

// done is how many messages it has come to an end with.
func (r *redriveRecord) done() int {
	n := r.Redriven
	for _, s := range r.Skipped {
		n += s.Count
	}
	return n
}

// view is the redrive as the API tells it, while it may ask for so many messages
// a second.
func (r *redriveRecord) view(allowed float64) api.Redriving {
	v := api.Redriving{ID: r.ID, Tenant: r.Filter.Tenant, State: r.State, DryRun: r.DryRun, By: r.By, Rate: r.Rate,
		Matched: r.Matched, Redriven: r.Redriven, InDoubt: r.InDoubt, StartedAt: r.StartedAt, EndedAt: r.EndedAt, Error: r.Error}
	for _, s := range r.Skipped {
		v.Skipped = append(v.Skipped, api.Skipped(s))
	}
	for _, c := range r.sorted() {
		v.Counts = append(v.Counts, api.LetterCount(c))
	}
	if left := r.Matched - r.done(); r.State == redriveRunning && r.Counted && left > 0 {
		// What was measured of a beginning is too much: the first ones go at once.
		v.ETA = time.Duration(float64(left) / min(allowed, cmp.Or(r.PerSecond, allowed)) * float64(time.Second))
	}
	return v
}
