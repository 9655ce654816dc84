package streams_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/streams"
)

// The lane of a number is what JetStream's own partition() says of it, so a
// mapping in a server and this code never disagree.
func TestLaneIsJetStreamsPartition(t *testing.T) {
	t.Parallel()
	b := oneNode(t, streams.Interval)
	js := b.JetStream()
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "PARTITIONS", Subjects: []string{"number.*"},
		SubjectTransform: &jetstream.SubjectTransformConfig{
			Source: "number.*", Destination: fmt.Sprintf("lane.{{partition(%d,1)}}.{{wildcard(1)}}", domain.Lanes)}})
	if err != nil {
		t.Fatal(err)
	}
	numbers := []domain.NumberID{"0", "a", "b", "foobar", "106540352242922", "109876543210987", "PHONE_ID-1"}
	for i := range 100 {
		numbers = append(numbers, domain.NumberID(fmt.Sprint(106540352240000+i*7919)))
	}
	for _, n := range numbers {
		ack, err := js.Publish(t.Context(), "number."+string(n), nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.GetMsg(t.Context(), ack.Sequence)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("lane.%d.%s", domain.Lane(n), n); m.Subject != want {
			t.Errorf("JetStream says %s, Lane says %s", m.Subject, want)
		}
	}
}
