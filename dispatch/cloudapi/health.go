package cloudapi

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/tenant"
)

// healthTimeout bounds one look at a number.
const healthTimeout = 10 * time.Second

// healthFields are what is asked of a number (section 11.3).
const healthFields = "status,health_status,throughput,is_on_biz_app"

// Health is what Meta says of a number when it is asked (section 11.3). An
// empty word means that it said nothing about it.
type Health struct {
	Status  string // CONNECTED, PENDING, BANNED …
	CanSend string // AVAILABLE, LIMITED or BLOCKED: the worst of number, account, business and app
	Pace    int    // messages in a second; 0: it did not say
}

// Health asks about a number. Any answer but a whole one is an error of kind
// [domain.Unavailable]: the token may not open it, or Meta was not reached.
func (c *Client) Health(ctx context.Context, n domain.NumberID, token string) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/"+string(n)+"?fields="+healthFields, nil)
	if err != nil || !domain.ValidToken(string(n)) {
		return Health{}, domain.Errorf(domain.Bug, nil, "the number cannot be asked about")
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	res, err := c.http.Do(req)
	if err != nil { // its text holds the address
		return Health{}, domain.Errorf(domain.Unavailable, nil, "WhatsApp could not be asked about the number")
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	answer, whole := parseObject(body)
	if err != nil || !whole || res.StatusCode != http.StatusOK || answer["error"] != nil || answer.text("id") != string(n) {
		return Health{}, domain.Errorf(domain.Unavailable, nil, "WhatsApp does not answer about the number")
	}
	h := Health{Status: word(answer.text("status"), token), CanSend: word(answer.object("health_status").text("can_send_message"), token)}
	switch level := answer.object("throughput").text("level"); {
	case level == "HIGH":
		h.Pace = tenant.MaxPace
	case answer.isTrue("is_on_biz_app"):
		h.Pace = tenant.CoexistencePace
	case level == "STANDARD":
		h.Pace = tenant.StandardPace
	}
	return h, nil
}

// Clears reports whether the answer shows that a cause is gone. A token is good
// as soon as there is an answer. That the app, a permission or the right to send
// templates is back, no answer shows.
func (h Health) Clears(c tenant.Cause) bool {
	switch c {
	case tenant.ByToken:
		return true
	case tenant.ByNumber:
		return h.Status == "CONNECTED" && h.CanSend != "BLOCKED"
	case tenant.ByAccount:
		return h.CanSend == "AVAILABLE" || h.CanSend == "LIMITED"
	}
	return false
}
