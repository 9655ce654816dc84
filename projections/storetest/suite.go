// Package storetest is the conformance suite of projections.Store, which every
// store passes, and what tests of stores need around it. Only tests import it.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/projections"
)

// Run checks every promise of projections.Store. open returns an empty store
// that is closed when its test ends.
func Run(t *testing.T, open func(t *testing.T) projections.Store) {
	for _, one := range []struct {
		name string
		test func(*testing.T, projections.Store)
	}{
		{"a batch is readable with its checkpoint", applies},
		{"repeating a batch changes nothing and says so", repeats},
		{"a batch that does not begin at the checkpoint changes nothing", moved},
		{"an older document never replaces a newer one", guards},
		{"two writers of one batch: one wins, the other learns it", races},
		{"documents come back byte for byte", roundTrips},
		{"ids are data, whatever they look like", oddIDs},
		{"values are data, whatever they look like", oddValues},
		{"pages in both directions cover every match once", pages},
		{"several values per field merge into one order", anyOf},
		{"a list is narrowed beyond its index", narrows},
		{"a collection can be walked", walks},
		{"a batch of large documents fits", large},
		{"readers do not wait for the writer or see half a document", concurrent},
		{"generations stand beside each other, switch and drop", generations},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			one.test(t, open(t))
		})
	}
}

const (
	gen  = "things_g1"
	coll = "things_g1"
)

var things = []projections.Collection{{Name: coll, Indexes: []projections.Index{
	{Fields: []string{"tenant"}, Sort: "position"},
	{Fields: []string{"tenant", "state"}, Sort: "position"},
}}}

// thing is a document of the suite.
type thing struct {
	ID           string          `json:"id"`
	Tenant       string          `json:"tenant"`
	Position     domain.Position `json:"position"`
	LastPosition domain.Position `json:"last_position"`
	State        string          `json:"state"`
	Text         string          `json:"text,omitempty"`
}

func (x thing) put(t *testing.T) projections.Put {
	return projections.Put{Collection: coll, Doc: projections.Doc{ID: x.ID, Last: x.LastPosition, Body: encode(t, x)}}
}

func encode(t *testing.T, v any) json.RawMessage {
	t.Helper()
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	must(t, enc.Encode(v))
	return json.RawMessage(strings.TrimSuffix(b.String(), "\n"))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, s projections.Store) {
	t.Helper()
	must(t, s.Create(t.Context(), gen, projections.Checkpoint{Incarnation: "log-1", Version: 3}, things))
}

func batch(from, to domain.Position, puts ...projections.Put) projections.Batch {
	return projections.Batch{Generation: gen, From: from, To: to, Puts: puts}
}

func position(t *testing.T, s projections.Store) domain.Position {
	t.Helper()
	at, found, err := s.Checkpoint(t.Context(), gen)
	must(t, err)
	if !found {
		t.Fatal("no checkpoint")
	}
	return at.Position
}

func get(t *testing.T, s projections.Store, id string) string {
	t.Helper()
	docs, err := s.Get(t.Context(), coll, []string{id})
	must(t, err)
	return string(docs[id].Body)
}

