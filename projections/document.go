package projections

import (
	"fmt"
	"time"

	"github.com/sendlog/sendlog/domain/message"
)

// instant is a time in a document: RFC 3339 in UTC with nine decimals, so
// that it comes back exactly and texts sort as times do.
type instant struct{ time.Time }

func at(t time.Time) instant { return instant{t.UTC()} }

// MarshalJSON implements json.Marshaler. The zero time, and years that RFC
// 3339 cannot hold, are written as "".
func (i instant) MarshalJSON() ([]byte, error) {
	if i.IsZero() || i.Year() < 0 || i.Year() > 9999 {
		return []byte(`""`), nil
	}
	text := append(make([]byte, 0, len(`"2006-01-02T15:04:05.000000000Z"`)), '"')
	text = i.UTC().AppendFormat(text, time.RFC3339) // the one layout that the library is quick with
	text[len(text)-1] = '.'
	for nanos, unit := i.Nanosecond(), 100_000_000; unit > 0; unit /= 10 {
		text = append(text, byte('0'+nanos/unit%10))
	}
	return append(text, 'Z', '"'), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (i *instant) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if len(b) < 2 || b[0] != '"' {
		return fmt.Errorf("time in a document is no text")
	}
	s := string(b[1 : len(b)-1]) // nothing in it is ever escaped
	if s == "" {
		*i = instant{}
		return nil
	}
	t, err := time.Parse(time.RFC3339, s) // which reads decimals as well
	if err != nil {
		return fmt.Errorf("time in a document: %w", err)
	}
	*i = instant{t}
	return nil
}

// personDoc is message.Person in a document.
type personDoc struct {
	Phone        string `json:"phone,omitempty"`
	UserID       string `json:"user_id,omitempty"`
	ParentID     string `json:"parent_user_id,omitempty"`
	Name         string `json:"name,omitempty"`
	Username     string `json:"username,omitempty"`
	FormerPhone  string `json:"former_phone,omitempty"`
	FormerUserID string `json:"former_user_id,omitempty"`
}

func person(p message.Person) personDoc {
	d := personDoc(p)
	d.Phone, d.FormerPhone = digits(p.Phone), digits(p.FormerPhone)
	return d
}
