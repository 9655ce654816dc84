package cloudapitest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/sendlog/sendlog/domain"
)

// send is POST /{version}/{number}/messages (section 2).
func (s *Server) send(w http.ResponseWriter, r *http.Request) { s.receive(w, r, false) }

// sendMarketing is POST /{version}/{number}/marketing_messages (section 2.9).
func (s *Server) sendMarketing(w http.ResponseWriter, r *http.Request) { s.receive(w, r, true) }

func (s *Server) receive(w http.ResponseWriter, r *http.Request, marketing bool) {
	number, wrong := s.admit(r)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			s.writeRefusal(w, r, problem{code: invalidParameter, details: "The body is too large."}, Fault{})
		}
		return // a body that broke off was never a request
	}
	q, unfit := check(body, marketing)
	if wrong == nil {
		wrong = unfit
	}
	if wrong == nil && q.marksRead() {
		s.dress(w, r)
		_, _ = io.WriteString(w, `{"success":true}`)
		return
	}
	call := s.take(number, q, body)
	if wrong != nil {
		s.refuse(w, r, call, *wrong, Fault{Answer: Refuse})
		return
	}
	fault := s.fault(call)
	if !fault.Answer.accepts() {
		s.decline(w, r, call, fault)
		return
	}
	s.accept(w, r, call, q, fault)
}

// take numbers a call.
func (s *Server) take(number domain.NumberID, q request, body []byte) Call {
	call := Call{Number: number, To: q.whom(), Type: q.Type, Body: body}
	var ours struct {
		Tenant  domain.TenantID  `json:"t"`
		Message domain.MessageID `json:"m"`
		Attempt int              `json:"a"`
	}
	if q.Opaque != "" && json.Unmarshal([]byte(q.Opaque), &ours) == nil && ours.Message != "" {
		call.Tenant, call.Message, call.Attempt = ours.Tenant, ours.Message, ours.Attempt
	} else {
		call.Opaque = q.Opaque
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	call.Seq = s.seq
	return call
}

// fault asks the script what goes wrong with a call.
func (s *Server) fault(call Call) Fault {
	s.mu.Lock()
	script := s.script
	s.mu.Unlock()
	if script == nil {
		return Fault{}
	}
	return script(call)
}

// decline answers a call whose message is not accepted because of a fault.
func (s *Server) decline(w http.ResponseWriter, r *http.Request, call Call, f Fault) {
	switch f.Answer {
	case Refuse:
		s.refuse(w, r, call, problem{code: f.Code}, f)
	case ServerError:
		s.refuse(w, r, call, problem{code: unknownError}, f)
	case RevokeToken:
		s.Revoke(tokenOf(r))
		s.refuse(w, r, call, problem{code: revokedToken}, f)
	default:
		s.record(call, "", 0, f)
		s.answer(w, r, f, nil)
	}
}

// accept makes the message real: it gets a wamid, the ledger says so, and its
// statuses are queued, so that nobody hears of it before it is in the ledger.
// When it comes too fast, or its statuses do not fit, it is refused instead.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, call Call, q request, f Fault) {
	now := s.cfg.Clock.Now()
	code := s.buckets.take(call.Number, call.To, now)
	if code == 0 {
		wamid := outgoingWamid(call.To, s.fresh())
		told := s.statuses(call, q, wamid, now, f)
		if s.hooks.put(told, func() { s.record(call, wamid, 0, f) }) {
			if f.First {
				await(r.Context(), told)
			}
			s.answer(w, r, f, answerTo(q, wamid))
			return
		}
		code = throughputCode
	}
	s.refuse(w, r, call, problem{code: code}, Fault{Answer: Refuse})
}

// await returns when the statuses have been told, or the caller has left.
func await(ctx context.Context, told []*delivery) {
	for _, d := range told {
		select {
		case <-d.done:
		case <-ctx.Done():
		}
	}
}

// record writes a call into the ledger: accepted with a wamid, refused with a
// code, or lost with neither.
func (s *Server) record(call Call, wamid string, code int, f Fault) {
	e := Entry{
		At: s.cfg.Clock.Now().UTC(), Number: call.Number, To: call.To, Type: call.Type, Tenant: call.Tenant,
		Message: call.Message, Attempt: call.Attempt, Opaque: call.Opaque, Accepted: wamid != "", Wamid: wamid, Code: code, Answer: f.Answer,
	}
	s.ledger.add(e)
	if s.cfg.Log.Enabled(context.Background(), slog.LevelDebug) {
		s.cfg.Log.Debug("pretend meta: call", "number_id", string(call.Number), "message_id", string(call.Message),
			"attempt", call.Attempt, "accepted", e.Accepted, "code", e.Code, "answer", string(e.Answer))
	}
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, call Call, p problem, f Fault) {
	s.record(call, "", s.refusal(p).Body.Error.Code, f)
	_ = s.cfg.Clock.Sleep(r.Context(), f.Delay) // the caller may leave; nobody is told then
	s.writeRefusal(w, r, p, f)
}

const gatewayPage = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"

// answer tells the caller, or does not. body is the answer of an accepted
// call. Breaking a connection is what [http.ErrAbortHandler] is for.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, f Fault, body []byte) {
	if f.Answer == Hang {
		s.hang(r.Context())
	}
	if s.cfg.Clock.Sleep(r.Context(), f.Delay) != nil {
		panic(http.ErrAbortHandler)
	}
	switch f.Answer {
	case LoseAnswer, LoseRequest:
		panic(http.ErrAbortHandler)
	case LateServerError:
		s.writeRefusal(w, r, problem{code: unknownError}, f)
		return
	}
	s.dress(w, r)
	switch f.Answer {
	case Normal, Hang:
		h := w.Header()
		h["X-App-Usage"], h["X-Business-Use-Case-Usage"] = []string{`{"call_count":1,"total_cputime":0,"total_time":0}`}, []string{s.usage}
		_, _ = w.Write(body)
	case HTML502, LateHTML502:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, gatewayPage)
	case ResetMidBody:
		_, _ = w.Write(body[:len(body)/2])
		reset(w)
	case SlowDrip:
		s.drip(w, r, f, body)
	case EmptyAnswer:
		w.WriteHeader(http.StatusOK)
	case UnreadableAnswer:
		_, _ = w.Write(body[:len(body)/2])
	default:
		panic("cloudapitest: unknown answer " + string(f.Answer))
	}
}

// hang returns when the server is told to release its callers, and breaks the
// connection when the caller gives up first.
func (s *Server) hang(ctx context.Context) {
	s.mu.Lock()
	release := s.release
	s.mu.Unlock()
	select {
	case <-release:
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	}
}

// reset sends what was written and then a TCP reset instead of an end.
func reset(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

func (s *Server) drip(w http.ResponseWriter, r *http.Request, f Fault, body []byte) {
	every := f.Every
	if every <= 0 {
		every = defaultDrip
	}
	for i := range body {
		if i > 0 && s.cfg.Clock.Sleep(r.Context(), every) != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body[i : i+1])
		_ = http.NewResponseController(w).Flush()
	}
}
