package logtest_test

import (
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/logtest"
)

// The in-memory log keeps the promises of the real one.
func TestMemory(t *testing.T) {
	t.Parallel()
	logtest.Run(t, "ten_a", func(*testing.T) domain.Log { return logtest.NewMemory() })
}
