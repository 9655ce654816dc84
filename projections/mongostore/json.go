package mongostore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/projections"
)

// toBSON turns a JSON document into fields, in its own order, under the _id.
func toBSON(id string, body json.RawMessage) (bson.D, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	value, err := readValue(dec)
	if err != nil {
		return nil, err
	}
	members, ok := value.(bson.D)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return append(bson.D{{Key: "_id", Value: id}}, members...), nil
}

// readValue reads one JSON value.
func readValue(dec *json.Decoder) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return nil, errors.New("a number is not an integer of 64 bits")
		}
		return n, nil
	case json.Delim:
		if v == '[' {
			list := bson.A{}
			for dec.More() {
				one, err := readValue(dec)
				if err != nil {
					return nil, err
				}
				list = append(list, one)
			}
			_, err := dec.Token()
			return list, err
		}
		object := bson.D{}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return nil, err
			}
			one, err := readValue(dec)
			if err != nil {
				return nil, err
			}
			object = append(object, bson.E{Key: fmt.Sprint(name), Value: one})
		}
		_, err := dec.Token()
		return object, err
	}
	return token, nil // text, true, false or null
}

// fromBSON turns fields back into the JSON document they were.
func fromBSON(raw bson.Raw) (projections.Doc, error) {
	elements, err := raw.Elements()
	if err != nil {
		return projections.Doc{}, err
	}
	var d projections.Doc
	members := elements[:0:0]
	for _, e := range elements {
		switch e.Key() {
		case "_id":
			d.ID, _ = e.Value().StringValueOK()
			continue
		case "last_position":
			last, _ := e.Value().AsInt64OK()
			d.Last = domain.Position(last)
		}
		members = append(members, e)
	}
	var b bytes.Buffer
	err = writeObject(&b, members)
	d.Body = b.Bytes()
	return d, err
}

func writeObject(b *bytes.Buffer, members []bson.RawElement) error {
	b.WriteByte('{')
	for i, e := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := writeText(b, e.Key()); err != nil {
			return err
		}
		b.WriteByte(':')
		if err := writeValue(b, e.Value()); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func writeValue(b *bytes.Buffer, v bson.RawValue) error {
	switch v.Type {
	case bson.TypeString:
		return writeText(b, v.StringValue())
	case bson.TypeInt64, bson.TypeInt32:
		b.WriteString(strconv.FormatInt(v.AsInt64(), 10))
	case bson.TypeBoolean:
		b.WriteString(strconv.FormatBool(v.Boolean()))
	case bson.TypeNull:
		b.WriteString("null")
	case bson.TypeEmbeddedDocument:
		members, err := v.Document().Elements()
		if err != nil {
			return err
		}
		return writeObject(b, members)
	case bson.TypeArray:
		values, err := v.Array().Values()
		if err != nil {
			return err
		}
		b.WriteByte('[')
		for i, one := range values {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeValue(b, one); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	default:
		return fmt.Errorf("a field of type %s is not one of ours", v.Type)
	}
	return nil
}

// writeText writes a JSON text as encoding/json does without HTML escaping,
// so that a document comes back byte for byte.
func writeText(b *bytes.Buffer, s string) error {
	text, err := domain.JSON(s)
	b.Write(text)
	return err
}
