package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// reactor remembers what the inbox made it do, in words.
type reactor struct{ did []string }

func (r *reactor) Block(_ context.Context, w tenant.BlockWish) ([]domain.NumberID, error) {
	where := "number " + string(w.Number)
	if w.Number == "" {
		where = "account " + w.WABA
	} else if w.Account {
		where += " and its account"
	}
	until := ""
	if !w.Block.Until.IsZero() {
		until = fmt.Sprint(" until ", w.Block.Until.Unix())
	}
	r.did = append(r.did, fmt.Sprintf("%s blocks %s by %s%s %d%s at %d", w.Tenant, where, w.Block.Cause, until, w.Block.Code, w.Block.Event, w.Block.Told.Unix()))
	return nil, nil
}

func (r *reactor) Unblock(_ context.Context, w tenant.UnblockWish) error {
	r.did = append(r.did, fmt.Sprintf("%s ends %v of account %s at %d", w.Tenant, w.Causes, w.WABA, w.Told.Unix()))
	return nil
}

func (r *reactor) Pace(_ context.Context, w tenant.PaceWish) (tenant.View, error) {
	r.did = append(r.did, fmt.Sprintf("%s paces %s to %d, learnt %t", w.Tenant, w.Number, w.PerSecond, w.Learnt))
	return tenant.View{}, nil
}

func (r *reactor) Learn(_ context.Context, t domain.TenantID, waba string) {
	r.did = append(r.did, fmt.Sprintf("%s asks about account %s", t, waba))
}

// everybody owns every number and account.
type everybody struct{}

func (everybody) Owner(domain.NumberID) (domain.TenantID, bool) { return "ten_a", true }
func (everybody) OwnersOfAccount(string) []domain.TenantID      { return []domain.TenantID{"ten_a"} }

// later is a clock that stands after the time of every fixture.
type later struct{ domain.SystemClock }

func (later) Now() time.Time { return time.Unix(1_799_000_000, 0) }

