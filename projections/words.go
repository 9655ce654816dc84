package projections

import (
	"encoding/json"
	"strings"
)

// This file reads what message objects say, whoever wrote them.

// digits returns a phone number without "+", or "" when s is none: a BSUID
// begins with two letters (REFERENCE section 6). Placeholder digits ("x") of
// simulated numbers are kept.
func digits(s string) string {
	s = strings.TrimPrefix(s, "+")
	if s == "" || s[0] < '0' || s[0] > '9' {
		return ""
	}
	return s
}

// words returns what a person would read first in a message object.
func words(kind string, content json.RawMessage) string {
	var object map[string]json.RawMessage
	if json.Unmarshal(content, &object) != nil {
		return ""
	}
	var part struct {
		Body     json.RawMessage `json:"body"` // a text, or an object in interactive messages
		Caption  string          `json:"caption"`
		Emoji    string          `json:"emoji"`
		Filename string          `json:"filename"`
		Name     string          `json:"name"` // of a place or a template
	}
	// What is of another shape, in a message nobody validated, has no words.
	if json.Unmarshal(object[kind], &part) != nil {
		return cardName(object[kind])
	}
	var body string
	if json.Unmarshal(part.Body, &body) != nil {
		var inner struct {
			Text string `json:"text"`
		}
		_ = json.Unmarshal(part.Body, &inner) // no words, then
		body = inner.Text
	}
	return firstOf(body, part.Caption, part.Emoji, part.Filename, part.Name)
}

// cardName is the name on the first of a list of contacts.
func cardName(contacts json.RawMessage) string {
	var cards []struct {
		Name struct {
			Formatted string `json:"formatted_name"`
		} `json:"name"`
	}
	if json.Unmarshal(contacts, &cards) != nil || len(cards) == 0 {
		return ""
	}
	return cards[0].Name.Formatted
}

// replyTo returns the wamid a message object refers to: what it answers,
// reacts to, or marks as read.
func replyTo(content json.RawMessage) string {
	var refers struct {
		Context struct {
			Message string `json:"message_id"`
		} `json:"context"`
		Reaction struct {
			Message string `json:"message_id"`
		} `json:"reaction"`
		Message string `json:"message_id"`
	}
	_ = json.Unmarshal(content, &refers) // what is of another shape refers to nothing we know
	return firstOf(refers.Context.Message, refers.Reaction.Message, refers.Message)
}

// firstOf returns the first of the texts that is not empty.
func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}
