package transforms

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/file"

	"github.com/millrace-io/millrace/config"
)

// slips are what people write who know another language, by how the library's
// message ends, and what it is called here.
var slips = map[string]string{
	`Operator("=")`:      `equal is written ==`,
	`Operator(">")`:      `not equal is written !=`, // of <>
	`Identifier("AND")`:  `and is written in small letters`,
	`Identifier("OR")`:   `or is written in small letters`,
	`Identifier("is")`:   `what is absent is == nil`,
	`Identifier("IS")`:   `what is absent is == nil`,
	`Identifier("like")`: `write contains, startsWith, endsWith or matches`,
	`Identifier("LIKE")`: `write contains, startsWith, endsWith or matches`,
	`Identifier("then")`: `write CONDITION ? THIS : THAT`,

	"has no method contains":   `write it between two texts, as in text contains "a"`,
	"has no method startsWith": `write it between two texts, as in text startsWith "a"`,
	"has no method endsWith":   `write it between two texts, as in text endsWith "a"`,
	"has no method matches":    `write it between two texts, as in text matches "a+"`,
}

// slipOf says what was probably meant; "" where that is not known. It repeats
// nothing of the expression.
func slipOf(err error) string {
	var at *file.Error
	if errors.As(err, &at) {
		for end, hint := range slips {
			if strings.HasSuffix(at.Message, end) {
				return hint
			}
		}
	}
	return ""
}

// afterOperator matches what stands before a name that is probably a text whose
// quotes are missing: an operator that compares with it, or chooses it.
var afterOperator = regexp.MustCompile(`(?:==|!=|\b(?:contains|startsWith|endsWith|matches)|\?|:)\s*$`)

// hinted adds to an error of a name that is not there what else it could have been
// than a member: a function, or a text.
func hinted(err error, text string) error {
	var e *exprError
	if !errors.As(err, &e) || e.unknown == "" {
		return err
	}
	lines := strings.Split(text, "\n")
	if e.line > len(lines) {
		return err
	}
	line := []rune(lines[e.line-1])
	if e.column > len(line) {
		return err
	}
	before, behind := string(line[:e.column-1]), strings.TrimSpace(strings.TrimPrefix(string(line[e.column-1:]), e.unknown))
	switch {
	case strings.HasPrefix(behind, "("):
		e.hint = "functions are those of expr-lang.org/docs/language-definition"
		if near := config.Suggest("", e.unknown, builtin.Names); strings.HasPrefix(near, "did you mean") {
			e.hint = near
		}
	case afterOperator.MatchString(before) && !strings.HasPrefix(behind, "."):
		e.hint = fmt.Sprintf(`a text stands in quotes: "%s"`, e.unknown)
	}
	return err
}