func applies(t *testing.T, s projections.Store) {
	if _, found, err := s.Checkpoint(t.Context(), gen); found || err != nil {
		t.Fatalf("checkpoint before anything: found %v, error %v", found, err)
	}
	create(t, s)
	at, found, err := s.Checkpoint(t.Context(), gen)
	must(t, err)
	if want := (projections.Checkpoint{Incarnation: "log-1", Version: 3}); !found || at != want {
		t.Fatalf("checkpoint of a new generation: %v %+v", found, at)
	}
	a, b := thing{ID: "a", Tenant: "t", Position: 1, LastPosition: 2}, thing{ID: "b", Tenant: "t", Position: 2, LastPosition: 2}
	must(t, s.Apply(t.Context(), batch(0, 2, a.put(t), b.put(t))))
	create(t, s) // again: nothing changes
	if at := position(t, s); at != 2 {
		t.Errorf("checkpoint is %d, want 2", at)
	}
	docs, err := s.Get(t.Context(), coll, []string{"a", "none", "b"})
	must(t, err)
	if len(docs) != 2 || string(docs["a"].Body) != string(encode(t, a)) || docs["b"].Last != 2 || docs["b"].ID != "b" {
		t.Errorf("got %v", docs)
	}
	last := batch(2, 5)
	last.Deletes = []projections.Ref{{Collection: coll, ID: "a"}, {Collection: coll, ID: "none"}}
	must(t, s.Apply(t.Context(), last))
	if get(t, s, "a") != "" || get(t, s, "b") == "" || position(t, s) != 5 {
		t.Error("delete did not delete exactly what it names")
	}
	at, found, err = s.Resume(t.Context(), gen)
	must(t, err)
	if want := (projections.Checkpoint{Position: 5, Incarnation: "log-1", Version: 3}); !found || at != want {
		t.Errorf("a writer resumes at %v %+v", found, at)
	}
	if _, found, err := s.Resume(t.Context(), "none_g1"); found || err != nil {
		t.Errorf("a generation that does not exist resumes: %v %v", found, err)
	}
}

func repeats(t *testing.T, s projections.Store) {
	create(t, s)
	x := thing{ID: "a", Tenant: "t", Position: 1, LastPosition: 3, State: "first"}
	must(t, s.Apply(t.Context(), batch(0, 3, x.put(t))))
	other := x
	other.State = "second"
	if err := s.Apply(t.Context(), batch(0, 3, other.put(t))); !errors.Is(err, projections.ErrRepeated) {
		t.Errorf("a repeat is told as %v", err)
	}
	if got := get(t, s, "a"); got != string(encode(t, x)) {
		t.Errorf("a repeat changed the document to %s", got)
	}
	if at := position(t, s); at != 3 {
		t.Errorf("checkpoint is %d, want 3", at)
	}
}

func moved(t *testing.T, s projections.Store) {
	x := thing{ID: "a", Tenant: "t", Position: 1, LastPosition: 9}
	if err := s.Apply(t.Context(), batch(0, 9, x.put(t))); !errors.Is(err, projections.ErrMoved) {
		t.Errorf("a generation that does not exist: %v", err)
	}
	create(t, s)
	must(t, s.Apply(t.Context(), batch(0, 5)))
	for _, b := range []projections.Batch{batch(0, 9, x.put(t)), batch(4, 9, x.put(t)), batch(6, 9, x.put(t))} {
		if err := s.Apply(t.Context(), b); !errors.Is(err, projections.ErrMoved) {
			t.Errorf("batch from %d at checkpoint 5: %v", b.From, err)
		}
	}
	if get(t, s, "a") != "" || position(t, s) != 5 {
		t.Error("a refused batch changed something")
	}
}

func guards(t *testing.T, s projections.Store) {
	create(t, s)
	newer := thing{ID: "a", Tenant: "t", Position: 1, LastPosition: 7, State: "newer"}
	older := thing{ID: "a", Tenant: "t", Position: 1, LastPosition: 6, State: "older"}
	must(t, s.Apply(t.Context(), batch(0, 7, newer.put(t))))
	must(t, s.Apply(t.Context(), batch(7, 8, older.put(t))))
	if got := get(t, s, "a"); got != string(encode(t, newer)) {
		t.Errorf("got %s", got)
	}
}

func races(t *testing.T, s projections.Store) {
	create(t, s)
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		wins int
	)
	for i := range 4 {
		all.Go(func() {
			x := thing{ID: fmt.Sprint("doc-", i), Tenant: "t", Position: 1, LastPosition: domain.Position(10 + i)}
			err := s.Apply(context.WithoutCancel(t.Context()), batch(0, domain.Position(10+i), x.put(t)))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				wins++
			case !errors.Is(err, projections.ErrMoved):
				t.Error(err)
			}
		})
	}
	all.Wait()
	docs := Dump(t, s, coll)
	if wins != 1 || len(docs) != 1 || docs[fmt.Sprint("doc-", position(t, s)-10)] == "" {
		t.Errorf("%d writers won, checkpoint %d, documents %v", wins, position(t, s), slices.Collect(maps.Keys(docs)))
	}
}

