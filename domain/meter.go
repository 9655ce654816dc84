package domain

// Counter and Histogram name the metrics of the house. One table in
// cmd/sendlog gives each its help text.
type (
	Counter   string
	Histogram string
)

// The metrics. Labels are closed sets of words, never ids of tenants, people
// or messages.
const (
	SendsAccepted     Counter   = "sendlog_sends_accepted_total"
	SendsLimited      Counter   = "sendlog_sends_limited_total" // refused by a tenant's quota
	SendsReplayed     Counter   = "sendlog_sends_replayed_total"
	PastUnknown       Counter   = "sendlog_past_unknown_total"   // keyed requests decided by the hot log alone
	WindowUnknown     Counter   = "sendlog_window_unknown_total" // requests accepted without a look at the customer's window
	AttemptsConcluded Counter   = "sendlog_attempts_total"       // outcome
	FenceLost         Counter   = "sendlog_fence_lost_total"     // a second worker dropped the job
	DeadLettered      Counter   = "sendlog_dead_letters_total"   // reason
	WebhooksReceived  Counter   = "sendlog_webhook_posts_total"  // result
	WebhookFacts      Counter   = "sendlog_webhook_facts_total"  // kind
	Quarantined       Counter   = "sendlog_quarantined_total"    // reason
	AppendRetries     Counter   = "sendlog_append_retries_total" // cause
	EventsFolded      Counter   = "sendlog_events_folded_total"  // model
	LiveDropped       Counter   = "sendlog_live_dropped_total"   // a slow listener was cut off
	HTTPRequests      Counter   = "sendlog_http_requests_total"  // route, status
	AppendSeconds     Histogram = "sendlog_append_seconds"
	AttemptSeconds    Histogram = "sendlog_attempt_seconds"
	AcceptToCall      Histogram = "sendlog_accept_to_call_seconds"
	HTTPSeconds       Histogram = "sendlog_http_seconds" // route
)

// Meter counts what happens. cmd/sendlog backs it with Prometheus.
type Meter interface {
	Add(c Counter, n int, labels ...string)
	Observe(h Histogram, seconds float64, labels ...string)
}

// NoMeter counts nothing.
type NoMeter struct{}

// Add implements [Meter].
func (NoMeter) Add(Counter, int, ...string) {}

// Observe implements [Meter].
func (NoMeter) Observe(Histogram, float64, ...string) {}
