package streams_test

import (
	"testing"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/logtest"
	"github.com/sendlog/sendlog/streams"
)

// The log keeps its promises on one node, fsynced and not.
func TestConformanceOneNode(t *testing.T) {
	t.Parallel()
	for _, d := range []streams.Durability{streams.Strict, streams.Interval} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			b := oneNode(t, d)
			logtest.Run(t, tenantA, func(*testing.T) domain.Log { return b.Events() })
		})
	}
}

// And on a real cluster of three, where the order of JetStream's checks and
// its conflict answers differ.
func TestConformanceThreeNodes(t *testing.T) {
	t.Parallel()
	b := threeNodes(t)
	logtest.Run(t, tenantA, func(*testing.T) domain.Log { return b.Events() })
}
