package cloudapitest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/sendlog/sendlog/domain"
)

// send is POST /{version}/{number}/messages (section 2).
func (s *Server) send(w http.ResponseWriter, r *http.Request) {
	number, ok := s.admit(w, r)
	if !ok {
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			s.writeRefusal(w, r, problem{code: invalidParameter, details: "The body is too large."}, Fault{})
		}
		return // a body that broke off was never a request
	}
	q, wrong := check(body)
	if wrong == nil && q.marksRead() {
		s.dress(w, r)
		_, _ = w.Write(metaJSON(map[string]bool{"success": true}))
		return
	}
	call, fault := s.take(number, q, body)
	if wrong != nil {
		s.refuse(w, r, call, *wrong, Fault{Answer: Refuse, Code: wrong.code})
		return
	}
	if fault.Answer == Refuse {
		s.refuse(w, r, call, problem{code: fault.Code}, fault)
		return
	}
	if !fault.Answer.accepts() {
		s.record(call, "", fault)
		s.answer(w, r, fault, nil)
		return
	}
	wamid, told, queued := s.accept(call, q, fault)
	if !queued {
		s.refuse(w, r, call, problem{code: throughputCode}, Fault{Answer: Refuse, Code: throughputCode})
		return
	}
	if fault.First {
		for _, d := range told {
			select {
			case <-d.done:
			case <-r.Context().Done():
			}
		}
	}
	s.answer(w, r, fault, metaJSON(successOf(q, wamid)))
}

// take numbers a call and asks the script what goes wrong with it.
func (s *Server) take(number domain.NumberID, q request, body []byte) (Call, Fault) {
	call := Call{Number: number, To: q.whom(), Body: body}
	var ours struct {
		Tenant  domain.TenantID  `json:"t"`
		Message domain.MessageID `json:"m"`
		Attempt int              `json:"a"`
	}
	if json.Unmarshal([]byte(q.Opaque), &ours) == nil {
		call.Tenant, call.Message, call.Attempt = ours.Tenant, ours.Message, ours.Attempt
	}
	s.mu.Lock()
	s.seq++
	call.Seq = s.seq
	script := s.script
	s.mu.Unlock()
	if script == nil {
		return call, Fault{}
	}
	return call, script(call)
}

// accept makes the message real: it gets a wamid, the ledger says so, and its
// statuses are queued, so that nobody hears of it before it is in the ledger.
// It reports false, and nothing happened, when the statuses do not fit.
func (s *Server) accept(call Call, q request, f Fault) (wamid string, told []*delivery, queued bool) {
	wamid = outgoingWamid(call.To, s.fresh("wamid"))
	now := s.cfg.Clock.Now()
	told = s.statuses(call, q, wamid, now, f)
	queued = s.hooks.put(call.Number, told, func() { s.record(call, wamid, f) })
	return wamid, told, queued
}

func (s *Server) record(call Call, wamid string, f Fault) {
	e := Entry{
		At: s.cfg.Clock.Now().UTC(), Number: call.Number, To: call.To, Tenant: call.Tenant,
		Message: call.Message, Attempt: call.Attempt, Accepted: wamid != "", Wamid: wamid, Answer: f.Answer,
	}
	if f.Answer == Refuse {
		e.Code = f.Code
	}
	s.ledger.add(e)
	s.cfg.Log.Debug("pretend meta: call", "number_id", string(call.Number), "message_id", string(call.Message),
		"attempt", call.Attempt, "accepted", e.Accepted, "code", e.Code, "answer", string(e.Answer))
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, call Call, p problem, f Fault) {
	s.record(call, "", f)
	_ = s.cfg.Clock.Sleep(r.Context(), f.Delay) // the caller may leave; nobody is told then
	s.writeRefusal(w, r, p, f)
}

func successOf(q request, wamid string) success {
	contact := successContact{Input: q.whom()}
	message := successMessage{ID: wamid}
	switch {
	case q.RecipientType == "group":
		contact.WaID, message.GroupID = q.To, q.To
	case q.To == "":
		contact.UserID = q.Recipient
	default:
		contact.WaID = digits(q.To)
	}
	if q.Type == "template" {
		message.Status = "accepted"
	}
	return success{Product: "whatsapp", Contacts: []successContact{contact}, Messages: []successMessage{message}}
}

const gatewayPage = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"

// answer tells the caller, or does not. body is the answer of an accepted
// call. Breaking a connection is what [http.ErrAbortHandler] is for.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, f Fault, body []byte) {
	if s.cfg.Clock.Sleep(r.Context(), f.Delay) != nil {
		panic(http.ErrAbortHandler)
	}
	s.dress(w, r)
	switch f.Answer {
	case Normal:
		_, _ = w.Write(body)
	case LoseAnswer, LoseRequest:
		panic(http.ErrAbortHandler)
	case HTML502, LateHTML502:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, gatewayPage)
	case ResetMidBody:
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case SlowDrip:
		every := f.Every
		if every <= 0 {
			every = time.Second
		}
		for i := range body {
			if i > 0 && s.cfg.Clock.Sleep(r.Context(), every) != nil {
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write(body[i : i+1])
			_ = http.NewResponseController(w).Flush()
		}
	case EmptyAnswer:
		w.WriteHeader(http.StatusOK)
	default:
		panic("cloudapitest: unknown answer " + string(f.Answer))
	}
}
