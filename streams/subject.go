package streams

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sendlog/sendlog/domain"
)

// Every subject of the house is made and read here.
//
//	evt.<pp>.<kind>.<tenant>.<id>   a fact; pp is the lane, two digits
//	tenant.<tenant>.<event>         the journal of tenants
//	quarantine.<reason>[.part]      payloads that belong to nobody, and parts of large ones
//	dlq.<kind>.<tenant>.<id>        copies of dead-lettered work
//	spill.<pp>.<number>[.bulk]      that a number has a backlog of interactive or bulk requests, and from where on
//	job.<kind>.<id>                 the record of a job that outlives the process that works it
//	sched.<pp>.<message>            the copy of a request, waiting for its time
//	due.<pp>.<number>               the same once its time has come
//	shelf.<pp>.<number>[.bulk]      the same while its number cannot work it
//	wait.<pp>.<message>             the copy of a request that was tried, or waits behind one, and has to wait for long
//	arc.<month>.<pp>.<kind>.<tenant>  the archived copy of a fact; few subjects, so the id is in a header
//	live.<tenant>.<kind…>.<id>      announcements, not stored
//	presence.<role>                 processes telling each other that they are there, not stored

// subjectOf returns the subject of a key. A key that does not fit a subject is
// a bug of the caller: ids are validated where they enter the house.
func subjectOf(k domain.Key) (string, error) {
	if !domain.ValidToken(string(k.Tenant)) || !domain.ValidToken(k.ID) {
		return "", domain.Errorf(domain.Bug, nil, "a key of kind %s does not fit a subject", k.Kind)
	}
	if !storedKinds[k.Kind] {
		return "", domain.Errorf(domain.Bug, nil, "no stream holds keys of kind %q", k.Kind)
	}
	return "evt." + laneName(domain.Lane(k.Number)) + "." + string(k.Kind) + "." + string(k.Tenant) + "." + k.ID, nil
}

// laneName is a lane in a subject: two digits.
func laneName(lane int) string { return string([]byte{'0' + byte(lane/10), '0' + byte(lane%10)}) }

// anyLane returns what matches every subject a key may have. A message has one
// lane, that of the number it leaves from; its id is the tenant's alone, and
// whoever knows only the id, or asks for it to be new, means all lanes
// (ADR 0009). It is also the literal by which a cluster tells that two first
// appends of one message are in flight.
func anyLane(k domain.Key, subject string) string {
	if k.Kind != domain.KindMessage {
		return subject
	}
	return "evt.*." + string(k.Kind) + "." + string(k.Tenant) + "." + k.ID
}

// parseSubject is the inverse of subjectOf, as far as a subject goes: the
// number is known by its lane only.
func parseSubject(s string) (lane int, kind domain.Kind, tenant domain.TenantID, id string, err error) {
	t := strings.Split(s, ".")
	if len(t) != 5 || t[0] != "evt" || !domain.ValidToken(t[3]) || !domain.ValidToken(t[4]) {
		return 0, "", "", "", fmt.Errorf("subject %q is not of an event", s)
	}
	lane, err = strconv.Atoi(t[1])
	if err != nil || lane < 0 || lane >= domain.Lanes || t[1] != laneName(lane) {
		return 0, "", "", "", fmt.Errorf("subject %q has no such lane", s)
	}
	if kind = domain.Kind(t[2]); !storedKinds[kind] {
		return 0, "", "", "", fmt.Errorf("subject %q has no such kind", s)
	}
	return lane, kind, domain.TenantID(t[3]), t[4], nil
}

// storedKinds are the kinds of keys on EVENTS.
var storedKinds = map[domain.Kind]bool{
	domain.KindAccount: true, domain.KindInbound: true, domain.KindMessage: true, domain.KindStatus: true,
}

func laneSubject(lane int) string { return fmt.Sprintf("evt.%02d.%s.>", lane, domain.KindMessage) }

// tenantMessages is what messages of a tenant's numbers in one lane match.
func tenantMessages(lane int, t domain.TenantID) string {
	return fmt.Sprintf("evt.%02d.%s.%s.>", lane, domain.KindMessage, t)
}

// spillAll is what the records of all backlogs match.
const spillAll = "spill.>"

func spillSubject(n domain.NumberID, bulk bool) string { return lineSubject("spill", n, bulk) }

