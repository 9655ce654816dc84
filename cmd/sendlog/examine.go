package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sendlog/sendlog/api"
	"github.com/sendlog/sendlog/domain"
	"github.com/sendlog/sendlog/projections/mongostore"
	"github.com/sendlog/sendlog/streams"
)

const (
	// examinePatience bounds one check.
	examinePatience = 5 * time.Second
	// clockWarn and clockFail are how far the clocks of this process and of
	// the log's servers may be apart: statuses are compared with our own times.
	clockWarn = time.Second
	clockFail = 30 * time.Second
	// lagWarn is how far the archive or a read model may be behind (events).
	lagWarn = 100_000
	// diskWarn and diskFail are what should be free on an embedded log's disk
	// (bytes).
	diskWarn = 2 << 30
	diskFail = 256 << 20
)

// Examine implements api.Doctor.
func (h *house) Examine(ctx context.Context) []api.Finding {
	checks := []func(context.Context) []api.Finding{
		h.examineLog, h.examineArchive, h.examineReadModels, h.examineMasterKey, h.examineSecrets, h.examineGraph,
	}
	found := make([][]api.Finding, len(checks))
	var all sync.WaitGroup
	for i, check := range checks {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, examinePatience)
			defer cancel()
			found[i] = check(ctx)
		})
	}
	all.Wait()
	var out []api.Finding
	for _, f := range found {
		out = append(out, f...)
	}
	return out
}

func fine(check, format string, args ...any) api.Finding {
	return api.Finding{Check: check, Verdict: api.FindingOK, Means: fmt.Sprintf(format, args...)}
}

func warning(check, remedy, format string, args ...any) api.Finding {
	return api.Finding{Check: check, Verdict: api.FindingWarn, Means: fmt.Sprintf(format, args...), Remedy: remedy}
}

func failure(check, remedy, format string, args ...any) api.Finding {
	return api.Finding{Check: check, Verdict: api.FindingFail, Means: fmt.Sprintf(format, args...), Remedy: remedy}
}

// examineLog looks at the servers of the log.
func (h *house) examineLog(ctx context.Context) []api.Finding {
	s, err := h.broker.Survey(ctx)
	if err != nil {
		return []api.Finding{failure("log", "see that the servers of NATS_URL run, and have a leader", "the log does not answer: %s", cause(err))}
	}
	out := []api.Finding{h.judgeServer(s)}
	out = append(out, h.judgeDurability(ctx, s)...)
	if s.Embedded {
		out = append(out, fine("lock", "the log in %s is locked against other processes", h.config.DataDir), judgeDisk(s))
	}
	return append(out, judgeLimits(s), judgeClock(s), judgeStreams(s), judgeLanes(s))
}

func (h *house) judgeServer(s streams.Survey) api.Finding {
	switch {
	case s.Embedded:
		return fine("server", "the log is in this process (nats-server %s), in %s", s.Version, h.config.DataDir)
	case older(s.Version, s.Tested):
		return warning("server", "upgrade it", "%s runs nats-server %s; this build is tested with %s", s.Server, s.Version, s.Tested)
	case s.Cluster == "":
		return fine("server", "the log is on one external server, %s (nats-server %s)", s.Server, s.Version)
	}
	return fine("server", "the log is on the cluster %s (%s runs nats-server %s)", s.Cluster, s.Server, s.Version)
}

// older reports whether a version's first two numbers are below another's.
func older(version, than string) bool {
	var a, b [2]int
	if _, err := fmt.Sscanf(version, "%d.%d", &a[0], &a[1]); err != nil {
		return true // none that we know
	}
	_, _ = fmt.Sscanf(than, "%d.%d", &b[0], &b[1]) // our own
	return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
}

