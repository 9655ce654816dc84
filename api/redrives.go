package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/domain/message"
)

// redriveJSON is one redrive and how far it is.
type redriveJSON struct {
	ID         string            `json:"id"`
	State      string            `json:"state"` // running, done, cancelled or failed
	DryRun     bool              `json:"dry_run"`
	By         string            `json:"by"`
	Tenant     *domain.TenantID  `json:"tenant"` // null: of all tenants
	Rate       int               `json:"rate"`   // per second at most
	Matched    int               `json:"matched"`
	Redriven   int               `json:"redriven"`
	Would      *int              `json:"would_redrive"` // null unless it is a dry run, which redrives nothing
	InDoubt    int               `json:"in_doubt"`      // of those that are, or would be, redriven: may have been delivered already
	Skipped    []skippedJSON     `json:"skipped"`
	Counts     []letterCountJSON `json:"counts"` // of what matched
	ETASeconds *int              `json:"eta_seconds"`
	StartedAt  *time.Time        `json:"started_at"`
	EndedAt    *time.Time        `json:"ended_at"`
	Error      *string           `json:"error"`
}

type skippedJSON struct {
	Reason  string           `json:"reason"`
	Count   int              `json:"count"`
	Example domain.MessageID `json:"example"`
}

type letterCountJSON struct {
	Tenant *domain.TenantID `json:"tenant"` // null: the sum of those that have no line of their own
	Code   int              `json:"code"`
	Count  int              `json:"count"`
}

func viewRedrive(v Redriving) redriveJSON {
	out := redriveJSON{
		ID: v.ID, State: v.State, DryRun: v.DryRun, By: v.By, Tenant: orNull(v.Tenant), Rate: v.Rate, Matched: v.Matched,
		Redriven: v.Redriven, InDoubt: v.InDoubt, Skipped: make([]skippedJSON, len(v.Skipped)), Counts: make([]letterCountJSON, len(v.Counts)),
		StartedAt: when(v.StartedAt), EndedAt: when(v.EndedAt), Error: orNull(v.Error),
	}
	if v.DryRun {
		out.Redriven, out.Would = 0, &v.Redriven
	}
	for i, one := range v.Skipped {
		out.Skipped[i] = skippedJSON(one)
	}
	for i, one := range v.Counts {
		out.Counts[i] = letterCountJSON{orNull(one.Tenant), one.Code, one.Count}
	}
	if v.ETA > 0 {
		eta := int(math.Ceil(v.ETA.Seconds()))
		out.ETASeconds = &eta
	}
	return out
}

func (s *Server) redriveRoutes(admin bool) []route {
	under := func(prefix string, read, act access) []route {
		return []route{
			{fiber.MethodPost, prefix + "/dlq/redrive", act, s.redrive},
			{fiber.MethodGet, prefix + "/dlq/redrives", read, s.listRedrives},
			{fiber.MethodGet, prefix + "/dlq/redrives/:redriveId", read, s.showRedrive},
			{fiber.MethodPost, prefix + "/dlq/redrives/:redriveId/cancel", act, s.cancelRedrive},
		}
	}
	all := under(tenantPath, toRead, toManage)
	if admin {
		all = append(all, under("", ofAdmin, ofAdmin)...)
	}
	return all
}

// redrive begins to try dead letters again. The answer waits a moment: a small
// redrive is done in it.
func (s *Server) redrive(ctx context.Context, r request) error {
	wish, err := s.redriveWish(r)
	if err != nil {
		return err
	}
	v, err := s.ports.Redrives.StartRedrive(ctx, wish)
	if err != nil {
		return err
	}
	where := "/dlq/redrives/" + v.ID
	if r.tenant.ID != "" {
		where = "/tenants/" + string(r.tenant.ID) + where
	}
	r.c.Set(fiber.HeaderLocation, where)
	return answer(r.c, fiber.StatusAccepted, viewRedrive(v))
}

