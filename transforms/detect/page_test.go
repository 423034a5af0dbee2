package detect_test

import (
	"fmt"

	"github.com/millrace-io/millrace/transforms/detect"
)

// page returns docs/redaction.md. Of the corpus it holds nothing but counts.
func (q *quality) page(texts, numbers int) string {
	return fmt.Sprintf(`<!-- Written by go test ./transforms/detect -run TestQuality -corpus FILE -update: change the test, not this page. -->

# What redaction finds

%s
**Found** is what was found with exactly its bytes, **in part** what was touched by a match of other bytes, **missed** the
rest; **recall** is found of planted. A **false alarm** is a match where nothing of its kind was planted; **precision** is the
matches that touch a plant of their kind, of all matches.

## How it is measured

%d messages are drawn, with a fixed seed, from the %d of real dialogues in English, Chinese and Thai that the simulator's
corpus has. Two in five stay as they are; the others get one or two plants: e-mail addresses, phone numbers, card numbers,
addresses of version 4 and 6, and URLs with a credential. Each is made up from a random form (for phones %d, of some fifty
countries), with random digits and words, and put at the beginning, at the end, between two words, or between two letters
where the script has no spaces; bare, with punctuation, quotes or brackets, in HTML or JSON, glued to %s, %s and their
likes. The places are known, so everything else that is found is a false alarm.

Not so where it is true: the corpus has phone numbers of its own. Its annotation says which: %d numbers that services returned
to the bot. A match whose digits are one of these is left out of the counts, and so are two numbers without annotation that a
reader took for phone numbers (the test keeps their hashes). Nothing else is: with the plants there are %d false alarms of
phone numbers. Without any plants all %d messages of the corpus give %d false alarms, of all kinds.

Before anything was planted, %d annotated numbers stood in the messages as they are: %d of them were found, %.1f %%. These are
real, but all of one city.

## What the figures do not tell

The forms were written down before the first measurement, apart from the tables that the scanners are tested with, and were
not changed for the result. The scanners were: what the first measurement showed to be a mistake of theirs was mended (it
gave 94.9 %% for phone numbers, 95.1 %% for cards and 92.7 %% for credentials). Real messages will hold forms that nobody
thought of, and other shares of them. A random number that passes a card's checksum is hidden as one, and so is an order number of ten digits that looks
like an Indian or American phone number and has no word such as "order" beside it: in this corpus there is none.

Found less than every second time are, mostly by decision:

%s
- A phone number of seven or eight digits needs a word such as "phone" just before it: without one it is an account number,
  a price or a time far more often.
- A URL has "://" in it.
`, q.table(messages), messages, texts, len(phoneForms), "`mailto:`", "`tel:`", numbers, q.of[detect.Phone].false, texts, q.alone, q.there, q.seen, 100*float64(q.seen)/float64(q.there), q.gaps())
}
