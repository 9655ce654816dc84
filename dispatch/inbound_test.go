package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/logtest"
	"github.com/sendlog/sendlog/domain/message"
)

// owners is a directory of two tenants.
type owners struct{}

func (owners) Owner(n domain.NumberID) (domain.TenantID, bool) {
	t, ok := map[domain.NumberID]domain.TenantID{"111": "ten_a", "222": "ten_b"}[n]
	return t, ok
}

func (owners) OwnersOfAccount(waba string) []domain.TenantID {
	return map[string][]domain.TenantID{"waba_a": {"ten_a"}}[waba]
}

// kept is a quarantine that remembers.
type kept struct {
	mu       sync.Mutex
	payloads map[string][][]byte // by reason
	err      error
}

func (k *kept) Keep(_ context.Context, reason string, payload []byte, _ time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.payloads == nil {
		k.payloads = map[string][][]byte{}
	}
	k.payloads[reason] = append(k.payloads[reason], payload)
	return k.err
}

func newInbox() (*Inbox, *logtest.Memory, *kept) {
	log, k := logtest.NewMemory(), &kept{}
	return &Inbox{Clock: domain.SystemClock{}, Logger: slog.New(slog.DiscardHandler), Meter: domain.NoMeter{},
		Owners: owners{}, Quarantine: k, Recorder: log}, log, k
}

func change(number, what string) string {
	return fmt.Sprintf(`{"field":"messages","value":{"messaging_product":"whatsapp","metadata":{"phone_number_id":%q},%s}}`, number, what)
}

func post(waba string, changes ...string) []byte {
	return fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":%q,"time":1795000800,"changes":[%s]}]}`, waba, strings.Join(changes, ","))
}

const hello = `"messages":[{"from":"14155550100","id":"wamid.1","timestamp":"1795435602","type":"text","text":{"body":"hi"}}]`

// Every change goes to the tenant of its own number, and to quarantine when
// nobody has that number, even inside an account we know.
func TestEachChangeFindsItsTenant(t *testing.T) {
	t.Parallel()
	inbox, log, q := newInbox()
	if err := inbox.Receive(t.Context(), post("waba_a", change("111", hello), change("222", hello), change("333", hello))); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range log.All() {
		got = append(got, string(e.Key.Tenant)+" "+string(e.Key.Number)+" "+e.Type)
	}
	if want := "ten_a 111 InboundReceived, ten_b 222 InboundReceived"; strings.Join(got, ", ") != want {
		t.Errorf("recorded %v, want %s", got, want)
	}
	if len(q.payloads[unknownNumber]) != 1 || len(q.payloads) != 1 {
		t.Errorf("quarantine holds %v", q.payloads)
	}
}

// A change without a number is routed by its account.
func TestAccountChangesFindTheirTenant(t *testing.T) {
	t.Parallel()
	inbox, log, q := newInbox()
	alert := `{"field":"account_alerts","value":{"entity_id":"1"}}`
	if err := inbox.Receive(t.Context(), post("waba_a", alert)); err != nil {
		t.Fatal(err)
	}
	if err := inbox.Receive(t.Context(), post("waba_x", alert)); err != nil {
		t.Fatal(err)
	}
	all := log.All()
	if len(all) != 1 || all[0].Key.Tenant != "ten_a" || all[0].Type != message.TypeAccountNotice || len(q.payloads[unknownAccount]) != 1 {
		t.Errorf("recorded %v, quarantine %v", all, q.payloads)
	}
}

// What is in quarantine can be received again, once its number has an owner,
// and becomes what it would have become at first.
func TestQuarantinedChangeCanBeReceivedAgain(t *testing.T) {
	t.Parallel()
	inbox, log, q := newInbox()
	if err := inbox.Receive(t.Context(), post("waba_x", change("333", hello))); err != nil {
		t.Fatal(err)
	}
	again := strings.ReplaceAll(string(q.payloads[unknownNumber][0]), `"333"`, `"111"`)
	if err := inbox.Receive(t.Context(), []byte(again)); err != nil {
		t.Fatal(err)
	}
	var f message.InboundReceived
	if all := log.All(); len(all) != 1 || all[0].Decode(&f) != nil || f.Wamid != "wamid.1" || f.Text != "hi" {
		t.Errorf("recorded %v, %+v", all, f)
	}
}

