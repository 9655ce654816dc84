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

// Every number of section 7.3 has a row.
func TestCodesAreComplete(t *testing.T) {
	t.Parallel()
	const listed = `0 1 2 3 4 10 33 100 190 200 250 299 368 613 1026 80007 130403 130429 130472 130497 131000 131005 131008 131009
	131016 131020 131041 131201 131202 131203 131204 131207 131208 131209 131210 131211 131212 131213 131214 131215 131021 131026
	131030 131031 131037 131042 131044 131045 131047 131048 131049 131050 131051 131052 131053 131055 131056 131057 131059 131060
	131062 131063 131064 132000 132001 132005 132007 132012 132015 132016 132018 132021 132068 132069 133000 133004 133005 133006
	133008 133009 133010 133015 133016 134011 134100 134101 134102 134103 135000 136024 136025 137000 138000 138001 138002 138003
	138004 138005 138006 138009 138012 138014 138015 138017 138018 138019 138023 139000 139004 139100 139103 139200 141000 141099
	147001 147005 200005 200007 1752041 2388001 2388012 2388091 2388093 2388103 2388019 2388039 2388040 2388047 2388072 2388073
	2388293 2388299 2388318 2388330 2494100 2494164 2494179 2593079 2593085 2593107 2593108 2593109`
	for _, field := range strings.Fields(listed) {
		code, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := lookup(code, 0); !ok || r.Code != code || Lookup(code) != r {
			t.Errorf("%d is not listed", code)
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
