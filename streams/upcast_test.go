package streams

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sendlog/sendlog/domain"
)

// greetings is a type as it may grow: first its greeting had another name, then
// the name it greets stood among the facts.
var greetings = upcasts{
	{"Greeted", 1}: func(facts, personal json.RawMessage) (json.RawMessage, json.RawMessage, error) {
		var old struct {
			Word string `json:"word"`
			Name string `json:"name"`
		}
		if err := json.Unmarshal(facts, &old); err != nil {
			return nil, nil, err
		}
		next, err := json.Marshal(map[string]string{"greeting": old.Word, "name": old.Name})
		return next, personal, err
	},
	{"Greeted", 2}: func(facts, _ json.RawMessage) (json.RawMessage, json.RawMessage, error) {
		var old map[string]string
		if err := json.Unmarshal(facts, &old); err != nil {
			return nil, nil, err
		}
		return json.RawMessage(fmt.Sprintf(`{"greeting":%q}`, old["greeting"])), json.RawMessage(fmt.Sprintf(`{"name":%q}`, old["name"])), nil
	},
}

// until returns the steps a build knew whose newest version was another.
func (u upcasts) until(newest int) upcasts {
	known := upcasts{}
	for at, step := range u {
		if at.Version < newest {
			known[at] = step
		}
	}
	return known
}

// An event written in any version of its type is read as what it says in the
// newest, by files that the builds of then wrote.
func TestUpcast(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "upcast", "v*.json"))
	if err != nil || len(files) != 3 {
		t.Fatalf("golden files %v, %v", files, err)
	}
	for i, path := range files {
		g := readGolden(t, path)
		c := goldenCodec(t, g.DataKey)
		c.history = greetings
		e, err := c.decode(g.Subject, 7, g.Stored)
		if err != nil || e.Version != 3 || string(compact(t, e.Facts)) != `{"greeting":"good day"}` || string(e.Personal) != `{"name":"Ada"}` {
			t.Errorf("%s is read as version %d %s %s, %v", path, e.Version, e.Facts, e.Personal, err)
		}
		// The build that wrote it still reads it as it was, and an older one says
		// what to do.
		c.history = greetings.until(i + 1)
		if e, err = c.decode(g.Subject, 7, g.Stored); err != nil || e.Version != i+1 || !bytes.Equal(compact(t, e.Facts), compact(t, g.Facts)) {
			t.Errorf("%s was read as version %d %s, %v", path, e.Version, e.Facts, err)
		}
		if i == 0 {
			continue
		}
		c.history = greetings.until(i)
		if _, err := c.decode(g.Subject, 7, g.Stored); !errors.Is(err, errUndecodable) ||
			!strings.Contains(err.Error(), fmt.Sprintf("Greeted has version %d, this build reads up to %d: a newer build wrote it", i+1, i)) {
			t.Errorf("%s, read by an older build: %v", path, err)
		}
	}
}

// A step that fails, and a version that never was, are no event; an event is
// written in the newest version only.
func TestUpcastRefuses(t *testing.T) {
	t.Parallel()
	c := newCodec(t)
	c.history = greetings
	e, subject := sample()
	e.Type, e.Version = "Greeted", 3
	e.Facts, e.Personal = []byte(`{"greeting":"hi"}`), []byte(`{"name":"Ada"}`)
	data, err := c.encode(e)
	if err != nil {
		t.Fatal(err)
	}
	for name, stored := range map[string]string{
		"facts no step understands": strings.Replace(strings.Replace(string(data), `"v":3`, `"v":2`, 1), `"facts":{"greeting":"hi"}`, `"facts":[]`, 1),
		"a version before all":      strings.Replace(string(data), `"v":3`, `"v":0`, 1),
		"a version to come":         strings.Replace(string(data), `"v":3`, `"v":4`, 1),
	} {
		if _, err := c.decode(subject, 7, []byte(stored)); !errors.Is(err, errUndecodable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, version := range []int{0, 2, 4} {
		e.Version = version
		if _, err := c.encode(e); domain.KindOf(err) != domain.Bug {
			t.Errorf("written in version %d: %v", version, err)
		}
	}
}