// judgeDurability says what a 202 is worth.
func (h *house) judgeDurability(ctx context.Context, s streams.Survey) []api.Finding {
	const check = "durability"
	if s.Embedded {
		if h.config.Durability == streams.Strict {
			return []api.Finding{fine(check, "a 202 is on this disk (fsync before the answer); there is one copy, so a lost disk loses the log")}
		}
		return []api.Finding{warning(check, "set DURABILITY=strict",
			"a 202 survives a killed process; a power cut may lose the last 0.1 s, attempts included, so a message may go out twice")}
	}
	var out []api.Finding
	for _, stream := range s.Streams {
		switch {
		case stream.Replicas > 1 && len(stream.Away) > 0:
			out = append(out, warning("replicas", "bring them back: until then fewer losses can be borne",
				"%s has %d copies, and %s are away or behind", stream.Name, stream.Replicas, strings.Join(stream.Away, ", ")))
		case stream.Replicas == 1:
			out = append(out, warning("replicas", "run a cluster of three",
				"%s has one copy: a lost disk loses it, and while its server is away nothing is accepted", stream.Name))
		default:
			out = append(out, fine("replicas", "%s has %d copies; a 202 is on most of them, so one lost server loses nothing", stream.Name, stream.Replicas))
		}
	}
	return append(out, h.judgeSync(ctx)...)
}

// judgeSync says when the external servers bring what they answered to disk.
// JetStream does not tell its clients; the monitoring port does.
func (h *house) judgeSync(ctx context.Context) []api.Finding {
	const check = "sync"
	if len(h.config.NATSMonitors) == 0 {
		return []api.Finding{warning(check, "set sync_interval: always (or 100ms) in their configuration, and NATS_MONITOR_URL so that this is checked",
			"when the servers sync to disk cannot be asked without NATS_MONITOR_URL; their default is every 2 minutes, which a power cut of most of them may lose")}
	}
	var out []api.Finding
	for _, monitor := range h.config.NATSMonitors {
		v, err := readVarz(ctx, monitor)
		switch {
		case err != nil:
			out = append(out, warning(check, "see that NATS_MONITOR_URL is the monitoring port of each server", "a monitoring port does not answer: %s", err))
		case v.JetStream.Config.SyncAlways:
			out = append(out, fine(check, "%s syncs before it answers: a 202 is on its disk", v.ServerName))
		case v.JetStream.Config.SyncInterval <= 100*time.Millisecond && v.JetStream.Config.SyncInterval > 0:
			out = append(out, fine(check, "%s syncs every %s: a power cut of most servers at once may lose that much", v.ServerName, v.JetStream.Config.SyncInterval))
		default:
			out = append(out, warning(check, "set sync_interval: always (or 100ms) in its configuration",
				"%s syncs every %s: a power cut of most servers at once may lose that much, attempts included, so messages may go out twice",
				v.ServerName, v.JetStream.Config.SyncInterval))
		}
	}
	return out
}

// varz is what we read of a monitoring port.
type varz struct {
	ServerName string `json:"server_name"`
	JetStream  struct {
		Config struct {
			SyncAlways   bool          `json:"sync_always"`
			SyncInterval time.Duration `json:"sync_interval"`
		} `json:"config"`
	} `json:"jetstream"`
}

func readVarz(ctx context.Context, monitor string) (v varz, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(monitor, "/")+"/varz", nil)
	if err != nil {
		return v, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return v, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return v, fmt.Errorf("it answered %s", res.Status)
	}
	return v, json.NewDecoder(res.Body).Decode(&v)
}

func judgeDisk(s streams.Survey) api.Finding {
	const check, remedy = "disk", "make room, or move DATA_DIR"
	switch free := s.DiskFree; {
	case free < diskFail:
		return failure(check, remedy, "%d MiB are free: requests are about to be refused", free>>20)
	case free < diskWarn:
		return warning(check, remedy, "%d MiB are free", free>>20)
	default:
		return fine(check, "%d GiB are free", free>>30)
	}
}

func judgeLimits(s streams.Survey) api.Finding {
	const check = "limits"
	switch {
	case s.MaxPayload < domain.MaxEvent:
		return failure(check, fmt.Sprintf("set max_payload to %d or more", domain.MaxEvent),
			"the servers take messages of %d bytes, and an event may have %d", s.MaxPayload, domain.MaxEvent)
	case s.MaxStore > 0 && s.Store > s.MaxStore/10*9:
		return warning(check, "give the log more room, or keep less (LOG_RETENTION)", "the log fills %d %% of its room; when it is full requests are refused", s.Store*100/s.MaxStore)
	case s.MaxStore > 0:
		return fine(check, "messages of %d bytes are taken; the log fills %d %% of its room (%d GiB)", s.MaxPayload, s.Store*100/s.MaxStore, s.MaxStore>>30)
	}
	return fine(check, "messages of %d bytes are taken; the log has %d MiB and no limit of its own", s.MaxPayload, s.Store>>20)
}

