package message_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// told is what every person has told.
type told struct {
	contact message.Contact
	err     error
}

func (s told) Contact(context.Context, domain.TenantID, domain.NumberID, string) (message.Contact, error) {
	return s.contact, s.err
}

// What a person told decides what is told against a message, on either side of
// each limit.
func TestWarnings(t *testing.T) {
	t.Parallel()
	const closes = 24*time.Hour - 5*time.Minute
	ago := func(d time.Duration) message.Contact { return message.Contact{WroteAt: start.Add(-d)} }
	template := func(r *message.Request) {
		r.Text, r.Content = "", []byte(`{"type":"template","template":{"name":"hello","language":{"code":"en"}}}`)
	}
	receipt := func(r *message.Request) {
		r.To, r.Text, r.Content = "", "", []byte(`{"status":"read","message_id":"wamid.1"}`)
	}
	tomorrow := func(r *message.Request) { r.SendAt = start.Add(23 * time.Hour).Format(time.RFC3339) }
	for name, test := range map[string]struct {
		said   message.Contact
		change func(*message.Request)
		want   []message.Warning
	}{
		"never wrote":                      {message.Contact{}, nil, []message.Warning{message.WindowClosed}},
		"wrote just now":                   {ago(0), nil, nil},
		"the window is about to close":     {ago(closes), nil, nil},
		"and is as good as closed":         {ago(closes + 1), nil, []message.Warning{message.WindowClosed}},
		"it will be closed then":           {ago(time.Hour), tomorrow, []message.Warning{message.WindowClosed}},
		"a template needs no window":       {message.Contact{}, template, nil},
		"a template to one who wants none": {message.Contact{OptedOut: true}, template, []message.Warning{message.OptedOut}},
		"an answer to one who wants none":  {message.Contact{OptedOut: true, WroteAt: start}, nil, nil},
		"a read receipt":                   {message.Contact{}, receipt, nil},
		"what Meta makes a template of":    {message.Contact{}, func(r *message.Request) { r.Content = []byte(`{"category":"utility"}`) }, nil},
	} {
		a, log := newAccepter()
		a.Contacts = told{contact: test.said}
		got, err := a.Accept(t.Context(), request(test.change))
		if err != nil || !slices.Equal(got.Warnings, test.want) {
			t.Errorf("%s: %v, %v; want %v", name, got.Warnings, err, test.want)
			continue
		}
		_, err = a.Accept(t.Context(), request(func(r *message.Request) {
			if test.change != nil {
				test.change(r)
			}
			r.EnforceWindow = true
		}))
		if want := len(test.want) > 0; (domain.KindOf(err) == domain.Unwelcome && err != nil) != want || err != nil && !want {
			t.Errorf("%s, enforced: %v", name, err)
		}
		if n := len(log.All()); n != 2-min(1, len(test.want)) {
			t.Errorf("%s: %d recorded", name, n)
		}
		for _, w := range got.Warnings {
			if w.Words() == string(w) {
				t.Errorf("%s has no words", w)
			}
		}
	}
}

// A repeat is told what the first request was told, whatever has become of the
// window; also when it would be refused by now.
func TestRepeatIsToldTheSame(t *testing.T) {
	t.Parallel()
	a, _ := newAccepter()
	ask := request(func(r *message.Request) { r.IdempotencyKey, r.EnforceWindow = "k", true })
	a.Contacts = told{contact: message.Contact{WroteAt: start}}
	first, err := a.Accept(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	a.Contacts = told{}
	again, err := a.Accept(t.Context(), ask)
	if err != nil || !again.Replayed || again.ID != first.ID || len(again.Warnings) != 0 {
		t.Errorf("%+v, %v", again, err)
	}
}

// While nobody can look it up a request is accepted without a warning, unless
// it asks to be refused.
func TestWindowThatCannotBeLookedUp(t *testing.T) {
	t.Parallel()
	a, log := newAccepter()
	a.Contacts = told{err: errors.New("away")}
	if got, err := a.Accept(t.Context(), request(nil)); err != nil || len(got.Warnings) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := a.Accept(t.Context(), request(func(r *message.Request) { r.EnforceWindow = true })); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("enforced: %v", err)
	}
	if n := len(log.All()); n != 1 {
		t.Errorf("%d recorded", n)
	}
}
