package main

import (
	"cmp"
	"slices"

	"github.com/sendlog/sendlog/domain"
)

// shares divides a total among those who want part of it: nobody gets more than
// is wanted, and what some do not need the others have, evenly.
func shares(total float64, wants []float64) []float64 {
	order := make([]int, len(wants))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(wants[a], wants[b]) })
	out := make([]float64, len(wants))
	for i, who := range order {
		out[who] = min(wants[who], total/float64(len(order)-i))
		total -= out[who]
	}
	return out
}

// pace is how many messages a second one of the running redrives may ask for
// now: what all of them may is shared by tenants first, and what is a tenant's
// by its redrives. A dry run asks for nothing.
func pace(mine *redriveRecord, running []*redriveRecord) float64 {
	wants, place := []float64{}, map[domain.TenantID]int{}
	var own []float64
	at := 0
	for _, r := range running {
		if r.DryRun {
			continue
		}
		t := r.Filter.Tenant
		i, known := place[t]
		if !known {
			i = len(wants)
			place[t], wants = i, append(wants, 0)
		}
		wants[i] += float64(r.Rate)
		if t == mine.Filter.Tenant {
			if r.ID == mine.ID {
				at = len(own)
			}
			own = append(own, float64(r.Rate))
		}
	}
	if len(own) == 0 {
		return float64(mine.Rate)
	}
	return shares(shares(redriveTotal, wants)[place[mine.Filter.Tenant]], own)[at]
}
