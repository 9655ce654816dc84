package message

import (
	"net/url"
	"strings"
)

// Media messages (REFERENCE section 2.2). Formats and sizes of the files are
// Meta's to judge: it fetches a link after it has accepted the message.

var (
	audio    = media(may("voice", boolean))
	image    = media(caption)
	video    = media(caption)
	document = media(caption, filename)
	sticker  = media()

	// A file in the header of another message has no caption.
	headerFile     = media()
	headerDocument = media(filename)
)

var (
	caption  = may("caption", text(0, maxCaption))
	filename = may("filename", text(1, maxFree, oneLine))
)

// media is a file: one that was uploaded, or one that Meta fetches.
func media(parts ...part) rule {
	return object(append([]part{may("id", metaID), may("link", link), oneOf("id", "link")}, parts...)...)
}

// link is an address on the web.
var link = text(1, maxURL, demand{isLink, "must be an http or https address"})

func isLink(s string) bool {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}