func (s *Server) redriveWish(r request) (RedriveWish, error) {
	var (
		ids    []string
		filter json.RawMessage
		all    bool
		wish   = RedriveWish{Rate: defaultRedriveRate, By: r.actor}
	)
	err := decode(r.c, texts("ids", &ids), member{"filter", &filter, "an object"}, flag("all", &all),
		whole("rate", &wish.Rate), flag("dry_run", &wish.DryRun))
	if err != nil {
		return wish, err
	}
	at := func(pointer, detail string) error {
		return &domain.Error{Kind: domain.Invalid, Message: "it is not clear what to redrive, or how",
			Faults: []domain.Fault{{Pointer: pointer, Detail: detail}}}
	}
	ways := 0
	for _, chosen := range []bool{len(ids) > 0, filter != nil, all} {
		if chosen {
			ways++
		}
	}
	switch {
	case ways != 1:
		return wish, at("", `say exactly one of {"ids":["msg_…"]}, {"filter":{"code":131026}} or {"all":true}`)
	case len(ids) > maxRedriveIDs:
		return wish, at("/ids", fmt.Sprintf("names more than %d messages; redrive them in parts, or by a filter", maxRedriveIDs))
	case wish.Rate < 1 || wish.Rate > maxRedriveRate:
		return wish, at("/rate", fmt.Sprintf("must be a number of messages per second, from 1 to %d", maxRedriveRate))
	}
	for _, id := range ids {
		if !domain.ValidToken(id) {
			return wish, at("/ids", "holds something that is not the id of a message")
		}
		if !slices.Contains(wish.IDs, id) {
			wish.IDs = append(wish.IDs, id)
		}
	}
	if wish.Filter, err = s.redriveFilter(r, filter); err != nil {
		return wish, err
	}
	return wish, nil
}

// redriveFilter reads the filter of a redrive, which selects dead letters only.
func (s *Server) redriveFilter(r request, written json.RawMessage) (message.LetterFilter, error) {
	dead := message.LetterFilter{Tenant: r.tenant.ID, State: message.LetterDead}
	if written == nil {
		return dead, nil
	}
	w := letterWords{State: message.LetterDead}
	members := []member{text("number", &w.Number), maybe("code", &w.Code), text("reason", &w.Reason), text("since", &w.Since), text("until", &w.Until)}
	if r.tenant.ID == "" {
		members = append(members, text("tenant", &w.Tenant))
	}
	rest, faults, err := take(written, members...)
	if err != nil {
		return dead, &domain.Error{Kind: domain.Invalid, Message: "the filter cannot be read",
			Faults: []domain.Fault{{Pointer: "/filter", Detail: "must be an object"}}}
	}
	for name := range rest {
		faults = append(faults, domain.Fault{Pointer: pointer(name), Detail: "is not a part of a filter; it takes " + names(members)})
	}
	if len(faults) == 0 {
		dead, faults = s.letterFilter(r, w)
	}
	if len(faults) == 0 && w == (letterWords{State: message.LetterDead}) {
		faults = []domain.Fault{{Detail: `selects everything; if that is meant, say {"all":true}`}}
	}
	if len(faults) == 0 {
		return dead, nil
	}
	for i := range faults {
		faults[i].Pointer = "/filter" + faults[i].Pointer
	}
	return dead, misshapen(faults)
}

func (s *Server) listRedrives(_ context.Context, r request) error {
	if _, err := parseQuery(r.c); err != nil {
		return err
	}
	out := listJSON[redriveJSON]{Data: []redriveJSON{}}
	for _, v := range s.ports.Redrives.Redrives(r.tenant.ID) {
		out.Data = append(out.Data, viewRedrive(v))
	}
	return answer(r.c, fiber.StatusOK, out)
}

func (s *Server) showRedrive(ctx context.Context, r request) error {
	id, err := s.one(ctx, r, "redriveId", "there is no such redrive")
	if err != nil {
		return err
	}
	v, err := s.ports.Redrives.Redrive(r.tenant.ID, id)
	if err != nil {
		return err
	}
	return answer(r.c, fiber.StatusOK, viewRedrive(v))
}

// cancelRedrive stops a redrive: what it has asked for goes on, the rest stays
// dead.
func (s *Server) cancelRedrive(ctx context.Context, r request) error {
	if err := decodeAny(r.c); err != nil {
		return err
	}
	v, err := s.ports.Redrives.CancelRedrive(ctx, r.tenant.ID, strings.Clone(r.c.Params("redriveId")))
	if err != nil {
		return err
	}
	return answer(r.c, fiber.StatusOK, viewRedrive(v))
}
