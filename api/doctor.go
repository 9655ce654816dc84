package api

import (
	"context"

	"github.com/gofiber/fiber/v2"
)

// Verdicts of a finding.
const (
	FindingOK   = "ok"
	FindingWarn = "warn" // it works, and a promise is worth less than it could be
	FindingFail = "fail" // a promise is not kept
)

// Finding is what one check found out.
type Finding struct {
	Check   string `json:"check"` // one word
	Verdict string `json:"verdict"`
	Means   string `json:"means"`            // words for the operator
	Remedy  string `json:"remedy,omitempty"` // what to do; empty when nothing is
}

// Doctor looks at the settings and the servers' real state.
type Doctor interface {
	// Examine returns one finding or more for every check, in a fixed order.
	Examine(ctx context.Context) []Finding
}

// examinationJSON answers /doctor.
type examinationJSON struct {
	Verdict  string    `json:"verdict"` // the worst of all
	Findings []Finding `json:"findings"`
}

func (s *Server) doctorRoutes() []route {
	return []route{{fiber.MethodGet, "/doctor", ofAdmin, s.examine}}
}

func (s *Server) examine(ctx context.Context, r request) error {
	if _, err := parseQuery(r.c); err != nil {
		return err
	}
	findings := s.ports.Doctor.Examine(ctx)
	return answer(r.c, fiber.StatusOK, examinationJSON{Verdict: Worst(findings), Findings: orEmpty(findings)})
}

// Worst returns the verdict that all of the findings come to.
func Worst(findings []Finding) string {
	worst := FindingOK
	for _, f := range findings {
		if f.Verdict == FindingFail || f.Verdict == FindingWarn && worst == FindingOK {
			worst = f.Verdict
		}
	}
	return worst
}
