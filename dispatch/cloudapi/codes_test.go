package cloudapi

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The table is well formed: sorted, no row twice, every cell filled with a
// word of its closed set.
func TestCodesTable(t *testing.T) {
	t.Parallel()
	type key struct{ code, last, subcode int }
	seen := map[key]bool{}
	for n, r := range append([]Row{unlisted, transient, uncertain, throttled, locked, unreachable, unusable}, codes...) {
		switch r.Class {
		case Retry, Ambiguous, Defer, Permanent, Account:
		default:
			t.Errorf("%d: class %q", r.Code, r.Class)
		}
		switch r.Fault {
		case ByTenant, ByMeta, ByRecipient, ByUs:
		default:
			t.Errorf("%d: fault %q", r.Code, r.Fault)
		}
		if !strings.HasSuffix(r.Words, ".") || len(r.Words) < 20 || r.Words[0] < 'A' || r.Words[0] > 'Z' {
			t.Errorf("%d: words %q are no sentence", r.Code, r.Words)
		}
		if r.Class == Retry && r.Wait == 0 || r.Wait > maxWait {
			t.Errorf("%d: wait %v", r.Code, r.Wait)
		}
		// What stops an account is said by the rows of that class, and by no other.
		if (r.Halt.Cause != "") != (r.Class == Account) || r.Ends && r.Class != Account || r.Halt.For < 0 {
			t.Errorf("%d: class %s, halt %+v, ends %t", r.Code, r.Class, r.Halt, r.Ends)
		}
		if n < 7 {
			continue
		}
		k := key{r.Code, r.Last, r.Subcode}
		if seen[k] || (r.Last != 0 && r.Last <= r.Code) {
			t.Errorf("%+v is twice in the table, or its range is empty", k)
		}
		seen[k] = true
	}
}

// These are never tried again by themselves, however they arrive: trying again
// is what Meta punishes (section 7.3).
func TestNeverTriedAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []int{130472, 131048, 131049, 131050, 132069} {
		r := Lookup(code)
		o := conclude(http.StatusBadRequest, http.Header{"Retry-After": {"1"}}, fmt.Appendf(nil, `{"error":{"code":%d,"is_transient":true}}`, code), Call{Attempt: 1}, false)
		if o.Kind != Refused || o.Retry || o.Hold || o.Class == Retry || r.Class == Retry || o.Reason == "" {
			t.Errorf("%d: %v retry=%t hold=%t", code, o, o.Retry, o.Hold)
		}
	}
}

// The table is the list of section 7.3 (testdata/codes.tsv), code by code and
// class by class, with nothing of its own; where it differs, a reason is given.
func TestCodesAreThoseOfTheReference(t *testing.T) {
	t.Parallel()
	classes := map[string]Class{"RETRY": Retry, "AMBIG": Ambiguous, "DEFER": Defer, "TENANT": Account,
		"MSG": Permanent, "ADMIN": Permanent, "inbound": Permanent, "show": Permanent, "note": Permanent}
	different := map[int]Class{
		131044: Permanent, 134011: Permanent, 139200: Permanent, // calls, payments, Direct Send: others may leave
		133005: Account, 133016: Account, // tell of a number that is not registered: nothing can leave
		131208: Retry, 138002: Retry, 138005: Retry, // named in the action of their range
	}
	list, err := os.ReadFile("testdata/codes.tsv")
	if err != nil {
		t.Fatal(err)
	}
	inList := map[int]bool{}
	for line := range strings.Lines(string(list)) {
		span, word, _ := strings.Cut(strings.TrimSpace(line), "\t")
		class, known := classes[word]
		first, last, isRange := strings.Cut(span, "..")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if !known || err1 != nil || err2 != nil || to < from {
			t.Fatalf("line %q", line)
		}
		for code := from; code <= to; code++ {
			inList[code] = true
			want := class
			if d, ok := different[code]; ok {
				want = d
			}
			r, ok := lookup(code, 0)
			if !ok || r.Code != code || r.Class != want || Lookup(code) != r {
				t.Errorf("%d is %+v (listed %t), want class %s", code, r, ok, want)
			}
		}
	}
	if len(inList) != 371 { // ranges counted code by code
		t.Errorf("the list has %d codes", len(inList))
	}
	for _, r := range codes {
		for code := r.Code; code <= max(r.Code, r.Last); code++ {
			if !inList[code] {
				t.Errorf("%d is in the table, and not in the list", code)
			}
		}
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	tests := []struct {
		code, subcode int
		want          Class
		listed        bool
	}{
		{100, 0, Permanent, true},
		{100, 33, Account, true},
		{100, 7, Permanent, true},
		{190, 463, Account, true},
		{190, 1, Account, true},
		{199, 0, Permanent, false},
		{300, 0, Permanent, false},
		{131207, 0, Permanent, true},
		{131208, 0, Retry, true},
		{138005, 0, Retry, true},
		{131216, 0, Permanent, false},
		{-1, 0, Permanent, false},
	}
	for _, test := range tests {
		r, ok := lookup(test.code, test.subcode)
		if r.Class != test.want || ok != test.listed || r.Code != test.code {
			t.Errorf("%d/%d: got %+v, %v", test.code, test.subcode, r, ok)
		}
	}
}

func TestWaitGrowsForOnePairOnly(t *testing.T) {
	t.Parallel()
	for attempt, want := range map[int]time.Duration{0: 1, 1: 1, 2: 4, 3: 16, 4: 64, 5: 256, 1_000_000: maxWait / time.Second} {
		if got := Lookup(131056).wait(attempt); got != want*time.Second {
			t.Errorf("attempt %d waits %v", attempt, got)
		}
	}
	if got := Lookup(131057).wait(9); got != time.Minute {
		t.Errorf("maintenance waits %v", got)
	}
}

func TestByHTTP(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status    int
		transient bool
		want      Class
	}{
		{http.StatusTooManyRequests, false, Retry},
		{http.StatusUnauthorized, false, Account},
		{http.StatusForbidden, false, Account},
		{http.StatusBadRequest, false, Permanent},
		{http.StatusBadRequest, true, Retry},
		{http.StatusNotFound, false, Permanent},
		{http.StatusRequestTimeout, false, Ambiguous},
		{http.StatusFound, false, Ambiguous},
		{http.StatusInternalServerError, true, Ambiguous},
		{http.StatusBadGateway, false, Ambiguous},
	}
	for _, test := range tests {
		if got := byHTTP(test.status, test.transient).Class; got != test.want {
			t.Errorf("%d transient=%v: %s, want %s", test.status, test.transient, got, test.want)
		}
	}
}

// No number of Meta's stands in logic: the table is the only place.
func TestForeignNumbersStayInTheTable(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	comment := regexp.MustCompile(`//.*`)
	foreign := regexp.MustCompile(`\b(190|368|613|80007|13[0-9]{4}|2[345][0-9]{5})\b`)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") || e.Name() == "codes.go" {
			continue
		}
		src, err := os.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if n := foreign.Find(comment.ReplaceAll(src, nil)); n != nil {
			t.Errorf("%s knows the code %s", e.Name(), n)
		}
	}
}
