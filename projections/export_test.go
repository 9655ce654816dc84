package projections

// RememberSpeakers bounds the names that are remembered. Call it before
// [Library.Run].
func (l *Library) RememberSpeakers(most int) { l.speakers.most = most }
