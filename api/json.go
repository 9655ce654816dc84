package api

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/sendlog/sendlog/domain"
)

// answer writes v as the JSON body of a success.
func answer(c *fiber.Ctx, status int, v any) error {
	// Text is text; the content type and nosniff keep browsers from reading it as
	// anything else.
	body, err := domain.JSON(v)
	if err != nil {
		return domain.Errorf(domain.Bug, err, "something broke on our side")
	}
	c.Status(status)
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	c.Response().SetBodyRaw(append(body, '\n'))
	return nil
}

// when is a time on the wire: RFC 3339 in UTC, or null for none.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// orNull is a string on the wire that is null when there is none.
func orNull[S ~string](s S) *S {
	if s == "" {
		return nil
	}
	return &s
}

// orEmpty is a list on the wire: never null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
