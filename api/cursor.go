package api

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
)

// cursors seals what a port wants back to continue a list. A cursor reveals
// nothing, cannot be made up, and opens only for the list it was given for:
// the same route, tenant and filters.
type cursors struct{ aead cipher.AEAD }

// cursorVersion is bound into every cursor. A new layout gets a new one, and
// old cursors become invalid rather than misread.
const cursorVersion = "sendlog cursor 1"

// maxCursor bounds a cursor on the wire (characters): the longest Next with
// nonce (12 bytes) and tag (16 bytes), in base64.
const maxCursor = (maxNext + 12 + 16 + 2) / 3 * 4

// newCursors panics unless key has 32 bytes; New has checked that.
func newCursors(key []byte) cursors {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("api: " + err.Error())
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("api: " + err.Error())
	}
	return cursors{aead}
}

var cursorText = base64.RawURLEncoding.Strict()

// seal makes a cursor of next, bound to a list.
func (c cursors) seal(next string, list ...string) string {
	return cursorText.EncodeToString(c.aead.Seal(nil, nil, []byte(next), binding(list)))
}

// open returns what seal was given. ok is false for anything else.
func (c cursors) open(cursor string, list ...string) (next string, ok bool) {
	if len(cursor) > maxCursor {
		return "", false
	}
	sealed, err := cursorText.DecodeString(cursor)
	if err != nil {
		return "", false
	}
	plain, err := c.aead.Open(nil, nil, sealed, binding(list))
	return string(plain), err == nil
}

// binding is the associated data of a cursor: all parts with their lengths,
// so that no two lists share it.
func binding(list []string) []byte {
	b := []byte(cursorVersion)
	for _, part := range list {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}
