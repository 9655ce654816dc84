package cloudapitest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/sendlog/sendlog/domain"
)

// Inbound is a message a person writes to a business number.
type Inbound struct {
	From   string          `json:"from"` // a phone, or a BSUID of somebody who hides theirs
	Name   string          `json:"name"`
	Text   string          `json:"text"`
	Number domain.NumberID `json:"number"`
}

// Inbound makes a person write: it queues the webhook and returns the wamid.
// The error is of kind [domain.Invalid], [domain.Unknown] when the number is
// not [Config.Registered], or [domain.Unavailable] when no webhook can be
// queued.
func (s *Server) Inbound(in Inbound) (wamid string, err error) {
	switch {
	case s.cfg.WebhookURL == "":
		return "", domain.Errorf(domain.Unavailable, nil, "no webhook URL is configured, so nobody would hear of it")
	case !domain.ValidToken(string(in.Number)):
		return "", domain.Errorf(domain.Invalid, nil, "number must be a phone number id")
	case !phoneShape.MatchString(in.From) && !bsuidShape.MatchString(in.From):
		return "", domain.Errorf(domain.Invalid, nil, "from must be a phone number or a user id")
	case in.Text == "":
		return "", domain.Errorf(domain.Invalid, nil, "text is required")
	case s.cfg.Registered != nil && !s.cfg.Registered(in.Number):
		return "", domain.Errorf(domain.Unknown, nil, "no tenant has the number %s, so nobody would hear of it: register it first", in.Number)
	}
	now := s.cfg.Clock.Now()
	wamid = incomingWamid(in.From, s.fresh())
	var contact hookContact
	contact.Profile.Name = in.Name
	m := hookMessage{ID: wamid, Timestamp: strconv.FormatInt(now.Unix(), 10), Type: "text", Text: map[string]string{"body": in.Text}}
	if bsuidShape.MatchString(in.From) {
		contact.UserID, m.FromUserID = in.From, in.From
	} else {
		contact.WaID, m.From = waID(in.From), waID(in.From)
	}
	heard := &delivery{number: in.Number, value: metaJSON(hookInbound{[1]hookContact{contact}, [1]hookMessage{m}}), due: now}
	if !s.hooks.put([]*delivery{heard}, func() {}) {
		return "", domain.Errorf(domain.Unavailable, nil, "too many webhooks are waiting, or the server is not running")
	}
	return wamid, nil
}

// postInbound is POST /_pretend/inbound: the body is an [Inbound], the answer
// {"wamid":"…"}.
func (s *Server) postInbound(w http.ResponseWriter, r *http.Request) {
	var in Inbound
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&in); err != nil {
		pretendJSON(w, http.StatusBadRequest, map[string]string{"error": `the body must be {"from","name","text","number"}`})
		return
	}
	wamid, err := s.Inbound(in)
	switch {
	case err == nil:
		pretendJSON(w, http.StatusOK, map[string]string{"wamid": wamid})
	case domain.KindOf(err) == domain.Unknown:
		pretendJSON(w, http.StatusNotFound, map[string]string{"error": err.Error()})
	case domain.KindOf(err) == domain.Unavailable:
		pretendJSON(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
	default:
		pretendJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
	}
}

// Page is the answer of GET /_pretend/ledger: up to ten thousand calls, oldest
// first. Parameters: after (a seq), message, number, to, accepted=true.
type Page struct {
	Calls     []Entry                  `json:"calls"`
	Next      int                      `json:"next,omitempty"` // ask again with after=Next; 0 = there are no more
	Accepted  map[domain.MessageID]int `json:"accepted"`       // accepted attempts by message, of these calls
	Received  int                      `json:"received"`       // calls that ever came
	Taken     int                      `json:"taken"`          // and were accepted
	Forgotten int                      `json:"forgotten"`      // calls the ledger no longer holds
}

func (s *Server) getLedger(w http.ResponseWriter, r *http.Request) {
	after, asked := 0, r.URL.Query()
	if text := strings.TrimSpace(asked.Get("after")); text != "" {
		var err error
		if after, err = strconv.Atoi(text); err != nil || after < 0 {
			pretendJSON(w, http.StatusBadRequest, map[string]string{"error": "after must be a whole number"})
			return
		}
	}
	calls := s.ledger.after(after, ledgerPage, Query{
		Message: domain.MessageID(asked.Get("message")), Number: domain.NumberID(asked.Get("number")),
		To: asked.Get("to"), Accepted: asked.Get("accepted") == "true",
	})
	page := Page{Calls: calls, Accepted: countAccepted(calls), Forgotten: s.Forgotten()}
	page.Received, page.Taken = s.Totals()
	if len(calls) == ledgerPage {
		page.Next = calls[len(calls)-1].Seq
	}
	pretendJSON(w, http.StatusOK, page)
}

// postFaults is POST /_pretend/faults: the body {"plan":"lose=0.1","seed":7} is
// for [ParseFaults], and holds from now on; an empty plan ends all faults.
func (s *Server) postFaults(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Plan string `json:"plan"`
		Seed int64  `json:"seed"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&in); err != nil {
		pretendJSON(w, http.StatusBadRequest, map[string]string{"error": `the body must be {"plan","seed"}`})
		return
	}
	f, err := ParseFaults(in.Plan)
	if err != nil {
		pretendJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	f.Seed = in.Seed
	s.Script(f.Script())
	pretendJSON(w, http.StatusOK, map[string]bool{"success": true})
}

// postRelease is POST /_pretend/release: see [Server.Release].
func (s *Server) postRelease(w http.ResponseWriter, _ *http.Request) {
	s.Release()
	pretendJSON(w, http.StatusOK, map[string]bool{"success": true})
}

// postRevoke is POST /_pretend/revoke: see [Server.Revoke].
func (s *Server) postRevoke(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token string `json:"token"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&in); err != nil || in.Token == "" {
		pretendJSON(w, http.StatusBadRequest, map[string]string{"error": `the body must be {"token"}`})
		return
	}
	s.Revoke(in.Token)
	pretendJSON(w, http.StatusOK, map[string]bool{"success": true})
}

func pretendJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
