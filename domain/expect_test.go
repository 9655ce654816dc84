package domain_test

import (
	"testing"

	"github.com/sendlog/sendlog/domain"
)

// An expectation says which position it wants, and whether it wants one.
func TestExpect(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		expect  domain.Expect
		last    domain.Position
		expects bool
	}{
		{"first", domain.First(), 0, true},
		{"after", domain.After(7), 7, true},
		{"any", domain.Any(), 0, false},
	} {
		if last, expects := test.expect.Sequence(); last != test.last || expects != test.expects {
			t.Errorf("%s: %d, %v", test.name, last, expects)
		}
	}
}

// A forgotten expectation is a bug that does not get as far as the log.
func TestZeroExpectPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("the zero Expect was taken")
		}
	}()
	domain.Expect{}.Sequence()
}
