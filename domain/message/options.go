package message

import (
	"encoding/json"
	"fmt"
	"time"
)

// Wanted is what a request asks beyond what the message says, as it was
// written; nothing of it is required.
type Wanted struct {
	Priority    string `json:"priority,omitempty"`     // "interactive", or [Bulk]
	SendAt      string `json:"send_at,omitempty"`      // RFC 3339 with an offset, up to ten years ahead; the past is now
	ExpiresAt   string `json:"expires_at,omitempty"`   // RFC 3339, after SendAt
	TTL         *int   `json:"ttl,omitempty"`          // seconds from SendAt, or from now; instead of ExpiresAt
	OnUnknown   string `json:"on_unknown,omitempty"`   // [Resend] or [Park]
	UnknownWait *int   `json:"unknown_wait,omitempty"` // seconds, 1 to a day
	Reference   string `json:"reference,omitempty"`    // up to 128 UTF-16 units

	EnforceWindow bool `json:"enforce_window,omitempty"` // refuse instead of warning
}

const interactive = "interactive"

// options returns what was wanted, and whether its time is over before it
// began.
func (w Wanted) options(c *check, now time.Time) (o Options, over bool) {
	if n := units(w.Reference); n > maxReference {
		c.faultAt("reference", "has %d characters; at most %d are kept with a message", n, maxReference)
	} else if n > 0 {
		c.in("reference", text(1, maxReference), w.Reference)
	}
	if w.Priority != "" {
		c.in("priority", word(interactive, Bulk), w.Priority)
		if w.Priority != interactive {
			o.Priority = w.Priority
		}
	}
	if w.OnUnknown != "" {
		c.in("on_unknown", word(Resend, Park), w.OnUnknown)
		o.OnUnknown = w.OnUnknown
	}
	if w.UnknownWait != nil {
		o.UnknownWait = seconds(c, "unknown_wait", *w.UnknownWait, int(maxUnknownWait/time.Second))
	}
	sendAt := moment(c, "send_at", w.SendAt, now)
	if sendAt.After(now) {
		o.SendAt = sendAt
	} else {
		sendAt = now
	}
	o.ExpiresAt = moment(c, "expires_at", w.ExpiresAt, now)
	switch {
	case w.TTL != nil && w.ExpiresAt != "":
		c.faultAt("ttl", "says what expires_at says too; send one of them")
	case w.TTL != nil:
		o.ExpiresAt = sendAt.Add(seconds(c, "ttl", *w.TTL, maxTTL))
	case !o.ExpiresAt.IsZero() && !o.SendAt.IsZero() && !o.ExpiresAt.After(o.SendAt):
		c.faultAt("expires_at", "is not after send_at")
	}
	return o, !o.ExpiresAt.IsZero() && !o.ExpiresAt.After(now)
}

func seconds(c *check, name string, n, max int) time.Duration {
	if n < 1 || n > max {
		c.faultAt(name, "must be 1 to %d seconds", max)
		return 0
	}
	return time.Duration(n) * time.Second
}

// moment reads a time in UTC; none is the zero time.
func moment(c *check, name, s string, now time.Time) time.Time {
	if s == "" {
		return time.Time{}
	}
	var t time.Time
	switch err := t.UnmarshalText([]byte(s)); {
	case err != nil:
		c.faultAt(name, "must be a time as RFC 3339 writes it, with an offset, such as 2027-01-31T09:00:00+01:00")
	case t.After(now.AddDate(maxAhead, 0, 0)):
		c.faultAt(name, "is more than %d years ahead", maxAhead)
	}
	return t.UTC()
}

// print is what was wanted as part of a fingerprint: empty when nothing was,
// so that a request that wants nothing has the fingerprint it always had.
// The same moment written with another offset is the same wish.
func (w Wanted) print(toGroup bool) ([]byte, error) {
	for _, s := range []*string{&w.SendAt, &w.ExpiresAt} {
		var t time.Time
		if *s != "" && t.UnmarshalText([]byte(*s)) == nil {
			*s = t.UTC().Format(time.RFC3339Nano)
		}
	}
	if w == (Wanted{}) && !toGroup {
		return nil, nil
	}
	b, err := json.Marshal(struct {
		Group bool `json:"group,omitempty"`
		Wanted
	}{toGroup, w})
	if err != nil {
		return nil, fmt.Errorf("encode what was wanted: %w", err)
	}
	return b, nil
}
