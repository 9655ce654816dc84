package cloudapitest

import (
	"slices"
	"sync"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Entry is one call in the ledger.
type Entry struct {
	Seq      int              `json:"seq"` // of entry into the ledger: 1 or more, without gaps
	At       time.Time        `json:"at"`
	Number   domain.NumberID  `json:"number"`
	To       string           `json:"to"`
	Tenant   domain.TenantID  `json:"tenant,omitempty"`
	Message  domain.MessageID `json:"message,omitempty"` // from the callback data
	Attempt  int              `json:"attempt,omitempty"`
	Accepted bool             `json:"accepted"`         // what really happened
	Wamid    string           `json:"wamid,omitempty"`  // of accepted calls
	Code     int              `json:"code,omitempty"`   // of refused calls
	Answer   Answer           `json:"answer,omitempty"` // what the caller was told instead
}

// ledger holds the newest [maxLedger] calls.
type ledger struct {
	mu        sync.Mutex
	entries   []Entry
	seq       int // of the newest entry
	forgotten int
}

func (l *ledger) add(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) == maxLedger {
		// A quarter at once, so that forgetting costs little per call.
		l.entries = slices.Delete(l.entries, 0, maxLedger/4)
		l.forgotten += maxLedger / 4
	}
	l.seq++
	e.Seq = l.seq
	l.entries = append(l.entries, e)
}

// after returns up to limit entries with a higher Seq.
func (l *ledger) after(seq, limit int) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	start, _ := slices.BinarySearchFunc(l.entries, seq+1, func(e Entry, seq int) int { return e.Seq - seq })
	return slices.Clone(l.entries[start:min(start+limit, len(l.entries))])
}

// Ledger returns every call that is remembered, oldest first: the newest
// million.
func (s *Server) Ledger() []Entry { return s.ledger.after(0, maxLedger) }

// Forgotten returns how many calls the ledger no longer holds.
func (s *Server) Forgotten() int {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	return s.ledger.forgotten
}

// Accepted returns how many attempts of a message were accepted: 2 means that
// a person got it twice.
func (s *Server) Accepted(m domain.MessageID) int { return s.AcceptedByMessage()[m] }

// AcceptedByMessage counts the accepted attempts of every message that was
// called about, 0 included. Calls without our callback data are left out.
func (s *Server) AcceptedByMessage() map[domain.MessageID]int { return countAccepted(s.Ledger()) }

func countAccepted(entries []Entry) map[domain.MessageID]int {
	counts := map[domain.MessageID]int{}
	for _, e := range entries {
		if e.Message == "" {
			continue
		}
		counts[e.Message] += 0
		if e.Accepted {
			counts[e.Message]++
		}
	}
	return counts
}