// The same body again records nothing new.
func TestRepeatedBodyRecordsNothingNew(t *testing.T) {
	t.Parallel()
	inbox, log, _ := newInbox()
	body := post("waba_a", change("111", hello), change("111",
		`"statuses":[{"id":"wamid.2","status":"sent","timestamp":"1795435602"},{"id":"wamid.2","status":"read","timestamp":"1795435603"}]`))
	for range 3 {
		if err := inbox.Receive(t.Context(), body); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(log.All()); n != 3 {
		t.Errorf("%d facts, want 3", n)
	}
}

// Callback data that names another tenant's message is not believed.
func TestForeignCallbackDataIsNotBelieved(t *testing.T) {
	t.Parallel()
	inbox, log, _ := newInbox()
	for _, tenant := range []domain.TenantID{"ten_a", "ten_b"} {
		opaque, err := cloudapi.FormatOpaque(tenant, "msg_x", 2)
		if err != nil {
			t.Fatal(err)
		}
		body := post("waba_a", change("111", fmt.Sprintf(
			`"statuses":[{"id":"wamid.%s","status":"sent","timestamp":"1795435602","biz_opaque_callback_data":%q}]`, tenant, opaque)))
		if err := inbox.Receive(t.Context(), body); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []domain.MessageID{"msg_x", ""} {
		var f message.StatusReceived
		if err := log.All()[i].Decode(&f); err != nil || f.Message != want {
			t.Errorf("status %d is of %q, want %q: %v", i, f.Message, want, err)
		}
	}
}

// What does not fit the log is kept whole, and the rest of the body recorded.
func TestTooLargeItemIsKept(t *testing.T) {
	t.Parallel()
	inbox, log, q := newInbox()
	big := `"messages":[{"from":"14155550100","id":"wamid.big","timestamp":"1795435602","type":"text","text":{"body":"` +
		strings.Repeat("x", domain.MaxEvent) + `"}}]`
	if err := inbox.Receive(t.Context(), post("waba_a", change("111", big), change("111", hello))); err != nil {
		t.Fatal(err)
	}
	if len(log.All()) != 1 || len(q.payloads[tooLarge]) != 1 || !strings.Contains(string(q.payloads[tooLarge][0]), "wamid.big") {
		t.Errorf("%d facts, %d kept", len(log.All()), len(q.payloads[tooLarge]))
	}
}

// Bytes that are no JSON are refused; JSON of no known shape is kept; and when
// keeping fails the provider is asked to send again.
func TestUnknownShapes(t *testing.T) {
	t.Parallel()
	inbox, _, q := newInbox()
	for _, body := range []string{"", "hello", `{"entry":[`} {
		if err := inbox.Receive(t.Context(), []byte(body)); domain.KindOf(err) != domain.Malformed {
			t.Errorf("%q: %v", body, err)
		}
	}
	if err := inbox.Receive(t.Context(), []byte(`{"object":"page","change":1}`)); err != nil || len(q.payloads[unknownShape]) != 1 {
		t.Errorf("kept %v, %v", q.payloads, err)
	}
	q.err = domain.Errorf(domain.Unavailable, errors.New("away"), "try again")
	if err := inbox.Receive(t.Context(), post("waba_x", change("333", hello))); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("keeping failed: %v", err)
	}
}

// A simulated send is accepted, and its statuses are recorded before the
// answer is known.
func TestSimulatedSendReportsItself(t *testing.T) {
	t.Parallel()
	inbox, log, _ := newInbox()
	meta := &scripted{}
	p := &Providers{Inbox: inbox, Logger: slog.New(slog.DiscardHandler), Meta: meta}
	call := cloudapi.Call{Tenant: "ten_a", Number: "111", Token: "mock_x", To: "+919xxxxxxxxx", Message: "msg_x", Attempt: 1,
		Content: []byte(`{"type":"text","text":{"body":"hi"}}`)}
	o := p.Send(t.Context(), call)
	var words []string
	for _, e := range log.All() {
		var f message.StatusReceived
		if err := e.Decode(&f); err != nil || f.Message != "msg_x" || f.Wamid != o.Wamid {
			t.Errorf("status %+v, %v", f, err)
		}
		words = append(words, f.Status)
	}
	if o.Kind != cloudapi.Accepted || strings.Join(words, " ") != "sent delivered read" || len(meta.made()) != 0 {
		t.Errorf("outcome %v, statuses %v, %d calls", o, words, len(meta.made()))
	}
	call.Token = "EAA"
	p.Send(t.Context(), call)
	if len(meta.made()) != 1 {
		t.Error("a real token did not reach Meta")
	}
}
