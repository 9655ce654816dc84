package streams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sendlog/sendlog/domain"
)

// Survey is what the servers really are, for an operator to judge: what a
// promise is worth depends on it.
type Survey struct {
	Embedded   bool
	Server     string        // name
	Version    string        // of nats-server
	Tested     string        // the version this build is tested with
	Cluster    string        // name; empty: one server
	MaxPayload int64         // bytes
	Store      int64         // bytes in use
	DiskFree   int64         // bytes on the disk of an embedded log
	MaxStore   int64         // bytes; 0 or less: no limit is set
	Skew       time.Duration // the servers' clock minus ours
	SkewError  time.Duration // how far Skew may be off
	Streams    []StreamSurvey
	Lanes      []LaneSurvey
}

// StreamSurvey is how a stream really is.
type StreamSurvey struct {
	Name     string
	Replicas int
	Away     []string // nodes that hold a copy and are offline or behind
	Append   bool     // nothing may ever be deleted from it
	Missing  int      // events deleted in its middle
	Differs  []string // settings that are not what this build asks for, in words
}

// LaneSurvey is how a lane's consumer really is.
type LaneSurvey struct {
	LaneState
	Owned   bool     // a process is at it
	Differs []string // as of a stream
}

// Survey looks at all of it. It changes nothing.
func (b *Broker) Survey(ctx context.Context) (Survey, error) {
	nc := b.conns[publishers+1]
	s := Survey{Embedded: b.disk != nil, Server: nc.ConnectedServerName(), Version: nc.ConnectedServerVersion(),
		Tested: server.VERSION, Cluster: nc.ConnectedClusterName(), MaxPayload: nc.MaxPayload()}
	account, err := ask(ctx, b.reader.AccountInfo)
	if err != nil {
		return s, unreadable(fmt.Errorf("ask for the limits: %w", err))
	}
	s.Store, s.MaxStore = int64(account.Store), account.Limits.MaxStore
	if b.room != nil {
		if s.MaxStore, s.DiskFree, err = b.room(); err != nil {
			return s, err
		}
	}
	asked := time.Now()
	info, err := b.events.Info(ctx)
	if err != nil {
		return s, unreadable(fmt.Errorf("look at %s: %w", streamEvents, err))
	}
	s.SkewError = time.Since(asked) / 2
	s.Skew = info.TimeStamp.Sub(asked.Add(s.SkewError))
	for _, want := range streamConfigs(b.replicas) {
		stream, err := b.reader.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			s.Streams = append(s.Streams, StreamSurvey{Name: want.Name, Differs: []string{"it does not exist"}})
			continue
		}
		if err != nil {
			return s, unreadable(fmt.Errorf("look at %s: %w", want.Name, err))
		}
		s.Streams = append(s.Streams, surveyStream(want, stream.CachedInfo()))
	}
	consumers, err := b.events.consumers(ctx)
	if err != nil {
		return s, unreadable(fmt.Errorf("list lanes: %w", err))
	}
	for lane := range domain.Lanes {
		s.Lanes = append(s.Lanes, surveyLane(lane, consumers))
	}
	return s, nil
}

func surveyStream(want jetstream.StreamConfig, info *jetstream.StreamInfo) StreamSurvey {
	got := info.Config
	s := StreamSurvey{Name: want.Name, Replicas: got.Replicas, Missing: info.State.NumDeleted,
		Append: want.Discard == jetstream.DiscardNew}
	var d differences
	d.note("subjects", want.Subjects, got.Subjects)
	d.note("storage", want.Storage, got.Storage)
	d.note("retention", want.Retention, got.Retention)
	d.note("discard", want.Discard, got.Discard)
	if want.Duplicates > 0 { // else the server chooses one
		d.note("duplicate window", want.Duplicates, got.Duplicates)
	}
	d.note("max age", want.MaxAge, got.MaxAge)
	d.note("allow direct", want.AllowDirect, got.AllowDirect)
	d.note("replicas", want.Replicas, got.Replicas)
	if got.MaxMsgsPerSubject > 0 && want.MaxMsgsPerSubject == 0 || got.MaxMsgs > 0 {
		d = append(d, "it forgets or refuses by count")
	}
	s.Differs = d
	if info.Cluster != nil {
		for _, peer := range info.Cluster.Replicas {
			if peer.Offline || !peer.Current {
				s.Away = append(s.Away, peer.Name)
			}
		}
	}
	return s
}

func surveyLane(lane int, infos []*jetstream.ConsumerInfo) LaneSurvey {
	want := laneConsumer(lane)
	i := slices.IndexFunc(infos, func(c *jetstream.ConsumerInfo) bool { return c.Name == want.Durable })
	if i < 0 {
		return LaneSurvey{LaneState: LaneState{Lane: lane}, Differs: []string{"it does not exist"}}
	}
	info, got := infos[i], infos[i].Config
	var d differences
	d.note("filter", want.FilterSubject, got.FilterSubject)
	d.note("deliver policy", want.DeliverPolicy, got.DeliverPolicy)
	d.note("ack policy", want.AckPolicy, got.AckPolicy)
	d.note("ack wait", want.AckWait, got.AckWait)
	d.note("max deliver", want.MaxDeliver, got.MaxDeliver)
	d.note("max ack pending", want.MaxAckPending, got.MaxAckPending)
	d.note("priority policy", want.PriorityPolicy, got.PriorityPolicy)
	d.note("pinned TTL", want.PinnedTTL, got.PinnedTTL)
	return LaneSurvey{LaneState: laneState(lane, info), Owned: owned(info), Differs: d}
}

// differences are settings that are not as they should be, in words.
type differences []string

// note compares one setting.
func (d *differences) note(name string, want, got any) {
	if w, g := fmt.Sprint(want), fmt.Sprint(got); w != g {
		*d = append(*d, fmt.Sprintf("%s is %s, not %s", name, g, w))
	}
}
