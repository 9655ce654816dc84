package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
	"github.com/sendlog/sendlog/domain/tenant"
)

const (
	tenantB domain.TenantID = "ten_b"
	numberB domain.NumberID = "109876543210987"
)

// journal is the journal of tenants in memory.
type journal struct {
	directory *tenant.Directory

	mu sync.Mutex
	at domain.Position
}

func (j *journal) Append(_ context.Context, e domain.Event, after domain.Position) (domain.Position, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.at != after {
		return 0, domain.ErrConflict
	}
	j.at++
	e.Position = j.at
	return j.at, j.directory.Apply(e)
}

// record records a fact about a tenant.
func (j *journal) record(t *testing.T, id domain.TenantID, f domain.Fact) {
	t.Helper()
	e, err := domain.NewEvent(tenant.Key(id), time.Now(), "test", f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), e, j.directory.Position()); err != nil {
		t.Fatal(err)
	}
}

// withTenants gives a world's dispatcher the real directory, with one number of
// tenant A and one of B.
func (w *world) withTenants() (*tenant.Registry, *journal) {
	w.t.Helper()
	d := tenant.NewDirectory()
	j := &journal{directory: d}
	j.record(w.t, tenantA, &tenant.Registered{Name: "A", Number: number, WABA: "waba_a"})
	j.record(w.t, tenantB, &tenant.Registered{Name: "B", Number: numberB})
	r := &tenant.Registry{Directory: d, Journal: j, Clock: domain.SystemClock{}}
	w.d.Breaker, w.d.Gate, w.d.Settings = r, d, d
	return r, j
}

// ask records a tenant's wish to send content to a person.
func (w *world) ask(t domain.TenantID, n domain.NumberID, to, content string, wanted message.Options) domain.Key {
	w.t.Helper()
	f := &message.SendRequested{Options: wanted, SendWords: message.SendWords{To: to, Content: json.RawMessage(content)}}
	if err := json.Unmarshal([]byte(content), f); err != nil { // its type
		w.t.Fatal(err)
	}
	k := message.OutgoingKey(t, n, domain.MessageID("msg_"+domain.NewUUID()))
	w.append(k, f)
	return k
}

const (
	aText     = `{"type":"text","text":{"body":"hi"}}`
	aTemplate = `{"type":"template","template":{"name":"x"}}`
)

func refusedWith(code int) cloudapi.Outcome {
	row := cloudapi.Lookup(code)
	return cloudapi.Outcome{Kind: cloudapi.Refused, Code: code, Class: row.Class, Reason: row.Words, Hold: true, Halt: row.Halt}
}

