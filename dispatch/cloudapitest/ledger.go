package cloudapitest

import (
	"slices"
	"sync"
	"time"
	"unique"

	"github.com/sendlog/sendlog/domain"
)

// Entry is one call in the ledger.
type Entry struct {
	Seq      int              `json:"seq"` // of entry into the ledger: 1 or more, without gaps
	At       time.Time        `json:"at"`
	Number   domain.NumberID  `json:"number"`
	To       string           `json:"to"`
	Type     string           `json:"type,omitempty"`
	Tenant   domain.TenantID  `json:"tenant,omitempty"`
	Message  domain.MessageID `json:"message,omitempty"` // from the callback data
	Attempt  int              `json:"attempt,omitempty"`
	Opaque   string           `json:"opaque,omitempty"` // callback data that is not of our form
	Accepted bool             `json:"accepted"`         // what really happened
	Wamid    string           `json:"wamid,omitempty"`  // of accepted calls
	Code     int              `json:"code,omitempty"`   // of refused calls
	Answer   Answer           `json:"answer,omitempty"` // what the caller was told instead
}

// AttemptID names one attempt to send one message.
type AttemptID struct {
	Message domain.MessageID
	Attempt int
}

// Query says which calls are meant; the zero value means all.
type Query struct {
	Message domain.MessageID // of this message
	Number  domain.NumberID  // of this number
	To      string           // to this person, as the caller wrote it
	// Accepted leaves out what was refused.
	Accepted bool
}

func (q Query) means(e *Entry) bool {
	return (q.Message == "" || q.Message == e.Message) && (q.Number == "" || q.Number == e.Number) &&
		(q.To == "" || q.To == e.To) && (!q.Accepted || e.Accepted)
}

// ledger holds the newest calls in chunks: it grows without copying, and
// forgets a chunk at a time.
type ledger struct {
	hold int // chunks

	mu        sync.Mutex
	chunks    [][]Entry
	seq       int // of the newest entry
	accepted  int // of all that ever were
	forgotten int
}

func (l *ledger) add(e Entry) {
	// Words that every call repeats are kept once.
	e.Number, e.Tenant, e.Type = unique.Make(e.Number).Value(), unique.Make(e.Tenant).Value(), unique.Make(e.Type).Value()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	e.Seq = l.seq
	if e.Accepted {
		l.accepted++
	}
	if n := len(l.chunks); n == 0 || len(l.chunks[n-1]) == ledgerChunk {
		if n == l.hold {
			l.chunks = slices.Delete(l.chunks, 0, 1)
			l.forgotten += ledgerChunk
		}
		l.chunks = append(l.chunks, make([]Entry, 0, ledgerChunk))
	}
	newest := &l.chunks[len(l.chunks)-1]
	*newest = append(*newest, e)
}

// after returns up to limit entries with a higher Seq that a query means.
func (l *ledger) after(seq, limit int, q Query) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := []Entry{}
	for at := max(seq-l.forgotten, 0); at < l.seq-l.forgotten && len(found) < limit; at++ { // seq counts from 1
		if e := &l.chunks[at/ledgerChunk][at%ledgerChunk]; q.means(e) {
			found = append(found, *e)
		}
	}
	return found
}

// Ledger returns every call that is remembered, oldest first: the newest
// million. Whoever has read a valid body is in it, refused calls too; marking
// as read is not.
func (s *Server) Ledger() []Entry { return s.Calls(Query{}) }

// Calls returns the remembered calls that a query means, oldest first: with
// Number, To and Accepted it is the order in which one person got messages.
func (s *Server) Calls(q Query) []Entry { return s.ledger.after(0, maxLedger, q) }

// Forgotten returns how many calls the ledger no longer holds.
func (s *Server) Forgotten() int {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	return s.ledger.forgotten
}

// Totals returns how many calls ever came, and how many were accepted.
func (s *Server) Totals() (received, accepted int) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	return s.ledger.seq, s.ledger.accepted
}

// Accepted returns how many attempts of a message were accepted: 2 means that
// a person got it twice.
func (s *Server) Accepted(m domain.MessageID) int {
	return len(s.Calls(Query{Message: m, Accepted: true}))
}

// AcceptedByMessage counts the accepted attempts of every message that was
// called about, 0 included. Calls without our callback data are left out.
func (s *Server) AcceptedByMessage() map[domain.MessageID]int { return countAccepted(s.Ledger()) }

// CallsByAttempt counts the calls of every attempt, refused ones included:
// more than 1 means that an attempt reached Meta twice. Calls without our
// callback data are left out.
func (s *Server) CallsByAttempt() map[AttemptID]int {
	counts := map[AttemptID]int{}
	for _, e := range s.Ledger() {
		if e.Message != "" {
			counts[AttemptID{e.Message, e.Attempt}]++
		}
	}
	return counts
}

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