func roundTrips(t *testing.T, s projections.Store) {
	create(t, s)
	doc := map[string]json.RawMessage{}
	for name, value := range map[string]string{
		"empty_text": `""`, "quotes": `"a\"b\\c\n\t"`, "html": `"<b>&amp;</b>"`, "separators": `"\u2028\u2029"`,
		"unicode": `"শুভ সকাল 👍🏽 \u0000 Z"`, "max": `9223372036854775807`, "min": `-9223372036854775808`,
		"zero": `0`, "yes": `true`, "no": `false`, "nothing": `null`, "list": `["a",1,{"b":[]},null]`, "object": `{"z":1,"a":{"m":{}}}`,
		"time": `"2026-11-23T17:10:00.000000001Z"`, "verbatim": `"{\"$where\": 1.0, \"a.b\":[ ]}"`, "long": `"` + strings.Repeat("x", 70_000) + `"`,
	} {
		doc[name] = json.RawMessage(value)
	}
	doc["id"], doc["last_position"] = json.RawMessage(`"a"`), json.RawMessage(`1`)
	doc["tenant"], doc["position"], doc["state"] = json.RawMessage(`"t"`), json.RawMessage(`1`), json.RawMessage(`"s"`)
	body := encode(t, doc)
	must(t, s.Apply(t.Context(), batch(0, 1, projections.Put{Collection: coll, Doc: projections.Doc{ID: "a", Last: 1, Body: body}})))
	if got := get(t, s, "a"); got != string(body) {
		t.Errorf("got  %.2000s\nwant %.2000s", got, body)
	}
}

