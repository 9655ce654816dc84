package cloudapi

import (
	"encoding/json"
	"fmt"

	"github.com/sendlog/sendlog/domain"
)

const (
	// maxOpaque bounds biz_opaque_callback_data (characters, section 2.1). Two
	// tokens of 64 and a number stay far below it.
	maxOpaque = 512
	// maxAttempt bounds an attempt number read back from outside: far above
	// any attempt limit and redrive count, far below an overflow.
	maxAttempt = 1_000_000
)

// opaque is what we put into biz_opaque_callback_data. Meta echoes it in every
// status of the message, which is the only way to learn of a send whose answer
// was lost (section 3).
type opaque struct {
	Tenant  string `json:"t"`
	Message string `json:"m"`
	Attempt int    `json:"a"`
}

func (o opaque) valid() bool {
	return domain.ValidToken(o.Tenant) && domain.ValidToken(o.Message) && o.Attempt >= 1 && o.Attempt <= maxAttempt
}

// FormatOpaque returns the compact JSON that names one attempt. The ids must
// be tokens ([domain.ValidToken]) and the attempt between 1 and a million;
// otherwise the error is of kind [domain.Bug].
func FormatOpaque(t domain.TenantID, m domain.MessageID, attempt int) (string, error) {
	o := opaque{Tenant: string(t), Message: string(m), Attempt: attempt}
	if !o.valid() {
		return "", domain.Errorf(domain.Bug, nil, "the attempt cannot be named in the callback data")
	}
	b, err := json.Marshal(o)
	if err != nil {
		return "", fmt.Errorf("encode callback data: %w", err)
	}
	return string(b), nil
}

// ParseOpaque reads what [FormatOpaque] wrote. Any other string is somebody
// else's and answers ok = false. The ids are as Meta echoed them: the caller
// checks that they name one of its own attempts.
func ParseOpaque(s string) (t domain.TenantID, m domain.MessageID, attempt int, ok bool) {
	if len(s) > maxOpaque {
		return "", "", 0, false
	}
	var o opaque
	if json.Unmarshal([]byte(s), &o) != nil || !o.valid() {
		return "", "", 0, false
	}
	return domain.TenantID(o.Tenant), domain.MessageID(o.Message), o.Attempt, true
}
