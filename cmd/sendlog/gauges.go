package main

import (
	"context"
	"time"

	"github.com/sendlog/sendlog/dispatch"
)

// gaugeTimeout bounds what a scrape may ask of the log.
const gaugeTimeout = 2 * time.Second

func (h *house) gauges() {
	for i, m := range h.library.Health() {
		labels := map[string]string{"model": m.Model}
		h.meter.gauge("sendlog_model_position", "Position a read model has folded.", labels, func() float64 {
			return float64(h.library.Health()[i].Position)
		})
		h.meter.gauge("sendlog_model_lag", "Positions a read model is behind the log.", labels, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), gaugeTimeout) // a scrape brings no context
			defer cancel()
			lag, err := h.library.Lag(ctx)
			if err != nil {
				return -1
			}
			return float64(lag[m.Model])
		})
	}
	h.meter.gauge("sendlog_numbers_blocked", "Numbers from which Meta lets nothing, or no templates, be sent.", nil, func() float64 {
		return float64(len(h.directory.Blocked()))
	})
	h.meter.gauge("sendlog_lane_waiting", "Message events no worker has taken.", nil, func() float64 {
		waiting, _ := h.laneSums()
		return waiting
	})
	h.meter.gauge("sendlog_dead_letters_kept", "Copies in the dead-letter stream, redriven ones included.", nil, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), gaugeTimeout) // a scrape brings no context
		defer cancel()
		n, err := h.broker.Dead().Count(ctx)
		if err != nil {
			return -1
		}
		return float64(n)
	})
	h.meter.gauge("sendlog_lane_working", "Message events taken and not done.", nil, func() float64 {
		_, working := h.laneSums()
		return working
	})
	h.archiveGauges()
}

func (h *house) laneSums() (waiting, working float64) {
	ctx, cancel := context.WithTimeout(context.Background(), gaugeTimeout) // a scrape brings no context
	defer cancel()
	lanes, err := h.broker.Lanes(ctx)
	if err != nil {
		return -1, -1
	}
	for _, l := range lanes {
		waiting, working = waiting+float64(l.Waiting), working+float64(l.Working)
	}
	return waiting, working
}

// dispatchGauges show what waits in this process.
func (h *house) dispatchGauges(d *dispatch.Dispatcher) {
	h.meter.gauge("sendlog_backlogs", "Backlogs of this process: of numbers with more waiting than it keeps in memory, interactive and bulk ones apart.", nil, func() float64 {
		open, _ := d.Backlogged()
		return float64(open)
	})
	h.meter.gauge("sendlog_backlog_age_seconds", "Age of the oldest request this process read last from a backlog.", nil, func() float64 {
		_, age := d.Backlogged()
		return age.Seconds()
	})
	for what, count := range map[string]func(dispatch.Waiting) int{
		"number": func(w dispatch.Waiting) int { return w.Number },
		"pair":   func(w dispatch.Waiting) int { return w.Pair },
		"slot":   func(w dispatch.Waiting) int { return w.Slot },
	} {
		h.meter.gauge("sendlog_turn_waiting", "Messages of this process that are due and wait: for the pace of their number, of number and recipient, or for a free call.",
			map[string]string{"for": what}, func() float64 { return float64(count(d.Waiting())) })
	}
}
