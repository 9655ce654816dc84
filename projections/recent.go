package projections

// recentBytes bounds the documents a runner keeps from its last writes (bytes
// of their JSON, half of it surely kept). Most of what a message goes through
// comes within a moment.
const recentBytes = 8 << 20

// recent is what a runner wrote last: documents as the store has them, decoded,
// so that the next fold neither fetches nor decodes them. A fold changes them in
// place. So they are true while every batch that was folded is written, in
// order, by this runner alone; after anything else all are forgotten. The zero
// value is empty.
type recent struct {
	young, old map[Ref]kept // what young has is newer
	bytes      int          // of young
}

// kept is one document, and how many bytes its JSON has.
type kept struct {
	doc  Document
	size int
}

func (r *recent) forget() { *r = recent{} }

// find returns a document, if it is kept.
func (r *recent) find(ref Ref) (kept, bool) {
	if k, ok := r.young[ref]; ok {
		return k, true
	}
	k, ok := r.old[ref]
	return k, ok
}

// keep remembers what a batch has written.
func (r *recent) keep(d *Docs) {
	for _, c := range d.changed {
		if c.doc == nil {
			delete(r.young, c.Ref)
			delete(r.old, c.Ref)
			continue
		}
		if r.bytes += c.size; r.young == nil || r.bytes > recentBytes/2 {
			r.young, r.old, r.bytes = make(map[Ref]kept, len(r.young)), r.young, c.size
		}
		r.young[c.Ref] = kept{c.doc, c.size}
	}
}
