package cloudapitest

import (
	"net/http"
	"strings"

	"github.com/sendlog/sendlog/domain"
)

// Health says whether a number can send, in the words of health_status.
type Health string

// The healths.
const (
	Available Health = "AVAILABLE"
	Limited   Health = "LIMITED"
	Blocked   Health = "BLOCKED"
)

// SetHealth changes what is answered to those who ask for a number's
// health_status. It does not change what becomes of messages.
func (s *Server) SetHealth(n domain.NumberID, h Health) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health[n] = h
}

// numberFields are answered when none are asked for.
const numberFields = "verified_name,code_verification_status,display_phone_number,quality_rating,platform_type,throughput"

// number is GET /{version}/{number}?fields=… (section 11.3).
func (s *Server) number(w http.ResponseWriter, r *http.Request) {
	n, wrong := s.admit(r)
	if wrong != nil {
		s.writeRefusal(w, r, *wrong, Fault{})
		return
	}
	asked := r.URL.Query().Get("fields")
	if asked == "" {
		asked = numberFields
	}
	answer := map[string]any{"id": string(n)}
	for field := range strings.SplitSeq(asked, ",") {
		value, known := s.numberField(n, strings.TrimSpace(field))
		if !known {
			s.writeRefusal(w, r, problem{code: invalidParameter, details: "Tried accessing nonexisting field (" + field + ")"}, Fault{})
			return
		}
		answer[strings.TrimSpace(field)] = value
	}
	s.dress(w, r)
	_, _ = w.Write(metaJSON(answer))
}

func (s *Server) numberField(n domain.NumberID, field string) (value any, known bool) {
	switch field {
	case "id":
		return string(n), true
	case "verified_name":
		return "Pretend Business", true
	case "display_phone_number":
		return "+" + displayNumber(n), true
	case "status":
		return "CONNECTED", true
	case "quality_rating":
		return "GREEN", true
	case "code_verification_status":
		return "VERIFIED", true
	case "name_status":
		return "APPROVED", true
	case "platform_type":
		return "CLOUD_API", true
	case "account_mode":
		return "LIVE", true
	case "is_on_biz_app", "is_official_business_account", "is_pin_enabled":
		return false, true
	case "whatsapp_business_manager_messaging_limit":
		return "TIER_2K", true
	case "webhook_configuration":
		return map[string]string{"application": s.cfg.WebhookURL}, true
	case "throughput":
		return map[string]string{"level": s.throughputLevel(n)}, true
	case "health_status":
		return s.healthStatus(n), true
	}
	return nil, false
}

// throughputLevel is HIGH from the thousand messages a second of an upgrade on.
func (s *Server) throughputLevel(n domain.NumberID) string {
	if s.buckets.perSecond(n) >= 1000 {
		return "HIGH"
	}
	return "STANDARD"
}

type healthStatus struct {
	Can      Health         `json:"can_send_message"`
	Entities []healthEntity `json:"entities"`
}

type healthEntity struct {
	Type   string        `json:"entity_type"`
	ID     string        `json:"id"`
	Can    Health        `json:"can_send_message"`
	Errors []healthError `json:"errors,omitempty"`
}

type healthError struct {
	Code        int    `json:"error_code"`
	Description string `json:"error_description"`
	Solution    string `json:"possible_solution"`
}

// healthStatus lets the account be the cause, as with payment trouble.
func (s *Server) healthStatus(n domain.NumberID) healthStatus {
	s.mu.Lock()
	h, set := s.health[n]
	s.mu.Unlock()
	if !set {
		h = Available
	}
	account := healthEntity{Type: "WABA", ID: s.cfg.Account, Can: h}
	if h != Available {
		account.Errors = []healthError{{141006, "There is an error with the payment method. This will block business initiated conversations.",
			"There was an error with your payment method. Please add a new payment method to the account."}}
	}
	return healthStatus{h, []healthEntity{
		{Type: "PHONE_NUMBER", ID: string(n), Can: Available}, account,
		{Type: "BUSINESS", ID: "506914307656634", Can: Available}, {Type: "APP", ID: "634974688087057", Can: Available},
	}}
}
