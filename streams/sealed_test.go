package streams_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/streams"
)

// spellings are the ways a secret could hide in stored bytes: plain, JSON,
// hex, and base64 at each of the three alignments.
func spellings(secret string) []string {
	h := hex.EncodeToString([]byte(secret))
	all := []string{secret, h, strings.ToUpper(h)}
	for shift := range 3 {
		coded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + secret))
		all = append(all, coded[4:len(coded)-4]) // without the ends, which depend on the neighbours
	}
	return all
}

// absent fails when stored bytes show a secret.
func absent(t *testing.T, stored []byte, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		for _, s := range spellings(secret) {
			if bytes.Contains(stored, []byte(s)) {
				t.Errorf("%q is stored as %q", secret, s)
			}
		}
	}
}

// The scanner finds a secret however it is spelled.
func TestScannerFindsSecrets(t *testing.T) {
	t.Parallel()
	const secret = "+14155550100 says hello"
	for _, prefix := range []string{"", "a", "ab", "abc"} {
		text := prefix + secret + "z"
		for _, hidden := range []string{text, base64.StdEncoding.EncodeToString([]byte(text)), hex.EncodeToString([]byte(text))} {
			found := false
			for _, s := range spellings(secret) {
				found = found || strings.Contains(hidden, s)
			}
			if !found {
				t.Errorf("not found in %q", hidden)
			}
		}
	}
}

// Nothing about people is in the stored bytes, the subjects or the headers of
// any kind of event; the log gives it back whole.
func TestStoredEventsHoldNothingPersonal(t *testing.T) {
	t.Parallel()
	const (
		phone = "+14155550100"
		words = "the secret words"
		wamid = "wamid.HBgLMTQxNTU1NTAxMDAVAgARGBI5"
		name  = "Ann Example-Person"
		idem  = "order-of-ann-example"
	)
	person := message.Person{Phone: phone[1:], Name: name, UserID: "US.bsuid-of-ann-example"}
	facts := map[domain.Key]domain.Fact{
		outgoing(number): &message.SendRequested{Type: "text", SendWords: message.SendWords{
			To: phone, Content: []byte(`{"body":"` + words + `"}`), IdempotencyKey: idem, Fingerprint: "fingerprint-of-ann"}},
		outgoing(number): &message.SendAccepted{Attempt: 1, AcceptNames: message.AcceptNames{Wamid: wamid, WaID: phone[1:]}},
		outgoing(number): &message.SendRefused{Attempt: 1, Provider: message.Provider{Raw: []byte(`{"to":"` + phone + `"}`)}},
		message.InboundKey(tenantA, number, message.InboundID(number, wamid, false)): &message.InboundReceived{
			InboundWords: message.InboundWords{Wamid: wamid, Person: person, Text: words, Raw: []byte(`{"body":"` + words + `"}`)}},
		message.StatusKey(tenantA, number): &message.StatusReceived{Status: "read",
			StatusNames: message.StatusNames{Wamid: wamid, Person: person, Raw: []byte(`{}`)}},
		message.AccountKey(tenantA, number): &message.AccountNotice{Field: "history",
			Notice: message.Notice{Raw: []byte(`{"text":"` + words + `"}`)}},
	}
	b := oneNode(t, streams.Interval)
	for k, f := range facts {
		e, err := domain.NewEvent(k, time.Now(), "test", f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Events().Append(t.Context(), e, domain.First()); err != nil {
			t.Fatal(err)
		}
	}
	absent(t, stored(t, b, "EVENTS"), phone, phone[1:], words, wamid, name, idem, person.UserID, "fingerprint-of-ann")
	for _, e := range read(t, b, 0, len(facts)) {
		want, err := domain.NewEvent(e.Key, e.At, "test", facts[e.Key])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(e.Personal, want.Personal) || len(e.Personal) == 0 {
			t.Errorf("%s came back with %s", e.Type, e.Personal)
		}
	}
}