// What each webhook of Meta makes us do: most do nothing, and those that say
// that an account cannot send, or can again, change what is sent.
func TestReactions(t *testing.T) {
	t.Parallel()
	want := map[string][]string{
		"account_deleted.json":                 {"ten_a blocks account 771209334881120 by access 0ACCOUNT_DELETED at 1795521844"},
		"account_disabled.json":                {"ten_a blocks account 102290129340398 by account 0DISABLED_UPDATE at 1795000920"},
		"account_offboarded.json":              {"ten_a blocks account 351902284467713 by access 0ACCOUNT_OFFBOARDED at 1795521842"},
		"account_partner_app_uninstalled.json": {"ten_a blocks account 184943124712545 by access 0PARTNER_APP_UNINSTALLED at 1795000910"},
		"account_partner_removed.json":         {"ten_a blocks account 980198427658004 by access 0PARTNER_REMOVED at 1795000900"},
		"account_reconnected.json":             {"ten_a ends [access] of account 351902284467713 at 1795521843"},
		"account_restriction.json":             {"ten_a blocks account 102290129340398 by templates until 1795605600 0ACCOUNT_RESTRICTION at 1795000930"},
		"history_chunk.json":                   {"ten_a paces 287740991004455 to 20, learnt true"},
		"history_declined.json":                {"ten_a paces 287740991004455 to 20, learnt true"},
		"phone_number_quality_throughput.json": {"ten_a asks about account 102290129340398"},
		"smb_app_state_sync.json":              {"ten_a paces 287740991004455 to 20, learnt true"},
		"smb_message_echo_text.json":           {"ten_a paces 287740991004455 to 20, learnt true"},

		"disabled soon.json":        nil,
		"reinstated.json":           {"ten_a ends [account] of account waba_a at 1795000800"},
		"restricted.json":           {"ten_a blocks account waba_a by templates until 1795605600 0ACCOUNT_RESTRICTION at 1795000800", "ten_a blocks account waba_a by restriction 0ACCOUNT_RESTRICTION at 1795000800"},
		"payment.json":              {"ten_a blocks number 111 and its account by account 131042 at 1795435710"},
		"spam.json":                 {"ten_a blocks number 111 by templates 131048 at 1795435710"},
		"limit of a person.json":    nil,
		"failed, no reason.json":    nil,
		"payment, delivered.json":   nil,
		"locked, no message.json":   {"ten_a blocks number 111 and its account by account 131031 at 1795000800"},
		"too fast, no message.json": nil,
	}
	update := func(value string) []byte { return post("waba_a", `{"field":"account_update","value":`+value+`}`) }
	failed := func(status string, code int) []byte {
		return post("waba_a", change("111", fmt.Sprintf(`"statuses":[{"id":"wamid.1","status":%q,"timestamp":"1795435710","recipient_id":"14155550100","errors":[{"code":%d}]}]`, status, code)))
	}
	bodies := map[string][]byte{
		"disabled soon.json": update(`{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":"SCHEDULE_FOR_DISABLE"}}`),
		"reinstated.json":    update(`{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":"REINSTATE"}}`),
		"restricted.json": update(`{"event":"ACCOUNT_RESTRICTION","restriction_info":[{"restriction_type":"RESTRICTED_BIZ_INITIATED_MESSAGING","expiration":1795605600},
			{"restriction_type":"RESTRICTED_CUSTOMER_INITIATED_MESSAGING"}]}`),
		"payment.json":              failed("failed", 131042),
		"spam.json":                 failed("failed", 131048),
		"limit of a person.json":    failed("failed", 131049),
		"failed, no reason.json":    post("waba_a", change("111", `"statuses":[{"id":"wamid.1","status":"failed","timestamp":"1795435710"}]`)),
		"payment, delivered.json":   failed("delivered", 131042),
		"locked, no message.json":   post("waba_a", change("111", `"errors":[{"code":131031}]`)),
		"too fast, no message.json": post("waba_a", change("111", `"errors":[{"code":130429}]`)),
	}
	files, err := filepath.Glob("cloudapi/testdata/webhooks/*.json")
	if err != nil || len(files) < 70 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	for _, f := range files {
		if bodies[filepath.Base(f)], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	for name := range want {
		if bodies[name] == nil {
			t.Errorf("%s is no webhook", name)
		}
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inbox, log, _ := newInbox()
			did := &reactor{}
			inbox.Clock = later{}
			inbox.Owners, inbox.Breaker, inbox.Paces, inbox.Throughput = everybody{}, did, did, did
			if err := inbox.Receive(t.Context(), body); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(did.did, want[name]) {
				t.Errorf("did %q, want %q", did.did, want[name])
			}
			if len(did.did) > 0 && len(log.All()) == 0 {
				t.Error("it did so without a fact")
			}
		})
	}
}

// lostJournal is away.
type lostJournal struct{ reactor }

func (*lostJournal) Block(context.Context, tenant.BlockWish) ([]domain.NumberID, error) {
	return nil, domain.Errorf(domain.Unavailable, nil, "away")
}

// A webhook whose consequences cannot be recorded is not confirmed: Meta tells
// it again, and the facts of it are recorded once.
func TestReactionIsNotLost(t *testing.T) {
	t.Parallel()
	inbox, log, _ := newInbox()
	inbox.Breaker = &lostJournal{}
	body := post("waba_a", `{"field":"account_update","value":{"event":"PARTNER_REMOVED"}}`)
	if err := inbox.Receive(t.Context(), body); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("got %v", err)
	}
	did := &reactor{}
	inbox.Breaker = did
	if err := inbox.Receive(t.Context(), body); err != nil || len(did.did) != 1 || len(log.All()) != 1 {
		t.Errorf("%v, did %v, %d facts", err, did.did, len(log.All()))
	}
}

// partners share the account waba_a.
type partners struct{ owners }

func (partners) OwnersOfAccount(string) []domain.TenantID { return []domain.TenantID{"ten_a", "ten_b"} }

