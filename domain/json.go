package domain

import (
	"bytes"
	"encoding/json"
	"sync"
)

// JSON is json.Marshal without HTML escaping: JSON of others inside v keeps its
// own bytes, and text stays as long as it is. Everything in the house that is
// stored, sent or answered is written by it.
func JSON(v any) (json.RawMessage, error) {
	w := writers.Get().(*writer)
	defer w.release()
	if err := w.enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.Clone(bytes.TrimSuffix(w.text.Bytes(), []byte("\n"))), nil
}

// writer is an encoder with its buffer, used again and again.
type writer struct {
	text bytes.Buffer
	enc  *json.Encoder
}

var writers = sync.Pool{New: func() any {
	w := &writer{}
	w.enc = json.NewEncoder(&w.text)
	w.enc.SetEscapeHTML(false)
	return w
}}

// keptWriter bounds the buffer that is kept for the next text (bytes).
const keptWriter = 16 << 10

func (w *writer) release() {
	if w.text.Cap() <= keptWriter {
		w.text.Reset()
		writers.Put(w)
	}
}