func judgeClock(s streams.Survey) api.Finding {
	const check, remedy = "clock", "set the clocks by NTP"
	switch apart := s.Skew.Abs() - s.SkewError; {
	case apart > clockFail:
		return failure(check, remedy, "the clock of the log's servers is %s from this one's: times of events and of keys cannot be believed", s.Skew.Round(time.Millisecond))
	case apart > clockWarn:
		return warning(check, remedy, "the clock of the log's servers is %s from this one's", s.Skew.Round(time.Millisecond))
	}
	return fine(check, "the clock of the log's servers agrees with this one's")
}

func judgeStreams(s streams.Survey) api.Finding {
	var wrong, missing []string
	for _, stream := range s.Streams {
		for _, d := range stream.Differs {
			wrong = append(wrong, stream.Name+": "+d)
		}
		// Nothing is ever deleted from these two; the others forget by age.
		if stream.Missing > 0 && stream.Append {
			missing = append(missing, fmt.Sprintf("%d of %s", stream.Missing, stream.Name))
		}
	}
	switch {
	case len(missing) > 0:
		return failure("streams", "restore them from a replica or a backup", "events are missing: %s", strings.Join(missing, ", "))
	case len(wrong) > 0:
		return failure("streams", "somebody changed them; a start of sendlog sets them right", "%s", strings.Join(wrong, "; "))
	}
	return fine("streams", "all %d are as this build asks for, and none misses an event", len(s.Streams))
}

func judgeLanes(s streams.Survey) api.Finding {
	var wrong, idle []string
	waiting := uint64(0)
	for _, l := range s.Lanes {
		for _, d := range l.Differs {
			wrong = append(wrong, fmt.Sprintf("lane %d: %s", l.Lane, d))
		}
		if waiting += l.Waiting; l.Waiting > 0 && !l.Owned {
			idle = append(idle, fmt.Sprint(l.Lane))
		}
	}
	switch {
	case len(wrong) > 0:
		return failure("lanes", "somebody changed them; a start of sendlog sets them right", "%s", strings.Join(wrong, "; "))
	case len(idle) > 0:
		return warning("lanes", "start a process with the role dispatch", "%d events wait, and nobody works the lanes %s", waiting, strings.Join(idle, ", "))
	}
	return fine("lanes", "all %d are as this build asks for; %d events wait", len(s.Lanes), waiting)
}

// examineArchive looks for gaps, and at how far the archive is.
func (h *house) examineArchive(ctx context.Context) []api.Finding {
	if err := h.broker.Ready(ctx); err != nil {
		return []api.Finding{failure("gaps", "restore what it names from a replica or a backup", "%s", err)}
	}
	out := []api.Finding{fine("gaps", "the hot log and the archive hold every event from the first kept to the newest")}
	e, err := h.broker.Extent(ctx)
	if err != nil {
		return append(out, failure("archive", "", "the archive does not answer: %s", cause(err)))
	}
	if lag := max(e.Last, e.Archived) - e.Archived; lag > lagWarn {
		return append(out, warning("archive", "look for `archiving stopped` in the logs of the processes with the role project",
			"%d events are not archived yet; the hot log, and with it memory and restart time, grow meanwhile", lag))
	}
	return append(out, fine("archive", "archived up to %d of %d; the hot log begins at %d", e.Archived, e.Last, e.First))
}