// What is said of an account that several tenants have numbers in stops all of
// them, and is recorded once; what is said of a number stops its tenant only.
func TestSharedAccount(t *testing.T) {
	t.Parallel()
	inbox, log, _ := newInbox()
	did := &reactor{}
	inbox.Owners, inbox.Breaker = partners{}, did
	const failed = `"statuses":[{"id":"wamid.1","status":"failed","timestamp":"1795435602","recipient_id":"14155550100","errors":[{"code":131042,"title":"payment"}]}]`
	for _, c := range []struct {
		change string
		want   []string
	}{
		{`{"field":"account_update","value":{"event":"PARTNER_REMOVED"}}`, []string{"ten_a blocks account waba_a", "ten_b blocks account waba_a"}},
		{change("222", failed), []string{"ten_b blocks number 222"}},
	} {
		before := len(log.All())
		did.did = nil
		if err := inbox.Receive(t.Context(), post("waba_a", c.change)); err != nil {
			t.Fatal(err)
		}
		if len(did.did) != len(c.want) || len(log.All()) != before+1 {
			t.Fatalf("did %q and recorded %d facts, want %q and one", did.did, len(log.All())-before, c.want)
		}
		for i, want := range c.want {
			if !strings.HasPrefix(did.did[i], want) {
				t.Errorf("did %q, want %q", did.did[i], want)
			}
		}
	}
}

// A notice that does not say when it was said, or names the future, counts as
// said now.
func TestNoticeWithoutTime(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]any{"no time": nil, "a time to come": time.Now().Add(time.Hour).Unix()} {
		t.Run(name, func(t *testing.T) { t.Parallel(); noticeIsOfNow(t, at) })
	}
}

func noticeIsOfNow(t *testing.T, at any) {
	inbox, _, _ := newInbox()
	j := &journal{directory: tenant.NewDirectory()}
	j.record(t, "ten_a", &tenant.Registered{Name: "A", Number: "111", WABA: "waba_a"})
	r := &tenant.Registry{Directory: j.directory, Journal: j, Clock: domain.SystemClock{}}
	inbox.Breaker = r
	before := time.Now()
	body, err := json.Marshal(map[string]any{"entry": []any{map[string]any{"id": "waba_a", "time": at, "changes": []any{
		map[string]any{"field": "account_update", "value": map[string]any{"event": "ACCOUNT_DELETED"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := inbox.Receive(t.Context(), body); err != nil {
		t.Fatal(err)
	}
	v, _ := j.directory.Get("ten_a")
	if b := v.Numbers[0].Blocks; len(b) != 1 || b[0].Told.Before(before) || b[0].Told.After(time.Now()) {
		t.Errorf("blocks %+v", b)
	}
}

// Whatever tells that a number cannot send, its log line is the same, and there
// is one for each number of which that is news.
func TestStopByWebhookIsLogged(t *testing.T) {
	t.Parallel()
	inbox, _, _ := newInbox()
	j := &journal{directory: tenant.NewDirectory()}
	j.record(t, "ten_a", &tenant.Registered{Name: "A", Number: "111", WABA: "waba_a"})
	j.record(t, "ten_a", &tenant.NumberAdded{Number: "112", WABA: "waba_a"})
	j.record(t, "ten_a", &tenant.NumberAdded{Number: "113"})
	inbox.Breaker = &tenant.Registry{Directory: j.directory, Journal: j, Clock: domain.SystemClock{}}
	for _, c := range []struct {
		body []byte
		want []string
	}{
		{post("waba_a", change("111", `"statuses":[{"id":"wamid.1","status":"failed","timestamp":"1795435710","recipient_id":"14155550100","errors":[{"code":131042}]}]`)),
			[]string{"number_id=111 code=131042 event=\"\" reason=account", "number_id=112 code=131042 event=\"\" reason=account"}},
		{post("waba_a", `{"field":"account_update","value":{"event":"PARTNER_REMOVED"}}`),
			[]string{"number_id=111 code=0 event=PARTNER_REMOVED reason=access", "number_id=112 code=0 event=PARTNER_REMOVED reason=access"}},
		{post("waba_a", change("111", hello)), nil},
	} {
		for _, want := range [][]string{c.want, nil} { // told again it is no news
			var lines bytes.Buffer
			inbox.Logger = slog.New(slog.NewTextHandler(&lines, nil))
			if err := inbox.Receive(t.Context(), c.body); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(lines.String(), "\n"); n != len(want) {
				t.Errorf("%d lines, want %d: %s", n, len(want), &lines)
			}
			for _, words := range want {
				if !strings.Contains(lines.String(), `msg="dispatch: number stopped" tenant=ten_a `+words+"\n") {
					t.Errorf("no line with %s: %s", words, &lines)
				}
			}
		}
	}
}
