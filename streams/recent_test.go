package streams

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendlog/sendlog/domain"
)

// What is answered from memory is what opening the stored bytes answers, for
// any event; and other bytes are opened.
func TestRecentAnswersAsOpening(t *testing.T) {
	t.Parallel()
	c := newCodec(t)
	rapid.Check(t, func(t *rapid.T) {
		var r recent
		e, subject := sample()
		e.At = time.Now().UTC() // with a reading of this process's clock
		e.Facts, e.Personal = draw(t, "facts"), []byte{}
		if rapid.Bool().Draw(t, "personal?") {
			e.Personal = draw(t, "personal")
		}
		data, err := c.encode(e)
		if err != nil {
			t.Fatal(err)
		}
		r.wrote(subject, 9, data, e)
		want, err := c.decode(subject, 9, data)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := r.find(subject, 9, data); !ok || !reflect.DeepEqual(got, want.Shared()) {
			t.Fatalf("remembered: %v as\n%+v\nstored as\n%+v", ok, got, want)
		}
		data = append(data, ' ')
		if _, ok := r.find(subject, 9, data); ok {
			t.Fatal("other bytes were taken for the same event")
		}
		if _, ok := r.find(subject+"x", 9, data[:len(data)-1]); ok {
			t.Fatal("an event was found under another subject")
		}
	})
}

// Events that are rewritten in another spelling, large ones and older ones in a
// newer one's place are not remembered.
func TestRecentForgets(t *testing.T) {
	t.Parallel()
	e, subject := sample()
	var r recent
	data := []byte(`{"facts":{"type": "spelled anew"}}`)
	r.wrote(subject, 9, data, e)
	if _, ok := r.find(subject, 9, data); ok {
		t.Error("an event was remembered otherwise than it is stored")
	}
	local := e
	local.At = e.At.In(time.FixedZone("elsewhere", 3600))
	r.wrote(subject, 9, e.Facts, local)
	if _, ok := r.find(subject, 9, e.Facts); ok {
		t.Error("an event was remembered in another time zone than it is stored")
	}
	large := append(make([]byte, recentSize), e.Facts...)
	r.wrote(subject, 9, large, e)
	if _, ok := r.find(subject, 9, large); ok {
		t.Error("a large event was remembered")
	}
	r.wrote(subject, 9+recentEvents, e.Facts, e)
	r.wrote(subject, 9, e.Facts, e)
	if _, ok := r.find(subject, 9, e.Facts); ok {
		t.Error("an older event took the place of a newer one")
	}
	if got, ok := r.find(subject, 9+recentEvents, e.Facts); !ok || got.Position != domain.Position(9+recentEvents) {
		t.Errorf("the newer one is gone: %v", got)
	}
}
