package domain

import (
	"bytes"
	"encoding/json"
)

// JSON is json.Marshal without HTML escaping: JSON of others inside v keeps its
// own bytes, and text stays as long as it is. Everything in the house that is
// stored, sent or answered is written by it.
func JSON(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