var odd = []string{
	"$", "$where", "a.b", ".", "..", "a/b", "a b", "'", `"`, "`", `\`, "%", "_", "?", "*", ";--", "{}", `{"$ne":null}`, "[1]",
	"null", "0", "0x1", "1e3", "é", "e\u0301", "שלום", "মেসেজ", "👩‍👩‍👧‍👦", "\u200b", "\ufeff", "\n", "\t", "Ä", "a", "A", "true",
	strings.Repeat("k", 1024), strings.Repeat("ক", 341),
}

func oddIDs(t *testing.T, s projections.Store) {
	create(t, s)
	var puts []projections.Put
	for _, id := range odd {
		puts = append(puts, thing{ID: id, Tenant: "t", Position: 5, LastPosition: 5, Text: "of " + id}.put(t))
	}
	must(t, s.Apply(t.Context(), batch(0, 5, puts...)))
	docs, err := s.Get(t.Context(), coll, odd)
	must(t, err)
	for i, id := range odd {
		if string(docs[id].Body) != string(puts[i].Body) || get(t, s, id) != string(puts[i].Body) {
			t.Errorf("id %.20q: got %s", id, docs[id].Body)
		}
	}
	// One sort value for all: the ids alone decide the order of pages.
	want := slices.Sorted(slices.Values(odd))
	if got := collect(t, s, query(false, 7, projections.Match{Field: "tenant", AnyOf: []string{"t"}})); !slices.Equal(got, want) {
		t.Errorf("order of ids:\ngot  %q\nwant %q", got, want)
	}
}

func oddValues(t *testing.T, s projections.Store) {
	create(t, s)
	var puts []projections.Put
	for i, value := range odd {
		p := domain.Position(i + 1)
		puts = append(puts, thing{ID: fmt.Sprint("doc-", i), Tenant: value, Position: p, LastPosition: p}.put(t))
	}
	must(t, s.Apply(t.Context(), batch(0, 100, puts...)))
	for i, value := range odd {
		got := collect(t, s, query(true, 5, projections.Match{Field: "tenant", AnyOf: []string{value}}))
		if !slices.Equal(got, []string{fmt.Sprint("doc-", i)}) {
			t.Errorf("value %.20q matched %q", value, got)
		}
	}
	for _, value := range []string{"", "$$ROOT", `{"$gt":""}`, "t' OR '1'='1", "doc-1", "9"} {
		if got := collect(t, s, query(true, 5, projections.Match{Field: "tenant", AnyOf: []string{value}})); len(got) != 0 {
			t.Errorf("value %q matched %q", value, got)
		}
	}
}

func query(desc bool, limit int, where ...projections.Match) projections.Query {
	return projections.Query{Collection: coll, Where: where, Sort: "position", Desc: desc, Limit: limit}
}

// collect walks all pages of a query and returns the ids.
func collect(t *testing.T, s projections.Store, q projections.Query) (ids []string) {
	t.Helper()
	for {
		docs, err := s.Range(t.Context(), q)
		must(t, err)
		for _, d := range docs {
			ids = append(ids, d.ID)
		}
		if len(docs) > q.Limit {
			t.Fatalf("a page of %d has %d documents", q.Limit, len(docs))
		}
		if len(docs) < q.Limit {
			return ids
		}
		var x thing
		must(t, json.Unmarshal(docs[len(docs)-1].Body, &x))
		q.After = &projections.Mark{Value: int64(x.Position), ID: x.ID}
		if len(ids) > 10_000 {
			t.Fatal("the pages do not end")
		}
	}
}

func pages(t *testing.T, s projections.Store) {
	create(t, s)
	var (
		puts []projections.Put
		want []string
	)
	for i := range 60 {
		tenant, p := "t", domain.Position(i/3+1) // three documents share a position
		if i%4 == 0 {
			tenant = "other"
		} else {
			want = append(want, fmt.Sprintf("doc-%02d", i))
		}
		puts = append(puts, thing{ID: fmt.Sprintf("doc-%02d", i), Tenant: tenant, Position: p, LastPosition: p, State: "s"}.put(t))
	}
	must(t, s.Apply(t.Context(), batch(0, 100, puts...)))
	where := projections.Match{Field: "tenant", AnyOf: []string{"t"}}
	for _, limit := range []int{1, 7, 45, 100} {
		if got := collect(t, s, query(false, limit, where)); !slices.Equal(got, want) {
			t.Errorf("pages of %d: %q", limit, got)
		}
	}
	slices.Reverse(want)
	if got := collect(t, s, query(true, 7, where)); !slices.Equal(got, want) {
		t.Errorf("newest first: %q", got)
	}
	if got := collect(t, s, query(true, 7, where, projections.Match{Field: "state", AnyOf: []string{"s"}})); !slices.Equal(got, want) {
		t.Errorf("two fields: %q", got)
	}
}

func anyOf(t *testing.T, s projections.Store) {
	create(t, s)
	var puts []projections.Put
	want := map[string][]string{}
	states := []string{"a", "b", "c"}
	for i := range 45 {
		p, state := domain.Position(100-i), states[i%3]
		id := fmt.Sprintf("doc-%02d", i)
		want[state] = append(want[state], id)
		puts = append(puts, thing{ID: id, Tenant: "t", Position: p, LastPosition: p, State: state}.put(t))
	}
	must(t, s.Apply(t.Context(), batch(0, 100, puts...)))
	tenant := projections.Match{Field: "tenant", AnyOf: []string{"t"}}
	two := slices.Sorted(slices.Values(append(slices.Clone(want["a"]), want["c"]...)))
	got := collect(t, s, query(true, 4, tenant, projections.Match{Field: "state", AnyOf: []string{"c", "a", "c", "none"}}))
	if !slices.Equal(got, two) {
		t.Errorf("two of three: %q", got)
	}
	many := []string{"b"}
	for i := range 250 {
		many = append(many, fmt.Sprint("absent-", i))
	}
	if got := collect(t, s, query(true, 4, tenant, projections.Match{Field: "state", AnyOf: many})); !slices.Equal(got, want["b"]) {
		t.Errorf("one of many: %q", got)
	}
	if got := collect(t, s, query(true, 4, tenant, projections.Match{Field: "state"})); got != nil {
		t.Errorf("a match without values matched %q", got)
	}
}

func narrows(t *testing.T, s projections.Store) {
	create(t, s)
	var (
		puts []projections.Put
		want []string
	)
	for i := range 40 {
		p, text := domain.Position(i+1), "even"
		if i%2 == 1 {
			text = "odd"
		}
		if i%6 == 3 { // odd, and of the right state
			want = append(want, fmt.Sprintf("doc-%02d", i))
		}
		puts = append(puts, thing{ID: fmt.Sprintf("doc-%02d", i), Tenant: "t", Position: p, LastPosition: p,
			State: []string{"a", "b", "c"}[i%3], Text: text}.put(t))
	}
	must(t, s.Apply(t.Context(), batch(0, 100, puts...)))
	match := func(field string, values ...string) projections.Match {
		return projections.Match{Field: field, AnyOf: values}
	}
	got := collect(t, s, query(false, 3, match("tenant", "t"), match("state", "a", "none"), match("text", "odd")))
	if !slices.Equal(got, want) {
		t.Errorf("by an index of two fields and one more: %q", got)
	}
	got = collect(t, s, query(false, 3, match("tenant", "t"), match("text", "odd"), match("state", "a")))
	if !slices.Equal(got, want) {
		t.Errorf("by an index of one field and two more: %q", got)
	}
	if got := collect(t, s, query(true, 3, match("tenant", "other"), match("text", "odd"))); len(got) != 0 {
		t.Errorf("another tenant has %q", got)
	}
}

func walks(t *testing.T, s projections.Store) {
	create(t, s)
	var puts []projections.Put
	for _, id := range []string{"b", "a", "d", "c"} {
		puts = append(puts, thing{ID: id, Tenant: "t", Position: 1, LastPosition: 1}.put(t))
	}
	must(t, s.Apply(t.Context(), batch(0, 1, puts...)))
	var walked []string
	q := projections.Query{Collection: coll, Limit: 1}
	for range 5 { // one more than there are
		page, err := s.Range(t.Context(), q)
		must(t, err)
		for _, d := range page {
			walked, q.After = append(walked, d.ID), &projections.Mark{ID: d.ID}
		}
	}
	slices.Sort(walked)
	if !slices.Equal(walked, []string{"a", "b", "c", "d"}) {
		t.Errorf("walked %q", walked)
	}
	if got := Dump(t, s, coll); len(got) != 4 {
		t.Errorf("walked %d documents", len(got))
	}
}

func large(t *testing.T, s projections.Store) {
	create(t, s)
	var puts []projections.Put
	for i := range 8 {
		text := strings.Repeat(fmt.Sprintf("%d-শুভ-", i), 1<<20/16)
		puts = append(puts, thing{ID: fmt.Sprint(i), Tenant: "t", Position: 1, LastPosition: 1, Text: text}.put(t))
	}
	must(t, s.Apply(t.Context(), batch(0, 1, puts...)))
	for i, p := range puts {
		if got := get(t, s, p.ID); got != string(p.Body) {
			t.Errorf("document %d of %d bytes came back as %d bytes", i, len(p.Body), len(got))
		}
	}
}

// concurrent lets readers read while batches are written. A document's text
// says its position, so a torn read shows.
func concurrent(t *testing.T, s projections.Store) {
	create(t, s)
	const batches = 15
	ctx, done := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			var last domain.Position
			for ctx.Err() == nil {
				docs, err := s.Range(t.Context(), query(true, 10, projections.Match{Field: "tenant", AnyOf: []string{"t"}}))
				if err != nil {
					t.Error(err)
					return
				}
				for _, d := range docs {
					var x thing
					if err := json.Unmarshal(d.Body, &x); err != nil || x.Text != fmt.Sprint(x.LastPosition) || x.LastPosition != d.Last {
						t.Errorf("torn document %s (%v)", d.Body, err)
					}
				}
				at, _, err := s.Checkpoint(t.Context(), gen)
				if err != nil || at.Position < last {
					t.Errorf("checkpoint went from %d to %d (%v)", last, at.Position, err)
				}
				last = at.Position
				found, err := s.Get(t.Context(), coll, []string{"doc-1"})
				if err != nil || found["doc-1"].Last < last {
					t.Errorf("the checkpoint %d is ahead of a document at %d (%v)", last, found["doc-1"].Last, err)
				}
			}
		})
	}
	for i := range batches {
		p := domain.Position(i + 1)
		var puts []projections.Put
		for n := range 5 {
			puts = append(puts, thing{ID: fmt.Sprint("doc-", n), Tenant: "t", Position: 1, LastPosition: p, Text: fmt.Sprint(p)}.put(t))
		}
		must(t, s.Apply(t.Context(), batch(p-1, p, puts...)))
	}
	done()
	all.Wait()
}

func generations(t *testing.T, s projections.Store) {
	ctx := t.Context()
	none, err := s.Live(ctx, "things")
	must(t, err)
	if none != (projections.Pointer{}) {
		t.Fatalf("pointer before anything: %+v", none)
	}
	create(t, s)
	second := []projections.Collection{{Name: "things_g2", Indexes: things[0].Indexes}, {Name: "others_g2"}}
	must(t, s.Create(ctx, "things_g2", projections.Checkpoint{Incarnation: "log-1", Version: 4}, second))
	x := thing{ID: "a", Tenant: "t", Position: 1, LastPosition: 1}.put(t)
	must(t, s.Apply(ctx, batch(0, 1, x)))
	if docs, err := s.Get(ctx, "things_g2", []string{"a"}); err != nil || len(docs) != 0 {
		t.Errorf("the new generation has documents of the old one: %v %v", docs, err)
	}

	must(t, s.Switch(ctx, "things", none, 1))
	if err := s.Switch(ctx, "things", none, 2); !errors.Is(err, projections.ErrMoved) {
		t.Errorf("switch from where the pointer is not: %v", err)
	}
	must(t, s.Switch(ctx, "things", projections.Pointer{Live: 1}, 2))
	now, err := s.Live(ctx, "things")
	must(t, err)
	if now != (projections.Pointer{Live: 2, Previous: 1}) {
		t.Errorf("pointer is %+v", now)
	}
	if other, err := s.Live(ctx, "others"); err != nil || other != (projections.Pointer{}) {
		t.Errorf("another model's pointer: %+v %v", other, err)
	}

	names, err := s.List(ctx)
	must(t, err)
	slices.Sort(names)
	if !slices.Equal(names, []string{"others_g2", "things_g1", "things_g2"}) {
		t.Errorf("collections %q", names)
	}
	for range 2 { // what is not there is no error
		must(t, s.Drop(ctx, gen, []string{coll}))
	}
	if _, found, err := s.Checkpoint(ctx, gen); found || err != nil {
		t.Errorf("the checkpoint of a dropped generation: %v %v", found, err)
	}
	if names, err = s.List(ctx); err != nil || len(names) != 2 {
		t.Errorf("collections after the drop %q %v", names, err)
	}
	if err := s.Apply(ctx, batch(1, 2)); !errors.Is(err, projections.ErrMoved) {
		t.Errorf("a batch for a dropped generation: %v", err)
	}
}

// Dump returns every document of a collection, as it is stored, by id.
func Dump(t testing.TB, s projections.Store, collection string) map[string]string {
	t.Helper()
	all := map[string]string{}
	q := projections.Query{Collection: collection, Limit: 500}
	for {
		docs, err := s.Range(t.Context(), q)
		if err != nil {
			t.Fatalf("dump %s: %v", collection, err)
		}
		for _, d := range docs {
			all[d.ID] = string(d.Body)
		}
		if len(docs) < q.Limit {
			return all
		}
		q.After = &projections.Mark{ID: docs[len(docs)-1].ID}
	}
}
