package cloudapitest

import (
	"testing"

	"github.com/sendlog/sendlog/domain"
)

// A full ledger forgets its oldest calls, says how many, and still tells the
// others in order and from any seq on.
func TestLedgerForgets(t *testing.T) {
	t.Parallel()
	const held, more = 4 * ledgerChunk, 3*ledgerChunk + 5
	l := ledger{hold: 4}
	for i := range held + more {
		l.add(Entry{Number: domain.NumberID([]string{"1", "2"}[i%2]), Accepted: i%4 == 0})
	}
	if l.forgotten != 4*ledgerChunk || l.seq != held+more || l.accepted != (held+more+3)/4 {
		t.Fatalf("%d forgotten of %d, %d accepted", l.forgotten, l.seq, l.accepted)
	}
	for _, test := range []struct {
		after, limit int
		query        Query
		first, count int
	}{
		{0, 10, Query{}, 4*ledgerChunk + 1, 10},
		{0, 2 * held, Query{}, 4*ledgerChunk + 1, l.seq - l.forgotten},
		{l.seq - 1, 10, Query{}, l.seq, 1},
		{l.seq, 10, Query{}, 0, 0},
		{l.seq + 9, 10, Query{}, 0, 0},
		{l.seq - 8, 10, Query{Number: "1"}, l.seq - 6, 4},
		{l.seq - 8, 10, Query{Accepted: true}, l.seq - 4, 2},
	} {
		got := l.after(test.after, test.limit, test.query)
		if len(got) != test.count || test.count > 0 && got[0].Seq != test.first {
			t.Errorf("%+v: %d entries, %+v", test, len(got), got[:min(len(got), 1)])
		}
	}
}