func spillLane(lane int) string { return fmt.Sprintf("spill.%02d.>", lane) }

// parseSpill is the inverse of spillSubject.
func parseSpill(s string) (n domain.NumberID, bulk bool, err error) { return parseLine("spill", s) }

const bulkSuffix = ".bulk"

// lineSubject is that of one urgency of a number.
func lineSubject(kind string, n domain.NumberID, bulk bool) string {
	s := fmt.Sprintf("%s.%02d.%s", kind, domain.Lane(n), n)
	if bulk {
		s += bulkSuffix
	}
	return s
}

func parseLine(kind, s string) (n domain.NumberID, bulk bool, err error) {
	rest, bulk := strings.CutSuffix(s, bulkSuffix)
	n = domain.NumberID(rest[strings.LastIndexByte(rest, '.')+1:])
	if !domain.ValidToken(string(n)) || s != lineSubject(kind, n, bulk) {
		return "", false, fmt.Errorf("subject %q is not of kind %s", s, kind)
	}
	return n, bulk, nil
}

// jobsAll is what the records of all jobs match.
const jobsAll = "job.>"

func jobSubject(kind, id string) string { return "job." + kind + "." + id }

// What scheduled copies match: waiting, due, and due but put aside.
const (
	scheduleAll = "sched.>"
	dueAll      = "due.>"
	shelfAll    = "shelf.>"
	waitAll     = "wait.>"
)

func waitLane(lane int) string { return fmt.Sprintf("wait.%02d.*", lane) }

func shelfSubject(n domain.NumberID, bulk bool) string { return lineSubject("shelf", n, bulk) }

func shelfLane(lane int) string { return fmt.Sprintf("shelf.%02d.>", lane) }

func parseShelf(s string) (n domain.NumberID, bulk bool, err error) { return parseLine("shelf", s) }

func scheduleSubject(k domain.Key) (string, error) { return copySubject("sched", k) }

func waitSubject(k domain.Key) (string, error) { return copySubject("wait", k) }

func copySubject(kind string, k domain.Key) (string, error) {
	if k.Kind != domain.KindMessage || !domain.ValidToken(string(k.Number)) || !domain.ValidToken(k.ID) {
		return "", domain.Errorf(domain.Bug, nil, "only a message can be scheduled")
	}
	return fmt.Sprintf("%s.%02d.%s", kind, domain.Lane(k.Number), k.ID), nil
}

func dueSubject(n domain.NumberID) string { return fmt.Sprintf("due.%02d.%s", domain.Lane(n), n) }

func dueLane(lane int) string { return fmt.Sprintf("due.%02d.*", lane) }

func tenantSubject(t domain.TenantID, event string) string {
	return fmt.Sprintf("tenant.%s.%s", t, event)
}

func quarantineSubject(reason string) string     { return "quarantine." + reason }
func quarantinePartSubject(reason string) string { return quarantineSubject(reason) + ".part" }

func presenceSubject(role string) string { return "presence." + role }

func deadSubject(kind string, t domain.TenantID, id string) string {
	return fmt.Sprintf("dlq.%s.%s.%s", kind, t, id)
}

// liveSubject is what a tenant may subscribe to.
func liveSubject(t domain.TenantID) string { return fmt.Sprintf("live.%s.>", t) }

// liveMessageSubject matches what is announced of one message: its types are
// "message." and one word.
func liveMessageSubject(t domain.TenantID, id domain.MessageID) string {
	return fmt.Sprintf("live.%s.message.*.%s", t, id)
}

// archiveSubjects is what an archive stream takes. Streams of one server may
// not share subjects, so the stream's own name is part of them.
func archiveSubjects(stream string) string { return archiveToken(stream) + ".>" }

func archiveToken(stream string) string { return "arc." + strings.TrimPrefix(stream, archivePrefix) }

// archiveSubject is where the copy of an event goes. What no event of ours can
// have as its subject is kept too, under "other".
func archiveSubject(stream, subject string) string {
	lane, kind, tenant, _, err := parseSubject(subject)
	if err != nil {
		return archiveToken(stream) + ".other"
	}
	return fmt.Sprintf("%s.%02d.%s.%s", archiveToken(stream), lane, kind, tenant)
}
