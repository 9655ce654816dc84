package cloudapitest

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
)

// fixtures are answers of Meta, one file per code, as {http_status, headers,
// body}.
//
//go:embed errors/*.json
var fixtures embed.FS

// graphError is an error answer (section 7.1).
type graphError struct {
	Message   string          `json:"message"`
	Type      string          `json:"type"`
	Code      int             `json:"code"`
	Subcode   int             `json:"error_subcode,omitempty"`
	Transient *bool           `json:"is_transient,omitempty"`
	Data      *graphErrorData `json:"error_data,omitempty"`
	Trace     string          `json:"fbtrace_id"`
}

type graphErrorData struct {
	Product string `json:"messaging_product"`
	Details string `json:"details"`
}

// refusal is an error answer with its HTTP dress.
type refusal struct {
	Status  int               `json:"http_status"`
	Headers map[string]string `json:"headers"`
	Body    struct {
		Error graphError `json:"error"`
	} `json:"body"`
}

// loadRefusals returns the fixture of each code, of several the first by name,
// and those that have a subcode by that as well.
func loadRefusals() (map[int]refusal, error) {
	files, err := fixtures.ReadDir("errors")
	if err != nil {
		return nil, err
	}
	slices.Reverse(files)
	byCode := map[int]refusal{}
	for _, f := range files {
		raw, err := fixtures.ReadFile(path.Join("errors", f.Name()))
		if err != nil {
			return nil, err
		}
		var r refusal
		if err := json.Unmarshal(raw, &r); err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Name(), err)
		}
		if r.Body.Error.Subcode != 0 {
			byCode[r.Body.Error.Subcode] = r
		}
		if r.Body.Error.Subcode != missingObject {
			byCode[r.Body.Error.Code] = r
		}
	}
	return byCode, nil
}

// Codes of section 7.3 that this server answers by itself.
const (
	missingObject    = 33 // as subcode of 100: no such number, or no such path
	invalidParameter = 100
	invalidToken     = 190
	revokedToken     = 460 // as subcode of 190
	unknownError     = 131000
	missingParameter = 131008
	invalidValue     = 131009
	unsupportedType  = 131051
	wrongMethod      = 131055
	phoneNeeded      = 131062
)

// problem is why a request is refused.
type problem struct {
	code    int
	details string // replaces the fixture's, if not empty
}

func (s *Server) refusal(p problem) refusal {
	r, ok := s.refusals[p.code]
	if !ok {
		r.Status = http.StatusBadRequest
		r.Body.Error = graphError{
			Message: fmt.Sprintf("(#%d) Pretended error", p.code), Type: "OAuthException", Code: p.code,
			Data: &graphErrorData{Product: "whatsapp", Details: "This error was asked for."},
		}
	}
	if p.details != "" {
		r.Body.Error.Data = &graphErrorData{Product: "whatsapp", Details: p.details}
	}
	return r
}

// writeRefusal answers with an error. Only status and headers differ between
// gateways, so f may replace those.
func (s *Server) writeRefusal(w http.ResponseWriter, r *http.Request, p problem, f Fault) {
	refused := s.refusal(p)
	for _, name := range []string{"x-app-usage", "x-business-use-case-usage"} {
		if v := refused.Headers[name]; v != "" {
			w.Header().Set(name, v)
		}
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter.Seconds())))
	}
	status := refused.Status
	if f.HTTPStatus != 0 {
		status = f.HTTPStatus
	}
	refused.Body.Error.Trace = "A" + s.fresh()[:22]
	s.dress(w, r)
	w.WriteHeader(status)
	_, _ = w.Write(metaJSON(refused.Body))
}

// dress sets the headers every answer of the Graph API has (section 2.8).
func (s *Server) dress(w http.ResponseWriter, r *http.Request) {
	h, id := w.Header(), s.fresh()
	h["Content-Type"] = []string{"application/json; charset=UTF-8"}
	if v := r.PathValue("version"); versionShape.MatchString(v) {
		h["Facebook-Api-Version"] = []string{v}
	}
	h["X-Fb-Trace-Id"], h["X-Fb-Request-Id"], h["X-Fb-Rev"] = []string{id[:11]}, []string{"A" + id}, []string{"1028415316"}
}

// usageOf is the header of an account that does little, as of everybody here.
func usageOf(account string) string {
	return `{"` + account + `":[{"type":"whatsapp_business_management","call_count":1,"total_cputime":1,"total_time":1,"estimated_time_to_regain_access":0},` +
		`{"type":"whatsapp","call_count":1,"total_cputime":3,"total_time":4,"estimated_time_to_regain_access":0}]}`
}

// success is the answer to an accepted send (section 2.7), in Meta's order.
type success struct {
	Product  string            `json:"messaging_product"`
	Contacts [1]successContact `json:"contacts"`
	Messages [1]successMessage `json:"messages"`
}

type successContact struct {
	Input  string `json:"input"`
	WaID   string `json:"wa_id,omitempty"`
	UserID string `json:"user_id,omitempty"`
}

type successMessage struct {
	ID      string `json:"id"`
	GroupID string `json:"group_id,omitempty"`
	Status  string `json:"message_status,omitempty"`
}

func answerTo(q request, wamid string) []byte {
	a := success{Product: "whatsapp", Contacts: [1]successContact{{Input: q.whom()}}, Messages: [1]successMessage{{ID: wamid}}}
	contact, message := &a.Contacts[0], &a.Messages[0]
	switch {
	case q.RecipientType == group:
		contact.WaID, message.GroupID = q.To, q.To
	case q.To == "":
		contact.UserID = q.Recipient
	default:
		contact.WaID = waID(q.To)
	}
	if q.Type == "template" {
		message.Status = "accepted"
	}
	return metaJSON(a)
}
