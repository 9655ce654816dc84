package api

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// deadLetterJSON is one given-up message on the wire.
type deadLetterJSON struct {
	ID            domain.MessageID `json:"id"`
	Tenant        domain.TenantID  `json:"tenant"`
	PhoneNumberID domain.NumberID  `json:"phone_number_id"`
	State         string           `json:"state"` // dead, redriven or settled
	Reason        string           `json:"reason"`
	Code          int              `json:"code"` // Meta's, or 0
	Detail        *string          `json:"detail"`
	Details       *string          `json:"details"` // in Meta's own words
	Attempts      int              `json:"attempts"`
	InDoubt       bool             `json:"in_doubt"` // it may have been delivered
	At            *time.Time       `json:"at"`       // of its newest death
	FirstAt       *time.Time       `json:"first_at"` // of its first
	Position      domain.Position  `json:"position"`
	Redrives      int              `json:"redrives"`
	RedrivenAt    *time.Time       `json:"redriven_at"` // null unless that was after its newest death
}

// letterStoryJSON is a dead letter with all that was tried.
type letterStoryJSON struct {
	deadLetterJSON
	Tried    []triedJSON    `json:"tried"`    // oldest first
	Redriven []redrivenJSON `json:"redriven"` // oldest first
}

type triedJSON struct {
	Attempt int        `json:"attempt"`
	At      *time.Time `json:"at"`
	Outcome string     `json:"outcome"`  // open, accepted, refused or unknown
	EndedAt *time.Time `json:"ended_at"` // null while it is open
	Code    int        `json:"code"`     // Meta's, or 0
	Reason  *string    `json:"reason"`
	Details *string    `json:"details"`    // in Meta's own words
	TraceID *string    `json:"fbtrace_id"` // what Meta's support asks for
}

type redrivenJSON struct {
	At      *time.Time `json:"at"`
	By      string     `json:"by"`
	Redrive *string    `json:"redrive"` // its id
}

func viewDeadLetter(v message.DeadLetter) deadLetterJSON {
	return deadLetterJSON{
		ID: v.Message, Tenant: v.Tenant, PhoneNumberID: v.Number, State: v.State, Reason: v.Reason, Code: v.Code, Detail: orNull(v.Detail), Details: orNull(v.Details),
		Attempts: v.Attempts, InDoubt: v.InDoubt, At: when(v.At), FirstAt: when(v.FirstAt), Position: v.Position,
		Redrives: v.Redrives, RedrivenAt: when(v.RedrivenAt),
	}
}

func viewStory(v message.DeadLetter, timeline []message.Entry) letterStoryJSON {
	tried, redriven := message.History(timeline)
	out := letterStoryJSON{deadLetterJSON: viewDeadLetter(v), Tried: make([]triedJSON, len(tried)), Redriven: make([]redrivenJSON, len(redriven))}
	for i, t := range tried {
		out.Tried[i] = triedJSON{Attempt: t.Number, At: when(t.At), Outcome: t.Outcome, EndedAt: when(t.EndedAt),
			Code: t.Code, Reason: orNull(t.Reason), Details: orNull(t.Details), TraceID: orNull(t.TraceID)}
	}
	for i, r := range redriven {
		out.Redriven[i] = redrivenJSON{At: when(r.At), By: r.By, Redrive: orNull(r.Batch)}
	}
	return out
}

func (s *Server) deadLetterRoutes(admin bool) []route {
	all := []route{
		{fiber.MethodGet, tenantPath + "/dlq", toRead, s.listDeadLetters},
		{fiber.MethodGet, tenantPath + "/dlq/:letterId", toRead, s.showDeadLetter},
	}
	if admin {
		all = append(all,
			route{fiber.MethodGet, "/dlq", ofAdmin, s.listDeadLetters},
			route{fiber.MethodGet, "/dlq/:letterId", ofAdmin, s.showDeadLetter})
	}
	return all
}

// listDeadLetters lists those of the tenant in the path, or, for the operator,
// of all.
func (s *Server) listDeadLetters(ctx context.Context, r request) error {
	choose := func(q query) (fetch[message.DeadLetter], error) {
		w := letterWords{Tenant: q["tenant"], Number: q["number"], Reason: q["reason"], Since: q["since"], Until: q["until"]}
		w.State = message.LetterDead
		if v, given := q["state"]; given {
			w.State = v
		}
		if v, given := q["code"]; given {
			code, err := strconv.Atoi(v)
			if err != nil {
				return nil, invalid("code must be a whole number, Meta's code of the error, or 0 for none")
			}
			w.Code = &code
		}
		f, faults := s.letterFilter(r, w)
		if len(faults) > 0 {
			return nil, invalid("%s %s", strings.TrimPrefix(faults[0].Pointer, "/"), faults[0].Detail)
		}
		return func(ctx context.Context, p Page) (Part[message.DeadLetter], error) {
			return s.ports.DeadLetters.DeadLetters(ctx, f, p)
		}, nil
	}
	filters := []string{"number", "code", "reason", "since", "until", "state"}
	if r.tenant.ID == "" {
		filters = append([]string{"tenant"}, filters...)
	}
	return list(ctx, s, r, filters, choose, viewDeadLetter)
}

func (s *Server) showDeadLetter(ctx context.Context, r request) error {
	id, err := s.one(ctx, r, "letterId", "there is no such dead letter")
	if err != nil {
		return err
	}
	letter, timeline, err := s.ports.DeadLetters.DeadLetter(ctx, r.tenant.ID, domain.MessageID(id))
	if err != nil {
		return err
	}
	return answer(r.c, fiber.StatusOK, viewStory(letter, timeline))
}

// letterWords is a filter of dead letters as somebody wrote it.
type letterWords struct {
	Tenant, Number, Reason, Since, Until, State string
	Code                                        *int
}

// anyState selects letters whatever became of them.
const anyState = "any"

// letterFilter reads a filter. Under a tenant's path it is bound to the tenant.
func (s *Server) letterFilter(r request, w letterWords) (message.LetterFilter, []domain.Fault) {
	f := message.LetterFilter{Tenant: r.tenant.ID, Number: domain.NumberID(w.Number), Code: w.Code, Reason: w.Reason, State: w.State}
	var faults []domain.Fault
	fault := func(name, detail string) {
		faults = append(faults, domain.Fault{Pointer: "/" + name, Detail: detail})
	}
	if w.Tenant != "" {
		f.Tenant = domain.TenantID(w.Tenant)
		if _, ok := s.ports.Directory.Get(f.Tenant); !ok {
			fault("tenant", "must be the id of a tenant")
		}
	}
	if w.Number != "" && !domain.ValidToken(w.Number) {
		fault("number", "must be a phone number id, as Meta gives it")
	}
	if w.Reason != "" && !slices.Contains(message.Reasons(), w.Reason) {
		fault("reason", "must be one of "+strings.Join(message.Reasons(), ", "))
	}
	for _, bound := range []struct {
		name, value string
		into        *time.Time
	}{{"since", w.Since, &f.Since}, {"until", w.Until, &f.Until}} {
		if bound.value == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, bound.value)
		if err != nil {
			fault(bound.name, "must be a time like 2026-01-31T12:00:00Z")
		}
		*bound.into = at
	}
	states := []string{message.LetterDead, message.LetterRedriven, message.LetterSettled, anyState}
	if !slices.Contains(states, w.State) {
		fault("state", "must be one of "+strings.Join(states, ", "))
	}
	if w.State == anyState {
		f.State = ""
	}
	return f, faults
}