// Every answer of Meta that is kept as a fixture becomes of the message, and of
// the number, what the table of codes says: it ends, waits, is doubted or is
// tried again, and the number stops or goes on.
func TestWhatBecomesOfEachAnswer(t *testing.T) {
	t.Parallel()
	const (
		ends   = "ends"   // dead-lettered
		holds  = "holds"  // first in its queue, the attempt not counted
		again  = "again"  // another attempt follows by itself
		doubts = "doubts" // another attempt follows after the wait for a status
	)
	want := map[string]struct {
		message string
		cause   tenant.Cause // of the number's block
		account bool         // of all numbers of the account
	}{
		"100_33_object_missing.json":          {holds, tenant.ByToken, false},
		"100_invalid_parameter.json":          {message: ends},
		"10_permission_denied.json":           {holds, tenant.ByAccess, false},
		"130403_blocked_user.json":            {message: ends},
		"130429_throughput.json":              {message: again},
		"130497_country.json":                 {message: ends},
		"131000_unknown.json":                 {message: doubts},
		"131008_missing_parameter.json":       {message: ends},
		"131009_bad_value.json":               {message: ends},
		"131030_not_in_allowed_list.json":     {message: ends},
		"131031_account_locked.json":          {holds, tenant.ByAccount, true},
		"131042_payment.json":                 {holds, tenant.ByAccount, true},
		"131048_spam_rate.json":               {ends, tenant.ByTemplates, false},
		"131056_pair_rate.json":               {message: again},
		"131057_maintenance.json":             {message: again},
		"131062_bsuid_unsupported.json":       {message: ends},
		"131064_classification.json":          {holds, tenant.ByTemplates, true},
		"132000_param_count.json":             {message: ends},
		"132001_template_missing.json":        {message: ends},
		"133005_pin_mismatch.json":            {holds, tenant.ByNumber, false},
		"133010_not_registered.json":          {holds, tenant.ByNumber, false},
		"133016_register_limit.json":          {holds, tenant.ByNumber, false},
		"139200_direct_send_blocked.json":     {message: ends},
		"190_token_expired.json":              {holds, tenant.ByToken, false},
		"190_token_invalidated.json":          {holds, tenant.ByToken, false},
		"200_permissions.json":                {holds, tenant.ByAccess, false},
		"2_service_down.json":                 {message: doubts},
		"368_policy_block.json":               {holds, tenant.ByAccount, true},
		"4_app_rate_limit.json":               {message: again},
		"80007_waba_rate_limit.json":          {message: again},
		"131049 that is no fixture.json":      {message: ends},
		"130472 that is no fixture.json":      {message: ends},
		"132069 that is no fixture.json":      {message: ends},
		"987654 of a later version.json":      {message: ends},
		"a bare 401.json":                     {holds, tenant.ByToken, false},
		"a bare 502.json":                     {message: doubts},
		"an empty 200.json":                   {message: doubts},
		"a number that is too fast, 403.json": {message: again},
	}
	type envelope struct {
		Status  int               `json:"http_status"`
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body"`
	}
	answers := map[string]envelope{
		"131049 that is no fixture.json":      {Status: 400, Body: []byte(`{"error":{"code":131049,"is_transient":true}}`)},
		"130472 that is no fixture.json":      {Status: 400, Body: []byte(`{"error":{"code":130472}}`)},
		"132069 that is no fixture.json":      {Status: 400, Body: []byte(`{"error":{"code":132069}}`)},
		"987654 of a later version.json":      {Status: 400, Body: []byte(`{"error":{"code":987654}}`)},
		"a bare 401.json":                     {Status: 401},
		"a bare 502.json":                     {Status: 502, Body: []byte(`<html>`)},
		"an empty 200.json":                   {Status: 200},
		"a number that is too fast, 403.json": {Status: 403, Body: []byte(`{"error":{"code":130429}}`)},
	}
	files, err := filepath.Glob("cloudapi/testdata/errors/*.json")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var e envelope
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatal(err)
		}
		answers[filepath.Base(f)] = e
	}
	if len(answers) != len(want) {
		t.Errorf("%d answers, %d expectations", len(answers), len(want))
	}
	for name, e := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, ok := want[name]
			if !ok {
				t.Fatal("no expectation for this answer")
			}
			s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				for k, v := range e.Headers {
					rw.Header().Set(k, v)
				}
				rw.WriteHeader(e.Status)
				_, _ = rw.Write(e.Body)
			}))
			t.Cleanup(s.Close)
			meta, err := cloudapi.New(cloudapi.Config{BaseURL: s.URL, Version: "v25.0"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(meta.Close)
			w := newWorld(t)
			w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
				if c.Attempt > 1 {
					return accepted(c)
				}
				o := meta.Send(context.Background(), c)
				o.Wait = min(o.Wait, 0) // nobody sits through it here; how long it is, cloudapi's tests say
				return o
			})
			k := w.ask(tenantA, number, "+14155550100", aTemplate, message.Options{})
			w.run(w.d)
			switch want.message {
			case ends:
				w.await(k, message.TypeSendDeadLettered)
				wantTypes(t, w, k, message.TypeSendRequested, message.TypeSendAttempted, message.TypeSendRefused, message.TypeSendDeadLettered)
			case holds:
				w.gate.found(t)
				if s := w.state(k); s.Refused == nil || !s.Refused.Hold || s.Budget != 0 || s.Dead {
					t.Errorf("state %+v", s)
				}
				w.gate.set(false)
				w.await(k, message.TypeSendAccepted)
			case again, doubts:
				event := w.await(k, message.TypeSendAccepted)
				types := []string{message.TypeSendRequested, message.TypeSendAttempted, message.TypeSendRefused, message.TypeSendAttempted, event.Type}
				if want.message == doubts {
					types[2] = message.TypeOutcomeUnknown
				}
				wantTypes(t, w, k, types...)
			}
			blocks, _ := w.breaker.told()
			if want.cause == "" {
				if len(blocks) != 0 {
					t.Errorf("the number is blocked: %+v", blocks)
				}
				return
			}
			if len(blocks) != 1 || blocks[0].Block.Cause != want.cause || blocks[0].Account != want.account || blocks[0].Number != number ||
				blocks[0].Tenant != tenantA || blocks[0].Block.Reason == "" || blocks[0].Block.Told.IsZero() || blocks[0].Actor != "dispatch" {
				t.Errorf("blocks %+v", blocks)
			}
		})
	}
}

