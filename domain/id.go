package domain

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash/fnv"

	"github.com/google/uuid"
)

type (
	// TenantID names a tenant: "ten_" and 26 characters of [a-z2-7].
	TenantID string
	// NumberID is Meta's phone_number_id: opaque, and one token of a subject,
	// so it is held to [A-Za-z0-9_-] (see [ValidToken]).
	NumberID string
	// MessageID names a message: "msg_" (outgoing), "in_" (incoming) or
	// "echo_" (sent from the phone app), followed by 26 characters.
	MessageID string
	// EventID names an event everywhere it is seen: in the log (as Nats-Msg-Id
	// and as associated data of its sealed part), in timelines and in the live
	// feed.
	EventID string
)

// Lanes is the number of partitions of the log. A lane keeps the order of one
// business number and is owned by one worker at a time. It is part of every
// stored subject, so it can never change.
const Lanes = 16

// Lane returns the partition (0..Lanes-1) of a business number: FNV-1a32 of
// the phone_number_id modulo [Lanes], the same value JetStream's own
// partition() mapping gives.
func Lane(n NumberID) int {
	h := fnv.New32a()
	h.Write([]byte(n))
	return int(h.Sum32() % Lanes)
}

// ValidToken reports whether s may be one token of a subject: 1..64
// characters of [A-Za-z0-9_-].
func ValidToken(s string) bool {
	if s == "" || len(s) > MaxTokenLength {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// Digest returns 26 characters of [a-z2-7] that depend on all parts and on
// where each part ends: 130 bits of SHA-256, enough to be an identity.
func Digest(parts ...string) string {
	var room [256]byte // mostly enough
	all := room[:0]
	for _, p := range parts {
		all = binary.LittleEndian.AppendUint64(all, uint64(len(p)))
		all = append(all, p...)
	}
	sum := sha256.Sum256(all)
	return text26(sum[:17])
}

// text26 writes the first 130 bits of 17 bytes.
func text26(b []byte) string {
	var text [32]byte
	lower32.Encode(text[:], b)
	return string(text[:26])
}

var lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567")

// NewTenantID returns a fresh tenant id.
func NewTenantID() TenantID { return TenantID("ten_" + Digest("tenant", NewUUID())) }

// OutgoingID names the message a tenant asks for under an idempotency key: the
// same key always names the same message. Without a key every call names a new
// one.
func OutgoingID(t TenantID, idempotencyKey string) MessageID {
	if idempotencyKey == "" {
		return MessageID("msg_" + Digest("message", string(t), "unkeyed", NewUUID()))
	}
	return MessageID("msg_" + Digest("message", string(t), "key", idempotencyKey))
}

// NewEventID returns a fresh event id. Commands use fresh ids, so that two
// workers who write the same fact are told apart by the log.
func NewEventID() EventID {
	var random [17]byte
	_, _ = rand.Read(random[:]) // it never fails
	return EventID("evt_" + text26(random[:]))
}

// FactID returns the event id of something that happened elsewhere and may be
// reported again: the same parts always give the same id.
func FactID(parts ...string) EventID { return EventID("evt_" + Digest(parts...)) }

// NewUUID returns a UUIDv7 in its text form (RFC 9562 section 5.7).
func NewUUID() string { return uuid.Must(uuid.NewV7()).String() }
