package domain_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sendlog/sendlog/domain"
)

// The kind of an error survives wrapping; an error nobody gave a kind is a bug.
func TestKindOf(t *testing.T) {
	t.Parallel()
	taken := domain.Errorf(domain.Taken, nil, "the number is taken")
	for err, want := range map[error]domain.ErrKind{
		taken:                               domain.Taken,
		fmt.Errorf("register: %w", taken):   domain.Taken,
		errors.Join(errors.New("x"), taken): domain.Taken,
		errors.New("surprise"):              domain.Bug,
		domain.Errorf(domain.Unavailable, taken, "the log is away"): domain.Unavailable, // the outermost decides
	} {
		if got := domain.KindOf(err); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}

// The cause is for the operator: the tenant's sentence does not contain it.
func TestErrorKeepsItsCauseFromTheTenant(t *testing.T) {
	t.Parallel()
	cause := errors.New("dial tcp 10.0.0.7: refused")
	err := domain.Errorf(domain.Unavailable, cause, "the log of %s is away", "ten_a")
	if err.Message != "the log of ten_a is away" {
		t.Errorf("message %q", err.Message)
	}
	if err.Error() != "the log of ten_a is away: dial tcp 10.0.0.7: refused" || !errors.Is(err, cause) {
		t.Errorf("error %q", err)
	}
}
