package cloudapi_test

import (
	"strings"
	"testing"

	"github.com/sendlog/sendlog/dispatch/cloudapi"
	"github.com/sendlog/sendlog/domain"
)

func TestOpaqueRoundTrip(t *testing.T) {
	t.Parallel()
	tenant, msg := domain.NewTenantID(), domain.OutgoingID("ten_x", "")
	s, err := cloudapi.FormatOpaque(tenant, msg, 3)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"t":"` + string(tenant) + `","m":"` + string(msg) + `","a":3}`; s != want {
		t.Errorf("got %s, want %s", s, want)
	}
	gotTenant, gotMessage, attempt, ok := cloudapi.ParseOpaque(s)
	if !ok || gotTenant != tenant || gotMessage != msg || attempt != 3 {
		t.Errorf("got %s %s %d %v", gotTenant, gotMessage, attempt, ok)
	}
	longest := strings.Repeat("x", domain.MaxTokenLength)
	if s, err := cloudapi.FormatOpaque(domain.TenantID(longest), domain.MessageID(longest), 1_000_000); err != nil || len(s) > 512 {
		t.Errorf("the longest is %d characters: %v", len(s), err)
	}
}

func TestOpaqueRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "x", "null", "7", `"x"`, "{}", "[]", "order-7", `{"t":"a","m":"b"}`, `{"t":"a","m":"b","a":0}`,
		`{"t":"a","m":"b","a":1000001}`, `{"t":"a","m":"b","a":1.5}`, `{"t":"a","m":"b","a":"1"}`, `{"t":"","m":"b","a":1}`,
		`{"t":"a.>","m":"b","a":1}`, `{"t":"a","m":"b c","a":1}`, `{"t":"a","m":"b","a":1} x`,
		`{"t":"` + strings.Repeat("x", 65) + `","m":"b","a":1}`, `{"t":"a","m":"b","a":1` + strings.Repeat(" ", 512) + `}`,
	} {
		if _, _, _, ok := cloudapi.ParseOpaque(s); ok {
			t.Errorf("%.40q was taken for ours", s)
		}
	}
	for _, bad := range []struct {
		t domain.TenantID
		m domain.MessageID
		a int
	}{{"", "m", 1}, {"t", "", 1}, {"t", "m", 0}, {"t", "m", 1_000_001}, {"t.x", "m", 1}} {
		if _, err := cloudapi.FormatOpaque(bad.t, bad.m, bad.a); domain.KindOf(err) != domain.Bug || err == nil {
			t.Errorf("%+v: got %v", bad, err)
		}
	}
}

// FuzzParseOpaque: what is taken for ours can be written and read again.
func FuzzParseOpaque(f *testing.F) {
	f.Add(`{"t":"tenant-a","m":"01JDC8Q7V9YB6K3M5N2P4R8S0T","a":1}`)
	f.Add(`{"T":"a","m":"b","a":1e0}`)
	f.Add("random_string")
	f.Fuzz(func(t *testing.T, s string) {
		tenant, msg, attempt, ok := cloudapi.ParseOpaque(s)
		if !ok {
			return
		}
		again, err := cloudapi.FormatOpaque(tenant, msg, attempt)
		if err != nil {
			t.Fatal(err)
		}
		if tenant2, msg2, attempt2, ok := cloudapi.ParseOpaque(again); !ok || tenant2 != tenant || msg2 != msg || attempt2 != attempt {
			t.Fatalf("%q reads differently the second time", s)
		}
	})
}
