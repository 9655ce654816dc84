package tenant

import (
	"time"

	"github.com/sendlog/sendlog/domain"
)

// Entry is one event of the journal as it is shown: who did what, when. No
// secret is in it, sealed or not.
type Entry struct {
	ID       domain.EventID
	Position domain.Position // in the journal of tenants
	At       time.Time
	Type     string
	Actor    string

	// What it is about; a field that does not apply is empty.
	Number    domain.NumberID
	Numbers   []domain.NumberID // of a block, or of its end
	WABA      string
	Simulated bool
	KeyID     string
	Scopes    Scopes
	Test      bool
	ExpiresAt time.Time
	Reason    string
	Quota     *Quota
	Block     *Block
	Causes    []Cause // of the blocks that ended
	Sending   *Sending
	PerSecond int
}

// Audit returns an event of the journal as an entry of the audit trail.
func Audit(e domain.Event) (Entry, error) {
	out := Entry{ID: e.ID, Position: e.Position, At: e.At, Type: e.Type, Actor: e.Actor}
	var err error
	switch e.Type {
	case TypeRegistered:
		var f Registered
		err = e.Decode(&f)
		out.Number, out.WABA, out.Simulated, out.KeyID, out.Scopes = f.Number, f.WABA, f.Simulated, f.KeyID, AllScopes
	case TypeNumberAdded:
		var f NumberAdded
		err = e.Decode(&f)
		out.Number, out.WABA, out.Simulated = f.Number, f.WABA, f.Simulated
	case TypeTokenSealed:
		var f TokenSealed
		err = e.Decode(&f)
		out.Number, out.Simulated = f.Number, f.Simulated
	case TypeKeyIssued:
		var f KeyIssued
		err = e.Decode(&f)
		out.KeyID, out.Scopes, out.Test, out.ExpiresAt = f.KeyID, f.Scopes, f.Test, f.ExpiresAt
	case TypeKeyRevoked:
		var f KeyRevoked
		err = e.Decode(&f)
		out.KeyID = f.KeyID
	case TypeQuotaSet:
		var f QuotaSet
		err = e.Decode(&f)
		q := Quota(f)
		out.Quota = &q
	case TypePaused:
		var f Paused
		err = e.Decode(&f)
		out.Number, out.Reason = f.Number, f.Reason
	case TypeResumed:
		var f Resumed
		err = e.Decode(&f)
		out.Number, out.Reason = f.Number, f.Reason
	case TypeNumberBlocked:
		var f NumberBlocked
		err = e.Decode(&f)
		out.Numbers, out.Reason, out.Block = f.Numbers, f.Reason, &f.Block
	case TypeNumberUnblocked:
		var f NumberUnblocked
		err = e.Decode(&f)
		out.Numbers, out.Reason, out.Causes = f.Numbers, f.Reason, f.Causes
	case TypeSendingSet:
		var f SendingSet
		err = e.Decode(&f)
		s := Sending(f)
		out.Sending = &s
	case TypeNumberPaced:
		var f NumberPaced
		err = e.Decode(&f)
		out.Number, out.PerSecond = f.Number, f.PerSecond
	case TypeDataKeyRewrapped: // its type says all that may be said
	default:
		return Entry{}, domain.Errorf(domain.Bug, nil, "the journal holds an event this build does not know: %s", e.Type)
	}
	return out, err
}