// A dead token stops its number at once, takes no call from others, and loses
// nothing: with a new one the queue drains in order, each message called once
// per attempt number.
func TestDeadTokenStopsItsNumberOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.Policy.Calls = 2
	w.d = New(w.d.Config)
	_, j := w.withTenants()
	var mu sync.Mutex
	good := false
	order := map[string][]string{}
	refused := 0
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		mu.Lock()
		defer mu.Unlock()
		if c.Number == number && !good {
			refused++
			return refusedWith(190)
		}
		order[c.To] = append(order[c.To], string(c.Message))
		return accepted(c)
	})
	var keys, others []domain.Key
	want := map[string][]string{}
	for i := range 60 {
		to := fmt.Sprintf("+141555501%02d", i%12)
		k := w.ask(tenantA, number, to, aText, message.Options{})
		keys, want[to] = append(keys, k), append(want[to], k.ID)
	}
	d, blocked := j.directory, j.directory.Position()+1
	w.run(w.d)
	if err := d.Wait(t.Context(), blocked); err != nil { // until it is blocked
		t.Fatal(err)
	}
	for range 5 {
		others = append(others, w.ask(tenantB, numberB, "+14155550200", aText, message.Options{}))
	}
	for _, k := range others { // while the other's number stands still
		w.await(k, message.TypeSendAccepted)
	}
	v, _ := d.Get(tenantA)
	if n := v.Numbers[0]; n.Status != tenant.Halted || len(n.Blocks) != 1 || n.Blocks[0].Code != 190 || n.Reason == "" {
		t.Errorf("number %+v", n)
	}
	mu.Lock()
	if refused == 0 || refused > 2 { // no more than were running at once
		t.Errorf("%d calls with a dead token", refused)
	}
	good = true
	mu.Unlock()
	j.record(t, tenantA, &tenant.TokenSealed{Number: number})
	for _, k := range keys {
		w.await(k, message.TypeSendAccepted)
	}
	mu.Lock()
	defer mu.Unlock()
	for to, ids := range want {
		if !slices.Equal(order[to], ids) {
			t.Errorf("%s: order %v, want %v", to, order[to], ids)
		}
	}
	w.calledOnce()
}

// A message whose time is over while its number is blocked expires then, and
// not when the block ends.
func TestExpiresWhileBlocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, _ := w.withTenants()
	if _, err := r.Block(t.Context(), tenant.BlockWish{Tenant: tenantA, Number: number, Block: tenant.Block{Cause: tenant.ByAccount, Told: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	k := w.ask(tenantA, number, "+14155550100", aText, message.Options{ExpiresAt: time.Now().Add(50 * time.Millisecond)})
	later := w.ask(tenantA, number, "+14155550100", aText, message.Options{})
	w.run(w.d)
	w.await(k, message.TypeSendExpired)
	if len(w.provider.made()) != 0 {
		t.Error("it was called")
	}
	if _, err := r.Resume(t.Context(), tenant.PauseWish{Tenant: tenantA, Number: number}); err != nil {
		t.Fatal(err)
	}
	w.await(later, message.TypeSendAccepted)
	wantTypes(t, w, k, message.TypeSendRequested, message.TypeSendExpired)
}

// Where Meta restricts templates, they wait and replies leave, also to a person
// for whom a template waits. When it is over, everything keeps its order again.
func TestRestrictedTemplatesWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, _ := w.withTenants()
	template := w.ask(tenantA, number, "+14155550100", aTemplate, message.Options{})
	w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
		if string(c.Message) == template.ID && c.Attempt == 1 {
			return refusedWith(131064)
		}
		return accepted(c)
	})
	behind := w.ask(tenantA, number, "+14155550100", aText, message.Options{})
	blocked := r.Directory.Position() + 1
	w.run(w.d)
	w.await(template, message.TypeSendRefused)
	if err := r.Directory.Wait(t.Context(), blocked); err != nil {
		t.Fatal(err)
	}
	reply := w.ask(tenantA, number, "+14155550101", aText, message.Options{})
	second := w.ask(tenantA, number, "+14155550100", aTemplate, message.Options{})
	w.await(reply, message.TypeSendAccepted)
	w.await(behind, message.TypeSendAccepted)
	wantTypes(t, w, template, message.TypeSendRequested, message.TypeSendAttempted, message.TypeSendRefused)
	wantTypes(t, w, second, message.TypeSendRequested)
	v, _ := r.Directory.Get(tenantA)
	if n := v.Numbers[0]; n.Status != tenant.Restricted || n.Blocks[0].Until.Sub(n.Blocks[0].Told) != 24*time.Hour {
		t.Errorf("number %+v", n)
	}
	if _, err := r.Resume(t.Context(), tenant.PauseWish{Tenant: tenantA}); err != nil {
		t.Fatal(err)
	}
	w.await(template, message.TypeSendAccepted)
	later := w.ask(tenantA, number, "+14155550100", aText, message.Options{})
	w.await(later, message.TypeSendAccepted)
	var called []string
	for _, c := range w.provider.made() {
		if c.To == "+14155550100" {
			called = append(called, string(c.Message))
		}
	}
	if want := []string{template.ID, behind.ID, template.ID, second.ID, later.ID}; !slices.Equal(called, want) {
		t.Errorf("called %v, want %v", called, want)
	}
}

