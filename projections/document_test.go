package projections

import (
	"encoding/json"
	"testing"
	"time"
)

// A time is written with nine decimals in UTC, whatever they are, and read as
// it was.
func TestInstant(t *testing.T) {
	t.Parallel()
	east := time.FixedZone("east", 5*3600+1800)
	for _, when := range []time.Time{
		{}, time.Unix(0, 0), time.Unix(1795714200, 1), time.Unix(1795714200, 999_999_999), time.Unix(1795714200, 120_000_000).In(east),
		time.Date(0, 1, 1, 0, 0, 0, 5, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("west", -3600)), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		want := `"` + when.UTC().Format("2006-01-02T15:04:05.000000000Z") + `"`
		if u := when.UTC(); u.IsZero() || u.Year() < 0 || u.Year() > 9999 {
			want = `""`
		}
		got, err := json.Marshal(at(when))
		if err != nil || string(got) != want {
			t.Errorf("%s is written as %s (%v), want %s", when, got, err, want)
		}
		var back instant
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatal(err)
		}
		if want != `""` && (!back.Equal(when) || back.Location() != time.UTC) || want == `""` && !back.IsZero() {
			t.Errorf("%s is read as %s", got, back)
		}
	}
	for _, broken := range []string{`7`, `"yesterday"`, `{}`} {
		var back instant
		if err := json.Unmarshal([]byte(broken), &back); err == nil {
			t.Errorf("%s is read as %s", broken, back)
		}
	}
}
