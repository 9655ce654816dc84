package main

import (
	"reflect"
	"testing"
	"time"
)

// The record of a redrive is written and read in the form in which others have
// written it: what is in the log outlives this build.
func TestRedriveRecordKeepsItsForm(t *testing.T) {
	t.Parallel()
	const stored = `{"id":"redrive_1","by":"admin","ids":["msg_1","msg_2"],"filter":{"tenant":"ten_a","number":"1","code":131026,"reason":"refused",` +
		`"since":"2026-11-01T00:00:00Z","until":"2026-11-02T00:00:00Z","state":"dead"},"rate":20,"dry_run":true,"started_at":"2026-11-03T12:00:00Z",` +
		`"owner":"o","cancel":true,"state":"failed","error":"words","ended_at":"2026-11-03T13:00:00Z","counted":true,"after":{"value":9,"id":"msg_9"},` +
		`"until":{"value":7,"id":"msg_7"},"named":1,"per_second":12.5,"matched":4,"redriven":1,"in_doubt":1,"skipped":[{"reason":"r","count":2,"example":"msg_2"}],` +
		`"counts":[{"tenant":"ten_a","code":131026,"count":3},{"code":0,"count":1}]}`
	r, err := decodeRedrive([]byte(stored))
	if err != nil {
		t.Fatal(err)
	}
	for i, v := 0, reflect.ValueOf(r); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not among what is stored", v.Type().Field(i).Name)
		}
	}
	if left := r.view(20); left.InDoubt != 1 || left.ETA != 0 { // it has ended
		t.Errorf("viewed as %+v", left)
	}
	if r.done() != 3 || r.counts[letterKind{"ten_a", 131026}] != 3 || *r.filter().Code != 131026 || r.StartedAt != time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC) {
		t.Errorf("read as %+v", r)
	}
	if again, err := r.encode(); err != nil || string(again) != stored {
		t.Errorf("written as\n%s\n%v, want\n%s", again, err, stored)
	}
}

// A redrive says how long it will take by the lower of the pace it may go at and
// the pace it was seen to go at, whose beginning is too fast.
func TestRedriveTellsHowLong(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		measured, allowed float64
		want              time.Duration
	}{
		"nothing was measured":       {0, 2, 14 * time.Second},
		"its beginning":              {3.5, 2, 14 * time.Second},
		"the log is slower":          {1, 20, 28 * time.Second},
		"others have a part of that": {20, 7, 4 * time.Second},
	} {
		r := redriveRecord{State: redriveRunning, Counted: true, Rate: 20, Matched: 30, Redriven: 2, PerSecond: test.measured}
		if got := r.view(test.allowed).ETA; got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
