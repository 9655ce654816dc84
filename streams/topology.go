package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// Names of the streams.
const (
	streamEvents     = "EVENTS"
	streamTenants    = "TENANTS"
	streamQuarantine = "QUARANTINE"
	streamDead       = "DLQ"
	streamSpill      = "SPILL"
	streamSchedule   = "SCHED"
	streamJobs       = "JOBS"
)

const (
	// duplicateWindow answers a lost acknowledgement; longer keys are the job
	// of the expected sequence. Each id costs about 140 B of RAM.
	duplicateWindow = 10 * time.Minute

	// Quarantine and DLQ are kept this long.
	quarantineAge = 90 * 24 * time.Hour
	deadAge       = 90 * 24 * time.Hour
)

// Lane consumers.
const (
	// laneAckWait is how long a worker may be silent about a message before it
	// is handed out again; holders report progress every third of it.
	laneAckWait = 60 * time.Second
	// laneMaxPending bounds the messages one lane holds in memory.
	laneMaxPending = 2000
	// lanePinnedTTL is how soon a lane is taken over from an owner that
	// stopped asking for work.
	lanePinnedTTL = 10 * time.Second
	laneGroup     = "owner"
)

// streamConfigs is the inventory of streams (docs/architecture.md lists the
// same).
func streamConfigs(replicas int) []jetstream.StreamConfig {
	base := func(name, subjects string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Subjects: []string{subjects}, Storage: jetstream.FileStorage,
			Retention: jetstream.LimitsPolicy, Replicas: replicas,
			// Reads go to the leader: a follower may lag behind its own writes.
			AllowDirect: false,
			// Refuse new facts rather than forget old ones.
			Discard: jetstream.DiscardNew,
		}
	}
	events := base(streamEvents, "evt.>")
	events.Duplicates = duplicateWindow
	events.AllowAtomicPublish = true
	tenants := base(streamTenants, "tenant.>")
	tenants.Duplicates = duplicateWindow
	quarantine := base(streamQuarantine, "quarantine.>")
	quarantine.Duplicates = duplicateWindow
	quarantine.MaxAge = quarantineAge
	quarantine.AllowMsgTTL = true // what is sealed anew does not live longer for it
	quarantine.Discard = jetstream.DiscardOld
	dead := base(streamDead, "dlq.>")
	dead.MaxAge = deadAge
	dead.Discard = jetstream.DiscardOld
	spill := base(streamSpill, spillAll)
	spill.MaxMsgsPerSubject = 1
	spill.Discard = jetstream.DiscardOld
	jobs := base(streamJobs, jobsAll)
	jobs.MaxMsgsPerSubject = 1
	jobs.MaxAge = jobAge
	jobs.Discard = jetstream.DiscardOld
	// What is waiting is nobody's work yet and stays; what is due stays until it
	// is done.
	schedule := base(streamSchedule, scheduleAll)
	schedule.Subjects = append(schedule.Subjects, dueAll, shelfAll, waitAll)
	schedule.Retention = jetstream.WorkQueuePolicy
	schedule.Discard = jetstream.DiscardOld // as schedules demand; there is nothing that could make it discard
	schedule.AllowMsgSchedules = true
	schedule.AllowRollup = true
	return []jetstream.StreamConfig{events, tenants, quarantine, dead, spill, jobs, schedule}
}

// archiveConfig is an archive stream whose first event has a position. Nothing
// is deleted from it or purged; LOG_RETENTION drops it whole.
func archiveConfig(name string, first uint64, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: name, Subjects: []string{archiveSubjects(name)}, Storage: jetstream.FileStorage,
		Retention: jetstream.LimitsPolicy, Replicas: replicas, Discard: jetstream.DiscardNew,
		FirstSeq: first, Compression: jetstream.S2Compression, DenyDelete: true, DenyPurge: true,
	}
}

func laneConsumer(lane int) jetstream.ConsumerConfig {
	return workConsumer(fmt.Sprintf("lane%02d", lane), laneSubject(lane))
}

func dueConsumer(lane int) jetstream.ConsumerConfig {
	return workConsumer(fmt.Sprintf("due%02d", lane), dueLane(lane))
}

func workConsumer(name, subject string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       name,
		FilterSubject: subject,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       laneAckWait,
		// A server that counts drops what reached its limit, and nobody would ever
		// hear of it again; and its count begins anew with every reset. So who works
		// the lane counts, and buries.
		MaxDeliver:     -1,
		MaxAckPending:  laneMaxPending,
		PriorityPolicy: jetstream.PriorityPolicyPinned,
		PriorityGroups: []string{laneGroup},
		PinnedTTL:      lanePinnedTTL,
	}
}

// clusterPatience bounds how long a start waits for one stream or consumer:
// nodes may be joining, or electing.
const clusterPatience = 20 * time.Second

// ensureTopology creates what is missing and updates what differs. Several
// processes may run it at once: the settings are the same in each. It is
// patient with a cluster that is just starting, or electing.
func ensureTopology(ctx context.Context, js asker, replicas int) error {
	for _, c := range streamConfigs(replicas) {
		if err := ensureStream(ctx, js, c); err != nil {
			return fmt.Errorf("ensure stream %s: %w", c.Name, err)
		}
	}
	for lane := range domain.Lanes {
		for stream, c := range map[string]jetstream.ConsumerConfig{streamEvents: laneConsumer(lane), streamSchedule: dueConsumer(lane)} {
			if err := ensureConsumer(ctx, js, stream, c); err != nil {
				return fmt.Errorf("ensure consumer %s: %w", c.Durable, err)
			}
		}
	}
	return nil
}

func ensureStream(ctx context.Context, js asker, c jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	s, err := js.CreateOrUpdateStream(ctx, c)
	if err != nil {
		return err
	}
	return understood(c, s.CachedInfo().Config)
}

func ensureConsumer(ctx context.Context, js asker, stream string, c jetstream.ConsumerConfig) error {
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	_, err := js.CreateOrUpdateConsumer(ctx, stream, c)
	if errors.Is(err, jetstream.ErrConsumerExists) {
		return nil // another process was first
	}
	return err
}

// understood returns nil when the servers know what was asked of a stream. Old
// ones leave out what they do not know, without a word.
func understood(asked, got jetstream.StreamConfig) error {
	switch {
	case asked.AllowAtomicPublish && !got.AllowAtomicPublish:
		return errors.New("the NATS servers know no atomic batches (allow_atomic); nats-server 2.12 or newer does")
	case asked.AllowMsgSchedules && !got.AllowMsgSchedules:
		return errors.New("the NATS servers know no message schedules (allow_msg_schedules), which send_at needs; nats-server 2.12 or newer does")
	}
	return nil
}
