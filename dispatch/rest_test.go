package dispatch

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain/message"
)

// A number that Meta lets rest is in the log, once, by its id; whom it wrote to
// is not.
func TestRestIsLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var lines lockedText
	w.d.Logger = slog.New(slog.NewTextHandler(&lines, nil))
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		if c.Attempt < 3 {
			return cloudapi.Outcome{Kind: cloudapi.Refused, Code: 80007, Class: cloudapi.Retry, Retry: true, Brake: cloudapi.BrakeRest, Wait: time.Millisecond}
		}
		return accepted(c)
	})
	k := w.ask(tenantA, number, "+14155550100", aText, message.Options{})
	w.run(w.d)
	w.await(k, message.TypeSendAccepted)
	said := lines.String()
	if strings.Count(said, "a number rests") != 1 || !strings.Contains(said, "number_id="+string(number)) || !strings.Contains(said, "code=80007") ||
		!strings.Contains(said, "level=WARN") || strings.Contains(said, "4155550100") {
		t.Errorf("logged %s", said)
	}
}

// lockedText keeps what is logged.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
