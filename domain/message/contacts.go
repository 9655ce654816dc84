package message

import "time"

// Contacts (REFERENCE section 2.2). Every part may be empty, as in Meta's own
// samples, except what makes the contact readable.
var contacts = list(1, maxContacts, object(
	must("name", object(append(nameParts(),
		must("formatted_name", text(1, maxFree)),
		whole(hasNamePart))...)),
	may("birthday", text(0, maxFree, demand{isDate, "must be a date such as 1999-01-23"})),
	may("org", object(may("company", free), may("department", free), may("title", free))),
	may("phones", list(0, maxContacts, object(may("phone", free), may("type", free), may("wa_id", free)))),
	may("emails", list(0, maxContacts, object(may("email", free), may("type", free)))),
	may("addresses", list(0, maxContacts, object(may("street", free), may("city", free), may("state", free),
		may("zip", free), may("country", free), may("country_code", free), may("type", free)))),
	may("urls", list(0, maxContacts, object(may("url", free), may("type", free)))),
))

var free = text(0, maxFree)

// otherNames are the parts of a name of which one must be there beside the
// formatted name.
var otherNames = []string{"first_name", "last_name", "middle_name", "suffix", "prefix"}

func nameParts() []part {
	parts := make([]part, len(otherNames))
	for i, name := range otherNames {
		parts[i] = may(name, free)
	}
	return parts
}

func hasNamePart(c *check, o map[string]any) {
	for _, name := range otherNames {
		if s, _ := o[name].(string); s != "" {
			return
		}
	}
	c.fault("needs one part of the name beside formatted_name, such as first_name")
}

func isDate(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return s == "" || err == nil
}
