package main

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sendlog/sendlog/domain"
)

// metric is one row of the table below.
type metric struct {
	labels []string
	help   string
}

// counters and histograms are the inventory of metrics. A name that is not
// here cannot be counted.
var counters = map[domain.Counter]metric{
	domain.SendsAccepted:     {nil, "Requests to send that were recorded."},
	domain.SendsLimited:      {nil, "Requests to send that a tenant's quota refused."},
	domain.SendsReplayed:     {nil, "Repeated requests answered from the log."},
	domain.PastUnknown:       {nil, "Keyed requests decided by the hot log alone, because the read models did not answer."},
	domain.WindowUnknown:     {nil, "Requests accepted without a look at the customer's window, because the read models did not answer."},
	domain.AttemptsConcluded: {[]string{"outcome"}, "Provider calls by outcome."},
	domain.FenceLost:         {nil, "Appends lost to another worker or a newer fact."},
	domain.DeadLettered:      {[]string{"reason"}, "Messages given up."},
	domain.WebhooksReceived:  {[]string{"result"}, "Webhook posts by result."},
	domain.WebhookFacts:      {[]string{"kind"}, "Facts found in webhooks."},
	domain.Quarantined:       {[]string{"reason"}, "Payloads kept in quarantine."},
	domain.AppendRetries:     {nil, "Publishes repeated because the answer said nothing."},
	domain.EventsFolded:      {[]string{"model"}, "Events folded into read models."},
	domain.LiveDropped:       {nil, "Listeners cut off because they were too slow."},
	domain.HTTPRequests:      {[]string{"route", "status"}, "HTTP requests."},
}

var histograms = map[domain.Histogram]metric{
	domain.AppendSeconds:  {nil, "Time of one append."},
	domain.AttemptSeconds: {nil, "Time of one provider call."},
	domain.AcceptToCall:   {nil, "Time from the accepted request to its first provider call."},
	domain.HTTPSeconds:    {[]string{"route"}, "Time of one HTTP request."},
}

// meter backs [domain.Meter] with Prometheus.
type meter struct {
	registry   *prometheus.Registry
	counters   map[domain.Counter]*prometheus.CounterVec
	histograms map[domain.Histogram]*prometheus.HistogramVec
}

func newMeter() *meter {
	m := &meter{
		registry:   prometheus.NewRegistry(),
		counters:   map[domain.Counter]*prometheus.CounterVec{},
		histograms: map[domain.Histogram]*prometheus.HistogramVec{},
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for name, d := range counters {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: string(name), Help: d.help}, d.labels)
		m.registry.MustRegister(v)
		m.counters[name] = v
		if len(d.labels) == 0 {
			v.WithLabelValues() // shown as 0 before the first
		}
	}
	for name, d := range histograms {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: string(name), Help: d.help,
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 17)}, d.labels) // 0.5 ms to 33 s
		m.registry.MustRegister(v)
		m.histograms[name] = v
	}
	return m
}

// gauge registers a value that is read when somebody asks.
func (m *meter) gauge(name, help string, labels map[string]string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, read))
}

// Add implements [domain.Meter].
func (m *meter) Add(c domain.Counter, n int, labels ...string) {
	m.counters[c].WithLabelValues(clean(labels)...).Add(float64(n))
}

// Observe implements [domain.Meter].
func (m *meter) Observe(h domain.Histogram, seconds float64, labels ...string) {
	m.histograms[h].WithLabelValues(clean(labels)...).Observe(max(0, seconds))
}

// clean keeps label values printable; they are words of our own tables.
func clean(labels []string) []string {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "?")
	}
	return labels
}

func (m *meter) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
