package detect_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-io/millrace/transforms/detect"
)

var (
	corpus = flag.String("corpus", "", "a `file` of dialogues to measure with; without it, the simulator's own text")
	update = flag.Bool("update", false, "write docs/redaction.md; needs -corpus")
)

const (
	page     = "../../docs/redaction.md"
	messages = 10_000
)

const tableHead = `| kind | planted | found | in part | missed | recall | at least in part | false alarms | of 10,000 messages | precision |
|---|---|---|---|---|---|---|---|---|---|
`

// count is how one kind did.
type count struct {
	planted, found, part, missed int
	// wrong are matches over plants of another kind, false those over nothing, real
	// those over phone numbers that were in the messages before.
	wrong, false, real int
}

func (c count) recall() float64 { return float64(c.found) / float64(c.planted) }

func (c count) precision() float64 {
	right := float64(c.found + c.part)
	return right / (right + float64(c.wrong+c.false))
}

// quality is the result of a measurement.
type quality struct {
	of map[detect.Kind]*count
	// forms are how many plants of a form there were and how many were found.
	forms map[plantedForm]*[2]int
	// alarms are messages with a false alarm.
	alarms []string
	// alone are the false alarms in all messages without any plants.
	alone int
	// there are real phone numbers before anything was planted, seen those found.
	there, seen int
}

type plantedForm struct {
	kind detect.Kind
	form string
}

// measure plants into n messages, 0, 1 or 2 things each, and counts what is found.
func measure(texts []string, real truth, n int) quality {
	p := planter{rand.New(rand.NewPCG(1, 1))}
	q := quality{of: map[detect.Kind]*count{}, forms: map[plantedForm]*[2]int{}}
	for i := range detect.Names {
		q.of[1<<i] = &count{}
	}
	for _, text := range texts {
		for _, m := range detect.Append(nil, []byte(text), all) {
			if m.Kind != detect.Phone || !real.holds(text[m.From:m.To]) {
				q.alone++
			}
		}
	}
	order := p.Perm(len(texts))
	for i := range n {
		message := planted{text: texts[order[i%len(order)]]}
		q.countReal(message.text, real)
		for range []int{0, 0, 1, 1, 2}[p.IntN(5)] {
			message = p.into(message, p.make(detect.Kind(1)<<p.IntN(len(detect.Names))))
		}
		q.count(message, real)
	}
	return q
}

// count compares what is found in a message with what was planted.
func (q *quality) count(message planted, real truth) {
	found := detect.Append(nil, []byte(message.text), all)
	for _, want := range message.at {
		c, form := q.of[want.Kind], plantedForm{want.Kind, want.form}
		if q.forms[form] == nil {
			q.forms[form] = &[2]int{}
		}
		c.planted++
		q.forms[form][0]++
		switch {
		case slices.Contains(found, want.Match):
			c.found++
			q.forms[form][1]++
		case slices.ContainsFunc(found, want.overlaps):
			c.part++
		default:
			c.missed++
		}
	}
	for _, m := range found {
		c := q.of[m.Kind]
		over := slices.IndexFunc(message.at, func(p plant) bool { return p.overlaps(m) })
		switch {
		case over >= 0 && message.at[over].Kind != m.Kind:
			c.wrong++
		case over >= 0:
		case m.Kind == detect.Phone && real.holds(message.text[m.From:m.To]):
			c.real++
		default:
			c.false++
			q.alarms = append(q.alarms, fmt.Sprintf("%s %q in %q", m.Kind, message.text[m.From:m.To], message.text))
		}
	}
}

// countReal looks for the real phone numbers of a message before it is changed.
func (q *quality) countReal(text string, real truth) {
	found := detect.Append(nil, []byte(text), detect.Phone)
	for _, at := range aNumber.FindAllStringIndex(text, -1) {
		if !real.holds(text[at[0]:at[1]]) {
			continue
		}
		q.there++
		if slices.Contains(found, detect.Match{Kind: detect.Phone, From: at[0], To: at[1]}) {
			q.seen++
		}
	}
}

func (p plant) overlaps(m detect.Match) bool { return m.From < p.To && p.From < m.To }

// table writes the counts as Markdown.
func (q *quality) table(n int) string {
	var b strings.Builder
	b.WriteString(tableHead)
	for i, name := range detect.Names {
		c := q.of[1<<i]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %.1f %% | %.1f %% | %d | %.1f | %.1f %% |\n", name, c.planted, c.found, c.part, c.missed,
			100*c.recall(), 100*float64(c.found+c.part)/float64(c.planted), c.false+c.wrong, float64(c.false+c.wrong)*10_000/float64(n), 100*c.precision())
	}
	return b.String()
}

// gaps lists the forms of which less than half are found.
func (q *quality) gaps() string {
	var lines []string
	for i, name := range detect.Names {
		var forms []string
		for form, of := range q.forms {
			if form.kind == 1<<i && 2*of[1] < of[0] {
				forms = append(forms, fmt.Sprintf("`%s` (%d of %d)", strings.NewReplacer(opening, "", closing, "").Replace(form.form), of[1], of[0]))
			}
		}
		slices.Sort(forms)
		if len(forms) > 0 {
			lines = append(lines, "- "+name+": "+strings.Join(forms, ", ")+"\n")
		}
	}
	return strings.Join(lines, "")
}

// TestQuality measures with a corpus, and holds the page against it; without one it
// holds the scanners to what they reach on the simulator's own text.
func TestQuality(t *testing.T) {
	have, err := os.ReadFile(page)
	if err != nil && !*update {
		t.Fatal(err)
	}
	if *corpus == "" {
		if !strings.Contains(string(have), tableHead) {
			t.Errorf("%s has not the table's head: write it with -corpus and -update", page)
		}
		q := measure(ownMessages(t), nil, messages/2)
		q.atLeast(t)
		if q.alone > 0 {
			t.Errorf("%d false alarms where nothing was planted", q.alone)
		}
		return
	}
	texts, real := readCorpus(t, *corpus)
	q := measure(texts, real, messages)
	want := q.page(len(texts), len(real))
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(have) != want {
		t.Errorf("%s is stale: write it with -update and read the difference", page)
	}
	for _, alarm := range q.alarms {
		t.Log("false alarm: " + alarm) // with -v, to be read by eye
	}
}

// atLeast holds the counts against floors, a little below what is reached.
func (q *quality) atLeast(t *testing.T) {
	for kind, floor := range map[detect.Kind][2]float64{
		detect.Email:       {0.96, 0.99},
		detect.Phone:       {0.95, 0.99},
		detect.Card:        {0.98, 0.99},
		detect.IP:          {0.98, 0.99},
		detect.Credentials: {0.93, 0.99},
	} {
		if c := q.of[kind]; c.planted < 500 || c.recall() < floor[0] || c.precision() < floor[1] {
			t.Errorf("%s: recall %.3f of %d planted, precision %.3f; want %v\n%v", kind, c.recall(), c.planted, c.precision(), floor, *c)
		}
	}
}