// A reply that is refused as if it were a restricted template ends: nothing
// would hold it back from being tried for ever.
func TestRefusalThatHoldsNothingEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, _ := w.withTenants()
	w.provider.answer(func(cloudapi.Call) cloudapi.Outcome { return refusedWith(131064) })
	k := w.ask(tenantA, number, "+14155550100", aText, message.Options{})
	w.run(w.d)
	w.await(k, message.TypeSendDeadLettered)
	if n := len(w.provider.made()); n != 1 || r.Directory.Open(number, true) || !r.Directory.Open(number, false) {
		t.Errorf("%d calls, open for templates %t", n, r.Directory.Open(number, true))
	}
}

// What follows an unknown outcome is what the tenant has set, unless the
// message asks for something else.
func TestUnknownAsTheTenantWants(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sending tenant.Sending
		asked   message.Options
		ends    string // event that ends it
	}{
		"nobody said":                 {ends: message.TypeSendAccepted},
		"the tenant parks":            {sending: tenant.Sending{OnUnknown: domain.Park}, ends: message.TypeSendDeadLettered},
		"the message wants it resent": {sending: tenant.Sending{OnUnknown: domain.Park}, asked: message.Options{OnUnknown: domain.Resend}, ends: message.TypeSendAccepted},
		"the message wants it parked": {asked: message.Options{OnUnknown: domain.Park}, ends: message.TypeSendDeadLettered},
		"the tenant waits longer":     {sending: tenant.Sending{UnknownWait: time.Hour}},
		"the message waits less":      {sending: tenant.Sending{UnknownWait: time.Hour}, asked: message.Options{UnknownWait: time.Millisecond}, ends: message.TypeSendAccepted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.sending[tenantA] = c.sending
			w.provider.answer(func(c cloudapi.Call) cloudapi.Outcome {
				if c.Attempt == 1 {
					return cloudapi.Outcome{Kind: cloudapi.Unknown, Detail: "timeout"}
				}
				return accepted(c)
			})
			k := w.ask(tenantA, number, "+14155550100", aText, c.asked)
			w.run(w.d)
			if c.ends == "" { // a status ends the wait, long before it is over
				w.await(k, message.TypeOutcomeUnknown)
				w.append(statuses, delivered(k, 1))
				w.wantProven(k, 1)
				return
			}
			w.await(k, c.ends)
			var f message.SendDeadLettered
			if c.ends == message.TypeSendDeadLettered {
				if err := w.await(k, c.ends).Decode(&f); err != nil || f.Reason != "outcome_unknown" || f.Detail != "It is not known whether WhatsApp took the message: timeout." || len(w.provider.made()) != 1 {
					t.Errorf("%+v, %v, %d calls", f, err, len(w.provider.made()))
				}
			}
		})
	}
}