// examineReadModels looks at the store, and at how far the models are.
func (h *house) examineReadModels(ctx context.Context) []api.Finding {
	var out []api.Finding
	if m, ok := h.store.(*mongostore.Store); !ok {
		out = append(out, fine("store", "read models are in SQLite in %s; they can be rebuilt from the log", h.config.DataDir))
	} else if d, err := m.Deployment(ctx); err != nil {
		out = append(out, failure("store", "see that MongoDB runs", "%s", cause(err)))
	} else if d.ReplicaSet == "" && !d.Sharded {
		out = append(out, warning("store", "run a replica set of three", "MongoDB is one server without a replica set: writes (w: majority) are as safe as that server; read models can be rebuilt from the log"))
	} else {
		out = append(out, fine("store", "MongoDB: replica set %q of %d, written with w: majority", d.ReplicaSet, d.Members))
	}
	lag, err := h.library.Lag(ctx)
	if err != nil {
		return append(out, failure("read_models", "", "%s", cause(err)))
	}
	for _, m := range h.library.Health() {
		switch {
		case m.Generation == 0:
			out = append(out, failure("read_models", "wait for its rebuild, or start a process with the role project", "%s cannot be read yet", m.Model))
		case m.Err != nil:
			out = append(out, failure("read_models", "mend what it says, or rebuild it", "%s stands still at %d: %s", m.Model, m.Position, cause(m.Err)))
		case lag[m.Model] > lagWarn:
			out = append(out, warning("read_models", "start more processes with the role project, or a faster store", "%s is %d events behind", m.Model, lag[m.Model]))
		default:
			out = append(out, fine("read_models", "%s is at %d, %d events behind", m.Model, m.Position, lag[m.Model]))
		}
	}
	return out
}

// examineMasterKey opens the data key of every tenant.
func (h *house) examineMasterKey(context.Context) []api.Finding {
	const check = "master_key"
	after, opened, former := domain.TenantID(""), 0, 0
	for {
		page := h.directory.List(after, domain.MaxPage)
		if len(page) == 0 {
			break
		}
		for _, t := range page {
			after = t.ID
			wrapped, _ := h.directory.DataKey(t.ID)
			if err := h.vault.Check(wrapped, t.ID); err != nil {
				return []api.Finding{failure(check, "set MASTER_KEY, or MASTER_KEY_PREVIOUS, to the key its data was sealed with", "the data key of %s cannot be opened: %s", t.ID, cause(err))}
			}
			if opened++; h.directory.KEK(t.ID) != h.vault.KEK() {
				former++
			}
		}
	}
	if former > 0 {
		return []api.Finding{warning(check, "sendlog keys rotate", "it opens the data of all %d tenants; %d are still under a former key", opened, former)}
	}
	return []api.Finding{fine(check, "it opens the data of all %d tenants", opened)}
}

// examineSecrets says which doors are open.
func (h *house) examineSecrets(context.Context) []api.Finding {
	c := h.config
	var out []api.Finding
	say := func(check string, set bool, remedy, means string) {
		if set {
			out = append(out, fine(check, "is set"))
		} else {
			out = append(out, warning(check, remedy, "%s", means))
		}
	}
	say("admin_key", c.AdminKey != "", "set ADMIN_KEY (openssl rand -hex 16)", "ADMIN_KEY is not set: everybody on this machine may do everything")
	say("app_secret", len(c.AppSecrets) > 0, "set APP_SECRET from the Meta app's basic settings", "APP_SECRET is not set: webhooks are believed unchecked")
	say("verify_token", c.VerifyToken != "", "set VERIFY_TOKEN to a word of your own", "VERIFY_TOKEN is not set: Meta cannot subscribe")
	return out
}

// examineGraph dials Meta. It sends nothing.
func (h *house) examineGraph(ctx context.Context) []api.Finding {
	const check = "graph"
	u, err := url.Parse(h.config.GraphURL)
	if err != nil {
		return []api.Finding{failing(check, err)}
	}
	port := u.Port()
	if port == "" {
		port = u.Scheme
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return []api.Finding{warning(check, "open the way to it: what is to be sent waits meanwhile", "GRAPH_URL (%s) cannot be reached from here: %s", u.Host, err)}
	}
	_ = conn.Close() // nothing was said
	return []api.Finding{fine(check, "%s can be reached", u.Host)}
}

// cause is what stands behind an error, in the operator's words.
func cause(err error) string {
	if e, ok := errors.AsType[*domain.Error](err); ok && e.Cause != nil {
		return e.Cause.Error()
	}
	return err.Error()
}
